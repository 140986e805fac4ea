"""Pipeline: stages between a source and a sink, behind a guard.

    pipeline = Pipeline([perception, planning, control], source, sink, board="host")
    report = pipeline.run_inline()                # simulated time, deterministic
    report = pipeline.run_processes(seconds=60)   # real time, one process a stage

Sources and sinks are objects or functions without arguments that open them (for processes: such
that can be pickled, e.g. functools.partial(open_source, url)). A simulator is both: give the same
object or function as source and as sink.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import board as boards
from ..board import Board
from .guard import Guard, GuardLimits
from .inline import Durations, Inline, Tick, is_plant
from .loop import WORKING, Event
from .messages import Command, Message
from .modes import ModeLimits, Modes
from .realtime import Burst, RealTime
from .record import ACTUATOR, Recorder
from .schedule import SOURCE, order
from .schedule.admission import Admission, Question
from .schedule.platform import Platform, limits
from .stage import Stage, Timing
from .statistics import Collector, RunReport
from .trace import Trace


class Log:
    """Where events go: statistics, record, trace, whoever else asked."""

    def __init__(
        self,
        recorder: Recorder | None,
        trace: Trace | None,
        on_event: Callable[[Event], None] | None,
    ) -> None:
        self.collector = Collector()
        self._recorder, self._trace, self._on_event = recorder, trace, on_event

    @property
    def troubles(self) -> list[str]:
        """What went wrong with the record."""
        return [self._recorder.trouble] if self._recorder and self._recorder.trouble else []

    def event(self, event: Event, time_ns: int) -> None:
        """Count it, keep it."""
        self.collector.add(event)
        if self._trace is not None:
            self._trace.add(event)
        if self._recorder is not None and (event.mode in WORKING or event.stage == "guard"):
            self._recorder.event(event, time_ns)
        if self._on_event is not None:
            self._on_event(event)

    def message(self, topic: str, count: int, message: Message, time_ns: int) -> None:
        """Record it."""
        if self._recorder is not None:
            self._recorder.message(topic, count, message, time_ns)

    def both(self, event: Event, message: Message | None) -> None:
        """An event and the message it gave, as inline runs tell them."""
        topic = ACTUATOR if event.stage == "guard" else event.stage
        if event.stage == SOURCE and message is not None:
            self.message(topic, event.output, message, event.release_ns)
            self.event(event, event.release_ns)
            return
        self.event(event, event.release_ns)
        if message is not None:
            self.message(topic, event.output, message, event.release_ns)


class Pipeline:
    """Stages wired by name. `guard`: its limits; `board`: name or data (cores, real time).

    `commands` names the stage whose Command goes to the guard: by default the one that no other
    reads. `notes` (JSON) are kept in records; `modes`: when the vehicle behaves otherwise.
    ValueError where the wiring is wrong.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        source: Any,
        sink: Any = None,
        *,
        guard: GuardLimits | None = None,
        board: Board | str | Path = "host",
        commands: str | None = None,
        notes: Mapping[str, Any] | None = None,
        modes: ModeLimits | None = None,
    ) -> None:
        self.modes = modes or ModeLimits()
        self.stages = order(stages)
        self.source, self.sink = source, sink
        self.board = board if isinstance(board, Board) else boards.load(board)
        self.commands = commands or _last(self.stages)
        self.limits = self._limits(guard or GuardLimits())
        self.notes = notes

    def _limits(self, given: GuardLimits) -> GuardLimits:
        """With the largest age of data: what the last stage takes, its budget, and a period."""
        last = next(s.timing for s in self.stages if s.name == self.commands)
        age = last.max_age_ms + last.budget_ms + last.period_ns / 1e6
        return given if given.age_ms else replace(given, age_ms=age)

    @property
    def timings(self) -> list[tuple[str, Timing]]:
        """Names and timings of the stages, in the order of the data."""
        return [(s.name, s.timing) for s in self.stages]

    def admission(self, source_hz: float = 0.0) -> Admission:
        """The schedulability analysis for this board."""
        return self.question(source_hz).answer()

    def question(self, source_hz: float = 0.0) -> Question:
        """What the analysis is asked: these stages on this board. 0 Hz: as the stages expect."""
        rate = source_hz or _rate(self.source, self.stages)
        platform = Platform.of(self.board)
        if is_plant(self.source, self.sink):  # not what will run on the vehicle
            platform = replace(platform, source_ns=0, guard_ns=0)
        return Question(
            self.stages, rate, platform, self.board.stages, self.commands,
            limits(self.board),
        )  # fmt: skip

    @property
    def _realtime(self) -> Mapping[str, Any]:
        """The board's real-time settings."""
        return self.board.extra.get("realtime", {})

    def run_inline(
        self,
        *,
        frames: int | None = None,
        deadlines: bool = False,
        durations: Durations | None = None,
        record: str | Path | None = None,
        png: bool = False,
        trace: str | Path | None = None,
        observe: Callable[[Tick], None] | None = None,
        on_event: Callable[[Event], None] | None = None,
        admit: str = "check",
    ) -> RunReport:
        """Run on simulated time until the source ends or gave `frames`.

        `deadlines`: results over budget come late, as measured (in the board's real-time class,
        where that is granted; else with a warning in the report), or as `durations` says. `record`,
        `trace`: files to write. `admit`: "check" or "anyway".
        """
        opened: list[Any] = []
        try:
            source, sink = _open_ends(self.source, self.sink, opened)
            self._admit(source.rate_hz, admit)
            for stage in self.stages:
                stage.open()
                opened.append(stage)
            recorder = self._record(record, png, opened)
            tracer = Trace() if trace is not None else None
            log, guard = Log(recorder, tracer, on_event), Guard(self.limits)
            # What is measured against a budget is measured in the class that it will run in.
            burst = Burst(int(self._realtime.get("priority", 0)) if deadlines else 0)
            write = sink.write if sink is not None else _nowhere
            inline = Inline(
                self.stages,
                self.commands,
                guard,
                log.both,
                write,
                plant=sink is source,
                deadlines=deadlines,
                durations=durations,
                observe=observe,
                burst=burst,
                modes=Modes(self.modes, lambda e: log.event(e, e.release_ns)),
            )
            began = time.monotonic()
            with _no_collection():
                inline.run(source, frames)
            wall = time.monotonic() - began
        finally:
            _close(opened)
        if tracer is not None and trace is not None:
            tracer.write(trace)
        warnings = [*burst.warnings, *log.troubles]
        return log.collector.report(self.timings, guard.counters, wall, warnings=warnings)

    def run_processes(
        self,
        *,
        seconds: float | None = None,
        record: str | Path | None = None,
        png: bool = False,
        trace: str | Path | None = None,
        on_event: Callable[[Event], None] | None = None,
        admit: str = "check",
        realtime: Mapping[str, RealTime] | None = None,
        max_frame: tuple[int, int] = (1080, 1920),
        method: str = "forkserver",
    ) -> RunReport:
        """Run in real time, one process a stage, until the source ends or `seconds` passed.

        `realtime`: settings by stage name ("source" and "guard" too), else the board's;
        `max_frame`: largest height and width of a frame; `method`: how processes are started,
        "forkserver" or "spawn". A stage that crashes is named in the report; what remains goes
        down the ladder to safe commands and silence, then all stop.
        """
        from .process import Supervisor

        self._admit(_rate(self.source, self.stages), admit)
        opened: list[Any] = []
        tracer = Trace() if trace is not None else None
        try:
            log = Log(self._record(record, png, opened), tracer, on_event)
            supervisor = Supervisor(self, log, record is not None, realtime, max_frame, method)
            report = supervisor.run(seconds)
        finally:
            _close(opened)
        if tracer is not None and trace is not None:
            tracer.write(trace)
        return report

    def recorder(self, path: str | Path, png: bool = False) -> Recorder:
        """A new record of this pipeline, to be closed by whoever asked for it."""
        return Recorder(path, self.stages, self.limits, self.commands, png, self.notes, self.modes)

    def _record(self, path: str | Path | None, png: bool, opened: list[Any]) -> Recorder | None:
        if path is None:
            return None
        opened.append(self.recorder(path, png))
        recorder: Recorder = opened[-1]
        return recorder

    def _admit(self, source_hz: float, how: str) -> None:
        if how not in ("check", "anyway"):
            raise ValueError(f'admit={how!r}: give "check" or "anyway"')
        if how == "check":
            self.admission(source_hz).check()


