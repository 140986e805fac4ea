"""Metrics against the report of the same run, read back by Prometheus' own parser."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path

import pytest
from pipeline_stages import Frames, stages

from edgeinfer.errors import EdgeInferError
from edgeinfer.pipeline import metrics as module
from edgeinfer.pipeline.loop import Event, Mode, Words
from edgeinfer.pipeline.metrics import Metrics
from edgeinfer.pipeline.pipeline import Pipeline
from edgeinfer.pipeline.statistics import RunReport

parser = pytest.importorskip("prometheus_client.parser", reason="pip install prometheus-client")


def samples(text: str) -> dict[tuple[str, str], float]:
    """(name, values of the labels in the order of the alphabet) -> value."""
    return {
        (s.name, " ".join(sorted(s.labels.values()))): s.value
        for family in parser.text_string_to_metric_families(text)
        for s in family.samples
    }


def drive(metrics: Metrics, frames: int) -> RunReport:
    pipeline = Pipeline(stages(), Frames(frames))
    metrics.declare(pipeline.timings)
    late = {"planning": 30_000_000}
    return pipeline.run_inline(
        on_event=metrics.add, deadlines=True, admit="anyway",
        durations=lambda name, seq: late.get(name, 1_000_000) if seq % 5 == 0 else 1_000_000,
    )  # fmt: skip


def test_counts_are_those_of_the_report() -> None:
    metrics = Metrics()
    report = drive(metrics, 60)
    found = samples(metrics.text())
    assert found["edgeinfer_frames_total", ""] == report.frames
    assert found["edgeinfer_commands_total", ""] == report.commands
    assert found["edgeinfer_command_age_seconds_sum", ""] == pytest.approx(
        report.age_ms.sum() / 1e3
    )
    for s in report.stages:
        assert found["edgeinfer_stage_overruns_total", s.name] == s.missed
        assert found["edgeinfer_stage_skipped_inputs_total", s.name] == s.skipped
        assert found["edgeinfer_stage_duration_seconds_count", s.name] == len(s.times_ms)
        assert found["edgeinfer_stage_budget_seconds", s.name] == s.budget_ms / 1e3
        assert found["edgeinfer_stage_releases_total", f"{s.name} run"] == s.runs
    assert report.stages[1].missed > 0
    assert found["edgeinfer_mode", "nominal"] == 1
    assert found["edgeinfer_guard_state", "active"] == 1


def test_counters_go_on_over_runs() -> None:
    metrics = Metrics()
    drive(metrics, 10)
    before = samples(metrics.text())
    drive(metrics, 10)
    after = samples(metrics.text())
    for key, value in before.items():
        if key[0].endswith(("_total", "_count", "_bucket")):
            assert after[key] >= value, key
    assert after["edgeinfer_frames_total", ""] == 2 * before["edgeinfer_frames_total", ""]


def test_substitutes_refusals_and_lost_commands() -> None:
    metrics = Metrics()
    metrics.add(Event("perception", Mode.RUN, 1, text="substituted:last"))
    words = str(Words("safe", "stale", "safe", "minimal-risk/emergency_stop"))
    metrics.add(Event("guard", Mode.LOST, 1, text=words))
    metrics.add(Event("modes", Mode.RUN, 1, text="nominal/none -> degraded/none: heat"))
    found = samples(metrics.text())
    assert found["edgeinfer_stage_substitutes_total", "perception substituted:last"] == 1
    assert found["edgeinfer_guard_offers_total", "stale"] == 1
    assert found["edgeinfer_commands_lost_total", ""] == 1
    assert found["edgeinfer_mode_transitions_total", ""] == 1
    assert found["edgeinfer_mode", "minimal-risk"] == 1


def test_served_and_written(tmp_path: Path) -> None:
    metrics = Metrics()
    drive(metrics, 5)
    with metrics.serve(":0") as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            assert samples(answer.read().decode()) == samples(metrics.text())
        with pytest.raises(OSError, match="in use"), metrics.serve(f":{port}"):
            pass
    with socket.socket() as free:
        assert free.connect_ex(("127.0.0.1", port)) != 0, "closed with the block"
    metrics.write(tmp_path / "edgeinfer.prom")
    assert samples((tmp_path / "edgeinfer.prom").read_text()) == samples(metrics.text())


@pytest.mark.parametrize("address", ["9090", "x", ":", ":99999", "host:name"])
def test_wrong_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"), Metrics().serve(address):
        pass


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    with pytest.raises(EdgeInferError, match=r"pip install edgeinfer\[metrics\]"):
        module.Metrics()
