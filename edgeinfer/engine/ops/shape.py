"""Operators that move, select or compare data. Their shape inputs must be constants.

Data is moved byte for byte: where input and output are quantised differently LiteRT's kernels
refuse too (int8) or requantise (CONCATENATION of uint8, in float32: done here by a table).

Exceptions
    COMPARE of 8-bit inputs: LiteRT compares after a fixed-point rescaling that merges neighbours
        where the scale is below 1/256; ours does the same, bit for bit.
    GATHER: an index out of range fails the run (LiteRT fails too).
"""

from __future__ import annotations

import numpy as np

from ... import _native
from ...errors import ShapeError
from ..graph import Node
from ..tensor import Tensor
from . import Context, Step, rule, tables
from .checks import (
    EIGHT_BIT,
    MOVABLE,
    axis_of,
    constant,
    expect_rank,
    expect_same,
    expect_shape,
    expect_types,
    integers,
    made,
    refuse,
    same_quantisation,
    scalar_quantisation,
    six,
)


def _moved(node: Node, i: int = 0) -> tuple[Tensor, Tensor]:
    """Input i and output 0 of a node that only moves data."""
    x, y = node.input(i), node.outputs[0]
    expect_types(node, x, MOVABLE)
    if max(len(x.shape), len(y.shape)) > 6:
        raise refuse(node, f"{x} or {y} has more than 6 dimensions")
    expect_same(node, x, y)
    return x, y


