"""Plans: saved and loaded, damaged, run from C, within their memory, without allocation."""

from __future__ import annotations

import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

import edgeinfer as ei
from edgeinfer import _native
from edgeinfer.engine import planfile
from edgeinfer.engine.arena import Life, place
from edgeinfer.engine.graph import Graph
from edgeinfer.engine.plan import Plan, build
from edgeinfer.errors import PlanError, ShapeError
from tests import native
from tests.models import Maker


def small(dtype: str = "int8", seed: int = 0) -> Graph:
    """A network with a residual, a concatenation and a softmax."""
    make = Maker(dtype, seed)
    x = make.input("x", (1, 12, 12, 5))
    a = make.conv(x, 16, 3, 2, activation="RELU")
    b = make.dw(a, 3, activation="RELU6")
    c = make.add(make.conv(b, 16, 1), a)
    return make.graph(make.softmax(make.fc(make.mean(c), 7)))


def random_input(view: np.ndarray, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if view.dtype == np.float32:
        return rng.standard_normal(view.shape).astype(np.float32)
    info = np.iinfo(view.dtype)
    return rng.integers(info.min, info.max + 1, view.shape).astype(view.dtype)


def run(session: ei.Session, seed: int = 0) -> list[np.ndarray]:
    for name in session.inputs:
        session[name][...] = random_input(session[name], seed)
    session.run()
    return [session[name].copy() for name in session.outputs]


def equal(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8"])
def test_saved_plan_gives_the_same_bytes(tmp_path: Path, dtype: str) -> None:
    plan = build(small(dtype))
    plan.save(tmp_path / "m.plan")
    loaded = ei.load(tmp_path / "m.plan")
    assert isinstance(loaded, Plan)
    assert bytes(loaded.bytes) == bytes(plan.bytes)
    assert equal(run(ei.Session(plan)), run(ei.Session(loaded)))
    assert list(loaded.inputs) == ["x"]
    assert loaded.inputs["x"].shape == (1, 12, 12, 5)


def test_planning_is_reproducible() -> None:
    assert bytes(build(small()).bytes) == bytes(build(small()).bytes)


def test_a_model_can_be_planned_twice() -> None:
    graph = small()
    assert bytes(build(graph).bytes) == bytes(build(graph).bytes)


@pytest.mark.parametrize("isa", _native.isas())
@pytest.mark.parametrize("rounding", ["xnnpack", "tflite"])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_integers_are_the_same_on_every_isa_and_thread_count(
    isa: str, rounding: str, dtype: str
) -> None:
    want = run(ei.Session(build(small(dtype), isa="ref", rounding=rounding)))
    for threads in (1, 2, 3):
        plan = build(small(dtype), isa=isa, rounding=rounding)
        assert equal(run(ei.Session(plan, threads=threads)), want)


def test_c_program_runs_a_saved_plan(tmp_path: Path) -> None:
    program = native.build(tmp_path, "engine/run_plan.c")
    plan = build(small())
    plan.save(tmp_path / "m.plan")
    session = ei.Session(plan)
    want = run(session)
    (tmp_path / "in").write_bytes(session["x"].tobytes())
    for threads in ("1", "2"):
        command = [program, tmp_path / "m.plan", tmp_path / "in", tmp_path / "out", threads]
        subprocess.run(command, check=True)
        assert (tmp_path / "out").read_bytes() == want[0].tobytes()


def _damaged(data: bytes, at: int, value: int) -> np.ndarray:
    """The file with one byte changed and its checksum made right again."""
    raw = bytearray(data)
    raw[at] = value
    raw[12:16] = bytes(4)
    struct.pack_into("<I", raw, 12, zlib.crc32(raw))
    out = planfile.aligned(len(raw))
    out[:] = np.frombuffer(bytes(raw), np.uint8)
    return out


def test_damaged_plans_are_refused_by_name(tmp_path: Path) -> None:
    data = bytes(build(small()).bytes)
    flipped = bytearray(data)
    flipped[-1] ^= 1
    for content, word in (
        (b"", "cannot be read|empty"),
        (b"EIPLAN\r\n", "not a plan"),
        (data[:-64], "truncated"),
        (bytes(flipped), "checksum"),
        (data[:8] + b"\xff" + data[9:], "format"),
    ):
        (tmp_path / "bad.plan").write_bytes(content)
        with pytest.raises(PlanError, match=word):
            Plan.load(tmp_path / "bad.plan")


def test_damage_behind_a_right_checksum_never_crashes() -> None:
    """Every byte before the constants, changed: refused, or a plan that runs within its memory."""
    data = bytes(build(small(), isa="ref").bytes)
    header = planfile.HEADER.unpack_from(data)
    end = header[18]
    rng = np.random.default_rng(0)
    opened = 0
    for at in rng.choice(np.arange(16, end), 1500, replace=False):
        try:
            plan = Plan(_damaged(data, int(at), int(rng.integers(256))))
        except (PlanError, ei.EdgeInferError, MemoryError, KeyError):
            continue
        if plan.arena_bytes < 1 << 24:
            session = ei.Session(plan)
            for view in session._views.values():
                assert view.nbytes <= plan.arena_bytes
            opened += 1
    assert opened > 0


def test_a_plan_for_another_isa_is_refused() -> None:
    data = bytes(build(small(), isa="ref").bytes)
    other = next(i for i, name in enumerate(_native.ISAS) if name not in _native.isas())
    with pytest.raises(PlanError, match="compile the model again"):
        Plan(_damaged(data, 32, other))


def test_arena_is_planned_to_the_byte() -> None:
    """Chain of three: the first and third share memory, the sum of two neighbours is the least."""
    offsets, size = place([Life(100, 0, 1), Life(300, 1, 2), Life(100, 2, 3)])
    assert offsets == [320, 0, 320]
    assert size == 420
    assert place([]) == ([], 0)


def test_small_model_arena_bytes() -> None:
    """The byte count is part of the contract: a change must be meant."""
    plan = build(small(), isa="ref")
    assert plan.arena_bytes == 2496
    session = ei.Session(plan)
    assert session.memory_bytes < plan.arena_bytes + 16384


def test_no_allocation_from_the_first_to_the_thousandth_run(tmp_path: Path) -> None:
    """Counts calls of malloc and its kin in a C program that runs a plan a thousand times."""
    wrap = [f"-Wl,--wrap={f}" for f in ("malloc", "calloc", "realloc", "aligned_alloc")]
    program = native.build(tmp_path, "engine/count_allocations.c", *wrap)
    plan = build(small())
    plan.save(tmp_path / "m.plan")
    out = subprocess.run([program, tmp_path / "m.plan"], capture_output=True, text=True, check=True)
    before, during = map(int, out.stdout.split())
    assert before > 0, "the counter does not count"
    assert during == 0


def test_views_are_the_arena() -> None:
    session = ei.Session(build(small()))
    view = session["x"]
    view[...] = 3
    assert session["x"].ctypes.data == view.ctypes.data
    assert (session["x"] == 3).all()
    assert view.flags.writeable


def test_a_view_outlives_its_session() -> None:
    session = ei.Session(build(small()))
    out = run(session)
    view = session[next(iter(session.outputs))]
    del session
    assert np.array_equal(view, out[0])


def test_wrong_names_and_shapes_are_named() -> None:
    session = ei.Session(build(small()))
    with pytest.raises(KeyError, match="there are"):
        session["nothing"]
    with pytest.raises(ShapeError, match="takes int8"):
        session["x"] = np.zeros((1, 2, 3), np.int8)
    with pytest.raises(PlanError, match="ISA 'z80'"):
        build(small(), isa="z80")
    with pytest.raises(PlanError, match="rounding 'up'"):
        build(small(), rounding="up")
    with pytest.raises(ValueError, match="threads is 0"):
        ei.Session(build(small()), threads=0)


def test_profile_and_placement_name_every_step() -> None:
    session = ei.Session(build(small()))
    run(session)
    times, placed = session.profile(), session.placement()
    assert len(times) == len(placed) > 5
    assert all(
        t.microseconds >= 0 and t.kernel == p.kernel for t, p in zip(times, placed, strict=True)
    )
