"""Arithmetic of two tensors, pooling and reductions: shapes and requantisation.

Sources of the 8-bit arithmetic. "xnnpack": ADD and SUB src/microparams-init.c (21-bit fixed point,
ties upward), MUL float32 with ties to even, MEAN and SUM src/operators/reduce-nd.c (the same, the
zero points joined in float32 before the one rounding). "tflite": kernels/internal/reference/
integer_ops/add.h, mul.h, mean.h. Pooling is the same in both: AVERAGE_POOL_2D has no quantised form
in the delegate, so the built-in kernel's rounding (ties away from zero) holds.

Exceptions (tests/kernels/test_math.py):

| operator | where | bound |
|---|---|---|
| SUM int8 | "tflite" | LiteRT 2.3's reference takes the bytes for uint8; ours equals what it |
| | | gives for the same real values in uint8 |
| ADD uint8, or broadcast along the last dimension, an input scale below | "xnnpack" | one step in |
| 2^-10 of the output's, or 2^8 times it | | 1 of 10^4 outputs: LiteRT's vector loop truncates |
| ADD, an input scale 2^8 times the output's or more; MUL, their product so | "xnnpack" | results |
| | | beyond 16 bits saturate; LiteRT's built-in vector loops wrap |
| POW, DIV and other float32 operators | both | 1e-5 of the largest magnitude |
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import Node
from ..tensor import Tensor
from . import Context, Step, rule, tables
from .activation import table_step
from .checks import (
    EIGHT_BIT,
    axis_of,
    broadcast_shape,
    expect_rank,
    expect_same,
    expect_shape,
    expect_types,
    integers,
    refuse,
)
from .conv import _windows, activation_limits
from .tables import quantize_multiplier

_F = np.float32
_NO_FIXED = {
    "tflite": 0, "a_multiplier": 0, "a_shift": 0, "b_multiplier": 0, "b_shift": 0,
    "out_multiplier": 0, "out_shift": 0, "shift": 1, "scale": 0.0,
}  # fmt: skip


def _ratios(a: Tensor, b: Tensor, out: Tensor, sign: int) -> dict[str, Any]:
    """XNNPACK's fixed-point form of a * sa/so + b * sb/so."""
    ra, rb = _F(a.scale) / _F(out.scale), _F(b.scale) / _F(out.scale)
    exponent = math.frexp(float(max(ra, rb)))[1] - 1
    shift = 20 - exponent
    fixed = [int(np.rint(np.ldexp(np.float64(r), shift))) for r in (ra, rb)]
    return {**_NO_FIXED, "a_multiplier": fixed[0], "b_multiplier": sign * fixed[1], "shift": shift}


def _doubled(a: Tensor, b: Tensor, out: Tensor) -> dict[str, Any]:
    """TFLite's form: both operands scaled to twice the larger scale, with 20 bits of headroom."""
    twice = 2.0 * max(a.scale, b.scale)
    pairs = [quantize_multiplier(s / twice) for s in (a.scale, b.scale)]
    end = quantize_multiplier(twice / ((1 << 20) * out.scale))
    names = ("a_multiplier", "a_shift", "b_multiplier", "b_shift", "out_multiplier", "out_shift")
    fixed = dict(zip(names, (*pairs[0], *pairs[1], *end), strict=True))
    return {**_NO_FIXED, **fixed, "tflite": 1}


def _squared(a: Tensor, b: Tensor, out: Tensor) -> dict[str, Any]:
    """The same with 7 bits of headroom, squared (kernels/squared_difference.cc)."""
    twice = 2.0 * max(a.scale, b.scale)
    end = quantize_multiplier(twice * twice / ((1 << 14) * out.scale))
    return _doubled(a, b, out) | {"out_multiplier": end[0], "out_shift": end[1]}


def delegated(node: Node, a: Tensor, b: Tensor, out: Tensor) -> bool:
    """Whether LiteRT's delegate takes the scales (xnnpack_delegate.cc, VisitBinaryNode); if not,
    the built-in kernel runs."""
    if node.op == "MUL":
        return bool(2.0**-16 <= _F(a.scale) * _F(b.scale) / _F(out.scale) < 256)
    return all(2.0**-10 <= _F(t.scale) / _F(out.scale) < 256 for t in (a, b))


def _expect_scales(node: Node, *tensors: Tensor) -> None:
    for tensor in tensors:
        if tensor.quant is None or tensor.quant.per_channel or tensor.scale <= 0:
            raise refuse(node, f"{tensor} needs one positive scale")


