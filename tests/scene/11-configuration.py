#!/usr/bin/python3
# sanitizer: yes
"""What is wrong in a configuration is told, all of it, and nothing starts.

Exit codes: 1 for what is written wrong, 2 for what cannot be had here.
"""
import os
import pathlib
import re
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene

# Each line beside what has to be said of it; None: nothing.  TMP is the
# scene's folder: what a command would do if it were started.
FAULTS = [
    ("key = before", r"key before any section, expected \[SECTION\]"),
    ("[listener one]", None),
    ("listen = localhost:80", r"listen = localhost:80, expected .*numeric"),
    ("tls = maybe", "tls = maybe, expected yes or no"),
    ("colour = red", r"unknown key colour in \[listener\], expected .*origins"),
    ("origins = ftp:/x", "origins = ftp:/x, expected "),
    ("[listener two]", r"\[listener two\] has no listen, expected listen"),
    ("[limits]", None),
    ("connections_max = many", "not a number, expected 1 to 1000000"),
    ("handshake_timeout = 10", "without a unit, expected .*as in 30s"),
    ("message_bytes_max = 1T", "not a size, expected 1 to 256M"),
    ("head_bytes_max = 1", "out of range, expected 1K to 64K"),
    ("[channel chat.*]", None),
    ("history_messages = -1", "not a number, expected 0 to"),
    ("overrun = wait", "expected skip, latest or close"),
    ("[channel chat.*]", r"a second time, expected once .*line 13"),
    ("[channel a/b]", r"expected \[channel PATTERN\]"),
    ("[auth]", None),
    ("anonymous = everything", "expected none, subscribe, publish or"),
    ("[drain]", None),
    ("timeout = 3 weeks", "not a time, expected 0s to 1h"),
    ("close_rate = 0", "out of range, expected 1 to"),
    ("close_rate = 5", "key close_rate a second time, expected once"),
    ("[log]", None),
    ("level = loud", "expected error, warn, info or debug"),
    ("[nonsense]", r"unknown section \[nonsense\], expected one of \[list"),
    ("x = 1", None),
    ("[command a]", r"\[command a\] has no exec, expected exec ="),
    ("channel = not/one", "channel = not/one, expected a channel: 1 to 128"),
    ("[command b]", None),
    ("exec = ./relative", "expected PROGRAM ARGUMENTS with an absolute"),
    ("channel = b", None),
    ("[command fine]", None),
    ("exec = touch TMP/started", None),
    ("channel = fine", None),
    ("[tls]", r"\[tls\] has no key, expected key ="),
    ("certificate = relative.pem", "certificate = .*, expected an absolute"),
    ("[listener", "section without its bracket, expected"),
    ("what is this", "neither section nor key, expected"),
    ("= nothing", "nothing before the =, expected key = value"),
    ("bad = \udcff", "not UTF-8, expected text in UTF-8"),
    ("# a comment", None),
    ("; another", None),
]


def earshotd(*arguments, code=None, **options):
    return scene.run([scene.EARSHOTD, *arguments], code=code, **options)


def write(name, text):
    path = scene.TMP / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode(errors="surrogateescape"))
    return path


def told(text, path):
    """[(line, what)] of the faults of that file."""
    found = re.findall(
        rf"^ERROR {re.escape(str(path))}:(\d+): (.*)$", text, re.M)
    return [(int(line), what) for line, what in found]


def scene_every_fault_in_one_go():
    path = write("faults.conf", "\n".join(line for line, _ in FAULTS).replace(
        "TMP", str(scene.TMP)) + "\n")
    for arguments in (["--check"], []):
        done = earshotd("-c", path, *arguments, code=1)
        faults = told(done.stderr, path)
        for number, (line, expected) in enumerate(FAULTS, 1):
            here = [what for at, what in faults if at == number]
            if expected is None and here:
                raise scene.Failure(f"{number}: {line}: nothing wrong: {here}")
            if expected and not any(re.search(expected, w) for w in here):
                raise scene.Failure(f"{number}: {line}: told {here}, "
                                    f"expected {expected!r}")
        wanted = sum(expected is not None for _, expected in FAULTS)
        scene.equal(len(faults), wanted,
                    f"{len(faults)} faults as file:line, exit code 1"
                    + f" ({' '.join(arguments) or 'start'})")
        scene.equal(len(done.stderr.splitlines()), len(faults),
                    "and not a word more")
        scene.equal(done.stdout, "", "nothing on stdout")
    scene.check(not os.path.exists(scene.TMP / "started"),
                "no command was started")


