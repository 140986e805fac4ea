"""What is known of the steps of a plan that runs: who runs them, how long they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _native
from ..errors import PlanError
from . import peak
from .saved import Plan, StepInfo, fail, stored_bytes

ffi, lib = _native.ffi, _native.lib


@dataclass(frozen=True)
class Placement:
    """Who runs one step: `kernel` of the C engine, or `delegate`."""

    step: str
    kernel: str
    delegate: str


@dataclass(frozen=True)
class StepTime:
    """What one step took and what it could: its place under the machine's roofline.

    `microseconds` is the median over the profiled runs. `macs` are its multiply-accumulates (0
    where it has none), in arithmetic of `dtype`; `bytes` all its tensors, constants included, each
    once. `compute_us` and `memory_us` are the least time either takes at the measured peak and read
    bandwidth (Williams, Waterman, Patterson 2009: the roofline); None where the peak is not known.
    """

    step: str
    kernel: str
    microseconds: float
    macs: int
    dtype: str
    bytes: int
    compute_us: float | None
    memory_us: float

    @property
    def peak_share(self) -> float | None:
        """Multiply-accumulates a second over the machine's peak, 0..1."""
        if self.compute_us is None or not self.macs or self.microseconds <= 0:
            return None
        return self.compute_us / self.microseconds

    @property
    def intensity(self) -> float:
        """Multiply-accumulates per byte: the x axis of a roofline."""
        return self.macs / self.bytes if self.bytes else 0.0

    @property
    def roof_us(self) -> float:
        """The least time the machine needs: for arithmetic or for memory, whichever is more."""
        return max(self.compute_us or 0.0, self.memory_us)

    @property
    def bound(self) -> str:
        """What holds the step back.

        "compute" or "memory", whichever roof it comes within 40 % of; below that "overhead" for a
        step of under a microsecond, else "instructions": loads, shuffles, rounding, tables.
        """
        if self.roof_us < 0.4 * self.microseconds:
            return "overhead" if self.microseconds < 1 else "instructions"
        return "compute" if (self.compute_us or 0.0) >= self.memory_us else "memory"


def profile(plan: Plan, session: Any, threads: int, runs: int) -> list[StepTime]:
    """Some runs of a session (`ei_session *`), with the time of every step."""
    steps = list(plan.steps())
    if any(s.delegate for s in steps):
        raise PlanError("profile() needs a plan that the C engine runs alone")
    ns = ffi.new("uint64_t[]", max(len(steps), 1))
    times = np.zeros((max(runs, 1), len(steps)))
    for row in times:
        status = lib.ei_session_profile(session, ns, len(steps))
        if status:
            fail(session, plan, status)
        row[:] = np.frombuffer(ffi.buffer(ns), np.uint64)[: len(steps)]
    medians = np.median(times, axis=0) / 1e3
    made = set(plan.input_ids).union(*(s.outputs for s in steps))
    return [
        _step_time(plan, threads, s, float(us), made) for s, us in zip(steps, medians, strict=True)
    ]


def _step_time(
    plan: Plan, threads: int, step: StepInfo, microseconds: float, made: set[int]
) -> StepTime:
    """Constants come from where the whole plan fits, what was just made from nearer by."""
    sizes = {i: stored_bytes(plan.tensor(i)) for i in (*step.inputs, *step.outputs) if i >= 0}
    size, fresh = sum(sizes.values()), sum(n for i, n in sizes.items() if i in made)
    dtype = plan.tensor(step.inputs[0]).dtype if step.inputs[:1] > (-1,) else ""
    known = dtype in ("float32", "int8", "uint8")
    rate = peak.macs_per_second(plan.isa, dtype, threads) if known else None
    seconds = _seconds_to_read(fresh, size, threads)
    seconds += _seconds_to_read(size - fresh, len(plan.bytes) + plan.arena_bytes, threads)
    limits = (None if rate is None else 1e6 * step.macs / rate), 1e6 * seconds
    return StepTime(step.name, step.kernel, microseconds, step.macs, dtype, size, *limits)


def _seconds_to_read(size: int, footprint: int, threads: int) -> float:
    """Least time for `size` bytes out of a footprint, whose size says which cache has it."""
    rounded = max(4096, 1 << max(footprint - 1, 0).bit_length())  # few sizes are measured
    return size / peak.bytes_per_second(rounded, threads)
