"""Float activations with int8 weights (hybrid models), against LiteRT, on every ISA of the machine.

LiteRT quantises the activations in every run. Its default interpreter must be met to the bit by
CONV_2D, FULLY_CONNECTED and plain DEPTHWISE_CONV_2D; everything else within 1e-5 of the largest
magnitude, where one step of the activations amounts to some 1e-3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from oracle import ROUNDINGS, const, litert, single, tensor

from edgeinfer import _native
from edgeinfer.engine.graph import Graph, Node
from edgeinfer.engine.plan import build
from edgeinfer.engine.session import Session
from edgeinfer.engine.tensor import Tensor
from tests.models import Maker, hybrid, narrow

Build = Callable[[Maker], Tensor]


def _input(make: Maker, *shape: int) -> Tensor:
    return make.input("x", shape)


#: name -> a float model of one weighted operator.
CASES: dict[str, Build] = {
    "3x3": lambda m: m.conv(_input(m, 1, 7, 6, 5), 9),
    "3x3, batch, stride": lambda m: m.conv(_input(m, 3, 7, 6, 8), 33, stride=2, activation="RELU"),
    "3x3, dilated": lambda m: m.conv(_input(m, 2, 9, 9, 4), 6, dilation=2),
    "5x5, valid": lambda m: m.conv(_input(m, 1, 9, 8, 3), 17, kernel=5, padding="VALID"),
    "1x1": lambda m: m.conv(_input(m, 2, 5, 5, 19), 40, kernel=1, activation="RELU6"),
    "1x1, stride": lambda m: m.conv(_input(m, 2, 5, 5, 8), 4, kernel=1, stride=2),
    "1x1, one to one": lambda m: m.conv(_input(m, 2, 4, 4, 1), 1, kernel=1),
    "10x4": lambda m: m.conv(_input(m, 1, 12, 10, 1), 16, kernel=4, stride=2),
    "row": lambda m: m.fc(_input(m, 1, 64), 10),
    "rows": lambda m: m.fc(_input(m, 13, 41), 35, activation="RELU_N1_TO_1"),
    "rows of rows": lambda m: m.fc(_input(m, 2, 3, 24), 70),
    "depthwise": lambda m: m.dw(_input(m, 2, 6, 7, 12), activation="RELU6"),
    "depthwise, stride": lambda m: m.dw(_input(m, 1, 9, 9, 16), kernel=5, stride=2),
    "depthwise, multiplied": lambda m: m.dw(_input(m, 1, 6, 6, 3), multiplier=3),
}
PRODUCTS = [name for name in CASES if "depthwise" not in name]
#: XNNPACK's kernels fuse the last multiply-add, as ours do, where the machine can.
FUSED = "avx2" in _native.isas()
INPUTS = ("normal", "positive", "zeros", "constant", "one large", "tiny", "ties")


def _hybrid(
    name: str, seed: int, per_channel: bool, least: int = -127
) -> tuple[Graph, np.random.Generator]:
    make = Maker("float32", seed)
    y = CASES[name](make)
    node = make.nodes[-1]
    bias = node.input(2)
    assert bias.data is not None
    bias.data = make.rng.standard_normal(bias.shape).astype(np.float32)
    node.inputs[1] = narrow(node.input(1), node.op, per_channel, least)
    return make.graph(y), make.rng


def _values(kind: str, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    x = rng.standard_normal(shape)
    if kind == "positive":
        x = np.abs(x) + 0.5
    elif kind in ("zeros", "constant"):
        x = np.full(shape, 0.0 if kind == "zeros" else -2.5)
    elif kind == "one large":
        x.reshape(-1)[x.size // 2] = 1e6
    elif kind == "tiny":
        x = x * 1e-30
    elif kind == "ties":  # a scale of 1: halves are where roundings differ
        x = rng.integers(-256, 254, shape) / 2
        x[..., 0], x[..., -1] = -128, 127
    return x.astype(np.float32)


def _ours(graph: Graph, feeds: dict[str, np.ndarray], isa: str, rounding: str) -> np.ndarray:
    session = Session(build(graph, isa=isa, rounding=rounding), threads=2)
    for name, value in feeds.items():
        session[name] = value
    session.run()
    return np.concatenate([session[name].reshape(-1) for name in graph.outputs])


def _compare(graph: Graph, feeds: dict[str, np.ndarray], rounding: str, exact: bool) -> None:
    want = litert(graph, feeds, rounding)[0].reshape(-1)
    for isa in _native.isas():
        got = _ours(graph, feeds, isa, rounding)
        bound = 0.0 if exact and FUSED else 1e-5 * float(np.abs(want).max(initial=0))
        np.testing.assert_allclose(got, want, rtol=0, atol=bound, err_msg=isa)


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", PRODUCTS)
def test_default_interpreter_to_the_bit(name: str, kind: str) -> None:
    for seed, per_channel in enumerate((True, False)):
        graph, rng = _hybrid(name, seed, per_channel, least=-128)
        x = _values(kind, rng, graph.inputs["x"].shape)
        _compare(graph, {"x": x}, "xnnpack", exact=True)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", [n for n in CASES if n not in PRODUCTS])
def test_depthwise(name: str, kind: str, rounding: str) -> None:
    """Per channel only: LiteRT reads beyond a table of one scale."""
    graph, rng = _hybrid(name, 0, True)
    x = _values(kind, rng, graph.inputs["x"].shape)
    exact = rounding == "xnnpack" and name != "depthwise, multiplied"
    _compare(graph, {"x": x}, rounding, exact)


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", PRODUCTS)
def test_reference_interpreter(name: str, kind: str) -> None:
    for seed, per_channel in enumerate((True, False)):
        graph, rng = _hybrid(name, seed, per_channel)
        x = _values(kind, rng, graph.inputs["x"].shape)
        _compare(graph, {"x": x}, "tflite", exact=False)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_asymmetric_inputs_of_fully_connected(rounding: str) -> None:
    """The option changes TFLite's own kernel alone."""
    graph, rng = _hybrid("rows", 3, True)
    graph.nodes[0].attrs["asymmetric_quantize_inputs"] = True
    x = _values("positive", rng, graph.inputs["x"].shape)
    _compare(graph, {"x": x}, rounding, exact=rounding == "xnnpack")


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_grouped(rounding: str) -> None:
    make = Maker("float32", 5)
    x = make.input("x", (2, 6, 6, 8))
    y = make.conv(x, 12)
    w = make.nodes[-1].input(1)
    assert w.data is not None
    half = replace(w, shape=(12, 3, 3, 4), data=np.ascontiguousarray(w.data[..., :4]))
    make.nodes[-1].inputs[1] = narrow(half, "CONV_2D", True)
    feeds = {"x": _values("normal", make.rng, x.shape)}
    _compare(make.graph(y), feeds, rounding, exact=rounding == "xnnpack")


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_transpose_conv(rounding: str, per_channel: bool) -> None:
    rng = np.random.default_rng(7)
    x, y = tensor("x", (2, 4, 5, 6), "float32"), tensor("y", (2, 8, 10, 7), "float32")
    w = const("w", rng.standard_normal((7, 3, 3, 6)), "float32")
    bias = const("b", rng.standard_normal(7), "float32")
    inputs = [const("s", y.shape), narrow(w, "TRANSPOSE_CONV", per_channel), x, bias]
    attrs = {"padding": "SAME", "stride_h": 2, "stride_w": 2, "fused_activation_function": "NONE"}
    graph = single("TRANSPOSE_CONV", inputs, [y], **attrs)
    for kind in INPUTS:
        _compare(graph, {"x": _values(kind, rng, x.shape)}, rounding, exact=False)


