#!/usr/bin/python3
# sanitizer: yes
"""History and channels by HTTP: what an answer says, what it is not asked,
and that a long one is made in pieces that cost the others nothing."""
import base64
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene

KEPT = "[channel kept]\nhistory_messages = 5\n" \
    "[channel gone]\nhistory_messages = 3\nbuffer_bytes = 64K\n"
NDJSON = {"Accept": "application/x-ndjson"}
OTHER = "0123456789abcdef:7"


def get(daemon, arguments="", channel="kept", **headers):
    return daemon.http("GET", f"/channels/{channel}/messages{arguments}",
                       headers=headers)


def told(daemon, arguments="", channel="kept", **headers):
    answer = get(daemon, arguments, channel, **headers)
    if answer.status != 200:
        raise scene.Failure(f"{arguments}: {answer.status} {answer.body}")
    return scene.json_of(answer)


def offsets(history):
    return [m["offset"] for m in history["messages"]]


def refused(answer, status, code):
    error = scene.json_of(answer).get("error", {})
    scene.equal((answer.status, error.get("code")), (status, code), code)


def scene_what_is_kept():
    with scene.Daemon(KEPT) as daemon:
        daemon.publish("kept", '{ "bid": 1.10 }', "application/json")
        daemon.publish("kept", "caf\u00e9 \"\n")
        daemon.publish("kept", b"\0\xff\x10", "image/png")
        history = told(daemon, "?from=oldest")
        epoch = history["epoch"]
        scene.equal({k: history[k] for k in ("channel", "oldest", "newest",
                                             "position", "recovered")},
                    {"channel": "kept", "oldest": 1, "newest": 3,
                     "position": f"{epoch}:0", "recovered": True}, "the head")
        scene.check("gap" not in history, "no gap")
        payloads = [{k: m[k] for k in m if k in ("data", "text", "base64")}
                    for m in history["messages"]]
        scene.equal(payloads, [
            {"data": {"bid": 1.1}}, {"text": "caf\u00e9 \"\n"},
            {"base64": base64.b64encode(b"\0\xff\x10").decode()}], "payloads")
        scene.check(b'{ "bid": 1.10 }' in get(daemon, "?from=oldest").body,
                    "JSON is passed on byte by byte")
        times = [m["time"] for m in history["messages"]]
        scene.equal(times, sorted(times), "times")
        lines = get(daemon, "?from=oldest", **NDJSON)
        scene.equal(lines.headers["Content-Type"], "application/x-ndjson",
                    "a message a line")
        scene.equal([json.loads(line) for line in lines.body.splitlines()],
                    history["messages"], "the same messages")
        scene.equal((lines.headers["Earshot-Position"],
                     lines.headers["Earshot-Recovered"]),
                    (f"{epoch}:0", "true"), "its head is in headers")


def scene_from_where():
    with scene.Daemon(KEPT) as daemon:
        for n in range(1, 9):
            daemon.publish("kept", f"{n}")
        epoch = told(daemon)["epoch"]
        for arguments, wanted, recovered in (
                ("", [4, 5, 6, 7, 8], True),
                ("?from=oldest", [4, 5, 6, 7, 8], True),
                ("?from=-2", [7, 8], True),
                ("?from=-0", [], True),
                ("?from=-1000", [4, 5, 6, 7, 8], True),
                ("?from=oldest&limit=2", [4, 5], True),
                ("?limit=2", [7, 8], True),
                (f"?from={epoch}:6", [7, 8], True),
                (f"?from={epoch}:6&limit=1", [7], True),
                (f"?from={epoch}:8", [], True),
                (f"?from={epoch}:9", [4, 5, 6, 7, 8], False),
                (f"?from={OTHER}", [4, 5, 6, 7, 8], False)):
            history = told(daemon, arguments)
            scene.equal((offsets(history), history["recovered"]),
                        (wanted, recovered), arguments or "no argument")
            if wanted:
                scene.equal(history["position"], f"{epoch}:{wanted[0] - 1}",
                            "its position is the one before")
        body = "\n".join("z" * 100 for _ in range(20000))
        daemon.publish("gone", "first")
        daemon.publish("gone", body, arguments="?split=lines")
        epoch = told(daemon, "?limit=1", "gone")["epoch"]
        history = told(daemon, f"?from={epoch}:1", "gone")
        scene.equal((history["recovered"], history["gap"], offsets(history)),
                    (False, {"from": 2, "to": history["oldest"] - 1},
                     [19999, 20000, 20001]), "overtaken: the gap is named")


