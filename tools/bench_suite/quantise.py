"""Full int8 quantisation of a float graph, after the TFLite 8-bit specification.

Activations per tensor and asymmetric, from the ranges our own float engine sees on random inputs;
weights per channel and symmetric; biases int32. Tensors that an operator only moves or compares
share their scale with its output.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeinfer.engine import plan
from edgeinfer.engine.graph import Graph, Node
from edgeinfer.engine.session import Session
from edgeinfer.engine.tensor import Quantisation, Tensor, per_tensor

Range = tuple[float, float]
_SHARED = {"MAX_POOL_2D", "RESIZE_NEAREST_NEIGHBOR", "RESHAPE", "TRANSPOSE", "CONCATENATION"}
_FIXED = {
    "SOFTMAX": (1 / 256, -128), "LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (1 / 128, 0),  # the values are products with a tanh
}  # fmt: skip
_LINEAR = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}  # op: channels' axis


def calibrate(graph: Graph, runs: int = 4, seed: int = 1) -> dict[int, Range]:
    """id(tensor) -> least and greatest value over some runs on inputs uniform in [-1, 1].

    What our float engine cannot run, LiteRT does (fallback).
    """
    every = {t.name: t for n in graph.nodes for t in n.outputs} | graph.inputs
    watched = Graph(graph.name, graph.nodes, graph.inputs, every)
    session = Session(plan.build(watched, optimise=False, fallback="tflite"))
    rng, ranges = np.random.default_rng(seed), {id(t): (0.0, 0.0) for t in every.values()}
    for _ in range(runs):
        for name, tensor in graph.inputs.items():
            session[name] = rng.uniform(-1, 1, tensor.shape).astype(np.float32)
        session.run()
        for name, tensor in every.items():
            low, high = ranges[id(tensor)]
            seen = session[name]
            ranges[id(tensor)] = (min(low, float(seen.min())), max(high, float(seen.max())))
    return ranges


def _groups(graph: Graph) -> dict[int, int]:
    """id(tensor) -> representative of the tensors that must share one scale (union-find)."""
    parent: dict[int, int] = {}

    def find(key: int) -> int:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    for node in graph.nodes:
        for tensor in [*node.inputs, *node.outputs]:
            if tensor is not None and not tensor.constant:
                find(id(tensor))
        if node.op in _SHARED:
            for tensor in node.inputs:
                if tensor is not None and not tensor.constant:
                    parent[find(id(tensor))] = find(id(node.outputs[0]))
    return {key: find(key) for key in parent}


def affine(low: float, high: float) -> Quantisation:
    """Scale and zero point for int8 so that 0 is exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max(high - low, 1e-6) / 255
    return per_tensor(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


def _scales(graph: Graph, ranges: dict[int, Range]) -> dict[int, Quantisation]:
    groups = _groups(graph)
    joined: dict[int, Range] = {}
    for key, root in groups.items():
        low, high = ranges.get(key, (0.0, 0.0))
        first = joined.get(root, (0.0, 0.0))
        joined[root] = (min(low, first[0]), max(high, first[1]))
    found = {key: affine(*joined[root]) for key, root in groups.items()}
    for node in graph.nodes:
        fixed = _FIXED.get(node.op)
        if fixed:
            own = groups[id(node.outputs[0])]
            found |= {key: per_tensor(*fixed) for key, root in groups.items() if root == own}
    return found


def symmetric(data: np.ndarray, axis: int | None) -> tuple[np.ndarray, Quantisation]:
    """int8 values and scales, per channel along `axis` (None: one scale)."""
    others = tuple(i for i in range(data.ndim) if i != axis) if axis is not None else None
    limit = np.maximum(np.abs(data).max(axis=others, keepdims=True), 1e-9)
    scale = (limit / 127).astype(np.float32)
    values = np.clip(np.round(data / scale), -127, 127).astype(np.int8)
    count = scale.size
    return values, Quantisation(scale.reshape(-1), np.zeros(count, np.int32), axis or 0)


class _Quantiser:
    def __init__(self, graph: Graph, ranges: dict[int, Range]) -> None:
        self.graph, self.scales = graph, _scales(graph, ranges)
        self.made: dict[int, Tensor] = {}

    def tensor(self, t: Tensor) -> Tensor:
        """The int8 tensor of an activation, or of a constant that is one."""
        if id(t) not in self.made:
            if t.dtype != "float32":
                self.made[id(t)] = t
            elif t.constant:
                assert t.data is not None
                quant = affine(float(t.data.min()), float(t.data.max()))
                data = np.round(t.data / quant.scale + quant.zero).clip(-128, 127).astype(np.int8)
                self.made[id(t)] = Tensor(t.name, t.shape, "int8", quant, data)
            else:
                self.made[id(t)] = Tensor(t.name, t.shape, "int8", self.scales[id(t)])
        return self.made[id(t)]

    def node(self, node: Node) -> Node:
        """The node on int8 tensors."""
        outputs = [self.tensor(t) for t in node.outputs]
        if node.op == "UNIDIRECTIONAL_SEQUENCE_LSTM":
            return self._lstm(node, outputs)
        if node.op in _LINEAR:
            inputs = self._linear(node, _LINEAR[node.op])
        else:
            inputs = [None if t is None else self.tensor(t) for t in node.inputs]
        return replace(node, inputs=inputs, outputs=outputs)

    def _linear(self, node: Node, axis: int) -> list[Tensor | None]:
        x, weights, bias = self.tensor(node.input(0)), node.input(1), node.input(2)
        return [x, *self._weights(x, weights, bias, axis)]

    @staticmethod
    def _weights(x: Tensor, weights: Tensor, bias: Tensor, axis: int | None) -> list[Tensor]:
        assert weights.data is not None
        assert bias.data is not None
        values, quant = symmetric(weights.data, axis)
        scale = quant.scale * np.float32(x.scale)
        integers = np.round(bias.data / scale).astype(np.int32)
        of_bias = Quantisation(scale, quant.zero)
        return [
            Tensor(weights.name, weights.shape, "int8", quant, values),
            Tensor(bias.name, bias.shape, "int32", of_bias, integers),
        ]

    def _lstm(self, node: Node, outputs: list[Tensor]) -> Node:
        """The 8x8->16 form: int16 cell state of scale 2^-11, int8 output state as the output."""
        x = self.tensor(node.input(0))
        inputs: list[Tensor | None] = [x, *[None] * 23]
        for i in range(4):
            inputs[1 + i], inputs[12 + i] = self._weights(
                x, node.input(1 + i), node.input(12 + i), None
            )
            recurrent = node.input(5 + i)
            assert recurrent.data is not None
            values, quant = symmetric(recurrent.data, None)
            inputs[5 + i] = Tensor(recurrent.name, recurrent.shape, "int8", quant, values)
        states = [("int8", outputs[0].quant), ("int16", per_tensor(2.0**-11, 0))]
        for i, (dtype, quant) in enumerate(states):
            old = node.input(18 + i)
            inputs[18 + i] = Tensor(old.name, old.shape, dtype, quant, state=True)
        inner = [Tensor(f"{node.name}_inner{i}", (0,), "float32") for i in range(4)]
        inner.append(Tensor(f"{node.name}_hidden", (0,), "int8", outputs[0].quant))
        attrs = node.attrs | {"intermediates": inner}
        return replace(node, inputs=inputs, outputs=outputs, attrs=attrs)


def quantise(graph: Graph, ranges: dict[int, Range]) -> Graph:
    """The int8 graph, inputs and outputs int8 too."""
    work = _Quantiser(graph, ranges)
    inputs = {name: work.tensor(t) for name, t in graph.inputs.items()}
    nodes = [work.node(n) for n in graph.nodes]
    return Graph(graph.name, nodes, inputs, {k: work.tensor(t) for k, t in graph.outputs.items()})