def scene_nothing_is_bound():
    """The port of a configuration with a fault stays free all the time."""
    holder = socket.create_server(("127.0.0.1", 0))
    port = holder.getsockname()[1]
    path = write("port.conf", f"[listener]\nlisten = 127.0.0.1:{port}\n"
                              "[drain]\ntimeout = long\n")
    done = earshotd("-c", path, code=1)
    scene.equal([line for line, _ in told(done.stderr, path)], [4],
                "a fault, and a port that is taken: only the fault counts")
    holder.close()


def scene_what_only_the_whole_tells():
    path = write("whole.conf", "[auth]\nanonymous = none\n")
    done = earshotd("-c", path, "--check", code=1)
    scene.check(f"{path}: no section [listener], expected" in done.stderr,
                "a section that has to be there")
    path = write("twice.conf", "[listener a]\nlisten = 127.0.0.1:8080\n"
                 "[listener b]\nlisten = 127.0.0.1:8080\n"
                 "[command x]\nexec = true\nchannel = c\n"
                 "[command y]\nexec = true\nchannel = c\n"
                 "[listener c]\nlisten = 127.0.0.1:8081\ntls = yes\n")
    faults = told(earshotd("-c", path, "--check", code=1).stderr, path)
    lines = sorted(line for line, _ in faults)
    scene.equal(lines, [3, 8, 11],
                "one address twice, two feeds of a channel, no [tls]")


def scene_files_that_cannot_be_read():
    missing = scene.TMP / "missing.conf"
    for path, why in ((missing, "No such file or directory"),
                      (scene.TMP, "Is a directory")):
        done = earshotd("-c", path, code=1)
        scene.check(f"ERROR {path}: {why}, expected a file to read"
                    in done.stderr, why)
    path = write("dropin.conf", scene.LISTENER)
    write("dropin.conf.d", "not a folder")
    done = earshotd("-c", path, "--check", code=1)
    scene.check(f"{path}.d: Not a directory, expected" in done.stderr,
                "drop-ins that are no folder")
    if os.geteuid() != 0:
        path.chmod(0)
        done = earshotd("-c", path, "--check", code=1)
        scene.check("Permission denied" in done.stderr, "no permission")


def scene_dropins():
    path = write("drop.conf", scene.LISTENER + "[limits]\nheads_max = 7\n")
    write("drop.conf.d/20.conf", "[limits]\nheads_max = 9\n")
    write("drop.conf.d/10.conf", "[limits]\nheads_max = 8\n")
    write("drop.conf.d/30.txt", "what is this\n")
    done = earshotd("-c", path, "--limits", code=0)
    scene.check(re.search("^heads_max = 9 ", done.stdout, re.M),
                "later files change keys, in the order of their names")
    bad = write("drop.conf.d/40.conf", "\n[limits]\nheads_max = x\n")
    done = earshotd("-c", path, "--check", code=1)
    scene.equal([line for line, _ in told(done.stderr, bad)], [3],
                "a fault names the drop-in")


def scene_check_limits_version_help():
    path = write("good.conf", scene.LISTENER + "[limits]\n"
                 "connections_max = 77\nmessage_bytes_max = 64K\n")
    done = earshotd("-c", path, "--check", code=0)
    scene.equal((done.stdout, done.stderr), ("", ""), "--check of a good file")
    done = earshotd("-c", path, "--limits", code=0)
    lines = done.stdout.splitlines()
    scene.check(all(re.fullmatch(r"[a-z_]+ = \d+[a-zA-Z]*  +\S.*", line)
                    for line in lines), "--limits: name = value  what")
    scene.check(any(line.startswith("connections_max = 77 ")
                    for line in lines), "the configuration's value")
    header = (scene.TOP / "conf/limits.h").read_text()
    scene.equal([line.split()[0] for line in lines],
                re.findall(r"\tX\((\w+), [A-Z]+,", header),
                "all limits of conf/limits.h")
    version = re.search(r"^VERSION = (\S+)",
                        (scene.TOP / "Makefile").read_text(), re.M)[1]
    scene.equal(earshotd("--version", code=0).stdout,
                f"earshotd {version}\n", "--version")
    done = earshotd("--help", code=0)
    missing = [o for o in ("--config", "--check", "--limits", "--version")
               if o not in done.stdout]
    scene.equal(missing, [], "--help names the options")
    scene.equal(earshotd("-h", code=0).stdout, done.stdout, "-h too")


