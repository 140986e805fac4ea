"""Fuzzes the C plan loader and the kernels' checks under AddressSanitizer and UBSan.

    python tools/fuzz_plan.py --minutes 10 --keep crashes

Every plan that crashes the driver (tests/fuzz/plan_driver.c) is kept in the folder with what the
sanitizer said. The last line has the totals.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests import sanitized
from tests.fuzz.plan_seeds import seeds

SLOW, BLOCK = 14, 2000
OPTIONS = {"ASAN_OPTIONS": "allocator_may_return_null=1:detect_leaks=1"}


def attack(
    driver: Path, plan: Path, seed: int, count: int, keep: Path, first: int = 0
) -> Counter[str]:
    """Run `count` mutations of a plan; mutants that crash the driver go to the folder `keep`."""
    totals: Counter[str] = Counter()
    end, progress = first + count, keep / "progress"
    while first < end:
        command = [driver, plan, seed, first, end - first, progress]
        done = _run(command)
        if done.returncode == 0:
            counts = map(int, done.stdout.split())
            totals.update(dict(zip(("mutants", "opened", "run"), counts, strict=True)))
            break
        at = int(progress.read_text().split()[0])
        name = f"{plan.stem}-{seed}-{at}"
        kind = "slow" if done.returncode == SLOW else "crashes"
        totals.update({"mutants": at + 1 - first, kind: 1})
        _run([driver, plan, seed, at, 1, progress, keep / f"{name}.{kind}"])
        (keep / f"{name}.txt").write_text(done.stderr)
        first = at + 1
    return totals


def _run(command: list[object]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | OPTIONS
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, env=environment)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-plan"), help="folder for crashes")
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    driver = sanitized.program("fuzz/plan_driver.c", sanitized.ASAN)
    plans = []
    for name, data in seeds():
        plans.append(options.keep / f"{name}.plan")
        plans[-1].write_bytes(data)
    totals: Counter[str] = Counter()
    end = time.monotonic() + 60 * options.minutes
    for seed in itertools.count(1):
        for plan in plans:
            if time.monotonic() > end:
                print(dict(totals))
                sys.exit(1 if totals["crashes"] else 0)
            totals += attack(driver, plan, seed, BLOCK, options.keep)


if __name__ == "__main__":
    main()
