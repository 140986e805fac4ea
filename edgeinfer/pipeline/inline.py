"""All stages in this process, on simulated time: the same input gives the same run.

The frames' stamps are the clock. Every stage is released on its own grid, stages in the order of
the data within one instant; work takes no simulated time while it keeps its budget. A result over
budget comes as late as the work took, and its stage is busy until then: releases that fall in
between are counted, not caught up with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .guard import Guard
from .loop import WORKING, Event, Mode, Runner, Words, remark
from .messages import Command, Frame, Message, Origin
from .modes import Modes, Status, shape
from .realtime import Burst
from .schedule import SOURCE
from .slot import Published
from .stage import Stage

_SLACK_NS = 1000  # stamps and grids are rounded to nanoseconds

#: What actuators do that hear nothing.
REST = Command(0, 0, 0.0, 0.0, 0.0, Origin.SAFE)

#: (stage, release number) -> what its work is to be taken to last (ns), or None for the real time.
Durations = Callable[[str, int], int | None]


@dataclass(frozen=True)
class Tick:
    """What an observer sees after each period of the guard: newest messages, command sent."""

    time_ns: int
    frame: Frame
    messages: Mapping[str, Message]
    command: Command | None


@dataclass
class _Track:
    """A stage on its grid."""

    runner: Runner
    releases: int = 0
    busy_until_ns: int = 0
    published: int = 0
    outputs: list[Published] = field(default_factory=list)

    def due_ns(self, epoch_ns: int) -> int:
        return epoch_ns + round(self.releases * 1e9 / self.runner.stage.timing.rate_hz)

    def newest(self, now_ns: int) -> Published | None:
        while len(self.outputs) > 1 and self.outputs[1].time_ns <= now_ns:
            self.outputs.pop(0)
        visible = self.outputs and self.outputs[0].time_ns <= now_ns
        return self.outputs[0] if visible else None


class Inline:
    """One inline run. `emit(event, message)` gets all that happens, in order.

    `plant`: source and sink are one simulator that moves on by one frame's time with every write.
    It is written once for each frame: the newest command, or one at rest where the guard is silent.
    `burst`: the scheduling class of the stages' work; the rest of the run stays in the normal one.
    """

    def __init__(
        self,
        stages: list[Stage],
        commands: str,
        guard: Guard,
        emit: Callable[[Event, Message | None], None],
        write: Callable[[Command], None],
        plant: bool = False,
        deadlines: bool = False,
        durations: Durations | None = None,
        observe: Callable[[Tick], None] | None = None,
        burst: Burst | None = None,
        modes: Modes | None = None,
    ) -> None:
        brake = guard.limits.safe_brake
        self._tracks = {s.name: _Track(Runner(s, s.name == commands, brake)) for s in stages}
        self._modes = modes or Modes()
        self._commands, self._guard, self._told, self._write = commands, guard, emit, write
        self._plant, self._applied = plant, REST
        self._deadlines, self._durations, self._observe = deadlines, durations, observe
        self._burst = burst or Burst(0)
        self._frame: Published | None = None
        self._epoch_ns = self._cursor_ns = 0
        self._sent = self._offered = 0

    def _emit(self, event: Event, message: Message | None) -> None:
        self._modes.take(event)
        self._told(event, message)

    def run(self, source: Any, frames: int | None = None) -> None:
        """Until the source ends, or `frames` of them were taken."""
        period_ns, now, count = round(1e9 / source.rate_hz), None, 0
        while frames is None or count < frames:
            frame = source.read()
            if frame is None:
                break
            now = frame.stamp_ns if now is None else max(frame.stamp_ns, now)
            count += 1
            self._take(frame, count, now)
            self._until(now + period_ns - _SLACK_NS)
            if self._plant:
                self._write(self._applied)

    def _take(self, frame: Frame, count: int, now_ns: int) -> None:
        if self._frame is None:
            self._epoch_ns = now_ns
        self._frame = Published(count, frame, now_ns)
        event = Event(SOURCE, Mode.RUN, now_ns, now_ns, output=count, seq=frame.seq)
        self._emit(event, frame)

    def _until(self, end_ns: int) -> None:
        """All releases before `end_ns`, in the order of time, then of the data."""
        while True:
            due = {name: t.due_ns(self._epoch_ns) for name, t in self._tracks.items()}
            now = min(due.values())
            if now >= end_ns:
                return
            self._cursor_ns = max(now, self._cursor_ns)
            for name, track in self._tracks.items():
                if due[name] == now:
                    self._release(name, track, now)
                    track.releases += 1
            if due[self._commands] == now:
                self._actuate(now)

    def _newest(self, stage: Stage, now_ns: int) -> dict[str, Published]:
        found = {
            name: self._frame if name == SOURCE else self._tracks[name].newest(now_ns)
            for name in stage.inputs
        }
        return {name: m for name, m in found.items() if m is not None}

    def _release(self, name: str, track: _Track, now: int) -> None:
        if now < track.busy_until_ns:
            self._emit(Event(name, Mode.BUSY, now, now), None)
            return
        runner = track.runner
        newest = self._newest(runner.stage, now)
        mode = runner.choose(newest, now)
        if mode not in WORKING:
            self._emit(Event(name, mode, now, now), None)
            return
        used = {k: m.number for k, m in newest.items()} if mode is Mode.RUN else None
        skipped = runner.skipped(newest) if used else 0
        with self._burst:
            runner.stage.deadline_ns = self._due(runner.stage)
            begin = time.perf_counter_ns()
            mode, out = runner.work(mode, newest, now)
            spent = time.perf_counter_ns() - begin
        took = self._took(name, track, spent)
        late = took > runner.stage.timing.budget_ns
        self._publish(track, out, now, took if late and self._deadlines else 0)
        event = Event(
            name, mode, now, self._cursor_ns, took, used, track.published if out else 0,
            out.seq if out else -1, now - out.stamp_ns if out else -1, late, skipped,
            text=runner.stage.outcome, remark=remark(out),
        )  # fmt: skip
        self._cursor_ns += took
        self._emit(event, out)

    def _due(self, stage: Stage) -> int | None:
        """When its work is due, where its own time counts."""
        if not self._deadlines or self._durations:
            return None
        return time.monotonic_ns() + stage.timing.budget_ns

    def _took(self, name: str, track: _Track, measured: int) -> int:
        injected = self._durations(name, track.releases) if self._durations else None
        return measured if injected is None else injected

    def _publish(self, track: _Track, out: Message | None, now: int, delay: int) -> None:
        track.busy_until_ns = now + delay
        if out is not None:
            track.published += 1
            track.outputs.append(Published(track.published, out, now + delay))

    def _actuate(self, now: int) -> None:
        """One period of the guard and the actuator behind it."""
        newest = self._tracks[self._commands].newest(now)
        status = self._modes.step(now)
        used, offered = None, "-"
        if newest is not None and newest.number != self._offered:
            assert isinstance(newest.message, Command)
            self._offered = newest.number
            used = {self._commands: newest.number}
            shaped = shape(newest.message, status, self._modes.limits)
            offered = self._guard.offer(shaped, newest.number, now).name.lower()
        sent = self._guard.output(now)
        if sent is not None:
            self._sent += 1
            if not self._plant:
                self._write(sent)
        self._applied = sent or REST
        text = guard_words(self._guard, offered, sent, status)
        self._emit(guard_event(now, used, sent, self._sent, text, self._cursor_ns), sent)
        if self._observe is not None and self._frame is not None:
            self._observe(self._tick(now, sent))

    def _tick(self, now: int, sent: Command | None) -> Tick:
        assert self._frame is not None
        assert isinstance(self._frame.message, Frame)
        newest = {name: t.newest(now) for name, t in self._tracks.items()}
        messages = {name: m.message for name, m in newest.items() if m is not None}
        return Tick(now, self._frame.message, messages, sent)


def is_plant(source: Any, sink: Any) -> bool:
    """Whether source and sink are one simulator: the same, or no sink and the source can write."""
    return sink is source or (sink is None and hasattr(source, "write"))


def guard_words(guard: Guard, offered: str, sent: Command | None, status: Status) -> str:
    """The text of the guard's event."""
    origin = sent.origin.name.lower() if sent is not None else "-"
    return str(Words(guard.state.name.lower(), offered, origin, str(status)))


def guard_event(
    now: int, used: dict[str, int] | None, sent: Command | None, count: int, text: str, start: int,
    delay: int = 0,
) -> Event:  # fmt: skip
    """The event of one period of the guard; `delay`: of the way to the actuator."""
    if sent is None:
        return Event("guard", Mode.WAIT, now, start, delay, used, text=text)
    age = now - sent.stamp_ns
    return Event("guard", Mode.RUN, now, start, delay, used, count, sent.seq, age, text=text)
