#!/usr/bin/python3
# sanitizer: yes
"""earshot --token-file and EARSHOT_TOKEN: shown to the server, to nobody else;
read again when the server believes it no more."""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene
import scripted
from listener import Sub, sub

EPOCH = "0123456789abcdef"
FILE = scene.TMP / "token"
ONE, TWO, GIVEN = "eyJ-one.eyJ_1.AAAA", "eyJ-two.eyJ_2.BBBB", "eyJ.given.CCCC"
LONGEST = "x" * 8192
CLEAN = {n: v for n, v in os.environ.items() if n != "EARSHOT_TOKEN"}
WITH = {**CLEAN, "EARSHOT_TOKEN": GIVEN}
EXPIRED = {"error": {"code": "invalid_token",
                     "message": "the token has expired"}}


def write(text):
    """At once, as whoever rotates tokens has to."""
    new = FILE.with_suffix(".new")
    new.write_text(text)
    new.rename(FILE)


def pub(server, *arguments, data="x\n", env=None, code=0):
    return scene.run([scene.EARSHOT, "pub", "a", "--url", server.url,
                      *map(str, arguments)], data, code=code,
                     env=env or CLEAN)


def shown(request):
    return request.headers.get("authorization")


def scene_what_is_shown():
    seen = []

    def script(peer):
        request = peer.read_request()
        seen.append(shown(request))
        if request.method == "POST":
            peer.send(scripted.answer(201, {"accepted": 1}))
        else:
            peer.upgrade(request, Earshot_Position=f"{EPOCH}:0")
            peer.send_text("hello")
            peer.read_close()

    file = "--token-file", FILE
    cases = [
        (ONE, file, CLEAN, ONE),
        (f"{ONE}\n", file, CLEAN, ONE),
        (f"{ONE}\r\n", file, CLEAN, ONE),
        (f"{ONE}==\n", file, WITH, f"{ONE}=="),  # the file comes before it
        (LONGEST, file, CLEAN, LONGEST),
        (ONE, (), WITH, GIVEN),
        (ONE, (), {**CLEAN, "EARSHOT_TOKEN": ""}, None),
        (ONE, (), CLEAN, None),
    ]
    with scripted.Server(script) as server:
        for text, arguments, env, token in cases:
            write(text)
            wanted = f"Bearer {token}" if token else None
            pub(server, *arguments, env=env)
            out, _ = Sub(server.url, "a", "--raw", "-n", 1, *arguments,
                         env=env).end()
            scene.equal((out, seen), (b"hello\n", [wanted, wanted]),
                        f"{scene.short(token)} in pub and sub")
            seen.clear()


def scene_a_pipe_is_a_file_that_is_read_once():
    seen = []

    def script(peer):
        for _ in range(2):
            seen.append(shown(peer.read_request()))
            peer.send(scripted.answer(201, {"accepted": 1}))
            if len(seen) == 1:
                process.stdin.write(b"two\n")
                process.stdin.flush()

    with scripted.Server(script) as server:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {scene.EARSHOT} pub a --url {server.url} "
             f"--token-file <(echo {ONE})"],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=CLEAN)
        process.stdin.write(b"one\n")
        process.stdin.flush()
        scene.wait_until(lambda: len(seen) == 2, "both lines")
        process.stdin.close()
        scene.equal((process.wait(scene.DEADLINE_S), process.stderr.read()),
                    (0, b""), "pub")
        scene.equal(seen, [f"Bearer {ONE}"] * 2, "the second as the first")


def scene_it_is_shown_to_nobody_else():
    """Not in the arguments, not in what is said, however much that is."""
    def script(peer):
        peer.read_request()
        scene.equal(TWO in pathlib.Path(f"/proc/{listener.process.pid}/cmdline")
                    .read_text(), False, "in the list of processes")
        peer.send(scripted.answer(403, b"no"))

    write(f"{TWO}\n")
    with scripted.Server(script) as server:
        listener = Sub(server.url, "a", "-vv", "--token-file", FILE)
        out, said = listener.end(1)
        scene.check(out == b"" and "403" in said, said)
        for part in (TWO, *TWO.split(".")):
            scene.check(part not in said, f"{part} is not told: {said}")


