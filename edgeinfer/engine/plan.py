"""Plans are made here: a graph lowered, packed for one ISA, laid out in one arena, written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import _native
from ..errors import PlanError
from . import compose, memory, ops, partition, passes, peephole, planfile, swish, tuning
from .graph import Graph, Node
from .ops import Step
from .passes.dead import needed
from .saved import Plan, StepInfo
from .tensor import Tensor
from .tuner import Tuner

ffi, lib = _native.ffi, _native.lib


class ForeignPlan(Plan):
    """A plan for an ISA that this machine lacks: it can be saved and described, not run."""

    def __init__(self, data: Any, graph: Graph, isa: str, rounding: str, arena_bytes: int) -> None:
        self._data = data
        self.handle = None
        self.isa, self.rounding, self.arena_bytes = isa, rounding, arena_bytes
        self.inputs, self.outputs = graph.inputs, graph.outputs

    def steps(self) -> Iterator[StepInfo]:
        """Not known here: the kernels are chosen on the machine that runs the plan."""
        raise PlanError(f"this plan is for ISA {self.isa!r}: its kernels are chosen there")


def build(
    graph: Graph,
    *,
    isa: str | None = None,
    rounding: str = "xnnpack",
    fallback: str | Sequence[str] | None = None,
    optimise: bool = True,
    tune: float | str | Path | tuning.Table | None = None,
    threads: int = 1,
    board: str = "host",
    origin: planfile.Part | None = None,
) -> Plan:
    """Plan a graph for an ISA (default: the best here) and a rounding ("xnnpack" or "tflite").

    For an ISA that this machine lacks the result is a ForeignPlan: save it and run it there.

    `fallback` names the delegates that may take what our kernels do not cover, in order; without it
    such a node is an UnsupportedError that says which node, op, type and why. `optimise=False`
    keeps every node as it stands (for comparing op by op).

    `tune` chooses among kernels that give the same results: by a table (a tuning.Table or its
    file), or by measuring here for so many seconds, for runs on `threads` threads; what was
    measured is kept in a cache by model, `board`, machine and build. The same table gives the same
    plan, byte for byte. None: by rule.

    `origin` is the record of binding.bind: it ties the plan to its file, for the external delegate.
    """
    isa = isa or _native.best_isa()
    _check_options(isa, rounding)
    target = tuning.Target(isa, rounding, threads)
    tuner = Tuner.of(tune, graph, board, target, partial(_assemble, isa=isa, rounding=rounding))
    graph = passes.prepare(graph, evaluate, isa=isa, rounding=rounding, optimise=optimise)
    steps, parts = partition.lower_all(graph, ops.Context(rounding), fallback)
    inputs, outputs = list(graph.inputs.values()), list(graph.outputs.values())
    if optimise:
        steps = compose.fuse_tables(steps, partial(evaluate_steps, rounding=rounding))
        swish.fuse_swish(steps, outputs)
    steps = needed(peephole.fuse_flips(steps, outputs), outputs)
    tuner.pack(steps)
    placed = memory.plan_memory(steps, inputs, outputs)
    parts += [origin] if origin else []
    data = planfile.Writer(placed, isa, rounding, parts).write(graph.inputs, graph.outputs)
    if isa not in _native.isas():
        return ForeignPlan(data, graph, isa, rounding, placed.arena_bytes)
    return Plan(data)


def _check_options(isa: str, rounding: str) -> None:
    if isa not in _native.ISAS:
        raise PlanError(f"ISA {isa!r} is unknown: choose one of {', '.join(_native.ISAS)}")
    if rounding not in _native.ROUNDINGS:
        raise PlanError(f"rounding {rounding!r} is unknown: choose 'xnnpack' or 'tflite'")


def _assemble(
    steps: list[Step], inputs: list[Tensor], outputs: list[Tensor], isa: str, rounding: str
) -> Plan:
    """A plan of lowered and packed steps alone, for this machine."""
    placed = memory.plan_memory(steps, inputs, outputs)
    named = [{str(i): t for i, t in enumerate(ts)} for ts in (inputs, outputs)]
    return Plan(planfile.Writer(placed, isa, rounding, []).write(*named), "a part of a model")


def evaluate(nodes: list[Node], outputs: list[Tensor], rounding: str) -> list[np.ndarray]:
    """Values of tensors that depend on constants alone, by the reference kernels."""
    return evaluate_steps([ops.lower(n, ops.Context(rounding)) for n in nodes], outputs, rounding)


def evaluate_steps(steps: list[Step], outputs: list[Tensor], rounding: str) -> list[np.ndarray]:
    """The same of lowered steps."""
    plan = _assemble(steps, [], outputs, isa="ref", rounding=rounding)
    session, err = ffi.new("ei_session **"), ffi.new("ei_error *")
    _native.check(lib.ei_session_create(plan.handle, 1, session, err), err)
    try:
        _native.check(lib.ei_session_run(session[0]), what="constant folding")
        return [
            np.frombuffer(
                bytes(ffi.buffer(lib.ei_session_tensor(session[0], i), t.bytes)), t.dtype
            ).reshape(t.shape)
            for i, t in zip(plan.output_ids, outputs, strict=True)
        ]
    finally:
        lib.ei_session_destroy(session[0])
