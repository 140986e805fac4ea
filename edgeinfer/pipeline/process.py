"""Real time: one process a stage, one for the source, one for guard and sink; and who watches."""

from __future__ import annotations

import heapq
import json
import multiprocessing
import signal
import time
from collections.abc import Mapping
from itertools import count
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from ..errors import EdgeInferError
from .health import heat, held_down
from .inline import is_plant
from .loop import Event
from .messages import MESSAGE_BYTES, parse
from .modes import MODES, Modes
from .outbox import DONE, EVENT, FAILED, MESSAGE, READY, Inbox
from .realtime import RealTime, now_ns
from .schedule import GUARD, SOURCE, offsets
from .schedule.platform import Platform
from .slot import Slot
from .statistics import RunReport
from .worker import Task, main

if TYPE_CHECKING:
    from .pipeline import Log, Pipeline

ORDERS = "supervisor"  # slot of start and stop
_ORDER_NS = 2_000_000_000  # how long entries wait for those of a process that says nothing
_START_NS = 50_000_000


class Child:
    """A process, the pipe from it, and what is known of it."""

    def __init__(self, context: Any, task: Task, reader: Any) -> None:
        self.name, self.reader = task.name, reader
        self.inbox = Inbox(reader.fileno())
        self.process = context.Process(
            target=main, args=(task,), name=f"edgeinfer-{task.name}", daemon=True
        )
        self.ready: dict[str, Any] | None = None
        self.done: dict[str, Any] | None = None
        self.failure = ""
        self.heard_ns = 0  # time of its last event: nothing older will come from it

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.process.exitcode is not None

    def describe(self) -> str:
        """How it ended, in words."""
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name} ({-code})"
        last = self.failure.strip().splitlines()[-1:] or [""]
        return f"exit code {code}" + (f": {last[0]}" if last[0] else "")


def _shares(p: Pipeline, platform: Platform) -> dict[str, tuple[int, int, int]]:
    """(runtime, deadline, period) of every process, for SCHED_DEADLINE."""
    found = {
        s.name: (s.timing.budget_ns, s.timing.deadline_ns, s.timing.period_ns) for s in p.stages
    }
    last = found[p.commands][2]
    for name, took in ((SOURCE, platform.source_ns), (GUARD, platform.guard_ns)):
        if took and not is_plant(p.source, p.sink):
            found[name] = (took, last, last)
    return found


