"""Faults: what can go wrong with a source, a stage, a link or an actuator, made to go wrong.

Each wrapper stands where the real thing stands, in the process where that runs, and turns on its
fault after a number of calls. What happened when is appended to a journal: one small file that
survives whatever process is killed, with times of the machine's monotonic clock.
"""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DeviceError
from .messages import Command, Frame, Message, Origin
from .realtime import now_ns, sleep_until
from .slot import Slot
from .stage import Stage

_ENTRY = struct.Struct("<cqqqfffI")
BEGIN, BAD, SENT, END = b"F", b"B", b"C", b"E"

#: Kinds of faults of each sort of node, and what they are.
STAGE_FAULTS = {
    "stall": "never comes back",
    "slow": "takes three budgets",
    "segv": "crashes (SIGSEGV)",
    "kill": "is killed (SIGKILL)",
    "exception": "raises an exception",
    "garbage": "gives random bytes",
    "not finite": "gives values that are not finite",
    "silent": "gives nothing",
    "frozen": "gives its last message again and again",
}
SOURCE_FAULTS = {
    "stall": "never comes back",
    "slow": "takes three periods a frame",
    "segv": "crashes (SIGSEGV)",
    "kill": "is killed (SIGKILL)",
    "lost": "the device is gone",
    "end": "says that it has ended",
    "garbage": "gives noise",
    "black": "gives black frames",
    "frozen": "gives the same picture with new stamps",
    "stale": "gives frames half a second old",
    "clock ahead": "stamps ten seconds ahead",
    "clock behind": "stamps ten seconds behind",
}
SINK_FAULTS = {"lost": "the bus is down for half a second", "slow": "takes three periods a command"}
LINK_FAULTS = {"bit errors": "bits of the messages turn on their way"}
MACHINE_FAULTS = {
    "disk full": "the record cannot be written",
    "memory": "another process takes and walks through memory",
    "processor": "busy processes on every core",
}
TOGETHER = {"all killed": "every process above the guard is killed"}

_STALE_NS, _CLOCK_NS, _BUS_NS = 500_000_000, 10_000_000_000, 500_000_000


class Entry(NamedTuple):
    """A line of the journal: `kind` BEGIN of a fault, its END, BAD message given, command SENT."""

    kind: bytes
    time_ns: int
    seq: int
    stamp_ns: int
    command: tuple[float, float, float]
    origin: int


