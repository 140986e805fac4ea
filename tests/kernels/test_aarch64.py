"""Plans made on this host for AArch64, run under qemu: the same bytes as ref here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import PARTS, Case, cases
from test_variants import check, reference, results

import edgeinfer as ei
from edgeinfer.board import load as load_board
from edgeinfer.engine.plan import build
from edgeinfer.errors import PlanError
from tests import native
from tests.models import network, random_inputs

QEMU = shutil.which("qemu-aarch64-static")
CPUS = {"neon": "cortex-a53", "dotprod": "cortex-a76", "i8mm": "max"}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if QEMU is None:
        pytest.skip("qemu-aarch64-static is not installed: apt-get install qemu-user-static")
    folder = tmp_path_factory.mktemp("aarch64")
    return native.build(folder, "kernels/run_cases.c", "-static", target="aarch64")


def _run(program: Path, isa: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [QEMU, "-cpu", CPUS[isa], program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def tables(program: Path) -> dict[str, tuple[str, ...]]:
    """ISA -> the kernels it adds."""
    found = _run(program, "i8mm").stdout.split()
    return {isa: tuple(k for k in found if k.split("/")[0] == isa) for isa in ("ref", *CPUS)}


def _write(folder: Path, number: int, case: Case, isa: str, rounding: str) -> None:
    plan = build(case.graph, isa=isa, rounding=rounding)
    plan.save(folder / f"{number}.plan")
    (folder / f"{number}.in").write_bytes(b"".join(case.feeds[n].tobytes() for n in plan.inputs))


def _outputs(path: Path, like: list[np.ndarray]) -> list[np.ndarray]:
    raw, at, found = path.read_bytes(), 0, []
    for w in like:
        part = np.frombuffer(raw, w.dtype, w.size, at)
        found.append(part.reshape(w.shape))
        at += w.nbytes
    return found


@pytest.mark.parametrize(("group", "dtype", "rounding"), PARTS)
@pytest.mark.parametrize("isa", list(CPUS))
def test_equal_to_ref(
    program: Path, tables: Any, tmp_path: Path, isa: str, group: str, dtype: str, rounding: str
) -> None:
    """The cases that a kernel of the ISA's own table runs, as on the other machines."""
    found = zip(cases(group, dtype), reference(group, dtype, rounding), strict=True)
    own = [(c, want) for c, want in found if c.expected(tables, isa) in tables[isa]]
    if not own:
        pytest.skip(f"{isa} adds no kernel for these")
    for i, (case, _) in enumerate(own):
        _write(tmp_path, i, case, isa, rounding)
    done = _run(program, isa, tmp_path, len(own))
    assert done.returncode == 0, done.stderr
    for i, ((case, want), ran) in enumerate(zip(own, done.stdout.splitlines(), strict=True)):
        note = f"{isa} {rounding}: {case.name}"
        kernel = case.expected(tables, isa)
        assert kernel in ran.split(), f"{note}: ran on {ran}, not on {kernel}"
        check(case, want, _outputs(tmp_path / f"{i}.out", want), note)


@pytest.mark.parametrize("isa", list(CPUS))
def test_every_kernel_has_cases(tables: Any, isa: str) -> None:
    parts = {(group, dtype) for group, dtype, _ in PARTS}
    tried = {c.expected(tables, isa) for part in parts for c in cases(*part)}
    assert tables[isa]
    assert set(tables[isa]) <= tried, sorted(set(tables[isa]) - tried)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("isa", list(CPUS))
def test_network(program: Path, tmp_path: Path, isa: str, dtype: str) -> None:
    graph = network(dtype)
    case = Case("network", (), graph, random_inputs(graph))
    _, want = results(build(graph, isa="ref"), case)
    _write(tmp_path, 0, case, isa, "xnnpack")
    assert _run(program, isa, tmp_path, 1).returncode == 0
    check(case, want, _outputs(tmp_path / "0.out", want), dtype)


@pytest.mark.parametrize(("isa", "older"), [("dotprod", "neon"), ("i8mm", "dotprod")])
def test_a_plan_is_refused_by_an_older_core(
    program: Path, tmp_path: Path, isa: str, older: str
) -> None:
    graph = network("int8")
    _write(tmp_path, 0, Case("network", (), graph, random_inputs(graph)), isa, "xnnpack")
    done = _run(program, older, tmp_path, 1)
    assert done.returncode == 1
    assert isa in done.stderr
    assert older in done.stderr


def test_packed_kernels_are_what_a_plan_names() -> None:
    """No convolution of the plan is left in its natural layout: it would run on ref."""
    from edgeinfer.engine import layouts, ops, partition, passes
    from edgeinfer.engine.plan import evaluate

    for isa in CPUS:
        graph = passes.prepare(network("int8"), evaluate, isa=isa, rounding="xnnpack")
        steps, _ = partition.lower_all(graph, ops.Context(), None)
        for step in steps:
            layouts.pack(step, isa, "xnnpack")
        packed = {s.layout for s in steps if s.op in ("CONV_2D", "DEPTHWISE_CONV_2D")}
        assert "NATURAL" not in packed
        assert all(layout.startswith(("NEON", "DOTPROD", "I8MM")) for layout in packed)


def test_a_foreign_plan_says_so() -> None:
    board = load_board("rpi5")
    plan = build(network("int8"), isa=board.isa)
    if board.isa in ei.engine.plan._native.isas():
        pytest.skip("this machine is such a board")
    assert plan.arena_bytes > 0
    assert list(plan.inputs) == ["x"]
    with pytest.raises(PlanError, match="'dotprod', this machine has"):
        ei.Session(plan)
