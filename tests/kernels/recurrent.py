"""Graphs of one LSTM, with random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from oracle import tensor

from edgeinfer.engine.graph import Graph, Node
from edgeinfer.engine.tensor import Quantisation, Tensor, per_tensor

DEPTH, UNITS, TIME = 5, 7, 3


def _constant(name: str, data: np.ndarray, quant: Quantisation | None = None) -> Tensor:
    return Tensor(name, data.shape, str(data.dtype), quant, data)


def _state(name: str, dtype: str, batch: int, quant: Quantisation | None) -> Tensor:
    data = np.full((batch, UNITS), 0 if quant is None else int(quant.zero[0]), dtype)
    return Tensor(name, data.shape, dtype, quant, data, state=True)


def _float_weights(rng: np.random.Generator) -> list[Tensor]:
    """Four input matrices, four recurrent ones, four biases."""
    shapes = [(UNITS, DEPTH)] * 4 + [(UNITS, UNITS)] * 4 + [(UNITS,)] * 4
    return [
        _constant(f"w{i}", rng.uniform(-1, 1, s).astype(np.float32)) for i, s in enumerate(shapes)
    ]


def _int8_weights(rng: np.random.Generator, x: Quantisation) -> list[Tensor]:
    found = []
    for i in range(8):
        data = rng.integers(-127, 128, (UNITS, DEPTH if i < 4 else UNITS)).astype(np.int8)
        quant = per_tensor(float(rng.uniform(0.002, 0.02)), 0)
        found.append(_constant(f"w{i}", data, quant))
    for i in range(4):
        assert found[i].quant is not None
        quant = per_tensor(float(x.scale[0]) * found[i].scale, 0)
        found.append(_constant(f"b{i}", rng.integers(-9000, 9000, UNITS).astype(np.int32), quant))
    return found


def lstm(dtype: str, seed: int, batch: int = 1, cell_bits: int = 11, **attrs: Any) -> Graph:
    """UNIDIRECTIONAL_SEQUENCE_LSTM of "x" [batch, TIME, DEPTH] to "y" [batch, TIME, UNITS].

    `dtype` is "float32" or "int8" (cell state int16 of scale 2^-cell_bits); `attrs` are options of
    the node. The states are tensors of the graph.
    """
    rng = np.random.default_rng(seed)
    x_quant = out_quant = cell_quant = inner = None
    if dtype == "int8":
        x_quant = per_tensor(float(rng.uniform(0.005, 0.05)), int(rng.integers(-128, 128)))
        out_quant = per_tensor(1 / 128, int(rng.integers(-20, 20)))
        cell_quant = per_tensor(2.0**-cell_bits, 0)
        inner = [tensor(f"i{i}", (0,), "float32") for i in range(4)]
        inner.append(tensor("hidden", (0,), "int8", out_quant))
    shape = (TIME, batch) if attrs.get("time_major") else (batch, TIME)
    x = tensor("x", (*shape, DEPTH), dtype, x_quant)
    weights = _float_weights(rng) if x_quant is None else _int8_weights(rng, x_quant)
    hidden = _state("hidden_state", dtype, batch, out_quant)
    cell = _state("cell_state", "int16" if x_quant else "float32", batch, cell_quant)
    inputs = [x, *weights[:8], None, None, None, *weights[8:], None, None, hidden, cell]
    y = tensor("y", (*shape, UNITS), dtype, out_quant)
    options = {"fused_activation_function": "TANH", "cell_clip": 0.0, "proj_clip": 0.0} | attrs
    if inner:
        options["intermediates"] = inner
    node = Node("UNIDIRECTIONAL_SEQUENCE_LSTM", [*inputs, *[None] * 4], [y], options, "lstm")
    return Graph("one", [node], {"x": x}, {"y": y})
