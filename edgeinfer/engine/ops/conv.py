"""CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, TRANSPOSE_CONV: shapes, padding, requantisation.

A quantised step gets five inputs: x, weights, bias (int32 or absent), then for rounding "xnnpack"
the float32 scale of every output channel and nothing, for "tflite" its int32 multiplier and shift,
but FULLY_CONNECTED its float64 scale. Float steps get three. The layouts (engine/layouts.py) start
from these.

Requantisation scale, "xnnpack": input_scale * weight_scale / output_scale in float32, in that order
(XNNPACK, operators/convolution-nhwc.c). "tflite": the same in float64, split into a 31-bit
multiplier and a shift (TFLite, kernels/internal/quantization_util.cc: QuantizeMultiplier), but for
FULLY_CONNECTED, whose reference multiplies by the float64 number itself (kernels/internal/
reference/integer_ops/fully_connected.h).

Exceptions (tests/kernels/test_conv.py; all else in 8 bits is equal to LiteRT 2.3 to the bit):

| operator | where | bound |
|---|---|---|
| all, float32 | both | 1e-5 of the largest magnitude |
| float32 with int8 weights (hybrid; passes/hybrid.py): | | |
| CONV_2D, FULLY_CONNECTED | "xnnpack" | none on x86 with FMA: equal to the bit |
| DEPTHWISE_CONV_2D | "xnnpack" | none on x86 where channels are a multiple of 4 and each has one |
| | | output |
| these otherwise; TRANSPOSE_CONV | both | 1e-5 of the largest magnitude |
| DEPTHWISE_CONV_2D, one scale for all weights | both | LiteRT reads beyond its table of scales; |
| | | ours uses the one |
| uint8 weights, or zero points | both | computed in float: LiteRT refuses these or takes the |
| | | bytes for something else |

A float operator before a hybrid one may tip its quantisation: an error of 1e-7 becomes one step of
8 bits, some 1e-3, in a few values. On AVX2 and AVX-512 float convolutions and fully connected
layers equal XNNPACK's to the bit, so this happens only behind others (HARD_SWISH, LOGISTIC,
SOFTMAX, MEAN).

| operator | where | bound |
|---|---|---|
| CONV_2D, DEPTHWISE_CONV_2D without bias | both | as with zeros; LiteRT refuses or crashes |
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..graph import Node
from ..tensor import Tensor
from . import Context, Step, rule
from .checks import EIGHT_BIT, expect_rank, expect_shape, expect_types, made, refuse
from .tables import quantize_multiplier

_F = np.float32
_FLOAT_LIMITS = {
    "NONE": (-np.inf, np.inf),
    "RELU": (0.0, np.inf),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}


def activation_limits(node: Node, out: Tensor, rounding: str) -> dict[str, Any]:
    """act_min, act_max, act_fmin, act_fmax of the node's fused activation.

    The attribute "zero_shift" says how far a pass has moved the output's zero point.
    """
    name = node.attrs.get("fused_activation_function", "NONE")
    if name not in _FLOAT_LIMITS:
        raise refuse(node, f"fused activation {name}; ours are {', '.join(_FLOAT_LIMITS)}")
    lo, hi = _FLOAT_LIMITS[name]
    limits: dict[str, Any] = {"act_fmin": lo, "act_fmax": hi, "act_min": 0, "act_max": 0}
    if out.dtype in EIGHT_BIT:
        info = np.iinfo(out.dtype)
        shift = int(node.attrs.get("zero_shift", 0))
        for end, value in (("min", lo), ("max", hi)):
            limit = getattr(info, end)
            if np.isfinite(value):
                limit = _quantised_limit(value, out.scale, out.zero - shift, rounding) + shift
            limits[f"act_{end}"] = int(np.clip(limit, info.min, info.max))
    return limits


def _quantised_limit(value: float, scale: float, zero: int, rounding: str) -> int:
    steps = _F(value) / _F(scale)
    if rounding == "xnnpack":  # nearest even with the zero point (XNNPACK, xnn_qs8_quantize)
        return int(np.rint(steps + _F(zero)))
    # Away from zero without it (TFLite, kernel_util.cc).
    return int(np.trunc(steps + np.copysign(_F(0.5), steps))) + zero


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int, int]:
    """(output size, padding before, padding after) of TFLite's SAME padding."""
    out = -(-size // stride)
    total = max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return out, total // 2, total - total // 2


def _windows(
    node: Node, size: int, kernel: int, stride: int, dilation: int, extra: tuple[int, int]
) -> tuple[int, int, int]:
    """(output size, padding before, after) along one dimension."""
    if stride < 1 or dilation < 1:
        raise refuse(node, f"stride {stride}, dilation {dilation}; both must be at least 1")
    if node.attrs["padding"] == "SAME":
        return same_padding(size, kernel, stride, dilation)
    span = (kernel - 1) * dilation + 1
    return (size + sum(extra) - span) // stride + 1, *extra


def _spatial(
    node: Node, x: Tensor, kernel: tuple[int, int]
) -> tuple[dict[str, Any], tuple[int, int]]:
    """Padding, stride and dilation fields of the params, and the output's height and width."""
    a = node.attrs
    top, bottom, left, right = a.get("explicit_padding", (0, 0, 0, 0))
    dil = a.get("dilation_h_factor", 1), a.get("dilation_w_factor", 1)
    oh, pt, pb = _windows(node, x.shape[1], kernel[0], a["stride_h"], dil[0], (top, bottom))
    ow, pl, pr = _windows(node, x.shape[2], kernel[1], a["stride_w"], dil[1], (left, right))
    values = {
        "kernel_h": kernel[0], "kernel_w": kernel[1],
        "stride_h": a["stride_h"], "stride_w": a["stride_w"],
        "dilation_h": dil[0], "dilation_w": dil[1],
        "pad_top": pt, "pad_left": pl, "pad_bottom": pb, "pad_right": pr,
        "groups": 1, "multiplier": 1,
    }  # fmt: skip
    return values, (oh, ow)


def requantisation(
    node: Node, x: Tensor, w: Tensor, out: Tensor, channels: int, rounding: str
) -> list[Tensor | None]:
    """Inputs 3 and 4 of a quantised step: [scale, None] or [multiplier, shift], [channels]."""
    for tensor in (x, w, out):
        if tensor.quant is None or not np.all(tensor.quant.scale > 0):
            raise refuse(node, f"{tensor} has no quantisation with a positive scale")
    assert w.quant is not None
    if rounding == "xnnpack":
        scale = _F(x.scale) * w.quant.scale.astype(_F) / _F(out.scale)
        return [made("scale", np.broadcast_to(scale, (channels,)).astype(_F)), None]
    product = np.float64(_F(x.scale)) * w.quant.scale.astype(np.float64)
    if node.op == "FULLY_CONNECTED":
        return [made("scale", np.broadcast_to(product / _F(out.scale), (channels,))), None]
    if w.dtype == "uint8":  # TFLite's per-tensor form multiplies the two scales in float32
        product = (_F(x.scale) * w.quant.scale.astype(_F)).astype(np.float64)
    real = product / np.float64(_F(out.scale))
    pairs = [quantize_multiplier(float(r)) for r in np.broadcast_to(real, (channels,))]
    multiplier, shift = np.array(pairs, np.int32).T
    return [made("multiplier", multiplier), made("shift", shift)]


def dynamic(node: Node) -> bool:
    """Whether x was quantised at run time (passes/hybrid.py); the output is float."""
    return bool(node.attrs.get("dynamic"))


def _types(node: Node, x: Tensor, w: Tensor, out: Tensor) -> bool:
    """Whether the node is quantised; refuses mixed or unknown types."""
    expect_types(node, x, ("float32", *EIGHT_BIT))
    if dynamic(node):
        expect_types(node, w, ("int8",) if x.dtype in EIGHT_BIT else ("float32",))
        return True
    if out.dtype != x.dtype:
        raise refuse(node, f"{x} and {out} differ in type")
    quantised = x.dtype in EIGHT_BIT
    expect_types(node, w, EIGHT_BIT if quantised else ("float32",))
    if quantised and x.dtype == "uint8" and w.dtype == "int8" and w.zero:
        raise refuse(node, f"{w}: signed weights must have zero point 0")
    return quantised


def _bias(node: Node, quantised: bool, channels: int) -> Tensor | None:
    bias = node.optional(2)
    if bias is not None:
        expect_types(node, bias, ("int32",) if quantised else ("float32",))
        expect_shape(node, bias, (channels,))
    return bias


def _finish(
    node: Node, ctx: Context, op: str, inputs: list[Tensor], values: dict[str, Any], macs: int
) -> Step:
    x, w = inputs
    out = node.outputs[0]
    quantised = _types(node, x, w, out)
    channels = out.shape[-1]
    step_inputs: list[Tensor | None]
    step_inputs = [x, w, _bias(node, quantised and not dynamic(node), channels)]
    if dynamic(node):
        step_inputs += node.inputs[3:]
    elif quantised:
        step_inputs += requantisation(node, x, w, out, channels, ctx.rounding)
    values = {**values, **activation_limits(node, out, ctx.rounding)}
    return Step(op, step_inputs, [out], "conv", values, macs=macs)


@rule("CONV_2D")
def conv_2d(node: Node, ctx: Context) -> Step:
    """x [N,H,W,C], w [OC,KH,KW,C/groups], bias [OC] -> [N,OH,OW,OC]."""
    x, w, out = node.input(0), node.input(1), node.outputs[0]
    for tensor in (x, w, out):
        expect_rank(node, tensor, (4,))
    channels, kernel = x.shape[3], (w.shape[1], w.shape[2])
    if not w.shape[3] or channels % w.shape[3] or w.shape[0] % (channels // w.shape[3]):
        raise refuse(node, f"{w} does not divide the {channels} channels of {x} into groups")
    values, (oh, ow) = _spatial(node, x, kernel)
    values["groups"] = channels // w.shape[3]
    expect_shape(node, out, (x.shape[0], oh, ow, w.shape[0]))
    return _finish(node, ctx, "CONV_2D", [x, w], values, out.count * w.count // w.shape[0])


@rule("DEPTHWISE_CONV_2D")
def depthwise_conv_2d(node: Node, ctx: Context) -> Step:
    """x [N,H,W,C], w [1,KH,KW,C*multiplier], bias [C*multiplier] -> [N,OH,OW,C*multiplier]."""
    x, w, out = node.input(0), node.input(1), node.outputs[0]
    for tensor in (x, w, out):
        expect_rank(node, tensor, (4,))
    channels = x.shape[3]
    if w.shape[0] != 1 or not channels or w.shape[3] % channels:
        raise refuse(node, f"{w} is not [1, height, width, a multiple of {channels} channels]")
    values, (oh, ow) = _spatial(node, x, (w.shape[1], w.shape[2]))
    values.update(groups=channels, multiplier=w.shape[3] // channels)
    expect_shape(node, out, (x.shape[0], oh, ow, w.shape[3]))
    macs = out.count * w.shape[1] * w.shape[2]
    return _finish(node, ctx, "DEPTHWISE_CONV_2D", [x, w], values, macs)


@rule("FULLY_CONNECTED")
def fully_connected(node: Node, ctx: Context) -> Step:
    """x [..., depth] (flattened to rows of depth), w [out, depth], bias [out] -> [..., out]."""
    x, w, out = node.input(0), node.input(1), node.outputs[0]
    expect_rank(node, w, (2,))
    if node.attrs.get("weights_format", "DEFAULT") != "DEFAULT":
        raise refuse(node, f"weights_format {node.attrs['weights_format']}; ours is DEFAULT")
    if not w.shape[1] or x.count % w.shape[1]:
        raise refuse(node, f"{x} cannot be cut into rows of the {w.shape[1]} of {w}")
    rows = x.count // w.shape[1]
    if out.shape[-1:] != w.shape[:1] or out.count != rows * w.shape[0]:
        expect_shape(node, out, (rows, w.shape[0]))
    values = dict.fromkeys(("kernel_h", "kernel_w", "stride_h", "stride_w"), 1)
    values |= dict.fromkeys(("dilation_h", "dilation_w", "groups", "multiplier"), 1)
    return _finish(node, ctx, "FULLY_CONNECTED", [x, w], values, rows * w.count)


def _transposed(node: Node, ctx: Context, x: Tensor, w: Tensor, bias: Tensor | None) -> Step:
    """x [N,H,W,C], w [OC,KH,KW,C] -> [N,OH,OW,OC], the size as the model's output says."""
    out, a = node.outputs[0], node.attrs
    for tensor in (x, w, out):
        expect_rank(node, tensor, (4,))
    if w.shape[3] != x.shape[3] or w.shape[0] != out.shape[3] or x.shape[0] != out.shape[0]:
        raise refuse(node, f"{w} does not lead from {x} to {out}")
    pads, sizes = [], []
    for d, stride in ((1, a["stride_h"]), (2, a["stride_w"])):
        kernel = w.shape[d]
        if a["padding"] == "SAME":
            size, before, _ = same_padding(out.shape[d], kernel, stride, 1)
        else:
            size, before = (out.shape[d] - kernel) // stride + 1, 0
        pads.append(before)
        sizes.append(size)
    if tuple(sizes) != x.shape[1:3]:
        raise refuse(node, f"{out} is not what {x} gives with this kernel, stride and padding")
    values = {
        "kernel_h": w.shape[1], "kernel_w": w.shape[2],
        "stride_h": a["stride_h"], "stride_w": a["stride_w"], "dilation_h": 1, "dilation_w": 1,
        "pad_top": pads[0], "pad_left": pads[1], "pad_bottom": 0, "pad_right": 0,
        "groups": 1, "multiplier": 1,
    }  # fmt: skip
    if a["padding"] == "SAME" and (w.shape[1] < a["stride_h"] or w.shape[2] < a["stride_w"]):
        ctx = replace(ctx, rounding="tflite")  # LiteRT's delegate refuses it; its own kernel runs
    plain = Node(node.op, [x, w, bias], node.outputs, node.attrs, node.name)
    return _finish(plain, ctx, "TRANSPOSE_CONV", [x, w], values, x.count * w.count // w.shape[3])


@rule("TRANSPOSE_CONV")
def transpose_conv(node: Node, ctx: Context) -> Step:
    """Output shape (constant), w [OC,KH,KW,C], x, optional bias."""
    return _transposed(node, ctx, node.input(2), node.input(1), node.optional(3))


@rule("Convolution2DTransposeBias")
def transpose_conv_bias(node: Node, ctx: Context) -> Step:
    """MediaPipe's custom form: x, w, bias; options are int32 padding (1 SAME, 2 VALID), strides."""
    raw = node.attrs.get("custom_bytes", b"")
    if len(raw) < 12:
        raise refuse(node, f"its options have {len(raw)} bytes; padding and two strides take 12")
    padding, stride_w, stride_h = np.frombuffer(bytes(raw[:12]), "<i4")
    if padding not in (1, 2) or stride_w < 1 or stride_h < 1:
        raise refuse(node, f"padding {padding}, strides {stride_h} x {stride_w} in its options")
    attrs = {
        "padding": "SAME" if padding == 1 else "VALID",
        "stride_w": int(stride_w),
        "stride_h": int(stride_h),
    }
    plain = Node(node.op, node.inputs, node.outputs, attrs, node.name)
    return _transposed(plain, ctx, node.input(0), node.input(1), node.optional(2))
