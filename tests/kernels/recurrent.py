"""Graphs of one LSTM, with random weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from oracle import tensor

from edgeinfer.engine.graph import Graph, Node
from edgeinfer.engine.tensor import Quantisation, Tensor, per_tensor

DEPTH, UNITS, TIME = 5, 7, 3


def _constant(name: str, data: np.ndarray, quant: Quantisation | None = None) -> Tensor:
    return Tensor(name, data.shape, str(data.dtype), quant, data)


def _state(name: str, dtype: str, shape: tuple[int, int], quant: Quantisation | None) -> Tensor:
    data = np.full(shape, 0 if quant is None else int(quant.zero[0]), dtype)
    return Tensor(name, data.shape, dtype, quant, data, state=True)


def _float_weights(rng: np.random.Generator, depth: int, units: int) -> list[Tensor]:
    """Four input matrices, four recurrent ones, four biases."""
    shapes = [(units, depth)] * 4 + [(units, units)] * 4 + [(units,)] * 4
    size = (DEPTH / max(depth, units)) ** 0.5  # of sums that do not saturate every gate
    return [
        _constant(f"w{i}", rng.uniform(-size, size, s).astype(np.float32))
        for i, s in enumerate(shapes)
    ]


def _int8_weights(
    rng: np.random.Generator, x: Quantisation, depth: int, units: int
) -> list[Tensor]:
    found, size = [], (DEPTH / max(depth, units)) ** 0.5
    for i in range(8):
        data = rng.integers(-127, 128, (units, depth if i < 4 else units)).astype(np.int8)
        quant = per_tensor(float(rng.uniform(0.002, 0.02)) * size, 0)
        found.append(_constant(f"w{i}", data, quant))
    for i in range(4):
        assert found[i].quant is not None
        quant = per_tensor(float(x.scale[0]) * found[i].scale, 0)
        found.append(_constant(f"b{i}", rng.integers(-9000, 9000, units).astype(np.int32), quant))
    return found


def lstm(
    dtype: str, seed: int, batch: int = 1, cell_bits: int = 11,
    size: tuple[int, int, int] = (TIME, DEPTH, UNITS), **attrs: Any,
) -> Graph:  # fmt: skip
    """UNIDIRECTIONAL_SEQUENCE_LSTM of "x" [batch, time, depth] to "y" [batch, time, units].

    `size` is time, depth, units; `dtype` is "float32" or "int8" (cell state int16 of scale
    2^-cell_bits); `attrs` are options of the node. The states are tensors of the graph.
    """
    rng, (time, depth, units) = np.random.default_rng(seed), size
    x_quant = out_quant = cell_quant = inner = None
    if dtype == "int8":
        x_quant = per_tensor(float(rng.uniform(0.005, 0.05)), int(rng.integers(-128, 128)))
        out_quant = per_tensor(1 / 128, int(rng.integers(-20, 20)))
        cell_quant = per_tensor(2.0**-cell_bits, 0)
        inner = [tensor(f"i{i}", (0,), "float32") for i in range(4)]
        inner.append(tensor("hidden", (0,), "int8", out_quant))
    shape = (time, batch) if attrs.get("time_major") else (batch, time)
    x = tensor("x", (*shape, depth), dtype, x_quant)
    made = partial(_float_weights, rng) if x_quant is None else partial(_int8_weights, rng, x_quant)
    weights = made(depth, units)
    hidden = _state("hidden_state", dtype, (batch, units), out_quant)
    cell = _state("cell_state", "int16" if x_quant else "float32", (batch, units), cell_quant)
    inputs = [x, *weights[:8], None, None, None, *weights[8:], None, None, hidden, cell]
    y = tensor("y", (*shape, units), dtype, out_quant)
    options = {"fused_activation_function": "TANH", "cell_clip": 0.0, "proj_clip": 0.0} | attrs
    if inner:
        options["intermediates"] = inner
    node = Node("UNIDIRECTIONAL_SEQUENCE_LSTM", [*inputs, *[None] * 4], [y], options, "lstm")
    return Graph("one", [node], {"x": x}, {"y": y})
