"""The process of one stage; of the source; of guard and sink; of a simulator that is both."""

from __future__ import annotations

import gc
import json
import signal
import sys
import traceback
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..errors import DeviceError, MessageError
from .guard import Guard, GuardLimits
from .inline import REST, guard_event, guard_words
from .loop import WORKING, Event, Mode, Runner, remark
from .messages import Command, Frame, Message
from .modes import ModeLimits, Status, shape
from .outbox import DONE, EVENT, FAILED, MESSAGE, READY, Outbox
from .realtime import PeriodicLoop, RealTime, apply, now_ns, sleep_until
from .schedule import SOURCE
from .slot import Published, Slot
from .stage import Stage

_POLL_NS = 1_000_000
_LIVE_NS = 1_000_000_000  # stamps this close to now are of this machine's clock


@dataclass
class Task:
    """What a process is to do. `control`: a slot: first value the start (ns), second: stop.

    `orders`: a slot with the mode, for the guard.
    """

    name: str
    control: Slot
    pipe: Any
    inputs: dict[str, Slot]
    realtime: RealTime
    offset_ns: int = 0
    output: Slot | None = None
    stage: Stage | None = None
    commands: bool = False
    limits: GuardLimits = field(default_factory=GuardLimits)
    source: Any = None
    sink: Any = None
    rate_hz: float = 0.0
    record: bool = False
    orders: Slot | None = None
    modes: ModeLimits = field(default_factory=ModeLimits)


def main(task: Task) -> None:
    """Entry of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to handle
    outbox = Outbox(task.pipe.fileno())
    worker = (StageWorker if task.stage is not None else EndsWorker)(task, outbox)
    status = 0
    try:
        worker.open()
        gc.collect()  # from here on no collection: it would fall into a period
        gc.freeze()
        gc.disable()
        granted = apply(task.realtime)
        outbox.put(READY, json.dumps(asdict(granted)).encode())
        outbox.flush()
        worker.run(worker.wait_start())
        outbox.put(DONE, json.dumps(worker.last_words()).encode())
    except BaseException:
        outbox.put(FAILED, traceback.format_exc().encode())
        status = 1
    finally:
        outbox.drain()
        worker.close()
    sys.exit(status)


class Worker:
    """Base: start, stop, telling."""

    def __init__(self, task: Task, outbox: Outbox) -> None:
        self.task, self.outbox = task, outbox
        self._newest: dict[str, Published] = {}
        self.damaged = 0  # messages taken in that were

    def open(self) -> None:
        """Load what is needed."""

    def close(self) -> None:
        """Release it."""

    def run(self, start_ns: int) -> None:
        """The loop, until stopped."""
        raise NotImplementedError

    def last_words(self) -> dict[str, Any]:
        """What to tell at the end."""
        return {"dropped": self.outbox.dropped, "damaged": self.damaged}

    def wait_start(self) -> int:
        """Wait for the supervisor's word; the time of the first release."""
        while not (told := self.task.control.read()):
            if self.outbox.alone():
                sys.exit(1)
            sleep_until(now_ns() + _POLL_NS)
        return int.from_bytes(told[1], "little")

    def stopped(self) -> bool:
        """Whether to stop: told to, or left alone."""
        return self.task.control.count > 1 or self.outbox.alone()

    def await_release(self, grid: PeriodicLoop) -> int:
        """Sleep until the next release, telling meanwhile what waits to be told; releases passed.

        A frame is larger than the pipe: it goes in pieces, while there is nothing else to do.
        """
        self.outbox.flush_until(grid.release_ns + grid.period_ns - _POLL_NS)
        return grid.wait()

    def newest(self) -> dict[str, Published]:
        """The newest message of each input; one that is damaged is told of and passed over."""
        for name, slot in self.task.inputs.items():
            known = self._newest.get(name)
            if known is not None and slot.count == known.number:
                continue
            try:
                found = slot.newest()
            except MessageError as exc:
                self.damaged += 1
                now = now_ns()
                self.tell(Event(self.task.name, Mode.STALE, now, now, text=f"{name}: {exc}"), now)
                continue
            if found is not None:
                self._newest[name] = found
        return self._newest

    def tell(self, event: Event, time_ns: int) -> None:
        """Send an event to the supervisor."""
        self.outbox.put(EVENT, event.to_json(), time_ns=time_ns)
        self.outbox.flush()

    def publish(self, message: Message, topic: str, time_ns: int) -> int:
        """Write a message to the output slot; its number."""
        assert self.task.output is not None
        number = self.task.output.publish(message, time_ns)
        if self.task.record:
            self.outbox.put(MESSAGE, message.to_bytes(), topic, number, time_ns)
        return number


