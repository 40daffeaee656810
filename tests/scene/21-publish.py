#!/usr/bin/python3
# sanitizer: yes
"""POST /channels/CHANNEL/messages, and all that is wrong with a request."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene

KIB = 1024
MESSAGES = "/channels/c/messages"
NAMES_BAD = ("-x", "_x", ".x", ":x", "a%20b", "%C3%A9", "a" * 129, "a*",
             "a,b", "x~")


def post(daemon, body, kind=None, path=MESSAGES, **headers):
    if kind:
        headers["Content-Type"] = kind
    body = body.encode() if isinstance(body, str) else body
    return daemon.http("POST", path, body, {
        name.replace("_", "-"): value for name, value in headers.items()})


def refused(answer, status, code, what, line=None):
    """An answer {"error":{"code","message"}} of that status."""
    if answer is None:
        raise scene.Failure(f"{what}: no answer")
    scene.equal(answer.status, status, what)
    if answer.headers["Content-Type"] != "application/json":
        raise scene.Failure(f"type {answer.headers['Content-Type']}")
    error = json.loads(answer.body)["error"]
    if error["code"] != code or len(error["message"]) < 5 or \
            error.get("line") != line:
        raise scene.Failure(f"{what}: {error}, expected {code} at {line}")


def scene_kinds():
    with scene.Daemon() as daemon:
        hearer = daemon.ws("c")
        for kind, body, opcode in (
                ("text/plain", "grüße", scene.TEXT),
                ("text/html; charset=utf-8", "<p>", scene.TEXT),
                ("TEXT/plain", "", scene.TEXT),
                ("application/json", ' {"a": 1.000, "b" : [1e400] }\n',
                 scene.TEXT),
                ("application/json; charset=utf-8", "null", scene.TEXT),
                ("Application/JSON", '"x"', scene.TEXT),
                ("application/jsonx", "not json", scene.BINARY),
                ("application/octet-stream", b"\xff\x00\xfe", scene.BINARY),
                ("image/png", "", scene.BINARY),
                (None, "no type", scene.BINARY),
                ("text/plain;" + " x=y;" * 100, "long type", scene.TEXT)):
            answer = post(daemon, body, kind)
            scene.equal(answer.status, 201, f"POST {str(kind)[:40]}")
            body = body.encode() if isinstance(body, str) else body
            got = hearer.read_message()
            if got != (opcode, body):
                raise scene.Failure(f"{kind}: {got}, expected {opcode} {body}")
        epoch = hearer.position.partition(":")[0]
        scene.equal(json.loads(answer.body),
                    {"channel": "c", "position": f"{epoch}:11", "accepted": 1},
                    "the answer")
        scene.equal(answer.headers["Content-Type"], "application/json", "type")


def scene_lines():
    with scene.Daemon() as daemon:
        hearer = daemon.ws("c")
        offset = 0
        for kind, arguments, body, messages in (
                ("text/plain", "?split=lines", "a\nb\n\nc", "a b  c"),
                ("text/plain", "?split=lines", "a\n", "a"),
                ("text/plain", "?split=lines", "\n", ""),
                ("application/json", "?split=lines", "1\n[2]\n", "1 [2]"),
                ("x/y", "?x=1&split=lines", "p\nq", "p q"),
                ("application/x-ndjson", "", '{"a":1}\n\n[2,3]\n"x"',
                 '{"a":1} [2,3] "x"'),
                ("application/x-ndjson; v=1", "?split=lines", "1\n\n\n2\n",
                 "1 2")):
            answer = post(daemon, body, kind, MESSAGES + arguments)
            wanted = messages.split(" ")
            offset += len(wanted)
            told = json.loads(answer.body)
            scene.equal(
                (answer.status, told["accepted"],
                 told["position"].partition(":")[2]),
                (201, len(wanted), str(offset)), f"{kind} {body!r}")
            got = [hearer.read_message() for _ in wanted]
            opcode = scene.BINARY if kind == "x/y" else scene.TEXT
            scene.equal(got, [(opcode, w.encode()) for w in wanted], "heard")
        for kind, arguments, body in (
                ("text/plain", "?split=lines", ""),
                ("application/x-ndjson", "", ""),
                ("application/x-ndjson", "", "\n\n\n")):
            answer = post(daemon, body, kind, MESSAGES + arguments)
            scene.equal((answer.status, json.loads(answer.body)), (
                201, {"channel": "c", "position": None, "accepted": 0}),
                f"no message in {kind} {body!r}")


def scene_lines_that_are_refused():
    conf = "[limits]\nmessage_bytes_max = 1K\n"
    with scene.Daemon(conf) as daemon:
        hearer = daemon.ws("c")
        for kind, body, good, status, code in (
                ("text/plain", b"1\n2\nb\xffd\n4", 2, 400, "bad_utf8"),
                ("text/plain", b"1\n" + b"x" * 1025 + b"\n3", 1, 413,
                 "too_large"),
                ("application/json", b"1\n2\n{\n4\n", 2, 400, "bad_json"),
                ("application/json", b"1\n\n3\n", 1, 400, "bad_json"),
                ("application/json", b"[1\n2]\n", 0, 400, "bad_json")):
            answer = post(daemon, body, kind, MESSAGES + "?split=lines")
            refused(answer, status, code, f"{kind} {body[:20]!r}", good + 1)
            scene.equal(json.loads(answer.body)["accepted"], good, "accepted")
            for line in body.split(b"\n")[:good]:
                if hearer.read_message()[1] != line:
                    raise scene.Failure("those before it are published")
        answer = post(daemon, b'1\n\nx\n', "application/x-ndjson")
        refused(answer, 400, "bad_json", "ndjson: the line as it is counted",
                3)
        scene.equal(json.loads(answer.body)["accepted"], 1, "accepted")
        scene.equal(hearer.read_text(), "1", "the one before")
        post(daemon, "end", "text/plain")
        scene.equal(hearer.read_text(), "end", "and nothing else")


def scene_one_message_that_is_refused():
    conf = "[limits]\nmessage_bytes_max = 1K\nbody_bytes_max = 4K\n"
    with scene.Daemon(conf) as daemon:
        refused(post(daemon, b"\xc3(", "text/plain"), 400, "bad_utf8",
                "text that is not UTF-8", 1)
        refused(post(daemon, b"\xed\xa0\x80", "text/plain"), 400, "bad_utf8",
                "a surrogate", 1)
        for body in ("", "{", "01", "[1,]", "nul", '"\n"', "1 2", "NaN",
                     "'x'", '{"a" 1}'):
            refused(post(daemon, body, "application/json"), 400, "bad_json",
                    f"{body!r} is not JSON", 1)
        refused(post(daemon, "[" * 1000, "application/json"), 400, "bad_json",
                "JSON that is too deep", 1)
        refused(post(daemon, "x" * 1025, "text/plain"), 413, "too_large",
                "a message over the limit", 1)
        scene.equal(post(daemon, "x" * 1024, "text/plain").status, 201,
                    "a message as long as the limit")
        refused(post(daemon, "x" * 4097, "text/plain"), 413, "too_large",
                "a body over the limit")
        scene.equal(
            post(daemon, ("x" * 63 + "\n") * 64, "text/plain",
                 MESSAGES + "?split=lines").status, 201,
            "a body as long as the limit")
        scene.equal(daemon.metric("refused_bodies_total"), 1, "its counter")
        scene.equal(daemon.metric("refused_message_bytes_total"), 1,
                    "the message's counter")
        scene.equal(daemon.metric("refused_payload_total"), 13,
                    "the payloads' counter")
        scene.equal(daemon.metric('channel_messages_total{channel="c"}'), 65,
                    "nothing of what was refused is on the tape")


def scene_paths_and_methods():
    with scene.Daemon() as daemon:
        for path in ("/x", "/ws/", "/sse", "/sse/", "/channels/",
                     "/channels/c/d/messages",
                     "/channels/c/messages/", "/healthz/", "/metricsx"):
            refused(daemon.http("GET", path), 404, "not_found", f"GET {path}")
            refused(post(daemon, "x", path=path), 404, "not_found", "POST")
        for method, path, allow in (
                ("POST", "/", "GET, HEAD, OPTIONS"),
                ("PUT", "/healthz", "GET, HEAD, OPTIONS"),
                ("DELETE", "/metrics", "GET, HEAD, OPTIONS"),
                ("POST", "/ws", "GET, HEAD, OPTIONS"),
                ("POST", "/channels", "GET, HEAD, OPTIONS"),
                ("POST", "/channels/c", "GET, HEAD, OPTIONS"),
                ("POST", "/sse/c", "GET, OPTIONS"),
                ("HEAD", MESSAGES, "GET, POST, OPTIONS"),
                ("PUT", MESSAGES, "GET, POST, OPTIONS"),
                ("DELETE", MESSAGES, "GET, POST, OPTIONS"),
                ("PATCH", MESSAGES, "GET, POST, OPTIONS"),
                ("POST", "/ws/c", "GET, HEAD, OPTIONS")):
            answer = daemon.http(method, path, b"x" if method in (
                "POST", "PUT", "PATCH") else None)
            scene.equal((answer.status, answer.headers["Allow"]), (405, allow),
                        f"{method} {path}")
        refused(post(daemon, "x", path="/channels/a%2Fb/messages"), 404,
                "not_found", "a channel with a slash")
        answer = daemon.http("GET", "/ws/c")
        refused(answer, 426, "upgrade_required", "GET /ws/c")
        scene.equal(answer.headers["Upgrade"], "websocket", "its Upgrade")
        for name in NAMES_BAD:
            refused(post(daemon, "x", path=f"/channels/{name}/messages"), 400,
                    "bad_channel", f"POST to {name[:9]}")
        for name in ("a" * 128, "0", "A_b-c.d:e"):
            answer = post(daemon, "x", path=f"/channels/{name}/messages")
            scene.equal(answer.status, 201, f"POST to {name[:9]}")
        for split in ("", "line", "words", "lines%20", "x" * 100):
            refused(post(daemon, "x", path=f"{MESSAGES}?split={split}"), 400,
                    "bad_split", f"split={split[:9]}")


def scene_no_proxy():
    """The library knows CONNECT, and would do it."""
    head = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n"
    with scene.Daemon() as daemon:
        for rest in (b"", b"and what would go through"):
            with scene.Raw(daemon.port) as client:
                client.send(head + rest)
                answer = client.read_answer()
                refused(answer, 405, "bad_method", f"CONNECT {rest}")
                scene.check("POST" in answer.headers["Allow"], "Allow")
                scene.equal(client.read_all(), b"", "and the end")
        scene.equal(daemon.metric("timeouts_handshake_total"), 0, "at once")


def scene_upgrades_that_are_refused():
    with scene.Daemon() as daemon:
        def upgrade(path="/ws/c", **options):
            with scene.WebSocket(daemon.port, path, **options) as client:
                if client.status != 101:
                    end = client.more()
                    scene.check(not end, "hung up on")
                return scene.Answer(client.status, client.headers,
                                    client.body)

        for name in NAMES_BAD:
            refused(upgrade(f"/ws/{name}"), 400, "bad_channel", name[:9])
        refused(upgrade("/x"), 404, "not_found", "another path")
        refused(upgrade("/wsx"), 404, "not_found", "another path")
        refused(upgrade("/ws/"), 400, "bad_subprotocol", "no channel")
        refused(upgrade("/ws"), 400, "bad_subprotocol", "no subprotocol")
        answer = upgrade(method="POST", headers={"Content-Length": "0"})
        scene.equal((answer.status, answer.headers["Allow"]),
                    (405, "GET"), "POST")
        for headers, status, code in (
                ({"Sec-WebSocket-Version": "8"}, 426, "bad_version"),
                ({"Sec-WebSocket-Version": None}, 426, "bad_version"),
                ({"Sec-WebSocket-Key": None}, 400, "bad_key"),
                ({"Sec-WebSocket-Key": "short"}, 400, "bad_key"),
                ({"Sec-WebSocket-Protocol": "chat"}, 400, "bad_subprotocol")):
            answer = upgrade(headers=headers)
            refused(answer, status, code, f"{headers}")
            if status == 426:
                scene.equal(answer.headers["Sec-WebSocket-Version"], "13",
                            "the version we speak")
        scene.equal(upgrade().status, 101, "a good one")
        with scene.Raw(daemon.port) as client:
            client.send(request("GET", "/healthz"))
            client.read_answer()
            client.send(request("GET", "/ws/-", b"", "Upgrade: websocket",
                                "Connection: Upgrade",
                                "Sec-WebSocket-Version: 13",
                                "Sec-WebSocket-Key: " + "x" * 22 + "=="))
            answer = client.read_answer()
            scene.equal((answer.status, answer.headers["Connection"],
                         client.read_all()), (400, "close", b""),
                        "refused as a second request")
        answer = upgrade(headers={
            "Sec-WebSocket-Extensions": "permessage-deflate; "
            "server_max_window_bits=9"})
        scene.equal((answer.status, answer.headers["Sec-WebSocket-Extensions"]),
                    (101, None), "extensions are declined")


def scene_rights():
    for rights, may_publish, may_subscribe in (
            ("none", False, False), ("subscribe", False, True),
            ("publish", True, False), ("subscribe publish", True, True)):
        with scene.Daemon(f"[auth]\nanonymous = {rights}\n") as daemon:
            answer = post(daemon, "x", "text/plain")
            if may_publish:
                scene.equal(answer.status, 201, f"{rights}: POST")
            else:
                refused(answer, 403, "not_allowed", f"{rights}: POST")
            with scene.WebSocket(daemon.port, "/ws/c") as client:
                if may_subscribe:
                    scene.equal(client.status, 101, f"{rights}: upgrade")
                else:
                    refused(client, 403, "not_allowed", f"{rights}: upgrade")
            scene.equal(daemon.metric("refused_rights_total"),
                        (not may_publish) + (not may_subscribe), "counted")


def origin_answers(daemon, origin, host=None):
    """The statuses of a POST and an upgrade from such a page."""
    headers = {"Origin": origin}
    if host:
        headers["Host"] = host
    answer = daemon.http("POST", MESSAGES, b"x", headers)
    if answer.status == 403:
        refused(answer, 403, "bad_origin", f"POST from {origin[:40]}")
    with scene.WebSocket(daemon.port, "/ws/c", headers=headers) as client:
        if client.status == 403:
            refused(client, 403, "bad_origin", f"upgrade from {origin[:40]}")
        return answer.status, client.status


def scene_origins():
    allowed, forbidden = (201, 101), (403, 403)
    with scene.Daemon() as daemon:
        here = f"127.0.0.1:{daemon.port}"
        for origin, host, wanted in (
                (f"http://{here}", None, allowed),
                (f"https://{here}", None, allowed),
                ("http://Here.Example", "here.example", allowed),
                ("http://127.0.0.1", None, forbidden),
                ("http://evil.example", None, forbidden),
                (f"http://{here}.evil.example", None, forbidden),
                (f"http://evil.example/{here}", None, forbidden),
                ("null", None, forbidden), ("http://", None, forbidden),
                ("x" * 2000, None, forbidden)):
            scene.equal(origin_answers(daemon, origin, host), wanted,
                        f"same host only: {origin[:40]}")
        scene.equal(daemon.metric("refused_origin_total"), 14, "counted")
        scene.equal(daemon.http("GET", "/metrics", headers={
            "Origin": "http://evil.example"}).status, 200,
            "reading is not asked for its origin")
    conf = scene.LISTENER + \
        "origins = https://App.example other.example:8443\n"
    with scene.Daemon(conf) as daemon:
        here = f"http://127.0.0.1:{daemon.port}"
        for origin, wanted in (
                ("https://app.example", allowed),
                ("http://app.example", forbidden),
                ("https://app.example:444", forbidden),
                ("http://other.example:8443", allowed),
                ("https://other.example:8443", allowed),
                ("https://other.example", forbidden), (here, forbidden)):
            scene.equal(origin_answers(daemon, origin), wanted,
                        f"a list of origins: {origin}")
        scene.equal(post(daemon, "x").status, 201, "no Origin: no browser")
    with scene.Daemon(scene.LISTENER + "origins = *\n") as daemon:
        for origin in ("https://anything.example", "null"):
            scene.equal(origin_answers(daemon, origin), allowed,
                        f"any origin: {origin}")


def scene_kept_alive():
    """Many requests on one connection, refusals with bodies between them."""
    with scene.Daemon() as daemon:
        hearer = daemon.ws("c")
        before = daemon.metric("connections_accepted_total")
        connection = daemon.http_open()
        texts = []
        for i in range(30):
            texts.append(f"{i} " + "x" * (i * 777))
            answer = scene.http_on(connection, "POST", MESSAGES,
                                   texts[-1].encode(),
                                   {"Content-Type": "text/plain"})
            if answer.status != 201:
                raise scene.Failure(f"{i}: {answer}")
            for method, path, body, status in (
                    ("GET", "/healthz", None, 200),
                    ("POST", "/nowhere", b"x" * 5000, 404),
                    ("HEAD", "/", None, 200),
                    ("PUT", MESSAGES, b"y" * 5000, 405),
                    ("POST", "/channels/-/messages", b"z" * 5000, 400),
                    ("GET", "/", b"body of a GET", 200)):
                answer = scene.http_on(connection, method, path, body)
                if answer.status != status:
                    raise scene.Failure(f"{i} {method} {path}: {answer}")
        connection.close()
        scene.equal([hearer.read_text() for _ in texts], texts,
                    "30 messages between 180 other requests")
        after = daemon.metric("connections_accepted_total")
        scene.equal(after - before, 2, "on one connection")


def scene_refused_with_a_body():
    """Who sends all of it before reading gets its answer, too."""
    with scene.Daemon("[limits]\nbody_bytes_max = 1M\n") as daemon:
        for path, size, status, code in (
                ("/nowhere", 1000 * KIB, 404, "not_found"),
                ("/channels/-/messages", 1000 * KIB, 400, "bad_channel"),
                (MESSAGES, 3000 * KIB, 413, "too_large"),
                ("/nowhere", 3000 * KIB, 404, "not_found")):
            for _ in range(5):
                answer = daemon.http("POST", path, b"x" * size)
                if answer.status != status:
                    raise scene.Failure(f"{path}: {answer}")
            refused(answer, status, code, f"{path} with {size} bytes")
            scene.equal(answer.headers["Connection"],
                        "close" if size > 1024 * KIB else None, "kept alive?")


def request(method, path, body=b"", *lines):
    head = [f"{method} {path} HTTP/1.1", "Host: x", *lines]
    if body or method == "POST":
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


def scene_requests_sent_ahead():
    """They are answered in order; behind a body nothing is."""
    with scene.Daemon() as daemon:
        parts = [request("GET", "/healthz"), request("GET", "/nowhere"),
                 request("POST", MESSAGES + "?split=lines"),
                 request("GET", "/readyz")] * 10
        data = b"".join(parts)
        for step in (len(data), 1000, 97):
            with scene.Raw(daemon.port) as client:
                for i in range(0, len(data), step):
                    client.send(data[i:i + step])
                got = [client.read_answer() for _ in parts]
            scene.equal([a and a.status for a in got],
                        [200, 404, 201, 200] * 10,
                        f"40 requests in pieces of {step} bytes")
        hearer = daemon.ws("c")
        second = request("POST", MESSAGES, b"second")
        for method, path, body, status in (
                ("POST", MESSAGES, b"x" * 10, 201),
                ("POST", MESSAGES, b"x" * 100000, 201),
                ("POST", "/nowhere", b"x" * 10, 404),
                ("PUT", MESSAGES, b"x" * 10, 405),
                ("GET", "/", b"x" * 10, 200)):
            with scene.Raw(daemon.port) as client:
                client.send(request(method, path, body) + second)
                answer = client.read_answer()
                rest = client.read_all()
            scene.equal((answer.status, rest), (status, b""),
                        f"{method} {path}, and more behind its body")
            if status == 201 and hearer.read_message()[1] != body:
                raise scene.Failure("the body, and not a byte more")
        scene.equal(daemon.metric('channel_messages_total{channel="c"}'), 2,
                    "what was sent ahead was neither published nor answered")


def scene_connection_close():
    with scene.Daemon() as daemon:
        for head, kept in (
                (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", True),
                (b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
                 b"Connection: close\r\n\r\n", False),
                (b"GET /healthz HTTP/1.0\r\n\r\n", False),
                (request("POST", MESSAGES, b"x", "Connection: close"), False)):
            with scene.Raw(daemon.port) as client:
                client.send(head)
                if client.read_answer().status not in (200, 201):
                    raise scene.Failure(str(head))
                if kept:
                    client.send(head)
                    client.read_answer()
                else:
                    scene.equal(client.read_all(), b"", "ended after it")
        scene.check(True, "Connection: close and HTTP/1.0 end")


def scene_head():
    with scene.Daemon() as daemon, scene.Raw(daemon.port) as client:
        for path, status in (("/", 200), ("/healthz", 200), ("/nowhere", 404),
                             (MESSAGES, 405), ("/ws/c", 426)):
            client.send(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = client.read_answer(head=True)
            scene.equal(answer.status, status, f"HEAD {path}")
            if int(answer.headers["Content-Length"]) == 0:
                raise scene.Failure("no length")
        client.send(request("GET", "/healthz"))
        scene.equal(client.read_answer().body, b"ok\n", "no body came between")


def scene_expect_100_continue():
    with scene.Daemon() as daemon:
        with scene.Raw(daemon.port) as client:
            head = request("POST", MESSAGES, b"x" * 5, "Expect: 100-continue")
            client.send(head[:-5])
            scene.equal(client.read_answer().status, 100, "100 first")
            client.send(b"x" * 5)
            scene.equal(client.read_answer().status, 201, "201 then")
            head = request("POST", "/nowhere", b"x" * 5,
                           "Expect: 100-continue")
            client.send(head[:-5])
            scene.equal(client.read_answer().status, 404, "or 404 at once")
        body = scene.TMP / "body"
        body.write_bytes(b"x" * (KIB * KIB))
        done = scene.run(
            ["curl", "-sS", "-o", "/dev/null", "-w",
             "%{http_code} %{time_total}", "--expect100-timeout", "300",
             "--data-binary", f"@{body}", daemon.url + MESSAGES], code=0,
            seconds=60)
        code, seconds = done.stdout.split()
        scene.equal(code, "201", f"curl with 1 MiB: {seconds} s")


def scene_length_required():
    with scene.Daemon() as daemon:
        for what, data in (
                ("no length", b"POST %s HTTP/1.1\r\nHost: x\r\n\r\n"),
                ("chunked", b"POST %s HTTP/1.1\r\nHost: x\r\n"
                 b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
                ("both", b"POST %s HTTP/1.1\r\nHost: x\r\n"
                 b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
                 b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
                ("not a number", b"POST %s HTTP/1.1\r\nHost: x\r\n"
                 b"Content-Length: five\r\n\r\nhello"),
                ("a blank in it", b"POST %s HTTP/1.1\r\nHost: x\r\n"
                 b"Content-Length: 5 0\r\n\r\nhello"),
                ("more than a number holds", b"POST %s HTTP/1.1\r\nHost: x"
                 b"\r\nContent-Length: 9223372036854775808\r\n\r\nhello"),
                ("a sign", b"POST %s HTTP/1.1\r\nHost: x\r\n"
                 b"Content-Length: +5\r\n\r\nhello"),
                ("two lengths", b"POST %s HTTP/1.1\r\nHost: x\r\n"
                 b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!")):
            for _ in range(5):
                with scene.Raw(daemon.port) as client:
                    client.send(data % MESSAGES.encode())
                    answer = client.read_answer()
                    rest = client.read_all()
                if answer is None or answer.status != 411:
                    raise scene.Failure(f"{what}: {answer}")
                if rest:
                    raise scene.Failure(f"{what}: {rest}")
            refused(answer, 411, "length_required", what)
        scene.equal(daemon.metric("channels"), 0, "nothing was published")


def scene_names_that_the_library_misses():
    """X, and others that it takes for the beginning of a header it knows: the
    line behind them is lost to it, be it the length of a body, a token, or the
    end of the head.  Nothing that follows is a request of its own."""
    ahead = b"GET /healthz HTTP/1.1\r\nHost: y\r\n\r\n"
    length = f"Content-Length: {len(ahead)}".encode()
    with scene.Daemon() as daemon:
        hearer = daemon.ws("c")
        for name in (b"X: 1", b"User: me", b"X-Auth: 1", b"no colon", b"a b: 1",
                     b"a\xff: 1"):
            for what, data in (
                    ("GET", b"GET / HTTP/1.1\r\nHost: x\r\n%s\r\n%s\r\n\r\n"
                     % (name, length) + ahead),
                    ("POST", b"POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n%s\r\n\r\n"
                     % (MESSAGES.encode(), name, length) + ahead),
                    ("a length before", b"GET / HTTP/1.1\r\nHost: x\r\n"
                     b"%s\r\n%s\r\nA: b\r\n\r\n" % (length, name) + ahead),
                    ("upgrade", b"GET /ws/c HTTP/1.1\r\nHost: x\r\n%s\r\n"
                     b"A: b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                     b"dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % name)):
                with scene.Raw(daemon.port) as client:
                    client.send(data)
                    answer = client.read_answer()
                    rest = client.read_all()
                if (answer is None or answer.status != 400 or rest or
                        answer.headers["Connection"] != "close"):
                    raise scene.Failure(f"{name}, {what}: {answer}, {rest}")
                refused(answer, 400, "bad_header", f"{name.decode('latin-1')}, "
                        f"{what}")
        with scene.Raw(daemon.port) as client:
            client.send(request("POST", MESSAGES, b"good", "x-a!#$%&'*+.^_`|~"
                                "9: all of these are letters of a name",
                                "Y: 1", "Xx: 1", "Users: 1"))
            scene.equal(client.read_answer().status, 201, "other names do")
        scene.equal(hearer.read_message()[1], b"good", "and nothing before it")


def scene_a_large_body():
    """It is published as it is answered: whole, in order, others go on."""
    with scene.Daemon() as daemon:
        lines = [b"%d " % i + b"y" * 40 for i in range(100000)]
        reader = scene.Client(
            "websocket-client", f"ws://127.0.0.1:{daemon.port}/ws/c", 100000)
        daemon.wait_metric('channel_consumers{channel="c"}', 1)
        answer = post(daemon, b"\n".join(lines), "text/plain",
                      MESSAGES + "?split=lines")
        scene.equal((answer.status, json.loads(answer.body)["accepted"]),
                    (201, 100000), "a POST of 100000 lines, 5 MB")
        scene.equal(reader.result(60)["sha256"], scene.digest(lines),
                    "every line, in order")
        longest = daemon.metric("loop_iteration_longest_microseconds")
        print(f"    longest iteration {longest:.0f} us")


scene.play(globals())
