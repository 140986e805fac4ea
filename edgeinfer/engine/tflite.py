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
_MAX_DEPTH = 8
#: Operators that may have no output.
_SILENT = ("ASSIGN_VARIABLE", "CALL_ONCE", "HASHTABLE_IMPORT")


@dataclass
class TfliteFile:
    """What a .tflite file holds.

    `graph`: the main one, inputs and outputs named by the file's signature where it has exactly
    one (its key in `signature`); `operators`: (name, version) of every operator code; `metadata`:
    the named buffers, not copied.
    """

    graph: Graph
    version: int
    description: str
    signature: str
    operators: list[tuple[str, int]] = field(default_factory=list)
    metadata: dict[str, memoryview] = field(default_factory=dict)


@dataclass
class _Signature:
    """Names of input and output tensors by their index."""

    key: str = ""
    inputs: dict[int, str] = field(default_factory=dict)
    outputs: dict[int, str] = field(default_factory=dict)


def read_tflite(data: Any, what: str = "model") -> TfliteFile:
    """Read the bytes of a .tflite file (bytes, mmap or memoryview).

    Constants are views of `data` where they are aligned. `what` names the file in errors. Raises
    ModelError where it is damaged, UnsupportedError for sparse tensors or types numpy lacks.
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
        self.graphs: dict[int, Graph] = {}

    def read(self) -> TfliteFile:
        version = self.root.scalar(0, "u32")
        if version != 3:
            raise self.reader.fail("version", f"{version}, only 3 is known")
        if not self.subgraphs:
            raise self.reader.fail("subgraphs", "there is none")
        signature = self._signature()
        graph = self.graph(0, 0, signature)
        found = TfliteFile(graph, version, self.root.string(3), signature.key)
        found.operators, found.metadata = self.codes, self._metadata()
        stamp = found.metadata.get("LiteRtStamp")
        if stamp is not None:
            _name_hardware(graph, stamp)
        return found

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

    def graph(self, index: int, depth: int, names: _Signature | None = None) -> Graph:
        """Subgraph `index`; each is read once, and none may contain itself."""
        if not 0 <= index < len(self.subgraphs) or depth > _MAX_DEPTH:
            raise self.reader.fail(f"subgraph {index}", f"of {len(self.subgraphs)}, depth {depth}")
        if index not in self.graphs:
            self.graphs[index] = self._graph(self.subgraphs[index], depth, names or _Signature())
        return self.graphs[index]

    def _graph(self, table: Table, depth: int, names: _Signature) -> Graph:
        tensors = [self._tensor(t, i) for i, t in enumerate(table.tables(0, "tensor"))]
        ins, outs = table.numbers(1, "i32"), table.numbers(2, "i32")
        inputs = _named(self._pick(ins, tensors, "graph inputs"), ins, names.inputs)
        outputs = _named(self._pick(outs, tensors, "graph outputs"), outs, names.outputs)
        operators = table.tables(3, "operator")
        nodes = [self._node(t, i, tensors, depth) for i, t in enumerate(operators)]
        graph = Graph(table.string(4) or "main", nodes, inputs, outputs)
        self._check_order(graph)
        return graph

    def _check_order(self, graph: Graph) -> None:
        """Every value is written once, and before it is read."""
        written = {id(t) for t in graph.inputs.values()}
        for node in graph.nodes:
            absent = [t for t in node.inputs if t is not None and not _known(t, written)]
            if absent and node.op in schema.OPERATORS:  # an NPU's operator may name scratch memory
                raise self.reader.fail(
                    f"{node.op} {node.name!r}", f"{absent[0]} is read before it is written"
                )
            for t in node.outputs:
                if id(t) in written or t.data is not None:
                    raise self.reader.fail(f"{node.op} {node.name!r}", f"{t} is written twice")
                written.add(id(t))
        for t in graph.inputs.values():
            if t.data is not None:
                raise self.reader.fail(f"graph input {t.name!r}", "it is a constant")
        for t in graph.outputs.values():
            if not _known(t, written):
                raise self.reader.fail(f"graph output {t.name!r}", "nothing writes it")

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
        if table.table(6, f"sparsity of {name!r}") is not None:
            raise UnsupportedError(
                f"{self.reader.what}: tensor {name!r} is stored sparse; convert the model without "
                "sparse storage (zeros compress just as well in the file)"
            )
        shape = self._shape(table, name)
        tensor = Tensor(name, shape, dtype, state=bool(table.scalar(5, "bool")))
        tensor.quant = self._quantisation(table.table(4, f"quantisation of {name!r}"), tensor)
        self._fill(tensor, table)
        if tensor.state and tensor.data is None and tensor.dtype == "int8" and tensor.zero:
            # The runtime sets int8 variables to their zero point, all others to zero.
            tensor.data = np.broadcast_to(np.int32(tensor.zero).astype(np.int8), shape)
        if tensor.dtype == "int4":
            raise UnsupportedError(
                f"{self.reader.what}: tensor {name!r} is INT4 and not a constant; only weights may"
            )
        return tensor

    def _shape(self, table: Table, name: str) -> tuple[int, ...]:
        raw = table.numbers(0, "i32")
        dims = [int(d) for d in raw[: _MAX_DIMS + 1]]
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
        place = f"tensor {tensor.name!r}"
        if table.scalar(4, "u8"):
            raise UnsupportedError(
                f"{self.reader.what}: {place} is quantised by blocks or in a form of its own; "
                "convert the model with scales per tensor or per channel"
            )
        scale, zero = table.numbers(2, "f32"), table.numbers(3, "i64")
        if not scale.size:
            return None
        if zero.size not in (0, 1, scale.size):
            raise self.reader.fail(place, f"{scale.size} scales, {zero.size} zero points")
        if not np.all(np.isfinite(scale)) or np.any(scale < 0):
            raise self.reader.fail(place, f"scales {scale[:4]} are not finite and positive")
        if np.any(zero != zero.astype(np.int32)):
            raise self.reader.fail(place, f"zero point {zero.max()} beyond 32 bits")
        points = np.zeros(scale.size, np.int32)
        points[:] = zero if zero.size else 0
        axis = self._axis(table, tensor, scale.size, place)
        return Quantisation(scale.astype(np.float32), points, axis)

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
            raw = memoryview(_unpack_int4(raw, tensor, self.reader).tobytes())
            tensor.dtype = "int8"
        if len(raw) != tensor.bytes:
            raise self.reader.fail(
                f"tensor {tensor.name!r}", f"{len(raw)} bytes of data for {tensor.bytes}"
            )
        flat = np.frombuffer(raw, np.uint8)
        if flat.size and flat.ctypes.data % np.dtype(tensor.dtype).itemsize:
            self.reader.spend(flat.size, f"tensor {tensor.name!r}")
            flat = flat.copy()
        tensor.data = flat.view(tensor.dtype).reshape(tensor.shape)

    def _node(self, table: Table, index: int, tensors: list[Tensor], depth: int) -> Node:
        code = table.scalar(0, "u32")
        if code >= len(self.codes):
            raise self.reader.fail(f"operator {index}", f"code {code} of {len(self.codes)}")
        op, version = self.codes[code]
        inputs = self._operands(table.numbers(1, "i32"), tensors, index)
        outputs = [t for t in self._operands(table.numbers(2, "i32"), tensors, index) if t]
        if not outputs and op not in _SILENT:
            raise self.reader.fail(f"operator {index} ({op})", "it has no output")
        attrs = self._attrs(table, op, index, depth)
        attrs["version"] = version
        intermediates = self._operands(table.numbers(8, "i32"), tensors, index)
        if intermediates:
            attrs["intermediates"] = intermediates
        name = outputs[0].name if outputs else f"{op} {index}"
        return Node(op, inputs, outputs, attrs, name)

    def _operands(self, indices: np.ndarray, tensors: list[Tensor], op: int) -> list[Tensor | None]:
        for i in indices:
            if not -1 <= i < len(tensors):
                raise self.reader.fail(f"operator {op}", f"tensor {i} of {len(tensors)}")
        return [tensors[i] if i >= 0 else None for i in indices]

    def _attrs(self, table: Table, op: str, index: int, depth: int) -> dict[str, Any]:
        options = table.table(4, f"options of operator {index} ({op})")
        expected = schema.union_of(op)
        if table.scalar(3, "u8") != expected:
            options = None  # as LiteRT does: options of another operator stand for defaults
        attrs = self._options(options, expected, op)
        for name in [n for n in attrs if schema.subgraph_attr(n)]:
            graph = self.graph(int(attrs[name]), depth + 1)
            attrs[str(schema.subgraph_attr(name))] = graph
        if op not in schema.OPERATORS:
            attrs["custom_bytes"] = self._custom_bytes(table, op)
            attrs["custom_options"] = self._custom(attrs["custom_bytes"], op)
        return attrs

    def _custom_bytes(self, table: Table, op: str) -> memoryview:
        """Options of a custom operator, in the flatbuffer or after it."""
        offset, size = table.scalar(9, "u64"), table.scalar(10, "u64")
        if offset > 1:
            if offset + size > len(self.reader.data):
                raise self.reader.fail(f"options of {op}", "they lie outside the file")
            return self.reader.data[offset : offset + size]
        raw = table.bytes(5)
        return raw if raw is not None else memoryview(b"")

    def _custom(self, raw: memoryview, op: str) -> Any:
        """Options of a custom operator where they are a flexbuffer, as most are; else None."""
        if not len(raw):
            return {}
        if schema.hardware_of(op):
            return None  # a compiled program of megabytes, for its driver alone
        self.reader.spend(64 * len(raw), f"options of {op}")
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

    def _signature(self) -> _Signature:
        """The file's one signature; without names where it has none or several."""
        tables = self.root.tables(7, "signature")
        if len(tables) != 1 or tables[0].scalar(4, "u32") != 0:
            return _Signature()
        maps = []
        for i, io in ((0, "inputs"), (1, "outputs")):
            entries = tables[0].tables(i, f"signature {io}")
            maps.append({e.scalar(1, "u32"): e.string(0) for e in entries})
        return _Signature(tables[0].string(2), *maps)

    def _metadata(self) -> dict[str, memoryview]:
        found = {}
        for table in self.root.tables(6, "metadata"):
            raw = self._bytes(table.scalar(1, "u32"), "metadata")
            if raw is not None:
                found[table.string(0)] = raw
        return found


