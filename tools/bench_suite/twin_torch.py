"""Writes the ExecuTorch twin of a network: python twin_torch.py FLOAT.npz MODEL.pte [int8].

Made from the float graph (NCHW, channels last in memory); int8 by PyTorch's own quantiser for
XNNPACK, static and per channel, calibrated on random inputs; inputs and outputs stay float there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from portable import load, same_padding


class Twin(torch.nn.Module):
    """Runs the nodes of a float graph one by one; torch.export makes them a program."""

    def __init__(self, graph: dict[str, Any]) -> None:
        super().__init__()
        self.graph, self.tensors = graph, graph["tensors"]
        self.layers = torch.nn.ModuleDict()
        for k, node in enumerate(graph["nodes"]):
            make = getattr(self, "_make_" + node["op"].lower(), None)
            if make is not None:
                self.layers[str(k)] = make(node)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Outputs of the graph; images NCHW."""
        values = dict(zip(self.graph["inputs"], inputs, strict=True))
        for k, node in enumerate(self.graph["nodes"]):
            out = getattr(self, "_" + node["op"].lower())(k, node, values)
            act = node["attrs"].get("fused_activation_function", "NONE")
            if act in ("RELU", "RELU6"):
                out = F.relu(out) if act == "RELU" else F.hardtanh(out, 0.0, 6.0)
            values[node["outputs"][0]] = out
        # Of one channel, NCHW and channels last are the same to PyTorch and not to ExecuTorch,
        # which then fails to run: such an output becomes flat.
        found = [values[i] for i in self.graph["outputs"]]
        return tuple(v.flatten(1) if v.ndim == 4 and v.shape[1] == 1 else v for v in found)

    def image(self, i: int) -> bool:
        """Whether the tensor is an image (of rank 4, not attention heads)."""
        return len(self.tensors[i]["shape"]) == 4 and not self.graph["name"].startswith("encoder")

    def _operands(self, node: dict[str, Any], values: dict[int, Any]) -> list[Any]:
        found = []
        for i in node["inputs"]:
            data = self.tensors[i]["data"]
            if data is not None and data.size == 1:
                found.append(float(data.reshape(())))
            elif data is not None:
                found.append(torch.from_numpy(data))
            else:
                found.append(values[i])
        return found

    def _convolution(self, node: dict[str, Any], data: np.ndarray, groups: int) -> Any:
        bias = self.tensors[node["inputs"][2]]["data"]
        attrs, size = node["attrs"], self.tensors[node["inputs"][0]]["shape"][1:3]
        strides = attrs["stride_h"], attrs["stride_w"]
        pads = [same_padding(*a) for a in zip(size, data.shape[2:], strides, strict=True)]
        even = all(a == b for a, b in pads)
        layer = torch.nn.Conv2d(
            data.shape[1] * groups, data.shape[0], data.shape[2:], strides,
            tuple(p[0] for p in pads) if even else 0, groups=groups,
        )  # fmt: skip
        layer.weight.data = torch.from_numpy(np.ascontiguousarray(data))
        layer.bias.data = torch.from_numpy(bias)
        if even:
            return layer
        (top, bottom), (left, right) = pads
        return torch.nn.Sequential(torch.nn.ZeroPad2d((left, right, top, bottom)), layer)

    def _make_conv_2d(self, node: dict[str, Any]) -> Any:
        data = self.tensors[node["inputs"][1]]["data"].transpose(0, 3, 1, 2)
        return self._convolution(node, data, 1)

    def _make_depthwise_conv_2d(self, node: dict[str, Any]) -> Any:
        data = self.tensors[node["inputs"][1]]["data"].transpose(3, 0, 1, 2)
        return self._convolution(node, data, data.shape[0])

    def _make_fully_connected(self, node: dict[str, Any]) -> Any:
        data, bias = (self.tensors[i]["data"] for i in node["inputs"][1:3])
        layer = torch.nn.Linear(data.shape[1], data.shape[0])
        layer.weight.data, layer.bias.data = torch.from_numpy(data), torch.from_numpy(bias)
        return layer

    def _make_unidirectional_sequence_lstm(self, node: dict[str, Any]) -> Any:
        """Gates: TFLite has input, forget, cell, output, and so has PyTorch."""
        data = [None if i is None else self.tensors[i]["data"] for i in node["inputs"]]
        layer = torch.nn.LSTM(data[1].shape[1], data[1].shape[0], batch_first=True)
        layer.weight_ih_l0.data = torch.from_numpy(np.concatenate(data[1:5]))
        layer.weight_hh_l0.data = torch.from_numpy(np.concatenate(data[5:9]))
        layer.bias_ih_l0.data = torch.from_numpy(np.concatenate(data[12:16]))
        layer.bias_hh_l0.data = torch.zeros_like(layer.bias_ih_l0)
        return layer

    def _layer(self, k: int, node: dict[str, Any], values: dict[int, Any]) -> Any:
        return self.layers[str(k)](values[node["inputs"][0]])

    _conv_2d = _depthwise_conv_2d = _fully_connected = _layer

    def _unidirectional_sequence_lstm(self, k: int, node: Any, values: Any) -> Any:
        return self._layer(k, node, values)[0]

    def _add(self, k: int, node: Any, values: Any) -> Any:
        a, b = self._operands(node, values)
        return a + b

    def _sub(self, k: int, node: Any, values: Any) -> Any:
        a, b = self._operands(node, values)
        return a - b

    def _mul(self, k: int, node: Any, values: Any) -> Any:
        a, b = self._operands(node, values)
        return a * b

    def _squared_difference(self, k: int, node: Any, values: Any) -> Any:
        a, b = self._operands(node, values)
        return (a - b) * (a - b)

    def _rsqrt(self, k: int, node: Any, values: Any) -> Any:
        return torch.rsqrt(values[node["inputs"][0]])

    def _logistic(self, k: int, node: Any, values: Any) -> Any:
        return torch.sigmoid(values[node["inputs"][0]])

    def _hard_swish(self, k: int, node: Any, values: Any) -> Any:
        return F.hardswish(values[node["inputs"][0]])

    def _softmax(self, k: int, node: Any, values: Any) -> Any:
        return torch.softmax(values[node["inputs"][0]], -1)

    def _mean(self, k: int, node: Any, values: Any) -> Any:
        x, keep = node["inputs"][0], bool(node["attrs"]["keep_dims"])
        axes = self.tensors[node["inputs"][1]]["data"].tolist()
        return values[x].mean((2, 3) if self.image(x) else axes, keepdim=keep)

    def _max_pool_2d(self, k: int, node: Any, values: Any) -> Any:
        attrs = node["attrs"]
        size, stride = attrs["filter_height"], attrs["stride_h"]
        return F.max_pool2d(values[node["inputs"][0]], size, stride, 0 if stride > 1 else size // 2)

    def _resize_nearest_neighbor(self, k: int, node: Any, values: Any) -> Any:
        return F.interpolate(values[node["inputs"][0]], scale_factor=2.0, mode="nearest")

    def _concatenation(self, k: int, node: Any, values: Any) -> Any:
        axis = 1 if self.image(node["inputs"][0]) else node["attrs"]["axis"]
        return torch.cat(self._operands(node, values), axis)

    def _reshape(self, k: int, node: Any, values: Any) -> Any:
        x = node["inputs"][0]
        value = values[x].permute(0, 2, 3, 1) if self.image(x) else values[x]
        return value.reshape(self.tensors[node["outputs"][0]]["shape"])

    def _transpose(self, k: int, node: Any, values: Any) -> Any:
        return values[node["inputs"][0]].permute(*self.tensors[node["inputs"][1]]["data"].tolist())

    def _batch_matmul(self, k: int, node: Any, values: Any) -> Any:
        a, b = (values[i] for i in node["inputs"])
        return a @ (b.transpose(-1, -2) if node["attrs"]["adj_y"] else b)


def examples(graph: dict[str, Any], seed: int) -> tuple[torch.Tensor, ...]:
    """Random inputs in [-1, 1]; images NCHW, channels last in memory."""
    rng, found = np.random.default_rng(seed), []
    for i in graph["inputs"]:
        data = torch.from_numpy(rng.uniform(-1, 1, graph["tensors"][i]["shape"]).astype("f4"))
        found.append(data.permute(0, 3, 1, 2) if data.ndim == 4 else data)
        if data.shape[-1] == 1:  # one channel: both orders are the same, PyTorch must call it NCHW
            found[-1] = found[-1].contiguous().clone(memory_format=torch.contiguous_format)
    return tuple(found)


def quantised(program: Any, graph: dict[str, Any]) -> Any:
    """The program in int8, by PyTorch's quantiser for XNNPACK."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer()
    quantizer.set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(program, quantizer)
    for seed in range(4):
        prepared(*examples(graph, seed))
    return convert_pt2e(prepared)


def main() -> None:
    """Export, lower to XNNPACK, write."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    graph = load(sys.argv[1])
    sample, integer = examples(graph, 0), "int8" in sys.argv[3:]
    module = Twin(graph).eval()
    if integer:
        module = quantised(torch.export.export(module, sample).module(), graph)
    program = torch.export.export(module, sample)
    config = EdgeCompileConfig(_check_ir_validity=False)
    edge = to_edge_transform_and_lower(
        program, partitioner=[XnnpackPartitioner()], compile_config=config
    )
    Path(sys.argv[2]).write_bytes(edge.to_executorch().buffer)


if __name__ == "__main__":
    main()
