#!/usr/bin/python3
# sanitizer: yes
"""earshot.v1: faulty commands, limits, long messages, compression's traps."""
import json
import os
import sys
import threading
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene

V1 = {"Sec-WebSocket-Protocol": "earshot.v1"}
DEFLATE = "permessage-deflate"
LONG = 10 * 1000 * 1000


def connect(daemon, **options):
    headers = dict(V1, **options.pop("headers", {}))
    client = scene.WebSocket(daemon.port, "/ws", headers=headers, **options)
    scene.equal(client.status, 101, "the upgrade")
    return client


def ask(client, command):
    client.send_text(command if isinstance(command, str)
                     else json.dumps(command))
    return json.loads(client.read_text())


def scene_faulty_commands():
    with scene.Daemon("[limits]\nviolations_max = 1000\n") as daemon:
        client = connect(daemon)
        deep = '{"id":1,"publish":{"channel":"c","data":' + "[" * 200 + \
            "]" * 200 + "}}"
        for text, code, word in (
                ("", "bad_json", ""), ("{", "bad_json", ""),
                ("[]", "bad_command", ""), ('"x"', "bad_command", ""),
                ('{"id":1}', "bad_command", "publish"),
                ('{"ping":{}}', "bad_id", "id"),
                ('{"id":"1","ping":{}}', "bad_id", "id"),
                ('{"id":-1,"ping":{}}', "bad_id", "id"),
                ('{"id":1.5,"ping":{}}', "bad_id", "id"),
                ('{"id":1,"dance":{}}', "unknown_command", "dance"),
                ('{"id":1,"ping":{},"subscribe":{"channel":"c"}}',
                 "bad_command", ""),
                ('{"id":1,"ping":{"x":1}}', "unknown_field", "x"),
                ('{"id":1,"subscribe":{}}', "missing_field", "channel"),
                ('{"id":1,"subscribe":[]}', "bad_type", "subscribe"),
                ('{"id":1,"subscribe":{"channel":5}}', "bad_type", "channel"),
                ('{"id":1,"subscribe":{"channel":"-"}}', "bad_channel",
                 "channel"),
                ('{"id":1,"subscribe":{"channel":"c","channel":"d"}}',
                 "duplicate_field", "channel"),
                ('{"id":1,"subscribe":{"channel":"c","from":"new"}}',
                 "bad_from", "from"),
                ('{"id":1,"publish":{"channel":"c"}}', "missing_field",
                 "data"),
                ('{"id":1,"publish":{"channel":"c","base64":"*"}}',
                 "bad_base64", "base64"),
                (deep, "bad_json", "")):
            told = ask(client, text)
            scene.check(told["error"]["code"] == code and
                        word in told["error"]["message"],
                        f"{text[:50]}: {told}")
        scene.equal(ask(client, {"id": 2, "subscribe": {"channel": "c"}})
                    ["ok"]["recovered"], True, "and it lives")
        scene.equal(ask(client, {"id": 3, "subscribe": {"channel": "c"}})
                    ["error"]["code"], "already_subscribed", "a second time")
        scene.equal(ask(client, {"id": 4, "unsubscribe": {"channel": "d"}})
                    ["error"]["code"], "not_subscribed", "never was")
        scene.check(daemon.metric("v1_errors_total") >= 22, "counted")


def scene_subprotocols():
    with scene.Daemon() as daemon:
        for offer in ("earshot.v1", "raw, earshot.v1", "x ,earshot.v1, y"):
            client = connect(daemon, headers={"Sec-WebSocket-Protocol": offer})
            scene.equal(client.headers["Sec-WebSocket-Protocol"], "earshot.v1",
                        offer)
        for offer in (None, "raw", "Earshot.v1", "earshot.v10"):
            client = scene.WebSocket(daemon.port, "/ws", headers={
                "Sec-WebSocket-Protocol": offer})
            scene.equal(client.status, 400, str(offer))


def scene_violations_close():
    with scene.Daemon("[limits]\nviolations_max = 5\n") as daemon:
        client = connect(daemon)
        for _ in range(4):
            ask(client, "nonsense")
        ask(client, {"id": 1, "unsubscribe": {"channel": "x"}})  # is none
        client.send_text("nonsense")
        scene.equal(client.read_closed()[0], 1008, "the fifth")
        scene.equal(daemon.metric("refused_violations_total"), 1, "counted")
        client = connect(daemon)
        client.send_frame(scene.BINARY, b"{}")
        scene.equal(client.read_closed()[0], 1003, "a binary message")
        client = connect(daemon)
        client.send_frame(scene.TEXT, b"x" * 4096, length=1 << 40)
        # It is the rest of that frame, whatever we answer.
        scene.equal(client.read_closed(answer=False)[0], 1009,
                    "a terabyte announced")


