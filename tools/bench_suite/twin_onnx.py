"""Writes the ONNX twin of a network: python twin_onnx.py GRAPH.npz MODEL.onnx (needs onnx).

Images are NCHW. An int8 graph becomes float operators between QuantizeLinear and DequantizeLinear
(QDQ), with the very scales of the .tflite. Its activations, inputs and outputs are uint8 (the int8
values + 128): ONNX Runtime takes twice as long with int8 ones on x86, OpenVINO minds neither.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from portable import load, same_padding

_TYPES = {"float32": TensorProto.FLOAT, "int8": TensorProto.UINT8}
_ELEMENTWISE = {"ADD": "Add", "SUB": "Sub", "MUL": "Mul"}


class Twin:
    """Turns one graph into a model. `real[i]` names the float value of tensor i."""

    def __init__(self, graph: dict[str, Any]) -> None:
        self.graph, self.tensors = graph, graph["tensors"]
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.real: dict[int, str] = {}
        self.quantised: dict[int, str] = {}

    def model(self) -> Any:
        """The whole model, checked."""
        inputs = [self._input(i) for i in self.graph["inputs"]]
        for node in self.graph["nodes"]:
            getattr(self, "_" + node["op"].lower())(node)
        outputs = [self._output(i) for i in self.graph["outputs"]]
        constants = list(self.constants.values())
        body = helper.make_graph(self.nodes, self.graph["name"], inputs, outputs, constants)
        model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
        return model

    def emit(self, op: str, inputs: Sequence[str], name: str, **attrs: Any) -> str:
        """Append a node; returns the name of its output."""
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attrs))
        return name

    def constant(self, name: str, value: Any, dtype: Any = None) -> str:
        """A constant under that name."""
        self.constants[name] = numpy_helper.from_array(np.array(value, dtype), name)
        return name

    # Values ------------------------------------------------------------------------------

    def shape(self, i: int) -> list[int]:
        """Shape as the twin has it: images NCHW."""
        s = self.tensors[i]["shape"]
        return [s[0], s[3], s[1], s[2]] if self.image(i) else s

    def image(self, i: int) -> bool:
        """Whether the tensor is an image here: of rank 4, unless it holds attention heads."""
        return len(self.tensors[i]["shape"]) == 4 and not self.graph["name"].startswith("encoder")

    def _input(self, i: int) -> Any:
        t = self.tensors[i]
        if t["dtype"] == "int8":
            self.quantised[i] = t["name"]
            self.real[i] = self._dequantise(i, t["name"])
        else:
            self.real[i] = t["name"]
        return helper.make_tensor_value_info(t["name"], _TYPES[t["dtype"]], self.shape(i))

    def _output(self, i: int) -> Any:
        t = self.tensors[i]
        name = self.quantised[i] if t["dtype"] == "int8" else self.real[i]
        return helper.make_tensor_value_info(name, _TYPES[t["dtype"]], self.shape(i))

    def _scale(self, i: int, dtype: type = np.uint8) -> list[str]:
        t = self.tensors[i]
        shift = 128 if dtype is np.uint8 else 0
        one = len(t["scale"]) == 1
        scale = t["scale"][0] if one else t["scale"]
        zero = t["zero"][0] + shift if one else t["zero"]
        names = f"{t['name']}_scale", f"{t['name']}_zero"
        return [self.constant(names[0], scale, np.float32), self.constant(names[1], zero, dtype)]

    def _dequantise(self, i: int, name: str) -> str:
        return self.emit("DequantizeLinear", [name, *self._scale(i)], f"{name}_real")

    def result(self, i: int, value: str) -> None:
        """Tensor i is `value`; in an int8 graph through its scale."""
        if self.tensors[i]["dtype"] == "int8":
            name = self.tensors[i]["name"]
            self.quantised[i] = self.emit("QuantizeLinear", [value, *self._scale(i)], name)
            value = self._dequantise(i, name)
        self.real[i] = value

    def value(self, i: int) -> str:
        """Name of the float value of tensor i; a constant operand is made here."""
        if i not in self.real:
            t = self.tensors[i]
            data = t["data"]
            if data.ndim == 4 and self.image(i):
                data = data.transpose(0, 3, 1, 2)
            if t["dtype"] == "int8":
                data = (data.view(np.uint8) ^ 0x80).reshape(data.shape)
            name = self.constant(t["name"], data)
            self.real[i] = self._dequantise(i, name) if t["dtype"] == "int8" else name
        return self.real[i]

    def weights(self, i: int, data: np.ndarray, axis: int = 0) -> str:
        """Float value of weights or biases, given in the twin's layout."""
        t = self.tensors[i]
        name = self.constant(t["name"], np.ascontiguousarray(data))
        if t["dtype"] == "float32":
            return name
        dtype = np.int8 if t["dtype"] == "int8" else np.int32
        inputs = [name, *self._scale(i, dtype)]
        attrs = {"axis": axis} if len(t["scale"]) > 1 else {}
        return self.emit("DequantizeLinear", inputs, f"{name}_real", **attrs)

    def finish(self, node: dict[str, Any], value: str) -> None:
        """The fused activation, then the output."""
        i = node["outputs"][0]
        name = self.tensors[i]["name"]
        act = node["attrs"].get("fused_activation_function", "NONE")
        if act == "RELU":
            value = self.emit("Relu", [value], f"{name}_relu")
        elif act == "RELU6":
            low, high = self.constant("zero", 0, np.float32), self.constant("six", 6, np.float32)
            value = self.emit("Clip", [value, low, high], f"{name}_relu6")
        self.result(i, value)

    def plain(self, node: dict[str, Any], op: str, extra: Sequence[str] = (), **attrs: Any) -> None:
        """An operator that is the same there."""
        inputs = [*map(self.value, node["inputs"]), *extra]
        self.finish(node, self.emit(op, inputs, self._raw(node), **attrs))

    def _raw(self, node: dict[str, Any]) -> str:
        return self.tensors[node["outputs"][0]]["name"] + "_raw"

    # Operators ---------------------------------------------------------------------------

    def _window(self, node: dict[str, Any], kernel: Sequence[int]) -> dict[str, Any]:
        strides = [node["attrs"]["stride_h"], node["attrs"]["stride_w"]]
        sizes = self.tensors[node["inputs"][0]]["shape"][1:3]
        pads = [same_padding(*args) for args in zip(sizes, kernel, strides, strict=True)]
        return {"kernel_shape": list(kernel), "strides": strides,
                "pads": [p[0] for p in pads] + [p[1] for p in pads]}  # fmt: skip

    def _conv(self, node: dict[str, Any], data: np.ndarray, group: int) -> None:
        x, w, b = node["inputs"][:3]
        attrs = self._window(node, data.shape[2:])
        inputs = [self.value(x), self.weights(w, data), self.weights(b, self.tensors[b]["data"])]
        self.finish(node, self.emit("Conv", inputs, self._raw(node), group=group, **attrs))

    def _conv_2d(self, node: dict[str, Any]) -> None:
        self._conv(node, self.tensors[node["inputs"][1]]["data"].transpose(0, 3, 1, 2), 1)

    def _depthwise_conv_2d(self, node: dict[str, Any]) -> None:
        data = self.tensors[node["inputs"][1]]["data"].transpose(3, 0, 1, 2)
        self._conv(node, data, data.shape[0])

    def _fully_connected(self, node: dict[str, Any]) -> None:
        x, w, b = node["inputs"][:3]
        data, bias = self.tensors[w]["data"], self.tensors[b]["data"]
        if len(self.tensors[x]["shape"]) == 2:
            inputs = [self.value(x), self.weights(w, data), self.weights(b, bias)]
            self.finish(node, self.emit("Gemm", inputs, self._raw(node), transB=1))
            return
        product = [self.value(x), self.weights(w, data.T, axis=1)]
        name = self.emit("MatMul", product, self._raw(node) + "_product")
        inputs = [name, self.weights(b, bias)]
        self.finish(node, self.emit("Add", inputs, self._raw(node)))

    def _batch_matmul(self, node: dict[str, Any]) -> None:
        a, b = map(self.value, node["inputs"])
        if node["attrs"]["adj_y"]:
            b = self.emit("Transpose", [b], self._raw(node) + "_turned", perm=[0, 1, 3, 2])
        self.finish(node, self.emit("MatMul", [a, b], self._raw(node)))

    def _add(self, node: dict[str, Any]) -> None:
        self.plain(node, _ELEMENTWISE[node["op"]])

    _sub = _mul = _add

    def _squared_difference(self, node: dict[str, Any]) -> None:
        name = self._raw(node)
        less = self.emit("Sub", [*map(self.value, node["inputs"])], name + "_less")
        self.finish(node, self.emit("Mul", [less, less], name))

    def _rsqrt(self, node: dict[str, Any]) -> None:
        name = self._raw(node)
        root = self.emit("Sqrt", [self.value(node["inputs"][0])], name + "_root")
        self.finish(node, self.emit("Reciprocal", [root], name))

    def _logistic(self, node: dict[str, Any]) -> None:
        self.plain(node, "Sigmoid")

    def _hard_swish(self, node: dict[str, Any]) -> None:
        self.plain(node, "HardSwish")

    def _softmax(self, node: dict[str, Any]) -> None:
        self.plain(node, "Softmax", axis=-1)

    def _mean(self, node: dict[str, Any]) -> None:
        x, keep, name = node["inputs"][0], node["attrs"]["keep_dims"], self._raw(node)
        axes = self.tensors[node["inputs"][1]]["data"].tolist()
        if self.image(x):
            value = self.emit("GlobalAveragePool", [self.value(x)], name + "_pool")
            value = value if keep else self.emit("Flatten", [value], name)
        else:
            value = self.emit("ReduceMean", [self.value(x)], name, axes=axes, keepdims=int(keep))
        self.finish(node, value)

    def _max_pool_2d(self, node: dict[str, Any]) -> None:
        attrs = node["attrs"]
        window = self._window(node, [attrs["filter_height"], attrs["filter_width"]])
        self.plain(node, "MaxPool", **window)

    def _resize_nearest_neighbor(self, node: dict[str, Any]) -> None:
        scales = self.constant("scales", [1, 1, 2, 2], np.float32)
        inputs = [self.value(node["inputs"][0]), "", scales]
        attrs = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
                 "nearest_mode": "floor"}  # fmt: skip
        self.finish(node, self.emit("Resize", inputs, self._raw(node), **attrs))

    def _concatenation(self, node: dict[str, Any]) -> None:
        axis = node["attrs"]["axis"]
        self.plain(node, "Concat", axis=1 if self.image(node["inputs"][0]) else axis)

    def _reshape(self, node: dict[str, Any]) -> None:
        x, out = node["inputs"][0], node["outputs"][0]
        value, name = self.value(x), self._raw(node)
        if self.image(x):
            value = self.emit("Transpose", [value], name + "_nhwc", perm=[0, 2, 3, 1])
        shape = self.constant(name + "_shape", self.tensors[out]["shape"], np.int64)
        self.finish(node, self.emit("Reshape", [value, shape], name))

    def _transpose(self, node: dict[str, Any]) -> None:
        order = self.tensors[node["inputs"][1]]["data"].tolist()
        value = self.value(node["inputs"][0])
        self.finish(node, self.emit("Transpose", [value], self._raw(node), perm=order))

    def _unidirectional_sequence_lstm(self, node: dict[str, Any]) -> None:
        """Gates: TFLite has input, forget, cell, output; ONNX input, output, forget, cell."""
        data = [None if i is None else self.tensors[i]["data"] for i in node["inputs"]]
        if data[1].dtype != np.float32:
            raise ValueError("ONNX has no int8 LSTM")
        order, name = (0, 3, 1, 2), self._raw(node)
        w, r = (np.concatenate([data[k + i] for i in order])[None] for k in (1, 5))
        b = np.concatenate([data[12 + i] for i in order])
        inputs = [self.constant(name + s, v.astype(np.float32)) for s, v in
                  (("_w", w), ("_r", r), ("_b", np.concatenate([b, 0 * b])[None]))]  # fmt: skip
        x = self.value(node["inputs"][0])
        turned = self.emit("Transpose", [x], name + "_x", perm=[1, 0, 2])
        units = data[1].shape[0]
        hidden = self.emit("LSTM", [turned, *inputs], name + "_y", hidden_size=units)
        axis = self.constant(name + "_axis", [1], np.int64)
        steps = self.emit("Squeeze", [hidden, axis], name + "_steps")  # [time, 1, units]
        self.finish(node, self.emit("Transpose", [steps], name, perm=[1, 0, 2]))


def main() -> None:
    """Read the graph, write the model."""
    onnx.save(Twin(load(sys.argv[1])).model(), sys.argv[2])


if __name__ == "__main__":
    main()
