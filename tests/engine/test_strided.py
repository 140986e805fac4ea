"""Concatenations and splits along the channels: no copy, the same values, nothing believed."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

import edgeinfer as ei
from edgeinfer import _native
from edgeinfer.engine import planfile, strided
from edgeinfer.engine.plan import Plan, build
from edgeinfer.errors import PlanError
from tests.models import Maker, joined, litert, random_inputs

VECTOR = [isa for isa in _native.isas() if isa != "ref"]
TENSOR = planfile.TENSOR.size


def results(plan: Plan, feeds: dict[str, np.ndarray], threads: int = 1) -> dict[str, np.ndarray]:
    session = ei.Session(plan, threads=threads)
    for name, value in feeds.items():
        session[name] = value
    session.run()
    return {name: session[name].copy() for name in session.outputs}


@pytest.mark.parametrize("isa", _native.isas())
@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8"])
def test_the_same_values_as_with_copies(
    isa: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = joined(dtype)
    feeds = random_inputs(graph)
    plan = build(graph, isa=isa)
    monkeypatch.setattr(strided, "join", lambda layout: None)
    copying = build(graph, isa=isa)
    names = [[s.kernel.split("/")[1] for s in p.steps()] for p in (plan, copying)]
    assert {"concatenation", "split"} <= set(names[1])
    if isa != "ref":
        assert not {"concatenation", "split"} & set(names[0])
        if dtype == "float32":  # what the depthwise layer reads and writes, y into `both`
            assert names[0].count("copy") == 3
    want = results(copying, feeds)
    for threads in (1, 2):
        for name, value in results(plan, feeds, threads).items():
            np.testing.assert_array_equal(value, want[name])


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_equal_to_litert(dtype: str) -> None:
    from edgeinfer.engine.tflite_writer import write_tflite

    graph = joined(dtype)
    feeds = random_inputs(graph)
    want = litert(write_tflite(graph), feeds)
    for name, value in results(build(graph), feeds).items():
        if dtype == "float32":
            np.testing.assert_allclose(value, want[name], atol=1e-5 * np.abs(want[name]).max())
        else:
            np.testing.assert_array_equal(value, want[name])


def test_what_cannot_be_written_in_place_is_copied() -> None:
    make = Maker("float32")
    x = make.input("x", (1, 4, 4, 8))
    a, b = make.dw(x), make.conv(x, 8)
    twice = make.concat([b, b, a])
    kernels = [s.kernel for s in build(make.graph(twice, make.concat([a, x]))).steps()]
    assert sum("concatenation" in k for k in kernels) == 2
    assert not any("copy" in k for k in kernels)
    (both,) = (make.concat([make.conv(x, 5), a]) for _ in range(1))
    kernels = [s.kernel for s in build(make.graph(both)).steps()]
    assert sum("copy" in k for k in kernels) == (1 if VECTOR else 0)


def _records(data: bytes) -> tuple[int, int]:
    header = planfile.HEADER.unpack_from(data)
    return header[13], header[7]


def _with(data: bytes, tensor: int, **values: int) -> np.ndarray:
    """The plan with a tensor's record changed and its checksum right."""
    start, _ = _records(data)
    fields = list(planfile.TENSOR.unpack_from(data, start + TENSOR * tensor))
    for name, value in values.items():
        fields[{"offset": 13, "stride": 14}[name]] = value
    raw = bytearray(data)
    planfile.TENSOR.pack_into(raw, start + TENSOR * tensor, *fields)
    raw[12:16] = bytes(4)
    struct.pack_into("<I", raw, 12, zlib.crc32(raw))
    out = planfile.aligned(len(raw))
    out[:] = np.frombuffer(bytes(raw), np.uint8)
    return out


def _pair() -> tuple[bytes, int, int]:
    """A plan, and the tensors of two pools' outputs side by side: 6 and 6 of 12 channels."""
    make = Maker("float32")
    x = make.input("x", (1, 4, 4, 6))
    a = make.pool(x, stride=1, padding="SAME")
    b = make.pool(a, "AVERAGE_POOL_2D", stride=1, padding="SAME")
    data = bytes(build(make.graph(make.mean(make.concat([a, b]))), isa="ref").bytes)
    start, count = _records(data)
    rows = [planfile.TENSOR.unpack_from(data, start + TENSOR * i) for i in range(count)]
    first, second = (i for i, r in enumerate(rows) if r[14] == 12 and r[8] == 6)
    return data, first, second


def test_parts_lie_side_by_side_in_the_whole() -> None:
    data, first, second = _pair()
    start, _ = _records(data)
    offsets = [planfile.TENSOR.unpack_from(data, start + TENSOR * i)[13] for i in (first, second)]
    assert offsets[1] - offsets[0] == 6 * 4
    Plan(_with(data, first))


@pytest.mark.parametrize("stride", [0, 5, 7, 11, 13, 1 << 20, 1 << 31, 1 << 40, (1 << 64) - 1])
def test_wrong_strides_are_refused(stride: int) -> None:
    """Shorter than a row, beyond the arena, overflowing, or over the neighbour's channels."""
    data, first, second = _pair()
    for tensor in (first, second):
        with pytest.raises(PlanError):
            Plan(_with(data, tensor, stride=stride))


def test_overlapping_channels_are_refused() -> None:
    data, first, second = _pair()
    start, _ = _records(data)
    offset = planfile.TENSOR.unpack_from(data, start + TENSOR * first)[13]
    with pytest.raises(PlanError, match="writes over"):
        Plan(_with(data, second, offset=offset + 5 * 4))


def test_only_who_takes_rows_apart_gets_them() -> None:
    data = _pair()[0]
    start, count = _records(data)
    for i in range(count):
        fields = planfile.TENSOR.unpack_from(data, start + TENSOR * i)
        kind, rank, stride = fields[2], fields[1], fields[14]
        if kind == 0 and rank and stride != 12:
            with pytest.raises(PlanError):
                Plan(_with(data, i, stride=stride + 1))
