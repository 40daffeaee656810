#!/usr/bin/python3
# sanitizer: yes
"""earshot: what it is told on its command line, and TLS."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene


def earshot(*arguments, code=0, data="", **options):
    return scene.run([scene.EARSHOT, *arguments], data, code=code, **options)


def scene_help_and_version():
    scene.check(earshot("--help").stdout.startswith("earshot COMMAND "),
                "--help")
    scene.check("--whole" in earshot("pub", "--help").stdout, "pub --help")
    scene.check("--state FILE" in earshot("-h", "sub").stdout, "-h sub")
    scene.check(earshot("--version").stdout.startswith("earshot 0."),
                "--version")
    completed = scene.run(["bash", "-c", f"""
        earshot() {{ {scene.EARSHOT} "$@"; }}
        . {scene.TOP}/daemon/ctl/earshot.bash
        COMP_WORDS=(earshot sub a --)
        COMP_CWORD=3
        _earshot earshot
        echo "${{COMPREPLY[@]}}\""""], code=0).stdout.split()
    scene.check({"--json", "--raw", "--state", "--url"} <= set(completed) and
                "--whole" not in completed, "completion knows sub's options")
    with open("/dev/full", "w", encoding="ascii") as full:
        done = scene.subprocess.run([scene.EARSHOT, "--help"], stdout=full,
                                    check=False)
    scene.equal(done.returncode, 1, "--help into a full device")


def scene_what_makes_no_sense():
    def refused(said, *arguments):
        done = earshot(*arguments, code=2)
        first = done.stderr.splitlines()[0]
        if done.stdout or said not in first or \
                not first.startswith("earshot: "):
            raise scene.Failure(f"{first}: expected {said}")
        scene.check(True, first)

    refused("which command?")
    refused("no command 'publish'", "publish", "a")
    refused("which channel?", "pub")
    refused("which channel?", "sub", "--json")
    refused("one channel, not also 'b'", "pub", "a", "b")
    refused("channel '.a': expected", "pub", ".a")
    refused("channel 'a/b': expected", "sub", "x", "a/b")
    refused("--whole is not for 'sub'", "sub", "a", "--whole")
    refused("--json is not for 'pub'", "--json", "pub", "a")
    refused("--count 0: expected", "sub", "a", "--count", "0")
    refused("--count 1x: expected", "sub", "a", "-n", "1x")
    refused("--count 99999999999999999999: expected", "sub", "a", "-n",
            "99999999999999999999")
    refused("--retries -1: expected", "sub", "a", "--retries", "-1")
    refused("--from yesterday: expected oldest, -N or EPOCH:OFFSET", "sub",
            "a", "--from", "yesterday")
    refused("a position is of one channel", "sub", "a", "b", "--from",
            "0123456789abcdef:1")
    refused("sub --raw: one channel, not also 'b'", "sub", "a", "b", "--raw")
    refused("--raw is not for 'pub'", "pub", "a", "--raw")
    refused("--state is not for 'pub'", "pub", "a", "--state", "x")
    refused("--silence 2: expected 3 to 86400", "sub", "a", "--silence", "2")
    refused("--silence is not for 'pub'", "pub", "a", "--silence", "9")
    refused("--compress is not for 'pub'", "pub", "a", "--compress")
    refused("--state: expected a file's name", "sub", "a", "--state", "")
    refused("URL 'gopher://x': expected ws://", "pub", "a", "--url",
            "gopher://x")
    refused("--frum", "sub", "a", "--frum", "oldest")
    refused("requires an argument", "sub", "a", "--from")


def scene_where_the_server_is():
    with scene.Daemon() as daemon:
        for url in daemon.url, daemon.url.replace("http", "ws"), \
                daemon.url + "/":
            earshot("pub", "a", "--url", url, data="x\n")
        scene.equal(daemon.metric("messages_in_total"), 3,
                    "http://, ws://, a slash at the end")
        earshot("--url", daemon.url, "pub", "a", data="x\n",
                env={**os.environ, "EARSHOT_URL": "ws://127.0.0.1:1"})
        earshot("pub", "a", data="x\n",
                env={**os.environ, "EARSHOT_URL": daemon.url})
        scene.equal(daemon.metric("messages_in_total"), 5,
                    "EARSHOT_URL; --url comes before it")


def make_certificate(name):
    key, certificate = scene.TMP / f"{name}.key", scene.TMP / f"{name}.pem"
    scene.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
               "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj",
               f"/CN={name}", "-keyout", key, "-out", certificate,
               "-addext", "subjectAltName = IP:127.0.0.1"], code=0)
    return certificate, key


def scene_tls():
    certificate, key = make_certificate("ours")
    other, _ = make_certificate("theirs")
    conf = "[listener]\nlisten = 127.0.0.1:0\ntls = yes\n" \
        f"[tls]\ncertificate = {certificate}\nkey = {key}\n"
    with scene.Daemon(conf) as daemon:
        url = f"wss://127.0.0.1:{daemon.port}"
        lines = "".join(f"{i} {'x' * 100}\n" for i in range(20000))
        earshot("pub", "a", "--url", url, "--ca", str(certificate),
                data=lines, seconds=60)
        out = earshot("sub", "a", "--url", url, "--ca", str(certificate),
                      "--from", "-500", "-n", "500").stdout
        scene.equal(out.splitlines(), lines.splitlines()[-500:],
                    "20000 lines in, the last 500 out")
        for command in "pub", "sub":
            for trust in [], ["--ca", str(other)]:
                said = earshot(command, "a", "--url", url, "--retries", "0",
                               *trust, code=1, data="x\n").stderr
                scene.check("TLS: self-signed certificate" in said or
                            "TLS: unable to get local issuer" in said,
                            said.strip())
        earshot("pub", "b", "--url", url, "--insecure", data="x\n")
        scene.equal(earshot("sub", "b", "--url", url, "--insecure", "--from",
                            "oldest", "-n", "1").stdout, "x\n", "--insecure")
        said = earshot("pub", "a", "--url", url, "--ca", "/nowhere", code=1,
                       data="x\n").stderr
        scene.check(said.startswith("earshot: /nowhere: No such file"),
                    said.strip())


scene.play(globals())