def test_padding_and_activation_around() -> None:
    """PAD before and RELU behind: fused or not, the zeros belong to what is quantised."""
    make = Maker("float32", 2)
    x = make.input("x", (1, 6, 6, 4))
    padded = tensor("padded", (1, 8, 8, 4), "float32")
    amounts = const("amounts", [[0, 0], [1, 1], [1, 1], [0, 0]])
    make.nodes.append(Node("PAD", [x, amounts], [padded], {}, "pad"))
    for kernel in (1, 3):
        start = len(make.nodes)
        y = make.conv(padded, 5, kernel=kernel, padding="VALID")
        make.nodes[-1].inputs[1] = narrow(make.nodes[-1].input(1), "CONV_2D", True)
        z = tensor(f"z{kernel}", y.shape, "float32")
        make.nodes.append(Node("RELU", [y], [z], {}, "relu"))
        feeds = {"x": _values("positive", make.rng, x.shape)}
        _compare(make.graph(z), feeds, "xnnpack", exact=True)
        del make.nodes[start:]


def test_activations_are_quantised_once_for_all_readers() -> None:
    make = Maker("float32", 4)
    x = make.input("x", (2, 5, 5, 8))
    outs = [make.conv(x, n) for n in (4, 6)]
    for node in make.nodes:
        node.inputs[1] = narrow(node.input(1), "CONV_2D", True)
    steps = [s.kernel.split("/")[1] for s in build(make.graph(*outs), isa="ref").steps()]
    assert steps == ["dynamic_quantize", "conv_2d_qd8", "conv_2d_qd8"]


def _kernels(graph: Graph, isa: str) -> set[str]:
    return {s.kernel for s in build(graph, isa=isa).steps()}


@pytest.mark.parametrize("isa", ["avx2", "avx512vnni"])
def test_packed_kernels_take_the_products(isa: str) -> None:
    if isa not in _native.isas():
        pytest.skip(f"this machine has no {isa}")
    assert _kernels(_hybrid("3x3", 0, True)[0], isa) == {
        f"{isa}/dynamic_quantize", f"{isa}/conv_2d_q8"
    }  # fmt: skip
    assert _kernels(_hybrid("rows", 0, True)[0], isa) >= {f"{isa}/fully_connected_q8"}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38, 1e-42])
def test_any_float_is_survived(bad: float) -> None:
    """Infinite ranges and denormal ones: no trap, and ISAs agree."""
    for name in ("3x3", "rows"):
        graph, rng = _hybrid(name, 0, True)
        x = _values("normal", rng, graph.inputs["x"].shape)
        x.reshape(-1)[::7] = bad
        for rounding in ROUNDINGS:
            results: list[Any] = [_ours(graph, {"x": x}, i, rounding) for i in _native.isas()]
            for result in results[1:]:
                np.testing.assert_allclose(result, results[0], rtol=1e-5, atol=1e-5)


def test_a_chain_of_layers_stays_equal() -> None:
    """Every layer quantises what the one before it made: an error in the last place would show."""
    make = Maker("float32", 11)
    x = make.input("x", (2, 12, 12, 3))
    a = make.conv(x, 16, stride=2, activation="RELU6")
    for _ in range(3):
        b = make.conv(a, 32, kernel=1, activation="RELU")
        a = make.add(a, make.conv(make.dw(b, activation="RELU6"), 16, kernel=1))
    y = make.fc(make.reshape(a, (2, a.count // 2)), 10)
    feeds = {"x": _values("normal", make.rng, x.shape)}
    _compare(hybrid(make.graph(y)), feeds, "xnnpack", exact=True)