def scene_what_is_refused():
    with scene.Daemon(KEPT) as daemon:
        daemon.publish("kept", "x")
        for limit in ("", "0", "-1", "+1", "%201", "1%20", "1%000",
                      "0x1", "1e3", "10001", "99999999999999999999",
                      "1&limit=2"):
            refused(get(daemon, f"?limit={limit}"), 400, "bad_limit")
        for start in ("new", "-", "5", "1:1", OTHER + "x", OTHER + "%000",
                      "oldest&from=-1"):
            refused(get(daemon, f"?from={start}"), 400, "bad_from")
        refused(get(daemon, channel="never"), 404, "no_channel")
        refused(get(daemon, channel="-"), 400, "bad_channel")
        refused(daemon.http("GET", "/channels/never"), 404, "no_channel")
        refused(get(daemon, Origin="http://elsewhere"), 403, "bad_origin")
        scene.equal(told(daemon, "?limit=10000")["newest"], 1, "still there")
    with scene.Daemon(KEPT + "[auth]\nanonymous = publish\n") as daemon:
        daemon.publish("kept", "x")
        for path in ("/channels", "/channels/kept", "/channels/kept/messages"):
            refused(daemon.http("GET", path), 403, "not_allowed")
    with scene.Daemon("[limits]\nhistory_limit_max = 3\n"
                      "[channel *]\nhistory_messages = 9\n") as daemon:
        daemon.publish("c", "\n".join("abcdefgh"), arguments="?split=lines")
        history = told(daemon, "?from=oldest", "c")
        scene.equal(offsets(history), [1, 2, 3], "history_limit_max")
        scene.equal(daemon.metric("history_limited_total"), 1, "counted")


def scene_channels():
    with scene.Daemon(KEPT) as daemon:
        scene.equal(scene.json_of(daemon.http("GET", "/channels")),
                    {"channels": []}, "none")
        daemon.publish("kept", "hello")
        with daemon.ws("kept"):
            one = scene.json_of(daemon.http("GET", "/channels/kept"))
            scene.equal({k: one[k] for k in ("channel", "oldest", "newest",
                                             "messages", "bytes", "consumers",
                                             "lag")},
                        {"channel": "kept", "oldest": 1, "newest": 1,
                         "messages": 1, "bytes": 5, "consumers": 1,
                         "lag": {"messages": 0, "bytes": 0, "seconds": 0}},
                        "one channel")
            scene.equal(scene.json_of(daemon.http("GET", "/channels")),
                        {"channels": [one]}, "and in the list")


def scene_the_slowest_consumer_s_lag():
    conf = "[channel *]\nbuffer_bytes = 64M\n"
    with scene.Daemon(conf) as daemon:
        stuck = daemon.ws("c", receive_bytes=4096)
        body = b"x" * 1000000
        for _ in range(20):
            daemon.publish("c", body)
        lag = scene.wait_until(
            lambda: scene.json_of(daemon.http("GET", "/channels/c"))["lag"],
            "lag")
        scene.check(lag["messages"] >= 10 and lag["bytes"] >= 10000000 and
                    lag["seconds"] > 0, f"in messages, bytes, seconds: {lag}")
        scene.equal(daemon.metric("channel_lag_messages", channel="c"),
                    lag["messages"], "and in the metrics")
        scene.check(daemon.metric("channel_lag_seconds", channel="c") > 0,
                    "in seconds, too")
        history = told(daemon, "?from=-1&limit=1", "c")["lag"]
        scene.check(history["messages"] == lag["messages"] and
                    history["bytes"] == lag["bytes"] and
                    history["seconds"] >= lag["seconds"], "and in the history")
        stuck.reset()


