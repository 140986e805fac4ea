"""Activations and elementwise functions of one tensor.

8-bit ones are tables of 256 bytes filled at plan time (tables.py). Which arithmetic fills them is
the one the LiteRT interpreter runs by default (rounding "xnnpack") or its reference kernels
("tflite"): LOGISTIC, TANH, ELU and LEAKY_RELU go to XNNPACK there, the others to TFLite's kernels.

Exceptions
    SOFTMAX 8-bit, "xnnpack": LiteRT sums float exponentials, on AArch64 16-bit integer ones (clang
        builds): ours are the former everywhere. An exp() that differs in its last place can move an
        output that lies on a tie by 1 (none found in 10^6 outputs).
    TANH 8-bit, "xnnpack": about 1 of 10^5 entries of the tables, where LiteRT's tanhf(), its C
        library's, errs in the last place at a tie. LOGISTIC, ELU, GELU, EXP, LOG could differ so,
        too; none found in 2.5 * 10^5 entries of each type and rounding.
    SOFTMAX "tflite": more than 511 equal maxima in a row abort LiteRT's reference; ours gives the
        nearest representable value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ... import _native
from ..graph import Node
from ..tensor import Tensor
from . import Context, Step, rule, tables
from .checks import (
    EIGHT_BIT,
    broadcast_shape,
    expect_same,
    expect_shape,
    expect_types,
    made,
    refuse,
)
from .checks import scalar_quantisation as quantisation

_F = np.float32


def table_step(node: Node, table: np.ndarray) -> Step:
    """The cheapest step that maps in[0] to out[0] by the table: a copy, a flipped sign, a clamp or
    the lookup itself."""
    x, y = node.input(0), node.outputs[0]
    identity = np.arange(256, dtype=np.uint8)
    if np.array_equal(table, identity):
        return Step("COPY", [x], [y], in_place=0)
    if np.array_equal(table, identity ^ 0x80):
        return Step("FLIP_SIGN", [x], [y], in_place=0)
    values = table.view(y.dtype).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if x.dtype == y.dtype and np.array_equal(values, np.clip(tables.domain(x), low, high)):
        limits = {"min": low, "max": high, "fmin": 0.0, "fmax": 0.0}
        return Step("CLAMP", [x], [y], "clamp", limits, in_place=0)
    return Step("LOOKUP", [x, made(f"{y.name}/table", table)], [y], in_place=0)


def _both(node: Node, allowed: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Input and output of an elementwise node: same type and shape; 8-bit ones quantised."""
    x, y = node.input(0), node.outputs[0]
    expect_types(node, x, allowed)
    expect_shape(node, y, x.shape)
    if y.dtype != x.dtype:
        raise refuse(node, f"{x} and {y} differ in type")
    if x.dtype in EIGHT_BIT:
        quantisation(node, x)
        quantisation(node, y)
    return x, y


_RELU = {
    "RELU": (0.0, math.inf),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU_0_TO_1": (0.0, 1.0),
}


@rule(*_RELU)
def relu(node: Node, ctx: Context) -> Step:
    """RELU, RELU6, RELU_N1_TO_1, RELU_0_TO_1; 8-bit with requantisation where scales differ."""
    x, y = _both(node, ("float32", *EIGHT_BIT))
    low, high = _RELU[node.op]
    if x.dtype in EIGHT_BIT:
        return table_step(node, tables.relu_table(x, y, low, high))
    limits = {"min": 0, "max": 0, "fmin": low, "fmax": high}
    return Step("CLAMP", [x], [y], "clamp", limits, in_place=0)


@rule("LEAKY_RELU")
def leaky_relu(node: Node, ctx: Context) -> Step:
    """LEAKY_RELU: x where x >= 0, else alpha * x."""
    x, y = _both(node, ("float32", *EIGHT_BIT))
    alpha = float(node.attrs.get("alpha", 0.0))
    if x.dtype in EIGHT_BIT:
        return table_step(node, tables.leaky_relu_table(x, y, alpha, ctx.rounding))
    return Step("LEAKY_RELU", [x], [y], "leaky_relu", {"alpha": alpha}, in_place=0)


@rule("HARD_SWISH")
def hard_swish(node: Node, ctx: Context) -> Step:
    """HARD_SWISH: x * relu6(x + 3) / 6."""
    x, y = _both(node, ("float32", *EIGHT_BIT))
    if x.dtype in EIGHT_BIT:
        if _F(1 / 128) * _F(x.scale) / _F(y.scale) >= 1:
            raise refuse(node, f"the scale of {y} is less than 1/128 of the input's")
        return table_step(node, tables.hard_swish_table(x, y))
    return Step("HARD_SWISH", [x], [y], in_place=0)


