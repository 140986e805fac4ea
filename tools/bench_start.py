"""Cold starts of a model beside LiteRT: python tools/bench_start.py MODEL.tflite [--rounds 15]

Fresh processes in turn: Python with numpy alone, ours from a saved plan, LiteRT from the .tflite.
Medians and the least of
  engine ms   from after numpy's import to the first result: import, load, session, first run
  run ms      the first run alone, and another
  process ms  of the whole process, as its parent sees it
  RSS MB      resident memory at its end over that of Python with numpy alone
Files are in the page cache and bytecode is compiled (the first round is not counted).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import edgeinfer as ei

_COMMON = """
import json, sys, time
import numpy
clock, path = time.perf_counter, sys.argv[1]
times = [clock()]
def rss():
    with open("/proc/self/smaps_rollup") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith("Rss:"))
def finish():
    engine, run = times[-2] - times[0], times[-2] - times[-3]
    print(json.dumps([1e3 * engine, 1e3 * run, 1e3 * (times[-1] - times[-2]), rss()]))
"""

_PROGRAMS = {
    "python + numpy": "times *= 4\nfinish()",
    "edgeinfer": """
import edgeinfer
session = edgeinfer.Session(edgeinfer.load(path))
for _ in range(2):
    times.append(clock())
    session.run()
times.append(clock())
finish()
""",
    "litert": """
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(path, num_threads=1)
interpreter.allocate_tensors()
for _ in range(2):
    times.append(clock())
    interpreter.invoke()
times.append(clock())
finish()
""",
}


def _start(kind: str, path: Path, env: dict[str, str]) -> list[float]:
    """[engine ms, first run ms, second run ms, RSS bytes, process ms] of one fresh process."""
    begin = time.perf_counter()
    command = [sys.executable, "-c", _COMMON + _PROGRAMS[kind], str(path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return [*json.loads(done.stdout.splitlines()[-1]), 1e3 * (time.perf_counter() - begin)]


def measure(model: Path, rounds: int) -> tuple[int, dict[str, list[list[float]]]]:
    """Bytes of the plan, and what every round of every kind of process said, see `_start`."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "model.plan"
        loaded = ei.load(model)
        assert isinstance(loaded, ei.Model)
        ei.build(loaded.graph).save(plan)
        env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        env["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "bytecode")
        found: dict[str, list[list[float]]] = {kind: [] for kind in _PROGRAMS}
        for i in range(rounds + 1):
            for kind, rows in found.items():
                row = _start(kind, plan if kind == "edgeinfer" else model, env)
                if i:
                    rows.append(row)
        return plan.stat().st_size, found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    size, found = measure(args.model, args.rounds)
    base = median(row[3] for row in found["python + numpy"])
    print(f"{args.model.stem}: plan of {size / 1e6:.1f} MB")
    print(
        f"{'':15}{'engine ms':>18}{'first run':>12}{'next run':>10}{'process ms':>12}{'RSS MB':>8}"
    )
    for kind, rows in found.items():
        engine, first, following, rss, process = (median(r[i] for r in rows) for i in range(5))
        least = min(r[0] for r in rows)
        print(
            f"{kind:15}{engine:9.1f} (≥{least:6.1f}){first:12.2f}{following:10.2f}"
            f"{process:12.0f}{(rss - base) / 1e6:8.1f}"
        )


if __name__ == "__main__":
    main()
