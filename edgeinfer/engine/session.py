"""Session: a plan plus its memory. Views in, run, views out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _native, delegates
from ..board import Board
from ..board import load as load_board
from ..errors import PlanError, ShapeError
from .model import Model
from .plan import Plan, StepInfo, build
from .tensor import Tensor

ffi, lib = _native.ffi, _native.lib


@dataclass(frozen=True)
class Placement:
    """Who runs one step: `kernel` of the C engine, or `delegate`."""

    step: str
    kernel: str
    delegate: str


@dataclass(frozen=True)
class StepTime:
    """Time one step took in a profiled run, microseconds."""

    step: str
    kernel: str
    microseconds: float


class Session:
    """Runs one plan. Everything is allocated here; `run()` allocates nothing.

    `source` is a Model (planned here for this machine) or a Plan. `board` names the board whose
    ISA and delegates apply ("host": this machine). `threads` 1..64. `rounding` "xnnpack" (default)
    or "tflite". `fallback` names delegates for what our kernels do not cover; without it such a
    model is refused. `session[name]` is a numpy view (no copy) of an input or output tensor.
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
    ) -> None:
        self.board = load_board(board) if isinstance(board, str) else board
        if isinstance(source, Plan):
            if fallback is not None:
                raise PlanError("a plan's fallback was chosen when it was compiled; omit it here")
            self.plan = source
        else:
            isa = isa or self.board.usable_isa()
            self.plan = build(source.graph, isa=isa, rounding=rounding, fallback=fallback)
        self._create(threads)
        self.inputs: dict[str, Tensor] = self.plan.inputs
        self.outputs: dict[str, Tensor] = self.plan.outputs
        self._views = self._bind()
        self._segments = self._segment()

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
        if not self._segments:
            status = lib.ei_session_run(self._handle)
            if status:
                self._raise(status)
            return
        for segment in self._segments:
            if isinstance(segment, tuple):
                status = lib.ei_session_run_steps(self._handle, *segment)
                if status:
                    self._raise(status)
            else:
                segment.run()

    def _raise(self, status: int) -> None:
        step = lib.ei_session_failed_step(self._handle)
        name = lib.ei_plan_step_name(self.plan.handle, step)
        text = ffi.string(name).decode(errors="replace") if name != ffi.NULL else "?"
        _native.check(status, what=f"step {step} ({text})")

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

    def profile(self) -> list[StepTime]:
        """One run with the time of every step (a delegate's steps are not in it)."""
        steps = list(self.plan.steps())
        if any(s.delegate for s in steps):
            raise PlanError("profile() needs a plan that the C engine runs alone")
        ns = ffi.new("uint64_t[]", max(len(steps), 1))
        status = lib.ei_session_profile(self._handle, ns, len(steps))
        if status:
            self._raise(status)
        return [StepTime(s.name, s.kernel, ns[s.index] / 1e3) for s in steps]
