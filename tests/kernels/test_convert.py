"""QUANTIZE, DEQUANTIZE, CAST and the copies against LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import ROUNDINGS, bytes_of, compare, feeds_of, ours, single, tensor

from edgeinfer.engine.tensor import Quantisation

SHAPE = (1, 3, 16, 8)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_quantize_floats(dtype: str, rounding: str) -> None:
    rng = np.random.default_rng(2)
    for zero in (-128, 0, 127) if dtype != "uint8" else (0, 128, 255):
        scale = float(np.float32(rng.uniform(0.001, 2)))
        zero = zero if dtype != "int16" else 0
        x, y = tensor("x", SHAPE, "float32"), tensor("y", SHAPE, dtype, (scale, zero))
        steps = rng.uniform(-300, 300, SHAPE).round(1) * scale  # many near a half
        compare(single("QUANTIZE", [x], [y]), {"x": steps.astype(np.float32)}, rounding)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("types", [(a, b) for a in ("int8", "uint8") for b in ("int8", "uint8")])
def test_requantise_eight_bit(types: tuple[str, str], rounding: str) -> None:
    rng = np.random.default_rng(3)
    ends = {"int8": (-128, 127), "uint8": (0, 255)}
    for _ in range(10):
        pairs = [
            (float(np.float32(2.0 ** rng.uniform(-8, 3))), int(rng.integers(*ends[t])))
            for t in types
        ]
        x, y = (tensor(n, SHAPE, t, p) for n, t, p in zip("xy", types, pairs, strict=True))
        compare(single("QUANTIZE", [x], [y]), {"x": bytes_of(rng, x)}, rounding, pairs)


WIDE = [
    ("int16", "int8"), ("int16", "int16"), ("int16", "int32"),
    ("int32", "int8"), ("int32", "int16"), ("int8", "int16"), ("uint8", "int16"),
]  # fmt: skip


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("types", WIDE)
def test_requantise_wide(types: tuple[str, str], rounding: str) -> None:
    rng = np.random.default_rng(4)
    for scales in ((0.01, 0.02), (0.5, 0.003), (0.25, 0.25)):
        x = tensor("x", SHAPE, types[0], (scales[0], 0))
        y = tensor("y", SHAPE, types[1], (scales[1], 0))
        graph = single("QUANTIZE", [x], [y])
        feeds = feeds_of(rng, graph)
        if types[0] == "int32":  # products beyond int32 are LiteRT's undefined behaviour
            feeds = {"x": (feeds["x"] // 2**12).astype(np.int32)}
        compare(graph, feeds, rounding, scales)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float16"])
def test_dequantize(dtype: str, rounding: str) -> None:
    rng = np.random.default_rng(5)
    quant = None if dtype == "float16" else (0.037, 0 if dtype == "int16" else 7)
    graph = single(
        "DEQUANTIZE", [tensor("x", SHAPE, dtype, quant)], [tensor("y", SHAPE, "float32")]
    )
    if dtype == "float16":
        bits = rng.integers(0, 2**16, SHAPE).astype(np.uint16)
        bits[0, 0, 0, :4] = [0, 0x8000, 1, 0x7BFF]  # zeros, the least subnormal, the greatest
        feed = bits.view(np.float16)
        feed = np.where(np.isfinite(feed), feed, np.float16(1))
        got = ours(graph, {"x": feed}, rounding)[0]
        np.testing.assert_array_equal(got, feed.astype(np.float32))
    else:
        compare(graph, feeds_of(rng, graph), rounding)


def test_dequantize_per_channel() -> None:
    rng = np.random.default_rng(6)
    quant = Quantisation(rng.uniform(0.01, 1, 16).astype(np.float32), np.zeros(16, np.int32), 2)
    graph = single(
        "DEQUANTIZE", [tensor("x", SHAPE, "int8", quant)], [tensor("y", SHAPE, "float32")]
    )
    compare(graph, feeds_of(rng, graph), "tflite")


KINDS = ("float32", "int8", "uint8", "int16", "int32", "int64", "bool")


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
def test_cast(source: str, target: str) -> None:
    rng = np.random.default_rng(7)
    graph = single("CAST", [tensor("x", (4, 9), source)], [tensor("y", (4, 9), target)])
    feeds = feeds_of(rng, graph)
    if source == "float32":  # out of range is undefined in LiteRT
        limit = 200 if target == "uint8" else 100
        feeds = {"x": np.abs(rng.uniform(-limit, limit, (4, 9))).astype(np.float32)}
    compare(graph, feeds, "xnnpack")


def test_cast_saturates_where_c_is_undefined() -> None:
    graph = single("CAST", [tensor("x", (5,), "float32")], [tensor("y", (5,), "int32")])
    feed = np.array([np.nan, np.inf, -np.inf, 3e9, -1.9], np.float32)
    got = ours(graph, {"x": feed}, "xnnpack")[0]
    assert got.tolist() == [0, 2**31 - 1, -(2**31), 2**31 - 1, -1]
