"""A flatbuffer walked with every offset, size and index checked.

Source: flatbuffers.dev/internals. A damaged file gives a ModelError that names the place; nothing
is read outside the buffer and nothing is allocated on a file's word alone.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ModelError

_SCALARS = {
    "bool": "<?",
    "i8": "<b",
    "u8": "<B",
    "i16": "<h",
    "u16": "<H",
    "i32": "<i",
    "u32": "<I",
    "i64": "<q",
    "u64": "<Q",
    "f32": "<f",
    "f64": "<d",
}
_TABLE_COST = 48  # bytes of memory for one Table, about
_NUMPY = {"u8": "u1", "i8": "i1", "i32": "<i4", "u32": "<u4", "i64": "<i8", "f32": "<f4"}


class Reader:
    """Bytes of one file, with checked reads."""

    def __init__(self, data: Any, what: str) -> None:
        self.data = memoryview(data).cast("B")
        self.what = what
        # An honest file's parts do not overlap: what is copied out of it is bounded by its size.
        self._budget = 4 * len(self.data) + (1 << 20)

    def spend(self, count: int, place: str) -> None:
        """Account for `count` bytes copied out of the file; ModelError past four times its size."""
        self._budget -= count
        if self._budget < 0:
            raise self.fail(place, "parts of the file are used over and over")

    def fail(self, place: str, why: str) -> ModelError:
        """The error for a damaged place."""
        return ModelError(f"{self.what}: damaged model, {place}: {why}; get the file again")

    def scalar(self, kind: str, at: int, place: str) -> Any:
        """The scalar of that kind at that offset."""
        form = _SCALARS[kind]
        if at < 0 or at + struct.calcsize(form) > len(self.data):
            raise self.fail(place, f"offset {at} lies outside the {len(self.data)} bytes")
        return struct.unpack_from(form, self.data, at)[0]

    def root(self) -> Table:
        """The root table."""
        return self.table(self.scalar("u32", 0, "root"), "root")

    def table(self, at: int, place: str) -> Table:
        """The table that begins at an offset."""
        vtable = at - self.scalar("i32", at, place)
        size = self.scalar("u16", vtable, place)
        if size < 4 or size % 2 or vtable + size > len(self.data):
            raise self.fail(place, f"its field list at {vtable} has {size} bytes")
        return Table(self, at, vtable, (size - 4) // 2, place)


@dataclass(frozen=True)
class Table:
    """One table: fields by id, each with a default where it is absent."""

    reader: Reader
    at: int
    vtable: int
    count: int
    place: str

    def _field(self, i: int) -> int:
        if i >= self.count:
            return 0
        offset = self.reader.scalar("u16", self.vtable + 4 + 2 * i, self.place)
        return self.at + offset if offset else 0

    def _where(self, i: int) -> str:
        return f"{self.place}[{i}]"

    def has(self, i: int) -> bool:
        """Whether the field is there."""
        return bool(self._field(i))

    def scalar(self, i: int, kind: str, default: Any = 0) -> Any:
        """A scalar field."""
        at = self._field(i)
        return self.reader.scalar(kind, at, self._where(i)) if at else default

    def _target(self, i: int) -> int:
        at = self._field(i)
        return at + int(self.reader.scalar("u32", at, self._where(i))) if at else 0

    def table(self, i: int, name: str) -> Table | None:
        """A table field, or None."""
        at = self._target(i)
        return self.reader.table(at, name) if at else None

    def _vector(self, i: int, size: int) -> tuple[int, int]:
        """Start and length of a vector whose elements have `size` bytes; (0, 0) if absent."""
        at = self._target(i)
        if not at:
            return 0, 0
        n = self.reader.scalar("u32", at, self._where(i))
        if at + 4 + n * size > len(self.reader.data):
            raise self.reader.fail(self._where(i), f"{n} elements lie outside the file")
        return at + 4, n

    def string(self, i: int) -> str:
        """A string field, "" where absent; bytes that are not UTF-8 are replaced."""
        start, n = self._vector(i, 1)
        self.reader.spend(n, self._where(i))
        return bytes(self.reader.data[start : start + n]).decode("utf-8", "replace")

    def bytes(self, i: int) -> memoryview | None:
        """A vector of bytes, not copied; None where absent."""
        if not self.has(i):
            return None
        start, n = self._vector(i, 1)
        return self.reader.data[start : start + n]

    def numbers(self, i: int, kind: str) -> np.ndarray:
        """A vector of numbers, empty where absent."""
        dtype = np.dtype(_NUMPY[kind])
        start, n = self._vector(i, dtype.itemsize)
        self.reader.spend(n * dtype.itemsize, self._where(i))
        raw = self.reader.data[start : start + n * dtype.itemsize]
        return np.frombuffer(raw, dtype)

    def tables(self, i: int, name: str) -> list[Table]:
        """A vector of tables."""
        start, n = self._vector(i, 4)
        self.reader.spend(_TABLE_COST * n, self._where(i))
        out = []
        for k in range(n):
            at = start + 4 * k
            step = self.reader.scalar("u32", at, self._where(i))
            out.append(self.reader.table(at + step, f"{name} {k}"))
        return out


def read_flexbuffer(data: bytes | memoryview, what: str) -> Any:
    """The value of a flexbuffer: maps as dict, vectors as list, scalars, strings, blobs as bytes.

    Source: flatbuffers.dev/flexbuffers. Depth and element counts are bounded by the data's size.
    """
    flex = _Flex(memoryview(bytes(data)), what)
    if len(flex.data) < 3:
        raise flex.fail("too short")
    width, packed = flex.data[-1], flex.data[-2]
    return flex.value(len(flex.data) - 2 - width, width, packed, 0)


class _Flex:
    def __init__(self, data: memoryview, what: str) -> None:
        self.data, self.what = data, what
        self.budget = 4 * len(data) + 64  # elements that an honest buffer of this size can hold

    def fail(self, why: str) -> ModelError:
        return ModelError(f"{self.what}: damaged options (flexbuffer): {why}")

    def _number(self, at: int, width: int, kinds: str) -> Any:
        letters = {1: 0, 2: 1, 4: 2, 8: 3}
        if width not in letters or at < 0 or at + width > len(self.data):
            raise self.fail(f"a value of {width} bytes at {at}")
        return struct.unpack_from("<" + kinds[letters[width]], self.data, at)[0]

    def _unsigned(self, at: int, width: int) -> int:
        return int(self._number(at, width, "BHIQ"))

    def value(self, at: int, parent: int, packed: int, depth: int) -> Any:
        self.budget -= 1
        if depth > 32 or self.budget < 0:
            raise self.fail("nested too deeply or too many elements")
        kind, width = packed >> 2, 1 << (packed & 3)
        direct: dict[int, Callable[[int, int], Any]] = {
            0: lambda a, w: None,
            1: lambda a, w: self._number(a, w, "bhiq"),
            2: self._unsigned,
            3: lambda a, w: self._number(a, w, "befd"),
            26: lambda a, w: bool(self._unsigned(a, w)),
        }
        if kind in direct:
            return direct[kind](at, parent)
        target = at - self._unsigned(at, parent)
        return self._indirect(kind, target, width, depth)

    def _indirect(self, kind: int, at: int, width: int, depth: int) -> Any:
        if kind in (6, 7, 8):  # a scalar elsewhere
            return self._number(at, width, {6: "bhiq", 7: "BHIQ", 8: "befd"}[kind])
        if kind == 4:  # key: ends with a zero byte
            end = bytes(self.data[max(at, 0) :]).find(b"\0")
            if at < 0 or end < 0:
                raise self.fail("a key without an end")
            return bytes(self.data[at : at + end]).decode("utf-8", "replace")
        size = self._unsigned(at - width, width)
        if size > len(self.data):
            raise self.fail(f"{size} elements in {len(self.data)} bytes")
        if kind in (5, 25):
            raw = bytes(self.data[at : at + size])
            return raw.decode("utf-8", "replace") if kind == 5 else raw
        return self._collection(kind, at, width, size, depth)

    def _collection(self, kind: int, at: int, width: int, size: int, depth: int) -> Any:
        if kind in (9, 10):  # map, vector of values that carry their types
            values = []
            for i in range(size):
                packed = self._unsigned(at + size * width + i, 1)
                values.append(self.value(at + i * width, width, packed, depth + 1))
            return (
                dict(zip(self._keys(at, width, size), values, strict=True)) if kind == 9 else values
            )
        typed = {11: 1, 12: 2, 13: 3, 14: 4, 36: 26}
        if kind in typed:
            form = typed[kind] << 2
            return [self.value(at + i * width, width, form, depth + 1) for i in range(size)]
        raise self.fail(f"type {kind} is not known")

    def _keys(self, at: int, width: int, size: int) -> list[str]:
        start = at - 3 * width
        keys = start - self._unsigned(start, width)
        key_width = self._unsigned(at - 2 * width, width)
        return [str(self.value(keys + i * key_width, key_width, 4 << 2, 1)) for i in range(size)]
