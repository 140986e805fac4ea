"""Real faults in real processes, and what the pipeline does about them.

The times allowed are far above what is measured, since the machine may be busy.
"""

from __future__ import annotations

import functools
import json
from xml.etree import ElementTree

import numpy as np
import pytest
from pipeline_stages import Frames, Sink, stages

from edgeinfer.cli import main
from edgeinfer.pipeline.guard import GuardLimits
from edgeinfer.pipeline.monitor import CameraMonitor
from edgeinfer.pipeline.pipeline import Pipeline
from edgeinfer.pipeline.prove import Prover, cases, contract
from edgeinfer.pipeline.stage import Timing

FTTI_MS = 700.0


def pipeline(heartbeat_ms: float = 150, age_ms: float = 0) -> Pipeline:
    three = stages(max_age_ms=200.0)
    three[0].timing, three[1].timing = Timing(50, 5, 150), Timing(50, 4, 180)
    limits = GuardLimits(heartbeat_ms=heartbeat_ms, safe_ms=300, age_ms=age_ms)
    ends = functools.partial(Frames, 100_000), functools.partial(Sink)
    return Pipeline(three, *ends, guard=limits)


def prove(node: str, kind: str, sort: str, made: Pipeline | None = None):
    made = made or pipeline()
    prover = Prover(made, contract(made, FTTI_MS), realtime={})
    (case,) = (c for c in cases(made) if (c.node, c.kind, c.sort) == (node, kind, sort))
    return prover.run(case)


@pytest.mark.parametrize(
    ("node", "kind", "sort"),
    [
        ("source", "lost", "source"),
        ("source", "black", "source"),
        ("source", "clock ahead", "source"),
        ("perception", "stall", "stage"),
        ("planning", "not finite", "stage"),
        ("control", "kill", "stage"),
        ("control", "frozen", "stage"),
        ("control", "bit errors", "link"),
        ("actuator", "lost", "sink"),
        ("machine", "disk full", "machine"),
        ("stages", "all killed", "together"),
    ],
)
def test_handled(node: str, kind: str, sort: str) -> None:
    result = prove(node, kind, sort)
    assert result.passed, result
    if kind == "kill":
        assert "SIGKILL" in result.note
    if kind == "all killed":
        assert result.silent_ms is not None, "the guard alone silences the actuator"


def test_a_slow_watchdog_turns_it_red() -> None:
    """Control dies; a guard that waits for it too long, and looks at no age, must not pass."""
    result = prove("control", "kill", "stage", pipeline(heartbeat_ms=5000, age_ms=300))
    assert result.passed, result  # the age of the data alone is enough to notice
    made = pipeline(heartbeat_ms=5000, age_ms=5000)
    terms = contract(pipeline(), FTTI_MS)
    (case,) = (c for c in cases(made) if (c.node, c.kind) == ("control", "kill"))
    assert not Prover(made, terms, realtime={}).run(case).passed


def test_the_command_writes_a_certificate(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine.py").write_text(
        "import sys\nfrom test_prove import pipeline\n\n\ndef make():\n    return pipeline()\n"
    )
    options = ["--node", "planning", "--fault", "silent", "--ftti", "0.7s"]
    assert main(["prove", "mine:make", *options]) == 0
    said = capsys.readouterr().out
    assert "YES: all 1 faults handled within 700 ms" in said
    found = json.loads((tmp_path / "out/prove/certificate.json").read_text())
    assert found["passed"]
    assert found["results"][0]["case"] == {"node": "planning", "sort": "stage", "kind": "silent"}
    suite = ElementTree.parse(tmp_path / "out/prove/junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "0")
    assert main(["prove", "mine:make", "--node", "nobody"]) == 2
    assert main(["prove", "nowhere:make"]) == 2
    assert main(["prove", "unknown"]) == 2


def road(rng: np.random.Generator) -> np.ndarray:
    ramp = np.linspace(60, 160, 96)[:, None, None] + np.linspace(0, 30, 128)[None, :, None]
    return (ramp + rng.normal(0, 3, (96, 128, 3))).clip(0, 255).astype(np.uint8)


def test_pictures_that_no_camera_gives() -> None:
    rng = np.random.default_rng(0)
    monitor = CameraMonitor()
    assert [monitor.fault(road(rng)) for _ in range(5)] == [""] * 5
    assert monitor.fault(np.zeros((96, 128, 3), np.uint8)) == "blank"
    assert monitor.fault(rng.integers(0, 256, (96, 128, 3)).astype(np.uint8)) == "noise"
    same = road(rng)
    assert [monitor.fault(same) for _ in range(3)] == ["", "frozen", "frozen"]
    monitor = CameraMonitor(limit=3)
    assert [monitor.fault(same) for _ in range(4)] == ["", "", "", "frozen"]
    monitor = CameraMonitor()
    assert [monitor.fault(same, 10.0) for _ in range(2)] == ["", "frozen"]
    assert [monitor.fault(same, 0.0) for _ in range(9)] == [""] * 9, "the vehicle may stand"
