"""Which tensors of a lowered graph share memory, and where each lies in the arena.

Four sharings, all decided before the first run: a copy that only renames (reshape) becomes an
alias; the inputs of a concatenation are written straight into its output, and the outputs of a
split read in its input (see strided.py for those along the channels); an elementwise step writes
over an input that nobody reads again. Rows between tensors may be unaligned: kernels must take
that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from . import arena, strided
from .buffers import Buffer, Layout
from .ops import Step
from .tensor import Tensor


@dataclass(eq=False)
class Memory:
    """Placement of the tensors: offset in the arena by id(tensor), and the arena's size, bytes.

    `strides`: elements between rows, by id, of tensors that lie among the channels of another.
    """

    steps: list[Step]
    offsets: dict[int, int]
    arena_bytes: int
    strides: dict[int, int] = field(default_factory=dict)


def _drop_copies(layout: Layout) -> None:
    """A copy whose output nothing writes later is its input under another name."""
    for step in [s for s in layout.steps if s.op == "COPY"]:
        source, target = step.inputs[0], step.outputs[0]
        assert source is not None
        if source.constant or target.state or source.bytes != target.bytes:
            continue
        if source.state:
            renames = layout.movable(target) and _read_before_written(layout, step, source, target)
        elif id(source) in layout.inputs:
            renames = layout.movable(target)
        else:
            renames = True
        if renames and layout.alone(target):
            layout.merge(target, source)
            layout.steps.remove(step)


def _read_before_written(layout: Layout, step: Step, state: Tensor, value: Tensor) -> bool:
    start = layout.steps.index(step)
    writes = [
        i
        for i, s in enumerate(layout.steps)
        if i > start
        and any(layout.where[id(t)][0] is layout.where[id(state)][0] for t in s.outputs)
    ]
    return not writes or max(layout.uses(value)) < min(writes)


def _join_concatenations(layout: Layout) -> None:
    """Inputs of a concatenation along the outermost axis that are made into their place."""
    for step in [s for s in layout.steps if s.op == "CONCATENATION"]:
        if not _joinable(layout, step):
            continue
        shift = 0
        for part in step.inputs:
            assert part is not None
            layout.merge(part, step.outputs[0], shift)
            shift += part.bytes
        layout.steps.remove(step)


def _joinable(layout: Layout, step: Step) -> bool:
    out, axis = step.outputs[0], step.values["axis"]
    parts = [t for t in step.inputs if t is not None]
    return (
        int(np.prod(out.shape[:axis], dtype=np.int64)) == 1
        and not out.state
        and len({id(t) for t in parts}) == len(parts)
        and all(layout.movable(t) and layout.alone(t) for t in parts)
        and all(layout.same_values(t, out) for t in parts)
    )


def _write_in_place(layout: Layout) -> None:
    for i, step in enumerate(layout.steps):
        if step.in_place is None or step.op == "COPY":
            continue
        source, target = step.inputs[step.in_place], step.outputs[0]
        if (
            source is not None
            and layout.movable(source)
            and source.bytes == target.bytes
            and _begins_at(layout, target, i)
            and _dies_at(layout, source, i)
            and sum(t is source for t in step.inputs) == 1
        ):
            layout.merge(target, source)


def _begins_at(layout: Layout, tensor: Tensor, step: int) -> bool:
    """Whether the tensor is all of its buffer, under any number of names, and none is used before
    `step` or keeps its value from run to run."""
    buffer, _ = layout.where[id(tensor)]
    return buffer.size == tensor.bytes and all(
        not m.state and id(m) not in layout.inputs and min(layout.uses(m), default=step) >= step
        for m in buffer.members
    )


def _dies_at(layout: Layout, tensor: Tensor, step: int) -> bool:
    """Whether no member of the tensor's buffer is used after `step`, nor by it but as `tensor`."""
    members = layout.where[id(tensor)][0].members
    if any(id(m) in layout.inputs or id(m) in layout.outputs or m.state for m in members):
        return False
    if layout.where[id(tensor)][0].size != tensor.bytes:
        return False
    return all(max(layout.uses(m), default=0) <= step for m in members) and not any(
        m is not tensor and step in layout.uses(m) for m in members
    )


def plan_memory(steps: list[Step], inputs: list[Tensor], outputs: list[Tensor]) -> Memory:
    """Share, order and place every tensor that is not a constant."""
    layout = Layout(steps, inputs, outputs)
    _drop_copies(layout)
    _join_concatenations(layout)
    strided.join(layout)
    _write_in_place(layout)
    buffers = list({id(b): b for b, _ in layout.where.values()}.values())
    places, size = arena.place([_life(layout, b) for b in buffers])
    start = {id(b): p for b, p in zip(buffers, places, strict=True)}
    offsets = {key: start[id(b)] + shift for key, (b, shift) in layout.where.items()}
    return Memory(layout.steps, offsets, size, layout.strides)


def _life(layout: Layout, buffer: Buffer) -> arena.Life:
    uses = [i for m in buffer.members for i in layout.uses(m)]
    first, last = min(uses, default=0), max(uses, default=0)
    # A user writes inputs before a run, may do so once for many, and reads outputs after it.
    if any(id(m) in layout.inputs or m.state for m in buffer.members):
        first, last = 0, len(layout.steps)
    if any(id(m) in layout.outputs for m in buffer.members):
        last = len(layout.steps)
    return arena.Life(buffer.size, first, last)
