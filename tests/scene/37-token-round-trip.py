#!/usr/bin/python3
# sanitizer: yes
"""earshot with tokens and a daemon that checks them: refused, believed, renewed
while it runs, and nothing lost in between."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene
import tokens
from listener import Sub

FILE = scene.TMP / "token"
ENV = {n: v for n, v in os.environ.items() if n != "EARSHOT_TOKEN"}


def write(text):
    new = FILE.with_suffix(".new")
    new.write_text(text + "\n")
    new.rename(FILE)


def conf(key, more=""):
    return f"[auth]\nanonymous = none\ntoken_key = {key.path}\n{more}"


def pub(daemon, data, *arguments, channel="a", code=0, env=None):
    return scene.run([scene.EARSHOT, "pub", channel, "--url", daemon.url,
                      *map(str, arguments)], data, code=code,
                     env={**ENV, **(env or {})}).stderr


def scene_each_algorithm_with_pub_and_sub():
    for name in tokens.ALGORITHMS:
        key = tokens.Key(name, scene.TMP)
        with scene.Daemon(conf(key)) as daemon:
            write(key.token(subscribe=["a"], publish=["a"]))
            pub(daemon, "one\ntwo\n", "--token-file", FILE)
            for more in (), ("--raw",):
                out, said = Sub(daemon.url, "a", "--from", "oldest", "-n", 2,
                                "--token-file", FILE, *more, env=ENV).end()
                scene.equal((out, said), (b"one\ntwo\n", ""), name)
            pub(daemon, "three\n", env={"EARSHOT_TOKEN": FILE.read_text()
                                        .strip()})


def scene_refused_in_words():
    key = tokens.Key("ES256", scene.TMP)
    with scene.Daemon(conf(key)) as daemon:
        write(key.token(publish=["a"], lasts_s=-60))
        for words, arguments in (("the token has expired",
                                  ("--token-file", FILE)),
                                 ("token", ())):
            said = pub(daemon, "one\n", *arguments, code=1)
            scene.check(said.startswith("earshot: line 1: ") and words in said,
                        said)
            said = Sub(daemon.url, "a", *arguments, env=ENV).end(1)[1]
            # Who comes without one to earshot.v1 is refused by the channel.
            if not arguments:
                words = "a: no_token: subscribe.channel: takes a token; " \
                    "a token is given with --token-file\n"
            scene.check(words in said and said.count("\n") == 1, said)
            said = Sub(daemon.url, "a", "--raw", *arguments, env=ENV).end(1)[1]
            scene.check((words if arguments else "--token-file\n") in said and
                        said.count("\n") == 1, said)
        write(key.token(subscribe=["b"], publish=["b"]))
        said = pub(daemon, "one\n", "--token-file", FILE, code=1)
        scene.check(said.startswith("earshot: line 1: "), said)
        said = Sub(daemon.url, "a", "--token-file", FILE, env=ENV).end(1)[1]
        scene.check(said.count("\n") == 1, said)


def scene_renewed_while_it_is_published():
    """Tokens of two seconds, one after the other; every line once."""
    key = tokens.Key("EdDSA", scene.TMP)
    lines = 30
    with scene.Daemon(conf(key, "token_leeway = 0s\n"
                           "[channel **]\nhistory_messages = 1000\n")) \
            as daemon:
        def renew(lasts_s=2):
            write(key.token(subscribe=["a"], publish=["a"], lasts_s=lasts_s))

        renew()
        runs = [Sub(daemon.url, "a", "--token-file", FILE, "-n", lines, "-v",
                    *more, env=ENV) for more in ((), ("--raw",))]
        daemon.wait_metric("channel_consumers", 2, channel="a")
        renewals = 0
        for n in range(lines):
            if n % 10 == 0 and n > 0:
                # The streams are back, they end, then there is a new token.
                daemon.wait_metric("channel_consumers", 2, channel="a")
                scene.wait_until(
                    lambda: daemon.metric("channel_consumers",
                                          channel="a") == 0,
                    "both streams have ended")
                renewals += 1
            renew()
            pub(daemon, f"{n}\n", "--token-file", FILE)
        renew(3600)  # who is away comes back with this one
        wanted = "".join(f"{n}\n" for n in range(lines)).encode()
        for run in runs:
            out, said = run.end()
            scene.equal(out, wanted, f"{lines} lines, {renewals} renewals")
            scene.check(said.count("closed with 4001") >= renewals, said)


def scene_a_key_that_is_replaced():
    """Revoked by a reload: closed, and on with a token of the new key."""
    old, new = (tokens.Key("HS256", scene.TMP) for _ in range(2))
    with scene.Daemon(conf(old)) as daemon:
        write(old.token(subscribe=["a"], publish=["a"]))
        run = Sub(daemon.url, "a", "--token-file", FILE, "-n", 2, env=ENV)
        daemon.wait_metric("channel_consumers", 1, channel="a")
        pub(daemon, "one\n", "--token-file", FILE)
        scene.equal(run.line(), b"one\n", "with the old one")
        write(new.token(subscribe=["a"], publish=["a"]))
        old.path.write_bytes(new.public)
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("reloaded")
        pub(daemon, "two\n", "--token-file", FILE)
        scene.equal(run.end()[0], b"two\n", "with the new one")


def scene_python_of_the_manual():
    """The words of earshot.conf(5), from a secret to a message."""
    manual = (scene.TOP / "conf/earshot.conf.5").read_text()
    python = manual.partition("import base64")[2].partition("\n.Ed")[0]
    secret = tokens.Key("HS256", scene.TMP)
    with scene.Daemon(conf(secret)) as daemon:
        text = scene.run(
            [scene.PY, "-c", ("import base64" + python).replace(
                "/etc/earshot/token.key", str(secret.path))],
            code=0).stdout.strip()
        write(text)
        pub(daemon, "now\n", "--token-file", FILE, channel="jobs")
        said = pub(daemon, "now\n", "--token-file", FILE, channel="other",
                   code=1)
        scene.check(said.startswith("earshot: line 1: "), said)


scene.play(globals())
