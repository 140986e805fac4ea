"""The engine under AddressSanitizer, UBSan, ThreadSanitizer and valgrind."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import edgeinfer as ei
from edgeinfer import _native
from edgeinfer.engine.plan import build
from tests import models, sanitized
from tests.fuzz import plan_seeds

RUNS = 3  # of run_plan.c: state goes on from one to the next


def _saved(folder: Path, graph: ei.Graph, isa: str) -> list[bytes]:
    """Writes plan and input to the folder; returns the outputs' bytes after `RUNS` runs."""
    plan = build(graph, isa=isa)
    plan.save(folder / "m.plan")
    session, feeds = ei.Session(plan), models.random_inputs(graph)
    (folder / "in").write_bytes(b"".join(feeds[name].tobytes() for name in session.inputs))
    for name, value in feeds.items():
        session[name][...] = value
    for _ in range(RUNS):
        session.run()
    return [np.ascontiguousarray(session[name]).tobytes() for name in session.outputs]


def _run(*command: object, **environment: str) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stdout + done.stderr


GRAPHS = {
    "network": models.network,
    "operators": plan_seeds.operators,
    "variables": lambda dtype: models.variables(),
    "hybrid": lambda dtype: models.hybrid(models.network("float32")),
}


@pytest.mark.parametrize("isa", _native.isas())
@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8"])
@pytest.mark.parametrize("name", GRAPHS)
def test_address_and_undefined(name: str, dtype: str, isa: str, tmp_path: Path) -> None:
    program = sanitized.program("engine/run_plan.c", sanitized.ASAN)
    want = b"".join(_saved(tmp_path, GRAPHS[name](dtype), isa))
    for threads in (1, 2, 3):
        _run(program, tmp_path / "m.plan", tmp_path / "in", tmp_path / "out", threads)
        assert (tmp_path / "out").read_bytes() == want


def test_threads(tmp_path: Path) -> None:
    program = sanitized.program("engine/two_sessions.c", sanitized.TSAN)
    build(models.network("int8")).save(tmp_path / "m.plan")
    _run(program, tmp_path / "m.plan", 1000, 3)


@pytest.mark.parametrize(
    ("threads", "cores", "cancels"), [(1, 0, 50_000), (3, 0, 50_000), (1, 1, 5000), (3, 2, 5000)]
)
def test_cancels(threads: int, cores: int, cancels: int, tmp_path: Path) -> None:
    """Together 10^5 runs cancelled at random moments, then a close in the midst of them."""
    program = sanitized.program("engine/cancel_runs.c", sanitized.TSAN)
    build(models.network("int8", size=6)).save(tmp_path / "m.plan")
    _run(program, tmp_path / "m.plan", cancels, threads, cores)


@pytest.mark.parametrize("threads", [1, 3])
def test_turns(threads: int, tmp_path: Path) -> None:
    program = sanitized.program("engine/turns.c", sanitized.TSAN)
    build(models.network("int8")).save(tmp_path / "m.plan")
    _run(program, tmp_path / "m.plan", threads)


@pytest.mark.parametrize("isa", [i for i in _native.isas() if i in ("ref", "avx2", "neon")])
def test_valgrind(isa: str, tmp_path: Path) -> None:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        pytest.skip("needs valgrind, not installed here")
    program = sanitized.program("engine/run_plan.c", sanitized.DEBUG)
    want = b"".join(_saved(tmp_path, models.network("int8"), isa))
    check = [valgrind, "--quiet", "--error-exitcode=9", "--leak-check=full"]
    _run(*check, program, tmp_path / "m.plan", tmp_path / "in", tmp_path / "out", 1)
    assert (tmp_path / "out").read_bytes() == want
