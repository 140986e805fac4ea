"""Session: a plan plus its memory. Views in, run, views out."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from time import monotonic_ns
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from .. import _native
from .._call import bind
from ..errors import DelegateError, PlanError, ShapeError
from .outcome import Outcome
from .saved import Plan, StepInfo, fail, stored_bytes
from .tensor import Tensor

# Imported where they are used: who runs a saved plan starts without them.
if TYPE_CHECKING:
    from ..board import Board
    from .deadline import CpuPlan, LastResult, Parts, Rung, SmallerModel, Substitute, Times
    from .model import Model
    from .steps import Placement, StepTime
    from .submitted import Run
    from .tuning import Table

ffi, lib = _native.ffi, _native.lib


class Session:
    """Runs one plan. Everything is allocated here; `run()` allocates nothing.

    `source` is a Model (planned here for this machine) or a Plan. `board` names the board whose
    ISA, table and cores apply (default for a Model: "host", this machine; for a Plan: none).
    `threads` 1..64. `rounding` "xnnpack" (default) or "tflite". `fallback` names delegates for what
    our kernels do not cover; without it such a model is refused. `tune` chooses kernels by
    measurement or table, see `plan.build`; by default by the board's table, where it has one.
    `session[name]` is a numpy view (no copy) of an input or output tensor.
    `hold_gil`: whether `run()` keeps other Python threads waiting; by default where a run is
    shorter than some 50 us, since getting the GIL back from a busy thread can take 5 ms. Such runs
    take no part in the scheduler. `substitutes`: what stands in for a result that cannot be had by
    its deadline: other models first, in order, then the last result.
    """

    def __init__(
        self,
        source: Model | Plan,
        board: str | Board | None = None,
        threads: int = 1,
        *,
        rounding: str = "xnnpack",
        fallback: str | Sequence[str] | None = None,
        isa: str | None = None,
        tune: float | str | Path | Table | None = None,
        hold_gil: bool | None = None,
        substitutes: Sequence[Substitute] = (),
    ) -> None:
        self._board = board
        if board is not None or not isinstance(source, Plan):
            self._reserve()
        if isinstance(source, Plan):
            if fallback is not None or tune is not None:
                what = "fallback was" if tune is None else "kernels were"
                raise PlanError(f"a plan's {what} chosen when it was compiled; omit it here")
            self.plan = source
        else:
            self.plan = self._build(source, isa, rounding, fallback, threads, tune)
        others, last = _kinds(substitutes)
        self._ladder = [self.plan, *(self._planned(s.source) for s in others)]
        self._create(threads)
        self._names = {-1: "last", 0: ""}
        for i, other in enumerate(others, 1):
            self._names[i] = other.name if i == 1 else f"{other.name}{i}"
        self._keep(last)
        self.inputs: dict[str, Tensor] = self.plan.inputs
        self.outputs: dict[str, Tensor] = self.plan.outputs
        self._views = self._bind()
        self._segments = self._segment()
        self._segment_rest = [0] * len(self._segments)  # ns, to the end of the run
        self._lock = Lock()
        self._pending: deque[Run] = deque()
        #: How often each came of runs with a deadline: "ok", "late", "substituted:last", ...
        self.outcomes: Counter[str] = Counter()
        self._told = partial(_tell, self.outcomes, self._names, lib.ei_plan_steps(self.plan.handle))
        self._times: Times | None = None
        self._bind_run(hold_gil)

    @cached_property
    def board(self) -> Board:
        """The board named; "host" where none was."""
        from ..board import load

        name = self._board or "host"
        return load(name) if isinstance(name, str) else name

    def _reserve(self) -> None:
        from . import scheduler

        scheduler.reserve(self.board)

    def _build(
        self,
        model: Model,
        isa: str | None,
        rounding: str,
        fallback: str | Sequence[str] | None,
        threads: int,
        tune: float | str | Path | Table | None,
    ) -> Plan:
        from .plan import build

        return build(
            model.graph, isa=isa or self.board.usable_isa(), rounding=rounding, fallback=fallback,
            tune=self.board.tuning if tune is None else tune, threads=threads,
            board=self.board.name,
        )  # fmt: skip

    def _planned(self, source: Model | Plan) -> Plan:
        if isinstance(source, Plan):
            return source
        from .plan import build

        return build(source.graph, isa=self.plan.isa, rounding=self.plan.rounding)

    def _create(self, threads: int) -> None:
        handle, err = ffi.new("ei_session **"), ffi.new("ei_error *")
        plan, plans = self.plan, list(self._ladder)
        if any(p.handle is None for p in plans):
            raise PlanError(
                f"the plan is for ISA {plan.isa!r}, this machine has {_native.best_isa()!r}: save "
                "it and run it there, or plan the model again for this machine"
            )
        handles = ffi.new("ei_plan *[]", [p.handle for p in plans])
        args = ffi.cast("const ei_plan **", handles), len(plans), threads, handle, err
        _native.check(lib.ei_session_create_ladder(*args), err, "session")
        self.threads = threads

        def destroy(session: Any, _plans: list[Plan] = plans) -> None:
            lib.ei_session_destroy(session)  # before the plans it points into, kept until now

        self._handle = ffi.gc(handle[0], destroy)

    def _keep(self, declared: Sequence[LastResult]) -> None:
        for last in declared:
            code = lib.ei_session_keep_last(self._handle, round(last.max_age_s * 1e9))
            _native.check(code, what="session")

    def _bind(self) -> dict[str, np.ndarray]:
        ids = [*self.plan.output_ids, *self.plan.input_ids]
        return {self.plan.tensor(i).name: self._view(i) for i in ids}

    def _view(self, index: int) -> np.ndarray:
        tensor = self.plan.tensor(index)
        pointer = lib.ei_session_tensor(self._handle, index)
        owner = self._handle
        # The view keeps the session's memory alive: the destructor holds a reference to it.
        kept = ffi.gc(pointer, lambda _, owner=owner: None)
        flat = np.frombuffer(ffi.buffer(kept, max(tensor.bytes, 1)), np.uint8)[: tensor.bytes]
        return flat.view(tensor.dtype).reshape(tensor.shape)

    def _segment(self) -> list[tuple[int, int] | Any]:
        """Runs of C steps (first, count), and the delegates' executables between them."""
        segments: list[tuple[int, int] | Any] = []
        if not self.plan.delegated:
            return segments
        first = 0
        steps = list(self.plan.steps())
        for step in steps:
            if step.delegate:
                if step.index > first:
                    segments.append((first, step.index - first))
                segments.append(self._executable(step))
                first = step.index + 1
        if segments and first < len(steps):
            segments.append((first, len(steps) - first))
        return segments

    def _executable(self, step: StepInfo) -> Any:
        from .. import delegates

        name, data = self.plan.part(lib.ei_plan_step_delegate(self.plan.handle, step.index))
        inputs = [self._view(i) for i in step.inputs]
        outputs = [self._view(i) for i in step.outputs]
        return delegates.get(name).bind(data, inputs, outputs, threads=self.threads)

    def __getitem__(self, name: str) -> np.ndarray:
        """View of an input or output tensor in the arena: shape and dtype of the Tensor."""
        try:
            return self._views[name]
        except KeyError:
            known = ", ".join(self._views)
            raise KeyError(f"no input or output {name!r}; there are: {known}") from None

    def __setitem__(self, name: str, value: Any) -> None:
        view, value = self[name], np.asarray(value)
        if value.shape != view.shape or value.dtype != view.dtype:
            raise ShapeError(
                f"{name!r} takes {view.dtype}{list(view.shape)}, got {value.dtype}"
                f"{list(value.shape)}; resize or quantise it first (edgeinfer.ImageTransform)"
            )
        view[...] = value

    def run(self, *, deadline: int | None = None) -> Any:
        """Run once: inputs are read from their views, outputs are in theirs afterwards.

        With a `deadline`, in nanoseconds of `time.monotonic_ns()`, an Outcome says what the outputs
        are of. RunCancelledError where `cancel()` ended the run.
        """
        begun = monotonic_ns()
        _native.check(lib.ei_session_arm(self._handle), what="run")
        try:
            for segment, rest in zip(self._segments, self._segment_rest, strict=True):
                if deadline is not None and monotonic_ns() + rest >= deadline:
                    return self._substitute(deadline)
                self._run_segment(segment)
            lib.ei_session_keep(self._handle, begun)
        except DelegateError:
            if deadline is None or not any(name.startswith("cpu") for name in self._names.values()):
                raise
            return self._substitute(deadline)
        finally:
            _native.check(lib.ei_session_disarm(self._handle), what="run")
        if deadline is None:
            return None
        now = monotonic_ns()
        return self._told(int(now > deadline), 0, lib.ei_plan_steps(self.plan.handle), now - begun)

    def _run_segment(self, segment: tuple[int, int] | Any) -> None:
        """One of the C engine's, or one of a delegate's; a cancel counts between them, too."""
        if isinstance(segment, tuple):
            status = lib.ei_session_run_steps(self._handle, *segment)
            if status:
                fail(self._handle, self.plan, status)
        else:
            segment.run()
            _native.check(lib.ei_session_disarm(self._handle), what="run")
        _native.check(lib.ei_session_arm(self._handle), what="run")

    def repeat(self, name: str) -> Outcome:
        """Do again what an Outcome of that name tells of, whatever the clock says now.

        For replays: "ok" and "late" run, "late:nothing" does not, others give that substitute.
        """
        kind, _, what = name.partition(":")
        numbers = {n: i for i, n in self._names.items() if n}
        if what in numbers:
            given = self._substitute((1 << 64) - 1, numbers[what])
            return Outcome(kind, given.substitute, given.age_ns)
        if what not in ("", "nothing") or kind not in ("ok", "late"):
            raise PlanError(f"outcome {name!r}: this session has {sorted(numbers)} as substitutes")
        if not what:
            self.run()
        return Outcome(kind, valid=not what)

    def _substitute(self, deadline: int, which: int = 0) -> Outcome:
        result = ffi.new("ei_result *")
        status = lib.ei_session_substitute(self._handle, which, deadline, result)
        _native.check(status, what="substitute")
        return self._told(result.outcome, result.substitute, 0, result.age_ns)

    def cancel(self) -> bool:
        """End the run in progress at its next boundary; from any thread, at any moment.

        False where none is. `run()` raises RunCancelledError then; a model's states are as before.
        """
        return bool(lib.ei_session_cancel(self._handle))

    def close(self) -> None:
        """Cancel, wait for the run in progress to end, refuse later ones; from any thread.

        What was submitted is cancelled. Views stay valid; the memory goes with the last of them.
        """
        with self._lock:
            waiting = list(self._pending)
        for run in reversed(waiting):
            run.cancel()
        lib.ei_session_close(self._handle)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def calibrate(
        self, runs: int = 200, quantile: float = 0.99, segment_s: float = 250e-6
    ) -> Times:
        """Measure how long the rest of a run takes at every step: a `quantile` of some runs.

        Steps longer than `segment_s` are cut into shares of at most about that time, where their
        kernels can be cut; results do not change. The inputs are taken as they are, states are
        reset. Keep what it returns (`Times.save`) and give it to `times` the next time.
        """
        plans = tuple(r.measure(runs, quantile, segment_s) for r in self._rungs())
        lib.ei_session_disarm(self._handle)  # parts of a plan with delegates announce the next
        self.reset()
        from .deadline import Times

        times = Times(quantile, runs, self.threads, plans)
        self.times = times
        return times

    def _rungs(self) -> list[Rung | Parts]:
        from .deadline import Parts, Rung

        rungs: list[Rung | Parts] = [
            Rung(self._handle, plan, i) for i, plan in enumerate(self._ladder)
        ]
        if self._segments:
            parts = [partial(self._run_segment, s) for s in self._segments]
            rungs[0] = Parts(self.plan, parts, self._segment_rest)
        return rungs

    @property
    def times(self) -> Times | None:
        """What runs with a deadline go by; None: only a deadline that has passed is noticed."""
        return self._times

    @times.setter
    def times(self, times: Times) -> None:
        if times.threads != self.threads or len(times.plans) != len(self._ladder):
            raise PlanError(
                f"times of {len(times.plans)} plans with {times.threads} threads; this session has "
                f"{len(self._ladder)} plans and {self.threads} threads: calibrate() again"
            )
        for rung, plan in zip(self._rungs(), times.plans, strict=True):
            rung.use(plan)
        self._times = times

    @property
    def longest_segment(self) -> float | None:
        """Longest time, in seconds, that a run goes on without looking up; None: not calibrated."""
        return self._times.longest_segment if self._times is not None else None

    @property
    def preempted(self) -> int:
        """How often runs of this session gave way to one with an earlier deadline."""
        return int(lib.ei_session_preempted(self._handle))

    def submit(
        self, inputs: Mapping[str, np.ndarray] | None = None, *, deadline: int | None = None
    ) -> Run:
        """Run on a thread of the library; a future of copies of the outputs, by name.

        `inputs` are copied in right before the run; those left out keep what they hold. Runs of one
        session come one after the other, in the order they were submitted; runs of several sessions
        at the same time, as many as there are processors, or as the scheduler orders them.
        With asyncio: `await asyncio.wrap_future(session.submit(...))`. Cancelling the future ends
        the run even while it is in progress. `deadline` as in `run`: the future's `outcome` says
        what its result is of.
        """
        from .submitted import Run, executor

        run = Run(dict(inputs or {}), deadline, ref(self))
        with self._lock:
            self._pending.append(run)
            if len(self._pending) == 1:
                executor().submit(self._serve)
        return run

    def _serve(self) -> None:
        """The oldest submitted run; the next has to wait its turn behind other sessions'."""
        from .submitted import executor

        run = self._pending[0]
        # Armed before the future says that it runs: from then on a cancel counts.
        closed = lib.ei_session_arm(self._handle)
        try:
            if run.set_running_or_notify_cancel():
                run.finish(partial(self._run_on, run, closed))
        finally:
            lib.ei_session_disarm(self._handle)
        with self._lock:
            self._pending.popleft()
            if self._pending:
                executor().submit(self._serve)

    def cancel_submitted(self, run: Run) -> None:
        """End that run, if it is the one in progress."""
        with self._lock:
            if self._pending and self._pending[0] is run:
                self.cancel()

    def _run_on(self, run: Run, closed: int) -> dict[str, np.ndarray]:
        _native.check(closed, what="submitted run")
        for name, value in run.inputs.items():
            if name not in self.inputs:
                raise KeyError(f"no input {name!r}; there are {', '.join(self.inputs)}")
            self[name] = value
        run.outcome = self.run(deadline=run.deadline)
        return {name: self._views[name].copy() for name in self.outputs}

    def _bind_run(self, hold_gil: bool | None) -> None:
        """`run` as one builtin call, where the C engine runs the whole plan."""
        if hold_gil is None:
            hold_gil = self._short()
        lib.ei_session_set_unscheduled(self._handle, hold_gil)
        if self._segments:
            return
        run, run_by = (
            int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
            for name in ("ei_session_run", "ei_session_run_by")
        )
        handle = int(ffi.cast("uintptr_t", self._handle))
        failed = partial(fail, self._handle, self.plan)
        self.__dict__["run"] = bind(run, run_by, handle, failed, self._told, self._handle, hold_gil)

    def _short(self) -> bool:
        """Whether a run surely takes less than some 50 us, by its arithmetic and its bytes."""
        seconds = 0.0
        for step in self.plan.steps():
            used = [self.plan.tensor(i) for i in (*step.inputs, *step.outputs) if i >= 0]
            seconds += step.macs / 10e9 + sum(map(stored_bytes, used)) / 5e9 + 3e-7
            if seconds >= 50e-6:  # most models are known to be long after a step or two
                return False
        return True

    def reset(self) -> None:
        """Set the states (LSTM, variables) back to their first values."""
        lib.ei_session_reset(self._handle)

    @property
    def arena_bytes(self) -> int:
        """Bytes of the arena: activations, inputs, outputs and states."""
        return self.plan.arena_bytes

    @property
    def memory_bytes(self) -> int:
        """Bytes this session allocated in C: arena, scratch of every thread, bookkeeping."""
        return int(lib.ei_session_bytes(self._handle))

    def placement(self) -> list[Placement]:
        """Who runs each step, in order."""
        from .steps import Placement

        return [Placement(s.name, s.kernel, s.delegate) for s in self.plan.steps()]

    def profile(self, runs: int = 20) -> list[StepTime]:
        """Some runs with the time of every step; the first also measures the machine (0.5 s).

        PlanError for a plan with steps of a delegate, which the C engine cannot time.
        """
        from .steps import profile

        return profile(self.plan, self._handle, self.threads, runs)


def _kinds(
    substitutes: Sequence[Substitute],
) -> tuple[list[SmallerModel | CpuPlan], list[LastResult]]:
    """Those that compute, and those that give the last result."""
    if not substitutes:
        return [], []
    from .deadline import LastResult

    others = [s for s in substitutes if not isinstance(s, LastResult)]
    return others, [s for s in substitutes if isinstance(s, LastResult)]


def _tell(
    counts: Counter[str], names: Mapping[int, str], steps: int,
    kind: int, substitute: int, step: int, age_ns: int,
) -> Outcome:  # fmt: skip
    """What the C engine says of a run, in words, and counted."""
    name = ("ok", "late", "substituted")[kind]
    outcome = Outcome(name, names[substitute], age_ns, bool(substitute) or step >= steps)
    counts[outcome.name] += 1
    return outcome
