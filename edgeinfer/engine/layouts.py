"""Weights packed for one ISA: which layout a step's kernel wants, and the packing itself.

Packing runs once, at plan time, in numpy, so that a plan for a board can be made on any host.
Each layout is documented at the kernel that reads it (csrc/kernels/<isa>/).

Every packer takes a step with natural inputs (see `ei_conv_params` in csrc/kernels/ops.h) and
either packs it and returns True, or leaves it alone and returns False: the step then runs on the
reference kernel, which the placement shows.

Where several packers take a step, the first is the rule; `candidates` names them all, and a tuning
table (tuning.py) may choose another. A packer that no rule should choose, or only some of the time,
stands in ALTERNATIVES without its condition: it is then reached by the table alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import lcm

import numpy as np

from . import affine
from .ops import Step
from .tensor import Tensor, per_tensor

Packer = Callable[[Step, str], bool]

_GEMM_OPS = ("CONV_2D", "FULLY_CONNECTED")
_MAX_TAPS = 256
_MAX_SPAN = 64


def pack(step: Step, isa: str, rounding: str, layout: str | None = None) -> None:
    """Give the step `layout`, or by default that of the best kernel of `isa`.

    Left natural where no kernel fits; the default too where none packs it as `layout`.
    """
    for found in _packed(step, isa, rounding, every=layout is not None):
        if layout in (None, found.layout):
            become(step, found)
            return
    if layout is not None:
        pack(step, isa, rounding)


def candidates(step: Step, isa: str, rounding: str) -> dict[str, Step]:
    """Every packing of the step that a kernel of `isa` takes, by layout, the default first."""
    found: dict[str, Step] = {}
    for packed in _packed(step, isa, rounding, every=True):
        found.setdefault(packed.layout, packed)
    return found or {step.layout: step}


def _packed(step: Step, isa: str, rounding: str, every: bool) -> Iterator[Step]:
    """Copies of the step as the packers leave it: those of `isa`, then `every` other that runs."""
    packers = PACKERS.get(isa, ())
    if every:
        others = (PACKERS[lesser] for lesser in _LESSER.get(isa, ()))
        packers = (*packers, *ALTERNATIVES.get(isa, ()), *(p for ps in others for p in ps))
    for packer in packers:
        copy = replace(step, inputs=list(step.inputs))
        _widen_depthwise(copy)
        if packer(copy, rounding):
            yield copy


def become(step: Step, other: Step) -> None:
    """Make the step what a packed copy of it is."""
    step.op, step.layout, step.workers = other.op, other.layout, other.workers
    step.inputs, step.values = other.inputs, other.values


def _widen_depthwise(step: Step) -> None:
    """A depthwise convolution with several outputs a channel is a grouped convolution."""
    if step.op != "DEPTHWISE_CONV_2D" or step.values["multiplier"] == 1:
        return
    w = step.inputs[1]
    if w is None or not w.constant or w.data is None:
        return
    data = np.ascontiguousarray(w.data[0].transpose(2, 0, 1)[..., None])
    step.inputs[1] = Tensor(w.name, data.shape, w.dtype, w.quant, data)
    step.op = "CONV_2D"
    step.values = {**step.values, "multiplier": 1}


def _dynamic(step: Step) -> bool:
    """Whether x was quantised at run time and the output is float (seven inputs, see ops.h)."""
    return len(step.inputs) == 7


def _packable(step: Step, dtype: str, ops: tuple[str, ...]) -> bool:
    if step.op not in ops or step.layout != "NATURAL":
        return False
    x, w = step.inputs[0], step.inputs[1]
    bias = step.inputs[2]
    known = w is not None and w.constant and (bias is None or bias.constant)
    q8 = ("int8", "uint8")
    out = "float32" if _dynamic(step) else dtype
    typed = x is not None and w is not None and x.dtype == dtype and step.outputs[0].dtype == out
    same = w is not None and (w.dtype in q8 if dtype in q8 else w.dtype == dtype)
    return known and typed and same


def _depthwise_fits(step: Step) -> bool:
    """The bounds of csrc/kernels/depthwise.h."""
    v = step.values
    return (
        step.op == "DEPTHWISE_CONV_2D"
        and v["multiplier"] == 1
        and v["kernel_h"] * v["kernel_w"] <= _MAX_TAPS
        and (v["kernel_h"] - 1) * v["dilation_h"] < _MAX_SPAN
    )


def _data(tensor: Tensor | None) -> np.ndarray:
    assert tensor is not None
    assert tensor.data is not None
    return tensor.data


def _constant(name: str, data: np.ndarray, zero: int | None = None) -> Tensor:
    """A packed constant; `zero` makes it a blob of bytes with that zero point."""
    if zero is None:
        return Tensor(name, data.shape, str(data.dtype), data=data)
    flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    return Tensor(name, flat.shape, "blob", per_tensor(1.0, zero), flat)


#: Channels of a group -> where each lies among the columns of its blocks.
Order = Callable[[int], np.ndarray]


def _natural(n: int) -> np.ndarray:
    return np.arange(n)


def _packing_order(n: int) -> np.ndarray:
    """Columns of blocks of 32 such that packing accumulators to bytes gives the natural order.

    See channel_of() in csrc/kernels/avx512vnni/gemm_q8.c; a last block of at most 16 is as it is.
    """
    c = np.arange(n)
    i = c % 32
    permuted = i // 8 * 4 + i // 4 % 2 * 16 + i % 4
    narrow = c >= n - (n % 32 if 0 < n % 32 <= 16 else 0)
    return np.where(narrow, c, c - i + permuted)


def _columns(
    values: np.ndarray, groups: int, nr: int, fill: float = 0, order: Order = _natural
) -> np.ndarray:
    """One value a channel -> [groups * blocks * nr], padded with `fill` to whole blocks."""
    per_group = values.reshape(groups, -1)
    n = per_group.shape[1]
    out = np.full((groups, -(-n // nr) * nr), fill, values.dtype)
    out[:, order(n)] = per_group
    return out.reshape(-1)


def _segmented(step: Step, w: np.ndarray, unit: int) -> np.ndarray:
    """Weights [OC, KH, KW, C] -> [OC, depth], every segment of a patch padded to whole units.

    Segments are those of csrc/kernels/rows.h.
    """
    v, oc = step.values, step.outputs[0].shape[-1]
    rows = v["kernel_h"]
    if v["dilation_w"] != 1 or v["groups"] != 1:
        rows *= v["kernel_w"]
    segments = w.reshape(oc, rows, -1)
    short = -segments.shape[2] % unit
    return np.pad(segments, ((0, 0), (0, 0), (0, short))).reshape(oc, -1)


def _panels(w: np.ndarray, groups: int, nr: int, unit: int, order: Order = _natural) -> np.ndarray:
    """[OC, depth] -> [groups, blocks, depth/unit, nr, unit], zeros where padded."""
    oc, depth = w.shape
    per_group = oc // groups
    blocks, units = -(-per_group // nr), -(-depth // unit)
    out = np.zeros((groups, blocks * nr, units * unit), w.dtype)
    out[:, order(per_group), :depth] = w.reshape(groups, per_group, depth)
    tiles = out.reshape(groups, blocks, nr, units, unit)
    return np.ascontiguousarray(tiles.transpose(0, 1, 3, 2, 4))


def _bias(step: Step, n: int, dtype: type = np.int64) -> np.ndarray:
    return _data(step.inputs[2]).astype(dtype) if step.inputs[2] is not None else np.zeros(n, dtype)


def _wrap(values: np.ndarray) -> np.ndarray:
    """int64 -> int32 modulo 2^32, as the accumulator itself wraps."""
    return values.astype(np.int64).astype(np.uint64).astype(np.uint32).view(np.int32)


def _signed_weights(step: Step) -> tuple[np.ndarray, int]:
    """Weights as int8 [OC, ...] and their zero point in that form."""
    tensor = step.inputs[1]
    w = _data(tensor)
    if w.dtype == np.uint8:
        assert tensor is not None
        return (w.astype(np.int16) - 128).astype(np.int8), tensor.zero - 128
    return w, 0


def _requant(step: Step, spread: Callable[[np.ndarray], np.ndarray]) -> list[Tensor | None]:
    """The requantisation constants of a step, spread to the layout's order."""
    n = step.outputs[0].shape[-1]
    out: list[Tensor | None] = []
    for tensor in (*step.inputs[3:5], None, None)[:2]:
        if tensor is None:
            out.append(None)
        else:
            full = np.broadcast_to(_data(tensor).reshape(-1), (n,))
            out.append(_constant("requant", spread(full)))
    return out


