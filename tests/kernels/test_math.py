"""Arithmetic of two tensors, pooling and reductions against LiteRT, both roundings."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from oracle import ROUNDINGS, bytes_of, compare, const, feeds_of, ours, single, tensor, values

from edgeinfer.engine import ops
from edgeinfer.engine.tensor import Tensor, per_tensor
from edgeinfer.errors import UnsupportedError
from tests.models import Maker

EIGHT = ("int8", "uint8")
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
#: Pairs that broadcast: equal, a scalar, a row, a column, both sides, more and fewer dimensions.
SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((1, 4, 5, 8), (1, 4, 5, 8)),
    ((1, 4, 5, 8), ()),
    ((3, 1), (1, 40)),
    ((1, 4, 5, 8), (8,)),
    ((1, 1, 1, 8), (2, 4, 5, 8)),
    ((2, 4, 5, 1), (2, 4, 5, 8)),
    ((2, 1, 5, 8), (2, 4, 1, 8)),
    ((33,), (33,)),
    ((1,), (2, 3)),
]


def _quant(rng: np.random.Generator, dtype: str) -> tuple[float, int]:
    """A scale of any size and a zero point anywhere, often at an end of the range."""
    low = int(np.iinfo(dtype).min)
    zero = rng.choice([low, low + 255, low + 128, int(rng.integers(low, low + 256))])
    return float(np.float32(2.0 ** rng.uniform(-6, 2))), int(zero)


def _pair(rng: np.random.Generator, dtype: str, a: Any, b: Any) -> list[Tensor]:
    """Operands named a and b and their sum's shape named y, unquantised where float."""
    shapes = {"a": a, "b": b, "y": np.broadcast_shapes(a, b)}
    eight = dtype in EIGHT
    return [tensor(n, s, dtype, _quant(rng, dtype) if eight else None) for n, s in shapes.items()]


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", EIGHT)
@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL"])
def test_eight_bit_arithmetic(op: str, dtype: str, rounding: str) -> None:
    rng = np.random.default_rng([len(dtype), len(rounding), ord(op[0])])
    for trial in range(24):
        a, b, y = _pair(rng, dtype, *SHAPES[trial % len(SHAPES)])
        graph = single(op, [a, b], [y], fused_activation_function=ACTIVATIONS[trial % 4])
        compare(graph, feeds_of(rng, graph), rounding, (trial, a, b, y))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", EIGHT)
@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL"])
def test_every_pair_of_bytes(op: str, dtype: str, rounding: str) -> None:
    rng = np.random.default_rng([len(dtype), len(rounding), ord(op[0]), 1])
    every = np.arange(256, dtype=np.uint8).view(dtype)
    feeds = {"a": np.repeat(every, 256).reshape(256, 256), "b": np.tile(every, (256, 1))}
    for trial in range(4):
        a, b, y = _pair(rng, dtype, (256, 256), (256, 256))
        graph = single(op, [a, b], [y], fused_activation_function="NONE")
        compare(graph, feeds, rounding, (trial, a, b, y))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL"])
def test_constant_operand(op: str, rounding: str) -> None:
    """The second, then the first operand a constant."""
    rng = np.random.default_rng(4)
    for trial in range(4):
        a, b, y = _pair(rng, "int8", (1, 4, 5, 8), (8,))
        b.data = values(rng, b)
        operands = [b, a] if trial % 2 else [a, b]
        graph = single(op, operands, [y], fused_activation_function="NONE")
        compare(graph, feeds_of(rng, graph), rounding, (trial, a, b, y))


