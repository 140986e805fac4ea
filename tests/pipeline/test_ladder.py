"""The overrun ladder, one test a rung (and the arithmetic of holding)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pipeline_stages import MS, PERIOD_NS, Frames, Sink, stages

from edgeinfer.pipeline.guard import GuardLimits, State
from edgeinfer.pipeline.loop import Event, Mode, advanced
from edgeinfer.pipeline.messages import Origin, Trajectory
from edgeinfer.pipeline.pipeline import Pipeline

FREE = GuardLimits(steer_rate=1e3, throttle_rate=1e3, brake_rate=1e3)


def run(n, durations=None, blind=(), limits=FREE, **kwargs):
    events: list[Event] = []
    sink = Sink()
    pipeline = Pipeline(stages(**kwargs), Frames(n, blind), sink, guard=limits)
    report = pipeline.run_inline(
        deadlines=True,
        durations=durations or (lambda stage, release: 0),
        on_event=events.append,
    )
    return report, sink.got, events


def modes(events, stage):
    return [e.mode for e in events if e.stage == stage]


def row(report, name):
    return next(s for s in report.stages if s.name == name)


def late(stage, release, ms):
    """Work of `stage` at that release lasts `ms`; all other none."""
    return lambda name, n: ms * MS if (name, n) == (stage, release) else 0


def test_nothing_late_nothing_lost():
    report, sent, events = run(20)
    assert modes(events, "control") == [Mode.RUN] * 20
    assert [c.seq for c in sent] == list(range(20))
    assert all(c.origin is Origin.NOMINAL for c in sent)
    for stage in report.stages:
        assert (stage.runs, stage.missed, stage.realigned, stage.skipped) == (20, 0, 0, 0)
    assert report.age_ms.max() == 0


def test_rung_1_overrun_is_counted_and_realigned_never_bursts():
    """Perception's release 5 lasts 50 ms: releases 6 and 7 fall into it and are gone."""
    report, _, events = run(20, late("perception", 5, 50))
    seen = modes(events, "perception")
    assert seen[5:9] == [Mode.RUN, Mode.BUSY, Mode.BUSY, Mode.RUN]
    assert len(seen) == 20  # one event a release: nothing is done twice to catch up
    perception = row(report, "perception")
    assert (perception.missed, perception.realigned, perception.runs) == (1, 2, 18)
    releases = [e.release_ns for e in events if e.stage == "perception"]
    assert {r % PERIOD_NS for r in releases} == {0}


def test_rung_2_newest_input_is_taken_and_the_skipped_are_counted():
    report, _, events = run(20, late("perception", 5, 50))
    used = [e.inputs["source"] for e in events if e.stage == "perception" and e.inputs]
    assert used[5:7] == [6, 9]  # frames 7 and 8 passed over
    assert row(report, "perception").skipped == 2


def test_late_result_comes_late_and_within_budget_at_once():
    """50 ms of work: the result is seen at the first release after, with its old stamp."""
    _, sent, events = run(20, late("perception", 5, 50))
    planning = [e for e in events if e.stage == "planning"]
    assert [e.mode for e in planning][5:9] == [Mode.WAIT, Mode.WAIT, Mode.WAIT, Mode.RUN]
    assert [c.seq for c in sent][4:9] == [4, 4, 4, 4, 8]
    _, sent, _ = run(20, late("perception", 5, 5))  # its budget: not late
    assert [c.seq for c in sent] == list(range(20))


def test_without_deadlines_nothing_is_late():
    sink = Sink()
    pipeline = Pipeline(stages(), Frames(20), sink, guard=FREE)
    report = pipeline.run_inline(durations=late("perception", 5, 50))
    assert [c.seq for c in sink.got] == list(range(20))
    assert row(report, "perception").missed == 1  # but it is still told


def test_rung_3_hold_the_last_valid_trajectory_for_a_bounded_age():
    """The road is lost at frame 10: held while the last trajectory is at most 80 ms old."""
    report, sent, _ = run(20, blind=tuple(range(10, 20)))
    origins = [c.origin for c in sent]
    assert origins[:10] == [Origin.NOMINAL] * 10
    assert origins[10:13] == [Origin.HELD] * 3 or origins[10:14] == [Origin.HELD] * 4
    held = origins.count(Origin.HELD)
    assert all((10 + k) * 20 - 180 <= 80 for k in range(held))
    assert row(report, "control").held == held == 4
    assert {c.seq for c in sent[9:]} == {9}  # it says which frame it comes from