@dataclass(frozen=True)
class Journal:
    """Where it is told what happened when. Appending takes some microseconds and never waits."""

    path: Path

    def add(
        self, kind: bytes, seq: int = -1, stamp_ns: int = 0, command: Command | None = None
    ) -> None:
        """Append one entry, stamped now."""
        c = command or Command(0, 0, 0.0, 0.0, 0.0)
        data = _ENTRY.pack(
            kind, now_ns(), seq, stamp_ns, c.steer, c.throttle, c.brake, int(c.origin)
        )
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)

    def read(self) -> list[Entry]:
        """All entries, in the order of time."""
        data = self.path.read_bytes() if self.path.exists() else b""
        whole = data[: len(data) // _ENTRY.size * _ENTRY.size]
        entries = []
        for i in range(0, len(whole), _ENTRY.size):
            kind, at, seq, stamp, steer, throttle, brake, origin = _ENTRY.unpack_from(whole, i)
            entries.append(Entry(kind, at, seq, stamp, (steer, throttle, brake), origin))
        return sorted(entries, key=lambda e: e.time_ns)


class _Garbage(Message):
    """A message whose bytes are random: as a stage with a broken memory gives."""

    def __init__(self, message: Message, rng: np.random.Generator) -> None:
        super().__init__(message.seq, message.stamp_ns)
        object.__setattr__(self, "_bytes", rng.bytes(len(message.to_bytes())))

    def to_bytes(self) -> bytes:
        return bytes(self._bytes)  # type: ignore[attr-defined]


class _NotFinite(Message):
    """A message with every float of its body not a number; its form and checksum are right."""

    def __init__(self, message: Message) -> None:
        super().__init__(message.seq, message.stamp_ns)
        object.__setattr__(self, "KIND", message.KIND)
        body = message._body()
        start = {b"TRAJ": 8, b"OBJS": 8, b"CMND": 0}[message.KIND]
        count = 3 if message.KIND == b"CMND" else (len(body) - start) // 4
        nan = struct.pack("<f", float("nan")) * count
        object.__setattr__(self, "_bad", body[:start] + nan + body[start + len(nan) :])

    def _body(self) -> bytes:
        return bytes(self._bad)  # type: ignore[attr-defined]


def _crash_or_delay(kind: str, slow_s: float) -> None:
    """What stages and ends have in common; other kinds pass."""
    if kind in ("segv", "kill"):
        os.kill(os.getpid(), signal.SIGSEGV if kind == "segv" else signal.SIGKILL)
        time.sleep(10)  # a signal may take a moment to arrive
    if kind in ("stall", "slow"):
        time.sleep(3600 if kind == "stall" else slow_s)


class FaultyStage(Stage):
    """`stage`, at fault from its call number `at` on. `kind` "": a stage that is well."""

    def __init__(self, stage: Stage, kind: str, at: int, journal: Journal) -> None:
        self.stage, self.kind, self.at, self.journal = stage, kind, at, journal
        self.name, self.inputs, self.timing = stage.name, stage.inputs, stage.timing
        self._calls = 0
        self._last: Message | None = None

    def open(self) -> None:
        """Open the stage."""
        self.stage.open()

    def close(self) -> None:
        """Close the stage."""
        self.stage.close()

    def step(self, inputs: Mapping[str, Message]) -> Message | None:
        """What the stage gives, until its fault."""
        self._calls += 1
        if self._calls < self.at:
            self._last = self._step(inputs) or self._last
            return self._last
        if self._calls == self.at:
            self.journal.add(BEGIN)
        return self._faulty(inputs)

    def _step(self, inputs: Mapping[str, Message]) -> Message | None:
        """One step of the stage, with the deadline given to this one, whose outcome is its own."""
        self.stage.deadline_ns, self.stage.repeats = self.deadline_ns, self.repeats
        out = self.stage.step(inputs)
        self.outcome = self.stage.outcome
        return out

    def _faulty(self, inputs: Mapping[str, Message]) -> Message | None:
        kind = self.kind
        _crash_or_delay(kind, 3 * self.timing.budget_ms / 1e3)
        if kind == "exception":
            raise RuntimeError("an injected fault")
        if kind == "silent":
            return None
        if kind == "frozen":
            return self._last
        out = self._step(inputs)
        if out is not None and kind == "garbage":
            return _Garbage(out, np.random.default_rng(out.seq & 0xFFFF))
        return _NotFinite(out) if out is not None and kind == "not finite" else out


class FaultyEnds:
    """A source, a sink or a simulator that is both; `kind` "": well, only its commands are noted.

    `side`: "source" or "sink", whose fault it is; it begins with call number `at` of that side.
    """

    def __init__(self, end: Any, side: str, kind: str, at: int, journal: Journal) -> None:
        self.end, self.side, self.kind, self.at, self.journal = end, side, kind, at, journal
        self._calls = {"source": 0, "sink": 0}
        self._until_ns = 0
        self._last: Frame | None = None
        self._rng = np.random.default_rng(0)
        self._begin_ns = self._frames = 0
        if end is not None and hasattr(end, "rate_hz"):
            self.rate_hz = end.rate_hz

    def _on(self, side: str) -> bool:
        """Count a call; whether the fault is on."""
        self._calls[side] += 1
        if not self.kind or side != self.side or self._calls[side] < self.at:
            return False
        if self._calls[side] == self.at:
            self.journal.add(BEGIN)
            self._until_ns = now_ns() + _BUS_NS
        _crash_or_delay(self.kind, 3 / getattr(self, "rate_hz", 50.0))
        return True

    def read(self) -> Frame | None:
        """The next frame, until its fault."""
        on = self._on("source")
        if on and self.kind == "lost":
            raise DeviceError("an injected fault: the camera is gone")
        frame: Frame | None = None if on and self.kind == "end" else self._live(self.end.read())
        if frame is None or not on:
            self._last = frame
            return frame
        return self._spoilt(frame)

    def _live(self, frame: Frame | None) -> Frame | None:
        """As a camera gives it: when it is due, stamped with this machine's clock."""
        now = now_ns()
        if frame is None or 0 <= now - frame.stamp_ns < 1_000_000_000:
            return frame
        self._begin_ns = self._begin_ns or now
        sleep_until(self._begin_ns + round(self._frames * 1e9 / self.rate_hz))
        self._frames += 1
        return replace(frame, stamp_ns=now_ns())

    def _spoilt(self, frame: Frame) -> Frame:
        images: dict[str, Callable[[], np.ndarray]] = {
            "garbage": lambda: self._rng.integers(0, 256, frame.image.shape).astype(np.uint8),
            "black": lambda: np.zeros_like(frame.image),
            "frozen": lambda: self._last.image if self._last is not None else frame.image,
        }
        shifts = {"stale": -_STALE_NS, "clock ahead": _CLOCK_NS, "clock behind": -_CLOCK_NS}
        if self.kind in images:
            self.journal.add(BAD, frame.seq, frame.stamp_ns)
            return replace(frame, image=images[self.kind]())
        return replace(frame, stamp_ns=frame.stamp_ns + shifts.get(self.kind, 0))

    def write(self, command: Command) -> None:
        """Hand a command on; it is noted once it has arrived."""
        if self._on("sink") and self.kind == "lost":
            if now_ns() < self._until_ns:
                raise DeviceError("an injected fault: the bus is down")
            self.kind = ""
            self.journal.add(END)
        simulator = hasattr(self.end, "read")  # it has a command as soon as it is called
        if self.end is not None and not simulator:
            self.end.write(command)
        self.journal.add(SENT, command.seq, command.stamp_ns, command)
        if simulator:
            self.end.write(command)

    def close(self) -> None:
        """Close what is wrapped."""
        if self.end is not None:
            self.end.close()

    @property
    def metrics(self) -> Any:
        """Those of a simulator."""
        return self.end.metrics


@dataclass(frozen=True)
class Opener:
    """Opens an end with its fault, in the process where it will run."""

    opener: Callable[[], Any] | None
    side: str
    kind: str
    at: int
    journal: Journal

    def __call__(self) -> FaultyEnds:
        end = self.opener() if self.opener is not None else None
        return FaultyEnds(end, self.side, self.kind, self.at, self.journal)


def damage(slot: Slot, rng: np.random.Generator, reach: int) -> None:
    """Turn one bit in each buffer of a slot, among the first `reach` bytes of its value."""
    stride = 64 + -(-slot.capacity // 64) * 64  # as in csrc/rt/slot.c: heads, then buffers
    for at in range(128, len(slot._map) - 64, stride):
        slot._map[at + 64 + int(rng.integers(reach))] ^= 1 << int(rng.integers(8))


def is_silence(entry: Entry) -> bool:
    """Whether a simulator was told that the guard says nothing (see inline.REST)."""
    return entry.origin == Origin.SAFE and entry.seq == 0 and entry.stamp_ns == 0
