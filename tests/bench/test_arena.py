"""The arena of every network of the suite, in float32 and int8, is at most LiteRT's.

LiteRT's is measured: the stretch of memory over which its interpreter without delegates laid the
values that operators make and take, by their addresses, and its variables. What its kernels keep
there besides counts only where it lies between them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgeinfer.engine import ops
from edgeinfer.engine.graph import Graph
from edgeinfer.engine.plan import build
from edgeinfer.engine.tflite_writer import write_tflite
from tests.bench.test_suite import NAMES, suite

__all__ = ["suite"]  # the fixture


def litert_bytes(graph: Graph) -> int:
    """Bytes of LiteRT's arena, from below."""
    without = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(
        model_content=write_tflite(graph), experimental_op_resolver_type=without
    )
    interpreter.allocate_tensors()
    moving = {int(i) for op in interpreter._get_ops_details() for i in op["outputs"]}
    moving |= {int(d["index"]) for d in interpreter.get_input_details()}
    views = [np.asarray(interpreter.tensor(i)()) for i in sorted(moving)]
    begins = [(v.ctypes.data, v.ctypes.data + v.nbytes) for v in views if v.ndim]
    states = {id(t): t.bytes for t in graph.tensors() if t.state}
    return max(end for _, end in begins) - min(begin for begin, _ in begins) + sum(states.values())


def network(suite: Any, name: str, kind: str) -> Graph:
    """A network of the suite; int8 with scales of no meaning."""
    graph: Graph = suite.nets.NETS[name][0]()
    if kind == "fp32":
        return graph
    roots = {id(n.inputs[0]) for n in graph.nodes if n.op == "RSQRT"}  # of nothing negative
    ranges = {id(t): (0.0 if id(t) in roots else -1.0, 1.0) for t in graph.tensors()}
    quantised: Graph = suite.quantise.quantise(graph, ranges)
    return quantised


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_arena_is_at_most_litert_s(suite: Any, name: str, kind: str) -> None:
    graph = network(suite, name, kind)
    missing = {n.op for n in graph.nodes} - set(ops.supported())
    if missing:
        pytest.skip(f"no kernels of ours for {', '.join(missing)}")
    ours, theirs = build(graph).arena_bytes, litert_bytes(graph)
    print(f"{name} {kind}: {ours} bytes, LiteRT {theirs}")
    assert 0 < ours <= theirs


def test_the_measure_of_litert_is_right() -> None:
    """Of three layers in a row the first and the last share memory: known to the byte."""
    from tests.models import Maker

    make = Maker("float32")
    x = make.fc(make.fc(make.input("x", (1, 640)), 1280), 2560)
    graph = make.graph(make.fc(x, 320))
    assert litert_bytes(graph) == 4 * (640 + 1280 + 2560)
