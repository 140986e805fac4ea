"""The tflite delegate: runs what our kernels lack, when it is named; else the refusal is clear."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from edgeinfer import delegates
from edgeinfer.delegates.base import Delegate, Refusal
from edgeinfer.delegates.tflite import TfliteDelegate
from edgeinfer.engine.graph import Graph, Node
from edgeinfer.engine.plan import Plan, build
from edgeinfer.engine.session import Session
from edgeinfer.engine.tensor import Tensor
from edgeinfer.engine.tflite_writer import write_tflite
from edgeinfer.errors import DelegateError, UnsupportedError
from tests import models


def with_cumsum(dtype: str = "float32") -> Graph:
    """Nodes of ours on both sides of two that we have no kernel for."""
    make = models.Maker(dtype)
    x = make.input("x", (1, 8, 8, 3))
    a = make.mean(make.conv(x, 6), axes=(1,))  # [1, 8, 6]
    b, c = Tensor("sums", a.shape, "float32"), Tensor("back", a.shape, "float32")
    attrs = {"exclusive": False, "reverse": True}
    make.nodes.append(Node("CUMSUM", [a, make.ints(1)], [b], attrs, "sums"))
    make.nodes.append(Node("CUMSUM", [b, make.ints(2)], [c], attrs | {"exclusive": True}, "back"))
    return make.graph(make.add(c, a), b)


def segment_sum() -> Graph:
    make = models.Maker("float32")
    x = make.input("x", (4, 3))
    y = Tensor("y", (2, 3), "float32")
    make.nodes.append(Node("SEGMENT_SUM", [x, make.ints([0, 0, 1, 1])], [y], {}, "y"))
    return make.graph(y)


def outputs(session: Session, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for name, value in feeds.items():
        session[name] = value
    session.run()
    return {name: session[name].copy() for name in session.outputs}


def test_without_a_fallback_the_node_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="CUMSUM"):
        build(with_cumsum())


def test_graph_with_foreign_nodes_runs_and_agrees(tmp_path: Path) -> None:
    graph = with_cumsum()
    feeds = models.random_inputs(graph)
    want = models.litert(write_tflite(graph), feeds)
    plan = build(graph, fallback="tflite")
    assert [s.delegate for s in plan.steps()].count("tflite") == 1, "neighbours make one part"
    session = Session(plan)
    for _ in range(2):
        got = outputs(session, feeds)
        assert set(got) == set(want)
        for name in want:
            np.testing.assert_allclose(got[name], want[name], rtol=1e-5, atol=1e-4)
    plan.save(tmp_path / "plan.eiplan")
    again = outputs(Session(Plan.load(tmp_path / "plan.eiplan")), feeds)
    for name in want:
        np.testing.assert_array_equal(again[name], got[name])


def test_graph_of_foreign_nodes_alone() -> None:
    graph = segment_sum()
    x = models.random_inputs(graph)["x"]
    got = outputs(Session(build(graph, fallback=["tflite"])), {"x": x})
    np.testing.assert_allclose(got["y"], x.reshape(2, 2, 3).sum(1), rtol=1e-6)


@pytest.mark.parametrize("rounding", ["xnnpack", "tflite"])
def test_the_plan_s_rounding_reaches_the_runtime(rounding: str) -> None:
    """A convolution differs in the last unit between the sets of kernels: the named one runs."""
    make = models.Maker("int8")
    x = make.input("x", (1, 64, 64, 4))
    graph = make.graph(make.conv(x, 16, kernel=5, activation="RELU"))
    feeds = models.random_inputs(graph)
    want = models.litert(write_tflite(graph), feeds, reference=rounding == "tflite")
    other = models.litert(write_tflite(graph), feeds, reference=rounding != "tflite")
    (name,) = want
    assert not np.array_equal(want[name], other[name]), "this case cannot tell the two apart"
    delegate = TfliteDelegate()
    got = np.zeros_like(want[name])
    delegate.bind(delegate.compile(graph, rounding), [feeds["x"]], [got]).run()
    np.testing.assert_array_equal(got, want[name])


def test_operator_without_reference_kernel_still_runs() -> None:
    graph = segment_sum()
    x, got = models.random_inputs(graph)["x"], np.zeros((2, 3), np.float32)
    delegate = TfliteDelegate()
    delegate.bind(delegate.compile(graph, "tflite"), [x], [got]).run()
    np.testing.assert_allclose(got, x.reshape(2, 2, 3).sum(1), rtol=1e-6)


def test_refusals_name_rule_value_and_limit() -> None:
    delegate = TfliteDelegate()
    assert delegate.available() is None
    x = Tensor("x", (1,), "float32")
    custom = delegate.supports(Node("ethos-u", [x], [x]))
    assert custom == Refusal("operators of the runtime only", "ethos-u", "the public TFLite schema")
    state = Tensor("cell", (1,), "float32", state=True)
    refusal = delegate.supports(Node("SVDF", [x, state], [x]))
    assert refusal is not None
    assert "cell" in refusal.value
    assert delegate.supports(Node("CUMSUM", [x], [x])) is None
    assert delegate.supports(Node("STABLEHLO_ADD", [x, x], [x])) is not None


def test_custom_operator_is_refused_with_every_reason() -> None:
    x, y = Tensor("x", (1, 4), "float32"), Tensor("y", (1, 4), "float32")
    graph = Graph("g", [Node("nobody-has-this", [x], [y], name="n")], {"x": x}, {"y": y})
    with pytest.raises(UnsupportedError, match="nobody-has-this") as error:
        build(graph, fallback="tflite")
    assert "tflite: operators of the runtime only" in str(error.value)


def test_part_the_runtime_refuses_is_an_error_when_compiled() -> None:
    graph = segment_sum()
    graph.nodes[0].inputs.pop()
    with pytest.raises(DelegateError, match="refuses"):
        TfliteDelegate().compile(graph)


def test_damaged_part_is_an_error() -> None:
    with pytest.raises(DelegateError, match="made by another version"):
        TfliteDelegate().bind(b"Zsomething", [], [])


def test_shape_that_depends_on_data_is_an_error() -> None:
    x, n = Tensor("x", (4,), "bool"), Tensor("n", (4, 1), "int64")
    graph = Graph("g", [Node("WHERE", [x], [n])], {"x": x}, {"n": n})
    delegate = TfliteDelegate()
    inside, found = np.array([True, False, True, False]), np.zeros((4, 1), np.int64)
    executable = delegate.bind(delegate.compile(graph), [inside], [found])
    with pytest.raises(DelegateError, match="depend on the data"):
        executable.run()


def test_registry() -> None:
    assert "tflite" in delegates.names()
    assert isinstance(delegates.get("tflite"), Delegate)
    with pytest.raises(DelegateError, match=r"there are: .*tflite"):
        delegates.get("nothing")


def test_delegates_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    group = "edgeinfer.delegates"
    offered = [
        EntryPoint("other", "edgeinfer.delegates.tflite:create", group),
        EntryPoint("broken", "no_such_package:create", group),
        EntryPoint("wrong", "builtins:dict", group),
    ]
    monkeypatch.setattr(delegates, "entry_points", lambda group: offered)
    monkeypatch.setattr(delegates, "_known", {})
    assert "other" in delegates.names()
    assert isinstance(delegates.get("other"), TfliteDelegate)
    with pytest.raises(DelegateError, match="no_such_package"):
        delegates.get("broken")
    with pytest.raises(DelegateError, match="no Delegate"):
        delegates.get("wrong")
