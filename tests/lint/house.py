#!/usr/bin/python3
"""house.py FILE...: the rules of the house that are about text.

Floors, doors and who may wait (floors.txt), lengths of functions, files, headers and
lines, guards by path, every file of a room in that room's DESIGN, words that
mean unfinished work.  One line per finding, "file:line: what"; exit 1 if any.
The folder it is started in is the top of the tree.
"""
import pathlib
import re
import sys

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
HEADER_LINES_MAX = 150
DESIGN_LINES_MAX = 90
COLUMNS_MAX = 80
TAB = 8
ROOF = "daemon"

# Written so that this file does not find itself.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


class Floors:
    """floors.txt as tables."""

    def __init__(self, path):
        self.rooms, self.foreign, self.doors = {}, {}, set()
        self.quiet, self.loud, self.noise = set(), set(), set()
        self.waits, self.waiters = set(), set()
        tables = {"door": self.doors, "quiet": self.quiet,
                  "except": self.loud, "noise": self.noise,
                  "waits": self.waits, "waiter": self.waiters}
        for line in path.read_text().splitlines():
            kind, _, rest = line.partition(" ")
            parts = [p.split() for p in rest.split("|")]
            if kind == "room":
                name, may, seen = parts
                self.rooms[name[0]] = (set(may), set(seen))
            elif kind == "foreign":
                name, begins = parts
                for begin in begins:
                    self.foreign[begin] = name[0]
            elif kind in tables:
                tables[kind].update(parts[0])
            elif kind and kind[0] != "#":
                sys.exit(f"{path}: what is a {kind}?")

    def wait_in(self, path, line):
        """The word for a wait of its own in a line, if it may have none."""
        room = self.room_of(path)
        if room is None or self.waiters & {room, path}:
            return None
        return next((w for w in re.findall(r"\b\w+(?=\()|\bSYS_\w+", line)
                     if any(w == begin or begin.endswith("_")
                            and w.startswith(begin)
                            for begin in self.waits)), None)

    def room_of(self, path):
        """The room a path belongs to; None for tests and the like."""
        room = path.rpartition("/")[0]
        return room if room in self.rooms else None

    def is_door(self, room, header):
        if header.endswith("_internal.h"):
            return False
        if room in self.doors or header in self.doors:
            return True
        if not room.startswith("daemon/") or room == "daemon/base":
            return True
        return header == f"{room}/{room.split('/')[-1]}.h"

    def foreign_of(self, header):
        for begin, name in self.foreign.items():
            if header.startswith(begin):
                return name
        return None

    def check(self, path, mark, header):
        """Why this file may not include that header, or None."""
        room = self.room_of(path)
        if room is None and path.startswith("tests/"):
            return None
        if room is None:
            return "the file is in no room of floors.txt"
        may, seen = self.rooms[room]
        quiet = room in self.quiet and path not in self.loud
        if quiet and header in self.noise:
            return f"{room} is quiet: no {header}"
        if mark == "<":
            name = self.foreign_of(header)
            if name and name not in seen:
                return f"{room} may not see {name}"
            return None
        other = self.room_of(header)
        if other is None:
            return f'"{header}" is not a room\'s header'
        if other == room:
            return None
        if other not in may | {"daemon/base"} and "*" not in may:
            return f"{room} may not include {other}"
        if not self.is_door(other, header):
            return f"{header} is not a door of {other}"
        return None


def check_includes(floors, path, lines):
    for number, line in enumerate(lines, 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        mark, header = found.groups()
        if mark == '"' and not pathlib.Path(header).is_file():
            yield number, f'"{header}": no such file from the top'
            continue
        why = floors.check(path, mark, header)
        if why:
            yield number, why


def check_waits(floors, path, lines):
    for number, line in enumerate(lines, 1):
        word = floors.wait_in(path, line)
        if word:
            yield number, f"{word}: who waits, waits in daemon/loop"


def check_lengths(path, lines):
    limit = HEADER_LINES_MAX if path.endswith(".h") else FILE_LINES_MAX
    if len(lines) > limit:
        yield len(lines), f"{len(lines)} lines, more than {limit}"
    begin = 0
    for number, line in enumerate(lines, 1):
        if len(line.expandtabs(TAB)) > COLUMNS_MAX:
            yield number, f"wider than {COLUMNS_MAX} columns"
        if line.startswith("{"):
            begin = number
        elif line.startswith("}") and begin:
            length = number - begin - 1
            if length > FUNCTION_LINES_MAX:
                yield begin, (f"a function of {length} lines,"
                              f" more than {FUNCTION_LINES_MAX}")
            begin = 0


def check_guard(path, lines):
    guard = re.sub(r"[^A-Z0-9]", "_", path.upper())
    first = next((n for n in lines if n.startswith("#")), "")
    if first != f"#ifndef {guard}":
        yield 1, f"the guard is not {guard}"


def check_words(lines):
    for number, line in enumerate(lines, 1):
        found = UNFINISHED.search(line)
        if found:
            yield number, f"{found.group()}: unfinished work has an issue"


def check_designs(floors, paths):
    """A room with more than two files explains itself, file by file."""
    for room in floors.rooms:
        inside = [p for p in paths if floors.room_of(p) == room
                  and p.endswith((".c", ".h"))]
        design = pathlib.Path(room, "DESIGN")
        if len(inside) <= 2 or room == ROOF:
            continue
        if not design.is_file():
            yield str(design), 1, f"missing: {room} has {len(inside)} files"
            continue
        text = design.read_text()
        if len(text.splitlines()) > DESIGN_LINES_MAX:
            yield str(design), 1, f"more than {DESIGN_LINES_MAX} lines"
        if "code structure" not in text.lower():
            yield str(design), 1, 'does not end in "Code structure"'
        for path in inside:
            name = path.split("/")[-1]
            stem = re.escape(name[:-2])
            if name.endswith(".c") and not re.search(
                    rf"(?<![\w/]){stem}\.(c|\[ch\]|h and {stem}\.c)", text):
                yield str(design), 1, f"does not name {name}"


def check_file(floors, path):
    text = pathlib.Path(path).read_bytes()
    if b"\0" in text:
        return
    lines = text.decode("utf-8", errors="replace").splitlines()
    if path.endswith((".c", ".h")):
        yield from check_includes(floors, path, lines)
        yield from check_waits(floors, path, lines)
        yield from check_lengths(path, lines)
    if path.endswith(".h"):
        yield from check_guard(path, lines)
    if not path.startswith("tests/fuzz/") or path.endswith(".c"):
        yield from check_words(lines)


def main():
    paths = [p for p in sys.argv[1:] if pathlib.Path(p).is_file()]
    floors = Floors(pathlib.Path("tests/lint/floors.txt"))
    findings = [(p, n, w) for p in paths for n, w in check_file(floors, p)]
    findings += check_designs(floors, paths)
    for path, number, what in findings:
        print(f"{path}:{number}: {what}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