def _name_hardware(graph: Graph, stamp: memoryview) -> None:
    """What LiteRT's compiler wrote of its target (maker, chip, zeros between), for error texts."""
    words = bytes(stamp[:256]).replace(b"\0", b" ").decode("utf-8", "replace").split()
    for node in graph.nodes:
        if node.op == "DISPATCH_OP" and words:
            node.attrs["compiled_for"] = "the NPU of " + " ".join(words)


def _known(tensor: Tensor, written: set[int]) -> bool:
    """Whether a tensor has a value: written, constant, a state or empty."""
    has = tensor.data is not None or tensor.state or tensor.count == 0
    return has or id(tensor) in written


def _named(tensors: list[Tensor], indices: Any, names: dict[int, str]) -> dict[str, Tensor]:
    """Tensors by their names in the signature, else their own, made different where one repeats."""
    named: dict[str, Tensor] = {}
    for tensor, index in zip(tensors, indices, strict=True):
        base = names.get(int(index)) or tensor.name
        name, n = base, 1
        while name in named:
            name, n = f"{base}:{n}", n + 1
        named[name] = tensor
    return named


def _unpack_int4(raw: memoryview, tensor: Tensor, reader: Reader) -> np.ndarray:
    """Two signed 4-bit values a byte, low half first -> int8."""
    packed = np.frombuffer(raw, np.int8)
    reader.spend(4 * packed.size, f"tensor {tensor.name!r}")
    if packed.size != (tensor.count + 1) // 2:
        raise reader.fail(f"tensor {tensor.name!r}", f"{packed.size} bytes of 4-bit data")
    low = (packed << 4).astype(np.int8) >> 4
    both = np.stack([low, packed >> 4], 1).reshape(-1)
    return both[: tensor.count].astype(np.int8)
