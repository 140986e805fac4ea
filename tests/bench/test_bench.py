"""edgeinfer bench: real engines in processes of their own, and what is said of their times."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeinfer import _native
from edgeinfer.bench import figures, turns, worker
from edgeinfer.bench.compare import PEERS, compare, precision_of
from edgeinfer.cli import main
from edgeinfer.engine import peak
from edgeinfer.engine.model import load
from edgeinfer.pipeline.perception import ROAD_MODEL


def test_summary_of_known_times() -> None:
    found = figures.summary([np.arange(1, 51) * 1e6, np.arange(51, 102) * 1e6])
    assert (found.calls, found.median, found.p99, found.max) == (101, 51.0, 100.0, 101.0)


def test_ratio_of_known_times() -> None:
    rng = np.random.default_rng(1)
    drift = [np.full(9, 1e6) * rng.uniform(1, 3) for _ in range(30)]
    same = figures.ratio(drift, [2 * d for d in drift])
    assert (same.value, same.low, same.high) == (2.0, 2.0, 2.0)  # drift falls on both
    assert same.verdict == "ahead"
    assert figures.ratio(drift, [d / 2 for d in drift]).verdict == "behind"


def test_interval_holds_the_truth() -> None:
    """Of 200 experiments with a true ratio of 1.3, about 95 % of the intervals hold it."""
    rng = np.random.default_rng(2)
    held, level = 0, 0
    for _ in range(200):
        ours = [rng.lognormal(0, 0.1, 5) for _ in range(25)]
        other = [1.3 * rng.lognormal(0, 0.1, 5) for _ in range(25)]
        found = figures.ratio(ours, other, resamples=300)
        held += found.low <= 1.3 <= found.high
        level += figures.ratio(ours, [o / 1.3 for o in other], resamples=300).verdict == "level"
    assert 170 <= held <= 199
    assert level >= 170


def test_few_rounds_give_the_whole_range() -> None:
    ones = [np.ones(3), np.ones(3)]
    found = figures.ratio(ones, [np.full(3, 2.0), np.full(3, 4.0)])
    assert (found.value, found.low, found.high) == (3.0, 2.0, 4.0)
    with pytest.raises(ValueError, match="pairs"):
        figures.ratio(ones, ones[:1])
    assert figures.geometric_mean([1.0, 4.0]) == pytest.approx(2.0)


def test_peaks_of_this_machine() -> None:
    assert peak.macs_per_second("ref", "int8") is None
    isas = [i for i in _native.isas() if i != "ref"]
    for isa in isas:
        f32, i8 = (peak.macs_per_second(isa, d) for d in ("float32", "uint8"))
        assert f32 is not None
        assert i8 is not None
        assert 1e9 < f32 < i8 < 1e13
    if {"avx2", "avx512vnni"} <= set(isas):
        vnni, plain = (peak.macs_per_second(i, "int8") for i in ("avx512vnni", "avx2"))
        assert vnni is not None
        assert plain is not None
        assert vnni > 1.2 * plain
    assert 1e8 < peak.bytes_per_second(1 << 28) < 1e12
    assert peak.bytes_per_second(1 << 15) > peak.bytes_per_second(1 << 28)


@pytest.mark.parametrize(
    ("isa", "dtype", "threads", "seconds"),
    [(99, 0, 1, 0.01), (-1, 0, 1, 0.01), (1, 4, 1, 0.01), (1, 0, 0, 0.01), (1, 0, 65, 0.01),
     (1, 0, 1, 0.0), (1, 0, 1, float("nan")), (1, 0, 1, 1e9)],
)  # fmt: skip
def test_peak_refuses(isa: int, dtype: int, threads: int, seconds: float) -> None:
    rate = _native.ffi.new("double *")
    assert _native.lib.ei_peak_macs(isa, dtype, threads, seconds, rate) != 0
    assert _native.lib.ei_peak_read(1 << 40, 1, 0.01, rate) != 0


def test_macs_of_a_model() -> None:
    model = load(ROAD_MODEL)
    precision, macs = precision_of(model)
    assert precision == "int8"
    assert 8.5e6 < macs < 9e6
    assert sum(getattr(model, "macs").values()) == macs  # noqa: B009


def test_ours_and_litert_give_the_same_outputs() -> None:
    calls = [
        worker.edgeinfer(ROAD_MODEL, 1, {"session": {}})[2],
        worker.litert(ROAD_MODEL, 1, {})[2],
    ]
    ours, theirs = (call() for call in calls)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_comparison() -> None:
    found = compare(turns.Job(ROAD_MODEL, 1), ["litert", "onnxruntime"], rounds=4)
    assert [r.kind for r in found.rows] == ["edgeinfer", "litert"]
    assert "onnxruntime" in found.left_out  # absent, or without the twin
    for row in found.rows:
        assert row.summary.calls >= 4
        assert 0 < row.summary.median <= row.summary.p99 <= row.summary.max
        assert row.ratio.low <= row.ratio.value <= row.ratio.high
    assert found.rows[0].ratio.value == 1.0
    assert found.best_peer is found.rows[1]
    assert 0 <= found.elsewhere <= 1


def test_a_peer_that_fails_is_named(tmp_path: Path) -> None:
    """A missing interpreter, one without the peer, one that dies: each with its reason."""
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\necho 'illegal instruction' >&2\nexit 3\n")
    dying.chmod(0o755)
    pythons = {"litert": "/nowhere/python", "tflite": str(dying)}
    found = compare(turns.Job(ROAD_MODEL, 1), ["litert", "tflite", "mnn"], 1, pythons)
    assert "cannot be started" in found.left_out["litert"]
    assert "status 3: illegal instruction" in found.left_out["tflite"]
    assert re.search("No module named 'MNN'|no road.mnn beside", found.left_out["mnn"])
    assert found.verdict == "no peer ran"


@pytest.mark.skipif("avx2" not in _native.isas(), reason="needs AVX2")
def test_an_instruction_set_can_be_named() -> None:
    found = compare(turns.Job(ROAD_MODEL, 1, "avx2"), ["litert", "openvino"], 1)
    assert found.rows[0].name.endswith("(avx2)")
    assert found.peak == peak.macs_per_second("avx2", "int8", 1)
    assert found.left_out["litert"] == "cannot be told to keep to avx2"
    assert "told" not in found.left_out.get("openvino", "")


def _may_be_real_time() -> bool:
    try:
        worker.schedule(True)
        worker.schedule(False)
    except PermissionError:
        return False
    return True


def test_the_real_time_class() -> None:
    """With the privilege it runs; without, the refusal is named."""
    job = turns.Job(ROAD_MODEL, 2, realtime=True)
    if _may_be_real_time():
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
        assert compare(job, [], 2).rows[0].summary.median > 0
    else:
        with pytest.raises(turns.EngineFailed, match="PermissionError"):
            compare(job, [], 2)


def test_our_failure_is_an_error() -> None:
    with pytest.raises(turns.EngineFailed, match="threads is 99"):
        compare(turns.Job(ROAD_MODEL, 99), [], 1)


def test_the_worker_needs_only_numpy() -> None:
    """A peer's environment has none of this package."""
    code = "import sys; sys.path.insert(0, %r); import worker; print(sorted(worker.ENGINES))"
    command = [sys.executable, "-S", "-c", "import sys; sys.modules['edgeinfer'] = None; " + code]
    folder = str(Path(worker.__file__).parent)
    site = str(Path(np.__file__).parents[1])
    command[-1] = f"import sys; sys.path.append({site!r}); " + command[-1] % folder
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(PEERS) < set(re.findall(r"\w+", done.stdout))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, page = tmp_path / "x.json", tmp_path / "x.html"
    argv = ["bench", str(ROAD_MODEL), "--runs", "3", "--threads", "1,2", "--peers", "litert"]
    assert main([*argv, "--json", str(data), "--html", str(page)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"(ahead of|behind|level with) the best peer, litert [\d.]+: [\d.]+x \[", said)
    found = json.loads(data.read_text())
    assert [r["threads"] for r in found["results"]] == [1, 2]
    assert found["machine"]["isa"] == _native.best_isa()
    text = page.read_text()
    assert text.count("<svg") == text.count("</svg>") == 2
    assert not re.search(r"""(src|href)\s*=\s*["']?https?:""", text)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--peers", "tensorrt"], "peers are litert"),
        (["--python", "litert"], "PEER=PATH"),
        (["/nowhere.tflite"], "check the path"),
    ],
)
def test_wrong_options(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *([str(ROAD_MODEL)] if argv[0][0] == "-" else []), *argv]) == 2
    assert words in capsys.readouterr().err
