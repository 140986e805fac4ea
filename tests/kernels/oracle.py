"""LiteRT as the oracle of one-operator models, beside our reference kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgeinfer.engine.graph import Graph, Node
from edgeinfer.engine.plan import build
from edgeinfer.engine.session import Session
from edgeinfer.engine.tensor import Quantisation, Tensor, per_tensor
from edgeinfer.engine.tflite_writer import write_tflite

ROUNDINGS = ("xnnpack", "tflite")
Quant = tuple[float, int] | Quantisation | None


def tensor(name: str, shape: tuple[int, ...], dtype: str, quant: Quant = None) -> Tensor:
    """A tensor without a value; `quant` is (scale, zero) where it is one pair."""
    return Tensor(name, shape, dtype, per_tensor(*quant) if isinstance(quant, tuple) else quant)


def const(name: str, data: Any, dtype: str = "int32", quant: Quant = None) -> Tensor:
    """A constant."""
    array = np.asarray(data, dtype)
    made = tensor(name, array.shape, dtype, quant)
    made.data = array
    return made


def single(op: str, inputs: list[Tensor], outputs: list[Tensor], **attrs: Any) -> Graph:
    """The graph of one node; its inputs are those that are not constant."""
    node = Node(op, list(inputs), outputs, attrs, op.lower())
    given = {t.name: t for t in inputs if t.data is None}
    return Graph("one", [node], given, {t.name: t for t in outputs})


def litert(graph: Graph, feeds: dict[str, np.ndarray], rounding: str) -> list[np.ndarray]:
    """Outputs of LiteRT: the default interpreter ("xnnpack") or the reference ops ("tflite")."""
    kinds = {"xnnpack": OpResolverType.AUTO, "tflite": OpResolverType.BUILTIN_REF}
    interpreter = Interpreter(
        model_content=write_tflite(graph),
        num_threads=1,
        experimental_op_resolver_type=kinds[rounding],
    )
    interpreter.allocate_tensors()
    places = {d["name"]: d["index"] for d in interpreter.get_input_details()}
    for name, value in feeds.items():
        interpreter.set_tensor(places[name], value)
    interpreter.invoke()
    details = {d["name"]: d["index"] for d in interpreter.get_output_details()}
    return [interpreter.get_tensor(details[name]) for name in graph.outputs]


def ours(graph: Graph, feeds: dict[str, np.ndarray], rounding: str) -> list[np.ndarray]:
    """Outputs of the reference kernels; two threads, so that the split of the work is tried."""
    session = Session(build(graph, isa="ref", rounding=rounding, optimise=False), threads=2)
    for name, value in feeds.items():
        session[name] = value
    session.run()
    return [session[name].copy() for name in graph.outputs]


def values(rng: np.random.Generator, t: Tensor) -> np.ndarray:
    """Random values of the whole range of the type, extremes among them; floats of all sizes."""
    if t.dtype == "float32":
        spread = rng.standard_normal(t.shape) * 10.0 ** rng.uniform(-3, 1.5, t.shape)
        return spread.astype(np.float32)
    if t.dtype == "bool":
        return rng.integers(0, 2, t.shape).astype(bool)
    info = np.iinfo(t.dtype)
    data = np.array(rng.integers(info.min, info.max, t.shape, endpoint=True, dtype=np.int64))
    flat = data.reshape(-1)
    flat[: min(2, flat.size)] = [info.min, info.max][: flat.size]
    return np.asarray(rng.permutation(flat).reshape(t.shape), t.dtype)


def bytes_of(rng: np.random.Generator, t: Tensor) -> np.ndarray:
    """Every value of an 8-bit tensor at least once: count must be 256 or more."""
    extra = rng.integers(0, 256, t.count - 256)
    flat = np.concatenate([np.arange(256), extra]).astype(np.uint8)
    return rng.permutation(flat).view(t.dtype).reshape(t.shape)


def feeds_of(rng: np.random.Generator, graph: Graph) -> dict[str, np.ndarray]:
    """Random values for every input of the graph."""
    return {name: values(rng, t) for name, t in graph.inputs.items()}


def compare(graph: Graph, feeds: dict[str, np.ndarray], rounding: str, note: Any = "") -> None:
    """Integers equal, floats within 1e-5 of the largest magnitude."""
    for name, want, got in zip(
        graph.outputs, litert(graph, feeds, rounding), ours(graph, feeds, rounding), strict=True
    ):
        assert want.shape == got.shape, (graph.nodes[0].op, name, want.shape, got.shape)
        assert want.dtype == got.dtype, (graph.nodes[0].op, name, want.dtype, got.dtype)
        if want.dtype == np.float32:
            bound = 1e-5 * max(1e-30, float(np.abs(want).max(initial=0)))
            np.testing.assert_allclose(got, want, rtol=0, atol=bound, err_msg=f"{note}")
        else:
            wrong = np.flatnonzero(want.reshape(-1) != got.reshape(-1))
            sample = [(want.flat[i].item(), got.flat[i].item()) for i in wrong[:8]]
            assert not wrong.size, (
                f"{graph.nodes[0].op} {rounding} {note}: {wrong.size} of {want.size} differ, "
                f"(LiteRT, ours) {sample}"
            )
