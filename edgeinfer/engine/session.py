"""Session: a plan plus its memory. Views in, run, views out."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from .. import _native, delegates
from .._call import bind
from ..board import Board
from ..board import load as load_board
from ..errors import PlanError, ShapeError
from . import peak
from .model import Model
from .plan import Plan, StepInfo, build
from .tensor import Tensor
from .tuning import Table

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


class Session:
    """Runs one plan. Everything is allocated here; `run()` allocates nothing.

    `source` is a Model (planned here for this machine) or a Plan. `board` names the board whose
    ISA and delegates apply ("host": this machine). `threads` 1..64. `rounding` "xnnpack" (default)
    or "tflite". `fallback` names delegates for what our kernels do not cover; without it such a
    model is refused. `tune` chooses kernels by measurement or table, see `plan.build`; by default
    by the board's table, where it has one.
    `session[name]` is a numpy view (no copy) of an input or output tensor.
    `hold_gil`: whether `run()` keeps other Python threads waiting; by default where a run is
    shorter than some 50 us, since getting the GIL back from a busy thread can take 5 ms.
    """

    def __init__(
        self,
        source: Model | Plan,
        board: str | Board = "host",
        threads: int = 1,
        *,
        rounding: str = "xnnpack",
        fallback: str | Sequence[str] | None = None,
        isa: str | None = None,
        tune: float | str | Path | Table | None = None,
        hold_gil: bool | None = None,
    ) -> None:
        self.board = load_board(board) if isinstance(board, str) else board
        if isinstance(source, Plan):
            if fallback is not None or tune is not None:
                what = "fallback was" if tune is None else "kernels were"
                raise PlanError(f"a plan's {what} chosen when it was compiled; omit it here")
            self.plan = source
        else:
            isa = isa or self.board.usable_isa()
            self.plan = build(
                source.graph, isa=isa, rounding=rounding, fallback=fallback, threads=threads,
                tune=self.board.tuning if tune is None else tune, board=self.board.name,
            )  # fmt: skip
        self._create(threads)
        self.inputs: dict[str, Tensor] = self.plan.inputs
        self.outputs: dict[str, Tensor] = self.plan.outputs
        self._views = self._bind()
        self._segments = self._segment()
        self._lock = Lock()
        self._pending: deque[tuple[Future[dict[str, np.ndarray]], dict[str, np.ndarray]]] = deque()
        self._bind_run(hold_gil)

    def _create(self, threads: int) -> None:
        handle, err = ffi.new("ei_session **"), ffi.new("ei_error *")
        plan = self.plan
        if plan.handle is None:
            raise PlanError(
                f"the plan is for ISA {plan.isa!r}, this machine has {_native.best_isa()!r}: save "
                "it and run it there, or plan the model again for this machine"
            )
        _native.check(lib.ei_session_create(plan.handle, threads, handle, err), err, "session")
        self.threads = threads

        def destroy(session: Any, _plan: Plan = plan) -> None:
            lib.ei_session_destroy(session)  # before the plan it points into, kept until now

        self._handle = ffi.gc(handle[0], destroy)

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

    def run(self) -> None:
        """Run once: inputs are read from their views, outputs are in theirs afterwards."""
        for segment in self._segments:
            if isinstance(segment, tuple):
                status = lib.ei_session_run_steps(self._handle, *segment)
                if status:
                    _fail(self._handle, self.plan, status)
            else:
                segment.run()

    def submit(
        self, inputs: Mapping[str, np.ndarray] | None = None
    ) -> Future[dict[str, np.ndarray]]:
        """Run on a thread of the library; a future of copies of the outputs, by name.

        `inputs` are copied in right before the run; those left out keep what they hold. Runs of one
        session come one after the other, in the order they were submitted; runs of several sessions
        at the same time, as many as there are processors. With asyncio:
        `await asyncio.wrap_future(session.submit(...))`.
        """
        future: Future[dict[str, np.ndarray]] = Future()
        with self._lock:
            self._pending.append((future, dict(inputs or {})))
            if len(self._pending) == 1:
                _executor().submit(self._serve)
        return future

    def _serve(self) -> None:
        """The oldest submitted run; the next has to wait its turn behind other sessions'."""
        future, inputs = self._pending[0]
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(self._run_on(inputs))
            except BaseException as exc:
                future.set_exception(exc)
        with self._lock:
            self._pending.popleft()
            if self._pending:
                _executor().submit(self._serve)

    def _run_on(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name, value in inputs.items():
            if name not in self.inputs:
                raise KeyError(f"no input {name!r}; there are {', '.join(self.inputs)}")
            self[name] = value
        self.run()
        return {name: self._views[name].copy() for name in self.outputs}

    def _bind_run(self, hold_gil: bool | None) -> None:
        """`run` as one builtin call, where the C engine runs the whole plan."""
        if self._segments:
            return
        if hold_gil is None:
            hold_gil = self._short()
        run = int(ffi.cast("uintptr_t", ffi.addressof(lib, "ei_session_run")))
        handle = int(ffi.cast("uintptr_t", self._handle))
        fail = partial(_fail, self._handle, self.plan)
        self.__dict__["run"] = bind(run, handle, fail, self._handle, hold_gil)

    def _short(self) -> bool:
        """Whether a run surely takes less than some 50 us, by its arithmetic and its bytes."""
        seconds = 0.0
        for step in self.plan.steps():
            used = [self.plan.tensor(i) for i in (*step.inputs, *step.outputs) if i >= 0]
            seconds += step.macs / 10e9 + sum(map(_bytes, used)) / 5e9 + 3e-7
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
        return [Placement(s.name, s.kernel, s.delegate) for s in self.plan.steps()]

    def profile(self, runs: int = 20) -> list[StepTime]:
        """Some runs with the time of every step; the first also measures the machine (0.5 s).

        PlanError for a plan with steps of a delegate, which the C engine cannot time.
        """
        steps = list(self.plan.steps())
        if any(s.delegate for s in steps):
            raise PlanError("profile() needs a plan that the C engine runs alone")
        ns = ffi.new("uint64_t[]", max(len(steps), 1))
        times = np.zeros((max(runs, 1), len(steps)))
        for row in times:
            status = lib.ei_session_profile(self._handle, ns, len(steps))
            if status:
                _fail(self._handle, self.plan, status)
            row[:] = np.frombuffer(ffi.buffer(ns), np.uint64)[: len(steps)]
        medians = np.median(times, axis=0) / 1e3
        made = set(self.plan.input_ids).union(*(s.outputs for s in steps))
        return [self._step_time(s, float(us), made) for s, us in zip(steps, medians, strict=True)]

    def _step_time(self, step: StepInfo, microseconds: float, made: set[int]) -> StepTime:
        """Constants come from where the whole plan fits, what was just made from nearer by."""
        sizes = {i: _bytes(self.plan.tensor(i)) for i in (*step.inputs, *step.outputs) if i >= 0}
        size, fresh = sum(sizes.values()), sum(n for i, n in sizes.items() if i in made)
        dtype = self.plan.tensor(step.inputs[0]).dtype if step.inputs[:1] > (-1,) else ""
        known = dtype in ("float32", "int8", "uint8")
        rate = peak.macs_per_second(self.plan.isa, dtype, self.threads) if known else None
        seconds = self._seconds_to_read(fresh, size)
        seconds += self._seconds_to_read(size - fresh, len(self.plan.bytes) + self.arena_bytes)
        limits = (None if rate is None else 1e6 * step.macs / rate), 1e6 * seconds
        return StepTime(step.name, step.kernel, microseconds, step.macs, dtype, size, *limits)

    def _seconds_to_read(self, size: int, footprint: int) -> float:
        """Least time for `size` bytes out of a footprint, whose size says which cache has it."""
        rounded = max(4096, 1 << max(footprint - 1, 0).bit_length())  # few sizes are measured
        return size / peak.bytes_per_second(rounded, self.threads)


def _fail(handle: Any, plan: Plan, status: int) -> None:
    """Raise what a run's status says, with the step's name."""
    step = lib.ei_session_failed_step(handle)
    name = lib.ei_plan_step_name(plan.handle, step)
    text = ffi.string(name).decode(errors="replace") if name != ffi.NULL else "?"
    _native.check(status, what=f"step {step} ({text})")


@cache
def _executor() -> ThreadPoolExecutor:
    """The threads of submitted runs, as many as processors: more would only wait for these."""
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)), "edgeinfer")


def _bytes(tensor: Tensor) -> int:
    return tensor.count if tensor.dtype == "blob" else tensor.bytes
