"""What a stage does at a release: the overrun ladder, and the event that tells of it.

The same Runner works inline, in a process per stage, and in a replay. It never looks at a clock:
the time of the release is given to it, so that a replay decides the same.

The ladder, from the top: run on the newest inputs and count those passed over; hold: run again on
the last valid Trajectory, moved to where the vehicle should be by now, while its age is below the
stage's maximum; then the safe Command: no throttle, gentle brake, steering held. Only the stage
that gives the Command holds and stops; the others simply have nothing new to say.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import NamedTuple

import numpy as np

from .messages import Command, Message, Objects, Origin, Trajectory, parse
from .slot import Published
from .stage import Stage


class Mode(str, Enum):
    """What came of a release."""

    RUN = "run"  # newest inputs
    HELD = "held"  # last valid inputs once more
    SAFE = "safe"  # the safe Command
    WAIT = "wait"  # nothing new to work on
    STALE = "stale"  # the newest inputs are too old, from the future, or damaged
    BUSY = "busy"  # still at work on an earlier release
    LOST = "lost"  # of the guard: the command could not be handed to the actuator


#: Modes that give or may give a message; the others are counted only.
WORKING = (Mode.RUN, Mode.HELD, Mode.SAFE)


#: How far a stamp may lie ahead: clocks are read in different processes.
FUTURE_NS = 1_000_000


@dataclass(frozen=True)
class Event:
    """One release of one stage: what a record keeps and a replay repeats.

    `release_ns` is the release's time, `start_ns` and `duration_ns` those of the work; `inputs`
    the numbers of the messages used, `output` that of the one given (0: none), `seq` the frame
    behind it; `late`: over budget; `skipped`: input messages passed over; `missed`: releases
    passed over before this one; `lateness_ns`: of the wake-up; `text`: of the guard its Words, of a
    stage what stood in for its network, of a transition of modes its cause; `remark`: of a message
    (see `remark`).
    """

    stage: str
    mode: Mode
    release_ns: int
    start_ns: int = 0
    duration_ns: int = 0
    inputs: Mapping[str, int] | None = None
    output: int = 0
    seq: int = -1
    age_ns: int = -1
    late: bool = False
    skipped: int = 0
    missed: int = 0
    lateness_ns: int = 0
    text: str = ""
    remark: str = ""

    def to_json(self) -> bytes:
        """As JSON, keys as the fields."""
        return json.dumps({**asdict(self), "mode": self.mode.value}, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Event:
        """The event in `data`."""
        fields = json.loads(data)
        return cls(**{**fields, "mode": Mode(fields["mode"])})


class Words(NamedTuple):
    """What the guard's event says: its state, the reason it gave to the last offer, the origin of
    the command sent, the mode; "-" where there is none.
    """

    state: str
    offered: str = "-"
    origin: str = "-"
    status: str = "nominal/none"

    def __str__(self) -> str:
        return " ".join(self)

    @classmethod
    def parse(cls, text: str) -> Words:
        """From an event's text."""
        return cls(*text.split())


def remark(out: Message | None) -> str:
    """What is worth telling of a stage's message: of a road how sure it is, and the speed (m/s)."""
    if not isinstance(out, Objects) or out.road is None:
        return ""
    return f"confidence {out.road.confidence:.3f} speed {out.road.speed_mps:.2f}"


def advanced(trajectory: Trajectory, seconds: float) -> Trajectory | None:
    """The trajectory as seen from where it wanted the vehicle to be `seconds` after its stamp.

    None where it does not reach that far (two points must be left).
    """
    points = np.asarray(trajectory.points, np.float64)
    if seconds <= 0:
        return trajectory
    ahead = points[points[:, 0] > seconds] if len(points) else points
    if len(ahead) < 2:
        return None
    here = np.array([np.interp(seconds, points[:, 0], points[:, k]) for k in range(4)])
    # The direction of travel there, from central differences: a chord would be off in curves.
    way = np.gradient(points[:, 1:3], axis=0, edge_order=2 if len(points) > 2 else 1)
    along, aside = (float(np.interp(seconds, points[:, 0], way[:, k])) for k in (0, 1))
    length = math.hypot(along, aside)
    cos, sin = (along / length, aside / length) if length > 0 else (1.0, 0.0)
    out = np.vstack((here, ahead))
    out[:, 0] -= seconds
    moved = out[:, 1:3] - here[1:3]
    out[:, 1] = cos * moved[:, 0] + sin * moved[:, 1]
    out[:, 2] = cos * moved[:, 1] - sin * moved[:, 0]
    speed = float(here[3]) if math.isfinite(trajectory.speed_mps) else math.nan
    return replace(trajectory, points=out.astype(np.float32), speed_mps=speed)


