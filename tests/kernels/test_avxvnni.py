"""AVX-VNNI: its sources, compiled in EVEX encoding, against ref on machines with AVX-512 VNNI; what
the build itself makes of them is VEX. Where the machine has AVX-VNNI, test_variants runs that."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cases import PARTS, Case, cases
from test_aarch64 import _outputs, _write
from test_variants import check, reference, results

from edgeinfer import _build, _native
from edgeinfer.engine.plan import build
from tests import native
from tests.models import network, random_inputs

ISA = "avxvnni"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if "avx512vnni" not in _native.isas():
        pytest.skip("this machine has no AVX-512 VNNI")
    folder = tmp_path_factory.mktemp(ISA)
    evex = ("-mno-avxvnni", "-mavx512vl", "-mavx512vnni", "-DEI_AVXVNNI_IN_EVEX")
    sources = [
        (s, (*f, *evex) if ISA in Path(s).parts or s.endswith("engine/isa.c") else f)
        for s, f in _build.sources()
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_build, "sources", lambda target=None: sources)
        return native.build(folder, "kernels/run_cases.c")


def _run(program: Path, *arguments: Any) -> list[str]:
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.parametrize(("group", "dtype", "rounding"), PARTS)
def test_equal_to_ref(program: Path, tmp_path: Path, group: str, dtype: str, rounding: str) -> None:
    names = _run(program)
    tables = {isa: tuple(k for k in names if k.startswith(isa + "/")) for isa in (ISA, "avx2")}
    found = zip(cases(group, dtype), reference(group, dtype, rounding), strict=True)
    own = [(c, want) for c, want in found if c.expected(tables, ISA) in tables[ISA]]
    if not own:
        pytest.skip(f"{ISA} adds no kernel for these")
    for i, (case, _) in enumerate(own):
        _write(tmp_path, i, case, ISA, rounding)
    for i, ((case, want), ran) in enumerate(
        zip(own, _run(program, tmp_path, len(own)), strict=True)
    ):
        note = f"{rounding}: {case.name}"
        assert case.expected(tables, ISA) in ran.split(), f"{note}: ran on {ran}"
        check(case, want, _outputs(tmp_path / f"{i}.out", want), note)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_network(program: Path, tmp_path: Path, dtype: str) -> None:
    graph = network(dtype)
    case = Case("network", (), graph, random_inputs(graph))
    _, want = results(build(graph, isa="ref"), case)
    _write(tmp_path, 0, case, ISA, "xnnpack")
    assert "avxvnni/conv_2d_q8" in _run(program, tmp_path, 1)[0].split()
    check(case, want, _outputs(tmp_path / "0.out", want), dtype)


@pytest.mark.skipif(_build.machine() != "x86_64", reason="x86's")
def test_the_build_encodes_vex_alone(tmp_path: Path) -> None:
    if shutil.which("objdump") is None:
        pytest.skip("objdump is not installed: apt-get install binutils")
    source = "csrc/kernels/avxvnni/gemm_q8.c"
    flags = dict(_build.sources())[source]
    command = [native.compiler(), *flags, "-Icsrc", "-c", source, "-o", str(tmp_path / "o")]
    subprocess.run(command, cwd=_build.ROOT, check=True)
    code = subprocess.run(
        ["objdump", "-d", tmp_path / "o"], check=True, capture_output=True, text=True
    ).stdout
    products = [line for line in code.splitlines() if "vpdpbusd" in line]
    assert len(products) == 2 * (1 + 2 + 3 + 4 + 5 + 6)
    assert all("{vex} vpdpbusd" in line for line in products)
    assert not re.search(r"%zmm|%[xy]mm(1[6-9]|[23]\d)|%k\d|\t62 ", code)
