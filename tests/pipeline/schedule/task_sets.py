"""Random task sets and chains, their bounds, and what a simulation of them sees."""

from __future__ import annotations

import ctypes
import random
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from edgeinfer.board import StageBudget
from edgeinfer.pipeline.messages import Message
from edgeinfer.pipeline.schedule import chains, edf, fixed, offsets, order
from edgeinfer.pipeline.schedule.admission import Question
from edgeinfer.pipeline.schedule.chains import Link
from edgeinfer.pipeline.schedule.platform import Platform
from edgeinfer.pipeline.schedule.tasks import Task
from edgeinfer.pipeline.stage import Stage, Timing

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
        self, tasks: list[Task], policy: int, spread: bool, exact: bool, seed: int,
        starts: Mapping[str, int] | None = None,
    ) -> dict[str, int]:  # fmt: skip
        """The longest response of each task, by name. `starts`: first releases that are known."""
        rows = [
            v for t in tasks for v in (t.period_ns, t.wcet_ns, t.deadline_ns, t.jitter_ns,
                                       t.segment_ns, t.priority, (starts or {}).get(t.name, -1))
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


class _Named(Stage):
    """A stage of any name and timing."""

    def __init__(self, name: str, inputs: tuple[str, ...], timing: Timing) -> None:
        self.name, self.inputs, self.timing = name, inputs, timing

    def step(self, inputs: Mapping[str, Message]) -> Message | None:
        raise NotImplementedError


def question(rng: random.Random) -> Question:
    """A chain of 2 to 5 stages on 1 or 2 cores, of one rate or of several; milliseconds."""
    count, cores = rng.randint(2, 5), rng.randint(1, 2)
    same, hz, stages, entries = rng.random() < 0.6, rng.choice((10, 20, 50)), [], {}
    for i, share in enumerate(shares(rng, count, cores * rng.uniform(0.3, 0.9))):
        rate = hz if same else rng.choice((10, 20, 50))
        budget = round(1e3 / rate * min(share, 0.9), 3)
        timing = Timing(rate, max(budget, 0.01), 1e6)
        stages.append(_Named(f"s{i}", (f"s{i - 1}",) if i else ("source",), timing))
        segment = rng.uniform(0, budget) if rng.random() < 0.3 else 0.0
        entries[f"s{i}"] = StageBudget(
            rate, budget, 1e6, priority=rng.randint(1, 4), segment_ms=segment
        )
    ns = 1_000_000 // hz
    platform = Platform(
        cores, 1.0, "fifo", 2, rng.randint(0, 10 * ns), rng.choice((0, 20_000)), 1_000_000,
        rng.randint(0, 50 * ns), rng.randint(0, 50 * ns),
    )  # fmt: skip
    return Question(stages, hz, platform, entries)


def pipeline_violation(rng: random.Random, simulator: Simulator) -> str:
    """One random pipeline on its board, as it is admitted; "": no response beyond its bound."""
    asked = question(rng)
    found = asked.answer()
    tasks, _ = asked._tasks(order(asked.stages))
    starts = offsets(asked.stages, found.responses_ns)
    exact, seed = rng.random() < 0.7, rng.getrandbits(63) | 1
    for core in range(asked.platform.cores):
        here = [t for t in tasks if found.core(t.name) == core]
        bounds = [found.responses_ns[t.name] for t in here]
        # What has no bound, or does not end before it comes again, is refused; it may be anything.
        if not here or any(b is None or b > t.period_ns for b, t in zip(bounds, here, strict=True)):
            continue
        here = [*here, *asked.platform.kernel()]
        seen = simulator.core(here, FIXED, True, exact, seed, starts)
        for t in here:
            bound = found.responses_ns.get(t.name)
            if bound is not None and seen[t.name] > bound:
                return f"{t.name} took {seen[t.name]} > {bound}: {asked}"
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
