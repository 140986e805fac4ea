"""The LSTM against LiteRT: float within 1e-5, int8 to the bit, its states over runs and resets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from oracle import ROUNDINGS, const
from recurrent import UNITS, lstm

from edgeinfer.engine import ops
from edgeinfer.engine.graph import Graph
from edgeinfer.engine.plan import build
from edgeinfer.engine.session import Session
from edgeinfer.engine.tensor import per_tensor
from edgeinfer.engine.tflite import read_tflite
from edgeinfer.engine.tflite_writer import write_tflite
from edgeinfer.errors import UnsupportedError

_KINDS = {"xnnpack": OpResolverType.AUTO, "tflite": OpResolverType.BUILTIN_REF}


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
    _compare(lstm(dtype, 1), rounding)
    _compare(lstm(dtype, 2, batch=2), rounding)
    _compare(lstm(dtype, 3, batch=2, time_major=True), rounding)


def test_first_state_of_a_file_is_the_zero_point() -> None:
    graph = lstm("int8", 5)
    state = graph.nodes[0].input(18)
    assert state.zero, "the test needs a zero point other than 0"
    read = read_tflite(write_tflite(graph)).graph.nodes[0].input(18)
    assert read.data is not None
    np.testing.assert_array_equal(read.data, np.full(state.shape, state.zero, np.int8))
    _compare(read_tflite(write_tflite(graph)).graph, "xnnpack")


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_cell_clip(dtype: str) -> None:
    _compare(lstm(dtype, 4, cell_clip=0.5), "xnnpack")


@pytest.mark.parametrize("bits", [10, 11, 12, 13, 14, 15])
def test_cell_scales(bits: int) -> None:
    """Cell states from [-32, 32) to [-1, 1)."""
    _compare(lstm("int8", bits, cell_bits=bits), "xnnpack")


def _refusal(graph: Graph) -> str:
    with pytest.raises(UnsupportedError) as caught:
        ops.lower(graph.nodes[0], ops.Context())
    return str(caught.value)


def test_refusals_name_what_is_missing() -> None:
    spare = const("spare", np.zeros((UNITS, UNITS)), "float32")
    wanted = {9: "peephole", 16: "projection", 20: "layer normalisation"}
    for place, text in wanted.items():
        graph = lstm("float32", 1)
        graph.nodes[0].inputs[place] = spare
        assert text in _refusal(graph)
    graph = lstm("float32", 1)
    graph.nodes[0].inputs[1] = None
    assert "coupled" in _refusal(graph)
    assert "RELU" in _refusal(lstm("float32", 1, fused_activation_function="RELU"))
    graph = lstm("float32", 1)
    graph.nodes[0].inputs[18] = spare
    assert "variable" in _refusal(graph)
    graph = lstm("int8", 1)
    state = graph.nodes[0].input(19)
    state.quant = per_tensor(0.001, 0)
    assert "power of two" in _refusal(graph)
