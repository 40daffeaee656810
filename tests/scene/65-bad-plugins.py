#!/usr/bin/python3
# sanitizer: yes
"""Plugins and handler sections that are wrong: told, and exit code 2 or 1;
and one that loads and then misuses the host in every way.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import handled
import scene


def fails(conf, code, *wanted):
    daemon = scene.Daemon(conf, ready=False)
    scene.equal(daemon.wait(), code, "exit code")
    log = daemon.log()
    for text in wanted:
        scene.check(text in log, text)


def scene_that_cannot_be_loaded():
    text = scene.TMP / "text.so"
    text.write_text("not an object")
    fails(handled.conf("plugin = /no/such.so", "path = /app"), 2,
          "earshot.conf:3: [handler it] plugin: /no/such.so: No such file")
    fails(handled.conf(f"plugin = {text}", "path = /app"), 2,
          "[handler it] plugin:", str(text))
    none = next(os.path.join("/lib/x86_64-linux-gnu", n) for n in
                os.listdir("/lib/x86_64-linux-gnu")
                if n.startswith("libz.so.1"))
    fails(handled.conf(f"plugin = {none}", "path = /app"), 2,
          "has no symbol earshot_plugin")


def scene_that_do_not_want_to_run():
    for how, text in (
            ("init_fails", "earshot_plugin() failed: Permission denied"),
            ("version", "is of version 2, expected 1"),
            ("nothing", "is of version 0, expected 1"),
            ("init_exits", "ended the process with exit(0)")):
        if how == "init_exits" and scene.MODE == "valgrind":
            continue  # it ends with its threads, which are leaks then
        fails(handled.plugin("bad", "path = /app", f"option.how = {how}"), 2,
              text)


def scene_a_filter_that_has_no_say():
    fails(handled.plugin("echo", "filter = checked"), 2,
          "has no on_publish, which filter needs")


def scene_sections_that_are_wrong():
    faults = (
        (("path = /app",), "neither plugin and exec, expected one"),
        (("plugin = /x.so", "exec = cat", "path = /app"), "both plugin"),
        (("exec = cat",), "is bound to nothing"),
        (("exec = cat", "path = /ws/x"), "the daemon's own"),
        (("exec = cat", "path = app"), "the path of a URL"),
        (("exec = cat", "path = /a?b"), "the path of a URL"),
        (("exec = cat", "path = /a", "path = /a"), "which is taken"),
        (("exec = cat", "channel = a/b"), "a channel or a pattern"),
        (("exec = cat", "filter = a/b"), "a channel or a pattern"),
        (("exec = cat", "path = /a", "workers = 0"), "out of range"),
        (("exec = cat", "path = /a", "callback_timeout = 5"),
         "without a unit"),
        (("exec = cat", "path = /a", "option. = x"), "unknown key option."),
        (("exec = cat", "path = /a", "backoff_min = 2s", "backoff_max = 1s"),
         "backoff_min over backoff_max"),
        (("plugin = relative.so", "path = /a"), "an absolute path"),
    )
    for lines, text in faults:
        fails(handled.conf(*lines), 1, text)


WANTED = (
    "none=ENOTCONN stale=ENOTCONN wild=ENOTCONN kind=EINVAL utf8=EILSEQ "
    "json=EBADMSG null=EINVAL large=EMSGSIZE code=EINVAL channel=EINVAL "
    "from=EINVAL unsubscribe=ENOENT info=EINVAL publish=EINVAL history=EINVAL "
    "nochannel=ENOENT await=EINVAL run=EINVAL early=ETIMEDOUT "
    "cancelled=ECANCELED deadlock=EDEADLK ")


def scene_one_that_misuses_everything():
    conf = handled.plugin("bad", more="[limits]\nwork_threads = 1\n")
    with scene.Daemon(conf) as daemon:
        client = handled.app(daemon)
        for _ in range(3):
            client.send_text("go")
            scene.equal(client.read_text(), WANTED, "each misuse, answered")
        client.close()


scene.play(globals())
