"""Admission: can these stages keep their budgets on this board? First form.

Every stage has a budget, no longer than its period; the utilisation of each core stays below the
board's limit; and no input can be older than the stage takes. The age bound is that of Davare et
al., "Period optimization for hard real-time distributed automotive systems", DAC 2007: through
newest-value slots, each stage adds at most its period and its response time. Response times are
taken to be the budgets: that holds where each core's stages do not wait for each other longer than
their budgets allow, which the utilisation limit alone does not prove.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import AdmissionError
from .stage import Stage

SOURCE = "source"
RESERVED = (SOURCE, "guard", "supervisor", "actuator", "events")


@dataclass(frozen=True)
class Row:
    """A stage in the analysis: milliseconds, utilisation 0..1, core; `age_ms` of its inputs."""

    name: str
    period_ms: float
    budget_ms: float
    max_age_ms: float
    age_ms: float
    utilisation: float
    core: int


@dataclass(frozen=True)
class Admission:
    """The result: rows in order of execution, utilisation by core, what fails (empty: nothing)."""

    rows: tuple[Row, ...]
    cores: tuple[float, ...]
    age_ms: float
    problems: tuple[str, ...]

    @property
    def admitted(self) -> bool:
        """Whether nothing fails."""
        return not self.problems

    def check(self) -> None:
        """AdmissionError with every number that fails."""
        if self.problems:
            raise AdmissionError(
                "this pipeline cannot keep its budgets: "
                + "; ".join(self.problems)
                + ' (start it all the same with admit="anyway")'
            )


def order(stages: Sequence[Stage]) -> list[Stage]:
    """Stages so that each comes after those it reads; ValueError where that cannot be."""
    names = [s.name for s in stages]
    for stage in stages:
        if names.count(stage.name) > 1 or stage.name in RESERVED:
            raise ValueError(f"stage name {stage.name!r} is taken: rename one of them")
        for name in stage.inputs:
            if name not in names and name != SOURCE:
                raise ValueError(f"stage {stage.name!r} reads {name!r}; there are {names}")
    done: list[Stage] = []
    left = list(stages)
    while left:
        ready = [s for s in left if not any(i in (x.name for x in left) for i in s.inputs)]
        if not ready:
            raise ValueError(f"stages {[s.name for s in left]} read each other in a circle")
        done += ready
        left = [s for s in left if s not in ready]
    return done


def admit(
    stages: Sequence[Stage],
    source_hz: float,
    cores: int = 1,
    limit: float = 0.9,
    pinned: Mapping[str, int] | None = None,
) -> Admission:
    """Analyse stages fed at `source_hz` on `cores` cores with utilisation up to `limit` each.

    Stages not in `pinned` (name -> core) go where the least load is, heaviest first.
    """
    placed, load = _place(stages, cores, dict(pinned or {}))
    problems = [
        f"core {i}: utilisation {u:.2f} > {limit:.2f}" for i, u in enumerate(load) if u > limit
    ]
    out: dict[str, float] = {SOURCE: 1e3 / source_hz}  # age of the newest message, at most
    rows = []
    for stage in order(stages):
        t = stage.timing
        period = t.period_ns / 1e6
        age = max((out[name] for name in stage.inputs), default=0.0)
        out[stage.name] = age + t.budget_ms + period
        problems += _wrong(stage, period, age)
        rows.append(
            Row(stage.name, period, t.budget_ms, t.max_age_ms, age, t.budget_ms / period,
                placed[stage.name])
        )  # fmt: skip
    end = rows[-1].age_ms + rows[-1].budget_ms if rows else 0.0
    return Admission(tuple(rows), tuple(load), end, tuple(problems))


def _wrong(stage: Stage, period: float, age: float) -> list[str]:
    t, found = stage.timing, []
    if t.budget_ms <= 0:
        found.append(f"{stage.name}: budget {t.budget_ms:g} ms, every stage must have one")
    if t.budget_ms > period:
        found.append(f"{stage.name}: budget {t.budget_ms:g} ms > period {period:g} ms")
    if age > t.max_age_ms:
        found.append(f"{stage.name}: input up to {age:.1f} ms old > {t.max_age_ms:g} ms")
    return found


def _place(
    stages: Sequence[Stage], cores: int, pinned: dict[str, int]
) -> tuple[dict[str, int], list[float]]:
    load = [0.0] * max(cores, 1)
    use = {s.name: s.timing.budget_ms * 1e6 / s.timing.period_ns for s in stages}
    for name, core in pinned.items():
        if not 0 <= core < len(load):
            raise ValueError(f"stage {name!r} is to run on core {core}; there are {len(load)}")
        load[core] += use.get(name, 0.0)
    for name in sorted(use.keys() - pinned.keys(), key=lambda n: (-use[n], n)):
        pinned[name] = load.index(min(load))
        load[pinned[name]] += use[name]
    return pinned, load


def offsets(stages: Sequence[Stage], source_ns: int | None = None) -> dict[str, int]:
    """When each stage's first release comes after the source's (ns): once its inputs are due.

    `source_ns`: time the source takes to hand over a frame; by default a tenth of the shortest
    period of those that read it.
    """
    if source_ns is None:
        periods = [s.timing.period_ns for s in stages if SOURCE in s.inputs]
        source_ns = min(periods, default=0) // 10
    ready: dict[str, int] = {SOURCE: source_ns}
    starts = {}
    for stage in order(stages):
        starts[stage.name] = max((ready[name] for name in stage.inputs), default=0)
        ready[stage.name] = starts[stage.name] + stage.timing.budget_ns
    return starts
