"""BATCH_MATMUL and the 8-bit pieces of layer normalisation against LiteRT, both roundings."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import ROUNDINGS, compare, feeds_of, single, tensor

from edgeinfer.engine import ops
from edgeinfer.engine.tensor import Tensor
from edgeinfer.errors import UnsupportedError

_BATCHES = [((), ()), ((3,), (3,)), ((2, 3), ()), ((1, 2), (4, 1)), ((2,), (5, 2))]


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_batch_matmul(dtype: str, rounding: str) -> None:
    rng = np.random.default_rng(len(dtype))
    for trial in range(20):
        m, k, n = (int(v) for v in rng.integers(1, 40, 3))
        left, right = _BATCHES[trial % len(_BATCHES)]
        adj_x, adj_y = bool(trial & 1), bool(trial & 2)
        shapes = {
            "a": (*left, *((k, m) if adj_x else (m, k))),
            "b": (*right, *((n, k) if adj_y else (k, n))),
            "y": (*np.broadcast_shapes(left, right), m, n),
        }
        scales = {"a": 0.05, "b": 0.03, "y": float(rng.uniform(0.02, 0.2)) * k**0.5}
        quants = {
            name: (scale, int(rng.integers(-128, 128))) if dtype == "int8" else None
            for name, scale in scales.items()
        }
        a, b, y = (tensor(name, shapes[name], dtype, quants[name]) for name in shapes)
        graph = single("BATCH_MATMUL", [a, b], [y], adj_x=adj_x, adj_y=adj_y)
        compare(graph, feeds_of(rng, graph), rounding, (trial, a, b, y))


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_squared_difference_of_every_pair_of_bytes(rounding: str) -> None:
    rng = np.random.default_rng(7)
    every = np.arange(256, dtype=np.uint8).view(np.int8)
    feeds = {"a": np.repeat(every, 256).reshape(256, 256), "b": np.tile(every, (256, 1))}
    for trial in range(4):
        zeros = rng.integers(-128, 128, 3)
        scales = rng.uniform(0.01, 0.1), rng.uniform(0.001, 0.1), rng.uniform(0.01, 1)
        a, b, y = (
            tensor(name, (256, 256), "int8", (float(np.float32(s)), int(z)))
            for name, s, z in zip("aby", scales, zeros, strict=True)
        )
        graph = single("SQUARED_DIFFERENCE", [a, b], [y])
        compare(graph, feeds, rounding, (trial, a, b, y))


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_rsqrt_of_every_byte(rounding: str) -> None:
    rng = np.random.default_rng(8)
    feeds = {"x": np.arange(256, dtype=np.uint8).view(np.int8).reshape(1, 256)}
    for trial in range(12):
        x = tensor("x", (1, 256), "int8", (float(np.float32(2.0 ** rng.uniform(-16, 2))), -128))
        scale = float(np.float32(float(x.scale) ** -0.5 * rng.uniform(0.001, 0.02)))
        y = tensor("y", (1, 256), "int8", (scale, int(rng.integers(-128, 0))))
        compare(single("RSQRT", [x], [y]), feeds, rounding, (trial, x, y))


def test_refused_by_name() -> None:
    x = tensor("x", (1, 4), "int8", (0.1, 0))
    with pytest.raises(UnsupportedError, match="zero point must be the least"):
        _lower("RSQRT", [x], (1, 4))
    a, b = tensor("a", (2, 3), "float32"), tensor("b", (4, 5), "float32")
    with pytest.raises(UnsupportedError, match="do not fit"):
        _lower("BATCH_MATMUL", [a, b], (2, 5))


def _lower(op: str, inputs: list[Tensor], shape: tuple[int, ...]) -> None:
    out = tensor("y", shape, inputs[0].dtype, (0.1, 0) if inputs[0].dtype == "int8" else None)
    ops.lower(single(op, inputs, [out]).nodes[0], ops.Context("xnnpack"))
