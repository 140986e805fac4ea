"""Activations against LiteRT: every 8-bit value under random quantisation, floats within 1e-5."""

from __future__ import annotations

import math

import numpy as np
import pytest
from oracle import (
    ROUNDINGS,
    bytes_of,
    compare,
    feeds_of,
    litert,
    ours,
    single,
    tensor,
    values,
)

from edgeinfer.engine import ops
from edgeinfer.engine.ops import tables
from edgeinfer.errors import UnsupportedError

EIGHT = ("int8", "uint8")
SHAPE = (1, 4, 10, 8)


def _quant(rng: np.random.Generator, dtype: str) -> tuple[float, int]:
    """A scale of any size and a zero point anywhere, often at an end of the range."""
    low = int(np.iinfo(dtype).min)
    zero = rng.choice([low, low + 255, low + 128, rng.integers(low, low + 256)])
    return float(np.float32(2.0 ** rng.uniform(-8, 2))), int(zero)


def _fixed(op: str, dtype: str) -> tuple[float, int] | None:
    """Output quantisation that LiteRT insists on."""
    low = int(np.iinfo(dtype).min)
    return {
        "LOGISTIC": (1 / 256, low),
        "SOFTMAX": (1 / 256, low),
        "LOG_SOFTMAX": (16 / 256, low + 255),
    }.get(op)