def scene_limits():
    conf = "[limits]\nsubscriptions_max = 64\nout_bytes_max = 16K\n"
    with scene.Daemon(conf) as daemon:
        client = connect(daemon)
        client.send(b"".join(
            scene.frame(scene.TEXT, json.dumps(
                {"id": n, "subscribe": {"channel": f"c{n}"}}).encode())
            for n in range(1000)))
        told = [json.loads(client.read_text()) for _ in range(1000)]
        scene.equal([t["id"] for t in told], list(range(1000)), "answers")
        scene.equal(sum("ok" in t for t in told), 64, "subscribed")
        scene.equal({t["error"]["code"] for t in told if "error" in t},
                    {"too_many_subscriptions"}, "and then")
        scene.equal(daemon.metric("refused_subscriptions_total"), 936,
                    "counted")
        greedy = connect(daemon, receive_bytes=2048)
        ping = scene.frame(scene.TEXT, b'{"id":1,"ping":{}}')
        try:
            while daemon.metric("refused_out_total") == 0:
                greedy.send(ping * 20000)
        except OSError:
            pass  # it was closed while we asked
        scene.equal(daemon.metric("refused_out_total"), 1,
                    "who never reads its replies")
        scene.equal(ask(client, {"id": 1, "ping": {}}), {"id": 1, "ok": {}},
                    "the others live")


def scene_too_large():
    with scene.Daemon("[limits]\nmessage_bytes_max = 1K\n") as daemon:
        client = connect(daemon)
        for payload in ({"text": "x" * 1025}, {"data": "x" * 1025},
                        {"base64": "QUFB" * 342}):
            told = ask(client, {"id": 1, "publish": {"channel": "c",
                                                     **payload}})
            scene.equal((told["id"], told["error"]["code"]),
                        (1, "too_large"), str(*payload))
        told = ask(client, {"id": 2, "publish": {"channel": "c",
                                                 "text": "x" * 1024}})
        scene.check("position" in told["ok"], "as long as may be")
        scene.equal(daemon.metric("refused_message_bytes_total"), 3, "counted")


def scene_the_server_goes():
    """closing, a moment of its own for each, then 1001 with the same."""
    with scene.Daemon("[drain]\nretry_spread = 3s\n") as daemon:
        clients = [connect(daemon) for _ in range(5)]
        for client in clients:
            ask(client, {"id": 1, "subscribe": {"channel": "c"}})
        daemon.publish("c", "last words")
        daemon.signal()
        waits = []
        for client in clients:
            scene.equal(json.loads(client.read_text())["text"], "last words",
                        "all there is")
            closing = json.loads(client.read_text())["closing"]
            waits.append(closing["retry_after_ms"])
            scene.equal((closing["reason"], client.read_closed()),
                        ("shutdown",
                         (1001, f"shutdown retry_after_ms={waits[-1]}")),
                        "closing, and the close")
        scene.equal(daemon.wait(), 0, "delivered")
        scene.check(all(0 <= w <= 3000 for w in waits) and
                    len(set(waits)) > 1, f"when to come back: {waits}")


def scene_rights():
    with scene.Daemon("[auth]\nanonymous = subscribe\n") as daemon:
        client = connect(daemon)
        told = ask(client, {"id": 1, "publish": {"channel": "c", "text": ""}})
        scene.equal(told["error"]["code"], "not_allowed", "a publish")


