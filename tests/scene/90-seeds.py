#!/usr/bin/python3
# sanitizer: yes
"""The programs of the five texts, on our run-time, print what they should.

tests/seeds/NAME.c begins with where it comes from and with the lines it
prints, marked "> "; where they depend on time they say which of two took
longer, by a wide margin.  What the machine can do is bench-loop's business.
"""
import concurrent.futures
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene

AT_ONCE = 4
SECONDS = 30
TRIES = 3
LATE = re.compile(r"\b(less|more|nobody|somebody|went on|stood still)\b")
LOAD_ROUNDS, CONSUMERS, LINES = 5, 20, 100
RULES = {"L": 14, "C": 10, "T": 6, "X": 8, "W": 2, "F": 13, "K": 20, "G": 7,
         "DL": 8, "E": 10, "B": 11, "S": 8, "D": 6, "P": 3, "M": 3}
TEXTS = ("000_c3603fa95d1d7725.txt", "001_46b09f09b7115f18.txt",
         "002_1ec871e8cf518f45.txt", "003_b829acf418663ef6.txt",
         "004_f568e1dd864b5540.txt")


def programs():
    """Sources of programs, by name."""
    sources = sorted((scene.TOP / "tests/seeds").glob("*.c"))
    return {p.stem: p for p in sources
            if re.search(r"^main\(", p.read_text(), re.M)}


def header(source):
    return source.read_text().split("*/")[0]


def expected(source):
    return "".join(line + "\n" for line in
                   re.findall(r"^ \* > (.*)$", header(source), re.M))


def command(name):
    path = scene.BUILD / "tests/seeds" / name
    if scene.MODE != "valgrind":
        return [path]
    return ["valgrind", "-q", "--leak-check=full", "--error-exitcode=99",
            "--errors-for-leak-kinds=definite,possible", path]


def is_late(got, want):
    """Only what depends on time is not as expected: the machine may have stood
    still meanwhile."""
    return got != want and LATE.sub("", got) == LATE.sub("", want)


def compare(name, source):
    want = expected(source)
    scene.check(want, f"{name}.c says what it prints")
    for _ in range(TRIES):
        done = scene.run(command(name), seconds=SECONDS)
        if not is_late(done.stdout, want):
            break
    scene.equal(done.stdout, want, f"{name} (stderr: {done.stderr})")
    scene.equal(done.returncode, 0, f"{name}: exit code ({done.stderr})")


def scene_each_names_its_text():
    for name, source in programs().items():
        scene.check(any(t in header(source) for t in TEXTS),
                    f"{name}.c names the text it is from")


def scene_every_text_has_programs():
    headers = "".join(map(header, programs().values()))
    for text in TEXTS:
        scene.check(text in headers, f"a program from {text}")


def scene_they_print_what_they_should():
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        running = {n: pool.submit(compare, n, s)
                   for n, s in programs().items()}
    failures = [str(f.exception()) for f in running.values() if f.exception()]
    if failures:
        raise scene.Failure("\n".join(failures))


def scene_the_table_names_tests_that_exist():
    """tests/seeds/README.md: 86 rows and 67 entries; each test is there."""
    table = (scene.TOP / "tests/seeds/README.md").read_text()
    rows = [int(n) for n in re.findall(r"^\| (\d+) \|", table, re.M)]
    scene.equal(rows, [*range(1, 87), *range(1, 68)], "rows of both tables")
    for path in set(re.findall(r"`(tests/[^`]*)`", table)):
        scene.check((scene.TOP / path).exists(), f"{path} exists")
    sources = "".join(p.read_text() for p in
                      (scene.TOP / "tests/unit").glob("test_*.c"))
    for name in set(re.findall(r"`([A-Za-z]\w+_\w+)`", table)):
        scene.check(re.search(rf"^{name}\(", sources, re.M)
                    or (scene.TOP / f"tests/seeds/{name}.c").exists(),
                    f"{name} is a test or a program")


def rules_of(table):
    """Each numbered rule with the files its row names."""
    for first, last, files in re.findall(
            r"^\| ([A-Z]+\d+)(?:-([A-Z]+\d+))? \|[^|]*\|([^|]*)\|$", table,
            re.M):
        letters = first.rstrip("0123456789")
        begin = int(first[len(letters):])
        end = int(last[len(letters):]) if last else begin
        for number in range(begin, end + 1):
            yield f"{letters}{number}", re.findall(r"`([^`]*)`", files)


def names_rule(rule, path):
    """A test function of the file has the rule in its name; a scene has just
    to be there."""
    if not path.startswith("test_"):
        return (scene.TOP / path).exists()
    text = (scene.TOP / "tests/unit" / path).read_text()
    return bool(re.search(rf"^(?:[A-Z]+\d*_)*{rule}_\w+\(", text, re.M))


def scene_each_rule_has_a_test_that_names_it():
    table = (scene.TOP / "tests/seeds/README.md").read_text()
    rules = dict(rules_of(table))
    wanted = [f"{letters}{number}" for letters, count in RULES.items()
              for number in range(1, count + 1)]
    scene.equal(sorted(rules), sorted(wanted), "the rules")
    unnamed = [rule for rule, files in rules.items()
               if not any(names_rule(rule, path) for path in files)]
    scene.equal(unnamed, [], "rules that no test names")


def count_threads(daemon):
    return len(os.listdir(f"/proc/{daemon.process.pid}/task"))


def scene_as_many_threads_under_load_as_idle():
    """Row 20: loops and threads are made once, not for each piece of work."""
    lines = [str(n) for n in range(LINES)]
    with scene.Daemon() as daemon:
        idle = count_threads(daemon)
        seen = set()
        for _ in range(LOAD_ROUNDS):
            consumers = [daemon.ws("ticks") for _ in range(CONSUMERS)]
            daemon.publish("ticks", "\n".join(lines),
                           arguments="?split=lines")
            seen.add(count_threads(daemon))
            for consumer in consumers:
                if [consumer.read_text() for _ in lines] != lines:
                    raise scene.Failure("a consumer missed something")
                consumer.close()
            seen.add(count_threads(daemon))
        scene.equal(seen, {idle}, "numbers of threads")


scene.play(globals())
