"""Tuning: tables and caches, the budget, the same results whatever is chosen."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import edgeinfer as ei
from edgeinfer import _native
from edgeinfer.board import load as load_board
from edgeinfer.cli import main
from edgeinfer.engine import layouts, tuning
from edgeinfer.engine.graph import Graph
from edgeinfer.engine.ops import Step
from edgeinfer.engine.plan import Plan, build
from edgeinfer.engine.tflite_writer import write_tflite
from edgeinfer.engine.tuning import Entry, Table
from edgeinfer.errors import PlanError
from tests.models import network

VECTOR = [isa for isa in _native.isas() if isa != "ref"]
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, for one test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


class RandomTable(Table):
    """Chooses anything for every key that is asked for."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)

    def choice(self, key: str, names: Sequence[str]) -> str | None:
        if key not in self.entries:
            self.entries[key] = Entry(self.random.choice(names))
        return super().choice(key, names)


def results(plan: Plan, threads: int = 1) -> list[np.ndarray]:
    session = ei.Session(plan, threads=threads)
    rng = np.random.default_rng(1)
    for name, tensor in session.inputs.items():
        session[name] = rng.integers(0, 100, tensor.shape).astype(tensor.dtype)
    session.run()
    return [session[name].copy() for name in session.outputs]


@pytest.mark.parametrize("isa", VECTOR)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_any_choice_gives_the_same_results(isa: str, dtype: str) -> None:
    graph = network(dtype)
    want = results(build(graph, isa=isa))
    seen = set()
    for seed in range(6):
        table = RandomTable(seed)
        plan = build(graph, isa=isa, tune=table, threads=2)
        seen.update(e.choice for e in table.entries.values())
        for a, b in zip(want, results(plan, threads=2), strict=True):
            if dtype == "float32":
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(a).max())
            else:
                np.testing.assert_array_equal(a, b)
    assert len(seen) > 2


@pytest.mark.parametrize("rounding", ["xnnpack", "tflite"])
def test_the_same_table_gives_the_same_bytes(tmp_path: Path, rounding: str) -> None:
    graph, table = network("int8"), RandomTable(3)
    first = bytes(build(graph, rounding=rounding, tune=table, threads=2).bytes)
    table.save(tmp_path / "t.json")
    again = Table.load(tmp_path / "t.json")
    assert again.entries == table.entries
    assert bytes(build(graph, rounding=rounding, tune=again, threads=2).bytes) == first
    assert not again.missing
    path = str(tmp_path / "t.json")
    assert bytes(build(graph, rounding=rounding, tune=path, threads=2).bytes) == first


def test_an_empty_table_is_the_rule() -> None:
    graph, table = network("int8"), Table()
    assert bytes(build(graph, tune=table).bytes) == bytes(build(graph).bytes)
    if "avx512vnni" in VECTOR:
        assert table.missing


def test_measured_once_then_from_the_cache(cache: Path) -> None:
    graph = network("float32")
    first = build(graph, tune=0.5, threads=2)
    (file,) = cache.rglob("*.json")
    table = Table.load(file)
    assert table.entries
    for entry in table.entries.values():
        assert entry.choice in entry.microseconds
        assert all(us > 0 for us in entry.microseconds.values())
    written = file.stat().st_mtime_ns
    assert bytes(build(graph, tune=0.5, threads=2).bytes) == bytes(first.bytes)
    assert file.stat().st_mtime_ns == written
    assert bytes(build(graph, tune=table, threads=2).bytes) == bytes(first.bytes)


@pytest.mark.parametrize("damage", ["cut", "byte", "empty", "list", "format"])
def test_a_damaged_cache_is_made_again(cache: Path, damage: str) -> None:
    graph = network("int8")
    build(graph, tune=0.2, threads=2)
    (file,) = cache.rglob("*.json")
    text = file.read_text()
    assert '"choice": "' in text
    file.write_text(
        {
            "cut": text[: len(text) // 2],
            "byte": text.replace('"choice": "', '"choice": "X', 1),
            "empty": "",
            "list": "[1, 2]",
            "format": text.replace('"format": 1', '"format": 7'),
        }[damage]
    )
    with pytest.warns(UserWarning, match="measured again"):
        build(graph, tune=0.2, threads=2)
    assert Table.load(file).entries


def test_a_damaged_table_that_was_named_is_an_error(tmp_path: Path) -> None:
    table = Table({"key": Entry("A", {"A": 1.0})})
    table.save(tmp_path / "t.json")
    text = (tmp_path / "t.json").read_text()
    (tmp_path / "t.json").write_text(text.replace('"A"', '"B"', 1))
    with pytest.raises(PlanError, match="checksum"):
        build(network("int8"), tune=tmp_path / "t.json")
    with pytest.raises(PlanError, match="nowhere"):
        build(network("int8"), tune="/nowhere.json")
    with pytest.raises(PlanError, match="seconds"):
        build(network("int8"), tune=-1.0)


def test_the_cache_may_be_unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="not cached"):
        build(network("int8"), tune=0.1, threads=2)


