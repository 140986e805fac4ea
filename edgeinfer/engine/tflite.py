"""Reads a .tflite file into a Graph. Every offset, size and index of the file is checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ModelError, UnsupportedError
from . import tflite_schema as schema
from .flatbuffer import Reader, Table, read_flexbuffer
from .graph import Graph, Node
from .tensor import RESOURCE, Quantisation, Tensor

_MAX_TENSOR_BYTES = 1 << 34
_MAX_DIMS = 8


@dataclass
class TfliteFile:
    """What a .tflite file holds: its main graph, named by its signature, and the rest."""

    graph: Graph
    version: int
    description: str
    signature: str
    metadata: dict[str, memoryview] = field(default_factory=dict)


def read_tflite(data: Any, what: str = "model") -> TfliteFile:
    """Read the bytes of a .tflite file (bytes, mmap or memoryview).

    Constants are views of `data` where they are aligned. `what` names the file in errors. Raises
    ModelError where it is damaged, UnsupportedError for sparse tensors or types without a numpy form.
    """
    reader = Reader(data, what)
    if len(reader.data) < 16 or bytes(reader.data[4:8]) != b"TFL3":
        raise ModelError(
            f"{what}: not a .tflite file ({len(reader.data)} bytes without the identifier TFL3)"
        )
    return _File(reader).read()


class _File:
    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.root = reader.root()
        self.codes = [self._code(t) for t in self.root.tables(1, "operator code")]
        self.buffers = self.root.tables(4, "buffer")
        self.subgraphs = self.root.tables(2, "subgraph")

    def read(self) -> TfliteFile:
        version = self.root.scalar(0, "u32")
        if version != 3:
            raise self.reader.fail("version", f"{version}, only 3 is known")
        if not self.subgraphs:
            raise self.reader.fail("subgraphs", "there is none")
        graph = self.graph(0, 0)
        key = self._name_io(graph)
        return TfliteFile(graph, version, self.root.string(3), key, self._metadata())

    def _code(self, table: Table) -> tuple[str, int]:
        """Name and version of an operator. Codes above 127 stand in the newer field alone."""
        code = max(table.scalar(0, "i8"), table.scalar(3, "i32"))
        if code < 0 or code >= len(schema.OPERATORS):
            return f"BUILTIN_{code}", table.scalar(2, "i32", 1)
        name = schema.OPERATORS[code]
        if name == "CUSTOM":
            name = table.string(1) or "CUSTOM"
        return name, table.scalar(2, "i32", 1)

    def _bytes(self, index: int, place: str) -> memoryview | None:
        """Content of a buffer, in the flatbuffer or after it (models above 2 GB)."""
        if index >= len(self.buffers):
            raise self.reader.fail(place, f"buffer {index} of {len(self.buffers)}")
        table = self.buffers[index]
        offset, size = table.scalar(1, "u64"), table.scalar(2, "u64")
        if offset > 1:
            if offset + size > len(self.reader.data):
                raise self.reader.fail(place, f"buffer {index} lies outside the file")
            return self.reader.data[offset : offset + size]
        return table.bytes(0)

    def graph(self, index: int, depth: int) -> Graph:
        if index < 0 or index >= len(self.subgraphs) or depth > 8:
            raise self.reader.fail("subgraph", f"{index} of {len(self.subgraphs)}")
        table = self.subgraphs[index]
        tensors = [self._tensor(t, i) for i, t in enumerate(table.tables(0, "tensor"))]
        operators = table.tables(3, "operator")
        nodes = [self._node(t, i, tensors, depth) for i, t in enumerate(operators)]
        inputs = self._pick(table.numbers(1, "i32"), tensors, "graph inputs")
        outputs = self._pick(table.numbers(2, "i32"), tensors, "graph outputs")
        return Graph(table.string(4) or "main", nodes, _named(inputs), _named(outputs))

    def _pick(self, indices: np.ndarray, tensors: list[Tensor], place: str) -> list[Tensor]:
        for i in indices:
            if not 0 <= i < len(tensors):
                raise self.reader.fail(place, f"tensor {i} of {len(tensors)}")
        return [tensors[i] for i in indices]

    def _tensor(self, table: Table, index: int) -> Tensor:
        code = table.scalar(1, "i8")
        dtype = schema.TENSOR_TYPES[code] if 0 <= code < len(schema.TENSOR_TYPES) else None
        name = table.string(3) or f"tensor {index}"
        if dtype is None:
            names = schema.TENSOR_TYPE_NAMES
            kind = names[code] if 0 <= code < len(names) else str(code)
            raise UnsupportedError(
                f"{self.reader.what}: tensor {name!r} has type {kind}, which no kernel here knows"
            )
        if table.has(6):
            raise UnsupportedError(
                f"{self.reader.what}: tensor {name!r} is stored sparse; convert the model without "
                "sparse storage (zeros compress just as well in the file)"
            )
        shape = self._shape(table, name)
        tensor = Tensor(name, shape, dtype, state=bool(table.scalar(5, "bool")))
        tensor.quant = self._quantisation(table.table(4, f"quantisation of {name!r}"), tensor)
        self._fill(tensor, table)
        return tensor

    def _shape(self, table: Table, name: str) -> tuple[int, ...]:
        dims = [int(d) for d in table.numbers(0, "i32")]
        shape = tuple(1 if d == -1 else d for d in dims)
        size = 1
        for d in shape:
            size *= d
        if len(dims) > _MAX_DIMS or any(d < 0 for d in shape) or size > _MAX_TENSOR_BYTES:
            raise self.reader.fail(f"tensor {name!r}", f"shape {dims}")
        return shape

    def _quantisation(self, table: Table | None, tensor: Tensor) -> Quantisation | None:
        if table is None:
            return None
        scale = table.numbers(2, "f32")
        if not scale.size:
            return None
        zero = table.numbers(3, "i64").astype(np.int32)
        zero = zero if zero.size else np.zeros(scale.size, np.int32)
        if zero.size == 1 and scale.size > 1:
            zero = np.repeat(zero, scale.size)
        place = f"tensor {tensor.name!r}"
        if zero.size != scale.size or not np.all(np.isfinite(scale)) or np.any(scale < 0):
            raise self.reader.fail(place, f"{scale.size} scales, {zero.size} zero points")
        return Quantisation(scale.copy(), zero, self._axis(table, tensor, scale.size, place))

    def _axis(self, table: Table, tensor: Tensor, n: int, place: str) -> int:
        axis = int(table.scalar(6, "i32"))
        if n == 1:
            return 0
        if 0 <= axis < len(tensor.shape) and tensor.shape[axis] == n:
            return axis
        # An early converter wrote another axis: it is certain where one dimension alone fits.
        fits = [i for i, d in enumerate(tensor.shape) if d == n]
        if len(fits) != 1:
            raise self.reader.fail(place, f"{n} scales on axis {axis} of shape {tensor.shape}")
        return fits[0]

    def _fill(self, tensor: Tensor, table: Table) -> None:
        index = table.scalar(2, "u32")
        raw = self._bytes(index, f"tensor {tensor.name!r}") if index else None
        if raw is None or tensor.dtype == RESOURCE:
            return
        if not len(raw) and tensor.count:
            return
        if tensor.dtype == "int4":
            raw = memoryview(_unpack_int4(raw, tensor, self.reader))
            tensor.dtype = "int8"
        if len(raw) != tensor.bytes:
            raise self.reader.fail(
                f"tensor {tensor.name!r}", f"{len(raw)} bytes of data for {tensor.bytes}"
            )
        flat = np.frombuffer(raw, np.uint8)
        if flat.size and flat.ctypes.data % np.dtype(tensor.dtype).itemsize:
            flat = flat.copy()
        tensor.data = flat.view(tensor.dtype).reshape(tensor.shape)

    def _node(self, table: Table, index: int, tensors: list[Tensor], depth: int) -> Node:
        code = table.scalar(0, "u32")
        if code >= len(self.codes):
            raise self.reader.fail(f"operator {index}", f"code {code} of {len(self.codes)}")
        op, version = self.codes[code]
        inputs = self._operands(table.numbers(1, "i32"), tensors, index)
        outputs = [t for t in self._operands(table.numbers(2, "i32"), tensors, index) if t]
        if not outputs and op not in ("ASSIGN_VARIABLE", "CALL_ONCE"):
            raise self.reader.fail(f"operator {index} ({op})", "it has no output")
        attrs = self._attrs(table, op, index, depth)
        attrs["version"] = version
        name = outputs[0].name if outputs else f"{op} {index}"
        return Node(op, inputs, outputs, attrs, name)

    def _operands(self, indices: np.ndarray, tensors: list[Tensor], op: int) -> list[Tensor | None]:
        for i in indices:
            if not -1 <= i < len(tensors):
                raise self.reader.fail(f"operator {op}", f"tensor {i} of {len(tensors)}")
        return [tensors[i] if i >= 0 else None for i in indices]

    def _attrs(self, table: Table, op: str, index: int, depth: int) -> dict[str, Any]:
        union = table.scalar(3, "u8")
        options = table.table(4, f"options of operator {index} ({op})")
        attrs: dict[str, Any] = {}
        expected = schema.union_of(op)
        if expected and union in (0, expected):
            attrs = self._options(options, expected, op)
        if op == "CALL_ONCE":
            attrs["init_subgraph"] = self.graph(int(attrs["init_subgraph_index"]), depth + 1)
        if op not in schema.OPERATORS:
            raw = table.bytes(5)
            attrs["custom_bytes"] = bytes(raw) if raw is not None else b""
            attrs["custom_options"] = self._custom(attrs["custom_bytes"], op)
        return attrs

    def _custom(self, raw: bytes, op: str) -> Any:
        """Options of a custom operator where they are a flexbuffer, as most are; else None."""
        if not raw:
            return {}
        try:
            return read_flexbuffer(raw, f"{self.reader.what}: {op}")
        except ModelError:
            return None

    def _options(self, table: Table | None, union: int, op: str) -> dict[str, Any]:
        attrs: dict[str, Any] = {}
        for f in schema.fields(union):
            if f.type == "str":
                attrs[f.name] = table.string(f.id) if table else ""
            elif f.type.startswith("["):
                attrs[f.name] = table.numbers(f.id, f.type[1:-1]).tolist() if table else []
            else:
                attrs[f.name] = self._scalar(table, f, op)
        return attrs

    def _scalar(self, table: Table | None, f: schema.Field, op: str) -> Any:
        kind = "i8" if f.type in schema.ENUMS or f.type == "type" else f.type
        value = table.scalar(f.id, kind, f.default) if table else f.default
        if kind == "bool":
            return bool(value)
        names = schema.ENUMS.get(f.type, schema.TENSOR_TYPES if f.type == "type" else None)
        if names is None:
            return value
        if not 0 <= value < len(names):
            raise self.reader.fail(f"options of {op}", f"{f.name} is {value}")
        return names[value]

    def _name_io(self, graph: Graph) -> str:
        """Give the graph's inputs and outputs the names of its one signature, if it has one."""
        signatures = self.root.tables(7, "signature")
        if len(signatures) != 1:
            return ""
        table = signatures[0]
        tensors = [
            self._tensor_names(t) for t in self.subgraphs[0].tables(0, "tensor")
        ]
        for i, io in ((0, "inputs"), (1, "outputs")):
            names = {}
            for entry in table.tables(i, f"signature {io}"):
                index = entry.scalar(1, "u32")
                if index >= len(tensors):
                    raise self.reader.fail(f"signature {io}", f"tensor {index}")
                names[tensors[index]] = entry.string(0)
            old = getattr(graph, io)
            new = {names.get(t.name, n): t for n, t in old.items()}
            if len(new) == len(old):
                setattr(graph, io, new)
        return table.string(2)

    def _tensor_names(self, table: Table) -> str:
        return table.string(3)

    def _metadata(self) -> dict[str, memoryview]:
        found = {}
        for table in self.root.tables(6, "metadata"):
            raw = self._bytes(table.scalar(1, "u32"), "metadata")
            if raw is not None:
                found[table.string(0)] = raw
        return found


def _named(tensors: list[Tensor]) -> dict[str, Tensor]:
    """Tensors by name, made different where the file repeats one."""
    named: dict[str, Tensor] = {}
    for tensor in tensors:
        name, n = tensor.name, 1
        while name in named:
            name, n = f"{tensor.name}:{n}", n + 1
        named[name] = tensor
    return named


def _unpack_int4(raw: memoryview, tensor: Tensor, reader: Reader) -> np.ndarray:
    """Two signed 4-bit values a byte, low half first -> int8."""
    packed = np.frombuffer(raw, np.int8)
    if packed.size != (tensor.count + 1) // 2:
        raise reader.fail(f"tensor {tensor.name!r}", f"{packed.size} bytes of 4-bit data")
    low = (packed << 4).astype(np.int8) >> 4
    both = np.stack([low, packed >> 4], 1).reshape(-1)
    return both[: tensor.count].astype(np.int8)
