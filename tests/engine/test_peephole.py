"""Sign flips vanish into tables and change no byte; x * logistic(x) of floats is one step."""

from __future__ import annotations

import numpy as np
import pytest

import edgeinfer as ei
from edgeinfer import _native
from edgeinfer.engine.graph import Graph
from edgeinfer.engine.plan import build
from tests.models import Maker


def silu(dtype: str) -> Graph:
    """Two convolutions with x * sigmoid(x) behind each, as YOLO has them."""
    make = Maker(dtype)
    x = make.input("x", (1, 9, 9, 8))
    for _ in range(2):
        y = make.conv(x, 8)
        x = make.add(y, make.unary(y, "LOGISTIC"), op="MUL")
    return make.graph(x)


def _kernels(graph: Graph, isa: str = "ref") -> list[str]:
    return [p.kernel for p in ei.Session(build(graph, isa=isa)).placement()]


def test_swish_of_floats_is_one_step() -> None:
    kernels = _kernels(silu("float32"))
    assert kernels.count("ref/unary") == 2
    assert "ref/mul" not in kernels


def test_a_logistic_that_others_read_stays() -> None:
    make = Maker("float32")
    x = make.input("x", (1, 9))
    gate = make.unary(x, "LOGISTIC")
    y = make.add(make.add(x, gate, op="MUL"), gate)
    assert sorted(_kernels(make.graph(y))) == ["ref/add", "ref/mul", "ref/unary"]


def test_another_factor_is_no_swish() -> None:
    make = Maker("float32")
    x, z = make.input("x", (1, 9)), make.input("z", (1, 9))
    y = make.add(z, make.unary(x, "LOGISTIC"), op="MUL")
    assert sorted(_kernels(make.graph(y))) == ["ref/mul", "ref/unary"]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("rounding", ["xnnpack", "tflite"])
@pytest.mark.parametrize("isa", _native.isas())
def test_every_isa_gives_the_bytes_of_ref(isa: str, rounding: str, dtype: str) -> None:
    results = []
    for which in ("ref", isa):
        session = ei.Session(build(silu(dtype), isa=which, rounding=rounding))
        view = session["x"]
        values = np.random.default_rng(0).integers(-128, 128, view.size).astype(np.int8)
        view[...] = values.view(dtype).reshape(view.shape)
        session.run()
        results += [session[name].copy() for name in session.outputs]
    assert np.array_equal(*results)


@pytest.mark.skipif("avx512vnni" not in _native.isas(), reason="needs AVX-512 VNNI")
def test_flips_remain_at_the_border_alone() -> None:
    placed = ei.Session(build(silu("int8"), isa="avx512vnni")).placement()
    kernels = [p.kernel for p in placed]
    assert sum("lookup" in k for k in kernels) == 2
    assert sum("flip_sign" in k for k in kernels) <= 2
