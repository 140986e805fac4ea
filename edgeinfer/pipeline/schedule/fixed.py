"""Response times under fixed priorities, on one core or one bus.

Joseph & Pandya 1986, Audsley et al. 1993 (the recurrence); Lehoczky 1990, Tindell et al. 1994
(deadlines beyond the period: every job of the busy period counts; release jitter); Davis, Burns,
Bril & Lukkien 2007, "Controller Area Network (CAN) schedulability analysis: refuted, revisited and
revised" (non-preemptive; and why every job of the busy period counts there, too).

Tasks of equal priority run in the order in which they came (SCHED_FIFO). Each is taken to delay the
other: that is never less than what happens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from .tasks import Task, utilisation


def urgent(task: Task, others: Sequence[Task]) -> list[Task]:
    """Those that may run before it."""
    return [t for t in others if t.name != task.name and t.priority >= task.priority]


def blocking_ns(task: Task, others: Sequence[Task], preemptive: bool = True) -> int:
    """Longest time for which one of lower priority keeps the core."""
    lower = [t for t in others if t.priority < task.priority]
    return max((t.segment_ns if preemptive else t.wcet_ns for t in lower), default=0)


def response_ns(task: Task, others: Sequence[Task], preemptive: bool = True) -> int | None:
    """Longest time from when a job should have been released to its end; None: without bound.

    `others`: the tasks of the same core (the one of this name is not counted twice). Not
    preemptive: a job that began runs to its end, as a frame on a CAN bus.
    """
    above = urgent(task, others)
    held = blocking_ns(task, others, preemptive)
    load = utilisation([task, *above])
    # At a full core the busy period ends only where nothing delays it.
    if load > 1 or (load == 1 and (held or any(t.jitter_ns for t in [task, *above]))):
        return None
    busy = _fixed_point(
        task.wcet_ns + held, lambda w: held + sum(_jobs(t, w) * t.wcet_ns for t in [task, *above])
    )
    one = _preemptive if preemptive else _non_preemptive
    worst = 0
    for q in range(max(_jobs(task, busy), 1)):
        end = one(task, above, held, q)
        worst = max(worst, end + task.jitter_ns - q * task.period_ns)
    return worst


def alone_ns(task: Task, others: Sequence[Task], responses: Mapping[str, int | None]) -> int | None:
    """The same of a job at whose time only `others` are at work, not all that may run on the core.

    What is left out may still have delayed the others, whose work then falls into this job's time:
    so each job counts that was released no earlier than its response before (`responses`, by name,
    of everything together). None: without bound.
    """
    above = urgent(task, others)
    if utilisation(above) >= 1:
        return None
    own, found = blocking_ns(task, others) + task.wcet_ns, []
    for t in above:
        late = responses[t.name]
        if late is None:
            return None
        found.append(replace(t, jitter_ns=max(late, t.jitter_ns)))
    return task.jitter_ns + _fixed_point(
        own, lambda w: own + sum(_jobs(t, w) * t.wcet_ns for t in found)
    )


def response_times(tasks: Sequence[Task], preemptive: bool = True) -> dict[str, int | None]:
    """`response_ns` of each, by name."""
    return {t.name: response_ns(t, tasks, preemptive) for t in tasks}


def _jobs(task: Task, window: int) -> int:
    """Most releases in a window that begins with one delayed by the whole jitter."""
    return -(-(window + task.jitter_ns) // task.period_ns)


def _preemptive(task: Task, above: Sequence[Task], held: int, q: int) -> int:
    own = held + (q + 1) * task.wcet_ns
    return _fixed_point(own, lambda w: own + sum(_jobs(t, w) * t.wcet_ns for t in above))


def _non_preemptive(task: Task, above: Sequence[Task], held: int, q: int) -> int:
    """Until it begins those above go first, also one released in that very moment."""
    own = held + q * task.wcet_ns

    def step(w: int) -> int:
        return own + sum(((w + t.jitter_ns) // t.period_ns + 1) * t.wcet_ns for t in above)

    return _fixed_point(own, step) + task.wcet_ns


def _fixed_point(first: int, step: Callable[[int], int]) -> int:
    """The least w >= first with step(w) = w; the load is below 1, so there is one."""
    w = first
    while (following := step(w)) > w:
        w = following
    return w
