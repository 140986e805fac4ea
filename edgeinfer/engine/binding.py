"""What ties a plan to the .tflite file it was made from, for our kernels inside TFLite itself.

The record that `Part` carries is read by csrc/delegates/tflite/binding.c, which takes the same
checksums over what a delegate can see of a running interpreter: operators, their operands and the
plain fields of their options; types and quantisation of the tensors they touch; shapes and bytes of
the constants.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ModelError, UnsupportedError
from .flatbuffer import Reader, Table
from .graph import Graph, Node
from .model import Model
from .planfile import Part
from .tensor import RESOURCE

#: Name of the part and version of its layout: binding.h.
PART, VERSION = "tflite-model", 1
_HEADER = struct.Struct("<10I")

#: Type codes of the file (schema.fbs) -> TfLiteType.
_TYPES = (1, 10, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19)

_CUSTOM = 32
_PADDING = {"SAME": 1, "VALID": 2}
_ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
_POOL = "padding stride_w stride_h filter_width filter_height fused_activation_function"
_CONV = "padding stride_w stride_h"
_ACT = "fused_activation_function"
_RESIZE = "align_corners half_pixel_centers"
_MODES = {"REFLECT": 1, "SYMMETRIC": 2}

#: Leading fields of the runtime's options (builtin_op_data.h) as the file names them, words before
#: booleans; the same operators as in binding.c.
_FIELDS = {
    "ADD": _ACT, "SUB": _ACT, "MUL": _ACT, "DIV": _ACT,
    "AVERAGE_POOL_2D": _POOL, "MAX_POOL_2D": _POOL,
    "CONCATENATION": f"axis {_ACT}",
    "CONV_2D": f"{_CONV} {_ACT} dilation_w_factor dilation_h_factor",
    "DEPTHWISE_CONV_2D":
        f"{_CONV} depth_multiplier {_ACT} dilation_w_factor dilation_h_factor",
    "DEPTH_TO_SPACE": "block_size", "SPACE_TO_DEPTH": "block_size",
    "FULLY_CONNECTED": _ACT,
    "SOFTMAX": "beta", "LEAKY_RELU": "alpha", "GATHER": "axis", "SPLIT": "num_splits",
    "STRIDED_SLICE": "begin_mask end_mask ellipsis_mask new_axis_mask shrink_axis_mask",
    "TRANSPOSE_CONV": _CONV,
    "PACK": "values_count axis", "UNPACK": "num axis",
    "RESIZE_BILINEAR": _RESIZE, "RESIZE_NEAREST_NEIGHBOR": _RESIZE,
    "MEAN": "keep_dims", "SUM": "keep_dims", "REDUCE_PROD": "keep_dims",
    "REDUCE_MAX": "keep_dims", "REDUCE_MIN": "keep_dims",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": f"{_ACT} cell_clip proj_clip time_major",
    "MIRROR_PAD": "mode", "BATCH_MATMUL": "adj_x adj_y", "GELU": "approximate",
}  # fmt: skip


@dataclass(frozen=True)
class Bound:
    """A graph to plan, and the record that goes into its plan."""

    graph: Graph
    part: Part


def bind(model: Model, nodes: Sequence[int] | None = None) -> Bound:
    """The model's graph, or the part of it that these operators (by their index) make up.

    The inputs and outputs of a part have the names of their tensors. Raises UnsupportedError for a
    part that shares a state with the rest, ValueError for indices that the model does not have.
    """
    file = _File(model)
    if nodes is None:
        graph, chosen = model.graph, list(range(len(model.graph.nodes)))
    else:
        chosen = sorted(set(nodes))
        graph = part_of(model.graph, chosen)
    made = {id(t) for i in chosen for t in model.graph.nodes[i].outputs}
    ids = [file.index(t) for t in graph.inputs.values()]
    outs = [file.index(t) if id(t) in made else -1 for t in graph.outputs.values()]
    return Bound(graph, Part(PART, file.record(chosen, ids, outs)))


def part_of(graph: Graph, nodes: Sequence[int]) -> Graph:
    """The subgraph of the nodes with these indices; inputs and outputs by tensor names."""
    outside = [i for i in nodes if not 0 <= i < len(graph.nodes)]
    if outside or not nodes:
        said = f"operator {outside[0]} is" if outside else "no operators are"
        raise ValueError(f"{said} not of this model: it has 0-{len(graph.nodes) - 1}")
    mine = [graph.nodes[i] for i in nodes]
    taken = {id(n) for n in mine}
    rest = [n for n in graph.nodes if id(n) not in taken]
    _check_states(mine, rest)
    made = {id(t) for n in mine for t in n.outputs}
    wanted = {id(t) for n in rest for t in n.inputs if t is not None}
    wanted |= {id(t) for t in graph.outputs.values()}
    read = [t for n in mine for t in n.inputs if t is not None and not t.constant and not t.state]
    inputs = {t for t in read if id(t) not in made}
    outputs = [t for n in mine for t in n.outputs if id(t) in wanted]
    unique = dict.fromkeys(t for t in read if t in inputs)
    return Graph(graph.name, mine, _names(unique), _names(dict.fromkeys(outputs)))


def _names(tensors: dict[Any, None]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for t in tensors:
        name, n = t.name, 1
        while name in named:
            name, n = f"{t.name}:{n}", n + 1
        named[name] = t
    return named


def _check_states(mine: Sequence[Node], rest: Sequence[Node]) -> None:
    def states(nodes: Sequence[Node]) -> dict[int, Any]:
        used = [t for n in nodes for t in (*n.inputs, *n.outputs) if t is not None]
        return {id(t): t for t in used if t.state or t.dtype == RESOURCE}

    shared = states(mine).keys() & states(rest).keys()
    variables = [t for t in states(mine).values() if t.dtype == RESOURCE]
    if shared or (variables and rest):
        raise UnsupportedError(
            "a part of a model cannot share its state with the rest: take all the operators that "
            "touch it, or none"
        )


class _File:
    """The file's own tables beside the graph that was read from it."""

    def __init__(self, model: Model) -> None:
        if model.data is None or model.format != "tflite":
            raise ModelError(f"{model.path}: no .tflite file to tie a plan to")
        self.model, self.reader = model, Reader(model.data, model.path)
        root = self.reader.root()
        self.codes = root.tables(1, "operator code")
        self.buffers = root.tables(4, "buffer")
        main, *rest = root.tables(2, "subgraph")
        self.tensors, self.operators = main.tables(0, "tensor"), main.tables(3, "operator")
        self.others = [
            n for t in rest for n in (len(t.tables(0, "tensor")), len(t.tables(3, "operator")))
        ]
        self.known = self._known(main)

    def _known(self, main: Table) -> dict[int, int]:
        """id(Tensor) of the graph -> index in the file."""
        graph = self.model.graph
        found: dict[int, int] = {}
        for i, io in ((1, graph.inputs), (2, graph.outputs)):
            found.update(zip(map(id, io.values()), main.numbers(i, "i32").tolist(), strict=True))
        for table, node in zip(self.operators, graph.nodes, strict=True):
            ins, outs = (table.numbers(i, "i32").tolist() for i in (1, 2))
            pairs = zip(
                (*node.inputs, *node.outputs), (*ins, *(o for o in outs if o >= 0)), strict=True
            )
            found.update((id(t), index) for t, index in pairs if t is not None)
        return found

    def index(self, tensor: Any) -> int:
        """The tensor's index in the file."""
        return self.known[id(tensor)]

    def record(self, nodes: Sequence[int], inputs: list[int], outputs: list[int]) -> bytes:
        """The record of a plan for these operators, as binding.h has it."""
        structure, touched = bytearray(), set()
        words = []
        for i in nodes:
            said, count = self._operator(i)
            structure += said
            words += [i, count]
            touched |= {int(t) for f in (1, 2) for t in self.operators[i].numbers(f, "i32")}
        weights = 0
        for i in sorted(touched - {-1}):
            said, data = self._tensor(i)
            structure += said
            weights = zlib.crc32(data, weights)
        name = os.path.basename(self.model.path).encode() + b"\0"
        counts = len(self.tensors), len(self.operators), len(nodes), len(inputs), len(outputs)
        sizes = (*counts, len(self.others) // 2, len(name))
        head = _HEADER.pack(VERSION, zlib.crc32(structure), weights, *sizes)
        body = [*words, *inputs, *outputs, *self.others]
        return head + struct.pack(f"<{len(body)}i", *body) + name

    def _operator(self, i: int) -> tuple[bytes, int]:
        """Structure of an operator, and how many bytes of its options count."""
        table, node = self.operators[i], self.model.graph.nodes[i]
        code = self.codes[table.scalar(0, "u32")]
        number = max(code.scalar(0, "i8"), code.scalar(3, "i32"))
        ins, outs = table.numbers(1, "i32"), table.numbers(2, "i32")
        said = struct.pack("<2i", number, ins.size) + ins.tobytes()
        said += struct.pack("<i", outs.size) + outs.tobytes()
        options = _options(node) if table.has(4) and table.scalar(3, "u8") else b""
        said += struct.pack("<i", len(options)) + options
        if number == _CUSTOM:
            said += code.string(1).encode() + bytes(node.attrs["custom_bytes"])
        return said, len(options)

    def _tensor(self, i: int) -> tuple[bytes, Any]:
        """Structure of a tensor, and its bytes where it is a constant."""
        table = self.tensors[i]
        data = self._data(table.scalar(2, "u32"))
        kind = table.scalar(1, "i8")
        variable = bool(table.scalar(5, "bool"))
        said = struct.pack("<4i", i, _TYPES[kind], variable, bool(len(data)))
        said += _quantisation(table.table(4, "quantisation"))
        if len(data):
            shape = table.numbers(0, "i32")
            said += struct.pack("<i", shape.size) + shape.tobytes()
        return said, data

    def _data(self, index: int) -> Any:
        if not index:
            return b""
        table = self.buffers[index]
        offset, size = table.scalar(1, "u64"), table.scalar(2, "u64")
        if offset > 1:
            return self.reader.data[offset : offset + size]
        raw = table.bytes(0)
        return b"" if raw is None else raw


def _options(node: Node) -> bytes:
    """The fields of an operator's options that a delegate sees as they are."""
    found = b""
    for name in _FIELDS.get(node.op, "").split():
        value = node.attrs.get(name)
        if name == "padding":
            value = _PADDING[str(value)]
        elif name == _ACT:
            value = _ACTIVATIONS.index(str(value))
        elif name == "mode":
            value = _MODES[str(value)]
        kind = "<?" if isinstance(value, bool) else "<f" if isinstance(value, float) else "<i"
        found += struct.pack(kind, value)
    return found


def _quantisation(table: Table | None) -> bytes:
    scale = table.numbers(2, "f32") if table else np.zeros(0, "<f4")
    if table is None or not scale.size:
        return struct.pack("<i", 0)
    zero = np.zeros(scale.size, "<i8")
    given = table.numbers(3, "i64")
    zero[:] = given if given.size else 0
    said = struct.pack("<i", scale.size)
    said += b"".join(struct.pack("<fi", s, z) for s, z in zip(scale, zero.tolist(), strict=True))
    return said + (struct.pack("<i", table.scalar(6, "i32")) if scale.size > 1 else b"")