class Supervisor:
    """Starts the processes, gathers what they tell, ends them; nothing of it is in their way."""

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        record: bool,
        realtime: Mapping[str, RealTime] | None,
        max_frame: tuple[int, int],
        method: str,
    ) -> None:
        self.pipeline, self.log, self.record = pipeline, log, record
        self._realtime = realtime
        self._context: Any = multiprocessing.get_context(method)
        if method == "forkserver":  # imports are paid once, for all processes and runs
            self._context.set_forkserver_preload(["edgeinfer.pipeline.worker"])
        self._frame_bytes = 64 + max_frame[0] * max_frame[1] * 3
        self._slots: dict[str, Slot] = {}
        self.children: dict[str, Child] = {}
        self.crashed: dict[str, str] = {}
        self.warnings: list[str] = []
        self.modes = Modes(pipeline.modes, lambda e: log.event(e, e.release_ns))
        self._heap: list[tuple[int, int, str, int, bytes]] = []
        self._tie = count()
        self._looked = 0.0
        self._platform = Platform.of(pipeline.board)
        self._placed = pipeline.admission()
        self._shares = _shares(pipeline, self._platform)

    def run(self, seconds: float | None) -> RunReport:
        """The whole run: start, watch, stop; the report."""
        began = time.monotonic()
        try:
            self._start()
            self._await_ready()
            began = time.monotonic()
            self._go()
            self._watch(began + seconds if seconds is not None else None)
            wall = time.monotonic() - began
        finally:
            self._stop()
        said = {c.name: c.done or {} for c in self.children.values()}
        self.warnings += [
            f"{name}: {words['dropped']} entries of the record lost, its pipe was full"
            for name, words in said.items()
            if words.get("dropped")
        ]
        self.warnings += [
            f"{name}: {words[key]} {what}"
            for name, words in said.items()
            for key, what in (
                ("damaged", "messages taken in were damaged"),
                ("unsent", "commands could not be sent: the bus was down"),
            )
            if words.get(key)
        ]
        self.warnings += self.log.troubles
        counters: dict[str, int] = said[GUARD].get("guard") or {}
        return self.log.collector.report(
            self.pipeline.timings, counters, wall, self.crashed, self.warnings
        )

    def _settings(self, name: str) -> RealTime:
        """Real-time settings of a process: the caller's, else the board's; guard above stages."""
        if self._realtime is not None:
            return self._realtime.get(name, RealTime())
        data = self.pipeline.board.extra.get("realtime", {})
        priority = int(data.get("priority", 0))
        budget = self.pipeline.board.stages.get(name)
        core = budget.core if budget is not None else None
        if budget is not None and budget.priority is not None:
            priority = budget.priority
        above = 1 if priority and name == GUARD else 0
        lock = bool(data.get("lock_memory", False))
        if self._platform.policy == "deadline":
            return RealTime(0, core, lock, deadline=self._shares.get(name))
        # A simulator that is both ends is not part of the machine that was analysed.
        p = self.pipeline
        free = name in (SOURCE, GUARD) and is_plant(p.source, p.sink)
        return RealTime(priority + above, core, lock, None if free else self._placed.core(name))

    def _start(self) -> None:
        names = [s.name for s in self.pipeline.stages]
        self._slots = {name: Slot(MESSAGE_BYTES, name=name) for name in [*names, ORDERS]}
        self._slots[SOURCE] = Slot(self._frame_bytes, name=SOURCE)
        self._slots[MODES] = Slot(64, name=MODES)
        for task in self._tasks():
            reader, task.pipe = self._context.Pipe(duplex=False)
            self.children[task.name] = child = Child(self._context, task, reader)
            child.process.start()
            task.pipe.close()

    def _tasks(self) -> list[Task]:
        p, control = self.pipeline, self._slots[ORDERS]
        starts = offsets(p.stages, self._placed.responses_ns)
        tasks = []
        for stage in p.stages:
            inputs = {name: self._slots[name] for name in stage.inputs}
            tasks.append(
                Task(stage.name, control, None, inputs, self._settings(stage.name),
                     starts[stage.name], self._slots[stage.name], stage, stage.name == p.commands,
                     p.limits, record=self.record)
            )  # fmt: skip
        return tasks + self._ends(starts)

    def _ends(self, starts: dict[str, int]) -> list[Task]:
        """Source and guard: two processes, or one where a simulator is both."""
        p, control = self.pipeline, self._slots[ORDERS]
        last = next(s for s in p.stages if s.name == p.commands)
        commands = {p.commands: self._slots[p.commands]}
        source = Task(
            SOURCE, control, None, {}, self._settings(SOURCE), 0, self._slots[SOURCE],
            limits=p.limits, source=p.source, record=self.record, orders=self._slots[MODES],
            modes=p.modes,
        )  # fmt: skip
        if is_plant(p.source, p.sink):
            source.inputs, source.name = commands, GUARD
            return [source]
        guard = Task(
            GUARD, control, None, commands, self._settings(GUARD),
            starts[last.name] + last.timing.budget_ns, limits=p.limits, sink=p.sink,
            rate_hz=last.timing.rate_hz, record=self.record, orders=self._slots[MODES],
            modes=p.modes,
        )  # fmt: skip
        return [source, guard]

    def _await_ready(self, seconds: float = 120.0) -> None:
        end = time.monotonic() + seconds
        while any(c.ready is None for c in self.children.values()):
            self._collect(0.1)
            for child in self.children.values():
                if child.ended:
                    self._gather(child)
                    raise EdgeInferError(
                        f"stage {child.name!r} did not start: {child.describe()}\n{child.failure}"
                    )
            if time.monotonic() > end:
                missing = [c.name for c in self.children.values() if c.ready is None]
                raise EdgeInferError(f"stages {missing} were not ready after {seconds:g} s")
        for child in self.children.values():
            ready = child.ready or {}
            self.warnings += [f"{child.name}: {w}" for w in ready["warnings"]]

    def _go(self) -> None:
        start = now_ns() + _START_NS
        self._slots[ORDERS].write(start.to_bytes(8, "little"), now_ns())

    def _look(self) -> None:
        """Once a second: heat and power of the machine."""
        now = time.monotonic()
        if now < self._looked + 1.0:
            return
        self._looked = now
        for reading in heat():
            self.modes.temperature(reading)
        held = held_down()
        self.modes.fault("the processor's clock", bool(held), held)

    def _watch(self, end: float | None) -> None:
        """Until time is up, the source has ended, or what follows a crash has run its course."""
        while end is None or time.monotonic() < end:
            try:
                self._collect(0.05)
                self._look()
            except KeyboardInterrupt:
                return
            for child in self.children.values():
                if child.ended and child.name not in self.crashed and not self._finished(child):
                    self.crashed[child.name] = child.describe()
                    end = self._after_crash(child, end)
            if any(self._finished(c) and c.ended for c in self.children.values()):
                # What is still on its way may arrive: one age of the whole chain.
                rest = time.monotonic() + self.pipeline.stages[-1].timing.max_age_ms / 1e3
                end = rest if end is None else min(end, rest)

    def _finished(self, child: Child) -> bool:
        self._gather(child)
        return child.done is not None

    def _after_crash(self, child: Child, end: float | None) -> float:
        """The guard has its time for safe commands and silence, if it is there."""
        limits = self.pipeline.limits
        last = self.pipeline.stages[-1].timing
        wait_ms = last.max_age_ms + limits.heartbeat_ms + limits.safe_ms + 100.0
        over = time.monotonic() + (0.0 if child.name == GUARD else wait_ms / 1e3)
        return over if end is None else min(end, over)

    def _collect(self, seconds: float) -> None:
        """Wait for anything told or ended; take it."""
        alive = [c.process.sentinel for c in self.children.values() if not c.ended]
        wait([*(c.inbox.fd for c in self.children.values() if not c.ended), *alive], seconds)
        heard = []
        for child in self.children.values():
            ended = child.ended  # asked before: what it said last is then in what is gathered
            self._gather(child)
            heard += [] if ended else [child.heard_ns]
        self._hand_over(max(min(heard, default=0), now_ns() - _ORDER_NS))

    def _gather(self, child: Child) -> None:
        for kind, topic, number, at, data in child.inbox.entries():
            if kind == READY:
                child.ready = json.loads(data)
            elif kind == DONE:
                child.done = json.loads(data)
            elif kind == FAILED:
                child.failure = data.decode(errors="replace")
            elif kind in (EVENT, MESSAGE):
                child.heard_ns = at if kind == EVENT else child.heard_ns
                heapq.heappush(self._heap, (at, next(self._tie), topic, number, data))

    def _hand_over(self, until_ns: int) -> None:
        """Log in the order of time what is old enough for nothing older to be on its way."""
        while self._heap and self._heap[0][0] < until_ns:
            at, _, topic, number, data = heapq.heappop(self._heap)
            if topic:
                self.log.message(topic, number, parse(data), at)
            else:
                event = Event.from_json(data)
                self.modes.take(event)
                self.log.event(event, at)
                if event.stage == GUARD:
                    self._set_mode(event.release_ns)

    def _set_mode(self, at_ns: int) -> None:
        """Tell the guard of a change of mode."""
        before = str(self.modes.status)
        after = str(self.modes.step(at_ns))
        if after != before:
            self._slots[MODES].write(after.encode(), at_ns)

    def _stop(self, seconds: float = 2.0) -> None:
        """Tell all to stop, take what they say, end those that do not; release the memory."""
        if ORDERS in self._slots:
            for _ in range(2):  # also those that were never told to start
                self._slots[ORDERS].write(b"\0" * 8, now_ns())
        end = time.monotonic() + seconds
        started = [c for c in self.children.values() if c.process.pid is not None]
        while any(not c.ended for c in started) and time.monotonic() < end:
            self._collect(0.05)
        for child in started:
            if not child.ended:
                child.process.kill()
                child.process.join()
                self.crashed.setdefault(child.name, f"did not stop within {seconds:g} s: killed")
            elif child.process.exitcode and child.name not in self.crashed:
                self.crashed[child.name] = child.describe()
            self._gather(child)
            child.reader.close()
            child.process.close()
        self._hand_over(1 << 62)
        for slot in self._slots.values():
            slot.close()