def scene_what_is_no_token():
    def fails(text, *arguments, env=CLEAN):
        for command in "pub", "sub":
            done = scene.run([scene.EARSHOT, command, "a", *arguments], "",
                             code=1, env=env)
            scene.equal((done.stdout, done.stderr),
                        ("", f"earshot: {text}\n"), text)

    no = f"--token-file {FILE}: no token, expected one in one line"
    for content in ("", "\n", f"{ONE}\n\n", f"{ONE}\n{TWO}\n", f" {ONE}",
                    f"Bearer {ONE}", f"{ONE}\0", f"{ONE}\r\nX: y",
                    LONGEST + "x", LONGEST + "\n\n", LONGEST * 9):
        write(content)
        fails(no, "--token-file", FILE)
    fails(f"--token-file {scene.TMP}/gone: No such file or directory",
          "--token-file", scene.TMP / "gone")
    fails(f"--token-file {scene.TMP}: Is a directory", "--token-file",
          scene.TMP)
    fails("EARSHOT_TOKEN: no token",
          env={**CLEAN, "EARSHOT_TOKEN": f"{ONE}\r\nX: y"})
    write(ONE)
    done = scene.run([scene.EARSHOT, "status", "--token-file", FILE], code=2)
    scene.check("--token-file is not for 'status'" in done.stderr, "status")
    done = scene.run([scene.EARSHOT, "sub", "a", "--token-file", ""], code=2)
    scene.check("--token-file: expected a file's name" in done.stderr, "''")


def scene_refused_at_once():
    """401 is told in the server's words, and is not asked again."""
    def script(peer):
        peer.read_request()
        peer.send(scripted.answer(401, EXPIRED, "Unauthorized",
                                  "WWW-Authenticate: Bearer\r\n"))

    words = "invalid_token: the token has expired"
    write(ONE)
    with scripted.Server(script) as server:
        for arguments, env, advice in (
                (("--token-file", FILE), WITH, ""),
                ((), WITH, "; the token is that of EARSHOT_TOKEN; one in a "
                           "file, --token-file, can be renewed"),
                ((), CLEAN, "; a token is given with --token-file")):
            for raw in (), ("--raw",):
                _, said = Sub(server.url, "a", *arguments, *raw,
                              env=env).end(1)
                scene.equal(said, f"earshot: {server.url}: {words}{advice}\n",
                            "sub")
            done = pub(server, *arguments, env=env, code=1)
            scene.equal(done.stderr, f"earshot: line 1: {words}\n",
                        "pub")
        scene.equal(server.count, 9, "once each")


def scene_a_new_token_in_time():
    """Closed with 4001, sub goes on from where it was, with the new one."""
    seen = []

    def script(peer):
        request = peer.read_request()
        seen.append((shown(request), request.path))
        if len(seen) == 3:
            peer.send(scripted.answer(401, EXPIRED))
            write(f"{ONE}\n")
            return
        at = {1: 0, 2: 1, 4: 2}[len(seen)]
        peer.upgrade(request, Earshot_Position=f"{EPOCH}:{at}")
        peer.send_text(f"message {at}")
        if len(seen) == 4:
            peer.read_close()
            return
        write(f"{TWO}\n")
        peer.send_close(4001, "token expired")
        peer.read_close()

    write(f"{ONE}\n")
    with scripted.Server(script) as server:
        out, said = Sub(server.url, "a", "--raw", "-n", 3, "-v",
                        "--token-file", FILE, env=CLEAN).end()
    scene.equal(out, b"message 0\nmessage 1\nmessage 2\n", "nothing is lost")
    scene.check("closed with 4001: token expired; again in" in said, said)
    scene.check("invalid_token: the token has expired; again in" in said, said)
    scene.equal(seen, [
        (f"Bearer {ONE}", "/ws/a"),
        (f"Bearer {TWO}", f"/ws/a?from={EPOCH}:1"),
        (f"Bearer {TWO}", f"/ws/a?from={EPOCH}:2"),
        (f"Bearer {ONE}", f"/ws/a?from={EPOCH}:2")], "what was asked with")


