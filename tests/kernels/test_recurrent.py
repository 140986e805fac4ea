"""The LSTM against LiteRT: float within 1e-5, int8 to the bit, its states over runs and resets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from oracle import ROUNDINGS, tensor

from edgeinfer.engine import ops
from edgeinfer.engine.graph import Graph, Node
from edgeinfer.engine.plan import build
from edgeinfer.engine.session import Session
from edgeinfer.engine.tensor import Quantisation, Tensor, per_tensor
from edgeinfer.engine.tflite import read_tflite
from edgeinfer.engine.tflite_writer import write_tflite
from edgeinfer.errors import UnsupportedError

DEPTH, UNITS, TIME = 5, 7, 3
_KINDS = {"xnnpack": OpResolverType.AUTO, "tflite": OpResolverType.BUILTIN_REF}


def _constant(name: str, data: np.ndarray, quant: Quantisation | None = None) -> Tensor:
    return Tensor(name, data.shape, str(data.dtype), quant, data)


def _state(name: str, dtype: str, batch: int, quant: Quantisation | None) -> Tensor:
    data = np.full((batch, UNITS), 0 if quant is None else int(quant.zero[0]), dtype)
    return Tensor(name, data.shape, dtype, quant, data, state=True)


def _float_weights(rng: np.random.Generator) -> list[Tensor]:
    """Four input matrices, four recurrent ones, four biases."""
    shapes = [(UNITS, DEPTH)] * 4 + [(UNITS, UNITS)] * 4 + [(UNITS,)] * 4
    return [
        _constant(f"w{i}", rng.uniform(-1, 1, s).astype(np.float32)) for i, s in enumerate(shapes)
    ]


def _int8_weights(rng: np.random.Generator, x: Quantisation) -> list[Tensor]:
    found = []
    for i in range(8):
        data = rng.integers(-127, 128, (UNITS, DEPTH if i < 4 else UNITS)).astype(np.int8)
        quant = per_tensor(float(rng.uniform(0.002, 0.02)), 0)
        found.append(_constant(f"w{i}", data, quant))
    for i in range(4):
        assert found[i].quant is not None
        quant = per_tensor(float(x.scale[0]) * found[i].scale, 0)
        found.append(_constant(f"b{i}", rng.integers(-9000, 9000, UNITS).astype(np.int32), quant))
    return found


def _lstm(dtype: str, seed: int, batch: int = 1, cell_bits: int = 11, **attrs: Any) -> Graph:
    rng = np.random.default_rng(seed)
    x_quant = out_quant = cell_quant = inner = None
    if dtype == "int8":
        x_quant = per_tensor(float(rng.uniform(0.005, 0.05)), int(rng.integers(-128, 128)))
        out_quant = per_tensor(1 / 128, int(rng.integers(-20, 20)))
        cell_quant = per_tensor(2.0**-cell_bits, 0)
        inner = [tensor(f"i{i}", (0,), "float32") for i in range(4)]
        inner.append(tensor("hidden", (0,), "int8", out_quant))
    shape = (TIME, batch) if attrs.get("time_major") else (batch, TIME)
    x = tensor("x", (*shape, DEPTH), dtype, x_quant)
    weights = _float_weights(rng) if x_quant is None else _int8_weights(rng, x_quant)
    hidden = _state("hidden_state", dtype, batch, out_quant)
    cell = _state("cell_state", "int16" if x_quant else "float32", batch, cell_quant)
    inputs = [x, *weights[:8], None, None, None, *weights[8:], None, None, hidden, cell]
    y = tensor("y", (*shape, UNITS), dtype, out_quant)
    options = {"fused_activation_function": "TANH", "cell_clip": 0.0, "proj_clip": 0.0} | attrs
    if inner:
        options["intermediates"] = inner
    node = Node("UNIDIRECTIONAL_SEQUENCE_LSTM", [*inputs, *[None] * 4], [y], options, "lstm")
    return Graph("one", [node], {"x": x}, {"y": y})


def _inputs(graph: Graph, seed: int, count: int) -> list[np.ndarray]:
    rng, x = np.random.default_rng(seed), graph.inputs["x"]
    if x.dtype == "float32":
        return [rng.normal(0, 2, x.shape).astype(np.float32) for _ in range(count)]
    found = [rng.integers(-128, 128, x.shape).astype(np.int8) for _ in range(count)]
    return [*found, np.full(x.shape, -128, np.int8), np.full(x.shape, 127, np.int8)]


def _same(want: np.ndarray, got: np.ndarray, note: Any) -> None:
    if want.dtype == np.int8:
        np.testing.assert_array_equal(got, want, err_msg=str(note))
    else:
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5, err_msg=str(note))


def _compare(graph: Graph, rounding: str) -> None:
    """Several runs, whose states go on; then a reset and the first run again."""
    data = write_tflite(graph)
    theirs = Interpreter(model_content=data, experimental_op_resolver_type=_KINDS[rounding])
    theirs.allocate_tensors()
    session = Session(build(graph, isa="ref", rounding=rounding))
    place, out = theirs.get_input_details()[0]["index"], theirs.get_output_details()[0]["index"]
    feeds = _inputs(graph, 1, 4)
    firsts = []
    for run, feed in enumerate(feeds):
        theirs.set_tensor(place, feed)
        theirs.invoke()
        session["x"] = feed
        session.run()
        firsts.append(session["y"].copy())
        _same(theirs.get_tensor(out), session["y"], run)
    session["x"] = feeds[0]
    session.run()
    assert not np.array_equal(session["y"], firsts[0]), "the state must matter"
    session.reset()
    session.run()
    np.testing.assert_array_equal(session["y"], firsts[0])


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_equal_over_runs(dtype: str, rounding: str) -> None:
    _compare(_lstm(dtype, 1), rounding)
    _compare(_lstm(dtype, 2, batch=2), rounding)
    _compare(_lstm(dtype, 3, batch=2, time_major=True), rounding)


def test_first_state_of_a_file_is_the_zero_point() -> None:
    graph = _lstm("int8", 5)
    state = graph.nodes[0].input(18)
    assert state.zero, "the test needs a zero point other than 0"
    read = read_tflite(write_tflite(graph)).graph.nodes[0].input(18)
    assert read.data is not None
    np.testing.assert_array_equal(read.data, np.full(state.shape, state.zero, np.int8))
    _compare(read_tflite(write_tflite(graph)).graph, "xnnpack")


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_cell_clip(dtype: str) -> None:
    _compare(_lstm(dtype, 4, cell_clip=0.5), "xnnpack")


@pytest.mark.parametrize("bits", [10, 11, 12, 13, 14, 15])
def test_cell_scales(bits: int) -> None:
    """Cell states from [-32, 32) to [-1, 1)."""
    _compare(_lstm("int8", bits, cell_bits=bits), "xnnpack")


def _refusal(graph: Graph) -> str:
    with pytest.raises(UnsupportedError) as caught:
        ops.lower(graph.nodes[0], ops.Context())
    return str(caught.value)


def test_refusals_name_what_is_missing() -> None:
    spare = _constant("spare", np.zeros((UNITS, UNITS), np.float32))
    wanted = {9: "peephole", 16: "projection", 20: "layer normalisation"}
    for place, text in wanted.items():
        graph = _lstm("float32", 1)
        graph.nodes[0].inputs[place] = spare
        assert text in _refusal(graph)
    graph = _lstm("float32", 1)
    graph.nodes[0].inputs[1] = None
    assert "coupled" in _refusal(graph)
    assert "RELU" in _refusal(_lstm("float32", 1, fused_activation_function="RELU"))
    graph = _lstm("float32", 1)
    graph.nodes[0].inputs[18] = spare
    assert "variable" in _refusal(graph)
    graph = _lstm("int8", 1)
    state = graph.nodes[0].input(19)
    state.quant = per_tensor(0.001, 0)
    assert "power of two" in _refusal(graph)
