"""Mutation score of the guard: every small change to guard.c must make its driver fail.

    python tools/mutate_guard.py

Operators (Offutt et al. 1996, "An experimental determination of sufficient mutant operators", and
deletion of statements): comparisons, && and ||, + - * /, constants, negations, ++ and --, reasons
and states, and each statement left out. A mutant that the compiler refuses, or that gives the same
object code, is no mutant; one that the driver accepts is printed, unless EQUAL says why it cannot
differ. Exit status 1 where any is left.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
GUARD, DRIVER = ROOT / "csrc/guard/guard.c", ROOT / "tests/guard/driver.c"

#: What stands in the source -> what it is changed to, each in turn.
_TOKENS = {
    "==": ("!=", ">=", "<="), "!=": ("==", ">", "<"), "<=": ("<", ">", "=="),
    ">=": (">", "<", "=="), "<": ("<=", ">", "!="), ">": (">=", "<", "!="),
    "&&": ("||",), "||": ("&&",), "+": ("-",), "-": ("+",), "*": ("/",), "++": ("--",),
    "!": ("",), "0": ("1",), "1": ("0", "2"), "0.0f": ("1.0f", "0.5f"), "1.0f": ("0.0f", "2.0f"),
    "-1": ("1", "0"), "-1.0f": ("0.0f", "-2.0f"), "1e-9f": ("1e-8f",), "1e6f": ("1e5f", "1e7f"),
    "EI_GUARD_OK": ("EI_GUARD_RANGE",), "EI_GUARD_SAFE": ("EI_GUARD_ACTIVE",),
    "EI_GUARD_ACTIVE": ("EI_GUARD_SAFE", "EI_GUARD_WAITING"),
    "EI_GUARD_WAITING": ("EI_GUARD_ACTIVE",), "EI_GUARD_SILENT": ("EI_GUARD_WAITING",),
}  # fmt: skip
_REASONS = ("CLOCK", "NOT_FINITE", "RANGE", "FROZEN", "STALE", "HEARTBEAT", "TIMEOUT", "SILENCED",
            "LIMITED", "RATE", "BOTH")  # fmt: skip
_TOKENS |= {f"EI_GUARD_{r}": ("EI_GUARD_OK",) for r in _REASONS}
_WORD = re.compile(
    r"-1\.0f|-1(?![\w.])|EI_GUARD_\w+|\b(?:0\.0f|1\.0f|1e-9f|1e6f|[01])(?![\w.])"
    r"|\+\+|->|&&|\|\||[=!<>]=|(?<= )[-+*<>](?= )|!"
)
_STATEMENT = re.compile(r"^ +(?!return|else|union|float \w+;|uint\w+ \w+;|ei_\w+ \w+;)[^{}/]*;$")

#: (text of the line, change) -> why nobody can tell the difference.
_ONCE = "the value itself is kept either way"
_RANGE = "examined before: not below 0"
EQUAL = {
    ("return (bits.u & 0x7f800000u) != 0x7f800000u;", "!= at 34 -> <"): "masked",
    ("return within(rate, 0.0f, 1e6f) && rate > 0.0f;", "> at 44 -> !="): "within: not below 0",
    ("for (uint32_t i = 0; i < sizeof *g; i++) bytes[i] = 0;", "0 at 22 -> 1"):
        "the first byte is of the limits, which are written next, or not used",
    ("reason = g->state == EI_GUARD_SILENT ? (uint32_t)EI_GUARD_SILENCED : examine(g, command);",
     "== at 22 -> >="): "there is no state beyond",
    ("g->sent_ns = now_ns > g->limits.step_ns ? now_ns - g->limits.step_ns : 0;",
     "> at 28 -> >="): "0 either way",
    ("} else if (g->state == EI_GUARD_SAFE && g->good >= g->limits.recover) {",
     "== at 24 -> >="): "silence has returned before",
    ("float kept = value > most ? most : value < -most ? -most : value;", "> at 23 -> >="): _ONCE,
    ("float kept = value > most ? most : value < -most ? -most : value;", "< at 45 -> <="): _ONCE,
    ("if (g->state == EI_GUARD_SAFE) {", "== at 17 -> >="): "silence has returned before",
    ("to.brake = g->last.brake > l->safe_brake ? g->last.brake : l->safe_brake;",
     "> at 33 -> >="): _ONCE,
    ("if (to.throttle > 0.0f && to.brake > 0.0f) {", "> at 20 -> !="): _RANGE,
    ("if (to.throttle > 0.0f && to.brake > 0.0f) {", "> at 39 -> !="): _RANGE,
}  # fmt: skip


class Mutant(NamedTuple):
    """A change to a line (from 0): the new line."""

    line: int
    text: str
    what: str


def mutants(lines: list[str]) -> Iterator[Mutant]:
    """Every change to the code, comments left alone."""
    comment = False
    for i, line in enumerate(lines):
        comment = comment or line.lstrip().startswith("/*")
        if not comment and not line.startswith("#"):
            yield from _of_line(i, line)
        comment = comment and "*/" not in line


def _of_line(i: int, line: str) -> Iterator[Mutant]:
    for found in _WORD.finditer(line):
        for new in _TOKENS.get(found[0], ()):
            text = line[: found.start()] + new + line[found.end() :]
            yield Mutant(i, text, f"{found[0]} at {found.start()} -> {new or 'nothing'}")
    if _STATEMENT.match(line):
        yield Mutant(i, "", "left out")


class Bench:
    """Compiles and tries mutants in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lines = folder, GUARD.read_text().splitlines()
        self._cc("-c", DRIVER, "-o", folder / "driver.o")
        self.original = self._object(self.lines, "original")
        assert self.original is not None
        assert self._passes("original"), "the driver fails without any change"

    def _cc(self, *arguments: str | Path) -> int:
        command = ["gcc", "-std=c11", "-O1", "-w", "-I", ROOT / "csrc", *arguments]
        return subprocess.run(command, capture_output=True).returncode

    def _object(self, lines: list[str], name: str) -> str | None:
        """Digest of the object code; None where it does not compile."""
        (self.folder / f"{name}.c").write_text(
            "\n".join(lines).replace('"guard.h"', '"guard/guard.h"')
        )
        out = self.folder / f"{name}.o"
        if self._cc("-c", self.folder / f"{name}.c", "-o", out):
            return None
        code = self.folder / f"{name}.bin"
        subprocess.run(["objcopy", "-O", "binary", out, code], check=True)
        return hashlib.sha256(code.read_bytes()).hexdigest()

    def _passes(self, name: str) -> bool:
        program = self.folder / name
        if self._cc(self.folder / f"{name}.o", self.folder / "driver.o", "-o", program, "-lm"):
            return False
        try:
            done = subprocess.run([program], capture_output=True, timeout=20)
        except subprocess.TimeoutExpired:
            return False
        # A mutant that writes beyond its memory may clear the count of failures; not what it said.
        return done.returncode == 0 and not done.stdout

    def outcome(self, number: int, mutant: Mutant) -> str:
        """ "invalid", "same", "killed" or "alive"."""
        lines = [*self.lines[: mutant.line], mutant.text, *self.lines[mutant.line + 1 :]]
        code = self._object(lines, f"m{number}")
        if code is None:
            return "invalid"
        if code == self.original:
            return "same"
        return "alive" if self._passes(f"m{number}") else "killed"


def main() -> int:
    """Try all, print what is left and the score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="only each so manieth (1: all)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        bench = Bench(Path(folder))
        every = list(mutants(bench.lines))[:: args.every]
        outcomes = list(pool.map(bench.outcome, range(len(every)), every))
    left = equal = 0
    for mutant, outcome in zip(every, outcomes, strict=True):
        text = bench.lines[mutant.line].strip()
        if outcome == "alive" and (text, mutant.what) in EQUAL:
            equal += 1
        elif outcome == "alive":
            left += 1
            print(f"guard.c:{mutant.line + 1}: {mutant.what}: {text}")
    killed = outcomes.count("killed")
    print(f"{killed} of {killed + left} mutants killed, {100 * killed / (killed + left):.1f} %; "
          f"{equal} more cannot differ, {outcomes.count('same')} gave the same code, "
          f"{outcomes.count('invalid')} did not compile")  # fmt: skip
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
