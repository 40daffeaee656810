#!/usr/bin/python3
# sanitizer: yes
"""Handlers: what tokens claim, and who comes without one."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import handled
import scene
import tokens

KEY = tokens.Key("ES256", scene.TMP)
AUTH = f"[auth]\nanonymous = subscribe\ntoken_key = {KEY.path}\n"
MEMBER = {"sub": "zo\u00eb", "role": "member", "n": 12345678901234567890,
          "deep": {"a": [1, None, "\n\""]}}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def claimed(token):
    return json.loads(tokens.jwt.utils.base64url_decode(token.split(".")[1]))


def told_events(path, count):
    """What told.py was given."""
    def lines():
        try:
            return path.read_text().splitlines()
        except FileNotFoundError:
            return []
    scene.wait_until(lambda: len(lines()) >= count, f"{count} events")
    return [json.loads(line) for line in lines()]


def scene_a_program_gets_them():
    told = scene.TMP / "told"
    with scene.Daemon(AUTH + handled.program(
            f"{scene.PY} {handled.EXEC}/told.py {told}", "path = /app",
            "channel = rooms.*")) as daemon:
        token = KEY.token(subscribe=["rooms.*"], **MEMBER)
        more = {"X-Test": "1"}
        clients = [
            handled.app(daemon, "/app?a=1&b=%20", headers={
                **more, **bearer(token)}),
            handled.app(daemon, f"/app?a=1&access_token={token}&b=%20",
                        headers={**more, "Authorization": "Basic eDp5"}),
            handled.app(daemon, f"/app?access_token={token}"),
            scene.WebSocket(daemon.port, f"/ws/rooms.a?access_token={token}"
                            "&from=oldest"),
            handled.app(daemon, "/app?a=1"),
        ]
        first, second, third, room, nobody = told_events(told, 5)
        for event in first, second, third, room:
            scene.equal(event["claims"], claimed(token), "the claims")
        scene.check("claims" not in nobody, "without a token there are none")
        scene.equal([e["query"] for e in (first, second, third, room)],
                    ["a=1&b= ", "a=1&b= ", "", "from=oldest"],
                    "the query has no token")
        scene.equal([e["headers"].get("authorization")
                     for e in (first, second)], [None, "Basic eDp5"],
                    "nor have the headers; what is not ours is there")
        scene.equal([e["headers"]["x-test"] for e in (first, second)],
                    ["1", "1"], "the others are")
        scene.check(token not in told.read_text() and
                    token.split(".")[2] not in told.read_text(),
                    "the token is nowhere")
        clients[0].send_text("die")
        lost = [e for e in told_events(told, 7) if e["event"] == "error"]
        wanted = [e["conn"] for e in (first, second, third, room, nobody)]
        scene.wait_until(lambda: len([
            e for e in told_events(told, 7) if e["event"] == "error"]) == 5,
            "the new process is told whom it has")
        lost = [e for e in told_events(told, 7) if e["event"] == "error"]
        scene.equal(sorted(e["conn"] for e in lost), sorted(wanted), "all")
        for event in lost:
            scene.equal(event.get("claims"), None if event["conn"] ==
                        nobody["conn"] else claimed(token), "and of what")
        for client in clients:
            client.close()


def members(daemon, path, greeting):
    token = KEY.token(**MEMBER)
    client = handled.app(daemon, path, headers=bearer(token))
    if greeting:
        scene.equal(client.read_text(), f"hello {MEMBER['sub']}", "a member")
    else:
        client.send_text("who am i?")
        scene.equal(json.loads(client.read_text()), claimed(token),
                    "a member, and what es_info() says")
    client.send_close()
    client.read_closed()
    for what, headers in (("no role", bearer(KEY.token(sub="x"))),
                          ("another role", bearer(KEY.token(role="guest")))):
        client = handled.app(daemon, path, headers=headers)
        scene.equal(client.read_closed()[0], 4403, what)


def refused(daemon, path, headers, status, challenge):
    client = scene.WebSocket(daemon.port, path, headers)
    scene.equal((client.status, client.headers["WWW-Authenticate"]),
                (status, challenge), f"{path}: {status}")
    client.close()


def scene_examples_let_members_in():
    sections = handled.program(f"{handled.EXEC}/members.py", "path = /exec",
                               "token = required").replace("it]", "exec]") + \
        handled.plugin("members", "path = /plugin")
    with scene.Daemon(AUTH + sections) as daemon:
        members(daemon, "/exec", True)
        members(daemon, "/plugin", False)
        refused(daemon, "/exec", {}, 401, "Bearer realm=\"earshot\"")
        scene.equal(handled.app(daemon, "/plugin").read_closed()[0], 4403,
                    "without a token, where none is asked for: its decision")
        for path in "/exec", "/plugin":
            refused(daemon, path, bearer("x"), 401,
                    "Bearer realm=\"earshot\", error=\"invalid_token\", "
                    "error_description=\"no JSON Web Token in compact form\"")


def scene_by_channel_it_is_asked_for_as_well():
    with scene.Daemon(AUTH + handled.plugin(
            "members", "channel = rooms.*", "token = required")) as daemon:
        refused(daemon, "/ws/rooms.a", {}, 401, "Bearer realm=\"earshot\"")
        scene.equal(daemon.ws("lobby").status, 101, "other channels")
        client = daemon.ws("rooms.a", headers=bearer(KEY.token(**MEMBER)))
        client.send_text("hi")
        scene.equal(json.loads(client.read_text())["role"], "member", "in")
        scene.equal(daemon.http("GET", "/sse/rooms.a/x").status, 404,
                    "no such path")


def scene_without_keys_all_is_the_handler_s():
    told = scene.TMP / "told-all"
    with scene.Daemon(handled.program(
            f"{scene.PY} {handled.EXEC}/told.py {told}")) as daemon:
        client = handled.app(daemon, "/app?access_token=x",
                             headers=bearer("y"))
        event = told_events(told, 1)[0]
        scene.equal((event["query"], event["headers"]["authorization"],
                     event.get("claims")), ("access_token=x", "Bearer y", None),
                    "as it came")
        client.close()


scene.play(globals())