def scene_a_file_that_is_gone_for_a_while():
    seen = []

    def script(peer):
        request = peer.read_request()
        seen.append(shown(request))
        peer.upgrade(request, Earshot_Position=f"{EPOCH}:{len(seen)}")
        if len(seen) == 1:
            FILE.unlink()
            peer.send_close(1011, "")
        else:
            peer.send_text("hello")
        peer.read_close()

    write(ONE)
    with scripted.Server(script) as server:
        scene.equal(sub(server.url, "a", "--raw", "-n", 1, "--token-file",
                        FILE)[0], b"hello\n", "goes on")
    scene.equal(seen, [f"Bearer {ONE}"] * 2, "with the one it had")


def scene_no_new_token():
    """It is asked again a few times, and then no more."""
    def script(peer):
        request = peer.read_request()
        if peer.number == 0:
            peer.upgrade(request, Earshot_Position=f"{EPOCH}:0")
            peer.send_close(4001, "token revoked")
            peer.read_close()
        else:
            peer.send(scripted.answer(401, EXPIRED))

    write(ONE)
    with scripted.Server(script) as server:
        _, said = Sub(server.url, "a", "--raw", "--token-file", FILE,
                      env=CLEAN).end(1)
        scene.equal(said, f"earshot: {server.url}: invalid_token: the token "
                    "has expired\n", "told")
        scene.equal(server.count, 6, "once, and five times")
        said = sub(server.url, "a", "--token-file", FILE, "--retries", 0,
                   code=1)[1]
        scene.equal(server.count, 7, "--retries holds for it, too")


def scene_no_file_no_new_token():
    def script(peer):
        peer.upgrade(peer.read_request(), Earshot_Position=f"{EPOCH}:0")
        peer.send_close(4001, "token expired")
        peer.read_close()

    with scripted.Server(script) as server:
        _, said = Sub(server.url, "a", "--raw", env=WITH).end(1)
        scene.equal(said, f"earshot: {server.url}: closed with 4001: token "
                    "expired; the token is that of EARSHOT_TOKEN; one in a "
                    "file, --token-file, can be renewed\n", "EARSHOT_TOKEN")
        _, said = Sub(server.url, "a", "--raw", env=CLEAN).end(1)
        scene.equal(said, f"earshot: {server.url}: closed with 4001: token "
                    "expired; a token is given with --token-file\n", "none")
        scene.equal(server.count, 2, "once each")


def scene_pub_reads_it_for_each_request():
    seen = []

    def script(peer):
        for token in TWO, ONE:
            seen.append(shown(peer.read_request()))
            write(token)
            peer.send(scripted.answer(201, {"accepted": 1}))
            if token == TWO:
                process.stdin.write(b"two\n")
                process.stdin.flush()

    write(ONE)
    with scripted.Server(script) as server:
        process = subprocess.Popen(
            [scene.EARSHOT, "pub", "a", "--url", server.url, "--token-file",
             FILE], stdin=subprocess.PIPE, env=CLEAN)
        process.stdin.write(b"one\n")
        process.stdin.flush()
        scene.wait_until(lambda: len(seen) == 2, "both lines")
        process.stdin.close()
        scene.equal(process.wait(scene.DEADLINE_S), 0, "pub")
    scene.equal(seen, [f"Bearer {ONE}", f"Bearer {TWO}"], "one connection")


scene.play(globals())
