"""Tables of 256 bytes: every function of one 8-bit tensor, computed at plan time.

`Table[i]` is the output byte for the input byte `i` (bit patterns). Two forms of float tables are
LiteRT's own: XNNPACK's (`xnnpack_table`: rounded to nearest even) and that of the TFLite kernels
(`tflite_table`: rounded half away from zero). Both in float32, as there; the function itself is
evaluated in float64 and rounded once, where LiteRT calls the float32 one of its C library, which
can differ in the last place and so, at an exact tie, in one entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..tensor import Tensor

Function = Callable[[float], float]
_F = np.float32


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(multiplier, shift): real = multiplier * 2^(shift - 31), 2^30 <= multiplier < 2^31."""
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    fixed = math.floor(abs(fraction) * 2**31 + 0.5) * (1 if fraction > 0 else -1)
    if abs(fixed) == 2**31:
        fixed //= 2
        shift += 1
    return (0, 0) if shift < -31 else (fixed, shift)


def multiply_all(x: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    """`multiply` of every element, int64."""
    total = _wrap_all(x << max(shift, 0)) * multiplier
    total += np.where(total >= 0, 1 << 30, 1 - (1 << 30))
    high = np.where(total >= 0, total >> 31, -(-total >> 31))  # division truncates
    right = max(-shift, 0)
    mask = (1 << right) - 1
    return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))


def _wrap_all(x: np.ndarray) -> np.ndarray:
    return x.astype(np.uint64).astype(np.uint32).view(np.int32).astype(np.int64)


def multiply(x: int, multiplier: int, shift: int) -> int:
    """TFLite's MultiplyByQuantizedMultiplier with double rounding, of one int32."""
    product = _wrap(x << max(shift, 0)) * multiplier
    high = product + (1 << 30 if product >= 0 else 1 - (1 << 30))
    high = abs(high) >> 31 if high >= 0 else -(abs(high) >> 31)
    return rounding_shift(high, max(-shift, 0))


def multiply_up(x: int, multiplier: int, shift: int) -> int:
    """The same with both roundings' ties upward, as the vector instructions do it."""
    high = (2 * _wrap(x << max(shift, 0)) * multiplier + (1 << 31)) >> 32
    bits = max(-shift, 0)
    return (high + (1 << bits >> 1)) >> bits


def rounding_shift(x: int, bits: int) -> int:
    """x / 2^bits, rounded to nearest, ties away from zero."""
    mask = (1 << bits) - 1
    return (x >> bits) + ((x & mask) > (mask >> 1) + (x < 0))


def _wrap(x: int) -> int:
    return (x + 2**31) % 2**32 - 2**31


def _inverse_root(value: int) -> tuple[int, int]:
    """(multiplier, shift) of 1 / sqrt(value), value > 1: five Newton-Raphson steps in fixed point.

    TFLite's GetInvSqrtQuantizedMultiplierExp (kernels/internal/common.h); gemmlowp's arithmetic.
    """
    shift = 11
    while value >= 1 << 29:
        value, shift = value // 4, shift + 1
    pairs = (32 - value.bit_length() - 1) // 2 - 1
    shift -= pairs
    half = rounding_shift((value << 2 * pairs) >> 1, 1)
    x = 1 << 28
    for _ in range(5):
        cube = _saturate(_high(_high(x, x), x) << 6)
        x = _saturate((_high((1 << 28) + (1 << 27), x) - _high(half, cube)) << 3)
    x = _high(x, 1518500250)
    return (x << -shift, 0) if shift < 0 else (x, -shift)


def _high(a: int, b: int) -> int:
    """gemmlowp's SaturatingRoundingDoublingHighMul."""
    return multiply(a, b, 0)


def _saturate(x: int) -> int:
    return min(max(x, -(2**31)), 2**31 - 1)


def rsqrt_table(x: Tensor, y: Tensor) -> np.ndarray:
    """1 / sqrt(x) of TFLite's kernel (elementwise.cc, RsqrtEvalQuantized); of 0: the largest."""
    more = 20  # bits that keep the root an integer
    real = 1.0 / (math.sqrt(float(x.scale)) * float(y.scale))
    multiplier, shift = quantize_multiplier(real)
    found = []
    for value in (int(v) - x.zero for v in domain(x)):
        if value <= 0:
            found.append(int(np.iinfo(y.dtype).max))
            continue
        root = _inverse_root(value) if value > 1 else (2**31 - 1, 0)
        fixed = multiply(1, root[0], root[1] + more)
        found.append(multiply(fixed, multiplier, shift - more) + y.zero)
    return pack(found, y)


