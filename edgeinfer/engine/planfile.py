"""The plan file: what csrc/engine/plan.h reads. Little-endian, sections 64-byte aligned."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

from .. import _native
from .memory import Memory
from .ops import Step
from .tensor import Tensor

MAGIC = b"EIPLAN\r\n"
NO_TENSOR = 0xFFFFFFFF
NO_DATA = 0xFFFFFFFFFFFFFFFF
ALIGN = 64
HEADER = struct.Struct("<8sIIQQ8I6QIIQ")
TENSOR = struct.Struct("<4BI6ifiQQQ")
STEP = struct.Struct("<4H4I2Hf")
PART = struct.Struct("<IIQQ")
_ARENA, _CONSTANT, _STATE = range(3)


@dataclass(frozen=True)
class Part:
    """A part of the graph that a delegate runs: its name and what it compiled, bytes."""

    delegate: str
    data: bytes


def aligned(size: int) -> np.ndarray:
    """Zeroed bytes (uint8 [size]) that start at a 64-byte boundary, as a plan must."""
    raw = np.zeros(size + ALIGN, np.uint8)
    shift = -raw.ctypes.data % ALIGN
    return raw[shift : shift + size]


class _Strings:
    def __init__(self) -> None:
        self.data = bytearray(b"\0")
        self._known = {"": 0}

    def add(self, text: str) -> int:
        if text not in self._known:
            self._known[text] = len(self.data)
            self.data += text.encode().replace(b"\0", b"?") + b"\0"
        return self._known[text]


class _Blob:
    """Concatenated pieces, each at a multiple of `align`; equal pieces are stored once."""

    def __init__(self, align: int) -> None:
        self.align, self.size = align, 0
        self.pieces: list[tuple[int, bytes | memoryview]] = []
        self._known: dict[bytes, int] = {}

    def add(self, piece: bytes | memoryview) -> int:
        small = bytes(piece) if len(piece) <= 4096 else None
        if small is not None and small in self._known:
            return self._known[small]
        offset = -(-self.size // self.align) * self.align
        self.pieces.append((offset, piece))
        self.size = offset + len(piece)
        if small is not None:
            self._known[small] = offset
        return offset


class Writer:
    """Collects the records of one plan and writes them out."""

    def __init__(self, memory: Memory, isa: str, rounding: str, parts: list[Part]) -> None:
        self.memory, self.isa, self.rounding = memory, isa, rounding
        self.strings, self.params, self.data = _Strings(), _Blob(4), _Blob(ALIGN)
        self.index: dict[int, int] = {}
        self.tensors: list[bytes] = []
        self.args: list[int] = []
        self.parts = [
            PART.pack(self.strings.add(p.delegate), 0, self.data.add(p.data), len(p.data))
            for p in parts
        ]

    def tensor(self, t: Tensor | None) -> int:
        """Index of the tensor's record."""
        if t is None:
            return NO_TENSOR
        if id(t) not in self.index:
            self.index[id(t)] = len(self.tensors)
            self.tensors.append(self._record(t))
        return self.index[id(t)]

    def _named(self, name: str, t: Tensor) -> int:
        """Index of a record of an input or output, under the name users know it by."""
        self.tensors.append(self._record(t, name))
        index = len(self.tensors) - 1
        self.index.setdefault(id(t), index)
        return index

    def _record(self, t: Tensor, name: str = "") -> bytes:
        kind, offset, initial = _ARENA, 0, NO_DATA
        if t.constant:
            assert t.data is not None
            kind, offset = _CONSTANT, self.data.add(_bytes(t.data))
        else:
            offset = self.memory.offsets[id(t)]
        if t.state:
            kind = _STATE
            initial = self.data.add(_bytes(t.data)) if t.data is not None else NO_DATA
        dims = (*t.shape, *[1] * 6)[:6]
        stride = self.memory.strides.get(id(t), t.shape[-1] if t.shape else 1)
        label = self.strings.add(name or t.name)
        code = _native.DTYPES[t.dtype]
        return TENSOR.pack(
            code, len(t.shape), kind, 0, label, *dims, t.scale, t.zero, offset, stride, initial
        )

    def step(self, step: Step) -> bytes:
        """The record of a step."""
        first = len(self.args)
        self.args += [self.tensor(t) for t in (*step.inputs, *step.outputs)]
        params = _native.pack_params(step.params, step.values)
        op = getattr(_native.lib, "EI_OP_" + step.op)
        layout = getattr(_native.lib, "EI_LAYOUT_" + step.layout)
        part = step.values.get("part", -1) + 1 if step.op == "DELEGATE" else 0
        place = self.params.add(params)
        name = self.strings.add(step.name)
        counts = len(step.inputs), len(step.outputs)
        run = part, step.workers, step.macs
        return STEP.pack(op, layout, *counts, first, place, len(params), name, *run)

    def write(self, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> np.ndarray:
        """The whole file (uint8, 64-byte aligned)."""
        self.args = [self._named(name, t) for io in (inputs, outputs) for name, t in io.items()]
        steps = [self.step(s) for s in self.memory.steps]
        sections = [
            b"".join(self.tensors),
            b"".join(steps),
            struct.pack(f"<{len(self.args)}I", *self.args),
            self._joined(self.params),
            bytes(self.strings.data),
            b"".join(self.parts),
        ]
        offsets, end = [], HEADER.size
        for section in sections:
            offsets.append(-(-end // ALIGN) * ALIGN)
            end = offsets[-1] + len(section)
        data = -(-end // ALIGN) * ALIGN
        out = aligned(data + self.data.size)
        for offset, section in zip(offsets, sections, strict=True):
            out[offset : offset + len(section)] = np.frombuffer(section, np.uint8)
        for offset, piece in self.data.pieces:
            start = data + offset
            out[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
        self._header(out, (inputs, outputs), offsets, data, len(steps), len(sections[3]))
        return out

    @staticmethod
    def _joined(blob: _Blob) -> bytes:
        joined = bytearray(blob.size)
        for offset, piece in blob.pieces:
            joined[offset : offset + len(piece)] = piece
        return bytes(joined)

    def _header(
        self,
        out: np.ndarray,
        io: tuple[dict[str, Tensor], dict[str, Tensor]],
        offsets: list[int],
        data: int,
        n_steps: int,
        params: int,
    ) -> None:
        isa, rounding = _native.ISAS.index(self.isa), _native.ROUNDINGS[self.rounding]
        counts = (len(self.tensors), n_steps, len(self.args), len(io[0]), len(io[1]))
        fields = (
            len(out), self.memory.arena_bytes, isa, rounding, *counts, len(self.parts),
            *offsets[:5], data, params, len(self.strings.data), offsets[5],
        )  # fmt: skip
        version = _native.lib.EI_PLAN_VERSION
        out[: HEADER.size] = np.frombuffer(HEADER.pack(MAGIC, version, 0, *fields), np.uint8)
        crc = zlib.crc32(out.data)
        out[: HEADER.size] = np.frombuffer(HEADER.pack(MAGIC, version, crc, *fields), np.uint8)


def _bytes(array: np.ndarray) -> memoryview | bytes:
    flat = np.ascontiguousarray(array)
    return flat.reshape(-1).view(np.uint8).data if flat.size else b""