class StageWorker(Worker):
    """Runs one stage at its rate."""

    def __init__(self, task: Task, outbox: Outbox) -> None:
        super().__init__(task, outbox)
        assert task.stage is not None
        self.stage = task.stage
        self.runner = Runner(task.stage, task.commands, task.limits.safe_brake)

    def open(self) -> None:
        self.stage.open()

    def close(self) -> None:
        self.stage.close()

    def run(self, start_ns: int) -> None:
        grid = PeriodicLoop(start_ns + self.task.offset_ns, self.stage.timing.period_ns)
        while not self.stopped():
            missed = self.await_release(grid)
            self.release(missed, grid.lateness_ns)

    def release(self, missed: int, lateness: int) -> None:
        """One release: choose, work, publish, tell."""
        begin = now_ns()  # taking the inputs over is part of the work
        newest = dict(self.newest())
        now = now_ns()  # after reading: a record in the order of time has causes before effects
        mode = self.runner.choose(newest, now)
        if mode not in WORKING:
            self.tell(Event(self.task.name, mode, now, now, missed=missed), now)
            return
        used = {k: m.number for k, m in newest.items()} if mode is Mode.RUN else None
        skipped = self.runner.skipped(newest) if used else 0
        self.stage.deadline_ns = begin + self.stage.timing.budget_ns
        mode, out = self.runner.work(mode, newest, now)
        end = now_ns()
        number = self.publish(out, self.task.name, end) if out is not None else 0
        took = end - begin
        late = took > self.stage.timing.budget_ns
        seq, age = (out.seq, end - out.stamp_ns) if out is not None else (-1, -1)
        self.tell(
            Event(self.task.name, mode, now, now, took, used, number, seq, age, late, skipped,
                  missed, lateness, self.stage.outcome, remark(out)),
            now,
        )  # fmt: skip


class EndsWorker(Worker):
    """Source, guard with sink, or both where one simulator is both."""

    def __init__(self, task: Task, outbox: Outbox) -> None:
        super().__init__(task, outbox)
        self.guard = Guard(task.limits)
        self.source: Any = None
        self.sink: Any = None
        self._offered = self._sent = self._unsent = 0
        self._write_ns = self._acted_ns = self._period_ns = 0
        self._mode = 0, Status()

    def open(self) -> None:
        self.source, self.sink = _opened(self.task.source), _opened(self.task.sink)
        if self.source is not None and self.sink is None and self.task.inputs:
            self.sink = self.source

    def close(self) -> None:
        for end in {id(e): e for e in (self.source, self.sink) if e is not None}.values():
            end.close()

    def last_words(self) -> dict[str, Any]:
        counters = self.guard.counters if self.task.inputs else None
        return {**super().last_words(), "guard": counters, "unsent": self._unsent}

    def run(self, start_ns: int) -> None:
        rate = self.source.rate_hz if self.source is not None else self.task.rate_hz
        self._period_ns = round(1e9 / rate)
        grid = PeriodicLoop(start_ns + self.task.offset_ns, self._period_ns)
        frame = self.source.read() if self.source is not None else None
        live = frame is not None and 0 <= now_ns() - frame.stamp_ns < _LIVE_NS
        while not self.stopped():
            if not live:
                self.await_release(grid)
            if self.source is not None:
                if frame is None:
                    return
                self.take(frame if live else None, frame)
            if self.task.inputs:
                self.actuate()
            if self.source is not None:
                frame = self.source.read()

    def take(self, stamped: Frame | None, frame: Frame) -> None:
        """Publish a frame; one of another clock is stamped now."""
        now = now_ns()
        frame = stamped or Frame(frame.seq, now, frame.image)
        number = self.publish(frame, SOURCE, now)
        self.tell(Event(SOURCE, Mode.RUN, now, now, output=number, seq=frame.seq), now)

    def actuate(self) -> None:
        """One period of the guard and what is behind it."""
        newest, used, offered = self.newest(), None, "-"
        status = self._status()
        now = now_ns()
        # A command is on its way as long as the last one was, and in force until the next has come.
        pause = now - self._acted_ns - self._period_ns if self._acted_ns else 0
        delay, self._acted_ns = self._write_ns + max(pause, 0), now
        for name, found in newest.items():
            if found.number != self._offered and isinstance(found.message, Command):
                self._offered, used = found.number, {name: found.number}
                shaped = shape(found.message, status, self.task.modes)
                offered = self.guard.offer(shaped, found.number, now, delay).name.lower()
        sent = self.guard.output(now)
        arrived = self._send(sent)
        text = guard_words(self.guard, offered, sent, status)
        event = guard_event(now, used, sent if arrived else None, self._sent, text, now, delay)
        self.tell(event if arrived else replace(event, mode=Mode.LOST), now)

    def _status(self) -> Status:
        """The mode that the supervisor wrote last."""
        slot = self.task.orders
        if slot is not None and slot.count != self._mode[0] and (found := slot.read()):
            self._mode = found[0], Status.parse(bytes(found[1]).decode())
        return self._mode[1]

    def _send(self, sent: Command | None) -> bool:
        """Hand a command to the actuator; False where its bus is down (tried again next time)."""
        plant = self.sink is not None and self.sink is self.source
        begin = now_ns()
        try:
            if self.sink is not None and (sent is not None or plant):
                self.sink.write(sent or REST)  # REST: a simulator's actuators that hear nothing
        except (OSError, DeviceError):
            if plant:
                raise
            self._unsent += 1
            return False
        self._write_ns = 0 if plant else now_ns() - begin
        if sent is not None:
            self._sent += 1
            if self.task.record:
                self.outbox.put(MESSAGE, sent.to_bytes(), "actuator", self._sent, now_ns())
        return True


def _opened(end: Any) -> Any:
    return end() if end is not None and not hasattr(end, "close") else end
