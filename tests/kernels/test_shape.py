"""Data movement, comparison and selection against LiteRT."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from oracle import ROUNDINGS, compare, const, feeds_of, litert, ours, single, tensor

from edgeinfer.engine import ops
from edgeinfer.engine.graph import Graph
from edgeinfer.engine.tensor import Tensor
from edgeinfer.errors import PlanError, ShapeError, UnsupportedError

MOVED = ("float32", "int8", "uint8", "int16", "int32", "int64", "bool")
Shape = tuple[int, ...]


def _x(shape: Shape, dtype: str = "float32", name: str = "x") -> Tensor:
    quant = {"int8": (0.1, 3), "uint8": (0.1, 131), "int16": (0.1, 0)}.get(dtype)
    return tensor(name, shape, dtype, quant)


def _check(graph: Graph, seed: int = 0, rounding: str = "xnnpack") -> None:
    compare(graph, feeds_of(np.random.default_rng(seed), graph), rounding)


def _exact(graph: Graph, want: np.ndarray, feeds: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(ours(graph, feeds, "xnnpack")[0], want)


@pytest.mark.parametrize("dtype", MOVED)
def test_reshape_squeeze_expand(dtype: str) -> None:
    _check(single("RESHAPE", [_x((2, 6), dtype), const("s", [3, 4])], [_x((3, 4), dtype, "y")]))
    _check(single("SQUEEZE", [_x((1, 6, 1), dtype)], [_x((6,), dtype, "y")], squeeze_dims=[0, 2]))
    _check(single("EXPAND_DIMS", [_x((6,), dtype), const("a", 0)], [_x((1, 6), dtype, "y")]))


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int16", "int32", "int64"])
def test_transpose_types(dtype: str) -> None:
    _check(
        single(
            "TRANSPOSE", [_x((3, 5, 7), dtype), const("p", [2, 0, 1])], [_x((7, 3, 5), dtype, "y")]
        )
    )


def test_transpose_every_permutation() -> None:
    """All permutations of four dimensions, sizes around the kernel's block, and one of six."""
    rng = np.random.default_rng(1)
    for shape in ((2, 33, 3, 35), (1, 4, 1, 5)):
        feed = rng.integers(-128, 128, shape).astype(np.int8)
        for perm in itertools.permutations(range(4)):
            y = _x(tuple(shape[p] for p in perm), "int8", "y")
            graph = single("TRANSPOSE", [_x(shape, "int8"), const("p", perm)], [y])
            _exact(graph, feed.transpose(perm), {"x": feed})
    shape, perm = (2, 3, 4, 2, 3, 5), (5, 1, 3, 0, 4, 2)
    wide = rng.standard_normal(shape).astype(np.float32)
    y = _x(tuple(shape[p] for p in perm), "float32", "y")
    graph = single("TRANSPOSE", [_x(shape), const("p", perm)], [y])
    _exact(graph, wide.transpose(perm), {"x": wide})


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int16", "int32", "int64"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concatenation(axis: int, dtype: str) -> None:
    for sizes in ((3, 2), (1, 1, 4, 2, 5, 3)):
        shapes = [tuple(n if d == axis % 3 else 4 for d in range(3)) for n in sizes]
        whole = tuple(sum(sizes) if d == axis % 3 else 4 for d in range(3))
        parts = [_x(s, dtype, f"x{i}") for i, s in enumerate(shapes)]
        _check(single("CONCATENATION", parts, [_x(whole, dtype, "y")], axis=axis))


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_concatenation_requantises_uint8(rounding: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(6):
        quants = [
            (float(np.float32(rng.uniform(0.01, 0.5))), int(rng.integers(256))) for _ in "abc"
        ]
        parts = [tensor(f"x{i}", (2, 300), "uint8", q) for i, q in enumerate(quants)]
        parts.append(tensor("x3", (2, 3), "uint8", quants[0]))
        y = tensor("y", (2, 903), "uint8", quants[0])
        _check(single("CONCATENATION", parts, [y], axis=1), rounding=rounding)


def test_concatenation_of_int8_does_not_requantise() -> None:
    parts = [tensor(f"x{i}", (2, 3), "int8", (0.1 + i, 0)) for i in range(2)]
    node = single("CONCATENATION", parts, [tensor("y", (2, 6), "int8", (0.1, 0))], axis=1).nodes[0]
    with pytest.raises(UnsupportedError, match="quantised differently"):
        ops.lower(node, ops.Context())


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int16", "int32"])
def test_split_pack_unpack(dtype: str) -> None:
    x = _x((4, 6, 5), dtype)
    halves = [_x((4, 3, 5), dtype, f"y{i}") for i in range(2)]
    _check(single("SPLIT", [const("a", 1), x], halves, num_splits=2))
    pieces = [_x((4, n, 5), dtype, f"y{n}") for n in (1, 2, 3)]
    inputs = [_x((4, 6, 5), dtype), const("sizes", [1, 2, -1]), const("a", -2)]
    _check(single("SPLIT_V", inputs, pieces, num_splits=3))
    rows = [_x((4, 5), dtype, f"y{i}") for i in range(6)]
    _check(single("UNPACK", [_x((4, 6, 5), dtype)], rows, num=6, axis=1))
    parts = [_x((4, 5), dtype, f"x{i}") for i in range(3)]
    for axis, shape in ((0, (3, 4, 5)), (2, (4, 5, 3)), (-2, (4, 3, 5))):
        _check(single("PACK", parts, [_x(shape, dtype, "y")], values_count=3, axis=axis))


def _numpy_slice(masks: dict[str, int], triple: list[list[int]]) -> tuple[Any, ...]:
    """The same indexing in numpy's own terms."""
    index: list[Any] = []
    for i, (b, e, s) in enumerate(zip(*triple, strict=True)):
        bit = {name: value >> i & 1 for name, value in masks.items()}
        if bit["ellipsis_mask"]:
            index.append(Ellipsis)
        elif bit["new_axis_mask"]:
            index.append(None)
        elif bit["shrink_axis_mask"]:
            index.append(b)
        else:
            index.append(slice(None if bit["begin_mask"] else b, None if bit["end_mask"] else e, s))
    return tuple(index)


SLICES = [
    ({}, [[0, 1, 2], [4, 5, 6], [1, 1, 1]]),
    ({}, [[3, -1, 0], [0, -5, 7], [-1, -2, 3]]),
    ({"begin_mask": 5, "end_mask": 3}, [[9, 1, 9], [0, 0, 5], [1, 2, 2]]),
    ({"begin_mask": 7, "end_mask": 7}, [[0, 0, 0], [0, 0, 0], [-1, 1, -3]]),
    ({"shrink_axis_mask": 2}, [[0, 2, 1], [4, 3, 6], [2, 1, 1]]),
    ({"shrink_axis_mask": 5}, [[-1, 0, -2], [0, 6, 0], [1, 1, 1]]),
    ({"new_axis_mask": 2, "end_mask": 4}, [[1, 0, 2], [3, 0, 0], [1, 1, 1]]),
    ({"ellipsis_mask": 1}, [[0, 1], [0, 5], [1, 2]]),
    ({"ellipsis_mask": 2, "shrink_axis_mask": 1}, [[2, 0, 1], [3, 0, 7], [1, 1, 2]]),
    ({}, [[1], [3], [1]]),
    ({}, [[-100, 2], [100, 100], [1, 1]]),
]


@pytest.mark.parametrize("case", range(len(SLICES)))
@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int32"])
def test_strided_slice(case: int, dtype: str) -> None:
    given, triple = SLICES[case]
    names = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    masks = {n: given.get(n, 0) for n in names}
    x = _x((4, 6, 7), dtype)
    feed = np.arange(4 * 6 * 7).reshape(4, 6, 7).astype(dtype)
    want = feed[_numpy_slice(masks, triple)]
    bounds = [const(n, v) for n, v in zip(("b", "e", "s"), triple, strict=True)]
    graph = single("STRIDED_SLICE", [x, *bounds], [_x(want.shape, dtype, "y")], **masks)
    _exact(graph, want, {"x": feed})
    np.testing.assert_array_equal(litert(graph, {"x": feed}, "xnnpack")[0], want)


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int32", "int64"])
def test_slice(dtype: str) -> None:
    inputs = [_x((4, 6, 7), dtype), const("b", [1, 0, 2]), const("n", [2, -1, 3])]
    _check(single("SLICE", inputs, [_x((2, 6, 3), dtype, "y")]))


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int32", "int64"])
def test_pad(dtype: str) -> None:
    for shape, pads in (((1, 3, 4, 2), [[0, 0], [1, 2], [3, 0], [0, 1]]), ((5,), [[2, 3]])):
        out = tuple(d + a + b for d, (a, b) in zip(shape, pads, strict=True))
        y = _x(out, dtype, "y")
        _check(single("PAD", [_x(shape, dtype), const("p", pads)], [y]))
        value = const("v", [7], dtype)
        value.quant = y.quant
        _check(single("PADV2", [_x(shape, dtype), const("p", pads), value], [y]))


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int32"])
def test_mirror_pad(dtype: str) -> None:
    for mode in ("REFLECT", "SYMMETRIC"):
        inputs = [_x((2, 4, 3), dtype), const("p", [[0, 1], [3, 2], [1, 2]])]
        _check(single("MIRROR_PAD", inputs, [_x((3, 9, 6), dtype, "y")], mode=mode))


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int32", "int64", "bool"])
def test_tile_and_broadcast(dtype: str) -> None:
    inputs = [_x((2, 1, 3), dtype), const("m", [2, 4, 3])]
    _check(single("TILE", inputs, [_x((4, 4, 9), dtype, "y")]))
    inputs = [_x((2, 1, 3), dtype), const("s", [4, 2, 5, 3])]
    _check(single("BROADCAST_TO", inputs, [_x((4, 2, 5, 3), dtype, "y")], version=2))


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int32", "int64", "bool"])
def test_gather(dtype: str) -> None:
    cases = [((5, 4), [3, 0, 3], 0, 0), ((2, 5, 4), [[1, 4], [0, 2]], 1, 0)]
    cases += [((2, 5, 4), [[1, 4], [0, 2]], 1, 1), ((6,), 2, 0, 0)]
    for shape, index, axis, batch in cases:
        picks = np.shape(index)
        y = _x((*shape[:axis], *picks[batch:], *shape[axis + 1 :]), dtype, "y")
        inputs = [_x(shape, dtype), const("i", index)]
        _check(single("GATHER", inputs, [y], axis=axis, batch_dims=batch))


def test_gather_checks_indices_at_run_time() -> None:
    inputs = [_x((5, 4)), tensor("i", (2,), "int64")]
    graph = single("GATHER", inputs, [_x((2, 4), name="y")], axis=0)
    feed = np.arange(20, dtype=np.float32).reshape(5, 4)
    _exact(graph, feed[[4, 0]], {"x": feed, "i": np.array([4, 0])})
    for bad in (5, -1):
        with pytest.raises(PlanError, match=r"gather|GATHER|input values"):
            ours(graph, {"x": feed, "i": np.array([0, bad])}, "xnnpack")


def test_embedding_lookup() -> None:
    table = const("t", np.random.default_rng(0).standard_normal((7, 3)), "float32")
    graph = single("EMBEDDING_LOOKUP", [tensor("i", (4,), "int32"), table], [_x((4, 3), name="y")])
    compare(graph, {"i": np.array([6, 0, 3, 3], np.int32)}, "xnnpack")


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int32"])
def test_depth_and_space(dtype: str) -> None:
    deep, wide = (2, 3, 4, 12), (2, 6, 8, 3)
    _check(single("DEPTH_TO_SPACE", [_x(deep, dtype)], [_x(wide, dtype, "y")], block_size=2))
    _check(single("SPACE_TO_DEPTH", [_x(wide, dtype)], [_x(deep, dtype, "y")], block_size=2))


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8"])
def test_space_and_batch(dtype: str) -> None:
    block, ends = const("b", [2, 3]), const("p", [[1, 2], [0, 2]])
    large, small = _x((2, 5, 7, 3), dtype), _x((12, 4, 3, 3), dtype, "y")
    _check(single("SPACE_TO_BATCH_ND", [large, block, ends], [small]))
    small, large = _x((12, 4, 3, 3), dtype), _x((2, 5, 7, 3), dtype, "y")
    _check(single("BATCH_TO_SPACE_ND", [small, block, ends], [large]))
    flat = [_x((2, 5, 3), dtype), const("b", [3]), const("p", [[3, 1]])]
    _check(single("SPACE_TO_BATCH_ND", flat, [_x((6, 3, 3), dtype, "y")]))


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int32", "int64", "bool"])
def test_reverse(dtype: str) -> None:
    inputs = [_x((3, 4, 5), dtype), const("a", [1])]
    _check(single("REVERSE_V2", inputs, [_x((3, 4, 5), dtype, "y")]))


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int32"])
@pytest.mark.parametrize("op", ["ARG_MAX", "ARG_MIN"])
def test_arg_max(op: str, dtype: str) -> None:
    rng = np.random.default_rng(1)
    for axis, out in ((-1, "int64"), (1, "int32"), (0, "int32")):
        shape = (3, 6, 40)
        y = tensor("y", tuple(d for i, d in enumerate(shape) if i != axis % 3), out)
        attrs = {"output_type": out}
        graph = single(op, [_x(shape, dtype), const("a", axis)], [y], **attrs)
        feed = rng.integers(0, 5, shape).astype(dtype)  # many equals: the first one counts
        compare(graph, {"x": feed}, "xnnpack")


COMPARISONS = ["EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"]


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int32", "int64"])
@pytest.mark.parametrize("op", COMPARISONS)
def test_compare(op: str, dtype: str) -> None:
    rng = np.random.default_rng(2)
    for second in ((2, 3, 40), (3, 1), (1,)):
        quants = [(0.021, 3), (0.005, 9)] if dtype in ("int8", "uint8") else [None, None]
        a, b = tensor("a", (2, 3, 40), dtype, quants[0]), tensor("b", second, dtype, quants[1])
        graph = single(op, [a, b], [tensor("y", (2, 3, 40), "bool")])
        feeds = {n: rng.integers(0, 9, t.shape).astype(dtype) for n, t in graph.inputs.items()}
        compare(graph, feeds, "xnnpack")


def test_logical_and_select() -> None:
    y = tensor("y", (2, 3, 4), "bool")
    for op in ("LOGICAL_AND", "LOGICAL_OR"):
        _check(single(op, [tensor("a", (2, 3, 4), "bool"), tensor("b", (3, 1), "bool")], [y]))
    _check(single("LOGICAL_NOT", [tensor("a", (2, 3, 4), "bool")], [y]))
    for dtype in ("float32", "int8", "int32", "int64"):
        a, b = _x((2, 3, 4), dtype, "a"), _x((2, 3, 4), dtype, "b")
        out = _x((2, 3, 4), dtype, "y")
        for shape in ((2, 3, 4), (2,)):
            _check(single("SELECT", [tensor("c", shape, "bool"), a, b], [out]))
        narrow = _x((1, 4), dtype, "b")
        _check(single("SELECT_V2", [tensor("c", (2, 1, 4), "bool"), a, narrow], [out]))


def test_known_at_plan_time() -> None:
    x = _x((2, 3, 4))
    feed = {"x": np.zeros((2, 3, 4), np.float32)}
    shape = single("SHAPE", [x], [tensor("y", (3,), "int32")], out_type="int32")
    _exact(shape, np.array([2, 3, 4]), feed)
    _exact(single("ZEROS_LIKE", [x], [_x((2, 3, 4), name="y")]), feed["x"], feed)
    fill = single("FILL", [const("d", [2, 2]), const("v", 3.5, "float32")], [_x((2, 2), name="y")])
    _exact(fill, np.full((2, 2), 3.5), {})
    limits = [const("a", 1), const("b", 10), const("c", 3)]
    _exact(single("RANGE", limits, [tensor("y", (3,), "int32")]), np.array([1, 4, 7]), {})


def test_refusals_name_the_input() -> None:
    ctx = ops.Context()
    late = single("TRANSPOSE", [_x((3, 4)), tensor("p", (2,), "int32")], [_x((4, 3), name="y")])
    with pytest.raises(UnsupportedError, match=r"permutation.*constant"):
        ops.lower(late.nodes[0], ctx)
    outside = [_x((4,)), const("b", [2]), const("n", [3])]
    with pytest.raises(UnsupportedError, match="outside a dimension of 4"):
        ops.lower(single("SLICE", outside, [_x((3,), name="y")]).nodes[0], ctx)
    wrong = single("TRANSPOSE", [_x((3, 4)), const("p", [1, 0])], [_x((3, 4), name="y")])
    with pytest.raises(ShapeError, match="should have shape"):
        ops.lower(wrong.nodes[0], ctx)
    moved = single(
        "RESHAPE", [tensor("x", (4,), "int8", (1.0, 0))], [tensor("y", (4,), "int8", (2.0, 0))]
    )
    with pytest.raises(UnsupportedError, match="quantised differently"):
        ops.lower(moved.nodes[0], ctx)
