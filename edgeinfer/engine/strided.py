"""Concatenations and splits along the channels without a copy.

A tensor may lie among the channels of a larger one: its rows are then apart by the larger one's
length. Kernels that take such rows (`strided` in csrc/kernels/kernel.h) write the parts of a
concatenation straight into it, and read the parts of a split where they are. What other kernels
write or read is copied, part by part.
"""

from __future__ import annotations

from collections.abc import Callable

from .buffers import Layout
from .ops import Step
from .tensor import Tensor

#: Steps whose kernels, of every ISA, take strided rows of their first input and output.
_OPS = ("COPY", "LOOKUP", "UNARY", "RESIZE_NEAREST", "MAX_POOL_2D", "AVERAGE_POOL_2D")
_LAYOUTS = ("_GEMM_Q8", "_GEMM_Q8_FULL", "_GEMM_F32")


def takes(step: Step) -> bool:
    """Whether the step's kernel takes them."""
    packed = step.op == "CONV_2D" and step.layout.endswith(_LAYOUTS)
    return packed or step.op in _OPS


def join(layout: Layout) -> None:
    """Replace concatenations and splits along the last dimension where that saves a copy."""
    for step in list(layout.steps):
        if step.op == "CONCATENATION":
            _join_parts(layout, step)
        elif step.op == "SPLIT":
            _split_parts(layout, step)


def _along_channels(step: Step, whole: Tensor, parts: list[Tensor]) -> bool:
    """Whether the parts, all of the whole's rank, lie side by side in its rows."""
    last = len(whole.shape) - 1
    same = all(t.shape[:-1] == whole.shape[:-1] and t.count for t in parts)
    return last > 0 and step.values["axis"] == last and same and not whole.state


def _join_parts(layout: Layout, step: Step) -> None:
    out, parts = step.outputs[0], [t for t in step.inputs if t is not None]
    if len(parts) != step.values["count"] or not _along_channels(step, out, parts):
        return
    if not all(layout.same_values(t, out) for t in parts):
        return
    direct = [parts.count(t) == 1 and _writable(layout, t, step) for t in parts]
    if any(direct):
        pairs = list(zip(parts, direct, strict=True))
        _replace(layout, step, out, pairs, lambda part, view: Step("COPY", [part], [view]))


def _split_parts(layout: Layout, step: Step) -> None:
    whole = step.inputs[0]
    assert whole is not None
    if whole.constant or not _along_channels(step, whole, step.outputs):
        return
    if not all(layout.same_values(t, whole) for t in step.outputs):
        return
    direct = [_readable(layout, t, step) for t in step.outputs]
    if any(direct):
        pairs = list(zip(step.outputs, direct, strict=True))
        _replace(layout, step, whole, pairs, lambda part, view: Step("COPY", [view], [part]))


def _writable(layout: Layout, part: Tensor, step: Step) -> bool:
    """Whether one step makes the part as its first output, and all take it with its rows apart."""
    users = [s for s in layout.steps if s is not step and part in s.tensors]
    makers = [s for s in users if part in s.outputs]
    mine = layout.movable(part) and layout.alone(part) and len(makers) == 1
    return mine and all(_takes(s, part) for s in users)


def _readable(layout: Layout, part: Tensor, step: Step) -> bool:
    users = [s for s in layout.steps if s is not step and part in s.tensors]
    return layout.movable(part) and layout.alone(part) and all(_takes(s, part) for s in users)


def _takes(step: Step, tensor: Tensor) -> bool:
    """Whether the step takes the tensor with its rows apart: as its first input or output."""
    first = tensor in (step.inputs[0], step.outputs[0])
    return takes(step) and first and step.tensors.count(tensor) == 1


def _replace(
    layout: Layout,
    step: Step,
    whole: Tensor,
    parts: list[tuple[Tensor, bool]],
    copy: Callable[[Tensor, Tensor], Step],
) -> None:
    """Parts as views of the whole, or copied from or to such views; the step is gone."""
    at = layout.steps.index(step)
    copies, shift = [], 0
    for part, direct in parts:
        view = part if direct else Tensor(part.name, part.shape, part.dtype, part.quant)
        layout.own(view)
        layout.merge(view, whole, shift * (whole.bytes // whole.count))
        layout.strides[id(view)] = layout.stride(whole)
        if not direct:
            copies.append(copy(part, view))
            copies[-1].name = step.name
        shift += part.shape[-1]
    layout.steps[at : at + 1] = copies