def domain(tensor: Tensor) -> np.ndarray:
    """The 256 values of an int8 or uint8 tensor, in the order of their bit patterns (int64)."""
    return np.arange(256, dtype=np.uint8).view(tensor.dtype).astype(np.int64)


def pack(values: np.ndarray | list[int], tensor: Tensor) -> np.ndarray:
    """Integers in the order of `domain`, clamped to the output's type: the table, uint8 [256]."""
    info = np.iinfo(tensor.dtype)
    return np.clip(values, info.min, info.max).astype(tensor.dtype).view(np.uint8)


def evaluate(function: Function, values: np.ndarray) -> np.ndarray:
    """function of float32 values, rounded to float32."""
    with np.errstate(over="ignore"):
        return np.array([function(float(v)) for v in values]).astype(_F)


def xnnpack_table(function: Function, x: Tensor, y: Tensor) -> np.ndarray:
    """XNNPACK's reference: dequantise, function, times 1 / scale plus zero, nearest even."""
    real = (domain(x).astype(_F) - _F(x.zero)) * _F(x.scale)
    scaled = evaluate(function, real) * (_F(1) / _F(y.scale)) + _F(y.zero)
    info = np.iinfo(y.dtype)
    return pack(np.rint(np.clip(scaled, info.min, info.max)).astype(np.int64), y)


def tflite_table(function: Function, x: Tensor, y: Tensor) -> np.ndarray:
    """TFLite's LUTPopulate: the rounding before the zero point, half away from zero."""
    real = _F(x.scale) * (domain(x) - x.zero).astype(_F)
    with np.errstate(over="ignore"):
        scaled = round_away(evaluate(function, real) * (_F(1) / _F(y.scale)))
    total = scaled + _F(y.zero)
    return pack(np.clip(total, -1e9, 1e9).astype(np.int64), y)


def round_away(values: np.ndarray) -> np.ndarray:
    """C's roundf: to nearest, halves away from zero."""
    wide = np.asarray(values, np.float64)
    return (np.sign(wide) * np.floor(np.abs(wide) + 0.5)).astype(_F)


def fixed_point_table(real: float, x: Tensor, y: Tensor) -> np.ndarray:
    """Requantisation by `real` in TFLite's fixed point."""
    multiplier, shift = quantize_multiplier(real)
    return pack([multiply(int(q) - x.zero, multiplier, shift) + y.zero for q in domain(x)], y)


def xnnpack_requantise_table(x: Tensor, y: Tensor) -> np.ndarray:
    """XNNPACK's conversion: a multiplier with 8 fraction bits, rounded half up."""
    multiplier = int(np.rint(_F(256) * (_F(x.scale) / _F(y.scale))))
    return pack(((domain(x) - x.zero) * multiplier + (y.zero << 8) + 128) >> 8, y)


def delegated(x: Tensor, y: Tensor) -> bool:
    """Whether XNNPACK takes a QUANTIZE between 8-bit tensors: of one type, a ratio of the scales in
    1/256..128."""
    return x.dtype == y.dtype and 1 / 256 <= float(_F(x.scale) / _F(y.scale)) <= 128


def requantise_table(x: Tensor, y: Tensor, rounding: str) -> np.ndarray:
    """What QUANTIZE between 8-bit tensors does in LiteRT: what XNNPACK does not take, the TFLite
    kernel does (in its vector form)."""
    if rounding == "xnnpack" and delegated(x, y):
        return xnnpack_requantise_table(x, y)
    multiplier, shift = quantize_multiplier(float(_F(x.scale)) / float(_F(y.scale)))
    times = multiply_up if rounding == "xnnpack" else multiply
    steps = (domain(x) - x.zero).tolist()
    return pack([times(step, multiplier, shift) + y.zero for step in steps], y)


def concatenation_table(x: Tensor, y: Tensor) -> np.ndarray:
    """How the TFLite kernel of CONCATENATION requantises a uint8 input: in float32."""
    scale = _F(x.scale) * (_F(1) / _F(y.scale))
    bias = _F(-x.zero) * scale
    return pack(round_away(domain(x).astype(_F) * scale + bias).astype(np.int64) + y.zero, y)