def _fixed(node: Node, a: Tensor, b: Tensor, out: Tensor, rounding: str) -> dict[str, Any]:
    if node.op == "MUL":
        real = float(_F(a.scale) * _F(b.scale) / _F(out.scale))
        if rounding == "xnnpack":
            return {**_NO_FIXED, "scale": real}
        multiplier, shift = quantize_multiplier(real)
        return {**_NO_FIXED, "tflite": 1, "out_multiplier": multiplier, "out_shift": shift}
    sign = -1 if node.op == "SUB" else 1
    if rounding == "xnnpack":
        return _ratios(a, b, out, sign)
    doubled = _doubled(a, b, out)
    if all(2.0**-10 <= t.scale / out.scale < 256 for t in (a, b)):
        ratios = _ratios(a, b, out, sign)
        if np.array_equal(_sums(ratios, a, b, out), _doubled_sums(doubled, a, b, out, sign)):
            return ratios  # the same bytes for every pair of bytes, with fewer instructions
    return doubled


def _operands(a: Tensor, b: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of bytes less the zero points, int64 [256, 1] and [1, 256]."""
    every = np.arange(256, dtype=np.uint8)
    first, second = (every.view(t.dtype).astype(np.int64) - t.zero for t in (a, b))
    return first[:, None], second[None, :]


def _sums(fixed: dict[str, Any], a: Tensor, b: Tensor, out: Tensor) -> np.ndarray:
    """XNNPACK's form for every pair of bytes, within the output's type (ref/binary.h)."""
    x, y = _operands(a, b)
    acc = x * fixed["a_multiplier"] + y * fixed["b_multiplier"]
    acc = (acc + (1 << (fixed["shift"] - 1))) >> fixed["shift"]
    return _within(acc + out.zero, out)


def _doubled_sums(
    fixed: dict[str, Any], a: Tensor, b: Tensor, out: Tensor, sign: int
) -> np.ndarray:
    """TFLite's form for every pair of bytes."""
    x, y = (
        tables.multiply_all(v << 20, fixed[f"{side}_multiplier"], fixed[f"{side}_shift"])
        for v, side in zip(_operands(a, b), "ab", strict=True)
    )
    total = x + sign * y
    acc = tables.multiply_all(total, fixed["out_multiplier"], fixed["out_shift"])
    return _within(acc + out.zero, out)


def _within(values: np.ndarray, out: Tensor) -> np.ndarray:
    limits = np.iinfo(out.dtype)
    return np.clip(values, limits.min, limits.max)


def _square(node: Node, x: Tensor, out: Tensor) -> Step:
    """MUL of a tensor with itself: XNNPACK rewrites it to a square, which is a table and rounds its
    ties otherwise (XNNPACK, subgraph.c)."""
    limits = activation_limits(node, out, "xnnpack")
    table = tables.xnnpack_table(lambda v: v * v, x, out).view(out.dtype)
    return table_step(node, np.clip(table, limits["act_min"], limits["act_max"]).view(np.uint8))


@rule("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "POW")
def binary(node: Node, ctx: Context) -> Step:
    """a, b of shapes that broadcast from the right -> their broadcast shape."""
    a, b, out = node.input(0), node.input(1), node.outputs[0]
    arithmetic = node.op in ("ADD", "SUB", "MUL")
    square = node.op == "SQUARED_DIFFERENCE"
    extreme = node.op in ("MAXIMUM", "MINIMUM")
    allowed = ("float32",) if node.op == "POW" else ("float32", "int32")
    expect_types(node, out, (*allowed, *EIGHT_BIT) if arithmetic or extreme or square else allowed)
    if a.dtype != b.dtype or a.dtype != out.dtype:
        raise refuse(node, f"{a}, {b} and {out} differ in type")
    expect_shape(node, out, broadcast_shape(node, a, b))
    fixed, rounding = dict(_NO_FIXED), ctx.rounding
    if out.dtype in EIGHT_BIT and arithmetic:
        _expect_scales(node, a, b, out)
        rounding = rounding if delegated(node, a, b, out) else "tflite"
        if a is b and node.op == "MUL" and rounding == "xnnpack" and node.attrs.get("square", True):
            return _square(node, a, out)
        fixed = _fixed(node, a, b, out, rounding)
    elif out.dtype in EIGHT_BIT and square:
        _expect_scales(node, a, b, out)
        fixed = _squared(a, b, out)
    elif extreme:
        expect_same(node, a, out)
        expect_same(node, b, out)
    values = {**fixed, **activation_limits(node, out, rounding)}
    in_place = 0 if a.shape == out.shape else 1 if b.shape == out.shape else None
    return Step(node.op, [a, b], [out], "binary", values, in_place=in_place)


@rule("MAX_POOL_2D", "AVERAGE_POOL_2D")
def pool(node: Node, ctx: Context) -> Step:
    """x [N,H,W,C] -> [N,OH,OW,C]."""
    x, out, a = node.input(0), node.outputs[0], node.attrs
    expect_rank(node, x, (4,))
    expect_types(node, x, ("float32", *EIGHT_BIT))
    expect_same(node, x, out)
    kernel = a["filter_height"], a["filter_width"]
    # XNNPACK takes MAX_POOL_2D alone, and not where it leaves pixels out.
    gaps = a["stride_h"] > kernel[0] or a["stride_w"] > kernel[1]
    rounding = "tflite" if gaps or node.op != "MAX_POOL_2D" else ctx.rounding
    oh, pt, pb = _windows(node, x.shape[1], kernel[0], a["stride_h"], 1, (0, 0))
    ow, pl, pr = _windows(node, x.shape[2], kernel[1], a["stride_w"], 1, (0, 0))
    expect_shape(node, out, (x.shape[0], oh, ow, x.shape[3]))
    values = {
        "kernel_h": kernel[0], "kernel_w": kernel[1],
        "stride_h": a["stride_h"], "stride_w": a["stride_w"],
        "pad_top": pt, "pad_left": pl, "pad_bottom": pb, "pad_right": pr,
        **activation_limits(node, out, rounding),
    }  # fmt: skip
    return Step(node.op, [x], [out], "pool", values)


def _extents(node: Node, x: Tensor) -> tuple[int, int, int]:
    """x as [outer, reduced, inner]; the reduced axes must be neighbours."""
    rank = len(x.shape)
    axes = sorted({axis_of(node, a, rank) for a in integers(node, 1, "axes")})
    axes = [a for a in axes if x.shape[a] != 1] or axes[:1] or [0]
    if any(x.shape[a] != 1 for a in range(axes[0], axes[-1] + 1) if a not in axes):
        raise refuse(node, f"axes {axes} of {x} are not neighbours; transpose first")
    first, last = axes[0], axes[-1] + 1
    sizes = (x.shape[:first], x.shape[first:last], x.shape[last:])
    outer, reduced, inner = (int(np.prod(s, dtype=np.int64)) for s in sizes)
    return outer, reduced, inner


@rule("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD")
def reduce(node: Node, ctx: Context) -> Step:
    """x, constant axes -> x without them (or with length 1 there)."""
    x, out = node.input(0), node.outputs[0]
    sums = node.op in ("MEAN", "SUM")
    eight = () if node.op == "REDUCE_PROD" else EIGHT_BIT
    expect_types(node, x, ("float32", "int32", *eight))
    if x.dtype != out.dtype:
        raise refuse(node, f"{x} and {out} differ in type")
    outer, reduced, inner = _extents(node, x)
    if out.count != outer * inner:
        expect_shape(node, out, (outer, inner))
    values = {"outer": outer, "reduced": reduced, "inner": inner}
    fixed: dict[str, Any] = {"multiplier": 0, "shift": 0, "scale": 0.0}
    if x.dtype in EIGHT_BIT and sums:
        fixed = _reduction(node, x, out, reduced)
    elif x.dtype in EIGHT_BIT:
        expect_same(node, x, out)
    return Step(node.op, [x], [out], "reduce", values | fixed)


def _reduction(node: Node, x: Tensor, out: Tensor, reduced: int) -> dict[str, Any]:
    """Requantisation of a sum of q - zero; MEAN has the division in its multiplier, as TFLite's
    reference has it (reduce.h: the count is divided out of the multiplier, with more bits)."""
    count = reduced if node.op == "MEAN" else 1
    real = float(np.float64(_F(x.scale)) / np.float64(_F(out.scale)))
    multiplier, shift = quantize_multiplier(real)
    more = min(63 - (64 - count.bit_length()), 32, 31 + shift) if count > 1 else 0
    scale = _F(x.scale) / _F(out.scale) * (_F(1) / _F(count))
    return {
        "multiplier": (multiplier << more) // count,
        "shift": shift - more,
        "scale": float(scale),
    }
