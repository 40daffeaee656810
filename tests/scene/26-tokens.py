#!/usr/bin/python3
# sanitizer: yes
# limit: 200
"""Tokens: what is believed, what is refused and how, and what they allow."""
import json
import os
import sys
import time

import jwt

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import control
import scene
import tokens

KEYS = {a: tokens.Key(a, scene.TMP) for a in tokens.ALGORITHMS}
STRANGER = {a: tokens.Key(a, scene.TMP) for a in tokens.ALGORITHMS}
ES = KEYS["ES256"]
TEXT = {"Content-Type": "text/plain"}


def conf(*keys, anonymous="none", more=""):
    lines = [f"token_key = {key.path}" for key in keys or KEYS.values()]
    return "\n".join(["[auth]", f"anonymous = {anonymous}", *lines, more, ""])


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def upgrade(daemon, path, headers=None):
    """(status, headers, body) of the answer to an upgrade."""
    client = scene.WebSocket(daemon.port, path, headers)
    answer = scene.Answer(client.status, client.headers, client.body)
    client.close()
    return answer


def v1(daemon, headers=None, arguments=""):
    client = scene.WebSocket(daemon.port, "/ws" + arguments, {
        "Sec-WebSocket-Protocol": "earshot.v1", **(headers or {})})
    scene.equal(client.status, 101, "earshot.v1: upgrade")
    return client


def ask(client, command, **members):
    """The reply to a command; messages between are passed over."""
    client.send_text(json.dumps({"id": 1, command: members}))
    while "id" not in (got := json.loads(client.read_text())):
        pass
    return got["ok"] if "ok" in got else got["error"]["code"]


def ways(daemon):
    """Every way in: a name, and what asks with these headers and query."""
    def get(path):
        return lambda headers, query="": daemon.http(
            "GET", path + query, headers=headers)

    def sse(headers, query=""):
        client = scene.Raw(daemon.port)
        lines = "".join(f"{n}: {v}\r\n" for n, v in headers.items())
        client.send(f"GET /sse/ticks.a{query} HTTP/1.1\r\nHost: h\r\n{lines}"
                    "\r\n".encode("latin-1"))
        block = client.read_until(b"\r\n\r\n").decode("latin-1")
        client.close()
        first, *rest = block.split("\r\n")
        headers = dict(line.split(": ", 1) for line in rest if line)
        return scene.Answer(int(first.split()[1]), headers, b"")

    return {
        "history": get("/channels/ticks.a/messages"),
        "a channel": get("/channels/ticks.a"),
        "the list": get("/channels"),
        "SSE": sse,
        "publish": lambda headers, query="": daemon.http(
            "POST", f"/channels/ticks.a/messages{query}", b"x",
            {**TEXT, **headers}),
        "raw": lambda headers, query="": upgrade(
            daemon, f"/ws/ticks.a{query}", headers),
        "earshot.v1": lambda headers, query="": upgrade(
            daemon, f"/ws{query}",
            {"Sec-WebSocket-Protocol": "earshot.v1", **headers}),
    }


WELCOME = {"publish": 201, "raw": 101, "earshot.v1": 101}


def scene_each_algorithm_each_way():
    with scene.Daemon(conf()) as daemon:
        everything = ways(daemon)
        daemon.http("POST", "/channels/ticks.a/messages", b"x",
                    {**TEXT, **bearer(ES.token(publish=["ticks.a"]))})
        for algorithm, key in KEYS.items():
            token = key.token(subscribe=["ticks.*"], publish=["ticks.*"])
            for name, way in everything.items():
                wanted = WELCOME.get(name, 200)
                got = (way(bearer(token)).status,
                       way({}, f"?access_token={token}").status)
                scene.equal(got, (wanted, wanted),
                            f"{algorithm}, {name}: by header, by query")
        scene.equal(daemon.metric("tokens_accepted_total"),
                    1 + 2 * len(KEYS) * len(everything), "all are counted")


