"""Scheduling class, core, locked memory and absolute-time loop (csrc/rt), seen from Python."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import Any

from .._native import ffi, lib

POLICIES = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle", 6: "deadline"}

_FIXES = {
    "fifo": "run as root, give the program CAP_SYS_NICE, or set 'rtprio' in limits.conf",
    "deadline": "run as root, with no core of its own; where it is busy, the kernel admits no more "
    "of this class (/proc/sys/kernel/sched_rt_runtime_us)",
    "core": "choose a core of `nproc`, and check cgroup cpusets and taskset",
    "memory": "raise 'memlock' in limits.conf (ulimit -l unlimited) or give CAP_IPC_LOCK",
}


@dataclass(frozen=True)
class RealTime:
    """What a process asks for: FIFO priority (0: not), core (None: any), locked memory.

    `deadline`: instead of a priority (runtime, deadline, period) of SCHED_DEADLINE, nanoseconds.
    `placed`: the core on which the analysis saw it; it stays there if the class is granted that the
    analysis assumes, and goes where the kernel likes if not.
    """

    priority: int = 0
    core: int | None = None
    lock_memory: bool = False
    placed: int | None = None
    deadline: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Granted:
    """What it got: scheduling class, priority, and a warning for each thing refused."""

    policy: str
    priority: int
    warnings: tuple[str, ...] = field(default=())


def _refused(what: str, wanted: object, code: int) -> str:
    return f"{what} {wanted} refused ({os.strerror(code)}): {_FIXES[what]}"


def apply(settings: RealTime) -> Granted:
    """Apply the settings to the calling thread; each one refused is a warning with its fix."""
    warnings = []
    if settings.core is not None and (code := lib.ei_rt_pin(settings.core)):
        warnings.append(_refused("core", settings.core, code))
    if settings.lock_memory and (code := lib.ei_rt_lock_memory()):
        warnings.append(_refused("memory", "locking", code))
    if settings.deadline is not None:
        if code := lib.ei_rt_deadline(*settings.deadline):
            warnings.append(_refused("deadline", settings.deadline, code))
    elif settings.priority and (code := lib.ei_rt_fifo(settings.priority)):
        warnings.append(_refused("fifo", settings.priority, code))
    elif settings.priority and settings.core is None:
        warnings += _stay(settings.placed)
    return Granted(*granted(), tuple(warnings))


def _stay(core: int | None) -> list[str]:
    code = 0 if core is None else lib.ei_rt_pin(core)
    return [_refused("core", core, code)] if code else []


class Burst:
    """The FIFO class for pieces of work of a thread that is in the normal class otherwise.

    with burst: ...     # priority 0, or refused (see `warnings`): the normal class throughout
    """

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.warnings: tuple[str, ...] = ()
        if priority and granted()[0] == "other":
            self.warnings = apply(RealTime(priority)).warnings
            lib.ei_rt_normal()
        self._on = bool(priority) and not self.warnings and granted()[0] == "other"

    def __enter__(self) -> None:
        if self._on:
            lib.ei_rt_fifo(self.priority)

    def __exit__(self, *_: object) -> None:
        if self._on:
            lib.ei_rt_normal()


def granted() -> tuple[str, int]:
    """(scheduling class, priority) of the calling thread."""
    policy, priority = ffi.new("int *"), ffi.new("int *")
    if code := lib.ei_rt_granted(policy, priority):
        raise OSError(code, errno.errorcode.get(code, "?"))
    return POLICIES.get(policy[0], str(policy[0])), int(priority[0])


def now_ns() -> int:
    """CLOCK_MONOTONIC, nanoseconds."""
    return int(lib.ei_rt_now())


def sleep_until(time_ns: int) -> None:
    """Sleep until that time; signals do not shorten it."""
    lib.ei_rt_sleep_until(time_ns)


class PeriodicLoop:
    """Releases on the grid first_ns + k * period_ns; realigns after an overrun, never bursts."""

    def __init__(self, first_ns: int, period_ns: int) -> None:
        self._c: Any = ffi.new("ei_rt_loop *")
        if lib.ei_rt_loop_init(self._c, first_ns, period_ns):
            raise ValueError(f"period {period_ns} ns: must be more than 0")

    def wait(self) -> int:
        """Sleep until the next release; how many releases had to be passed over."""
        return int(lib.ei_rt_loop_wait(self._c))

    @property
    def period_ns(self) -> int:
        """From one release to the next."""
        return int(self._c.period_ns)

    @property
    def release_ns(self) -> int:
        """The release being worked on."""
        return int(self._c.release_ns)

    @property
    def lateness_ns(self) -> int:
        """How late the last wake-up was."""
        return int(self._c.lateness_ns)

    @property
    def missed(self) -> int:
        """Releases passed over so far."""
        return int(self._c.missed)