def _affine(step: Step) -> affine.Affine | None:
    """The fixed-point requantisation of a step as a multiply-add; None where it has none."""
    n, y = step.outputs[0].shape[-1], step.outputs[0]
    scale, shift = step.inputs[3], step.inputs[4]
    if scale is None or (shift is None and _data(scale).dtype != np.float64):
        return None
    values = np.broadcast_to(_data(scale).reshape(-1), (n,))
    if shift is None:
        exact, real = affine.real(values), values
    else:
        shifts = np.broadcast_to(_data(shift).reshape(-1), (n,))
        exact = affine.fixed_point(values, shifts)
        real = np.ldexp(values.astype(np.float64), shifts - 31)
    limits = step.values["act_min"], step.values["act_max"]
    return affine.find(exact, real, y.zero, *limits, 128 if y.dtype == "uint8" else 0)


def _requant_affine(
    step: Step, spread: Callable[[np.ndarray], np.ndarray], lanes: int
) -> list[Tensor | None]:
    """The requantisation constants and, where there is one, the affine form of blocks of lanes."""
    form = _affine(step)
    blocks = [] if form is None else [_constant("affine", form.block(spread, lanes))]
    return [*_requant(step, spread), *blocks]


def _gemm_q8(step: Step, layout: str, nr: int, unit: int, order: Order = _natural) -> None:
    """Shared by the integer matrix products on 8-bit operands."""
    groups = step.values["groups"]
    order = _natural if _dynamic(step) else order
    w, zero = _signed_weights(step)
    sums = (w.reshape(step.outputs[0].shape[-1], -1).astype(np.int64) - zero).sum(1)
    panels = _panels(_segmented(step, w, unit), groups, nr, unit, order)
    x86 = "VNNI" in layout
    _set_gemm_q8(step, _constant("weights", panels, zero), sums, nr, order, x86)
    step.layout = layout