@rule("PRELU")
def prelu(node: Node, ctx: Context) -> Step:
    """PRELU: alpha (input 1) broadcast from the right, of the input's type."""
    x, y = _both(node, ("float32", *EIGHT_BIT))
    alpha = node.input(1)
    if alpha.dtype != x.dtype or broadcast_shape(node, x, alpha) != x.shape:
        raise refuse(node, f"alpha {alpha} does not fit {x}")
    values = dict.fromkeys(("positive_multiplier", "positive_shift"), 0)
    values |= dict.fromkeys(("negative_multiplier", "negative_shift"), 0)
    if x.dtype in EIGHT_BIT:
        quantisation(node, alpha)
        up = float(_F(x.scale) / _F(y.scale))
        down = float(_F(x.scale) * _F(alpha.scale) / _F(y.scale))
        keys = ("positive_multiplier", "positive_shift", "negative_multiplier", "negative_shift")
        pairs = (*tables.quantize_multiplier(up), *tables.quantize_multiplier(down))
        values = dict(zip(keys, pairs, strict=True))
    return Step("PRELU", [x, alpha], [y], "prelu", values, in_place=0)


def _expm1_below_zero(x: float) -> float:
    return math.expm1(x) if x < 0 else x


def _sigmoid(x: float) -> float:
    return 0.0 if x < -100 else 1.0 if x > 100 else math.exp(x) / (1 + math.exp(x))


def _sigmoid_f32(x: float) -> float:
    """1 / (1 + exp(-x)) with every step rounded to float32, as the TFLite kernel writes it."""
    return float(_F(1) / (_F(1) + _F(_exp(-x))))


def _exp(x: float) -> float:
    return math.exp(x) if x < 709 else math.inf


def _gelu(x: float) -> float:
    return 0.5 * x * math.erfc(-x * math.sqrt(0.5))


def _gelu_tanh(x: float) -> float:
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@dataclass(frozen=True)
class _Unary:
    """A function of one tensor: its name in ei_unary, and for 8 bits the two functions that fill
    the table: XNNPACK's (None where LiteRT does not delegate it) and the TFLite kernel's."""

    name: str
    xnnpack: tables.Function | None = None
    tflite: tables.Function | None = None
    types: tuple[str, ...] = ("float32",)


_UNARY = {
    "ABS": _Unary("ABS", types=("float32", "int32", "int8")),
    "NEG": _Unary("NEG", types=("float32", "int32")),
    "SQUARE": _Unary("SQUARE"),
    "SIGN": _Unary("SIGN", types=("float32", "int32")),
    "SQRT": _Unary("SQRT"),
    "RSQRT": _Unary("RSQRT", types=("float32", "int8")),
    "EXP": _Unary("EXP", None, _exp, ("float32", "int8")),
    "LOG": _Unary("LOG", None, math.log, ("float32", "int8")),
    "SIN": _Unary("SIN"),
    "COS": _Unary("COS"),
    "FLOOR": _Unary("FLOOR"),
    "CEIL": _Unary("CEIL"),
    "ROUND": _Unary("ROUND"),
    "LOGISTIC": _Unary("LOGISTIC", _sigmoid, _sigmoid_f32, ("float32", *EIGHT_BIT)),
    "TANH": _Unary("TANH", math.tanh, math.tanh, ("float32", *EIGHT_BIT)),
    "ELU": _Unary("ELU", _expm1_below_zero, _expm1_below_zero, ("float32", "int8")),
    "GELU": _Unary("GELU", None, _gelu, ("float32", *EIGHT_BIT)),
}


@rule(*_UNARY)
def unary(node: Node, ctx: Context) -> Step:
    """Elementwise functions: f32 by the function, 8 bits by a table."""
    kind = _UNARY[node.op]
    x, y = _both(node, kind.types)
    approximate = node.op == "GELU" and bool(node.attrs.get("approximate", False))
    if x.dtype in EIGHT_BIT:
        return table_step(node, _unary_table(node, kind, approximate, ctx))
    name = "EI_UNARY_" + ("GELU_TANH" if approximate else kind.name)
    return Step("UNARY", [x], [y], "unary", {"function": _code(name)}, in_place=0)


