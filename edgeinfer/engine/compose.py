"""Chains of functions of one 8-bit tensor become one table of 256 bytes.

x * sigmoid(x), written as LOGISTIC and MUL, is one function of a byte: so is a requantisation, a
product with a constant, or any chain of them. The table is what the reference kernels make of all
256 bytes, so the result is the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .ops import Step
from .tensor import Tensor

#: Steps without inputs but constants -> the value of the last one's first output.
Evaluate = Callable[[list[Step], list[Tensor]], list[np.ndarray]]

_BINARY = ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM")
_EIGHT_BIT = ("int8", "uint8")
_BYTES = np.arange(256, dtype=np.uint8)

#: A tensor as a function of another: that other and the table, uint8 [256] by bit patterns.
_Function = tuple[Tensor, np.ndarray]


def fuse_tables(steps: list[Step], evaluate: Evaluate) -> list[Step]:
    """The steps with the end of every chain of such functions as one LOOKUP."""
    known: dict[int, _Function] = {}
    fused = []
    for step in steps:
        found = _function(step, known, evaluate)
        if found is None:
            fused.append(step)
            continue
        known[id(step.outputs[0])] = found
        fused.append(_as_lookup(step, *found))
    return fused


def _function(step: Step, known: dict[int, _Function], evaluate: Evaluate) -> _Function | None:
    """The step's output as a function of one tensor, or None."""
    if len(step.outputs) != 1 or not _plain(step.outputs[0]) or not step.inputs:
        return None
    x = step.inputs[0]
    if step.op in _BINARY:
        return _binary(step, known, evaluate)
    if x is None or not _plain(x) or x.constant:
        return None
    root, table = known.get(id(x), (x, _BYTES))
    if step.op == "LOOKUP":
        return root, _data(step.inputs[1])[table]
    return (root, table ^ np.uint8(0x80)) if step.op == "FLIP_SIGN" else None


def _plain(tensor: Tensor) -> bool:
    return tensor.dtype in _EIGHT_BIT and not tensor.state


def _data(tensor: Tensor | None) -> np.ndarray:
    assert tensor is not None
    assert tensor.data is not None
    return tensor.data.reshape(-1).view(np.uint8)


def _operand(tensor: Tensor | None, known: dict[int, _Function]) -> _Function | None:
    """An operand as a function of its root; a constant of one element is one of any (itself)."""
    if tensor is None or not _plain(tensor):
        return None
    if tensor.constant:
        return (tensor, np.repeat(_data(tensor), 256)) if tensor.count == 1 else None
    return known.get(id(tensor), (tensor, _BYTES))


def _binary(step: Step, known: dict[int, _Function], evaluate: Evaluate) -> _Function | None:
    pair = [_operand(t, known) for t in step.inputs[:2]]
    a, b = pair
    if a is None or b is None:
        return None
    roots = {id(f[0]): f[0] for f in (a, b) if not f[0].constant}
    full = [t for t in step.inputs[:2] if t is not None and not t.constant]
    if len(roots) != 1 or any(t.shape != step.outputs[0].shape for t in full):
        return None
    operands = []
    for tensor, (_, table) in zip(step.inputs[:2], (a, b), strict=True):
        assert tensor is not None
        values = table.view(tensor.dtype)
        operands.append(Tensor(tensor.name, (256,), tensor.dtype, tensor.quant, values))
    out = replace(step.outputs[0], shape=(256,))
    alone = Step(step.op, list(operands), [out], step.params, step.values)
    (value,) = evaluate([alone], [out])
    return next(iter(roots.values())), value.reshape(-1).view(np.uint8)


def _as_lookup(step: Step, root: Tensor, table: np.ndarray) -> Step:
    """The step itself where it is the cheapest already."""
    if step.op == "FLIP_SIGN" or (step.op == "LOOKUP" and step.inputs[0] is root):
        return step
    out = step.outputs[0]
    constant = Tensor(f"{out.name}/table", (256,), "uint8", None, np.ascontiguousarray(table))
    return Step("LOOKUP", [root, constant], [out], name=step.name, in_place=0)
