"""Operators: one shape rule and one lowering each, by TFLite operator name.

`@rule("CONV_2D")` registers `lower(node, ctx) -> Step`: it checks types and shapes (raising
UnsupportedError with the rule, the value and the limit, or ShapeError), computes padding and
requantisation at plan time and returns the step that a kernel runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from ...errors import ModelError, UnsupportedError
from ..graph import Node
from ..tensor import Tensor
from ..tflite_schema import LITERT_CUSTOM, OPERATORS, hardware_of

FAMILIES = (
    "conv", "matmul", "math", "activation", "shape", "resize", "recurrent", "detection", "convert",
)  # fmt: skip


@dataclass(frozen=True)
class Context:
    """What a lowering may depend on: the plan's rounding, "xnnpack" or "tflite"."""

    rounding: str = "xnnpack"


@dataclass(eq=False)
class Step:
    """One kernel call of a plan.

    `op` is a name of `ei_op` without its prefix ("CONV_2D"), `params` the name of a parameter
    struct of csrc/kernels/ops*.h ("conv" for `ei_conv_params`; "" for none) and `values` its
    fields. `inputs` may hold constants made at plan time. `layout` comes from layouts.py;
    `workers` is the most that share the step, 0: as many as its size is worth.
    `in_place`: input whose memory the kernel can write its first output into (same bytes,
    element for element), or None.
    """

    op: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    params: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    layout: str = "NATURAL"
    name: str = ""
    macs: int = 0
    in_place: int | None = None
    workers: int = 0

    @property
    def tensors(self) -> list[Tensor]:
        """What it reads and writes."""
        return [t for t in (*self.inputs, *self.outputs) if t is not None]


Lower = Callable[[Node, Context], Step]
_rules: dict[str, Lower] = {}


def rule(*ops: str) -> Callable[[Lower], Lower]:
    """Register the lowering of the operators named."""

    def register(lower: Lower) -> Lower:
        _rules.update(dict.fromkeys(ops, lower))
        return lower

    return register


@cache
def _load() -> dict[str, Lower]:
    for family in FAMILIES:
        import_module(f"{__name__}.{family}")
    return _rules


def supported() -> tuple[str, ...]:
    """Names of the operators our kernels know."""
    return tuple(sorted(_load()))


def lower(node: Node, ctx: Context) -> Step:
    """The step that runs `node`; UnsupportedError says which node, op, type and why not."""
    found = _load().get(node.op)
    if found is None:
        hardware = hardware_of(node.op)
        if hardware is not None:
            raise UnsupportedError(
                f"{node.op} (node {node.name!r}): this model was compiled for "
                f"{node.attrs.get('compiled_for', hardware[0])}; it needs {hardware[1]}, "
                "or load the uncompiled model"
            )
        if node.op not in (*OPERATORS, *LITERT_CUSTOM):
            raise UnsupportedError(
                f"{node.op} (node {node.name!r}): a custom operator that neither our kernels nor "
                "LiteRT have; only the program the model was made for can run it"
            )
        types = ", ".join(t.dtype for t in node.inputs if t is not None)
        raise UnsupportedError(
            f"{node.op} (node {node.name!r}, inputs {types or 'none'}): no kernel of ours; "
            "name a fallback delegate that has it, e.g. fallback='tflite'"
        )
    step = _apply(found, node, ctx)
    step.name = step.name or node.name
    return step


def _apply(rule: Lower, node: Node, ctx: Context) -> Step:
    """The rule, where a file of nonsense (scales of 1e-45, no channels) must end in an error."""
    try:
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            return rule(node, ctx)
    except (ArithmeticError, ValueError, IndexError) as exc:
        shapes = "; ".join(str(t) for t in (*node.inputs, *node.outputs) if t is not None)
        raise ModelError(
            f"{node.op} (node {node.name!r}): its shapes or scales make no sense ({exc}): {shapes}"
        ) from exc
