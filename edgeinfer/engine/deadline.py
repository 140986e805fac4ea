"""Runs with a deadline: what stands in for a result, how long what is left takes, what came of it.

    session = Session(model, substitutes=[SmallerModel(small), LastResult(0.1)])
    session.calibrate()
    outcome = session.run(deadline=time.monotonic_ns() + 8_000_000)

The plan walker knows from the calibration how long the rest of a run takes. It looks at the clock
between the steps of the plan, and between the shares that long steps are cut into, and gives up as
soon as the rest takes longer than there is time: then there is time enough for a substitute.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from time import monotonic_ns
from typing import Any

import numpy as np

from .. import _native
from ..errors import PlanError
from .model import Model
from .saved import Plan

ffi, lib = _native.ffi, _native.lib


@dataclass(frozen=True)
class SmallerModel:
    """Run this model instead: inputs and outputs of the same names and shapes.

    Its memory is the session's own. Where tensors are quantised otherwise, values are converted.
    """

    source: Model | Plan
    name = "smaller"


@dataclass(frozen=True)
class CpuPlan:
    """Run this model or plan on the CPU where a delegate is too slow, or fails."""

    source: Model | Plan
    name = "cpu"


@dataclass(frozen=True)
class LastResult:
    """Give the outputs of the last whole run, if it began at most `max_age_s` ago."""

    max_age_s: float
    name = "last"


Substitute = SmallerModel | CpuPlan | LastResult


@dataclass(frozen=True)
class PlanTimes:
    """One plan's: ns from each step's begin to the end; its shares; ns of its longest share.

    Of a plan with steps of delegates: of its parts, which have no shares.
    """

    plan: int
    rest_ns: tuple[int, ...]
    cuts: tuple[int, ...]
    longest_ns: tuple[int, ...]


@dataclass(frozen=True)
class Times:
    """How long the steps of a session take: the plan's first, then its smaller ones'.

    Every figure is the `quantile` of `runs` runs with so many `threads`. Save it beside the model:
    it holds for the machine it was measured on.
    """

    quantile: float
    runs: int
    threads: int
    plans: tuple[PlanTimes, ...]

    @property
    def total(self) -> float:
        """Of a whole run, seconds."""
        return max(self.plans[0].rest_ns, default=0) / 1e9

    @property
    def longest_segment(self) -> float:
        """The longest time, in seconds, that a run computes without looking up.

        For so long a cancel, or a run with an earlier deadline, may have to wait.
        """
        return max((max(p.longest_ns, default=0) for p in self.plans), default=0) / 1e9

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        Path(path).write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: str | Path) -> Times:
        """What `save` wrote; PlanError where the file holds something else."""
        try:
            data = json.loads(Path(path).read_text())
            plans = [PlanTimes(p["plan"], *(tuple(p[k]) for k in _TABLES)) for p in data["plans"]]
            return cls(data["quantile"], data["runs"], data["threads"], tuple(plans))
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise PlanError(f"{path}: not the times of a session ({exc!r})") from exc


_TABLES = ("rest_ns", "cuts", "longest_ns")


class Rung:
    """One plan of a session's ladder, as the C engine times it."""

    def __init__(self, handle: Any, plan: Plan, number: int) -> None:
        self._handle, self.plan = lib.ei_session_rung(handle, number), plan
        self._steps = lib.ei_plan_steps(plan.handle)

    def measure(self, runs: int, quantile: float, segment_s: float) -> PlanTimes:
        """Cut what takes longer than `segment_s`, then time it."""
        default = [1] * self._steps
        self._cut(default)
        steps, _ = self._time(max(runs // 10, 5))
        cuts = [
            min(ceil(ns / (1e9 * segment_s)), lib.ei_plan_step_shares(self.plan.handle, i)) or 1
            for i, ns in enumerate(np.quantile(steps, 0.5, axis=0))
        ]
        self._cut(cuts)
        self._time(3)
        steps, shares = self._time(runs)
        rest = np.cumsum(steps[:, ::-1], axis=1)[:, ::-1]
        return PlanTimes(checksum(self.plan), _quantiles(rest, quantile), tuple(cuts),
                         _quantiles(shares, quantile))  # fmt: skip

    def use(self, times: PlanTimes) -> None:
        """Hand the table to the walker; PlanError where it is another plan's."""
        _check(self.plan, times)
        self._cut(times.cuts)
        code = lib.ei_session_set_rest(self._handle, list(times.rest_ns), len(times.rest_ns))
        _native.check(code, what="times of a session")

    def _cut(self, cuts: Sequence[int]) -> None:
        code = lib.ei_session_set_cuts(self._handle, list(cuts), len(cuts))
        _native.check(code, what="times of a session")

    def _time(self, runs: int) -> tuple[np.ndarray, np.ndarray]:
        """uint64 [runs, steps], ns: of the steps and of the longest share of each."""
        out = np.zeros((2, runs, max(self._steps, 1)), np.uint64)
        for row in range(runs):
            a, b = (ffi.from_buffer("uint64_t[]", out[k, row]) for k in (0, 1))
            _native.check(lib.ei_session_time(self._handle, a, b, self._steps))
        return out[0, :, : self._steps], out[1, :, : self._steps]


class Parts:
    """A plan with steps of delegates: only between its parts can a run be given up."""

    def __init__(self, plan: Plan, parts: Sequence[Callable[[], None]], rest_ns: list[int]) -> None:
        self.plan, self._parts, self._rest_ns = plan, parts, rest_ns

    def measure(self, runs: int, quantile: float, segment_s: float) -> PlanTimes:
        """Time the parts; a delegate's cannot be cut."""
        took = np.zeros((runs, len(self._parts)), np.uint64)
        for row in range(runs):
            for i, part in enumerate(self._parts):
                begun = monotonic_ns()
                part()
                took[row, i] = monotonic_ns() - begun
        rest = np.cumsum(took[:, ::-1], axis=1)[:, ::-1]
        return PlanTimes(checksum(self.plan), _quantiles(rest, quantile), (),
                         _quantiles(took, quantile))  # fmt: skip

    def use(self, times: PlanTimes) -> None:
        """Hand the table to the session; PlanError where it is another plan's."""
        _check(self.plan, times)
        self._rest_ns[:] = times.rest_ns


def checksum(plan: Plan) -> int:
    """CRC-32 of the plan."""
    return zlib.crc32(plan.bytes)


def _check(plan: Plan, times: PlanTimes) -> None:
    if times.plan != checksum(plan):
        raise PlanError("these times were measured with another plan: calibrate() again")


def _quantiles(rows: np.ndarray, quantile: float) -> tuple[int, ...]:
    return tuple(int(v) for v in np.quantile(rows, quantile, axis=0, method="higher"))
