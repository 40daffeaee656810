#!/usr/bin/python3
# sanitizer: yes
"""How fast a drain closes: 5000 idle consumers in 2 s, and not faster than
close_rate says."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import crowd
import scene

IDLE = 5000 // scene.SLOWNESS
IDLE_OVER_S = 2  # promised
PACED, RATE = 500, 500
CONF = "[drain]\ntimeout = 60s\n"


def drain(daemon, ears, consumers):
    """Close them all; the summary and seconds from SIGTERM to the exit."""
    ears.wait("open", 60)
    began = time.monotonic()
    daemon.signal()
    scene.equal(daemon.wait(30), 0, "exit code")
    took = time.monotonic() - began
    heard = ears.end()
    scene.equal(heard["codes"], {"1001": consumers}, "close codes, one each")
    scene.equal((heard["reasons_other"], heard["cuts"], heard["resets"]),
                (0, 0, 0), "reasons without a hint, ends without a close, "
                "resets")
    crowd.check_spread(heard["retries"], 2000)
    scene.equal(crowd.drained(daemon)[1:], [consumers, 0, 0, 0],
                "delivered, cut, lost, undelivered")
    print(f"    first close {(heard['first_close'] - began) * 1000:.0f} ms, "
          f"last {(heard['last_close'] - began) * 1000:.0f} ms, last end "
          f"{(heard['last_end'] - began) * 1000:.0f} ms after SIGTERM",
          flush=True)
    return heard, took


def scene_five_thousand_idle():
    with scene.Daemon(CONF) as daemon, \
            crowd.Crowd(daemon, "ticks", IDLE) as ears:
        _, took = drain(daemon, ears, IDLE)
        scene.in_time(took, IDLE_OVER_S,
                      f"{IDLE} are gone and the daemon too")


def scene_not_faster_than_the_rate():
    with scene.Daemon(CONF + f"close_rate = {RATE}\n") as daemon, \
            crowd.Crowd(daemon, "ticks", PACED) as ears:
        heard, took = drain(daemon, ears, PACED)
        between = heard["last_close"] - heard["first_close"]
        scene.check(between >= 0.9 * PACED / RATE,
                    f"{between * 1000:.0f} ms from first to last close")
        scene.in_time(took, 2 * PACED / RATE, "from SIGTERM to the exit")


scene.play(globals())
