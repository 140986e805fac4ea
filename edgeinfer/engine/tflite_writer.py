"""Writes a Graph as a .tflite file: for trained networks, tests and parts given to a delegate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import flatbuffers
import numpy as np

from ..errors import UnsupportedError
from . import tflite_schema as schema
from .graph import Graph, Node
from .tensor import Tensor

_CUSTOM = schema.OPERATORS.index("CUSTOM")
_SLOT_OF = {
    "bool": "PrependBoolSlot",
    "i32": "PrependInt32Slot",
    "u32": "PrependUint32Slot",
    "i64": "PrependInt64Slot",
    "f32": "PrependFloat32Slot",
}
#: Versions below which the runtimes refuse the newer forms (int8, per channel, more types).
_VERSIONS = {
    "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "ADD": 2, "SUB": 2, "MUL": 2,
    "MAX_POOL_2D": 2, "AVERAGE_POOL_2D": 2, "MEAN": 2, "SOFTMAX": 2, "LOGISTIC": 2, "TANH": 2,
    "CONCATENATION": 2, "PAD": 2, "PADV2": 2, "QUANTIZE": 2, "DEQUANTIZE": 3, "TRANSPOSE": 2,
    "SPLIT": 2, "SPLIT_V": 2, "STRIDED_SLICE": 2, "SLICE": 2, "RESIZE_BILINEAR": 3,
    "RESIZE_NEAREST_NEIGHBOR": 3, "LEAKY_RELU": 2, "RELU": 2, "RELU6": 2, "TRANSPOSE_CONV": 3,
    "ARG_MAX": 2, "ARG_MIN": 2, "BATCH_MATMUL": 2, "GATHER": 2, "MAXIMUM": 2, "MINIMUM": 2,
    "SUM": 2, "REDUCE_MAX": 2, "REDUCE_MIN": 2, "UNIDIRECTIONAL_SEQUENCE_LSTM": 3, "PACK": 2,
    "UNPACK": 2, "SPACE_TO_DEPTH": 2, "DEPTH_TO_SPACE": 1, "BATCH_TO_SPACE_ND": 2,
    "SPACE_TO_BATCH_ND": 2, "BROADCAST_TO": 2, "LOG_SOFTMAX": 2, "EQUAL": 2, "NOT_EQUAL": 2,
    "GREATER": 2, "LESS": 2, "GREATER_EQUAL": 2, "LESS_EQUAL": 2, "SVDF": 3, "TILE": 2,
    "MIRROR_PAD": 2,
}  # fmt: skip


def write_tflite(graph: Graph, description: str = "made by edgeinfer") -> bytes:
    """The .tflite bytes of a graph whose nodes are TFLite operators.

    Tensor names are kept; graph input and output names become the signature "serving_default".
    Graphs in attributes (init_subgraph, body_subgraph ...) become further subgraphs. A node's
    attribute "version" is written, else the lowest that has the forms of today.
    UnsupportedError for an operator or type that the schema does not have.
    """
    return _Writer(graph, description).write()


def _subgraphs(graph: Graph) -> list[Graph]:
    """The graph, then those in the attributes of nodes, each once."""
    found = [graph]
    for g in found:
        for node in g.nodes:
            inner = [v for v in node.attrs.values() if isinstance(v, Graph)]
            found += [v for v in inner if all(v is not f for f in found)]
    return found


def _tensors(graph: Graph) -> list[Tensor]:
    """The tensors of one graph, each once, those that only serve inside an operator too."""
    inner = [t for n in graph.nodes for t in n.attrs.get("intermediates", ()) if t is not None]
    return list({id(t): t for t in [*graph.tensors(), *inner]}.values())


class _Writer:
    def __init__(self, graph: Graph, description: str) -> None:
        self.b = flatbuffers.Builder(1 << 16)
        self.graph, self.description = graph, description
        self.graphs = _subgraphs(graph)
        self.index: dict[int, int] = {}
        self.codes: dict[tuple[str, int], int] = {}
        self.buffers: list[Any] = [None]  # buffer 0 is the empty one, by convention

    def write(self) -> bytes:
        b = self.b
        # The main graph last: self.index then holds its tensors, which the signature names.
        parts = [self._subgraph(g) for g in reversed(self.graphs)]
        subgraphs = self._vector(parts[::-1])
        signatures = self._vector([self._signature()])
        codes = self._vector([self._code(*key) for key in self.codes])
        buffers = self._vector([self._buffer(data) for data in self.buffers])
        text = b.CreateString(self.description)
        b.StartObject(8)
        b.PrependUint32Slot(0, 3, 0)
        b.PrependUOffsetTRelativeSlot(1, codes, 0)
        b.PrependUOffsetTRelativeSlot(2, subgraphs, 0)
        b.PrependUOffsetTRelativeSlot(3, text, 0)
        b.PrependUOffsetTRelativeSlot(4, buffers, 0)
        b.PrependUOffsetTRelativeSlot(7, signatures, 0)
        b.Finish(b.EndObject(), b"TFL3")
        return bytes(b.Output())

    def _vector(self, offsets: list[int]) -> int:
        self.b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.b.PrependUOffsetTRelative(offset)
        return int(self.b.EndVector())

    def _ints(self, values: Any, dtype: type = np.int32) -> int:
        return int(self.b.CreateNumpyVector(np.ascontiguousarray(values, dtype)))

    def _buffer(self, data: np.ndarray | None) -> int:
        vector = None
        if data is not None:
            raw = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
            # The runtimes map constants in place: 16 bytes is the alignment they ask for.
            self.b.StartVector(1, len(raw), 16)
            self.b.head -= len(raw)
            self.b.Bytes[self.b.head : self.b.head + len(raw)] = raw.tobytes()
            vector = self.b.EndVector()
        self.b.StartObject(3)
        if vector is not None:
            self.b.PrependUOffsetTRelativeSlot(0, vector, 0)
        return int(self.b.EndObject())

    def _quantisation(self, tensor: Tensor) -> int | None:
        quant = tensor.quant
        if quant is None:
            return None
        scale = self._ints(quant.scale, np.float32)
        zero = self._ints(quant.zero, np.int64)
        self.b.StartObject(7)
        self.b.PrependUOffsetTRelativeSlot(2, scale, 0)
        self.b.PrependUOffsetTRelativeSlot(3, zero, 0)
        self.b.PrependInt32Slot(6, quant.axis, 0)
        return int(self.b.EndObject())

    def _tensor(self, tensor: Tensor) -> int:
        if tensor.dtype not in schema.TENSOR_TYPES:
            raise UnsupportedError(f"{tensor}: TFLite has no such type")
        buffer = 0
        if tensor.data is not None and not tensor.state:
            buffer = len(self.buffers)
            self.buffers.append(tensor.data)
        shape, name = self._ints(tensor.shape), self.b.CreateString(tensor.name)
        quant = self._quantisation(tensor)
        self.b.StartObject(9)
        self.b.PrependUOffsetTRelativeSlot(0, shape, 0)
        self.b.PrependInt8Slot(1, schema.TENSOR_TYPES.index(tensor.dtype), 0)
        self.b.PrependUint32Slot(2, buffer, 0)
        self.b.PrependUOffsetTRelativeSlot(3, name, 0)
        if quant is not None:
            self.b.PrependUOffsetTRelativeSlot(4, quant, 0)
        self.b.PrependBoolSlot(5, tensor.state, False)
        self.b.PrependBoolSlot(8, True, False)  # has_rank
        return int(self.b.EndObject())

    def _operator(self, node: Node) -> int:
        key = (node.op, int(node.attrs.get("version", _VERSIONS.get(node.op, 1))))
        code = self.codes.setdefault(key, len(self.codes))
        inputs, outputs = self._indices(node.inputs), self._indices(node.outputs)
        inner = node.attrs.get("intermediates")
        intermediates = self._indices(inner) if inner else 0
        custom = node.attrs.get("custom_bytes", b"")
        raw = self.b.CreateByteVector(bytes(custom)) if len(custom) else 0
        union = schema.union_of(node.op)
        options = self._options(node, union) if union else None
        self.b.StartObject(9)
        self.b.PrependUint32Slot(0, code, 0)
        self.b.PrependUOffsetTRelativeSlot(1, inputs, 0)
        self.b.PrependUOffsetTRelativeSlot(2, outputs, 0)
        if options is not None:
            self.b.PrependUint8Slot(3, union, 0)
            self.b.PrependUOffsetTRelativeSlot(4, options, 0)
        self.b.PrependUOffsetTRelativeSlot(5, raw, 0)
        self.b.PrependUOffsetTRelativeSlot(8, intermediates, 0)
        return int(self.b.EndObject())

    def _options(self, node: Node, union: int) -> int:
        fields = schema.fields(union)
        prepared: dict[int, int] = {}
        for field in fields:
            value = node.attrs.get(field.name)
            if field.type == "str":
                prepared[field.id] = self.b.CreateString(value or "")
            elif field.type.startswith("[") and value is not None:
                numbers = np.float32 if field.type == "[f32]" else np.int32
                prepared[field.id] = self._ints(value, numbers)
        self.b.StartObject(max((f.id for f in fields), default=-1) + 1)
        for field in fields:
            if field.id in prepared:
                self.b.PrependUOffsetTRelativeSlot(field.id, prepared[field.id], 0)
            else:
                value = self._value(node, field)
                if value is not None:
                    self._scalar(field, value)
        return int(self.b.EndObject())

    def _value(self, node: Node, field: schema.Field) -> Any:
        """Value of an option; for the index of a subgraph, where that Graph was written."""
        inner = node.attrs.get(schema.subgraph_attr(field.name) or "")
        if isinstance(inner, Graph):
            return next(i for i, g in enumerate(self.graphs) if g is inner)
        return node.attrs.get(field.name)

    def _scalar(self, field: schema.Field, value: Any) -> None:
        if field.type in schema.ENUMS:
            value = schema.ENUMS[field.type].index(value)
        elif field.type == "type":
            value = schema.TENSOR_TYPES.index(value)
        slot = getattr(self.b, _SLOT_OF.get(field.type, "PrependInt8Slot"))
        slot(field.id, value, field.default)

    def _code(self, op: str, version: int) -> int:
        custom = op not in schema.OPERATORS
        code = _CUSTOM if custom else schema.OPERATORS.index(op)
        name = self.b.CreateString(op) if custom else None
        self.b.StartObject(4)
        self.b.PrependInt8Slot(0, min(code, 127), 0)
        if name is not None:
            self.b.PrependUOffsetTRelativeSlot(1, name, 0)
        self.b.PrependInt32Slot(2, version, 1)
        self.b.PrependInt32Slot(3, code, 0)
        return int(self.b.EndObject())

    def _subgraph(self, graph: Graph) -> int:
        found = _tensors(graph)
        self.index = {id(t): i for i, t in enumerate(found)}
        tensors = self._vector([self._tensor(t) for t in found])
        operators = self._vector([self._operator(n) for n in graph.nodes])
        inputs = self._indices(graph.inputs.values())
        outputs = self._indices(graph.outputs.values())
        name = self.b.CreateString(graph.name or "main")
        self.b.StartObject(5)
        for slot, offset in enumerate((tensors, inputs, outputs, operators, name)):
            self.b.PrependUOffsetTRelativeSlot(slot, offset, 0)
        return int(self.b.EndObject())

    def _indices(self, tensors: Iterable[Tensor | None]) -> int:
        return self._ints([-1 if t is None else self.index[id(t)] for t in tensors])

    def _map(self, tensors: dict[str, Tensor]) -> int:
        entries = []
        for name, tensor in tensors.items():
            text = self.b.CreateString(name)
            self.b.StartObject(2)
            self.b.PrependUOffsetTRelativeSlot(0, text, 0)
            self.b.PrependUint32Slot(1, self.index[id(tensor)], 0)
            entries.append(int(self.b.EndObject()))
        return self._vector(entries)

    def _signature(self) -> int:
        inputs, outputs = self._map(self.graph.inputs), self._map(self.graph.outputs)
        key = self.b.CreateString("serving_default")
        self.b.StartObject(5)
        self.b.PrependUOffsetTRelativeSlot(0, inputs, 0)
        self.b.PrependUOffsetTRelativeSlot(1, outputs, 0)
        self.b.PrependUOffsetTRelativeSlot(2, key, 0)
        self.b.PrependUint32Slot(4, 0, 0)
        return int(self.b.EndObject())
