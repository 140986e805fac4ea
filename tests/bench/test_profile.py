"""Profiles: the place of every step under the roofline, and the words made of it."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

import edgeinfer as ei
from edgeinfer import _native
from edgeinfer.bench import bottleneck
from edgeinfer.cli import main
from edgeinfer.engine.plan import Plan, build
from edgeinfer.engine.steps import StepTime
from edgeinfer.pipeline.perception import ROAD_MODEL


def step(
    kernel: str = "avx2/conv_2d_f32", us: float = 100.0, macs: int = 10**6, compute: float = 80.0,
    memory: float = 10.0, dtype: str = "float32",
) -> StepTime:  # fmt: skip
    """A step that took `us` where arithmetic needs `compute` and memory `memory` microseconds."""
    return StepTime("s", kernel, us, macs, dtype, 1000, compute, memory)


def test_where_a_step_stands() -> None:
    assert step().bound == "compute"
    assert step().peak_share == pytest.approx(0.8)
    assert step().intensity == 1000.0
    assert step(compute=5, memory=60).bound == "memory"
    assert step(compute=5, memory=20).bound == "instructions"
    assert step(us=0.5, compute=0.1, memory=0.1).bound == "overhead"
    assert step(macs=0, compute=0.0).peak_share is None
    assert StepTime("s", "ref/x", 1.0, 0, "int64", 8, None, 0.9).bound == "memory"


def test_kinds_and_shares_add_up() -> None:
    steps = [step(), step("avx2/add", 40, 0, 0.0, 30), step(us=60, compute=6, memory=1)]
    found = bottleneck.kinds(steps)
    assert [k.name for k in found] == ["conv_2d_f32", "add"]
    assert found[0].microseconds == 160
    assert found[0].peak_share == pytest.approx(86 / 160)
    shares = bottleneck.by_bound(steps)
    assert shares == pytest.approx(
        {"compute": 0.5, "memory": 0.2, "instructions": 0.3, "overhead": 0.0}
    )


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([step()], r"bound by arithmetic, at 80% of the peak: .* or int8, whose peak is 4\.0"),
        ([step("avx2/conv_2d_q8", dtype="int8")], "pruned weights would help, nothing else"),
        ([step(compute=5, memory=60)], "bound by memory: .* int8 moves a quarter"),
        ([step("avx2/hard_swish", compute=0.0)], "RELU or RELU6"),
        ([step("avx2/depthwise_conv_2d_q8", compute=9.0)], "few multiply-adds for each value"),
        ([step("ref/cos", macs=0, compute=0.0)], "no vector form"),
        ([step("avx2/pad", macs=0, compute=0.0)], "only moves or converts"),
        ([step(us=0.5, compute=0.1, memory=0.0)] * 9, "all overhead"),
    ],
)
def test_words_name_what_to_change(steps: list[StepTime], words: str) -> None:
    total = sum(s.microseconds for s in steps)
    (said,) = bottleneck.advice(steps, total, int8_gain=4.0)
    assert re.search(words, said)
    assert "100% of the time" in said


def test_time_outside_the_steps_is_named() -> None:
    said = bottleneck.advice([step()], 1000.0)
    assert re.search(r"900\.0 us of a run \(90%\) pass outside", said[0])
    assert bottleneck.advice([], 0.0) == ["Nothing stands out: no kind could gain 3 %."]


def test_small_gains_are_not_named() -> None:
    steps = [step(us=1000, compute=900), step("avx2/softmax", 5, 0, 0.0, 0.1)]
    assert len(bottleneck.advice(steps, 1005)) == 1


@pytest.mark.parametrize("isa", _native.isas())
def test_steps_of_a_real_model(isa: str) -> None:
    model = ei.load(ROAD_MODEL)
    session = ei.Session(build(model.graph, isa=isa))
    steps = session.profile(3)
    assert sum(s.macs for s in steps) == sum(model.macs.values())
    weights = ROAD_MODEL.stat().st_size
    assert sum(s.bytes for s in steps) > weights / 2
    for s in steps:
        assert s.bytes > 0
        assert s.memory_us > 0
        assert s.bound in bottleneck.BOUNDS
        timed = isa != "ref" and s.dtype in ("float32", "int8", "uint8")
        assert (s.compute_us is not None) == timed
        assert s.peak_share is None or 0 < s.peak_share < 1.5


def test_a_saved_plan_knows_its_work(tmp_path: Path) -> None:
    model = ei.load(ROAD_MODEL)
    build(model.graph).save(tmp_path / "road.plan")
    plan = Plan.load(tmp_path / "road.plan")
    assert sum(s.macs for s in plan.steps()) == sum(model.macs.values())
    assert _native.lib.ei_plan_step_macs(plan.handle, -1) == 0
    assert _native.lib.ei_plan_step_macs(plan.handle, 10**6) == 0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, data = tmp_path / "p.html", tmp_path / "p.json"
    argv = ["profile", str(ROAD_MODEL), "--runs", "5", "--html", str(page), "--json", str(data)]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert re.search(r"road.tflite: [\d.]+ ms, 8\.\d+ MMAC, [\d.]+ GMAC/s", said)
    assert re.search(r"held back by: .*\d+%", said)
    assert "\n1. " in said
    found = json.loads(data.read_text())
    assert math.isfinite(found["run_us"])
    assert {s["bound"] for s in found["steps"]} <= set(bottleneck.BOUNDS)
    text = page.read_text()
    assert text.count("<circle") == sum(s["macs"] > 0 for s in found["steps"])
    assert "nan" not in text.split("<svg", 1)[1].lower()


def test_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "/nowhere.tflite"]) == 2
    assert "check the path" in capsys.readouterr().err
