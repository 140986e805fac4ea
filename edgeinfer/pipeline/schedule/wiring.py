"""Who reads whom: the order of stages, their chains, and when each is first released."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..stage import Stage

SOURCE = "source"
GUARD = "guard"
RESERVED = (SOURCE, GUARD, "supervisor", "actuator", "events")


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


def paths(stages: Sequence[Stage], last: str) -> list[tuple[str, ...]]:
    """Every way from the source to stage `last`, the names along it."""
    by_name = {s.name: s for s in stages}

    def back(name: str) -> list[tuple[str, ...]]:
        if name == SOURCE:
            return [(SOURCE,)]
        return [(*way, name) for before in by_name[name].inputs for way in back(before)]

    return back(last)


def offsets(
    stages: Sequence[Stage],
    responses: Mapping[str, int | None] | None = None,
    source_ns: int | None = None,
) -> dict[str, int]:
    """When each stage's first release comes after the source's (ns): once its inputs are due.

    They are due after the response times, as far as those are given, else after the budgets.
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
        took = (responses or {}).get(stage.name) or stage.timing.budget_ns
        ready[stage.name] = starts[stage.name] + took
    return starts
