"""Tries the bounds of the schedulability analysis against a simulation of random task sets.

    python tools/check_bounds.py --sets 1000000 --workers 2

Half of the sets are tasks of one core (fixed priorities, preemptive or not; earliest deadline
first; with jitter, segments that nothing interrupts, equal priorities, deadlines beyond periods), a
quarter are pipelines as they are admitted, a quarter chains that hand over newest values. The
simulation must never see a response, an age or a reaction longer than its bound: each that it sees
is printed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/pipeline/schedule"))

import task_sets

_BLOCK = 5000
_TRIES = (
    task_sets.core_violation, task_sets.pipeline_violation,
    task_sets.core_violation, task_sets.chain_violation,
)  # fmt: skip


def violations(library: Path, seed: int, sets: int, first: int) -> list[str]:
    """Of a block of sets, by their numbers."""
    simulator = task_sets.Simulator(library)
    found = []
    for i in range(first, min(first + _BLOCK, sets)):
        said = _TRIES[i % len(_TRIES)](random.Random(seed + i), simulator)
        found += [f"{seed + i}: {said}"] if said else []
    return found


def main() -> int:
    """Parse the options, try, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0, help="number of the first set")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    began, found = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(args.workers) as pool:
        task_sets.compile_simulator(Path(folder))
        one = partial(violations, Path(folder), args.seed, args.sets)
        for said in pool.map(one, range(0, args.sets, _BLOCK)):
            found += len(said)
            print("".join(f"{line}\n" for line in said), end="", flush=True)
    took = time.monotonic() - began
    print(f"{args.sets} sets, {found} beyond their bounds, {took:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