TABLES = [
    *[(op, d) for d in EIGHT for op in ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")],
    *[(op, d) for d in EIGHT for op in ("LEAKY_RELU", "HARD_SWISH", "TANH", "LOGISTIC", "GELU")],
    *[(op, "int8") for op in ("ELU", "ABS", "EXP", "LOG")],
]


#: LiteRT has no reference ELU.
CASES = [(*t, r) for t in TABLES for r in ROUNDINGS if (t[0], r) != ("ELU", "tflite")]


@pytest.mark.parametrize(("op", "dtype", "rounding"), CASES)
def test_eight_bit(op: str, dtype: str, rounding: str) -> None:
    rng = np.random.default_rng([len(op), len(dtype), len(rounding)])
    for trial in range(6):
        x = tensor("x", SHAPE, dtype, _quant(rng, dtype))
        out = _fixed(op, dtype) or (_quant(rng, dtype) if trial else (x.scale, x.zero))
        if op == "HARD_SWISH":  # LiteRT refuses much smaller output scales than the input's
            out = (max(out[0], x.scale / 64), out[1])
            out = (min(out[0], x.scale * 64), out[1])
        attrs = {"alpha": float(np.float32(rng.choice([0.1, 0.01, -0.5, 1.5])))}
        attrs = attrs if op == "LEAKY_RELU" else {"approximate": bool(trial % 2)}
        graph = single(op, [x], [tensor("y", SHAPE, dtype, out)], **attrs)
        compare(graph, {"x": bytes_of(rng, x)}, rounding, (x, out, attrs))


FLOATS = ["RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "LEAKY_RELU", "HARD_SWISH", "TANH"]
FLOATS += ["LOGISTIC", "GELU", "ELU", "ABS", "EXP", "NEG", "SQUARE", "SIN", "COS", "FLOOR", "CEIL"]
FLOATS += ["ROUND", "SOFTMAX", "LOG_SOFTMAX", "SQRT", "RSQRT", "LOG"]


@pytest.mark.parametrize("op", FLOATS)
def test_float(op: str) -> None:
    rng = np.random.default_rng(len(op))
    for approximate in (False, True)[: 2 if op == "GELU" else 1]:
        x, y = tensor("x", SHAPE, "float32"), tensor("y", SHAPE, "float32")
        attrs = {"alpha": 0.2, "approximate": approximate, "beta": 1.0}
        feed = values(rng, x)
        if op in ("SQRT", "RSQRT", "LOG"):
            feed = np.abs(feed)
        if op == "EXP":
            feed = np.minimum(feed, 20)
        compare(single(op, [x], [y], **attrs), {"x": feed}, "xnnpack")


def test_float_small_values_keep_their_relative_accuracy() -> None:
    """Near zero, tanh, logistic and expm1 must not lose digits to cancellation."""
    x, y = tensor("x", (7,), "float32"), tensor("y", (7,), "float32")
    feed = np.array([-20, -10, -1e-4, 1e-30, 1e-4, 10, 20], np.float32)
    wide = feed.astype(np.float64)
    exact = {
        "TANH": np.tanh(wide),
        "LOGISTIC": 1 / (1 + np.exp(-wide)),
        "ELU": np.where(wide < 0, np.expm1(wide), wide),
        "GELU": np.array([0.5 * v * math.erfc(-v / math.sqrt(2)) for v in wide]),
    }
    for op, want in exact.items():
        got = ours(single(op, [x], [y]), {"x": feed}, "xnnpack")[0]
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-37)


@pytest.mark.parametrize("op", ["ABS", "NEG"])
def test_integers(op: str) -> None:
    rng = np.random.default_rng(0)
    graph = single(op, [tensor("x", (3, 5), "int32")], [tensor("y", (3, 5), "int32")])
    feed = rng.integers(-(2**31) + 1, 2**31, (3, 5)).astype(np.int32)
    compare(graph, {"x": feed}, "xnnpack")


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", EIGHT)
@pytest.mark.parametrize("op", ["SOFTMAX", "LOG_SOFTMAX"])
def test_softmax_eight_bit(op: str, dtype: str, rounding: str) -> None:
    rng = np.random.default_rng([len(op), len(dtype), len(rounding)])
    for trial in range(8):
        n = [1, 2, 10, 257, 1001, 33, 4, 90][trial]
        scale = float(np.float32(2.0 ** rng.uniform(-6, 1)))
        x = tensor("x", (5, n), dtype, (scale, 3))
        y = tensor("y", (5, n), dtype, _fixed(op, dtype))
        beta = 1.0 if trial % 2 or op == "LOG_SOFTMAX" else 0.5
        graph = single(op, [x], [y], beta=beta)
        low = int(np.iinfo(dtype).min)
        spread = rng.normal(low + 90, 40, (5, n)).clip(low, low + 255)
        compare(graph, {"x": spread.astype(dtype)}, rounding, (n, scale))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", ["float32", *EIGHT])
def test_prelu(dtype: str, rounding: str) -> None:
    rng = np.random.default_rng(5)
    for shape in ((8,), (1, 1, 8), (10, 8), (1, 4, 10, 8)):
        quants = [None if dtype == "float32" else _quant(rng, dtype) for _ in range(3)]
        alpha = tensor("alpha", shape, dtype, quants[1])
        alpha.data = values(rng, alpha)
        graph = single(
            "PRELU",
            [tensor("x", SHAPE, dtype, quants[0]), alpha],
            [tensor("y", SHAPE, dtype, quants[2])],
        )
        compare(graph, feeds_of(rng, graph), rounding, (shape, quants))


def test_cheapest_step() -> None:
    """The table decides the step: nothing to do, a clamp, a flipped sign or the lookup."""
    ctx = ops.Context("xnnpack")

    def lowered(op: str, a: tuple[str, float, int], b: tuple[str, float, int]) -> str:
        x, y = tensor("x", (4,), a[0], a[1:]), tensor("y", (4,), b[0], b[1:])
        return ops.lower(single(op, [x], [y]).nodes[0], ctx).op

    same = ("int8", 0.5, 3)
    assert lowered("RELU", same, same) == "CLAMP"
    assert lowered("RELU", ("int8", 0.5, -128), ("int8", 0.5, -128)) == "COPY"
    assert lowered("RELU6", same, ("int8", 0.25, 3)) == "LOOKUP"
    assert lowered("QUANTIZE", same, ("uint8", 0.5, 131)) == "FLIP_SIGN"
    assert lowered("QUANTIZE", same, ("uint8", 0.5, 130)) == "LOOKUP"
    assert lowered("QUANTIZE", same, same) == "COPY"


def test_refusals_name_the_rule() -> None:
    x, y = tensor("x", (4, 5000), "int8", (0.1, 0)), tensor("y", (4, 5000), "int8", (1 / 256, -128))
    node = single("SOFTMAX", [x], [y]).nodes[0]
    with pytest.raises(UnsupportedError, match="4096"):
        ops.lower(node, ops.Context("tflite"))
    y.quant = x.quant
    with pytest.raises(UnsupportedError, match="zero point -128"):
        ops.lower(node, ops.Context("xnnpack"))
    bad = single("TANH", [tensor("x", (4,), "int8")], [tensor("y", (4,), "int8", (1 / 128, 0))])
    with pytest.raises(UnsupportedError, match="one scale"):
        ops.lower(bad.nodes[0], ops.Context())
    small = single(
        "HARD_SWISH", [tensor("x", (4,), "int8", (1.0, 0))], [tensor("y", (4,), "int8", (0.001, 0))]
    )
    with pytest.raises(UnsupportedError, match="1/128"):
        ops.lower(small.nodes[0], ops.Context())


def test_fixed_point_helpers() -> None:
    """quantize_multiplier and multiply against exact arithmetic."""
    rng = np.random.default_rng(1)
    for real in 10.0 ** rng.uniform(-6, 3, 200):
        multiplier, shift = tables.quantize_multiplier(float(real))
        assert 2**30 <= multiplier < 2**31
        assert multiplier * 2.0 ** (shift - 31) == pytest.approx(real, rel=2**-30)
        x = int(rng.integers(-255, 256))
        assert abs(tables.multiply(x, multiplier, shift) - x * real) <= 1
    assert tables.quantize_multiplier(0.0) == (0, 0)
    assert [tables.rounding_shift(v, 1) for v in (3, -3, 1, -1)] == [2, -2, 1, -1]


def test_oracle_can_disagree() -> None:
    """The comparison itself: another rounding is noticed."""
    x, y = tensor("x", SHAPE, "int8", (0.1, 5)), tensor("y", SHAPE, "int8", (0.31, -7))
    graph = single("QUANTIZE", [x], [y])
    feed = {"x": bytes_of(np.random.default_rng(0), x)}
    assert (litert(graph, feed, "xnnpack")[0] != ours(graph, feed, "tflite")[0]).any()
