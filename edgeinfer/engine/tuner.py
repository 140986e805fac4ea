"""Tuner: gives every step its kernel, by rule, by a table, or by measuring the alternatives.

Measured is each alternative as a plan of its own on the step's real shapes: the alternatives take
turns, so that what disturbs the machine disturbs all of them, and medians are compared. What they
read lies in the caches then, as far as it fits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _native
from ..errors import PlanError
from . import layouts, tuning
from .graph import Graph
from .ops import Step
from .tensor import Tensor

if TYPE_CHECKING:
    from .saved import Plan

ffi, lib = _native.ffi, _native.lib

#: Steps, what they read and what they make -> a plan of them alone.
Assemble = Callable[[list[Step], list[Tensor], list[Tensor]], "Plan"]

#: A choice other than the rule's must be faster by this much, and have the best run: less is noise.
_GAIN = 0.02
_ROUNDS = 200
#: After some rounds an alternative whose best is so many times the best of all is out.
_FIRST_ROUNDS, _HOPELESS = 3, 1.5


class Tuner:
    """Chooses for one plan. `seconds` is what measuring may take in all; 0: nothing is measured."""

    def __init__(
        self,
        target: tuning.Target,
        assemble: Assemble,
        table: tuning.Table | None = None,
        seconds: float = 0.0,
        file: Path | None = None,
    ) -> None:
        self.target, self.assemble, self.table = target, assemble, table
        self.end = time.perf_counter() + seconds if seconds else 0.0
        self.file = file

    @classmethod
    def of(
        cls,
        tune: float | str | Path | tuning.Table | None,
        graph: Graph,
        board: str,
        target: tuning.Target,
        assemble: Assemble,
    ) -> Tuner:
        """The tuner that the argument `tune` of `plan.build` stands for."""
        if isinstance(tune, (str, Path)):
            tune = tuning.Table.load(tune)
        seconds = tune.seconds if isinstance(tune, tuning.Table) else tune or 0.0
        if not 0 <= seconds < float("inf"):
            raise PlanError(f"tune is {seconds} seconds: give 0 or more, or a tuning table")
        if seconds and target.isa not in _native.isas():
            raise PlanError(
                f"ISA {target.isa!r} cannot be measured on this machine: tune with a table that "
                "was made on the board"
            )
        if tune is None or isinstance(tune, tuning.Table):
            return cls(target, assemble, tune, seconds)
        file = tuning.cache_path(tuning.digest(graph), board)
        return cls(target, assemble, tuning.cached(file), seconds, file)

    def pack(self, steps: Sequence[Step]) -> None:
        """Give every step its layout and workers; keep in the cache what was measured."""
        if self.table is None:
            for step in steps:
                layouts.pack(step, self.target.isa, self.target.rounding)
            return
        before = dict(self.table.entries)
        for i, step in enumerate(steps):
            options = self._options(step)
            key = tuning.step_key(step, self.target, list(options))
            one = {name: [option] for name, option in options.items()}
            chosen = options[self.choose(key, one, 1 / (len(steps) - i))]
            layouts.become(step, chosen)
        if self.file is not None and self.table.entries != before:
            tuning.keep(self.table, self.file)

    def _options(self, step: Step) -> dict[str, Step]:
        """The step in every way it can run, by name; the first is the rule's."""
        packed = layouts.candidates(step, self.target.isa, self.target.rounding)
        found = dict(list(packed.items())[:1])
        if self.target.threads == 1:
            return packed
        for layout, option in packed.items():
            for workers in (1, self.target.threads):
                found[f"{layout}@{workers}"] = replace(option, workers=workers)
        return found

    def choose(self, key: str, options: Mapping[str, list[Step]], share: float) -> str:
        """Name of the option to take: the table's, else the fastest here, else the first.

        Each option is the steps that make the same outputs of the same inputs, and `share` the part
        of the time left that measuring them may take.
        """
        assert self.table is not None
        names = list(options)
        if len(names) == 1 or any(s.op in ("COPY", "DELEGATE") for s in options[names[0]]):
            return names[0]
        found = self.table.choice(key, names)
        left = self.end - time.perf_counter()
        if found is not None or left <= 0:
            return found or names[0]
        took = self._measure(options, left * share)
        medians = {name: round(median(times), 3) for name, times in took.items()}
        rule, best = names[0], min(names, key=lambda n: medians[n])
        clear = medians[best] < (1 - _GAIN) * medians[rule] and min(took[best]) < min(took[rule])
        chosen = best if clear else rule
        self.table.entries[key] = tuning.Entry(chosen, medians)
        return chosen

    def _measure(self, options: Mapping[str, list[Step]], seconds: float) -> dict[str, list[float]]:
        """Microseconds of every option's runs, taken in turn; at least one of each."""
        end = time.perf_counter() + seconds
        runs = {n: _Run(self._plan(steps), self.target.threads) for n, steps in options.items()}
        took: dict[str, list[float]] = {name: [] for name in runs}
        for done in range(_ROUNDS):
            if done and time.perf_counter() > end:
                break
            best = min((min(t) for t in took.values() if t), default=0.0)
            for name, run in runs.items():
                if done < _FIRST_ROUNDS or min(took[name]) < _HOPELESS * best:
                    took[name].append(run.microseconds())
        return took

    def _plan(self, steps: list[Step]) -> Plan:
        made = {id(t): t for s in steps for t in s.outputs}
        read = {id(t): t for s in steps for t in s.inputs if t is not None}
        inputs = [t for k, t in read.items() if k not in made and not t.constant and not t.state]
        outputs = [t for k, t in made.items() if k not in read and not t.state]
        return self.assemble(list(steps), inputs, outputs)


class _Run:
    """A session over a plan, with inputs of plausible values, that times whole runs."""

    def __init__(self, plan: Plan, threads: int) -> None:
        self.plan = plan
        handle, err = ffi.new("ei_session **"), ffi.new("ei_error *")
        _native.check(lib.ei_session_create(plan.handle, threads, handle, err), err, "tuning")

        def destroy(session: Any, _plan: Plan = plan) -> None:
            lib.ei_session_destroy(session)  # before the plan it points into

        self.session = ffi.gc(handle[0], destroy)
        self.count = lib.ei_plan_steps(plan.handle)
        self.ns = ffi.new("uint64_t[]", max(self.count, 1))
        rng = np.random.default_rng(0)
        for index, tensor in zip(plan.input_ids, plan.inputs.values(), strict=True):
            if tensor.dtype in ("int8", "uint8", "float32"):
                memory = lib.ei_session_tensor(self.session, index)
                _fill(ffi.buffer(memory, tensor.bytes), tensor, rng)
        self.microseconds()  # the first run warms the caches

    def microseconds(self) -> float:
        """One run."""
        _native.check(lib.ei_session_profile(self.session, self.ns, self.count), what="tuning")
        return sum(self.ns[0 : self.count]) / 1e3


def _fill(buffer: Any, tensor: Tensor, rng: np.random.Generator) -> None:
    view = np.frombuffer(buffer, tensor.dtype)
    if tensor.dtype == "float32":
        view[:] = rng.random(view.size, np.float32)
    else:
        view[:] = rng.integers(0, 256, view.size, np.uint8).view(tensor.dtype)
