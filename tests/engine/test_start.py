"""Starting: what is imported, how large the library is, how much memory a process takes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeinfer import _native
from edgeinfer.engine.plan import Plan, build
from tests.models import Maker

LIBRARY_BYTES = 600_000
#: What a process may take beside weights and arena: code, bookkeeping, Python's objects.
REST_BYTES = 4_000_000


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved plan of some megabytes of weights."""
    make = Maker("int8")
    x = make.input("x", (1, 64, 64, 8))
    x = make.conv(make.conv(x, 64, 3, 2), 256, 3, 2)
    for _ in range(3):
        x = make.conv(x, 512, 3, 2)
    path = tmp_path_factory.mktemp("start") / "m.plan"
    build(make.graph(make.softmax(make.fc(make.mean(x), 10)))).save(path)
    return path


def python(code: str, *args: object) -> str:
    """What a fresh process of Python prints."""
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_import_is_light() -> None:
    code = "import sys, edgeinfer; print(*(m for m in sys.modules if m.startswith('edgeinfer.')))"
    assert python(code + "; assert 'numpy' not in sys.modules").split() == []


def test_a_saved_plan_runs_without_readers_and_planner(plan: Path) -> None:
    code = """
import sys
import numpy
before = set(sys.modules)
import edgeinfer
edgeinfer.Session(edgeinfer.load(sys.argv[1])).run()
print(*sorted(set(sys.modules) - before))
"""
    found = set(python(code, plan).split())
    ours = {m.removeprefix("edgeinfer.") for m in found if m.startswith("edgeinfer.")}
    assert ours == {
        "_call", "_edgeinfer", "_edgeinfer.lib", "_native", "errors", "engine", "engine.model",
        "engine.outcome", "engine.saved", "engine.session", "engine.tensor",
    }  # fmt: skip
    assert not found & {"cv2", "torch", "ai_edge_litert", "can", "cantools", "gymnasium", "logging"}
    assert len(found) - len(ours) < 12, found


@pytest.mark.skipif(shutil.which("strip") is None, reason="needs strip (binutils)")
def test_the_library_is_small(tmp_path: Path) -> None:
    copy = tmp_path / "library.so"
    shutil.copy(_native.library(), copy)
    subprocess.run(["strip", copy], check=True)
    assert copy.stat().st_size <= LIBRARY_BYTES


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's smaps")
def test_weights_are_mapped_and_memory_is_what_was_planned(plan: Path) -> None:
    code = """
import sys
import numpy
def resident(name):
    with open("/proc/self/" + name) as file:
        lines = file.read().splitlines()
    return lines, sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Rss:"))
before = resident("smaps_rollup")[1]
import edgeinfer
session = edgeinfer.Session(edgeinfer.load(sys.argv[1]))
for _ in range(3):
    session.run()
print(resident("smaps_rollup")[1] - before, session.arena_bytes)
lines = resident("smaps")[0]
at = next(i for i, line in enumerate(lines) if line.endswith(sys.argv[1]))
print(next(line.split()[1] for line in lines[at:] if line.startswith("Anonymous:")))
"""
    grown, arena, copied = map(int, python(code, plan).split())
    weights = plan.stat().st_size
    assert weights > REST_BYTES, "a copy of the weights must show"
    assert Plan.load(plan).arena_bytes == arena
    assert grown <= weights + arena + REST_BYTES
    assert copied == 0
