"""UNIDIRECTIONAL_SEQUENCE_LSTM: float, and the integer form with a 16-bit cell state.

Source of the integer form: TFLite kernels/unidirectional_sequence_lstm.cc (preparation) and
lstm_eval.cc, EvalInteger8x8_16. Peepholes, projection, layer normalisation and coupled gates are
refused by name.

The integer form is equal to LiteRT 2.3 to the bit under both roundings, states included; the float
form lies within 1e-5 (tests/kernels/test_recurrent.py). With 8-bit weights under float activations
(hybrid) we compute in float, where LiteRT quantises the activations in every run.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import Node
from ..tensor import Tensor
from . import Context, Step, rule
from .checks import expect_rank, expect_shape, expect_types, made, refuse
from .tables import quantize_multiplier

#: Optional inputs of the operator that we do not take.
_OPTIONAL = {
    **dict.fromkeys((9, 10, 11), "peephole weights"),
    **dict.fromkeys((16, 17), "a projection"),
    **dict.fromkeys((20, 21, 22, 23), "layer normalisation"),
}
_GATE_SCALE = 2.0**-12
_NO_FIXED: dict[str, Any] = {
    "cell_clip_q": 0, "cell_scale_log2": -12,
    "input_multiplier": [0] * 4, "input_shift": [0] * 4,
    "recurrent_multiplier": [0] * 4, "recurrent_shift": [0] * 4,
    "hidden_multiplier": 0, "hidden_shift": 0, "hidden_zero": 0,
}  # fmt: skip


@rule("UNIDIRECTIONAL_SEQUENCE_LSTM")
def lstm(node: Node, ctx: Context) -> Step:
    """x [batch, time, depth], gate weights, biases, two states -> [batch, time, units]."""
    x, out = node.input(0), node.outputs[0]
    _check(node, x, out)
    state, cell = node.input(18), node.input(19)
    gates = [node.input(i) for i in (*range(1, 9), *range(12, 16))]
    values: dict[str, Any] = {
        **_NO_FIXED,
        "time_major": int(node.attrs.get("time_major", False)),
        "cell_clip": float(node.attrs.get("cell_clip", 0.0)),
    }
    if x.dtype == "int8":
        values |= _integer(node, x, gates, state, cell)
    units, depth = node.input(1).shape
    rows = x.count // depth
    weights = [_side_by_side("weights", node, gates[i : i + 4]) for i in (0, 4, 8)]
    inputs: list[Tensor | None] = [x, *weights, state, cell]
    macs = 4 * rows * units * (depth + units)
    return Step("LSTM", inputs, [out], "lstm", values, macs=macs)


def _check(node: Node, x: Tensor, out: Tensor) -> None:
    expect_types(node, x, ("float32", "int8"))
    expect_rank(node, x, (3,))
    if x.dtype != out.dtype:
        raise refuse(node, f"{x} and {out} differ in type")
    for i, what in _OPTIONAL.items():
        if node.optional(i) is not None:
            raise refuse(node, f"it uses {what} (input {i}), which no kernel of ours has")
    if node.optional(1) is None:
        raise refuse(node, "coupled input and forget gates, which no kernel of ours has")
    activation = node.attrs.get("fused_activation_function", "TANH")
    if activation != "TANH":
        raise refuse(node, f"activation {activation}; ours is TANH")
    if not (node.input(18).state and node.input(19).state):
        raise refuse(node, "its states are not variable tensors")
    units, depth = node.input(1).shape
    for i in range(1, 9):
        expect_types(node, node.input(i), (x.dtype,))
        expect_shape(node, node.input(i), (units, depth if i < 5 else units))
    if x.shape[2] != depth:
        expect_shape(node, x, (*x.shape[:2], depth))
    expect_shape(node, out, (*x.shape[:2], units))


def _integer(
    node: Node, x: Tensor, gates: list[Tensor], state: Tensor, cell: Tensor
) -> dict[str, Any]:
    if cell.dtype != "int16" or cell.scale <= 0:
        raise refuse(node, f"cell state {cell}; ours is int16 with a power of two as its scale")
    log2 = round(math.log2(cell.scale))
    if not math.isclose(2.0**log2, cell.scale, rel_tol=1e-6) or not -15 <= log2 <= -9:
        raise refuse(node, f"cell state scale {cell.scale}; it must be a power of two, 2^-15..2^-9")
    inputs = [quantize_multiplier(x.scale * w.scale / _GATE_SCALE) for w in gates[:4]]
    recurrent = [quantize_multiplier(state.scale * w.scale / _GATE_SCALE) for w in gates[4:8]]
    hidden_scale, hidden_zero = _hidden(node, state)
    hidden = quantize_multiplier(2.0**-15 / hidden_scale * 2.0**-15)
    clip = float(node.attrs.get("cell_clip", 0.0))
    return {
        "cell_scale_log2": log2,
        "cell_clip_q": int(min(max(clip / cell.scale, -32768.0), 32767.0)) if clip > 0 else 0,
        "input_multiplier": [m for m, _ in inputs],
        "input_shift": [s for _, s in inputs],
        "recurrent_multiplier": [m for m, _ in recurrent],
        "recurrent_shift": [s for _, s in recurrent],
        "hidden_multiplier": hidden[0],
        "hidden_shift": hidden[1],
        "hidden_zero": hidden_zero,
    }


def _hidden(node: Node, state: Tensor) -> tuple[float, int]:
    """Scale and zero point of output gate * tanh(cell): of the fifth intermediate, if given."""
    intermediates = node.attrs.get("intermediates") or []
    if len(intermediates) > 4 and intermediates[4].quant is not None:
        return intermediates[4].scale, intermediates[4].zero
    return state.scale, state.zero


def _side_by_side(name: str, node: Node, parts: list[Tensor]) -> Tensor:
    """The gates' matrices [units, n] as [n, 4 * units], their biases [units] as [4 * units]."""
    data = [t.data for t in parts if t.constant and t.data is not None]
    if len(data) != 4:
        raise refuse(node, "weights that are computed at run time; they must be constants")
    joined = np.ascontiguousarray(np.concatenate(data, axis=0).T)
    return made(name, joined)
