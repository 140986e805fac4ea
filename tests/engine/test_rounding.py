"""A plan keeps its rounding: in folded constants, on every ISA, for activations of either sign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edgeinfer import _native
from edgeinfer.engine.graph import Graph, Node
from edgeinfer.engine.passes import sign
from edgeinfer.engine.plan import build
from edgeinfer.engine.session import Session
from edgeinfer.engine.tensor import Tensor
from tests.models import Maker, random_inputs

ROUNDINGS = ("xnnpack", "tflite")


def _run(graph: Graph, isa: str, rounding: str, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = Session(build(graph, isa=isa, rounding=rounding))
    for name, value in feeds.items():
        session[name] = value
    session.run()
    return [session[name].copy() for name in graph.outputs]


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_folded_constants_have_the_rounding_of_the_plan(rounding: str) -> None:
    """A product of two constants equals the same product of two inputs, and the two roundings
    give different ones (so the test can tell)."""
    make = Maker("int8", 0)
    a, b = make.input("a", (64, 64)), make.input("b", (64, 64))
    live = make.graph(make.add(a, b, "MUL"))
    feeds = random_inputs(live)
    want = {r: _run(live, "ref", r, feeds)[0] for r in ROUNDINGS}
    assert np.any(want["xnnpack"] != want["tflite"])
    fixed: list[Tensor | None] = [replace(t, data=feeds[t.name]) for t in (a, b)]
    product = live.nodes[0]
    x = make.input("x", (1, 4))
    y = make.reshape(x, (4,))
    nodes = [replace(product, inputs=fixed), make.nodes[-1]]
    outputs = {t.name: t for t in (product.outputs[0], y)}
    folded = Graph("folded", nodes, {"x": x}, outputs)
    zeros = {"x": np.zeros((1, 4), np.int8)}
    assert len(list(build(folded, isa="ref", rounding=rounding).steps())) <= 2
    np.testing.assert_array_equal(_run(folded, "ref", rounding, zeros)[0], want[rounding])


def _transposed(make: Maker, x: Tensor) -> Tensor:
    out = replace(x, name="moved", shape=(1, 8, 8, 8), data=None)
    return make._node("TRANSPOSE", [x, make.ints((0, 2, 1, 3))], out, {})


def _difference(make: Maker, x: Tensor) -> Tensor:
    out = replace(x, name="square")
    return make._node("SQUARED_DIFFERENCE", [x, make.dw(x)], out, {})


def _matmul(make: Maker, x: Tensor) -> Tensor:
    out = replace(x, name="product")
    attrs = {"adj_x": False, "adj_y": True, "asymmetric_quantize_inputs": False}
    return make._node("BATCH_MATMUL", [x, make.dw(x)], out, attrs)


def _sliced(make: Maker, x: Tensor, op: str) -> Tensor:
    out = replace(x, name="part", shape=(1, 4, 8, 8))
    begin, size = make.ints((0, 2, 0, 0)), make.ints((1, 4, 8, 8))
    if op == "SLICE":
        return make._node(op, [x, begin, size], out, {})
    ends, ones = make.ints((1, 6, 8, 8)), make.ints((1, 1, 1, 1))
    masks = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    return make._node(op, [x, begin, ends, ones], out, dict.fromkeys(masks, 0))


def _split(make: Maker, x: Tensor) -> Tensor:
    halves = [replace(x, name=f"half{i}", shape=(1, 8, 8, 4)) for i in range(2)]
    make.nodes.append(Node("SPLIT", [make.ints(3), x], halves, {"num_splits": 2}, "split"))
    return make.add(halves[0], halves[1])


def _upsampled(make: Maker, x: Tensor) -> Tensor:
    out = replace(x, name="large", shape=(1, 16, 16, 8))
    attrs = {"align_corners": False, "half_pixel_centers": False}
    return make._node("RESIZE_NEAREST_NEIGHBOR", [x, make.ints((16, 16))], out, attrs)


def _moved(make: Maker, x: Tensor, op: str, shape: tuple[int, ...]) -> Tensor:
    extra = [make.ints(0)] if op == "EXPAND_DIMS" else []
    out = replace(x, name="seen", shape=shape)
    return make._node(op, [x, *extra], out, {"squeeze_dims": [0]} if not extra else {})


def _deconvolved(make: Maker, x: Tensor) -> Tensor:
    w = make._weight((4, 2, 2, 8), 0, x)
    out = make._tensor((1, 16, 16, 4), 10.0)
    attrs = {"padding": "SAME", "stride_h": 2, "stride_w": 2, "fused_activation_function": "NONE"}
    return make._node("TRANSPOSE_CONV", [make.ints(out.shape), w, x], out, attrs)


#: One graph an operator of canonical_sign's list, after a convolution.
OPERATORS: dict[str, Callable[[Maker, Tensor], Tensor]] = {
    "CONV_2D": lambda m, x: m.conv(x, 9, activation="RELU6"),
    "DEPTHWISE_CONV_2D": lambda m, x: m.dw(x, activation="RELU"),
    "FULLY_CONNECTED": lambda m, x: m.fc(x, 12),
    "ADD": lambda m, x: m.add(x, m.dw(x)),
    "SUB": lambda m, x: m.add(x, m.dw(x), "SUB", "RELU"),
    "MUL": lambda m, x: m.add(x, m.dw(x), "MUL"),
    "MAX_POOL_2D": lambda m, x: m.pool(x, size=3, stride=2, padding="SAME"),
    "RESHAPE": lambda m, x: m.reshape(x, (1, 64, 8)),
    "SQUEEZE": lambda m, x: _moved(m, x, "SQUEEZE", (8, 8, 8)),
    "EXPAND_DIMS": lambda m, x: _moved(m, x, "EXPAND_DIMS", (1, 1, 8, 8, 8)),
    "TRANSPOSE": _transposed,
    "CONCATENATION": lambda m, x: m.concat([x, x]),
    "SPLIT": _split,
    "STRIDED_SLICE": lambda m, x: _sliced(m, x, "STRIDED_SLICE"),
    "SLICE": lambda m, x: _sliced(m, x, "SLICE"),
    "PAD": lambda m, x: m.pad(x, [(0, 0), (1, 2), (0, 1), (0, 0)]),
    "RESIZE_NEAREST_NEIGHBOR": _upsampled,
    "TRANSPOSE_CONV": _deconvolved,
    "SQUARED_DIFFERENCE": _difference,
    "BATCH_MATMUL": _matmul,
}


def test_every_operator_of_either_sign_is_tried() -> None:
    """And bilinear resizing, whose int8 and uint8 references differ, is not among them."""
    assert set(OPERATORS) >= sign._EITHER
    assert "RESIZE_BILINEAR" not in sign._EITHER


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_every_isa_gives_the_bytes_of_the_definition(op: str, rounding: str, dtype: str) -> None:
    make = Maker(dtype, len(op))
    x = make.input("x", (1, 8, 8, 3))
    graph = make.graph(OPERATORS[op](make, make.conv(x, 8)))
    feeds = random_inputs(graph)
    want = _run(graph, "ref", rounding, feeds)
    for isa in _native.isas():
        for a, b in zip(want, _run(graph, isa, rounding, feeds), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=isa)