def _set_gemm_q8(
    step: Step, blob: Tensor, sums: np.ndarray, nr: int, order: Order = _natural, x86: bool = True
) -> None:
    """Packed weights, and what goes with each column; `sums` of the true weights, [OC].

    The bias folds both zero points, but that of an x quantised at run time is not known yet: then
    the sums go along. Kernels for `x86` take the affine form of fixed-point requantisation too;
    others have instructions for it.
    """
    x = step.inputs[0]
    assert x is not None

    def spread(values: np.ndarray) -> np.ndarray:
        return _columns(values, step.values["groups"], nr, order=order)

    if _dynamic(step):
        bias = _constant("bias", spread(_bias(step, len(sums), np.float32)))
        scale = _constant("scale", spread(_data(step.inputs[3])))
        last = _constant("sums", spread(_wrap(sums)))
        step.inputs = [x, blob, bias, scale, *step.inputs[4:6], last]
    else:
        bias = _constant("bias", spread(_wrap(_bias(step, len(sums)) - x.zero * sums)))
        requant = _requant_affine(step, spread, nr) if x86 else _requant(step, spread)
        step.inputs = [x, blob, bias, *requant]


def _vnni_gemm_q8(step: Step, rounding: str) -> bool:
    if not _packable(step, "uint8", _GEMM_OPS):
        return False
    _gemm_q8(step, "VNNI_GEMM_Q8", 32, 4, _packing_order)
    return True


def _avxvnni_gemm_q8(step: Step, rounding: str) -> bool:
    if not _packable(step, "uint8", _GEMM_OPS):
        return False
    _gemm_q8(step, "AVXVNNI_GEMM_Q8", 16, 4)
    return True


def _spread(channels: int, lanes: int) -> np.ndarray:
    """Channel of every element of the n blocks of a depthwise layout, [n, lanes]."""
    n = lcm(channels, lanes) // lanes
    return (np.arange(n * lanes) % channels).reshape(n, lanes)


