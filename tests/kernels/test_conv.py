"""Convolutions and fully connected layers against LiteRT, both roundings; floats within 1e-5."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from oracle import ROUNDINGS, compare, const, feeds_of, litert, ours, single, tensor

from edgeinfer import _native
from edgeinfer.engine.graph import Graph
from edgeinfer.engine.plan import build
from edgeinfer.engine.session import Session
from edgeinfer.engine.tensor import Quantisation, Tensor, per_tensor
from tests.models import Maker

ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
DTYPES = ("float32", "int8", "uint8")
BOTH = [(d, r) for d in DTYPES for r in ROUNDINGS]

CONVS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1, 5, 5, 3), {"channels": 7}),
    ((2, 6, 9, 4), {"channels": 5, "stride": 2}),
    ((1, 8, 8, 3), {"channels": 4, "padding": "VALID"}),
    ((1, 8, 9, 3), {"channels": 4, "dilation": 2}),
    ((1, 9, 9, 2), {"channels": 3, "dilation": 3, "padding": "VALID"}),
    ((1, 4, 4, 16), {"channels": 33, "kernel": 1}),
    ((1, 7, 7, 6), {"channels": 8, "kernel": 1, "stride": 2}),
    ((1, 6, 6, 1), {"channels": 2, "kernel": 5}),
]
DEPTHWISE: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1, 5, 5, 7), {}),
    ((2, 6, 9, 16), {"stride": 2}),
    ((1, 8, 8, 3), {"padding": "VALID"}),
    ((1, 6, 6, 5), {"multiplier": 3}),
    ((1, 6, 6, 1), {"multiplier": 8, "stride": 2, "kernel": 5}),
    ((1, 9, 9, 6), {"dilation": 2}),
]


def _run(make: Maker, graph: Graph, rounding: str, note: Any = "") -> None:
    compare(graph, feeds_of(make.rng, graph), rounding, note)


@pytest.mark.parametrize(("dtype", "rounding"), BOTH)
def test_conv(dtype: str, rounding: str) -> None:
    for seed, (shape, options) in enumerate(CONVS):
        make = Maker(dtype, seed)
        y = make.conv(make.input("x", shape), activation=ACTIVATIONS[seed % 4], **options)
        _run(make, make.graph(y), rounding, (shape, options))


@pytest.mark.parametrize(("dtype", "rounding"), BOTH)
def test_depthwise(dtype: str, rounding: str) -> None:
    for seed, (shape, options) in enumerate(DEPTHWISE):
        make = Maker(dtype, seed)
        y = make.dw(make.input("x", shape), activation=ACTIVATIONS[seed % 4], **options)
        _run(make, make.graph(y), rounding, (shape, options))


@pytest.mark.parametrize(("dtype", "rounding"), BOTH)
def test_fused_activations(dtype: str, rounding: str) -> None:
    for seed, activation in enumerate(ACTIVATIONS):
        for kind in ("conv", "dw"):
            make = Maker(dtype, seed)
            x = make.input("x", (1, 4, 4, 8))
            y = make.conv(x, 6, activation=activation) if kind == "conv" else make.dw(x)
            make.nodes[-1].attrs["fused_activation_function"] = activation
            _run(make, make.graph(y), rounding, (kind, activation))


@pytest.mark.parametrize(("dtype", "rounding"), BOTH)
@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_no_bias_is_a_bias_of_zeros(op: str, dtype: str, rounding: str) -> None:
    """LiteRT itself insists on a bias for these two (and crashes on a depthwise without)."""
    make = Maker(dtype, 2)
    x = make.input("x", (1, 6, 6, 8))
    y = make.conv(x, 6) if op == "CONV_2D" else make.dw(x)
    node = make.nodes[-1]
    bias = node.input(2)
    assert bias.data is not None
    bias.data = np.zeros_like(bias.data)
    feeds = feeds_of(make.rng, make.graph(y))
    want = ours(make.graph(y), feeds, rounding)[0]
    bare = replace(node, inputs=[node.inputs[0], node.inputs[1], None])
    np.testing.assert_array_equal(
        ours(Graph("bare", [bare], {"x": x}, {y.name: y}), feeds, rounding)[0], want
    )


@pytest.mark.parametrize(("dtype", "rounding"), [(d, r) for d, r in BOTH if d != "uint8"])
def test_grouped(dtype: str, rounding: str) -> None:
    """Weights with fewer input channels than the image: [OC, KH, KW, C / groups]."""
    for seed, (channels, units, groups) in enumerate([(6, 4, 2), (8, 8, 4), (4, 12, 4)]):
        make = Maker(dtype, seed)
        x = make.input("x", (1, 5, 6, channels))
        part = replace(x, shape=(1, 5, 6, channels // groups))
        y = make.conv(part, units, stride=1 + seed % 2)
        node = make.nodes[-1]
        graph = Graph("one", [replace(node, inputs=[x, *node.inputs[1:]])], {"x": x}, {y.name: y})
        _run(make, graph, rounding, groups)


@pytest.mark.parametrize(("dtype", "rounding"), BOTH)
def test_fully_connected(dtype: str, rounding: str) -> None:
    """Vectors and matrices, with and without bias, every fused activation."""
    for seed, (shape, units) in enumerate([((1, 16), 10), ((3, 40), 7), ((5, 1), 3), ((2, 65), 1)]):
        for activation in ACTIVATIONS:
            make = Maker(dtype, seed)
            y = make.fc(make.input("x", shape), units, activation=activation, bias=bool(seed % 2))
            _run(make, make.graph(y), rounding, (shape, activation))


@pytest.mark.parametrize(("dtype", "rounding"), BOTH)
def test_fully_connected_ranks(dtype: str, rounding: str) -> None:
    """A 3-D input, its leading dimensions kept or flattened; one with rows cut anew."""
    for keep in (False, True):
        make = Maker(dtype, 3)
        y = make.fc(make.input("x", (2, 3, 8)), 5)
        node = make.nodes[-1]
        node.attrs["keep_num_dims"] = keep
        shape = (2, 3, 5) if keep else (6, 5)
        out = replace(y, shape=shape)
        node.outputs[0] = out
        _run(make, make.graph(out), rounding, keep)
    make = Maker(dtype, 4)
    x = make.input("x", (2, 2, 6))
    y = make.fc(replace(x, shape=(2, 12)), 4)
    make.nodes[-1].inputs[0] = x
    _run(make, make.graph(y), rounding, "rows of two")


def _per_channel(make: Maker, shape: tuple[int, ...], axis: int) -> Tensor:
    """Weights whose scales differ a lot from channel to channel."""
    n = shape[axis]
    scale = (2.0 ** make.rng.uniform(-12, -4, n)).astype(np.float32)
    data = make.rng.integers(-127, 128, shape).astype(np.int8)
    data.reshape(-1)[:2] = -127, 127
    return Tensor("w", shape, "int8", Quantisation(scale, np.zeros(n, np.int32), axis), data)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_fully_connected_per_channel(rounding: str) -> None:
    make = Maker("int8", 5)
    for _ in range(4):
        x = tensor("x", (9, 33), "int8", (0.05, int(make.rng.integers(-128, 128))))
        w = _per_channel(make, (50, 33), 0)
        b = make._bias(x, w, 50)
        y = tensor("y", (9, 50), "int8", (0.4, int(make.rng.integers(-128, 128))))
        attrs = {"fused_activation_function": "RELU"}
        _run(make, single("FULLY_CONNECTED", [x, w, b], [y], **attrs), rounding)


def _transposed(
    dtype: str, seed: int, padding: str, stride: int, kernel: int, bias: bool, activation: str
) -> tuple[Maker, Graph]:
    make = Maker(dtype, seed)
    x = make.input("x", (1, 4, 5, 6))
    w = make._weight((3, kernel, kernel, 6), 0, x)
    grow = 0 if padding == "SAME" else max(kernel - stride, 0)
    shape = (1, 4 * stride + grow, 5 * stride + grow, 3)
    out = make._tensor(shape, 10.0, "y")
    inputs = [const("shape", shape), w, x, *([make._bias(x, w, 3)] if bias else [])]
    attrs = {"padding": padding, "stride_h": stride, "stride_w": stride}
    attrs["fused_activation_function"] = activation
    return make, single("TRANSPOSE_CONV", inputs, [out], **attrs)


@pytest.mark.parametrize(("dtype", "rounding"), BOTH)
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_transpose_conv(dtype: str, rounding: str, padding: str) -> None:
    cases = [(1, 3, True), (2, 3, False), (2, 2, True), (2, 4, True), (3, 3, False)]
    for seed, (stride, kernel, bias) in enumerate(cases):
        make, graph = _transposed(dtype, seed, padding, stride, kernel, bias, "NONE")
        _run(make, graph, rounding, (stride, kernel, bias))


def _extreme(rng: np.random.Generator, op: str, dtype: str, trial: int) -> Graph:
    """Zero points at the ends, weights of +-127, outputs with scales from 2^-6 to 2^10."""
    low = int(np.iinfo(dtype).min)
    zero_x, zero_y = (int(low + rng.choice([0, 1, 128, 254, 255])) for _ in range(2))
    scale_x = float(np.float32(2.0 ** rng.uniform(-4, 4)))
    x = tensor("x", (1, 4, 4, 8), dtype, (scale_x, zero_x))
    scale_w = float(np.float32(2.0 ** rng.uniform(-8, 1)))
    shape = {"CONV_2D": (8, 3, 3, 8), "DEPTHWISE_CONV_2D": (1, 3, 3, 8)}.get(op, (8, 128))
    data = rng.choice([-127, 127], shape).astype(np.int8)
    w = Tensor("w", shape, "int8", per_tensor(scale_w, 0), data)
    if op != "FULLY_CONNECTED":
        axis = 0 if op == "CONV_2D" else 3
        scale = np.full(8, scale_w, np.float32)
        w = replace(w, quant=Quantisation(scale, np.zeros(8, np.int32), axis))
    if dtype == "uint8":
        data = rng.choice([0, 255], shape).astype(np.uint8)
        zero = int(rng.choice([0, 1, 128, 255]))
        w = Tensor("w", shape, "uint8", per_tensor(scale_w, zero), data)
    bound = 2**20 if trial % 3 else 2**30
    b = const("b", rng.integers(-bound, bound, 8), "int32")
    assert w.quant is not None
    steps = w.quant.scale * np.float32(scale_x)
    b.quant = Quantisation(steps, np.zeros(steps.size, np.int32), 0)
    scale_y = float(np.float32(scale_x * scale_w * 2.0 ** rng.uniform(1, 12)))
    y_shape = (1, 8) if op == "FULLY_CONNECTED" else (1, 4, 4, 8)
    y = tensor("y", y_shape, dtype, (scale_y, zero_y))
    attrs = {"fused_activation_function": ACTIVATIONS[trial % 4]}
    if op != "FULLY_CONNECTED":
        attrs |= {"padding": "SAME"}
        more = {"stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
        return single(op, [x, w, b], [y], **attrs, **more, depth_multiplier=1)
    return single(op, [x, w, b], [y], **attrs)


@pytest.mark.parametrize("zero", [-28, -27, 0, 3])
def test_limits_near_a_tie_are_the_same_on_every_isa(zero: int) -> None:
    """6 / scale is next to 26.5, a tie or none with the zero point: an ISA that prefers uint8 moves
    that by 128."""
    for bits in range(-4, 5):
        scale = np.float32(6 / 26.5) + np.float32(bits * 2.0**-26)
        make = Maker("int8", 1)
        y = make.conv(make.input("x", (1, 3, 3, 4)), 8, activation="RELU6")
        y.quant = per_tensor(float(scale), zero)
        feeds = {"x": np.full((1, 3, 3, 4), 127, np.int8)}
        w = make.nodes[-1].input(1)
        assert w.data is not None
        w.data = np.abs(w.data)
        want = litert(make.graph(y), feeds, "xnnpack")[0]
        for isa in _native.isas():
            session = Session(build(make.graph(y), isa=isa))
            session["x"] = feeds["x"]
            session.run()
            np.testing.assert_array_equal(session[y.name], want, err_msg=f"{isa} {scale}")


@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_extremes(op: str, dtype: str, rounding: str) -> None:
    """Inputs at the ends of the range, accumulators far outside the output's range."""
    rng = np.random.default_rng(len(op))
    for trial in range(16):
        graph = _extreme(rng, op, dtype, trial)
        info = np.iinfo(dtype)
        ends = rng.choice([info.min, info.max], graph.inputs["x"].shape).astype(dtype)
        compare(graph, {"x": ends}, rounding, f"trial {trial}: {graph.nodes[0]}")