class Runner:
    """A stage with what the ladder must remember of it. `commands`: it gives the Command."""

    def __init__(self, stage: Stage, commands: bool = False, safe_brake: float = 0.2) -> None:
        self.stage, self.commands, self.safe_brake = stage, commands, safe_brake
        self._used: dict[str, int] = {}  # number of the newest message used, by input
        self._valid: dict[str, Message] | None = None  # inputs of the last nominal Command
        self._last: Command | None = None

    def choose(self, newest: Mapping[str, Published], now_ns: int) -> Mode:
        """What this release is to do with the newest messages of its inputs."""
        complete = all(name in newest for name in self.stage.inputs)
        fresh = any(m.number != self._used.get(name) for name, m in newest.items())
        if complete and fresh:
            ages = [now_ns - m.message.stamp_ns for m in newest.values()]
            # One from the future has a wrong clock: it would pass for fresh long after it is not.
            if max(ages) <= self.stage.timing.max_age_ns and min(ages) >= -FUTURE_NS:
                return Mode.RUN
        if self.commands and self._last is not None:
            return Mode.HELD
        return Mode.STALE if complete and fresh else Mode.WAIT

    def skipped(self, newest: Mapping[str, Published]) -> int:
        """How many messages of its inputs a run on `newest` passes over."""
        gaps = (m.number - self._used.get(name, m.number - 1) - 1 for name, m in newest.items())
        return sum(max(gap, 0) for gap in gaps)

    def work(
        self, mode: Mode, newest: Mapping[str, Published], now_ns: int
    ) -> tuple[Mode, Message | None]:
        """Do what was chosen; (what was done in the end, the message or None)."""
        if mode is Mode.RUN:
            self._used.update((name, m.number) for name, m in newest.items())
            inputs = {name: m.message for name, m in newest.items()}
            out = self._step(inputs)
            if isinstance(out, Command):
                self._valid, self._last = inputs, out
            if out is not None or not self.commands or self._last is None:
                return Mode.RUN, out
        return self._hold(now_ns) or self._stop()

    def _step(self, inputs: Mapping[str, Message]) -> Message | None:
        """The stage's result as it is after a journey: single precision, checked, its own copy.

        Without it, processes (that send bytes) and inline runs (that need not) would differ.
        """
        out = self.stage.step(inputs)
        return None if out is None else parse(out.to_bytes())

    def _hold(self, now_ns: int) -> tuple[Mode, Message] | None:
        """The last valid inputs once more, their trajectories moved on; None where too old."""
        inputs: dict[str, Message] = {}
        for name, message in (self._valid or {}).items():
            age = now_ns - message.stamp_ns
            if age > self.stage.timing.max_age_ns:
                return None
            held: Message | None = message
            if isinstance(message, Trajectory):
                held = advanced(message, age / 1e9)
            if held is None:
                return None
            inputs[name] = held
        out = self._step(inputs) if inputs else None
        if not isinstance(out, Command):
            return None
        self._last = replace(out, origin=Origin.HELD)
        return Mode.HELD, self._last

    def _stop(self) -> tuple[Mode, Message]:
        """The safe Command. Once stopped, only a fresh input starts again."""
        last, self._valid = self._last, None
        assert last is not None
        self._last = Command(last.seq, last.stamp_ns, last.steer, 0.0, self.safe_brake, Origin.SAFE)
        return Mode.SAFE, self._last
