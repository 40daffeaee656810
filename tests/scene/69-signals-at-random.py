#!/usr/bin/python3
# slow
# sanitizer: yes
# limit: 280
"""Random signals during start, work, reload and drain: no hang, and the exit
code that follows.  SEQUENCES says how many (100; `make check-signals`: 1000),
SEED how they go."""
import collections
import concurrent.futures
import os
import random
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import control
import scene

COUNT = int(os.environ.get("SEQUENCES", 100 if scene.SLOWNESS == 1 else 20))
SEED = int(os.environ.get("SEED", random.randrange(1 << 30)))
CONF = "[drain]\ntimeout = 30s\nretry_spread = 10ms\n" \
    "[command c]\nexec = /bin/sh -c 'while echo x; do sleep 0.05; done'\n" \
    "channel = c\nstop_timeout = 500ms\n"
ENDS = (signal.SIGTERM, signal.SIGINT)
OTHERS = (signal.SIGHUP, signal.SIGUSR1)
HURRY_S = 0.2


def pause(dice):
    """Not a wait for something: the signals are to be that far apart."""
    threading.Event().wait(dice.choice((0, 0, 0.001, 0.01, 0.05, 0.25)) *
                           dice.random() * scene.SLOWNESS)


def begin(dice):
    """A daemon, at some moment of its start or ready, and who listens, to
    the end: a drain waits for nobody here."""
    early = dice.random() < 0.4
    daemon = control.Daemon(CONF, ready=not early)
    clients = []
    if not early:
        for n in range(dice.randrange(4)):
            clients.append(daemon.ws("c", receive_bytes=4096 * (n % 2)))
        if dice.random() < 0.3:
            daemon.write(CONF + dice.choice(("[nonsense]\n", "")))
    reading = [threading.Thread(target=read_to_the_end, args=(c,))
               for c in clients]
    for thread in reading:
        thread.start()
    return daemon, reading


def play_one(number):
    """(what was said, exit code); a failure names the seed."""
    dice = random.Random(SEED + number)
    daemon, reading = begin(dice)
    sent = []
    try:
        for _ in range(dice.randrange(8)):
            pause(dice)
            if daemon.process.poll() is not None:
                break
            sent.append(dice.choice(OTHERS * 3 + ENDS))
            daemon.signal(sent[-1])
        if not any(signo in ENDS for signo in sent):
            pause(dice)
            sent.append(dice.choice(ENDS))
            daemon.signal(sent[-1])
        code = daemon.wait(40)
        for thread in reading:
            thread.join()
    except scene.Failure:
        daemon.process.kill()
        raise
    return check(number, daemon, sent, code)


def read_to_the_end(client):
    """Answers the close; a daemon that was hurried cuts."""
    try:
        client.read_closed()
    except (scene.Failure, OSError):
        pass
    client.close()


def check(number, daemon, sent, code):
    log = daemon.log()
    names = " ".join(s.name[3:] for s in sent)
    where = f"SEED={SEED} sequence {number}: {names}: exit code {code}"
    if code < 0:
        # Before it takes signals it is any program.
        if -code not in sent or "INFO" in log:
            raise scene.Failure(f"{where}:\n{log}")
        return "killed at start", code
    if code == 3 and "second signal" not in log:
        raise scene.Failure(f"{where} without a reason:\n{log}")
    if code not in (0, 3) or "exit %d" % code not in log:
        raise scene.Failure(f"{where}:\n{log}")
    return "drained" if code == 0 else "hurried", code


def scene_random_sequences():
    print(f"    SEED={SEED}, {COUNT} sequences", flush=True)
    ends = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for end in pool.map(play_one, range(COUNT)):
            ends[end] += 1
    scene.check(sum(ends.values()) == COUNT, f"{dict(ends)}")
    if COUNT >= 100:
        scene.check(ends["drained", 0] > COUNT / 10, "many of them drained")


scene.play(globals())