def refused():
    """What it is, the token, a word of what it is refused with."""
    good = ES.token(subscribe=["**"])
    head, body, signature = good.split(".")
    none = tokens.put({"alg": "none"}, tokens.claims(subscribe=["**"]))
    public = tokens.put({"alg": "HS256"}, tokens.claims(subscribe=["**"]))
    forged = jwt.api_jws.PyJWS()._algorithms["HS256"]  # as RFC 8725 warns of
    public = public[:-1] + "." + tokens.base64url(forged.sign(
        public[:-1].encode(), ES.public))
    yield "no token at all", "x", "malformed"
    yield "empty", "", "malformed"
    yield "two parts", f"{head}.{body}", "malformed"
    yield "a bit of the signature", \
        f"{head}.{body}.{'B' if signature[0] == 'A' else 'A'}" \
        f"{signature[1:]}", "signature"
    yield "other claims", \
        f"{head}.{tokens.base64url(json.dumps(tokens.claims()).encode())}." \
        f"{signature}", "signature"
    yield "alg none", none, None
    yield "a public key as a secret", public, None
    for algorithm, key in STRANGER.items():
        yield f"{algorithm} of a stranger", key.token(subscribe=["**"]), \
            "signature"
    yield "expired", ES.token(subscribe=["**"], lasts_s=-31), "expired"
    yield "not yet", ES.token(subscribe=["**"], nbf=int(time.time()) + 100), \
        "not_yet"
    yield "no exp", ES.token(subscribe=["**"], exp=None), "claims"
    yield "another issuer", ES.token(subscribe=["**"], iss="x", aud="us"), \
        "issuer"
    yield "another audience", ES.token(
        subscribe=["**"], iss="https://id", aud=["x"]), "audience"
    yield "too long", "x" * 8193, "malformed"


def scene_refusals():
    """Each way, by header and by query; nothing of it is done."""
    text = conf(ES, KEYS["HS256"], anonymous="subscribe publish",
                more="token_issuer = https://id\ntoken_audience = us") + \
        "[limits]\nhead_bytes_max = 64K\n"
    with scene.Daemon(text) as daemon:
        good = ES.token(iss="https://id", aud=["x", "us"])
        daemon.publish("ticks.a", "x")
        for name, way in ways(daemon).items():
            wanted = WELCOME.get(name, 200)
            scene.equal(way(bearer(good)).status, wanted,
                        f"{name}: issuer and audience are right")
            scene.equal(way({}).status, wanted, f"{name}: without a token")
            check_refused(daemon, name, way)
        newest = json.loads(daemon.http("GET", "/channels/ticks.a").body)
        scene.equal(newest["newest"], 3, "nothing else was published")


def check_refused(daemon, name, way):
    count = 0
    for what, token, reason in refused():
        for arguments in ((bearer(token),), ({}, f"?access_token={token}")):
            before = daemon.metrics() if name == "history" else {}
            answer = way(*arguments)
            count += 1
            challenge = answer.headers["WWW-Authenticate"] or ""
            if answer.status != 401 or "error=\"invalid_token\"" not in \
                    challenge or "error_description=\"" not in challenge or \
                    not challenge.startswith("Bearer realm=\"earshot\""):
                raise scene.Failure(f"{name}, {what}: {answer}")
            if reason is not None and name == "history":
                wanted = f'tokens_refused_total{{reason="{reason}"}}'
                if daemon.metric(wanted) != before[wanted] + 1:
                    raise scene.Failure(f"{what}: {reason} is not counted")
            if token and token.encode() in answer.body:
                raise scene.Failure(f"{what}: the answer has it: {answer}")
    scene.check(True, f"{name}: {count} are refused with 401")


def scene_two_tokens():
    with scene.Daemon(conf()) as daemon:
        token = ES.token(subscribe=["**"], publish=["**"])
        for name, way in ways(daemon).items():
            answers = (way(bearer(token), f"?access_token={token}"),
                       way({}, f"?access_token={token}&access_token={token}"))
            for answer in answers:
                scene.equal(answer.status, 400, f"{name}: two tokens")
                scene.check("error=\"invalid_request\"" in
                            answer.headers["WWW-Authenticate"], "invalid")
        for first in f"Bearer {token}", "Basic eDp5":
            client = scene.Raw(daemon.port)
            client.send(("GET /channels HTTP/1.1\r\nHost: h\r\n"
                         f"Authorization: {first}\r\n"
                         f"Authorization: Bearer {token}\r\n\r\n").encode())
            scene.equal(client.read_answer().status, 400,
                        f"two headers, one of {first[:6]}")
            client.close()
        scene.equal(daemon.metric("tokens_refused_total", reason="two"),
                    2 * len(ways(daemon)) + 2, "counted")


