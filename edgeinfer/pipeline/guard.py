"""Guard: the last check before the actuator, in C (csrc/guard/guard.h), seen from Python."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

from .._native import ffi, lib
from .messages import Command, Origin


class State(IntEnum):
    """WAITING for the first command, ACTIVE, SAFE (stopping by itself), SILENT (sends nothing)."""

    WAITING = 0
    ACTIVE = 1
    SAFE = 2
    SILENT = 3


class Reason(IntEnum):
    """Why a command was refused or changed, or a state left; also the names of the counters."""

    OK = 0
    NOT_FINITE = 1
    RANGE = 2
    FROZEN = 3
    CLOCK = 4
    HEARTBEAT = 5
    TIMEOUT = 6
    LIMITED = 7
    RATE = 8
    BOTH = 9
    SILENCED = 10
    STALE = 11


@dataclass(frozen=True)
class GuardLimits:
    """What the guard lets through: largest values (0..1), rates (per second), times (ms).

    Rates limit rising throttle and brake and both ways of steering; letting go is free.
    `heartbeat_ms`: longest time without a good command; `safe_ms`: how long the safe command is
    sent then, before silence; `recover`: good commands in a row that end it; `step_ms`: longest
    time a rate may count at once. `safe_brake`: brake of the safe command. `age_ms`: largest age of
    the data behind a command that is sent; 0: what the pipeline's last stage allows it.
    """

    steer_max: float = 1.0
    throttle_max: float = 1.0
    brake_max: float = 1.0
    steer_rate: float = 20.0
    throttle_rate: float = 20.0
    brake_rate: float = 20.0
    safe_brake: float = 0.2
    heartbeat_ms: float = 100.0
    safe_ms: float = 3000.0
    step_ms: float = 40.0
    recover: int = 3
    age_ms: float = 0.0


class Guard:
    """One guard and its state. Times are of its own clock, nanoseconds."""

    def __init__(self, limits: GuardLimits | None = None) -> None:
        self.limits = limits or GuardLimits()
        self._c: Any = ffi.new("ei_guard *")
        self._in: Any = ffi.new("ei_guard_command *")
        self._out: Any = ffi.new("ei_guard_command *")
        self._base = Command(0, 0, 0.0, 0.0, 0.0, Origin.SAFE)
        if lib.ei_guard_init(self._c, self._limits()):
            raise ValueError(f"guard limits out of range (values 0..1, others > 0): {self.limits}")

    def _limits(self) -> Any:
        given = {f.name: getattr(self.limits, f.name) for f in fields(self.limits)}
        for name in ("heartbeat", "safe", "step", "age"):
            ms = given.pop(f"{name}_ms")
            given[f"{name}_ns"] = max(round(ms * 1e6), 0)
        return ffi.new("ei_guard_limits *", given)

    def arm(self) -> None:
        """Back to WAITING, also from SILENT."""
        lib.ei_guard_arm(self._c)

    def offer(self, command: Command, count: int, now_ns: int, delay_ns: int = 0) -> Reason:
        """Give it command number `count` of the sender; Reason.OK where it is taken.

        `delay_ns`: how long the way to the actuator takes. A stamp from the future counts as old;
        the safe Command derives from no data.
        """
        c = self._in
        age = 0 if command.origin is Origin.SAFE else now_ns - command.stamp_ns + delay_ns
        c.age_ns = age if age >= 0 else 0xFFFFFFFFFFFFFFFF
        c.steer, c.throttle, c.brake = command.steer, command.throttle, command.brake
        c.count = count & 0xFFFFFFFF
        reason = Reason(lib.ei_guard_offer(self._c, c, now_ns))
        if reason is Reason.OK:
            self._base = command
        return reason

    def output(self, now_ns: int) -> Command | None:
        """The command to send now, or None for silence. Call it every period."""
        if not lib.ei_guard_output(self._c, now_ns, self._out):
            return None
        base, out = self._base, self._out
        origin = Origin.SAFE if self.state is State.SAFE else base.origin
        return Command(base.seq, base.stamp_ns, out.steer, out.throttle, out.brake, origin)

    @property
    def state(self) -> State:
        """State after the last call."""
        return State(self._c.state)

    @property
    def reason(self) -> Reason:
        """Why the state was entered."""
        return Reason(self._c.reason)

    @property
    def counters(self) -> dict[str, int]:
        """How often each Reason came up."""
        return {r.name.lower(): self._c.counters[r] for r in Reason}
