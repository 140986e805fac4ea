"""Functions of one byte become one table: fewer steps, the same bytes as LiteRT."""

from __future__ import annotations

import numpy as np
import pytest

import edgeinfer as ei
from edgeinfer.engine.graph import Graph
from edgeinfer.engine.plan import Plan, build
from tests.kernels.oracle import compare, const, feeds_of
from tests.models import Maker


def chain(dtype: str) -> Graph:
    """x * sigmoid(x), its square less itself times a constant, then tanh: one function of x."""
    make = Maker(dtype, 1)
    x = make.input("x", (2, 5, 7, 3))
    silu = make.add(x, make.unary(x, "LOGISTIC"), op="MUL")
    scale = make.input("scale", (1,))
    del make.inputs["scale"]
    scalar = const("scalar", np.array([77], dtype), dtype, scale.quant)
    square = make.add(silu, silu, op="MUL")
    return make.graph(
        make.unary(make.add(square, make.add(silu, scalar, op="MUL"), op="SUB"), "TANH")
    )


def kernels(plan: Plan) -> list[str]:
    return [s.kernel.split("/")[1] for s in plan.steps()]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("rounding", ["xnnpack", "tflite"])
def test_a_chain_is_one_table_and_equals_litert(dtype: str, rounding: str) -> None:
    graph = chain(dtype)
    assert kernels(build(graph, isa="ref", rounding=rounding)) == ["lookup"]
    assert len(kernels(build(graph, isa="ref", rounding=rounding, optimise=False))) == 6
    for seed in range(4):
        compare(graph, feeds_of(np.random.default_rng(seed), graph), rounding)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_what_others_read_is_still_written(dtype: str) -> None:
    make = Maker(dtype, 2)
    x = make.input("x", (1, 4, 4, 20))
    gate = make.unary(x, "LOGISTIC")
    silu = make.add(x, gate, op="MUL")
    graph = make.graph(silu, gate, make.conv(gate, 4), make.pool(silu))
    plan = build(graph)
    assert sum("lookup" in k for k in kernels(plan)) == 2
    assert "mul" not in kernels(plan)
    compare(graph, feeds_of(np.random.default_rng(0), graph), "xnnpack")


def test_functions_of_two_tensors_stay() -> None:
    make = Maker("int8", 3)
    x, y = make.input("x", (1, 4, 4, 8)), make.input("y", (1, 4, 4, 8))
    row = make.input("row", (1, 1, 1, 8))
    both = make.add(make.unary(x, "TANH"), make.unary(y, "TANH"), op="MUL")
    spread = make.add(make.unary(row, "LOGISTIC"), x, op="MUL")
    graph = make.graph(both, spread)
    assert kernels(build(graph, isa="ref")).count("mul") == 2
    compare(graph, feeds_of(np.random.default_rng(0), graph), "xnnpack")


def test_floats_are_left_alone() -> None:
    make = Maker("float32")
    x = make.input("x", (1, 4, 4, 8))
    graph = make.graph(make.add(x, make.unary(x, "LOGISTIC"), op="MUL"))
    assert "lookup" not in kernels(build(graph))
    session = ei.Session(build(graph))
    session["x"][...] = 1
    session.run()
    (name,) = session.outputs
    assert np.allclose(session[name], 1 / (1 + np.exp(-1)))
