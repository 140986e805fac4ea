"""Earliest deadline first: demand-bound tests.

One core: Baruah, Rosier & Howell 1990 (the demand bound), with release jitter as a deadline that
comes earlier (Spuri 1996) and segments that nothing interrupts as blocking of those due before
(Baruah 2005, "The limited-preemption uniprocessor scheduling of sporadic task systems"). Several
cores with migration, as SCHED_DEADLINE: the density test of Goossens, Funk & Baruah 2003. Where a
test passes, no job ends after its deadline: that is the response time to count with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from heapq import heapify, heapreplace
from typing import NamedTuple

from .tasks import Task, utilisation


class Overload(NamedTuple):
    """An interval of `window_ns` in which `demand_ns` may be due; `task`: due at its end."""

    window_ns: int
    demand_ns: int
    task: str


def demand_ns(tasks: Sequence[Task], window_ns: int) -> int:
    """Most work that is released and due within any interval of that length."""
    return sum(max((window_ns - _due(t)) // t.period_ns + 1, 0) * t.wcet_ns for t in tasks)


def overload(tasks: Sequence[Task]) -> Overload | None:
    """The shortest interval with more work than time on one core; None: all deadlines are met."""
    early = [t for t in tasks if _due(t) <= 0]
    if early:
        return Overload(0, early[0].wcet_ns, early[0].name)
    end = _horizon(tasks)
    if end is None:
        worst = max(tasks, key=lambda t: t.utilisation)
        return Overload(0, 0, worst.name)
    for window, name in _deadlines(tasks, end):
        need = demand_ns(tasks, window)
        need += max((t.segment_ns for t in tasks if _due(t) > window), default=0)
        if need > window:
            return Overload(window, need, name)
    return None


def density_excess(tasks: Sequence[Task], cores: int) -> Fraction:
    """How far the tasks are beyond what `cores` cores take with migration; <= 0: they are met."""
    density = [Fraction(t.wcet_ns, max(min(_due(t), t.period_ns), 1)) for t in tasks]
    most = max(density, default=Fraction(0))
    if most > 1:
        return most - 1
    return sum(density, Fraction(0)) - (cores - (cores - 1) * most)


def _due(task: Task) -> int:
    """Relative deadline of a job that was released as late as may be."""
    return task.deadline_ns - task.jitter_ns


def _horizon(tasks: Sequence[Task]) -> int | None:
    """No interval beyond it can be the first overload; None: the load is more than the core.

    The length of the longest busy period, blocking included.
    """
    load = utilisation(tasks)
    held = max((t.segment_ns for t in tasks), default=0)
    jitter = any(t.jitter_ns for t in tasks)
    if load > 1 or (load == 1 and (held or jitter)):
        return None
    w = held + sum(t.wcet_ns for t in tasks)
    while True:
        jobs = sum(-(-(w + t.jitter_ns) // t.period_ns) * t.wcet_ns for t in tasks)
        if held + jobs <= w:
            return w
        w = held + jobs


def _deadlines(tasks: Sequence[Task], end: int) -> Iterator[tuple[int, str]]:
    """Every absolute deadline up to `end`, in order, with whose it is."""
    heap = [(_due(t), i) for i, t in enumerate(tasks)]
    heapify(heap)
    while heap and heap[0][0] <= end:
        at, i = heap[0]
        yield at, tasks[i].name
        heapreplace(heap, (at + tasks[i].period_ns, i))