def test_rung_3_age_is_the_stage_s_own():
    _, sent, _ = run(20, blind=tuple(range(10, 20)), max_age_ms=70.0)
    assert [c.origin for c in sent].count(Origin.HELD) == 3


def test_rung_4_safe_command():
    """No throttle, gentle brake, steering held: until something fresh comes."""
    report, sent, _ = run(30, blind=tuple(range(10, 25)))
    safe = [c for c in sent if c.origin is Origin.SAFE]
    assert len(safe) == row(report, "control").safe == 11
    assert {(c.throttle, c.brake) for c in safe} == {(0.0, float(np.float32(0.2)))}
    assert {c.steer for c in safe} == {sent[13].steer}
    assert [c.origin for c in sent[25:]] == [Origin.NOMINAL] * 5


def test_rung_4_stale_input_is_not_used():
    """Results of perception that are too old by the time they are there: releases 5 and 11."""
    _, sent, events = run(30, lambda name, n: 110 * MS * (name == "perception" and n in (5, 11)))
    assert Mode.STALE in modes(events, "planning")
    assert 5 not in [c.seq for c in sent]
    assert Origin.SAFE in [c.origin for c in sent]
    assert sent[-1].origin is Origin.NOMINAL


def test_rung_5_the_guard_goes_silent_on_its_own_clock():
    """Control itself stops: held by the guard for a heartbeat, then safe, then nothing."""
    limits = GuardLimits(heartbeat_ms=60, safe_ms=100)
    report, sent, events = run(60, late("control", 20, 1000), limits=limits)
    states = [e.text.split()[0] for e in events if e.stage == "guard"]
    names = [State[s.upper()] for s in states]
    assert names[20:23] == [State.ACTIVE] * 3
    assert names[23:28] == [State.SAFE] * 5
    assert names[29:] == [State.SILENT] * 31
    assert len(sent) == report.commands == names.index(State.SILENT)
    assert sent[-1].throttle == 0
    assert sent[-1].steer == sent[22].steer
    assert (report.guard["heartbeat"], report.guard["timeout"]) == (1, 1)


def test_nothing_is_sent_before_the_first_command():
    report, sent, _ = run(10, blind=(0, 1, 2))
    assert report.commands == len(sent) == 7
    assert sent[0].seq == 3


def straight(v=10.0):
    t = np.arange(0, 2, 0.2)
    return np.stack([t, v * t, 0 * t, v + 0 * t], 1).astype(np.float32)


def test_advanced_straight():
    moved = advanced(Trajectory(1, 2, straight(), 10.0), 0.3)
    assert moved is not None
    assert (moved.seq, moved.stamp_ns) == (1, 2)
    assert np.allclose(moved.points[0], [0, 0, 0, 10])
    assert np.allclose(moved.points[1], [0.1, 1, 0, 10], atol=1e-5)
    assert np.allclose(moved.points[-1], [1.5, 15, 0, 10], atol=1e-5)


def test_advanced_on_a_circle_stays_on_it():
    """Seen from any point of a circle, the circle looks the same: x² + (y - r)² = r²."""
    r, angle = 20.0, np.linspace(0, 1, 101)
    points = np.stack([angle * r / 5, r * np.sin(angle), r * (1 - np.cos(angle)), 5 + 0 * angle], 1)
    moved = advanced(Trajectory(0, 0, points[::4].astype(np.float32), 5.0), 1.6)
    assert moved is not None
    x, y = moved.points[:, 1].astype(float), moved.points[:, 2].astype(float)
    assert np.allclose(np.hypot(x, y - r), r, atol=0.05)
    assert moved.speed_mps == 5.0


@pytest.mark.parametrize(("seconds", "left"), [(0.0, 10), (1.5, 3), (1.7, None), (9.0, None)])
def test_advanced_ends_with_the_trajectory(seconds, left):
    moved = advanced(Trajectory(0, 0, straight()), seconds)
    assert (None if moved is None else len(moved.points)) == left


def test_advanced_keeps_speed_unknown():
    moved = advanced(Trajectory(0, 0, straight()), 0.3)
    assert moved is not None
    assert math.isnan(moved.speed_mps)
