"""Mutations of model files, aimed at the bytes that the reader looks at."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from edgeinfer.engine.flatbuffer import Reader
from edgeinfer.engine.tflite import read_tflite

_EDGES = (0, 1, 2, 3, 4, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def touched(data: bytes) -> list[int]:
    """Offsets of the scalars (tables, field lists, lengths, offsets) the reader looks at."""
    seen: set[int] = set()
    scalar = Reader.scalar

    def watch(self: Reader, kind: str, at: int, place: str) -> object:
        seen.add(at)
        return scalar(self, kind, at, place)

    Reader.scalar = watch  # type: ignore[method-assign]
    try:
        read_tflite(data)
    finally:
        Reader.scalar = scalar  # type: ignore[method-assign]
    return sorted(seen)


def mutations(data: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Damaged copies of a model without end: 1 to 3 changes each."""
    places = np.array(touched(data))
    while True:
        out = bytearray(data)
        for _ in range(int(rng.integers(1, 4))):
            _change(out, places, rng)
        yield bytes(out)


def _change(out: bytearray, places: np.ndarray, rng: np.random.Generator) -> None:
    kind = int(rng.integers(0, 10))
    at = min(int(rng.choice(places)) + int(rng.integers(0, 16)), max(len(out) - 4, 0))
    if kind < 4:  # one byte
        out[at : at + 1] = bytes([int(rng.integers(0, 256))])
    elif kind < 6:  # a number at the edge of its range, or about the file's size
        edge = int(rng.choice([*_EDGES, len(out), len(out) - at, len(out) // 4]))
        form = rng.choice(["<I", "<H", "<Q"])
        raw = struct.pack(form, edge & (256 ** struct.calcsize(form) - 1))
        out[at : at + len(raw)] = raw
    elif kind < 8:  # an offset or number from elsewhere, a little changed
        start = min(int(rng.choice(places)), max(len(out) - 4, 0))
        value = int.from_bytes(out[start : start + 4], "little") + int(rng.integers(-8, 9))
        out[at : at + 4] = struct.pack("<I", value & 0xFFFFFFFF)
    elif kind < 9:  # a bit
        out[at] ^= 1 << int(rng.integers(0, 8))
    else:  # cut short
        del out[int(rng.integers(0, len(out) + 1)) :]
        out.extend(b"\0" * max(0, 20 - len(out)))
