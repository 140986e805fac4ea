"""Random task sets and chains, their bounds, and what a simulation of them sees."""

from __future__ import annotations

import ctypes
import random
import subprocess
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from edgeinfer.pipeline.schedule import chains, edf, fixed
from edgeinfer.pipeline.schedule.chains import Link
from edgeinfer.pipeline.schedule.tasks import Task

FIXED, NON_PREEMPTIVE, EDF = range(3)
_PERIODS = (4, 5, 8, 10, 12, 20, 25, 40, 50, 100)


def compile_simulator(folder: Path) -> None:
    """simulate.c as a library in `folder`."""
    source, library = Path(__file__).with_name("simulate.c"), folder / "simulate.so"
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, str(source), "-o", str(library)], check=True)


class Simulator:
    """The simulation that lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._lib = ctypes.CDLL(str(folder / "simulate.so"))

    def core(
        self, tasks: list[Task], policy: int, spread: bool, exact: bool, seed: int
    ) -> dict[str, int]:
        """The longest response of each task, by name."""
        rows = [
            v for t in tasks for v in (t.period_ns, t.wcet_ns, t.deadline_ns, t.jitter_ns,
                                       t.segment_ns, t.priority)
        ]  # fmt: skip
        worst = (ctypes.c_int64 * len(tasks))()
        horizon = 40 * max(t.period_ns for t in tasks)
        arguments = (ctypes.c_int64 * len(rows))(*rows)
        status = self._lib.simulate(
            len(tasks), arguments, policy, int(spread), int(exact),
            ctypes.c_int64(horizon), ctypes.c_uint64(seed), worst,
        )  # fmt: skip
        assert status == 0
        return {t.name: w for t, w in zip(tasks, worst, strict=True)}

    def chain(self, links: list[Link], seed: int, jobs: int = 400) -> tuple[int, int]:
        """(oldest data of an output, longest reaction)."""
        rows = [
            v for x in links
            for v in (x.period_ns, x.response_ns, -1 if x.first_ns is None else x.first_ns)
        ]  # fmt: skip
        out = (ctypes.c_int64 * 2)()
        arguments = (ctypes.c_int64 * len(rows))(*rows)
        status = self._lib.chain(
            len(links), arguments, ctypes.c_int64(jobs), ctypes.c_uint64(seed), out
        )
        assert status == 0
        return out[0], out[1]


def shares(rng: random.Random, count: int, total: float) -> list[float]:
    """UUniFast (Bini & Buttazzo 2005): `count` shares that sum to `total`, none more likely."""
    found, left = [], total
    for i in range(1, count):
        following = left * rng.random() ** (1 / (count - i))
        found.append(left - following)
        left = following
    return [*found, left]


def task_set(rng: random.Random, policy: int) -> list[Task]:
    """2 to 7 tasks of a load of 0.3 to 1.0, some with jitter, segments, equal priorities."""
    count = rng.randint(2, 7)
    found = []
    jitter, segments = rng.random() < 0.5, policy != NON_PREEMPTIVE and rng.random() < 0.5
    for i, share in enumerate(shares(rng, count, rng.uniform(0.3, 1.0))):
        period = rng.choice(_PERIODS) * rng.choice((1, 3, 7))
        wcet = max(round(share * period), 1)
        due = rng.choice((period, period, round(rng.uniform(wcet, 2 * period))))
        late = rng.randint(0, period) if jitter and rng.random() < 0.5 else 0
        segment = rng.randint(0, wcet) if segments else 0
        found.append(Task(f"t{i}", period, wcet, max(due, 1), late, segment, rng.randint(0, count)))
    return found


def core_violation(rng: random.Random, simulator: Simulator) -> str:
    """One random task set: how a simulated response exceeds its bound; "": it does not."""
    policy = rng.choice((FIXED, FIXED, NON_PREEMPTIVE, EDF))
    tasks = task_set(rng, policy)
    if policy == EDF:
        tasks = [replace(t, deadline_ns=max(t.deadline_ns, t.jitter_ns + 1)) for t in tasks]
        met = edf.overload(tasks) is None
        bounds = {t.name: t.deadline_ns if met else None for t in tasks}
    else:
        bounds = dict(fixed.response_times(tasks, policy == FIXED))
    if all(b is None for b in bounds.values()):
        return ""
    spread, exact = rng.random() < 0.6, rng.random() < 0.7
    seen = simulator.core(tasks, policy, spread, exact, rng.getrandbits(63) | 1)
    for name, bound in bounds.items():
        if bound is not None and seen[name] > bound:
            return f"policy {policy}: {name} took {seen[name]} > {bound}: {tasks}"
    return ""


def chain_links(rng: random.Random) -> list[Link]:
    """2 to 5 stages, on one clock but for the first, or some on clocks of their own."""
    count, alone = rng.randint(2, 5), rng.random() < 0.3
    periods = [rng.choice(_PERIODS) for _ in range(count)]
    if rng.random() < 0.5:
        periods = [periods[0]] * count
    responses = [rng.randint(0, p) for p in periods]
    starts = list(accumulate(responses, initial=rng.randint(0, 5)))
    return [
        Link(f"s{i}", p, r, None if i == 0 or (alone and rng.random() < 0.5) else first)
        for i, (p, r, first) in enumerate(zip(periods, responses, starts, strict=False))
    ]


def chain_violation(rng: random.Random, simulator: Simulator) -> str:
    """One random chain: how a simulated age or reaction exceeds its bound; "": it does not."""
    links = chain_links(rng)
    bound = chains.ends(links)
    age, reaction = simulator.chain(links, rng.getrandbits(63) | 1)
    if age > bound.age_ns:
        return f"data {age} old > {bound.age_ns}: {links}"
    if reaction > bound.reaction_ns:
        return f"reaction {reaction} > {bound.reaction_ns}: {links}"
    return ""