def _last(stages: list[Stage]) -> str:
    read = {name for s in stages for name in s.inputs}
    ends = [s.name for s in stages if s.name not in read]
    if len(ends) != 1:
        raise ValueError(f"no other stage reads {ends}: say commands=NAME which gives the Command")
    return ends[0]


def _rate(source: Any, stages: list[Stage]) -> float:
    """The source's rate; where it is not open yet, that of the stages that read it."""
    if hasattr(source, "rate_hz"):
        return float(source.rate_hz)
    return max((s.timing.rate_hz for s in stages if SOURCE in s.inputs), default=1.0)


def open_end(end: Any, opened: list[Any]) -> Any:
    """A source or sink as it is; one given as a function is opened, and noted to be closed."""
    if end is None or hasattr(end, "read") or hasattr(end, "write"):
        return end
    opened.append(end())
    return opened[-1]


def _open_ends(source: Any, sink: Any, opened: list[Any]) -> tuple[Any, Any]:
    opened_source = open_end(source, opened)
    if is_plant(source, sink) or is_plant(opened_source, sink):
        return opened_source, opened_source
    return opened_source, open_end(sink, opened)


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection meanwhile: it would fall into a stage's time."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _close(opened: list[Any]) -> None:
    for thing in reversed(opened):
        thing.close()


def _nowhere(command: Command) -> None:
    """A sink for pipelines without one."""