def scene_how_a_header_may_look():
    with scene.Daemon(conf()) as daemon:
        token = ES.token(subscribe=["**"])
        for value, status in (
                (f"bearer {token}", 200), (f"BEARER   {token}  ", 200),
                (f"Bearer\t{token}", 200), (f"Bearer {token} x", 401),
                ("Bearer", 401), (f"Bearer{token}", 401),
                (f"Basic {token}", 401), (f"Digest a={token}", 401),
                (token, 401)):
            answer = daemon.http("GET", "/channels",
                                 headers={"Authorization": value})
            scene.equal(answer.status, status, repr(value[:12]))
            ours = "invalid_token" in str(answer.headers["WWW-Authenticate"])
            scene.equal(ours, value in ("Bearer", f"Bearer {token} x"),
                        "ours, and no token" if ours else "ours and good, "
                        "or not ours")
        escaped = token.replace(".", "%2E")
        scene.equal(daemon.http("GET", f"/channels?access_token={escaped}")
                    .status, 200, "escaped in the query")
        answer = daemon.http("GET", f"/channels?access_token={token}")
        scene.check("private" in answer.headers["Cache-Control"],
                    "what came by the query is not for shared caches")
        answer = daemon.http("OPTIONS", "/channels/a/messages")
        scene.check("Authorization" in
                    answer.headers["Access-Control-Allow-Headers"],
                    "a page may send the header")


def scene_rights_are_of_patterns():
    token = ES.token(subscribe=["ticks.*", "log.**"], publish=["jobs"])
    with scene.Daemon(conf()) as daemon:
        me, no = bearer(token), "the right is missing"
        for channel in ("ticks.a", "jobs", "secret"):
            answer = daemon.http(
                "POST", f"/channels/{channel}/messages", b"x",
                {**TEXT, **bearer(ES.token(publish=["**"]))})
            scene.equal(answer.status, 201, f"somebody fills {channel}")
        for path, status in (
                ("/channels/ticks.a/messages", 200),
                ("/channels/ticks.a", 200), ("/channels/log.x.y", 404),
                ("/channels/secret/messages", 403),
                ("/channels/secret", 403), ("/channels/ticks.a.b", 403),
                ("/sse/secret", 403), ("/channels/jobs/messages", 403)):
            answer = daemon.http("GET", path, headers=me)
            scene.equal(answer.status, status, f"GET {path}")
            scene.equal("insufficient_scope" in
                        str(answer.headers["WWW-Authenticate"]),
                        status == 403, "and so says the challenge")
        for channel, status in (("jobs", 201), ("ticks.a", 403)):
            answer = daemon.http("POST", f"/channels/{channel}/messages",
                                 b"x", {**TEXT, **me})
            scene.equal(answer.status, status, f"POST to {channel}")
        listed = json.loads(daemon.http("GET", "/channels", headers=me).body)
        scene.equal([c["channel"] for c in listed["channels"]], ["ticks.a"],
                    "the list has what may be heard")
        raw = scene.WebSocket(daemon.port, "/ws/ticks.a", me)
        raw.send_text("x")
        scene.equal(raw.read_closed()[0], 1008, "raw: publishing, " + no)
        scene.equal(upgrade(daemon, "/ws/secret", me).status, 403,
                    "raw: subscribing, " + no)
        client = v1(daemon, me)
        for command, channel, wanted in (
                ("subscribe", "ticks.a", True), ("subscribe", "log.a.b", True),
                ("subscribe", "secret", False), ("publish", "jobs", True),
                ("publish", "ticks.a", False)):
            more = {"text": "x"} if command == "publish" else {}
            got = ask(client, command, channel=channel, **more)
            scene.equal(got == "not_allowed", not wanted,
                        f"earshot.v1: {command} {channel}: {got}")
        both = scene.WebSocket(daemon.port, "/ws/a", bearer(
            ES.token(subscribe=["a"], publish=["a"])))
        both.send_text("hello")
        scene.equal(both.read_text(), "hello", "raw: both rights")


