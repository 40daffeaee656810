#!/usr/bin/python3
"""README's ten commands, run as they stand there, and each does what it says.

Only what a test has to change is changed: the programs' folder, the port, and
the folder whose paths are published.
"""
import json
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene

README = (scene.TOP / "README.md").read_text()
DEMO = (scene.TOP / "conf/demo.conf").read_text()


class Readme:
    """The commands; each is taken out when it is run."""

    def __init__(self, daemon):
        block = re.search(r"## Ten commands\n\n```sh\n(.*?)```", README, re.S)
        self.commands = [line.partition("#")[0].strip()
                         for line in block[1].splitlines()]
        self.daemon = daemon
        self.env = dict(os.environ,
                        EARSHOT_URL=f"ws://127.0.0.1:{daemon.port}")

    def take(self, pattern):
        found = [c for c in self.commands if re.search(pattern, c)]
        if len(found) != 1:
            raise scene.Failure(f"{pattern}: {found} in README")
        self.commands.remove(found[0])
        return re.sub(r"build/(earshotd?)\b", lambda program: {
            "earshotd": scene.EARSHOTD,
            "earshot": scene.EARSHOT}[program[1]], found[0]).replace(
            "127.0.0.1:8080", f"127.0.0.1:{self.daemon.port}").replace(
            "FILE", str(self.daemon.conf)).replace(
            "find / -xdev", f"find {scene.TMP}/tree -xdev")

    def run(self, pattern, errors=""):
        """Its stdout; errors: "progress" where curl shows it."""
        command = self.take(pattern)
        done = scene.run(["bash", "-o", "pipefail", "-c", command],
                         env=self.env, seconds=60)
        said = "" if errors == "progress" else done.stderr
        scene.equal((done.returncode, said), (0, ""),
                    command.replace(str(scene.BUILD), "build"))
        return done.stdout

    def start(self, pattern):
        return subprocess.Popen(
            ["bash", "-c", "exec " + self.take(pattern)], env=self.env,
            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)


def scene_the_ten_commands():
    if not os.path.exists(scene.EARSHOT):
        raise scene.Skip("no earshot here")
    conf, count = re.subn(r"(?m)^listen = 127.0.0.1:8080$",
                          "listen = 127.0.0.1:0", DEMO)
    scene.equal(count, 1, "the demo listens on 127.0.0.1:8080")
    with scene.Daemon(conf) as daemon:
        readme = Readme(daemon)
        scene.equal(len(readme.commands), 10, "there are ten")
        scene.equal(readme.take("earshotd -c FILE$"),
                    f"{scene.EARSHOTD} -c {daemon.conf}", "this one runs")
        scene.equal(readme.run("--check"), "", "no fault")
        scene.check("connections_max = " in readme.run("--limits"), "limits")
        live = readme.start("sub vmstat$")
        objects = readme.start("sub vmstat --json")
        daemon.wait_metric('channel_consumers{channel="vmstat"}', 2)
        scene.check(len(live.stdout.readline().split()) > 3, "a live line")
        told = json.loads(objects.stdout.readline())
        scene.check(told["channel"] == "vmstat" and told["offset"] >= 1,
                    f"a live object: offset {told['offset']}")
        for process in live, objects:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=scene.DEADLINE_S)
        for i in range(10):
            daemon.publish("vmstat", f"last {i}")
        ten = readme.start("--from -10 --count 20$")
        daemon.wait_metric('channel_consumers{channel="vmstat"}', 1)
        while ten.poll() is None:
            daemon.publish("vmstat", "one more")
        heard = ten.communicate()[0].splitlines()
        scene.equal((ten.returncode, len(heard)), (0, 20), "the last ten and "
                    "ten more")
        scene.check("one more" in heard[-10:], "the ten more")
        chat = daemon.ws("chat")
        readme.run("pub chat$")
        scene.equal(chat.read_text(), "hello", "heard")
        os.mkdir(scene.TMP / "tree")
        for i in range(299):
            (scene.TMP / f"tree/{i}").touch()
        readme.run("pub files$")
        scene.equal(daemon.metric('channel_messages_total{channel="files"}'),
                    300, "every path is a message")
        told = json.loads(readme.run("curl -d", errors="progress"))
        scene.equal(told["accepted"], 1, "accepted")
        scene.equal(chat.read_text(), "hi", "heard")
        scene.check("earshot_messages_in_total " in
                    readme.run("metrics", errors="progress"), "metrics")
        scene.equal(readme.commands, [], "no other is left")


scene.play(globals())
