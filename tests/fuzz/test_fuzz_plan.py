"""Damaged plans with a right checksum: refused, or run within their memory, under sanitizers."""

from __future__ import annotations

import os
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from edgeinfer import _native
from edgeinfer.engine import planfile
from edgeinfer.engine.plan import Plan, build
from edgeinfer.errors import PlanError
from tests import models, sanitized
from tests.fuzz import plan_seeds

PLANS = dict(plan_seeds.seeds())
ZERO, OFFSET, KEPT = 36, 40, 64  # of a tensor record: zero point, place in the arena, bytes


def _drive(folder: Path, data: bytes, first: int, count: int) -> list[int]:
    """What the driver prints: mutants, opened, run."""
    program = sanitized.program("fuzz/plan_driver.c", sanitized.ASAN)
    (folder / "m.plan").write_bytes(data)
    command = [program, folder / "m.plan", "1", str(first), str(count), folder / "progress"]
    environment = os.environ | {"ASAN_OPTIONS": "allocator_may_return_null=1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, (folder / "progress").read_text() + done.stderr
    return [int(word) for word in done.stdout.split()]


def _changed(data: bytes, at: int, value: int) -> bytes:
    raw = bytearray(data)
    struct.pack_into("<i", raw, at, value)
    raw[12:16] = bytes(4)
    struct.pack_into("<I", raw, 12, zlib.crc32(raw))
    return bytes(raw)


@pytest.mark.parametrize("name", PLANS)
def test_mutations(name: str, tmp_path: Path) -> None:
    mutants, opened, ran = _drive(tmp_path, PLANS[name], 0, 200)
    assert mutants == 200
    assert 0 < ran <= opened < mutants


@pytest.mark.parametrize("isa", _native.isas())
def test_zero_point_beyond_its_type_is_refused(isa: str, tmp_path: Path) -> None:
    """Found by fuzzing: value - zero times weight overflowed 32 bits."""
    data = bytes(build(models.network("int8"), isa=isa).bytes)
    tensors = planfile.HEADER.unpack_from(data)[13]
    image = next(at for at in range(tensors, len(data), KEPT) if data[at] == 2)
    assert _drive(tmp_path, data, 0, 0)[2] == 1
    assert _drive(tmp_path, _changed(data, image + ZERO, 1 << 25), 0, 0)[2] == 0


@pytest.mark.parametrize("isa", _native.isas())
def test_huge_parameters(isa: str, tmp_path: Path) -> None:
    """Found by fuzzing: the unused stride of a fully connected layer overflowed."""
    make = models.Maker("int8")
    graph = make.graph(make.fc(make.input("x", (4, 8)), 5))
    data = bytes(build(graph, isa=isa).bytes)
    params, strings = planfile.HEADER.unpack_from(data)[16:18]
    for at in range(params, min(strings, params + 80), 4):
        _drive(tmp_path, _changed(data, at, 1 << 30), 0, 0)


def test_outputs_that_overlap_inputs_are_refused(tmp_path: Path) -> None:
    """Found by libFuzzer: a state half over an output was copied onto itself."""
    make = models.Maker("int8")
    plan = build(make.graph(make.softmax(make.input("x", (4, 8)))), isa="ref")
    data = bytes(plan.bytes)
    (step,) = plan.steps()
    records = planfile.HEADER.unpack_from(data)[13]
    x, y = (records + KEPT * ids[0] + OFFSET for ids in (step.inputs, step.outputs))
    (start,) = struct.unpack_from("<Q", data, x)
    path = tmp_path / "m.plan"  # mapped, so aligned as plans must be
    path.write_bytes(_changed(data, y, start))
    Plan.load(path)  # in place is allowed, though softmax would not be planned so
    path.write_bytes(_changed(data, y, start + 16))
    with pytest.raises(PlanError, match="writes over what it reads"):
        Plan.load(path)