def scene_a_token_adds():
    with scene.Daemon(conf(anonymous="subscribe")) as daemon:
        nothing = bearer(ES.token(sub="nobody"))
        scene.equal(daemon.http("GET", "/channels", headers=nothing).status,
                    200, "what everybody may, a token takes not away")
        answer = daemon.http("POST", "/channels/a/messages", b"x", TEXT)
        scene.equal((answer.status, answer.headers["WWW-Authenticate"]),
                    (401, "Bearer realm=\"earshot\""),
                    "without one: 401, no error is named")
        answer = daemon.http("POST", "/channels/a/messages", b"x",
                             {**TEXT, **nothing})
        scene.equal(answer.status, 403, "with one that does not say so")
        scene.equal(upgrade(daemon, "/ws/a").status, 101, "subscribing")
    with scene.Daemon(conf()) as daemon:
        for name, way in ways(daemon).items():
            scene.equal(way({}).status, 101 if name == "earshot.v1" else 401,
                        f"{name}: nobody may anything")
        client = v1(daemon)
        scene.equal([ask(client, "subscribe", channel="a"),
                     ask(client, "publish", channel="a", text="x")],
                    ["no_token"] * 2, "earshot.v1: nor there")
        for path in ("/healthz", "/readyz", "/metrics", "/"):
            scene.equal(daemon.http("GET", path, headers=bearer("x")).status,
                        200, f"{path}: nobody looks at tokens")


def scene_without_keys_nobody_looks():
    with scene.Daemon("[auth]\nanonymous = subscribe\n") as daemon:
        for name, way in ways(daemon).items():
            wanted = {"publish": 403, "history": 404, "a channel": 404}.get(
                name, WELCOME.get(name, 200))
            for answer in (way(bearer("x")), way({}, "?access_token=x"),
                           way(bearer("x"), "?access_token=x")):
                scene.equal((answer.status,
                             answer.headers.get("WWW-Authenticate")),
                            (wanted, None), f"{name}: as ever")


def scene_each_request_of_a_kept_connection_anew():
    with control.Daemon(conf()) as daemon:
        kept = daemon.http_open()
        reader = bearer(ES.token(subscribe=["a"], sub="reader"))
        writer = bearer(ES.token(publish=["a"], sub="writer"))
        for headers, method, status in (
                (writer, "POST", 201), (reader, "GET", 200),
                (reader, "POST", 403), ({}, "GET", 401), (writer, "GET", 403),
                (bearer("x"), "GET", 401), ({}, "POST", 401),
                (reader, "GET", 200)):
            answer = scene.http_on(
                kept, method, "/channels/a/messages",
                b"x" if method == "POST" else None, {**TEXT, **headers})
            scene.equal(answer.status, status, f"{method}")
        subjects = [c.get("subject")
                    for c in daemon.look("connections")["connections"]
                    if c["endpoint"] == "http"]
        scene.equal(subjects, ["reader"], "one connection, the last subject")
        scene.http_on(kept, "GET", "/healthz")
        scene.check("subject" not in daemon.earshot(
            "connections", "--json").stdout, "that of its last request")
        kept.close()


def scene_a_refusal_waits_for_its_body():
    """Who has an answer may send the next request."""
    with scene.Daemon(conf()) as daemon:
        client = scene.Raw(daemon.port)
        head = "POST /channels/a/messages HTTP/1.1\r\nHost: h\r\n" \
               "Content-Type: text/plain\r\nContent-Length: 100000\r\n"
        for headers, status in ((bearer("x"), 401), ({}, 401), (bearer(
                ES.token(subscribe=["a"])), 403), (bearer(
                    ES.token(publish=["a"])), 201)):
            lines = "".join(f"{n}: {v}\r\n" for n, v in headers.items())
            client.send(f"{head}{lines}\r\n".encode())
            client.send(b"x" * 99999)
            daemon.http("GET", "/channels", headers=bearer("y"))
            client.send(b"y")
            answer = client.read_answer()
            scene.equal(answer.status, status, "after its body")
            if status != 201:
                wanted = "Bearer realm=\"earshot\"" + {
                    "x": ", error=\"invalid_token\", error_description=\"no "
                         "JSON Web Token in compact form\"", "": ""}.get(
                    headers.get("Authorization", "")[7:],
                    ", error=\"insufficient_scope\", error_description="
                    "\"publishing is not allowed\"")
                scene.equal(answer.headers["WWW-Authenticate"], wanted, "why")
        client.close()


