"""The inner loops of AArch64's 8-bit products stay as short as the README says, without spills."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "count_instructions.py"

#: Instructions a multiply-accumulate, at most.
LIMITS = {"neon/tile4": 0.23, "neon/full4": 0.29, "dotprod/tile8": 0.08, "i8mm/tile8": 0.057}


def test_inner_loops() -> None:
    spec = importlib.util.spec_from_file_location("count_instructions", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = tool
    spec.loader.exec_module(tool)
    if (
        shutil.which(tool.prefix() + "gcc") is None
        or shutil.which(tool.prefix() + "objdump") is None
    ):
        pytest.skip("no compiler for AArch64: apt-get install gcc-aarch64-linux-gnu")
    found = {f"{isa}/{name}": loop for (isa, name), loop in tool.count().items()}
    assert found.keys() == LIMITS.keys()
    for name, loop in found.items():
        assert loop.stack == 0, f"{name} spills"
        assert loop.per_mac <= LIMITS[name], f"{name}: {loop.instructions} for {loop.macs}"