def _vnni_dw_q8(step: Step, rounding: str) -> bool:
    if not (_packable(step, "uint8", ("DEPTHWISE_CONV_2D",)) and _depthwise_fits(step)):
        return False
    w, zero = _signed_weights(step)
    channels = w.shape[-1]
    w = w.reshape(-1, channels)
    x = step.inputs[0]
    assert x is not None
    bias = _wrap(_bias(step, channels) - x.zero * (w.astype(np.int64) - zero).sum(0))
    # Element 16 L + 4 r + i of a block is lane 4 L + i of register r.
    order = _spread(channels, 64).reshape(-1, 4, 4, 4).transpose(0, 2, 1, 3).reshape(-1, 64)
    taps = np.zeros((-(-len(w) // 4) * 4, channels), np.int8)
    taps[: len(w)] = w
    blob = taps.reshape(-1, 4, channels)[:, :, order].transpose(2, 0, 3, 1)
    requant = _requant_affine(step, lambda v: v[order].reshape(-1), 64)
    weights = _constant("weights", np.ascontiguousarray(blob), zero)
    step.inputs = [x, weights, _constant("bias", bias[order].reshape(-1)), *requant]
    step.layout = "VNNI_DW_Q8"
    return True


def _vnni_dw_tiles_q8(step: Step, rounding: str) -> bool:
    """Windows of 3x3 and 5x5 over at least 16 channels: csrc/kernels/avx512vnni/dw_tiles_q8.c."""
    if not (_packable(step, "uint8", ("DEPTHWISE_CONV_2D",)) and _tiled(step, rounding)):
        return False
    w, _ = _signed_weights(step)
    size, stride, channels = step.values["kernel_h"], step.values["stride_h"], w.shape[-1]
    x, starts = step.inputs[0], np.minimum(np.arange(0, channels, 16), channels - 16)
    assert x is not None
    order = starts[:, None] + np.arange(16)
    sums = w.reshape(-1, channels).astype(np.int64).sum(0)
    bias = _wrap(_bias(step, channels) - x.zero * sums)[order]
    # [output row][input row of both][kernel column][channel]
    rows = np.zeros((2, -(-(stride + size) // 4) * 4, size, channels), np.int8)
    rows[0, :size], rows[1, stride : stride + size] = w[0], w[0]
    fours = rows.reshape(2, -1, 4, size, channels)[..., order]
    blob = np.ascontiguousarray(fours.transpose(4, 0, 3, 1, 5, 2))
    requant = _requant_affine(step, lambda v: v[order].reshape(-1), 16)
    step.inputs = [x, _constant("weights", blob, 0), _constant("bias", bias.reshape(-1)), *requant]
    step.layout = "VNNI_DW_TILES_Q8"
    return True


def _tiled(step: Step, rounding: str) -> bool:
    v = step.values
    window = v["kernel_h"], v["stride_h"]
    square = window == (v["kernel_w"], v["stride_w"]) and v["dilation_h"] == v["dilation_w"] == 1
    return (
        _depthwise_fits(step)
        and (square and v["kernel_h"] in (3, 5) and v["stride_h"] in (1, 2))
        and (step.outputs[0].shape[-1] >= 16 and _signed_weights(step)[1] == 0)
        and _scales_fit(step, rounding)
    )


def _scales_fit(step: Step, rounding: str) -> bool:
    """Whether every scale is below 1 or, in fixed point, has an affine form."""
    if rounding == "xnnpack":
        return bool(np.all(_data(step.inputs[3]) < 1))
    form = _affine(step)
    return form is not None and bool(np.all(form.proved))


def _gemm_f32(layout: str, nr: int) -> Packer:
    def packer(step: Step, rounding: str) -> bool:
        if not _packable(step, "float32", _GEMM_OPS):
            return False
        groups = step.values["groups"]
        w = _data(step.inputs[1]).reshape(step.outputs[0].shape[-1], -1)
        bias = _columns(_bias(step, len(w), np.float32), groups, nr)
        blob = _constant("weights", _panels(w, groups, nr, 1), 0)
        step.inputs = [step.inputs[0], blob, _constant("bias", bias)]
        step.layout = layout
        return True

    return packer


def _dw_f32(layout: str, lanes: int) -> Packer:
    def packer(step: Step, rounding: str) -> bool:
        if not (_packable(step, "float32", ("DEPTHWISE_CONV_2D",)) and _depthwise_fits(step)):
            return False
        w = _data(step.inputs[1])[0].swapaxes(0, 1)
        w = w.reshape(-1, w.shape[-1])
        order = _spread(w.shape[1], lanes)
        blob = np.ascontiguousarray(w[:, order].transpose(1, 0, 2))
        bias = _bias(step, w.shape[1], np.float32)[order].reshape(-1)
        packed = [step.inputs[0], _constant("weights", blob, 0), _constant("bias", bias)]
        if _dynamic(step):
            scale = _constant("scale", _data(step.inputs[3])[order].reshape(-1))
            packed += [scale, *step.inputs[4:]]
        step.inputs = packed
        step.layout = layout
        return True

    return packer


def _avx2_gemm_q8(step: Step, rounding: str) -> bool:
    x = step.inputs[0]
    if x is None or not _packable(step, x.dtype, _GEMM_OPS) or x.dtype not in ("int8", "uint8"):
        return False
    w = _true_weights(step)
    panels = _panels(_segmented(step, w, 2), step.values["groups"], 16, 2)
    sums = w.reshape(step.outputs[0].shape[-1], -1).astype(np.int64).sum(1)
    _set_gemm_q8(step, _constant("weights", panels, 0), sums, 16)
    step.layout = "AVX2_GEMM_Q8"
    return True


def _true_weights(step: Step) -> np.ndarray:
    """Weights less their zero point, int16."""
    tensor = step.inputs[1]
    assert tensor is not None
    zero = tensor.zero if tensor.dtype == "uint8" else 0
    return (_data(tensor).astype(np.int16) - np.int16(zero)).astype(np.int16)


def _avx2_dw_q8(step: Step, rounding: str) -> bool:
    x = step.inputs[0]
    eight = x is not None and x.dtype in ("int8", "uint8")
    if x is None or not eight or not _packable(step, x.dtype, ("DEPTHWISE_CONV_2D",)):
        return False
    if not _depthwise_fits(step):
        return False
    w = _true_weights(step)
    channels = w.shape[-1]
    w = w.reshape(-1, channels)
    bias = _wrap(_bias(step, channels) - x.zero * w.astype(np.int64).sum(0))
    # Element 8 h + 4 r + i of a block is lane 4 h + i of register r.
    order = _spread(channels, 16).reshape(-1, 2, 2, 4).transpose(0, 2, 1, 3).reshape(-1, 16)
    taps = np.zeros((-(-len(w) // 2) * 2, channels), np.int16)
    taps[: len(w)] = w
    blob = taps.reshape(-1, 2, channels)[:, :, order].transpose(2, 0, 3, 1)
    requant = _requant_affine(step, lambda v: v[order].reshape(-1), 16)
    weights = _constant("weights", np.ascontiguousarray(blob), 0)
    step.inputs = [x, weights, _constant("bias", bias[order].reshape(-1)), *requant]
    step.layout = "AVX2_DW_Q8"
    return True


def _int8_weights(step: Step) -> tuple[np.ndarray, int] | None:
    """Weights of an int8 step as int8 and their zero point, or None where it is no such step."""
    ops = (*_GEMM_OPS, "DEPTHWISE_CONV_2D")
    return _signed_weights(step) if _packable(step, "int8", ops) else None


def _extreme_pairs(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether both of a pair of weights are -128 somewhere: their int16 sum could overflow."""
    return bool(np.any((first == -128) & (second == -128)))


def _neon_gemm_q8(step: Step, rounding: str) -> bool:
    found = _int8_weights(step)
    if found is None or step.op == "DEPTHWISE_CONV_2D":
        return False
    panels = _panels(_segmented(step, found[0], 16), step.values["groups"], 4, 16)
    full = _extreme_pairs(panels[..., :8], panels[..., 8:])
    _gemm_q8(step, "NEON_GEMM_Q8_FULL" if full else "NEON_GEMM_Q8", 4, 16)
    return True


def _arm_gemm_q8(layout: str, nr: int, unit: int) -> Packer:
    def packer(step: Step, rounding: str) -> bool:
        if _int8_weights(step) is None or step.op == "DEPTHWISE_CONV_2D":
            return False
        _gemm_q8(step, layout, nr, unit)
        return True

    return packer


_dotprod_gemm_q8 = _arm_gemm_q8("DOTPROD_GEMM_Q8", 8, 4)
_i8mm_gemm_q8 = _arm_gemm_q8("I8MM_GEMM_Q8", 8, 8)


def _neon_dw_q8(step: Step, rounding: str) -> bool:
    found = _int8_weights(step)
    if found is None or not _depthwise_fits(step):
        return False
    w, zero = found
    channels = w.shape[-1]
    w = w.reshape(-1, channels)
    x = step.inputs[0]
    assert x is not None
    bias = _wrap(_bias(step, channels) - x.zero * (w.astype(np.int64) - zero).sum(0))
    order = _spread(channels, 16)
    even = len(w) // 2 * 2
    full = _extreme_pairs(w[0:even:2], w[1:even:2])
    requant = _requant(step, lambda v: v[order].reshape(-1))
    weights = _constant("weights", np.ascontiguousarray(w[:, order].transpose(1, 0, 2)), zero)
    step.inputs = [x, weights, _constant("bias", bias[order].reshape(-1)), *requant]
    step.layout = "NEON_DW_Q8_FULL" if full else "NEON_DW_Q8"
    return True


def _lstm_q8(layout: str, lanes: int, unit: int, dtype: str, offset: int) -> Packer:
    """The integer LSTM: see csrc/kernels/lstm_q8.h; activations are read with `offset` added."""

    def packer(step: Step, rounding: str) -> bool:
        if step.op != "LSTM" or step.layout != "NATURAL" or _data(step.inputs[1]).dtype != np.int8:
            return False
        x, w, r, bias, hidden, cell = step.inputs
        assert x is not None
        assert hidden is not None
        inputs, of_x = _lstm_blob(_data(w), lanes, unit, dtype)
        recurrent, of_h = _lstm_blob(_data(r), lanes, unit, dtype)
        first = _lstm_columns(_data(bias).astype(np.int64), lanes) - (x.zero + offset) * of_x
        second = -(hidden.zero + offset) * of_h
        step.inputs = [
            x, _constant("weights", inputs, 0), _constant("recurrent", recurrent, 0),
            _constant("bias", _wrap(first)), hidden, cell, _constant("sums", _wrap(second)),
        ]  # fmt: skip
        step.layout = layout
        return True

    return packer


def _lstm_columns(w: np.ndarray, lanes: int) -> np.ndarray:
    """[..., 4 * units] with the columns of each gate padded to whole vectors."""
    gates = w.reshape(*w.shape[:-1], 4, -1)
    short = -gates.shape[-1] % lanes
    padded = np.pad(gates, [(0, 0)] * (gates.ndim - 1) + [(0, short)])
    return padded.reshape(*w.shape[:-1], -1)


def _lstm_blob(w: np.ndarray, lanes: int, unit: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights [depth, 4 * units] in the order of lstm_q8.h, and the sum of every column."""
    columns = np.pad(_lstm_columns(w, lanes), ((0, -w.shape[0] % unit), (0, 0)))
    blocks = columns.reshape(-1, unit, columns.shape[1] // (4 * lanes), 4 * lanes)
    return blocks.transpose(2, 0, 3, 1).astype(dtype), columns.astype(np.int64).sum(0)


_NEON_REST = (_neon_dw_q8, _gemm_f32("NEON_GEMM_F32", 8), _dw_f32("NEON_DW_F32", 4))

_AVX2_REST = (
    _avx2_dw_q8,
    _gemm_f32("AVX2_GEMM_F32", 16),
    _dw_f32("AVX2_DW_F32", 8),
    _lstm_q8("AVX2_LSTM_Q8", 16, 2, "int16", 0),
)

#: ISA -> packers that a tuning table may choose besides the rule's.
ALTERNATIVES: dict[str, tuple[Packer, ...]] = {}

#: ISA -> others whose kernels its machines run too.
_LESSER = {
    "avx512vnni": ("avx2",),
    "avxvnni": ("avx2",),
    "dotprod": ("neon",),
    "i8mm": ("dotprod", "neon"),
}

#: ISA -> packers to try, best first.
PACKERS: dict[str, tuple[Packer, ...]] = {
    "avx2": (_avx2_gemm_q8, *_AVX2_REST),
    "avxvnni": (_avxvnni_gemm_q8, *_AVX2_REST),
    "avx512vnni": (
        _vnni_gemm_q8,
        _vnni_dw_tiles_q8,
        _vnni_dw_q8,
        _gemm_f32("AVX512_GEMM_F32", 32),
        _dw_f32("AVX512_DW_F32", 16),
        _lstm_q8("VNNI_LSTM_Q8", 32, 4, "int8", 128),
    ),
    "neon": (_neon_gemm_q8, *_NEON_REST),
    "dotprod": (_dotprod_gemm_q8, *_NEON_REST),
    "i8mm": (_i8mm_gemm_q8, *_NEON_REST),
}