def test_measuring_keeps_to_its_budget() -> None:
    graph = network("float32")
    start = time.perf_counter()
    build(graph)
    plain = time.perf_counter() - start
    start = time.perf_counter()
    build(graph, tune=0.3, threads=2)
    assert time.perf_counter() - start < 0.3 + 5 * plain + 0.5


def test_models_builds_and_boards_have_caches_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b = (tuning.digest(network("int8", seed)) for seed in (0, 1))
    assert a != b
    assert tuning.digest(network("int8", 0)) == a
    paths = {tuning.cache_path(a), tuning.cache_path(b), tuning.cache_path(a, "rpi5")}
    monkeypatch.setattr(tuning, "build_id", lambda: "another")
    paths.add(tuning.cache_path(a))
    monkeypatch.setattr(tuning, "machine_id", lambda: "another")
    paths.add(tuning.cache_path(a))
    assert len(paths) == 5


def test_a_plan_for_another_machine_takes_the_boards_table(tmp_path: Path) -> None:
    isa = next(i for i in ("dotprod", "avx512vnni") if i not in _native.isas())
    graph = network("float32" if isa == "avx512vnni" else "int8")
    with pytest.raises(PlanError, match="made on the board"):
        build(graph, isa=isa, tune=1.0)
    table = RandomTable(0)
    build(graph, isa=isa, tune=table)
    lesser = [e.choice for e in table.entries.values() if "NEON" in e.choice or "AVX2" in e.choice]
    assert lesser
    (tmp_path / "board.toml").write_text(f'[board]\nname = "far"\nisa = "{isa}"\n')
    table.save(tmp_path / "tuning.json")
    board = load_board(tmp_path)
    assert board.tuning == tmp_path / "tuning.json"
    model = tmp_path / "m.tflite"
    model.write_bytes(write_tflite(graph))
    argv = ["compile", str(model), "--board", str(tmp_path), "-o"]
    assert main([*argv, str(tmp_path / "a.plan")]) == 0
    (tmp_path / "tuning.json").unlink()
    assert main([*argv, str(tmp_path / "b.plan")]) == 0
    a, b = ((tmp_path / f"{x}.plan").read_bytes() for x in "ab")
    assert a != b


def test_compile_makes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, table = tmp_path / "m.tflite", tmp_path / "t.json"
    model.write_bytes(write_tflite(network("int8")))
    argv = ["compile", str(model), "--threads", "2", "--table", str(table), "-o"]
    assert main([*argv, str(tmp_path / "a.plan"), "--tune", "0.2s"]) == 0
    assert main([*argv, str(tmp_path / "b.plan")]) == 0
    assert (tmp_path / "a.plan").read_bytes() == (tmp_path / "b.plan").read_bytes()
    assert " 0 by rule" in capsys.readouterr().out.splitlines()[-1]
    assert main([*argv[:-3], "--table", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err


def test_a_session_tunes(cache: Path) -> None:
    model = ei.engine.model.from_tflite(write_tflite(network("int8")))
    session = ei.Session(model, threads=2, tune=0.2)
    assert list(cache.rglob("*.json"))
    with pytest.raises(PlanError, match="kernels were chosen"):
        ei.Session(session.plan, tune=0.2)


def test_every_candidate_is_named_once_and_the_rule_first() -> None:
    for isa in VECTOR:
        steps = _steps(network("int8"), isa)
        for step in steps:
            found = layouts.candidates(step, isa, "xnnpack")
            layouts.pack(step, isa, "xnnpack")
            assert next(iter(found)) == step.layout
            assert all(name == packed.layout for name, packed in found.items())


def _steps(graph: Graph, isa: str) -> list[Step]:
    from edgeinfer.engine import ops, passes
    from edgeinfer.engine.plan import evaluate

    graph = passes.prepare(graph, evaluate, isa=isa, rounding="xnnpack", optimise=True)
    return [ops.lower(node, ops.Context()) for node in graph.nodes]
