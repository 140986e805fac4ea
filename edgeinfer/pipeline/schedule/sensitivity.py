"""How much more would pass, what fails first, and which one change would make a pipeline pass.

By bisection on the analysis itself (as Bini, Di Natale & Buttazzo 2008 do on fixed priorities; the
factor on all budgets is Lehoczky's, 1989), each stage staying on its core. Budgets are sought in
steps of 10 microseconds.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

from ...board import StageBudget
from ..stage import Stage, Timing
from .admission import Admission, Question

_STEPS_PER_MS = 100


@dataclass(frozen=True)
class Scale:
    """All budgets times `factor` still pass; a little more, and `first` fails."""

    factor: float
    first: str


def slack_ms(question: Question) -> dict[str, float | None]:
    """By stage: how much longer its budget alone may be; None where it does not pass as it is."""
    found = question.answer()
    fixed = _placed(question, found)
    return {s.name: _slack(fixed, s) if found.admitted else None for s in question.stages}


def scale(question: Question) -> Scale:
    """The largest factor on all budgets (steps of 0.01, up to 100) that passes; 0: none does."""
    fixed = _placed(question, question.answer())

    def at(hundredths: int) -> Question:
        return _with(fixed, lambda t: replace(t, budget_ms=t.budget_ms * hundredths / 100))

    most = _largest(lambda n: at(n).answer().admitted, 10_000, least=1)
    problems = at(most + 1).answer().problems
    return Scale(most / 100, problems[0] if problems else "")


def changes(question: Question) -> list[str]:
    """Single changes that would each make the pipeline pass, in words; [] where none does."""
    found = []
    for stage in question.stages:
        found += _shorter(question, stage) + _rarer(question, stage)
        found += _elsewhere(question, stage) + _older(question, stage)
    cores = question.platform.cores + 1
    if replace(question, platform=replace(question.platform, cores=cores)).answer().admitted:
        found.append(f"a board with {cores} cores")
    return found


def _shorter(q: Question, stage: Stage) -> list[str]:
    steps = int(stage.timing.budget_ms * _STEPS_PER_MS)
    best = _largest(lambda n: n > 0 and _budget(q, stage, n).answer().admitted, steps, least=1)
    return [f"{stage.name}: budget {best / _STEPS_PER_MS:g} ms"] if best else []


def _rarer(q: Question, stage: Stage) -> list[str]:
    """The fastest rate of half, a third, ... that passes."""
    for n in (2, 3, 4, 5):
        rate = stage.timing.rate_hz / n
        new = _one(q, stage, replace(stage.timing, rate_hz=rate))
        if new.answer().admitted:
            return [f"{stage.name}: {rate:g} Hz"]
    return []


def _elsewhere(q: Question, stage: Stage) -> list[str]:
    entry = q.entries.get(stage.name)
    if entry is None:
        return []
    for core in range(q.platform.cores):
        moved = {**q.entries, stage.name: replace(entry, core=core)}
        if replace(q, entries=moved).answer().admitted:
            return [f"{stage.name}: core {core}"]
    return []


def _older(q: Question, stage: Stage) -> list[str]:
    row = next((r for r in q.answer().rows if r.name == stage.name), None)
    if row is None or row.age_ms is None or row.age_ms <= row.max_age_ms:
        return []
    age = float(-(-row.age_ms // 1))
    new = _one(q, stage, replace(stage.timing, max_age_ms=age))
    return [f"{stage.name}: maximum input age {age:g} ms"] if new.answer().admitted else []


def _placed(question: Question, found: Admission) -> Question:
    """The question with every task on the core where it was."""
    nothing = StageBudget(0, 0, 0)
    entries = {
        r.name: replace(question.entries.get(r.name, nothing), core=r.core) for r in found.rows
    }
    return replace(question, entries={**question.entries, **entries})


def _slack(question: Question, stage: Stage) -> float:
    now = int(stage.timing.budget_ms * _STEPS_PER_MS)
    room = int(stage.timing.period_ns / 1e6 * _STEPS_PER_MS)
    best = _largest(lambda n: _budget(question, stage, n).answer().admitted, room, least=now)
    return max(best / _STEPS_PER_MS - stage.timing.budget_ms, 0.0)


def _largest(passes: Callable[[int], bool], most: int, least: int = 0) -> int:
    """The largest n from `least` to `most` that passes, where all below it do; 0: none."""
    if not passes(least):
        return 0
    low, high = least, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if passes(middle) else (low, middle)
    return low


def _budget(question: Question, stage: Stage, steps: int) -> Question:
    return _one(question, stage, replace(stage.timing, budget_ms=steps / _STEPS_PER_MS))


def _one(question: Question, stage: Stage, timing: Timing) -> Question:
    return _with(question, lambda t: timing if t is stage.timing else t)


def _with(question: Question, change: Callable[[Timing], Timing]) -> Question:
    stages = []
    for stage in question.stages:
        other = copy.copy(stage)
        other.timing = change(stage.timing)
        stages.append(other)
    return replace(question, stages=stages)
