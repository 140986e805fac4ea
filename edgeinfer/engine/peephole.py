"""Sign flips into the tables beside them: the same bytes with two passes over memory less.

A table of 256 bytes takes either sign of its input and gives either sign of its output, so a
FLIP_SIGN before a LOOKUP becomes another order of the entries, one behind it other entries.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from .ops import Step
from .tensor import Tensor


def fuse_flips(steps: list[Step], outputs: list[Tensor]) -> list[Step]:
    """The steps with tables that do the flips beside them; `outputs` must still be written."""
    return _behind(_before(steps), {id(t) for t in outputs})


def _table(step: Step) -> Tensor:
    table = step.inputs[1]
    assert table is not None
    return table


def _with_table(step: Step, data: np.ndarray) -> None:
    old = _table(step)
    step.inputs[1] = Tensor(old.name, old.shape, old.dtype, old.quant, data.reshape(old.shape))


def _bytes(step: Step) -> np.ndarray:
    data = _table(step).data
    assert data is not None
    return data.reshape(-1)


def _before(steps: list[Step]) -> list[Step]:
    """Tables read what a flip read."""
    flips = {id(s.outputs[0]): s for s in steps if s.op == "FLIP_SIGN"}
    for step in steps:
        flip = flips.get(id(step.inputs[0])) if step.op == "LOOKUP" else None
        source = flip.inputs[0] if flip is not None else None
        if source is not None and not source.state:
            step.inputs[0] = source
            _with_table(step, _bytes(step)[np.arange(256) ^ 0x80])
    return steps


def _behind(steps: list[Step], outputs: set[int]) -> list[Step]:
    """Tables write what a flip would, where nobody else reads what they wrote."""
    makers = {id(s.outputs[0]): s for s in steps if s.op == "LOOKUP"}
    readers = Counter(id(t) for s in steps for t in s.inputs if t is not None)
    kept = []
    for step in steps:
        source = step.inputs[0] if step.inputs else None
        table = makers.get(id(source)) if step.op == "FLIP_SIGN" else None
        alone = readers[id(source)] == 1 and id(source) not in outputs
        if table is None or not alone or step.outputs[0].state:
            kept.append(step)
            continue
        table.outputs[0] = step.outputs[0]
        flipped = _bytes(table).view(np.uint8) ^ 0x80
        _with_table(table, flipped.view(_bytes(table).dtype))
    return kept
