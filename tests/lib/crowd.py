"""crowd: many consumers (crowd.c) and publishers, for the scenes of a drain.

    with crowd.Crowd(daemon, "ticks", 1000) as ears:
        ears.wait("open")
        ...
        heard = ears.end()

Publishers send messages as crowd.c expects them: "PUBLISHER NUMBER PADDING",
counted from 1; each keeps what was acknowledged.
"""
import json
import socket
import subprocess
import threading
import time

import scene

PROGRAM = str(scene.BUILD / "tests/lib/crowd")


class Crowd:
    """The helper program, and the events it tells."""

    def __init__(self, daemon, channel, consumers, stuck=0, quorum=1):
        self.process = subprocess.Popen(
            [PROGRAM, "-n", str(consumers), "-s", str(stuck),
             "-q", str(quorum), str(daemon.port), f"/ws/{channel}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.events = []
        self.arrived = threading.Condition()
        self.over = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.arrived:
                self.events.append(json.loads(line))
                self.arrived.notify_all()
        with self.arrived:
            self.over = True
            self.arrived.notify_all()

    def wait(self, event, seconds=scene.DEADLINE_S):
        """The event of that name; what no server may do is a failure."""
        end = scene.deadline(seconds)
        with self.arrived:
            while True:
                for told in self.events:
                    if told["event"] == event:
                        return told
                left = end - time.monotonic()
                if self.over or left <= 0:
                    raise scene.Failure(
                        f"crowd: no {event!r} within {seconds} s: "
                        f"{scene.short(self.events)}")
                self.arrived.wait(left)

    def read_stuck(self):
        self.process.stdin.write("read\n")
        self.process.stdin.flush()

    def end(self, seconds=scene.DEADLINE_S):
        """The summary, once everybody has ended."""
        heard = self.wait("end", seconds)
        faults = [e for e in self.events if e["event"] == "fault"]
        if heard["faults"]:
            raise scene.Failure(f"{heard['faults']} faults: {faults}")
        return heard

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(scene.DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join(scene.DEADLINE_S)
        self.process.stdout.close()


def text(publisher, number, size):
    head = f"{publisher} {number} "
    return head + chr(ord("a") + number % 26) * (size - len(head))


class Publisher(threading.Thread):
    """One HTTP connection at a time, one POST after the other's answer.

    acknowledged: messages that were said to be accepted; sent: messages that
    may have been.  statuses: how often each came.  ends: what a request got
    instead of an answer.  Ends with the first answer that is not 201, when
    the server cannot be reached, or after `most` requests.
    """

    def __init__(self, daemon, channel, number, lines=1, size=100, pause=0,
                 most=float("inf")):
        super().__init__(daemon=True)
        self.port, self.channel, self.number = daemon.port, channel, number
        self.lines, self.size, self.pause = lines, size, pause
        self.most = most
        self.acknowledged = self.sent = 0
        self.statuses, self.ends, self.refusals = {}, [], []
        self.silent = 0  # answers that are no answer to what was asked
        self.stop = threading.Event()
        self.acknowledged_at = 0.0
        self.error = None

    def run(self):
        try:
            self._publish()
        except Exception as error:  # told by check()
            self.error = error

    def _publish(self):
        raw = None
        while self.sent < self.most * self.lines and \
                not self.stop.wait(self.pause):
            try:
                raw = raw or scene.Raw(self.port)
                self.sent += self.lines
                raw.send(self._request())
                answer = raw.read_answer()
            except ConnectionError as error:
                self.ends.append(type(error).__name__)
                break
            if answer is None or answer.body is None:
                self.ends.append("end of file")
                break
            self._note(answer)
            if answer.status != 201:
                break
            if answer.headers.get("Connection") == "close":
                raw.close()
                raw = None
        if raw:
            raw.close()

    def _request(self):
        first = self.acknowledged + 1
        body = "\n".join(text(self.number, n, self.size)
                         for n in range(first, first + self.lines)).encode()
        split = "?split=lines" if self.lines > 1 else ""
        return (f"POST /channels/{self.channel}/messages{split} HTTP/1.1\r\n"
                f"Host: 127.0.0.1:{self.port}\r\n"
                f"Content-Type: text/plain\r\n"
                f"Content-Length: {len(body)}\r\n\r\n").encode() + body

    def _note(self, answer):
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        said = scene.json_of(answer)
        accepted = said.get("accepted", 0)
        self.acknowledged += accepted
        if answer.status == 201:
            self.acknowledged_at = time.monotonic()
            if accepted != self.lines:
                self.silent += 1
        else:
            self.refusals.append(said["error"]["code"])


def check_publisher(publisher, heard):
    """What was acknowledged was heard, and nothing that was not sent."""
    publisher.join(scene.DEADLINE_S)
    if publisher.is_alive() or publisher.error:
        raise scene.Failure(f"publisher {publisher.number}: "
                            f"{publisher.error or 'did not end'}")
    last = heard["last"][publisher.number]
    scene.check(
        publisher.acknowledged <= last <= publisher.sent and
        publisher.silent == 0,
        f"publisher {publisher.number}: {publisher.acknowledged} acknowledged"
        f" <= {last} heard <= {publisher.sent} sent, {publisher.statuses}"
        f" {publisher.refusals} {publisher.ends}")


def check_spread(retries, spread_ms):
    """The hints lie in the spread, and each fifth of it has its part, less
    six standard deviations."""
    scene.check(min(retries) >= 0 and max(retries) <= spread_ms,
                f"hints from {min(retries)} to {max(retries)} ms")
    fifths = [0] * 5
    for ms in retries:
        fifths[min(ms * 5 // spread_ms, 4)] += 1
    count = len(retries)
    scene.check(min(fifths) >= count / 5 - 6 * (count * 0.2 * 0.8) ** 0.5,
                f"hints by fifth of the spread: {fifths}")


def drained(daemon):
    """The daemon's last word on it: [ms, delivered, cut, lost, undelivered],
    the last one in messages."""
    match = daemon.wait_log(r"drained in (\d+) ms: (\d+) delivered, (\d+) cut, "
                            r"(\d+) lost, (\d+) messages undelivered")
    return [int(n) for n in match.groups()]