def scene_heads_that_are_too_large():
    with scene.Daemon(conf()) as daemon:
        long = ES.token(subscribe=["**"], pad="x" * 3000)
        scene.equal(daemon.http("GET", "/channels", headers=bearer(long))
                    .status, 200, f"a token of {len(long)} bytes")
        before = daemon.metric("refused_head_bytes_total")
        client = scene.Raw(daemon.port)
        client.send(f"GET /channels HTTP/1.1\r\nHost: h\r\nAuthorization: "
                    f"Bearer {'y' * 20000}\r\n\r\n".encode())
        scene.equal(client.read_all(), b"", "over head_bytes_max: hung up on")
        daemon.wait_metric("refused_head_bytes_total", before + 1)
        client.close()
        scene.equal(daemon.http("GET", "/channels", headers=bearer(long))
                    .status, 200, "the others are served")


def scene_nobody_is_told():
    """Not the log, not with every word of the library's, nor any list."""
    token = ES.token(subscribe=["**"], sub="mo\n\u00e9" + "m" * 60)
    bad = STRANGER["ES256"].token(subscribe=["**"])
    with control.Daemon(conf(anonymous="subscribe") +
                        "[log]\nlevel = debug\n") as daemon:
        said = []
        for one in token, bad:
            for way in ways(daemon).values():
                said.append(way(bearer(one)))
                said.append(way({}, f"?access_token={one}"))
                said.append(way({}, f"?access_token={one}&from=wrong"))
            for method, path in (("GET", "/nowhere"), ("PUT", "/channels"),
                                 ("GET", "/ws"), ("DELETE", "/sse/a")):
                said.append(daemon.http(
                    method, f"{path}?access_token={one}", headers=bearer(one)))
            for junk in ("GET /ws/a?access_token=%s HTTP/9.9\r\n\r\n",
                         "NO /?access_token=%s\r\n\r\n",
                         "GET /sse/a?access_token=%s%%zz HTTP/1.1\r\n\r\n",
                         "GET / HTTP/1.1\r\nAuthorization: Bearer %s\0\r\n"):
                client = scene.Raw(daemon.port)
                client.send((junk % one).encode())
                client.end()
                said.append(client.read_all())
                client.close()
        listener = scene.WebSocket(
            daemon.port, f"/ws/a?access_token={token}")
        other = v1(daemon, bearer(token))
        said += [daemon.earshot(*what).stdout for what in (
            ("connections",), ("connections", "--json"), ("channels",),
            ("status",), ("status", "--json"))]
        scene.check("subject" in said[-4], "whose it is can be seen")
        scene.check("SUBJECT" in said[-5] and "mo?" in said[-5] or
                    "mo\\" in said[-5], f"on a terminal: {said[-5]}")
        said.append(daemon.http("GET", "/metrics").body)
        name = daemon.look("connections")["connections"][0]["conn"]
        said.append(daemon.earshot("kick", name).stdout)
        said.append(listener.read_closed())
        other.close()
        daemon.signal(10)  # SIGUSR1: its state
        daemon.wait_log("state: listening")
        said.append(daemon.log())
        for one in token, bad:
            for part in one.split("."):
                if part in repr(said):
                    at = repr(said).find(part)
                    raise scene.Failure(f"told: {repr(said)[at - 300:at]}")
        scene.check(daemon.log_count("DEBUG"), "the log says a lot, no token")


def scene_libraries_as_they_are():
    with scene.Daemon(conf()) as daemon:
        token = ES.token(subscribe=["b"])
        answer = daemon.http(
            "POST", "/channels/b/messages?split=lines", b"1\n2\n3",
            {**TEXT, **bearer(ES.token(publish=["b"]))})
        scene.equal(answer.status, 201, "three messages")
        for kind in scene.CLIENTS:
            url = f"ws://127.0.0.1:{daemon.port}/ws/b?from=oldest"
            for name, more, env in (
                    ("by query", f"&access_token={token}", None),
                    ("by header", "", token)):
                os.environ.pop("CLIENT_TOKEN", None)
                if env:
                    os.environ["CLIENT_TOKEN"] = env
                got = scene.Client(kind, url + more, 3).result()
                scene.equal(got["sha256"], scene.digest(
                    [b"1", b"2", b"3"]), f"{kind}, {name}")
            os.environ.pop("CLIENT_TOKEN", None)
        url = f"{daemon.url}/channels/b/messages"
        got = scene.run(["curl", "-sS", "--oauth2-bearer", token, url],
                        code=0).stdout
        scene.equal(json.loads(got)["newest"], 3, "curl --oauth2-bearer")
        got = scene.run(["curl", "-sS", "-w", "%{http_code}", "-o",
                         "/dev/null", url], code=0).stdout
        scene.equal(got, "401", "curl without one")


scene.play(globals())
