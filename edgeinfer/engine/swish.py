"""x * logistic(x) in float becomes one step: the same product without another pass over memory.

Models write it as LOGISTIC and MUL (YOLO, EfficientNet); chains of 8 bits are compose.py's.
"""

from __future__ import annotations

from collections import Counter
from math import inf

from .. import _native
from .ops import Step
from .tensor import Tensor

_OPEN = (-inf, inf)  # limits of no activation


def fuse_swish(steps: list[Step], outputs: list[Tensor]) -> None:
    """Make the product of every such pair, whose LOGISTIC nobody else reads, the one step."""
    readers = Counter(id(t) for s in steps for t in s.inputs if t is not None)
    readers.update(id(t) for t in outputs)
    makers = {id(s.outputs[0]): s for s in steps if _logistic(s)}
    for step in steps:
        gate = _gate(step, makers)
        if gate is None or readers[id(gate.outputs[0])] != 1:
            continue
        step.op, step.inputs, step.params = "UNARY", [gate.inputs[0]], "unary"
        step.values = {"function": _native.lib.EI_UNARY_SWISH}
        step.in_place = 0


def _logistic(step: Step) -> bool:
    return (
        step.op == "UNARY"
        and step.values["function"] == _native.lib.EI_UNARY_LOGISTIC
        and step.outputs[0].dtype == "float32"
        and not step.outputs[0].state
        and step.inputs[0] is not None
        and not step.inputs[0].state
    )


def _gate(step: Step, makers: dict[int, Step]) -> Step | None:
    """The LOGISTIC whose output the step multiplies with what that LOGISTIC read."""
    if step.op != "MUL" or (step.values["act_fmin"], step.values["act_fmax"]) != _OPEN:
        return None
    for x, gate in (step.inputs[:2], step.inputs[1::-1]):
        maker = makers.get(id(gate))
        if maker is not None and x is maker.inputs[0]:
            return maker
    return None
