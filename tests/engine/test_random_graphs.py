"""Whole random models on our engine and on LiteRT (XNNPACK on): int8 and uint8 equal, floats within
1e-5 of the largest magnitude (at least 1, the size of the activations).

EDGEINFER_RANDOM_GRAPHS=N tries N new models of each type instead of the few, always the same, of an
ordinary run.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_graphs import DTYPES, graphs

from edgeinfer import _native
from edgeinfer.engine.graph import Graph, Node
from edgeinfer.engine.plan import build
from edgeinfer.engine.session import Session
from edgeinfer.engine.tflite_writer import write_tflite
from tests.models import litert, random_inputs

COUNT = int(os.environ.get("EDGEINFER_RANDOM_GRAPHS", "0"))
SETTINGS = settings(
    max_examples=COUNT or 150,
    derandomize=not COUNT,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
Values = dict[str, np.ndarray]


def _ours(graph: Graph, feeds: Values, isa: str, threads: int = 1) -> Values:
    session = Session(build(graph, isa=isa), threads=threads)
    for name, value in feeds.items():
        session[name] = value
    session.run()
    return {name: session[name].copy() for name in session.outputs}


def _differing(want: Values, got: Values, least: float = 1e-30) -> list[str]:
    """Outputs that are not what they should be; `least`: the smallest magnitude errors refer to."""
    found = []
    for name, w in want.items():
        if w.dtype == np.float32:
            atol = 1e-5 * max(float(np.abs(w).max(initial=0)), least)
            if not np.allclose(got[name], w, rtol=0, atol=atol):
                found.append(name)
        elif not np.array_equal(got[name], w):
            found.append(name)
    return found


def _alone(node: Node, feeds: Values) -> tuple[Graph, Values]:
    """The graph of one node of a larger one, and its inputs among `feeds`."""
    given = {t.name: t for t in node.inputs if t is not None and t.data is None}
    outputs = {t.name: t for t in node.outputs}
    return Graph("one", [node], given, outputs), {name: feeds[name] for name in given}


def _between(graph: Graph, feeds: Values) -> Values:
    """What LiteRT makes of every tensor of the graph."""
    written = {t.name: t for n in graph.nodes for t in n.outputs}
    return feeds | litert(write_tflite(replace(graph, outputs=written)), feeds)


def _guilty(graph: Graph, feeds: Values, isa: str) -> list[str]:
    """The nodes that differ from LiteRT when they get LiteRT's own inputs."""
    values, found = _between(graph, feeds), []
    for node in graph.nodes:
        one, inputs = _alone(node, values)
        if _differing(litert(write_tflite(one), inputs), _ours(one, inputs, isa)):
            found.append(f"{node} from {'; '.join(str(t) for t in one.inputs.values())}")
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_to_litert(dtype: str) -> None:
    @SETTINGS
    @given(graphs(dtype), st.sampled_from(_native.isas()[::-1]), st.sampled_from((1, 2, 3)))
    def check(graph: Graph, isa: str, threads: int) -> None:
        assume(graph.nodes)
        feeds = random_inputs(graph, len(graph.nodes))
        want = litert(write_tflite(graph), feeds)
        # Activations are of about this size: a sum of them may cancel to anything less.
        wrong = _differing(want, _ours(graph, feeds, isa, threads), least=1.0)
        text = " | ".join(map(str, graph.nodes))
        assert not wrong, f"{isa}: {wrong} differ; alone: {_guilty(graph, feeds, isa)}; {text}"

    check()


#: 8-bit operators of which LiteRT's default interpreter (XNNPACK) makes other numbers than its own
#: reference operators from the same inputs: why, XNNPACK against the reference.
DIFFERING = {
    "ADD": "21 bits of fixed point, one rounding; 31 bits, three",
    "SUB": "as ADD",
    "MUL": "a float scale, ties to even; fixed point, ties away from zero",
    "CONV_2D": "as MUL",
    "DEPTHWISE_CONV_2D": "as MUL",
    "TRANSPOSE_CONV": "as MUL",
    "FULLY_CONNECTED": "a float scale; a double one, ties away from zero",
    "MEAN": "a float scale; fixed point",
    "LEAKY_RELU": "multipliers of 8 bits; of 31",
    "QUANTIZE": "as LEAKY_RELU",
    "RESIZE_BILINEAR": "weights of 11 bits; of 10 (int8), floats (uint8)",
    "SOFTMAX": "sums of floats; fixed point",
    "LOGISTIC": "ties with the zero point; without",
    "TANH": "as LOGISTIC",
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_litert_differs_from_its_reference(
    dtype: str, record_property: Callable[[str, object], None]
) -> None:
    """Node by node on the same inputs; what differs is printed (pytest -rP).

    Floats must not differ, nor 8-bit operators that are not in DIFFERING.
    """
    tried, differing = Counter[str](), Counter[str]()

    @settings(SETTINGS, max_examples=max(SETTINGS.max_examples // 4, 1))
    @given(graphs(dtype))
    def compare(graph: Graph) -> None:
        assume(graph.nodes)
        values = _between(graph, random_inputs(graph, len(graph.nodes)))
        for node in graph.nodes:
            one, inputs = _alone(node, values)
            data = write_tflite(one)
            tried[node.op] += 1
            wrong = _differing(litert(data, inputs), litert(data, inputs, reference=True))
            differing[node.op] += bool(wrong)

    compare()
    report = {op: f"{n} of {tried[op]}" for op, n in sorted(differing.items()) if n}
    print(f"LiteRT differs from its reference, {dtype}: {report}")
    record_property("differing", report)
    unknown = {op: n for op, n in report.items() if op not in DIFFERING or dtype == "float32"}
    assert not unknown
