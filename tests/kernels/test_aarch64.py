"""Plans made on this host for AArch64, run under qemu: the same bytes as ref here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import edgeinfer as ei
from edgeinfer.board import load as load_board
from edgeinfer.engine.graph import Graph
from edgeinfer.engine.plan import build
from edgeinfer.engine.tensor import per_tensor
from edgeinfer.errors import PlanError
from tests import native
from tests.models import Maker, network

QEMU = shutil.which("qemu-aarch64-static")
CPUS = {"neon": "cortex-a53", "dotprod": "cortex-a76"}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if QEMU is None:
        pytest.skip("qemu-aarch64-static is not installed: apt-get install qemu-user-static")
    folder = tmp_path_factory.mktemp("aarch64")
    return native.build(folder, "engine/run_plan.c", "-static", target="aarch64")


def graphs(dtype: str) -> dict[str, Graph]:
    """Small models around the sizes of the vectors."""
    made = {"network": network(dtype)}
    for name, channels, out, kernel, stride in (
        ("odd", 3, 5, 3, 2), ("wide", 17, 33, 1, 1), ("five", 8, 16, 5, 1), ("deep", 40, 9, 3, 1),
    ):  # fmt: skip
        make = Maker(dtype, len(name))
        x = make.input("x", (1, 7, 9, channels))
        made[name] = make.graph(make.conv(x, out, kernel, stride, activation="RELU6"))
    for name, channels, kernel, stride in (("dw", 13, 3, 1), ("dw2", 24, 3, 2), ("dw5", 16, 5, 1)):
        make = Maker(dtype, channels)
        x = make.input("x", (1, 10, 11, channels))
        made[name] = make.graph(make.dw(x, kernel, stride))
    make = Maker(dtype, 3)
    made["fc"] = make.graph(make.fc(make.input("x", (3, 50)), 21))
    make = Maker(dtype, 4)
    y = make.fc(make.input("x", (99, 3)), 21)
    made["ties"] = make.graph(y)
    if y.quant is not None:
        scales = [make.nodes[-1].input(i).scale for i in range(2)]
        y.quant = per_tensor(16 * scales[0] * scales[1], y.zero)
    return made


def _run(program: Path, cpu: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [QEMU, "-cpu", cpu, program, folder / "plan", folder / "in", folder / "out", "2"]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("rounding", ["xnnpack", "tflite"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
@pytest.mark.parametrize("isa", ["neon", "dotprod"])
def test_same_bytes_as_ref(
    program: Path, tmp_path: Path, isa: str, dtype: str, rounding: str
) -> None:
    if dtype == "float32" and rounding == "tflite":
        pytest.skip("floats have no rounding mode")
    for name, graph in graphs(dtype).items():
        session = ei.Session(build(graph, isa="ref", rounding=rounding))
        rng = np.random.default_rng(1)
        view = session["x"]
        if dtype == "float32":
            view[...] = rng.standard_normal(view.shape)
        else:
            view[...] = rng.integers(0, 256, view.shape).astype(np.uint8).view(dtype)
        (tmp_path / "in").write_bytes(view.tobytes())
        session.run()
        want = np.concatenate([session[o].reshape(-1) for o in session.outputs])
        build(graph, isa=isa, rounding=rounding).save(tmp_path / "plan")
        done = _run(program, CPUS[isa], tmp_path)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        got = np.frombuffer((tmp_path / "out").read_bytes(), want.dtype)
        if dtype == "float32":
            assert np.abs(got - want).max() <= 1e-5 * max(float(np.abs(want).max()), 1e-6), name
        else:
            assert np.array_equal(got, want), name


def test_a_dotprod_plan_is_refused_by_an_older_core(program: Path, tmp_path: Path) -> None:
    build(network("int8"), isa="dotprod").save(tmp_path / "plan")
    (tmp_path / "in").write_bytes(b"")
    done = _run(program, "cortex-a53", tmp_path)
    assert done.returncode == 1
    assert "dotprod" in done.stderr
    assert "neon" in done.stderr


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
        assert all(layout.startswith(("NEON", "DOTPROD")) for layout in packed)


def test_a_foreign_plan_says_so() -> None:
    board = load_board("rpi5")
    plan = build(network("int8"), isa=board.isa)
    if board.isa in ei.engine.plan._native.isas():
        pytest.skip("this machine is such a board")
    assert plan.arena_bytes > 0
    assert list(plan.inputs) == ["x"]
    with pytest.raises(PlanError, match="'dotprod', this machine has"):
        ei.Session(plan)
