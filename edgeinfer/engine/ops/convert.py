"""Conversions between types: QUANTIZE, DEQUANTIZE, CAST.

Exceptions
    QUANTIZE from float, "tflite": values beyond 2^31 scales overflow in LiteRT's reference (they
        become the least value); ours saturate.
    CAST of floats out of the integer's range: undefined in LiteRT, saturated here.
"""

from __future__ import annotations

import numpy as np

from ... import _native
from ..graph import Node
from ..tensor import Tensor
from . import Context, Step, rule, tables
from .activation import table_step
from .checks import EIGHT_BIT, MOVABLE, axis_of, expect_shape, expect_types, made, refuse
from .checks import scalar_quantisation as quantisation


@rule("QUANTIZE")
def quantize(node: Node, ctx: Context) -> Step:
    """QUANTIZE: float32 to 8 or 16 bits, or integers to integers of another quantisation."""
    x, y = node.input(0), node.outputs[0]
    expect_types(node, x, ("float32", *EIGHT_BIT, "int16", "int32"))
    expect_types(node, y, (*EIGHT_BIT, "int16", "int32"))
    expect_shape(node, y, x.shape)
    quantisation(node, y)
    if x.dtype == "float32":
        if y.dtype == "int32":
            raise refuse(node, f"{x} to {y}: no kernel")
        return Step("QUANTIZE", [x], [y], "quantize", _from_float(y, ctx))
    quantisation(node, x)
    if x.dtype in EIGHT_BIT and y.dtype in EIGHT_BIT and not _two_loops(x, y, ctx):
        return table_step(node, tables.requantise_table(x, y, ctx.rounding))
    ratio = float(np.float32(x.scale)) / float(np.float32(y.scale))
    multiplier, shift = tables.quantize_multiplier(ratio)
    values = {"scale": 0.0, "multiplier": multiplier, "shift": shift}
    return Step("QUANTIZE", [x], [y], "quantize", values)


def _two_loops(x: Tensor, y: Tensor, ctx: Context) -> bool:
    """Whether LiteRT's kernel treats whole vectors of 16 and what is left differently."""
    if ctx.rounding != "xnnpack" or tables.delegated(x, y) or y.count % 16 == 0:
        return False
    vector, scalar = (tables.requantise_table(x, y, r) for r in ("xnnpack", "tflite"))
    return not np.array_equal(vector, scalar)


def _from_float(y: Tensor, ctx: Context) -> dict[str, float]:
    scale = np.float32(y.scale)
    if ctx.rounding == "xnnpack":
        scale = np.float32(1) / scale
    return {"scale": float(scale), "multiplier": 0, "shift": 0}


@rule("DYNAMIC_QUANTIZE")
def dynamic_quantize(node: Node, ctx: Context) -> Step:
    """DYNAMIC_QUANTIZE, made by a pass: float32 to 8 bits and the scales and zero points found.

    Inputs x; outputs as x in int8 or uint8, float32 scale [batches], int32 zero point [batches]. Or
    x in float32: those 8 bits less the zero point, and the scale; or alone, times the scale.
    """
    x, y = node.input(0), node.outputs[0]
    expect_types(node, x, ("float32",))
    expect_types(node, y, ("float32", *EIGHT_BIT))
    expect_shape(node, y, x.shape)
    batches = node.attrs["batches"]
    for tensor in node.outputs[1:]:
        expect_shape(node, tensor, (batches,))
    method = int(getattr(_native.lib, f"EI_DYNAMIC_{node.attrs['method']}"))
    values = {"batches": batches, "method": method}
    return Step("DYNAMIC_QUANTIZE", [x], node.outputs, "dynamic", values)


@rule("DEQUANTIZE")
def dequantize(node: Node, ctx: Context) -> Step:
    """DEQUANTIZE: 8, 16 or 32 bits (per tensor or per channel) or float16 to float32."""
    x, y = node.input(0), node.outputs[0]
    expect_types(node, x, ("float16", *EIGHT_BIT, "int16", "int32"))
    expect_types(node, y, ("float32",))
    expect_shape(node, y, x.shape)
    inputs: list[Tensor | None] = [x]
    axis = 0
    if x.dtype != "float16":
        if x.quant is None:
            raise refuse(node, f"{x} has no quantisation")
        if x.quant.per_channel:
            axis = axis_of(node, x.quant.axis, len(x.shape))
            inputs += _channels(node, x, axis)
    return Step("DEQUANTIZE", inputs, [y], "dequantize", {"axis": axis})


def _channels(node: Node, x: Tensor, axis: int) -> list[Tensor]:
    quant = x.quant
    assert quant is not None
    if quant.scale.size != x.shape[axis]:
        raise refuse(node, f"{x}: {quant.scale.size} scales along dimension {axis}")
    zero = np.broadcast_to(quant.zero, quant.scale.shape).astype(np.int32)
    scale = quant.scale.astype(np.float32)
    return [made(f"{x.name}/scale", scale), made(f"{x.name}/zero", zero)]


@rule("CAST")
def cast(node: Node, ctx: Context) -> Step:
    """CAST between number types; to float16 is not taken."""
    x, y = node.input(0), node.outputs[0]
    expect_types(node, x, MOVABLE)
    expect_types(node, y, tuple(t for t in MOVABLE if t != "float16"))
    expect_shape(node, y, x.shape)
    if x.dtype == y.dtype:
        return Step("COPY", [x], [y], in_place=0)
    return Step("CAST", [x], [y])
