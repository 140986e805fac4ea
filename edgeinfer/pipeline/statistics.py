"""What a run did: per stage times and counters, per run ages, commands and faults."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .loop import Event, Mode
from .modes import MODES
from .stage import Timing


@dataclass(frozen=True)
class StageStatistics:
    """One row of the table. Times in ms over the runs (NaN without any); counts of releases:

    `missed`: over budget; `realigned`: releases passed over by an overrun; `skipped`: input
    messages passed over; `held`, `safe`: releases answered by those rungs of the ladder; `waited`:
    releases with nothing new, or nothing fresh enough, to work on.
    """

    name: str
    rate_hz: float
    achieved_hz: float
    budget_ms: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    runs: int
    missed: int
    realigned: int
    skipped: int
    held: int
    safe: int
    waited: int
    times_ms: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class RunReport:
    """A whole run. `age_ms`: from a frame's capture to the command sent, [commands].

    `guard`: its counters; `crashed`: stage -> how it ended; `warnings`: settings refused, parts of
    a record lost; `seconds`: of the pipeline's clock; `wall_seconds`: of the world's; `transitions`
    of the modes (modes.py), with their causes.
    """

    stages: tuple[StageStatistics, ...]
    frames: int
    commands: int
    age_ms: np.ndarray = field(repr=False)
    guard: dict[str, int]
    seconds: float
    wall_seconds: float
    crashed: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    transitions: tuple[Event, ...] = ()

    def rows(self) -> list[dict[str, object]]:
        """The table: one dict a stage, values rounded for people."""
        keep = [k for k in StageStatistics.__dataclass_fields__ if k != "times_ms"]
        return [{k: _short(getattr(s, k)) for k in keep} for s in self.stages]


def _short(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value


def percentile(values: np.ndarray, q: float) -> float:
    """The q-th percentile, NaN of nothing."""
    return float(np.percentile(values, q)) if len(values) else float("nan")


class Collector:
    """Takes the events of a run and counts."""

    def __init__(self) -> None:
        self._times: dict[str, list[int]] = defaultdict(list)
        self._counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._ages: list[int] = []
        self.transitions: list[Event] = []
        self.frames = self.commands = 0
        self.first_ns: int | None = None
        self.last_ns = 0

    def add(self, event: Event) -> None:
        """Count one event."""
        self.first_ns = event.release_ns if self.first_ns is None else self.first_ns
        self.last_ns = max(self.last_ns, event.release_ns)
        if event.stage == "source":
            self.frames += 1
        elif event.stage == "guard":
            self._guard(event)
        elif event.stage == MODES:
            self.transitions.append(event)
        else:
            self._stage(event)

    def _guard(self, event: Event) -> None:
        if event.output:
            self.commands += 1
            self._ages.append(event.age_ns)

    def _stage(self, event: Event) -> None:
        counts = self._counts[event.stage]
        counts[event.mode.value] += 1
        counts["late"] += event.late
        counts["skipped"] += event.skipped
        counts["missed"] += event.missed
        if event.mode in (Mode.RUN, Mode.HELD):
            self._times[event.stage].append(event.duration_ns)

    def stages(self, timings: Iterable[tuple[str, Timing]]) -> tuple[StageStatistics, ...]:
        """The rows, in the order of `timings`."""
        return tuple(self._row(name, timing) for name, timing in timings)

    def _row(self, name: str, timing: Timing) -> StageStatistics:
        c, ms = self._counts[name], np.array(self._times[name], np.float64) / 1e6
        return StageStatistics(
            name=name,
            rate_hz=timing.rate_hz,
            achieved_hz=c["run"] / self.seconds if self.seconds else 0.0,
            budget_ms=timing.budget_ms,
            p50_ms=percentile(ms, 50),
            p99_ms=percentile(ms, 99),
            max_ms=float(ms.max()) if len(ms) else float("nan"),
            runs=c["run"],
            missed=c["late"],
            realigned=c["missed"] + c["busy"],
            skipped=c["skipped"],
            held=c["held"],
            safe=c["safe"],
            waited=c["wait"] + c["stale"],
            times_ms=ms,
        )

    @property
    def seconds(self) -> float:
        """Of the pipeline's clock, first to last release."""
        return (self.last_ns - (self.first_ns or 0)) / 1e9

    def report(
        self,
        timings: Sequence[tuple[str, Timing]],
        guard: dict[str, int],
        wall_seconds: float,
        crashed: dict[str, str] | None = None,
        warnings: Sequence[str] = (),
    ) -> RunReport:
        """The report of the run so far."""
        return RunReport(
            stages=self.stages(timings),
            frames=self.frames,
            commands=self.commands,
            age_ms=np.array(self._ages, np.float64) / 1e6,
            guard=guard,
            seconds=self.seconds,
            wall_seconds=wall_seconds,
            crashed=crashed or {},
            warnings=tuple(warnings),
            transitions=tuple(self.transitions),
        )