@rule("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
def reshape(node: Node, ctx: Context) -> Step:
    """The same bytes under another shape."""
    x, y = _moved(node)
    if x.count != y.count:
        raise ShapeError(f"{node.op} (node {node.name!r}): {x} and {y} differ in size")
    return Step("COPY", [x], [y], in_place=0)


@rule("TRANSPOSE")
def transpose(node: Node, ctx: Context) -> Step:
    """TRANSPOSE by the constant permutation in input 1; a copy where no order changes."""
    x, y = _moved(node)
    rank = len(x.shape)
    perm = [axis_of(node, p, rank) for p in integers(node, 1, "permutation")]
    if sorted(perm) != list(range(rank)):
        raise ShapeError(f"{node.op} (node {node.name!r}): {perm} is no permutation of {x}")
    expect_shape(node, y, tuple(x.shape[p] for p in perm))
    moving = [p for p in perm if x.shape[p] != 1]
    if moving == sorted(moving):
        return Step("COPY", [x], [y], in_place=0)
    return Step("TRANSPOSE", [x], [y], "transpose", {"perm": six(perm, 0)})


@rule("CONCATENATION")
def concatenation(node: Node, ctx: Context) -> Step:
    """CONCATENATION along `axis`; uint8 inputs of another quantisation through a table."""
    y = node.outputs[0]
    axis = axis_of(node, int(node.attrs.get("axis", 0)), len(y.shape))
    if node.attrs.get("fused_activation_function", "NONE") != "NONE":
        raise refuse(node, f"activation {node.attrs['fused_activation_function']} is not taken")
    parts = [node.input(i) for i in range(len(node.inputs))]
    for x in parts:
        expect_types(node, x, MOVABLE)
        if [d for i, d in enumerate(x.shape) if i != axis] != [
            d for i, d in enumerate(y.shape) if i != axis
        ]:
            raise ShapeError(f"{node.op} (node {node.name!r}): {x} does not fit {y}")
    if sum(x.shape[axis] for x in parts) != y.shape[axis]:
        raise ShapeError(f"{node.op} (node {node.name!r}): the inputs do not fill {y}")
    found = [_concatenation_table(node, x, y) for x in parts]
    extra = found if any(t is not None for t in found) else []
    values = {"axis": axis, "count": len(parts)}
    return Step("CONCATENATION", [*parts, *extra], [y], "axis", values)


def _concatenation_table(node: Node, x: Tensor, y: Tensor) -> Tensor | None:
    if x.dtype == y.dtype == "uint8" and not same_quantisation(x, y):
        scalar_quantisation(node, x)
        scalar_quantisation(node, y)
        return made(f"{y.name}/table", tables.concatenation_table(x, y))
    expect_same(node, x, y)
    return None


@rule("PACK")
def pack(node: Node, ctx: Context) -> Step:
    """PACK: inputs of one shape stacked along a new axis."""
    y = node.outputs[0]
    axis = axis_of(node, int(node.attrs.get("axis", 0)), len(y.shape))
    parts = [node.input(i) for i in range(len(node.inputs))]
    for x in parts:
        expect_types(node, x, MOVABLE)
        expect_same(node, x, y)
        expect_shape(node, x, y.shape[:axis] + y.shape[axis + 1 :])
    if len(parts) != y.shape[axis]:
        raise ShapeError(f"{node.op} (node {node.name!r}): {len(parts)} inputs do not fill {y}")
    return Step("CONCATENATION", list(parts), [y], "axis", {"axis": axis, "count": len(parts)})


def _cut(node: Node, x: Tensor, axis: int, sizes: list[int], keep: bool) -> Step:
    """SPLIT of x along the axis into the outputs, which keep the axis or not."""
    expect_types(node, x, MOVABLE)
    if len(sizes) != len(node.outputs) or sum(sizes) != x.shape[axis]:
        raise ShapeError(f"{node.op} (node {node.name!r}): pieces {sizes} do not make up {x}")
    for size, y in zip(sizes, node.outputs, strict=True):
        expect_same(node, x, y)
        expect_shape(node, y, x.shape[:axis] + ((size,) if keep else ()) + x.shape[axis + 1 :])
    values = {"axis": axis, "count": len(sizes)}
    return Step("SPLIT", [x], list(node.outputs), "axis", values)


@rule("SPLIT")
def split(node: Node, ctx: Context) -> Step:
    """SPLIT: input 1 in equal pieces along the constant axis in input 0."""
    x, n = node.input(1), len(node.outputs)
    axis = axis_of(node, integers(node, 0, "axis")[0], len(x.shape))
    return _cut(node, x, axis, [x.shape[axis] // n] * n, True)


@rule("SPLIT_V")
def split_v(node: Node, ctx: Context) -> Step:
    """SPLIT_V: input 0 in pieces of the constant sizes in input 1 (one may be -1: the rest)."""
    x = node.input(0)
    sizes, axis = integers(node, 1, "sizes"), integers(node, 2, "axis")[0]
    axis = axis_of(node, axis, len(x.shape))
    rest = x.shape[axis] - sum(s for s in sizes if s >= 0)
    return _cut(node, x, axis, [rest if s < 0 else s for s in sizes], True)


@rule("UNPACK")
def unpack(node: Node, ctx: Context) -> Step:
    """UNPACK: one output per index of the axis."""
    x = node.input(0)
    axis = axis_of(node, int(node.attrs.get("axis", 0)), len(x.shape))
    return _cut(node, x, axis, [1] * x.shape[axis], False)


def _slice_step(node: Node, begin: list[int], stride: list[int], size: list[int]) -> Step:
    x, y = _moved(node)
    if int(np.prod(size, dtype=np.int64)) != y.count:
        raise ShapeError(f"{node.op} (node {node.name!r}): a slice of {size} of {x} is not {y}")
    for b, s, n, d in zip(begin, stride, size, x.shape, strict=True):
        if n < 1 or not 0 <= b < d or not 0 <= b + (n - 1) * s < d:
            raise refuse(
                node, f"{n} elements from {b} by {s} lie outside a dimension of {d} of {x}"
            )
    if tuple(size) == x.shape and all(s == 1 for s in stride):
        return Step("COPY", [x], [y], in_place=0)
    values = {"begin": six(begin, 0), "stride": six(stride, 1), "size": six(size, 1)}
    return Step("STRIDED_SLICE", [x], [y], "strided_slice", values)


@rule("SLICE")
def slice_(node: Node, ctx: Context) -> Step:
    """SLICE from constant begins (input 1), of constant sizes (input 2; -1: to the end)."""
    shape = node.input(0).shape
    begin, size = integers(node, 1, "begin"), integers(node, 2, "size")
    if not len(begin) == len(size) == len(shape):
        raise ShapeError(
            f"{node.op} (node {node.name!r}): begin and size need {len(shape)} numbers"
        )
    size = [d - b if n < 0 else n for b, n, d in zip(begin, size, shape, strict=True)]
    return _slice_step(node, begin, [1] * len(shape), size)


@rule("STRIDED_SLICE")
def strided_slice(node: Node, ctx: Context) -> Step:
    """STRIDED_SLICE with constant begins, ends and strides, and all five masks."""
    begin, end = integers(node, 1, "begin"), integers(node, 2, "end")
    strides = integers(node, 3, "strides")
    if 0 in strides or not len(begin) == len(end) == len(strides):
        raise ShapeError(f"{node.op} (node {node.name!r}): begin, end, strides do not fit")
    picks = []
    for size, where in zip(node.input(0).shape, _sparse(node, len(begin)), strict=True):
        if where is None:
            picks.append((0, 1, size))
            continue
        masks = [bool(int(node.attrs.get(f"{m}_mask", 0)) >> where & 1) for m in ("begin", "end")]
        shrink = bool(int(node.attrs.get("shrink_axis_mask", 0)) >> where & 1)
        last = end[where] + (begin[where] if node.attrs.get("offset", False) else 0)
        spec = (begin[where], last, strides[where])
        picks.append(_range(size, spec, masks[0], masks[1], shrink))
    starts, steps, sizes = ([p[i] for p in picks] for i in range(3))
    return _slice_step(node, starts, steps, sizes)


def _sparse(node: Node, count: int) -> list[int | None]:
    """For each input dimension its entry in begin/end/strides; None: taken whole."""
    ellipsis, new = (int(node.attrs.get(f"{m}_mask", 0)) for m in ("ellipsis", "new_axis"))
    rank = len(node.input(0).shape)
    used = sum(1 for i in range(count) if not (ellipsis >> i & 1 or new >> i & 1))
    found: list[int | None] = []
    for i in range(count):
        if ellipsis >> i & 1:
            found += [None] * (rank - used)
        elif not new >> i & 1:
            found.append(i)
    if len(found) > rank:
        raise ShapeError(f"{node.op} (node {node.name!r}): {count} entries for {rank} dimensions")
    return found + [None] * (rank - len(found))


def _range(
    size: int, spec: tuple[int, int, int], open_begin: bool, open_end: bool, shrink: bool
) -> tuple[int, int, int]:
    """(first, step, count) along one dimension."""
    begin, end, step = spec
    low, high = (0, size) if step > 0 else (-1, size - 1)
    first = begin + size if begin < 0 else begin
    first = (0 if step > 0 else size - 1) if open_begin else min(max(first, low), high)
    if shrink:
        return first, 1, 1
    last = end + size if end < 0 else end
    last = (size if step > 0 else -1) if open_end else min(max(last, low), high)
    return first, step, max(0, -(-(last - first) // step))


@rule("PAD", "PADV2")
def pad(node: Node, ctx: Context) -> Step:
    """PAD with zero (quantised: the zero point), PADV2 with the constant scalar in input 2."""
    x, y = _moved(node)
    before, after = _paddings(node, x, y)
    value = np.array([x.zero if x.quantised else 0]).astype(x.dtype)
    if node.op == "PADV2":
        value = constant(node, 2, "padding value").reshape(-1)[:1].astype(x.dtype)
        expect_same(node, x, node.input(2))
    raw = value.tobytes().ljust(8, b"\0")
    words = np.frombuffer(raw, "<i4").tolist()
    values = {"before": six(before, 0), "after": six(after, 0), "value": words}
    return Step("PAD", [x], [y], "pad", values)


def _paddings(node: Node, x: Tensor, y: Tensor) -> tuple[list[int], list[int]]:
    pairs = integers(node, 1, "paddings")
    before, after = pairs[0::2], pairs[1::2]
    if len(pairs) != 2 * len(x.shape) or min(pairs, default=0) < 0:
        raise refuse(node, f"paddings {pairs} of {x} must be two numbers >= 0 per dimension")
    expect_shape(node, y, tuple(b + d + a for b, d, a in zip(before, x.shape, after, strict=True)))
    return before, after


@rule("MIRROR_PAD")
def mirror_pad(node: Node, ctx: Context) -> Step:
    """MIRROR_PAD, mode REFLECT or SYMMETRIC."""
    x, y = _moved(node)
    before, after = _paddings(node, x, y)
    offset = 1 if node.attrs.get("mode", "REFLECT") == "REFLECT" else 0
    if any(max(b, a) > d - offset for b, a, d in zip(before, after, x.shape, strict=True)):
        raise ShapeError(f"{node.op} (node {node.name!r}): paddings reach beyond {x}")
    values = {"before": six(before, 0), "after": six(after, 0), "offset": offset}
    return Step("MIRROR_PAD", [x], [y], "mirror_pad", values)


@rule("TILE")
def tile(node: Node, ctx: Context) -> Step:
    """TILE by the constant multiples in input 1."""
    x, y = _moved(node)
    multiples = integers(node, 1, "multiples")
    if len(multiples) != len(x.shape):
        raise ShapeError(f"{node.op} (node {node.name!r}): {len(multiples)} multiples for {x}")
    expect_shape(node, y, tuple(d * m for d, m in zip(x.shape, multiples, strict=True)))
    return Step("TILE", [x], [y])


@rule("BROADCAST_TO")
def broadcast_to(node: Node, ctx: Context) -> Step:
    """BROADCAST_TO the output's shape."""
    x, y = _moved(node)
    _broadcast(node, [x], y)
    return Step("BROADCAST_TO", [x], [y])


def _broadcast(node: Node, inputs: list[Tensor], y: Tensor) -> None:
    try:
        fits = np.broadcast_shapes(*(t.shape for t in inputs), y.shape) == y.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{node.op} (node {node.name!r}): inputs do not broadcast to {y}")


@rule("GATHER")
def gather(node: Node, ctx: Context) -> Step:
    """GATHER along `axis` with `batch_dims`; indices int32 or int64, may be computed."""
    x, y = _moved(node)
    index = node.input(1)
    expect_types(node, index, ("int32", "int64"))
    axis = axis_of(node, int(node.attrs.get("axis", 0)), len(x.shape))
    batch = int(node.attrs.get("batch_dims", 0))
    batch += len(index.shape) if batch < 0 else 0
    if not 0 <= batch <= min(axis, len(index.shape)):
        raise refuse(node, f"batch_dims {batch} with axis {axis} and indices {index}")
    expect_shape(node, y, x.shape[:axis] + index.shape[batch:] + x.shape[axis + 1 :])
    values = {"axis": axis, "batch_dims": batch}
    return Step("GATHER", [x, index], [y], "gather", values)


@rule("EMBEDDING_LOOKUP")
def embedding_lookup(node: Node, ctx: Context) -> Step:
    """EMBEDDING_LOOKUP: rows of input 1 chosen by input 0, of one type."""
    index, y = node.input(0), node.outputs[0]
    x, _ = _moved(node, 1)
    expect_types(node, index, ("int32",))
    expect_shape(node, y, index.shape + x.shape[1:])
    return Step("GATHER", [x, index], [y], "gather", {"axis": 0, "batch_dims": 0})


@rule("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
def depth_to_space(node: Node, ctx: Context) -> Step:
    """DEPTH_TO_SPACE and SPACE_TO_DEPTH of NHWC images."""
    x, y = _moved(node)
    expect_rank(node, x, (4,))
    block = int(node.attrs.get("block_size", 0))
    deep, wide = (x, y) if node.op == "DEPTH_TO_SPACE" else (y, x)
    if block < 1 or deep.shape[3] % (block * block):
        raise ShapeError(f"{node.op} (node {node.name!r}): block {block} does not divide {deep}")
    n, h, w, c = deep.shape
    expect_shape(node, wide, (n, h * block, w * block, c // (block * block)))
    return Step(node.op, [x], [y], "block", _block([block, block], [0] * 4, 0))


def _block(block: list[int], ends: list[int], value: int) -> dict[str, int]:
    names = ("block_h", "block_w", "top", "bottom", "left", "right", "value")
    return dict(zip(names, (*block, *ends, value), strict=True))


@rule("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND")
def space_to_batch(node: Node, ctx: Context) -> Step:
    """SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND of [N, H, W, C] or [N, H, C]."""
    x, y = _moved(node)
    expect_rank(node, x, (3, 4))
    block, ends = integers(node, 1, "block shape"), integers(node, 2, "paddings or crops")
    if len(block) != len(x.shape) - 2 or len(ends) != 2 * len(block) or min(block + ends) < 0:
        raise refuse(node, f"block {block} and paddings or crops {ends} do not fit {x}")
    block, ends = [*block, 1][:2], [*ends, 0, 0][:4]
    to_batch = node.op == "SPACE_TO_BATCH_ND"
    large, small = (x, y) if to_batch else (y, x)
    sizes = [d + b + a for d, b, a in zip(large.shape[1:-1], ends[0::2], ends[1::2], strict=False)]
    shape = [large.shape[0] * block[0] * block[1]]
    shape += [d // b for d, b in zip(sizes, block, strict=False)]
    expect_shape(node, small, (*shape, large.shape[-1]))
    if any(d % b for d, b in zip(sizes, block, strict=False)):
        raise ShapeError(f"{node.op} (node {node.name!r}): block {block} does not divide {sizes}")
    value = x.zero if x.quantised else 0
    return Step(node.op.removesuffix("_ND"), [x], [y], "block", _block(block, ends, value))


@rule("REVERSE_V2")
def reverse(node: Node, ctx: Context) -> Step:
    """REVERSE_V2 along the constant axes in input 1."""
    x, y = _moved(node)
    expect_shape(node, y, x.shape)
    flags = [0] * 6
    for axis in integers(node, 1, "axes"):
        flags[axis_of(node, axis, len(x.shape))] = 1
    return Step("REVERSE", [x], [y], "reverse", {"reverse": flags})


@rule("ARG_MAX", "ARG_MIN")
def arg_max(node: Node, ctx: Context) -> Step:
    """ARG_MAX, ARG_MIN along the constant axis in input 1."""
    x, y = node.input(0), node.outputs[0]
    expect_types(node, x, ("float32", "int8", "uint8", "int16", "int32", "bool"))
    expect_types(node, y, ("int32", "int64"))
    axis = axis_of(node, integers(node, 1, "axis")[0], len(x.shape))
    expect_shape(node, y, x.shape[:axis] + x.shape[axis + 1 :])
    values = {"axis": axis, "minimum": int(node.op == "ARG_MIN")}
    return Step("ARG_MAX", [x], [y], "arg_max", values)


@rule("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL")
def compare(node: Node, ctx: Context) -> Step:
    """Comparisons of two tensors of one type, broadcast; bool out."""
    a, b, y = node.input(0), node.input(1), node.outputs[0]
    expect_types(node, a, ("float32", *(t for t in MOVABLE if t not in ("float32", "float16"))))
    expect_types(node, y, ("bool",))
    if a.dtype != b.dtype:
        raise refuse(node, f"{a} and {b} differ in type")
    _broadcast(node, [a, b], y)
    scales = [0, 0, 0, 0]
    if a.dtype in EIGHT_BIT:
        scalar_quantisation(node, a)
        scalar_quantisation(node, b)
        pairs = [tables.quantize_multiplier(float(np.float32(t.scale))) for t in (a, b)]
        scales = [*pairs[0], *pairs[1]]
        if max(pairs[0][1], pairs[1][1]) > 0:
            raise refuse(node, f"the scale of {a} or {b} is 1 or more")
    keys = ("multiplier1", "shift1", "multiplier2", "shift2")
    values = dict(zip(keys, scales, strict=True))
    values |= {"comparison": int(getattr(_native.lib, "EI_" + node.op))}
    values |= {"requantise": int(a.dtype in EIGHT_BIT)}
    return Step("COMPARE", [a, b], [y], "compare", values)


@rule("LOGICAL_AND", "LOGICAL_OR", "LOGICAL_NOT")
def logical(node: Node, ctx: Context) -> Step:
    """LOGICAL_AND, LOGICAL_OR (broadcast), LOGICAL_NOT on bool."""
    inputs, y = [node.input(i) for i in range(len(node.inputs))], node.outputs[0]
    for t in (*inputs, y):
        expect_types(node, t, ("bool",))
    _broadcast(node, inputs, y)
    code = int(getattr(_native.lib, "EI_LOGIC_" + node.op.removeprefix("LOGICAL_")))
    return Step("LOGICAL", list(inputs), [y], "logical", {"function": code})


@rule("SELECT", "SELECT_V2")
def select(node: Node, ctx: Context) -> Step:
    """SELECT (condition of the same shape, a scalar or a vector over the first dimension) and
    SELECT_V2 (all three broadcast)."""
    when, a, b, y = (*(node.input(i) for i in range(3)), node.outputs[0])
    expect_types(node, when, ("bool",))
    expect_types(node, a, MOVABLE)
    expect_same(node, a, y)
    expect_same(node, b, y)
    leading = node.op == "SELECT" and len(when.shape) == 1 and when.shape != y.shape
    leading = leading and when.shape == y.shape[:1]
    _broadcast(node, [a, b] if leading else [when, a, b], y)
    return Step("SELECT", [when, a, b], [y], "select", {"leading": int(leading)})


@rule("SHAPE", "RANK", "ZEROS_LIKE", "FILL", "RANGE")
def known(node: Node, ctx: Context) -> Step:
    """Values that depend on shapes or constants alone: copied from a constant made here."""
    y = node.outputs[0]
    data = np.broadcast_to(known_value(node), y.shape).astype(y.dtype)
    return Step("COPY", [made(f"{y.name}/value", data)], [y])


def known_value(node: Node) -> np.ndarray:
    """The value of SHAPE, RANK, ZEROS_LIKE, FILL or RANGE, whose inputs must be constants (but for
    SHAPE, RANK and ZEROS_LIKE, which look at the shape only)."""
    if node.op == "SHAPE":
        return np.array(node.input(0).shape)
    if node.op == "RANK":
        return np.array(len(node.input(0).shape))
    if node.op == "FILL":
        return constant(node, 1, "value").reshape(())
    if node.op == "RANGE":
        start, limit, delta = (constant(node, i, "limits").reshape(()).item() for i in range(3))
        return np.arange(start, limit, delta)
    return np.zeros(())