def scene_arguments_that_are_none():
    done = earshotd("--colour", code=1)
    scene.check("--colour" in done.stderr and "--check" in done.stderr,
                "an unknown option, and what there is")
    done = earshotd("more", code=1)
    scene.check("more: expected no argument" in done.stderr, "an argument")
    earshotd("-c", code=1)


def start(conf, code):
    """A start that has to fail."""
    daemon = scene.Daemon(conf, ready=False)
    scene.equal(daemon.wait(), code, "exit code")
    return daemon.log()


def scene_addresses():
    holder = socket.create_server(("127.0.0.1", 0))
    port = holder.getsockname()[1]
    log = start(f"[listener web]\nlisten = 127.0.0.1:{port}\n", 2)
    scene.check(re.search(
        rf"ERROR listener web: 127.0.0.1:{port}: bind: Address already in use",
        log), "port in use")
    scene.check("INFO ready" not in log, "it never was ready")
    log = start("[listener a]\nlisten = 127.0.0.1:0\n"
                f"[listener web]\nlisten = 127.0.0.1:{port}\n"
                f"[command c]\nexec = touch {scene.TMP}/ran\nchannel = c\n", 2)
    scene.check("listening on" not in log, "one of two: none listens")
    scene.check(not os.path.exists(scene.TMP / "ran"), "no command ran")
    holder.close()
    log = start("[listener]\nlisten = 203.0.113.1:8080\n", 2)
    scene.check("203.0.113.1:8080: bind: Cannot assign" in log,
                "an address that is not ours")
    log = start("[listener]\nlisten = unix:/no/such/folder/x.sock\n", 2)
    scene.check("bind: No such file or directory" in log, "a unix path")
    for address in ("127.0.0.1", "127.0.0.1:65536", "300.0.0.1:80", "::1:80",
                    "[::1]", "unix:relative", ":80", ""):
        log = start(f"[listener]\nlisten = {address}\n", 1)
        scene.check(":2: listen =" in log, f"not an address: {address!r}")


def make_key(name):
    key, certificate = scene.TMP / f"{name}.key", scene.TMP / f"{name}.pem"
    scene.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
               "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj",
               f"/CN={name}", "-keyout", key, "-out", certificate], code=0)
    return certificate, key


def scene_certificate_and_key():
    certificate, key = make_key("one")
    _, other = make_key("two")
    text = write("text.pem", "this is no certificate\n")
    missing = scene.TMP / "missing.pem"
    for what, (cert_path, key_path), named in (
            ("no certificate there", (missing, key), "certificate"),
            ("a certificate that is none", (text, key), "certificate"),
            ("no key there", (certificate, missing), "key"),
            ("a key that is none", (certificate, text), "key"),
            ("another certificate's key", (certificate, other), "key")):
        conf = scene.LISTENER + "tls = yes\n[tls]\n" \
            f"certificate = {cert_path}\nkey = {key_path}\n"
        log = start(conf, 1)
        path = cert_path if named == "certificate" else key_path
        line = 5 if named == "certificate" else 6
        scene.check(re.search(rf"ERROR /.*:{line}: {named} = {path}: .*, "
                              "expected .*PEM", log), f"{what}, in its line")
        scene.check("listening on" not in log, "nothing listens")
        done = scene.run([scene.EARSHOTD, "-c", write("tls.conf", conf),
                          "--check"], code=1)
        scene.check(f":{line}: {named} = {path}: " in done.stderr,
                    "--check says so, too")


scene.play(globals())