def _unary_table(node: Node, kind: _Unary, approximate: bool, ctx: Context) -> np.ndarray:
    x, y = node.input(0), node.outputs[0]
    if node.op == "ABS":
        return tables.abs_table(x, y)
    if node.op == "RSQRT":
        if x.zero != np.iinfo(x.dtype).min:
            raise refuse(node, f"{x} has negative values: its zero point must be the least")
        return tables.rsqrt_table(x, y)
    if kind.xnnpack is not None and ctx.rounding == "xnnpack":
        return tables.xnnpack_table(kind.xnnpack, x, y)
    function = _gelu_tanh if approximate else kind.tflite
    assert function is not None
    if node.op == "LOG":
        least = float(_F(np.iinfo(y.dtype).min - y.zero) * _F(y.scale))
        return tables.tflite_table(lambda v: math.log(v) if v > 0 else least, x, y)
    return tables.tflite_table(function, x, y)


def _code(name: str) -> int:
    return int(getattr(_native.lib, name))


@rule("SOFTMAX", "LOG_SOFTMAX")
def softmax(node: Node, ctx: Context) -> Step:
    """SOFTMAX (with beta) and LOG_SOFTMAX over the last dimension."""
    x, y = _both(node, ("float32", *EIGHT_BIT))
    beta = float(node.attrs.get("beta", 1.0)) if node.op == "SOFTMAX" else 1.0
    values = dict.fromkeys(("multiplier", "shift", "diff_min"), 0)
    values |= {"reverse_multiplier": 0, "reverse_shift": 0}
    inputs: list[Tensor | None] = [x]
    if not x.shape:
        raise refuse(node, f"{x} is a scalar")
    if x.dtype in EIGHT_BIT:
        _softmax_output(node, y)
        if ctx.rounding == "tflite":
            values = _softmax_fixed(node, x, beta)
        else:
            inputs.append(made(f"{y.name}/exp", _softmax_table(x, beta)))
    return Step(node.op, inputs, [y], "softmax", {"beta": beta, **values}, in_place=0)


def _softmax_output(node: Node, y: Tensor) -> None:
    """The output scales that LiteRT takes too."""
    log = node.op == "LOG_SOFTMAX"
    info = np.iinfo(y.dtype)
    scale, zero = (16 / 256, int(info.max)) if log else (1 / 256, int(info.min))
    if abs(y.scale - scale) > 0.001 * scale or y.zero != zero:
        raise refuse(node, f"{y} must have scale {scale:g} and zero point {zero}")


def _softmax_table(x: Tensor, beta: float) -> np.ndarray:
    scale = -_F(x.scale) * _F(beta)
    steps = scale * np.arange(255, -1, -1).astype(_F)
    return tables.evaluate(math.exp, steps)


def _softmax_fixed(node: Node, x: Tensor, beta: float) -> dict[str, int]:
    """TFLite's scaling of differences to Q5.26 and the least one that is not negligible."""
    if x.shape[-1] >= 4096:
        raise refuse(node, f"{x}: rows of 4096 or more overflow the fixed-point sum")
    bits = 5
    real = min(beta * float(_F(x.scale)) * (1 << (31 - bits)), 2.0**31 - 1)
    if real <= 1:
        raise refuse(node, f"the scale of {x} is too small for the fixed-point form")
    multiplier, shift = tables.quantize_multiplier(real)
    radius = math.floor(((1 << bits) - 1) * (1 << (31 - bits)) / (1 << shift))
    values = {"multiplier": multiplier, "shift": shift, "diff_min": -radius}
    back = (0, 0)
    if node.op == "LOG_SOFTMAX":
        back = tables.quantize_multiplier((1 << (31 - shift)) / multiplier)
    return values | {"reverse_multiplier": back[0], "reverse_shift": back[1]}


@rule("FLIP_SIGN")
def flip_sign(node: Node, ctx: Context) -> Step:
    """FLIP_SIGN, made by a pass: int8 to uint8 or back, the same real values."""
    x, y = node.input(0), node.outputs[0]
    expect_types(node, x, EIGHT_BIT)
    expect_types(node, y, EIGHT_BIT)
    expect_shape(node, y, x.shape)
    return Step("FLIP_SIGN", [x], [y], in_place=0)


@rule("DROPOUT", "IDENTITY")
def identity(node: Node, ctx: Context) -> Step:
    """Nothing to do at run time."""
    expect_same(node, node.input(0), node.outputs[0])
    return Step("COPY", [node.input(0)], [node.outputs[0]], in_place=0)
