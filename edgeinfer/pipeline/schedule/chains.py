"""How old data gets along a chain of stages that hand over the newest value, and how fast it acts.

Two bounds for each stage that reads another. Without knowing how their releases lie: Davare et al.,
"Period optimization for hard real-time distributed automotive systems", DAC 2007: a stage adds at
most its period and its response time. On one clock with known first releases (as the stages of a
pipeline have): the value that a job reads is at least as new as that of the last job which must
have ended when it was released; the worst of all jobs of a hyperperiod counts (as in Becker et
al., "End-to-end timing analysis of cause-effect chains in automotive embedded systems", 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import lcm

#: Jobs of a hyperperiod that are looked at one by one; beyond, the bound without phases is taken.
MOST_JOBS = 10_000


@dataclass(frozen=True)
class Chain:
    """From sensor to actuator: milliseconds, None: without bound; `max_*`: what it must not exceed.

    `age_ms`: of the data behind a command when it is sent; `reaction_ms`: from something that
    happens to the first command that knows of it.
    """

    stages: tuple[str, ...]
    max_age_ms: float | None = None
    max_reaction_ms: float | None = None
    age_ms: float | None = None
    reaction_ms: float | None = None

    def __str__(self) -> str:
        """The names with arrows between."""
        return " > ".join(self.stages)


@dataclass(frozen=True)
class Link:
    """A stage of a chain: released every `period_ns` from `first_ns` on, ends `response_ns` later
    at the latest. `first_ns` None: its releases lie anywhere (a camera with its own clock).
    """

    name: str
    period_ns: int
    response_ns: int
    first_ns: int | None = None


@dataclass(frozen=True)
class Ends:
    """Along one chain, nanoseconds. `read_ns`: by stage, the oldest that its input is when its job
    should have been released (0 of the source, that samples then); `age_ns`: of the data behind an
    output when it is given; `reaction_ns`: the same until the next output is there, which is also
    the longest from something that happens to the first output that knows of it (Günzel et al., "On
    the equivalence of maximum reaction time and maximum data age", ECRTS 2023).
    """

    read_ns: tuple[int, ...]
    age_ns: int
    reaction_ns: int


def ends(chain: Sequence[Link]) -> Ends:
    """The bounds of a chain, from its source on. ValueError where it is empty."""
    if not chain:
        raise ValueError("a chain needs at least one stage")
    read = [0]
    ages: list[int] | None = [0]  # of the data that each job of a hyperperiod uses
    for before, here in pairwise(chain):
        # Whatever the phases: the next output is there a period and a response time later.
        worst = read[-1] + before.period_ns + before.response_ns
        known = _phased(before, here, ages) if ages is not None else None
        if known is not None:
            ages = [min(age, worst) for age in known]
            worst = max(ages)
        else:
            ages = None if here.first_ns is None else [worst]
        read.append(worst)
    age = read[-1] + chain[-1].response_ns
    return Ends(tuple(read), age, age + chain[-1].period_ns)


def _phased(before: Link, here: Link, ages: list[int]) -> list[int] | None:
    """The age of what each job of `here` reads, in a hyperperiod of both; None: not known."""
    if before.first_ns is None or here.first_ns is None:
        return None
    span = lcm(before.period_ns * len(ages), here.period_ns)
    count = span // here.period_ns
    if count > MOST_JOBS:
        return None
    found = []
    for j in range(count):
        release = here.first_ns + j * here.period_ns
        k = (release - before.response_ns - before.first_ns) // before.period_ns
        data = before.first_ns + k * before.period_ns - ages[k % len(ages)]
        found.append(release - data)
    return found