def scene_a_channel_that_nobody_uses_vanishes():
    """And comes back as another one: of its positions nothing is recovered."""
    conf = "[channel *]\nhistory_messages = 0\nidle_expiry = 500ms\n"
    with scene.Daemon(conf) as daemon:
        used = daemon.ws("used")
        old = daemon.publish("idle", "x")["position"]
        daemon.wait_metric("channels_expired_total", 1)
        refused(get(daemon, channel="idle"), 404, "no_channel")
        daemon.publish("idle", "y")
        history = told(daemon, f"?from={old}", "idle")
        scene.check(history["epoch"] != old.partition(":")[0] and
                    not history["recovered"], "another epoch")
        scene.equal(daemon.http("GET", "/channels/used").status, 200,
                    "one with a consumer stays")
        daemon.publish("used", "hello")
        scene.equal(used.read_text(), "hello", "and is the same")


def scene_old_clients():
    with scene.Daemon(KEPT) as daemon:
        daemon.publish("kept", "hello")
        whole = told(daemon)
        for path in ("/channels/kept/messages", "/channels", "/metrics"):
            with scene.Raw(daemon.port) as client:
                client.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                head, _, body = client.read_all().partition(b"\r\n\r\n")
                scene.check(b"chunked" not in head and
                            b"Connection: close" in head, f"{path}: HTTP/1.0")
                if path.endswith("messages"):
                    scene.equal(json.loads(body), whole, "the same answer")
        with scene.Raw(daemon.port) as client:
            for path in ("/channels", "/metrics", "/channels/kept"):
                client.send(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"
                            .encode())
                scene.equal(client.read_answer(head=True).status, 200,
                            f"HEAD {path}")
            client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
                        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            scene.check(b"\nearshot_channels 1\n" in
                        client.read_answer().body, "no body came between")
            scene.equal(client.read_answer().body, b"ok\n",
                        "what was sent behind it is answered")


def names_in(text):
    return [line.partition('channel="')[2].partition('"')[0]
            for line in text.splitlines()
            if line.startswith("earshot_channel_consumers{")]


def scene_many_channels_in_pieces():
    """3000 channels: an answer that is not read is not made, a whole one has
    all of them, and what others do goes on between the pieces."""
    count = 3000
    with scene.Daemon() as daemon:
        wanted = sorted(f"ch.{n:04d}" for n in range(count))
        with scene.Raw(daemon.port) as client:
            for name in wanted:
                client.send(f"POST /channels/{name}/messages HTTP/1.1\r\n"
                            "Host: x\r\nContent-Length: 1\r\n\r\nx".encode())
                if client.read_answer().status != 201:
                    raise scene.Failure("not published")
        for path, get_names in (
                ("/channels", lambda body: [
                    c["channel"] for c in json.loads(body)["channels"]]),
                ("/metrics", lambda body: names_in(body.decode()))):
            before = daemon.metric("answer_slices_total")
            answer = daemon.http("GET", path)
            pieces = daemon.metric("answer_slices_total") - before
            scene.equal(sorted(get_names(answer.body)), wanted,
                        f"{path}: {len(answer.body)} bytes, each channel")
            scene.check(pieces > len(answer.body) / 40000,
                        f"{path}: made in {pieces:.0f} pieces")
            with scene.Raw(daemon.port, receive_bytes=4096) as lazy:
                lazy.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                with daemon.ws("ch.0000") as consumer:
                    daemon.publish("ch.0000", "hi")
                    scene.equal(consumer.read_text(), "hi",
                                "a consumer meanwhile")
                scene.equal(sorted(get_names(lazy.read_answer().body)),
                            wanted, "who reads late gets all, too")


scene.play(globals())