def scene_between_fragments():
    """Nothing stands inside a long message; replies stand between two."""
    conf = "[limits]\nmessage_bytes_max = 16M\nbody_bytes_max = 16M\n" \
        "[channel *]\nhistory_bytes = 128M\nbuffer_bytes = 128M\n"
    with scene.Daemon(conf) as daemon:
        text = "0123456789" * (LONG // 10)
        clients = [connect(daemon, receive_bytes=0 if n % 2 else 65536)
                   for n in range(6)]
        for client in clients:
            ask(client, {"id": 1, "subscribe": {"channel": "a"}})
            ask(client, {"id": 2, "subscribe": {"channel": "b"}})
        for channel in "ab" * 2:
            daemon.publish(channel, text)

        def hear(client, told):
            client.send_text('{"id":7,"ping":{}}')
            client.send_frame(scene.PING, b"are you there")
            client.send_text('{"id":8,"unsubscribe":{"channel":"b"}}')
            while True:
                said = json.loads(client.read_text())
                told.append(said)
                if said.get("id") == 8:
                    break
            client.send_text('{"id":9,"ping":{}}')
            while told[-1].get("id") != 9 or \
                    sum(t.get("channel") == "a" for t in told) < 2:
                told.append(json.loads(client.read_text()))

        told = [[] for _ in clients]
        threads = [threading.Thread(target=hear, args=pair)
                   for pair in zip(clients, told)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for client, said in zip(clients, told):
            if not said or said[-1] != {"id": 9, "ok": {}} and \
                    {"id": 9, "ok": {}} not in said:
                raise scene.Failure(f"{len(said)} answers")
            bad = [s for s in said if "text" in s and s["text"] != text]
            ended = said.index({"id": 8, "ok": {"channel": "b"}})
            late = [s for s in said[ended:] if s.get("channel") == "b"]
            if bad or late or client.pongs != [b"are you there"]:
                raise scene.Failure(
                    f"{len(bad)} bad, {len(late)} late, {client.pongs}")
        print("    6 x 20 MB in order, replies and pongs between")


def inside_a_message(daemon):
    """A subscriber of `long` whose socket is full in the middle of one."""
    client = connect(daemon, receive_bytes=65536)
    ask(client, {"id": 1, "subscribe": {"channel": "long"}})
    daemon.publish("long", "0123456789" * (LONG // 10))
    client.send_text('{"id":2,"ping":{}}')
    daemon.wait_metric("v1_commands_total", 2)
    return client


def scene_back_before_it_has_left():
    """unsubscribe and subscribe again inside a message: the first still ends
    with it, the second is another subscription."""
    conf = "[limits]\nmessage_bytes_max = 16M\nbody_bytes_max = 16M\n" \
        "[channel *]\nbuffer_bytes = 64M\n"
    with scene.Daemon(conf) as daemon:
        client = inside_a_message(daemon)
        for command in ({"id": 3, "unsubscribe": {"channel": "long"}},
                        {"id": 4, "unsubscribe": {"channel": "long"}},
                        {"id": 5, "subscribe": {"channel": "long"}}):
            client.send_text(json.dumps(command))
        daemon.wait_metric("v1_commands_total", 5)
        daemon.publish("long", "after")
        told = [json.loads(client.read_text()) for _ in range(6)]
        scene.equal([t.get("id") or len(t["text"]) for t in told],
                    [LONG, 2, 3, 4, 5, 5], "in this order")
        scene.equal(told[3]["error"]["code"], "not_subscribed", "only once")
        scene.check(told[4]["ok"]["recovered"], "subscribed")
        scene.equal(daemon.metric("channel_consumers", channel="long"), 1,
                    "consumers that are left")


def scene_a_reply_behind_what_will_not_end():
    """A message is overtaken while it is written and a reply waits behind it:
    the close is waited with, not spun with."""
    conf = "[limits]\nmessage_bytes_max = 16M\nbody_bytes_max = 16M\n" \
        "close_timeout = 1s\n" \
        "[channel *]\nhistory_messages = 0\nbuffer_bytes = 64K\n"
    with scene.Daemon(conf) as daemon:
        client = inside_a_message(daemon)
        for _ in range(3):
            daemon.publish("long", "x" * LONG)
        before = daemon.metric("loop_iterations_total")
        scene.wait_until(lambda: client.read(65536) and
                         daemon.metric("overruns_total") == 1, "overtaken")
        daemon.wait_metric("timeouts_close_total", 1)
        turns = daemon.metric("loop_iterations_total") - before
        scene.check(turns < 10000, f"{turns:.0f} iterations until it was cut")


def deflated(data):
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]


def scene_compression():
    with scene.Daemon() as daemon:
        for offer, accepted in (
                (DEFLATE, True), (DEFLATE + "; client_max_window_bits", True),
                (DEFLATE + "; server_max_window_bits=9", False),
                (DEFLATE + "; server_no_context_takeover", True),
                (DEFLATE + "; client_max_window_bits, " + DEFLATE, True),
                (DEFLATE + ", " + DEFLATE + "; client_max_window_bits", False),
                (DEFLATE + ", x-webkit-deflate-frame", True),
                ("x-webkit-deflate-frame", False)):
            client = connect(
                daemon, headers={"Sec-WebSocket-Extensions": offer})
            told = client.headers.get("Sec-WebSocket-Extensions")
            scene.equal(told is not None, accepted, offer)
        for size, status in ((254, 101), (255, 400)):
            client = scene.WebSocket(daemon.port, "/ws/c", headers={
                "Sec-WebSocket-Extensions": "x" * size})
            scene.equal(client.status, status, f"{size} bytes of offers")
        client = scene.WebSocket(daemon.port, "/ws/c", headers={
            "Sec-WebSocket-Extensions": DEFLATE})
        client.send_frame(scene.TEXT, deflated(b"tick " * 100), rsv=4)
        got = client.read_frame()
        scene.equal(zlib.decompressobj(-15).decompress(
            got.payload + b"\x00\x00\xff\xff"), b"tick " * 100, "back, compressed once for all")
        scene.equal(daemon.metric("views_compressed_total"), 1, "counted")
        for what, bad in (
                ("no deflate", b"\xff" * 50),
                ("cut off", deflated(b"tick " * 100)[:9] + b"\xff" * 9),
                ("half of it", deflated(b"tick " * 100)[:9]),
                ("a block of a kind there is none", b"\x06")):
            client = scene.WebSocket(daemon.port, "/ws/c", headers={
                "Sec-WebSocket-Extensions": DEFLATE})
            client.send_frame(scene.TEXT, bad, rsv=4)
            scene.equal(client.read_closed(),
                        (1007, "the message is not deflate"), what)
        scene.equal(daemon.metric("refused_ws_deflate_total"), 4, "counted")
        client = scene.WebSocket(daemon.port, "/ws/c", headers={
            "Sec-WebSocket-Extensions": DEFLATE})
        bomb = deflated(b"\0" * (64 << 20))
        client.send_frame(scene.BINARY, bomb, rsv=4)
        scene.equal(client.read_closed(answer=False)[0], 1009,
                    f"64 MiB in {len(bomb)} bytes")


def scene_a_flood_that_inflates_leaves_others_their_turn():
    """A read of a kilobyte is a megabyte: it is enough for one iteration."""
    count = 60
    with scene.Daemon("[channel **]\nhistory_messages = 100\n") as daemon:
        client = compressor(daemon)
        bomb = scene.frame(scene.BINARY, deflated(bytes(1000000)), rsv=4)
        before = daemon.metric("reads_repeated_total")
        client.sock.sendall(bomb * count)
        daemon.wait_metric("messages_in_total", count)
        repeated = daemon.metric("reads_repeated_total") - before
        scene.check(repeated < count / 2,
                    f"{repeated:.0f} of {count} reads in one iteration")


def scene_inflaters_have_a_limit():
    """Who has sent compressed keeps a context; others need none."""
    with scene.Daemon("[limits]\ninflaters_max = 2\n") as daemon:
        first, second, third = (compressor(daemon) for _ in range(3))
        for client in first, second, first:
            client.send_frame(scene.TEXT, deflated(b"hi"), rsv=4)
        third.send_text("plain")
        daemon.wait_metric("messages_in_total", 4)
        scene.equal(daemon.metric("inflaters"), 2, "two")
        third.send_frame(scene.TEXT, deflated(b"hi"), rsv=4)
        scene.equal(third.read_closed()[0], 1013, "one more is too many")
        scene.equal(daemon.metric("refused_ws_inflaters_total"), 1, "counted")
        first.close()
        daemon.wait_metric("inflaters", 1)
        fourth = compressor(daemon)
        fourth.send_frame(scene.TEXT, deflated(b"hi"), rsv=4)
        daemon.wait_metric("messages_in_total", 5)


def compressor(daemon):
    return scene.WebSocket(daemon.port, "/ws/c", headers={
        "Sec-WebSocket-Extensions": DEFLATE})


def scene_compressed_messages_come_whole():
    """Matches over the ends of buffers, each alone and on those before."""
    lengths = [*range(0, 40), *range(1000, 1300), *range(2040, 2310, 3),
               *range(4090, 4360), *range(8180, 8460, 7), 65536, 100000]
    for keep in True, False:
        with scene.Daemon("[channel **]\nhistory_messages = 10000\n") as daemon:
            client = compressor(daemon)
            squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
            for n in lengths:
                if not keep:
                    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
                packed = squeeze.compress(b"\0" * n)
                packed += squeeze.flush(zlib.Z_SYNC_FLUSH)
                half = n % (len(packed) - 4)  # two fragments, a ping between
                packed = packed[:-4]
                client.send_frame(scene.BINARY, packed[:half], rsv=4,
                                  fin=False)
                client.send_frame(scene.PING, b"?")
                client.send_frame(scene.CONTINUATION, packed[half:])
            ears = daemon.ws("c", "?from=oldest")
            got = [len(ears.read_message()[1]) for _ in lengths]
            scene.equal(got, lengths, f"{len(lengths)} lengths, with "
                        f"{'one context' if keep else 'a context each'}")


def scene_reserved_bits():
    with scene.Daemon() as daemon:
        for rsv in range(1, 8):
            if rsv != 4:
                client = compressor(daemon)
                client.send_frame(scene.TEXT, b"x", rsv=rsv)
                scene.equal(client.read_closed(answer=False)[0], 1002,
                            f"bits {rsv}")
            client = compressor(daemon)
            client.send_frame(scene.TEXT, b"\xf2", rsv=4, fin=False)
            client.send_frame(scene.CONTINUATION, b"\x48", rsv=rsv)
            scene.equal(client.read_closed(answer=False)[0], 1002,
                        f"bits {rsv} in a second fragment")


scene.play(globals())