FLOATS = ["ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "POW"]


@pytest.mark.parametrize("op", FLOATS)
def test_float_arithmetic(op: str) -> None:
    rng = np.random.default_rng(len(op))
    for trial, (left, right) in enumerate(SHAPES):
        a, b, y = _pair(rng, "float32", left, right)
        attrs = {}
        if op in ("ADD", "SUB", "MUL", "DIV"):
            attrs["fused_activation_function"] = ACTIVATIONS[trial % 4]
        graph = single(op, [a, b], [y], **attrs)
        feeds = feeds_of(rng, graph)
        if op == "POW":
            feeds = {"a": np.abs(feeds["a"]), "b": np.clip(feeds["b"], -3, 3)}
        compare(graph, feeds, ROUNDINGS[trial % 2], (left, right))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", EIGHT)
@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL"])
def test_a_tensor_with_itself(op: str, dtype: str, rounding: str) -> None:
    """Scales that are powers of two make ties: XNNPACK squares by another rounding."""
    rng = np.random.default_rng(3)
    for trial, activation in enumerate(ACTIVATIONS * 3):
        zeros = rng.integers(0, 256, 2) + int(np.iinfo(dtype).min)
        scale = 2.0 ** -float(rng.integers(0, 6))
        step = (scale**2 if op == "MUL" else scale) * 2.0 ** float(rng.integers(1, 7))
        x = tensor("x", (1, 2, 128), dtype, (scale, int(zeros[0])))
        y = tensor("y", (1, 2, 128), dtype, (step, int(zeros[1])))
        graph = single(op, [x, x], [y], fused_activation_function=activation)
        compare(graph, {"x": bytes_of(rng, x)}, rounding, (trial, activation))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("activation", ["NONE", "RELU"])
@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL", "MAX_POOL_2D", "RELU"])
def test_squares_of_what_another_operator_makes(op: str, activation: str, shared: bool) -> None:
    """XNNPACK computes a product where it has joined a clamp to it."""
    make = Maker("int8", 3)
    x = make.input("x", (1, 4, 16, 4))
    if op == "RELU":
        p = make.unary(x, op)
    elif op == "MAX_POOL_2D":
        p = make.pool(x, op, 1, 1, activation=activation)
    else:
        p = make.add(x, make.input("z", x.shape), op, activation)
        p.quant = per_tensor(1 / 32, -18)
    y = make.add(p, p, "MUL")
    y.quant = per_tensor(p.scale**2 * 128, -9)
    graph = make.graph(y, p) if shared else make.graph(y)
    compare(graph, {n: bytes_of(make.rng, t) for n, t in graph.inputs.items()}, "xnnpack", op)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", EIGHT)
@pytest.mark.parametrize("op", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
def test_limits_of_pools_halfway_between_steps(op: str, dtype: str, rounding: str) -> None:
    rng = np.random.default_rng(5)
    windows = ((2, 1), (2, 2), (1, 1), (1, 2), (2, 3), (3, 2))
    cases = itertools.product((4.0, 0.75, 2.0), (10, 11), ACTIVATIONS, windows)
    for scale, zero, activation, (size, stride) in cases:
        zero += int(np.iinfo(dtype).min)
        out = -(-4 // stride)
        x = tensor("x", (1, 4, 4, 17), dtype, (scale, zero))
        y = tensor("y", (1, out, out, 17), dtype, (scale, zero))
        attrs = {"padding": "SAME", "stride_h": stride, "stride_w": stride}
        attrs |= {"filter_height": size, "filter_width": size}
        attrs["fused_activation_function"] = activation
        graph = single(op, [x], [y], **attrs)
        compare(graph, {"x": bytes_of(rng, x)}, rounding, (scale, zero, activation, size, stride))


@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM"])
def test_int32_arithmetic(op: str) -> None:
    rng = np.random.default_rng(len(op))
    for left, right in SHAPES[:7]:
        a, b, y = _pair(rng, "int32", left, right)
        attrs = {} if op[:2] in ("MA", "MI") else {"fused_activation_function": "NONE"}
        feeds = {t.name: rng.integers(-40000, 40000, t.shape).astype(np.int32) for t in (a, b)}
        feeds["b"] = np.where(feeds["b"] == 0, 7, feeds["b"])
        compare(single(op, [a, b], [y], **attrs), feeds, "xnnpack", (left, right))


def test_int32_arithmetic_wraps_and_never_traps() -> None:
    """The smallest int32 divided by -1 and a division by zero end processes elsewhere."""
    a, b, y = (tensor(n, (3,), "int32") for n in "aby")
    low = -(2**31)
    feeds = {"a": np.array([low, 5, 7], np.int32), "b": np.array([-1, 0, -2], np.int32)}
    node = single("DIV", [a, b], [y], fused_activation_function="NONE")
    assert ours(node, feeds, "xnnpack")[0].tolist() == [low, 0, -3]
    node = single("ADD", [a, b], [y], fused_activation_function="NONE")
    assert ours(node, feeds, "xnnpack")[0].tolist() == [2**31 - 1, 5, 5]


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", EIGHT)
@pytest.mark.parametrize("op", ["MAXIMUM", "MINIMUM"])
def test_eight_bit_extremes_of_two(op: str, dtype: str, rounding: str) -> None:
    rng = np.random.default_rng(2)
    for left, right in SHAPES:
        quant = _quant(rng, dtype)
        names = {"a": left, "b": right, "y": np.broadcast_shapes(left, right)}
        a, b, y = (tensor(n, s, dtype, quant) for n, s in names.items())
        graph = single(op, [a, b], [y])
        compare(graph, feeds_of(rng, graph), rounding, (left, right))


#: size, stride, padding, shape
POOLS = [
    (2, 2, "VALID", (1, 6, 8, 5)),
    (3, 2, "SAME", (2, 7, 6, 16)),
    (3, 1, "SAME", (1, 5, 5, 3)),
    (5, 3, "VALID", (1, 11, 9, 17)),
    (2, 1, "SAME", (1, 4, 4, 8)),
    (7, 7, "VALID", (1, 7, 7, 32)),
]


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", ["float32", *EIGHT])
@pytest.mark.parametrize("op", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
def test_pools(op: str, dtype: str, rounding: str) -> None:
    rng = np.random.default_rng(len(op))
    for trial, (size, stride, padding, shape) in enumerate(POOLS * 2):
        quant = None if dtype == "float32" else _quant(rng, dtype)
        out = [-(-d // stride) if padding == "SAME" else (d - size) // stride + 1 for d in shape]
        x = tensor("x", shape, dtype, quant)
        y = tensor("y", (shape[0], out[1], out[2], shape[3]), dtype, quant)
        attrs = {
            "padding": padding, "stride_w": stride, "stride_h": stride, "filter_width": size,
            "filter_height": size, "fused_activation_function": ACTIVATIONS[(trial // 2) % 4],
        }  # fmt: skip
        graph = single(op, [x], [y], **attrs)
        compare(graph, feeds_of(rng, graph), rounding, (trial, attrs, quant))


#: shape, axes
REDUCTIONS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((1, 7, 7, 16), (1, 2)),
    ((2, 4, 3, 5), (1, 2)),
    ((2, 4, 3, 5), (3,)),
    ((2, 4, 3, 5), (-1, -2)),
    ((2, 4, 3, 5), (0,)),
    ((3, 4, 5), (1,)),
    ((6, 9), (0, 1)),
    ((1, 1, 1, 12), (1, 2)),
    ((1, 8, 1, 12), (1, 2)),
]


def _reduced(shape: tuple[int, ...], axes: tuple[int, ...], keep: bool) -> tuple[int, ...]:
    gone = {a % len(shape) for a in axes}
    return tuple(1 if i in gone else d for i, d in enumerate(shape) if keep or i not in gone)


#: LiteRT's reference SUM takes int8 for uint8: see test_exact.py.
_SUMS = [(o, d, r) for o in ("MEAN", "SUM") for d in EIGHT for r in ROUNDINGS]
_SUMS.remove(("SUM", "int8", "tflite"))


@pytest.mark.parametrize(("op", "dtype", "rounding"), _SUMS)
def test_eight_bit_sums(op: str, dtype: str, rounding: str) -> None:
    rng = np.random.default_rng([len(op), len(dtype)])
    for trial in range(4 * len(REDUCTIONS)):
        shape, axes = REDUCTIONS[trial % len(REDUCTIONS)]
        keep = bool(trial % 2)
        quant = _quant(rng, dtype)
        out = quant if trial % 3 == 0 else _quant(rng, dtype)
        x = tensor("x", shape, dtype, quant)
        y = tensor("y", _reduced(shape, axes, keep), dtype, out)
        graph = single(op, [x, const("axes", axes)], [y], keep_dims=keep)
        compare(graph, feeds_of(rng, graph), rounding, (trial, shape, axes, quant, out))


_PLAIN = ("float32", "int32")
_REDUCE = [(o, d) for o in ("MEAN", "SUM", "REDUCE_PROD") for d in _PLAIN]
_REDUCE += [(o, d) for o in ("REDUCE_MAX", "REDUCE_MIN") for d in (*_PLAIN, *EIGHT)]


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(("op", "dtype"), _REDUCE)
def test_reductions(op: str, dtype: str, rounding: str) -> None:
    rng = np.random.default_rng(len(op))
    for trial, (shape, axes) in enumerate(REDUCTIONS):
        keep = bool(trial % 2)
        quant = _quant(rng, dtype) if dtype in EIGHT else None
        x = tensor("x", shape, dtype, quant)
        y = tensor("y", _reduced(shape, axes, keep), dtype, quant)
        graph = single(op, [x, const("axes", axes)], [y], keep_dims=keep)
        feeds = feeds_of(rng, graph)
        if op == "REDUCE_PROD" or dtype == "int32":
            feeds = {"x": rng.integers(-9, 10, shape).astype(dtype)}
        compare(graph, feeds, rounding, (shape, axes))


def test_refusals_name_the_rule() -> None:
    x, y = tensor("x", (2, 3, 4), "float32"), tensor("y", (3,), "float32")
    node = single("MEAN", [x, const("axes", [0, 2])], [y], keep_dims=False).nodes[0]
    with pytest.raises(UnsupportedError, match="not neighbours"):
        ops.lower(node, ops.Context())
    a, b = tensor("a", (4,), "int8", (1.0, 0)), tensor("b", (4,), "int8")
    node = single("ADD", [a, b], [tensor("y", (4,), "int8", (1.0, 0))]).nodes[0]
    with pytest.raises(UnsupportedError, match="one positive scale"):
        ops.lower(node, ops.Context())