def leaky_relu_table(x: Tensor, y: Tensor, alpha: float, rounding: str) -> np.ndarray:
    """LEAKY_RELU: XNNPACK's 8-bit multipliers where it takes the scales, else TFLite's."""
    ratio, slope = _F(x.scale) / _F(y.scale), _F(alpha)
    negative = ratio * slope
    taken = 1 / 256 <= ratio <= 128 and -127.99609375 <= negative <= 128
    distance = domain(x) - x.zero
    if rounding == "xnnpack" and taken and abs(negative) >= 1 / 256:
        up, down = int(np.rint(_F(256) * ratio)), int(np.rint(_F(256) * negative))
        scaled = distance * np.where(distance >= 0, up, down)
        return pack((scaled + (y.zero << 8) + 128) >> 8, y)
    identity = quantize_multiplier(float(ratio))
    multiplier, shift = quantize_multiplier(float(_F(x.scale) * slope / _F(y.scale)))
    values = []
    for step in distance.tolist():
        below = multiply(step, abs(multiplier), shift) * (1 if multiplier >= 0 else -1)
        v = multiply(step, *identity) if step >= 0 else below
        values.append(v + y.zero)
    return pack(values, y)


def relu_table(x: Tensor, y: Tensor, low: float, high: float) -> np.ndarray:
    """RELU, RELU6, ...: requantised in fixed point, then clamped to the quantised limits."""
    table = fixed_point_table(float(_F(x.scale) / _F(y.scale)), x, y).view(y.dtype).astype(np.int64)
    floor = y.zero + int(round_away(_F(low) / _F(y.scale)))
    ceil = 2**31 if math.isinf(high) else y.zero + int(round_away(_F(high) / _F(y.scale)))
    return pack(np.minimum(np.maximum(table, floor), ceil), y)


def abs_table(x: Tensor, y: Tensor) -> np.ndarray:
    """ABS on int8: the magnitude, requantised in fixed point where the scales differ."""
    distance = [abs(int(q) - x.zero) for q in domain(x)]
    if x.scale == y.scale:
        return pack([d + y.zero for d in distance], y)
    multiplier, shift = quantize_multiplier(float(_F(x.scale) / _F(y.scale)))
    return pack([multiply(d, multiplier, shift) + y.zero for d in distance], y)


def hard_swish_table(x: Tensor, y: Tensor) -> np.ndarray:
    """HARD_SWISH: TFLite's 16-bit fixed-point kernel, which the default interpreter runs too."""
    hires = _F(1 / 128) * _F(x.scale)
    out_multiplier, out_shift = quantize_multiplier(float(hires / _F(y.scale)))
    gate_multiplier, gate_shift = quantize_multiplier(float(hires / _F(3 / 32768)))
    out16, gate16 = _to_16(out_multiplier), _to_16(gate_multiplier)
    values = []
    for q in domain(x):
        wide = (int(q) - x.zero) * 128
        gate = _gate(wide, gate16, gate_shift)
        product = _sat16(_truncate(gate * _high_mul_16(wide, out16), 15))
        values.append(_rounding_shift_16(product, -out_shift) + y.zero)
    return pack(values, y)


def _gate(wide: int, multiplier: int, shift: int) -> int:
    """relu6(x + 3) / 6 in Q0.15."""
    v = wide
    if shift > 0:
        v = _sat16(v << (shift - 1))
    v = _high_mul_16(v, multiplier)
    if shift > 0:
        v = _sat16(v << 1)
    if shift < 0:
        v = _rounding_shift_16(v, -shift)
    return (v + 32768) >> 1


def _rounding_shift_16(x: int, bits: int) -> int:
    """`rounding_shift` of an int16, whose mask has no more than 16 bits: beyond, 1 or -1."""
    return rounding_shift(x, bits) if bits < 16 else 1 if x >= 0 else -1


def _sat16(v: int) -> int:
    return max(-32768, min(32767, v))


def _truncate(v: int, bits: int) -> int:
    return v >> bits if v >= 0 else -(-v >> bits)


def _high_mul_16(a: int, b: int) -> int:
    product = a * b
    return _sat16(_truncate(product + (1 << 14 if product >= 0 else 1 - (1 << 14)), 15))


def _to_16(multiplier: int) -> int:
    return 0x7FFF if multiplier >= 0x7FFF0000 else (multiplier + 0x8000) >> 16
