"""listener: `earshot sub` as a process, for the scenes of the command line.

    listener = Sub(daemon.url, "a", "--from", "oldest")
    listener.line()
    out, said = listener.end()
"""
import subprocess

import scene


class Sub:
    """earshot sub as a process; stdout and stderr are pipes."""

    def __init__(self, url, *arguments, **options):
        options.setdefault("stdout", subprocess.PIPE)
        self.process = subprocess.Popen(
            [scene.EARSHOT, "sub", "--url", url, *map(str, arguments)],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)

    def line(self):
        """One line of stdout, as soon as it is there."""
        return self.process.stdout.readline()

    def end(self, code=0, seconds=scene.DEADLINE_S):
        """What is left of stdout and stderr; the exit code has to be that."""
        try:
            out, said = self.process.communicate(
                timeout=seconds * scene.SLOWNESS)
        except subprocess.TimeoutExpired as late:
            self.process.kill()
            raise scene.Failure("sub does not end") from late
        if self.process.returncode != code:
            raise scene.Failure(f"exit code {self.process.returncode}, "
                                f"expected {code}: {scene.short(said)}")
        return out, said.decode(errors="replace")


def sub(url, *arguments, code=0):
    return Sub(url, *arguments).end(code)
