#!/usr/bin/env python3
"""Several models on one core of the scheduler: does the urgent one keep its time, at what price?

    tools/bench_sessions.py [CRITICAL] [BACKGROUND ...] [--period-ms 20] [--rounds 10] [--cores 1]
                            [--priority 20]

1. CRITICAL runs every period with the period as its deadline, alone and beside BACKGROUND models
   that run all the time, by turns. Aims: its p99 latency beside them is at most 1.15 times that
   alone; they keep at least 70 % of what it leaves of the core.
2. All models in turn, from a thread each. Aim: at most 1.10 times the sum of what they take alone.

The least disturbed rounds count (other programs only ever add time): the median over the rounds of
each figure is printed beside the best.
"""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path

import numpy as np

import edgeinfer as ei
from edgeinfer.engine import scheduler
from edgeinfer.pipeline.realtime import RealTime, apply, sleep_until

ROAD = Path(ei.__file__).parent / "models" / "road.tflite"


class Worker:
    """A session that runs on a thread as long as it is let."""

    def __init__(self, path: str) -> None:
        self.session = ei.Session(ei.load(path), hold_gil=False)
        self.name = Path(path).stem
        self.runs = 0
        self._go, self._end = threading.Event(), False
        self._rests = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while not self._end:
            self._rests.set()
            self._go.wait()
            self._rests.clear()
            while self._go.is_set():
                self.session.run()
                self.runs += 1

    def start(self) -> None:
        """Run from now on."""
        self.runs = 0
        self._rests.clear()
        self._go.set()

    def stop(self) -> None:
        """Rest, once the run in progress has come to its end."""
        self._go.clear()
        self._rests.wait()


def burst(workers: list[Worker], seconds: float) -> tuple[list[int], float, float]:
    """Runs of each within so many seconds; wall time and processor time they took."""
    for worker in workers:
        worker.start()
    wall, cpu = time.perf_counter(), time.process_time()
    time.sleep(seconds)
    for worker in workers:
        worker.stop()
    runs = [w.runs for w in workers]
    return runs, time.perf_counter() - wall, time.process_time() - cpu


class Periodic:
    """Runs the critical model on a grid, from the real-time class where that is granted."""

    def __init__(self, session: ei.Session, period_ns: int, priority: int) -> None:
        self.session, self.period_ns, self.priority = session, period_ns, priority

    def measure(self, periods: int) -> np.ndarray:
        """float64 [periods, 2], ms: from the release and from the wake-up to the result."""
        took: list[tuple[int, int]] = []
        thread = threading.Thread(target=self._loop, args=(periods, took))
        thread.start()
        thread.join()
        return np.array(took) / 1e6

    def _loop(self, periods: int, took: list[tuple[int, int]]) -> None:
        apply(RealTime(self.priority))
        release = time.monotonic_ns() + self.period_ns
        for _ in range(periods):
            sleep_until(release)
            awake = time.monotonic_ns()
            self.session.run(deadline=release + self.period_ns)
            end = time.monotonic_ns()
            took.append((end - release, end - awake))
            release += self.period_ns * (1 + (end - release) // self.period_ns)


def contend(periodic: Periodic, workers: list[Worker], rounds: int) -> None:
    """The first measurement."""
    period_ns, periods = periodic.period_ns, 50
    solo, beside, kept = [], [], []
    for _ in range(rounds):
        runs, took, _ = burst(workers, periods * period_ns / 2e9)
        free = sum(runs) / took
        solo.append(periodic.measure(periods))
        for worker in workers:
            worker.start()
        begun = time.perf_counter()
        beside.append(periodic.measure(periods))
        for worker in workers:
            worker.stop()
        took = time.perf_counter() - begun
        left = 1 - np.median(solo[-1][:, 1]) * 1e6 / period_ns
        kept.append(sum(w.runs for w in workers) / took / (free * left))
    print(f"{'':24}{'alone':>10}{'beside':>10}{'ratio':>8}")
    for name, q in (("p50 ms", 0.5), ("p99 ms, all periods", 0.99)):
        a, b = (np.quantile(np.concatenate(x)[:, 0], q) for x in (solo, beside))
        print(f"{name:24}{a:10.3f}{b:10.3f}{b / a:8.2f}")
    a, b = (np.array([np.quantile(x[:, 0], 0.99) for x in y]) for y in (solo, beside))
    print(f"{'p99 ms, best round':24}{a.min():10.3f}{b.min():10.3f}{b.min() / a.min():8.2f}")
    print(f"{'p99 ms, median round':24}{np.median(a):10.3f}{np.median(b):10.3f}"
          f"{np.median(b) / np.median(a):8.2f}")  # fmt: skip
    print(f"background keeps {np.median(kept):.0%} of what is left (best {max(kept):.0%}); "
          f"gave way {sum(w.session.preempted for w in workers)} times; "
          f"outcomes {dict(periodic.session.outcomes)}")  # fmt: skip


def in_turn(workers: list[Worker], rounds: int) -> None:
    """The second measurement: what the runs of all cost, over what as many cost alone."""
    ratios = []
    for _ in range(rounds):
        alone = []
        for worker in workers:
            (runs,), *took = burst([worker], 0.2)
            alone.append([t / runs for t in took])
        counts, *took = burst(workers, 0.2 * len(workers))
        ratios.append(np.array(took) / (np.array(counts) @ np.array(alone)))
    for name, column in zip(("time", "processor time"), np.array(ratios).T, strict=True):
        print(f"{len(workers)} models in turn: {np.median(column):.2f} (best {column.min():.2f}) "
              f"of the {name} of each alone")  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=[str(ROAD), str(ROAD), str(ROAD)])
    parser.add_argument("--period-ms", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--cores", type=int, default=1, help="of the scheduler; 0: none")
    parser.add_argument("--priority", type=int, default=20, help="FIFO, of CRITICAL; 0: normal")
    args = parser.parse_args()
    scheduler.set_cores(args.cores)
    critical = ei.Session(ei.load(args.models[0]), hold_gil=False)
    critical.calibrate(runs=50, quantile=0.9)
    workers = [Worker(path) for path in args.models[1:]]
    for worker in workers:
        worker.session.calibrate(runs=50, quantile=0.5, segment_s=100e-6)
    segment = max((w.session.longest_segment or 0.0 for w in workers), default=0.0)
    print(f"critical {critical.times.total * 1e3:.2f} ms; longest segment {segment * 1e3:.3f} ms")
    periodic = Periodic(critical, round(args.period_ms * 1e6), args.priority)
    contend(periodic, workers, args.rounds)
    in_turn(workers, args.rounds)


if __name__ == "__main__":
    main()
