"""Inline runs: sources of other rates, measured deadlines, frames limit, garbage collection."""

from __future__ import annotations

import gc
import time

import numpy as np
import pytest
from pipeline_stages import Bend, Frames, Sink, stages

from edgeinfer import board as boards
from edgeinfer.pipeline.loop import Mode
from edgeinfer.pipeline.messages import Frame, Objects, Origin
from edgeinfer.pipeline.pipeline import Pipeline
from edgeinfer.pipeline.realtime import granted
from edgeinfer.pipeline.stage import Timing


class Video(Frames):
    """Frames at any rate, stamps rounded as a file's are, starting anywhere."""

    def __init__(self, n: int, rate_hz: float, start_ns: int = 0) -> None:
        super().__init__(n)
        self.rate_hz, self.start_ns = rate_hz, start_ns

    def read(self) -> Frame | None:
        frame = super().read()
        if frame is None:
            return None
        stamp = self.start_ns + round(frame.seq * 1e9 / self.rate_hz)
        return Frame(frame.seq, stamp, frame.image)


class Slow(Bend):
    """Perception that takes 60 ms of the world's time at frame 10."""

    def step(self, inputs):
        if inputs["source"].seq == 10:
            time.sleep(0.06)
        return super().step(inputs)


def collect(source, three, **kwargs):
    events, sink = [], Sink()
    report = Pipeline(three, source, sink).run_inline(
        admit="anyway", on_event=events.append, **kwargs
    )
    return report, sink.got, events


@pytest.mark.parametrize("rate", [10.0, 24.0, 29.97, 30.0, 59.94, 100.0])
def test_every_frame_is_used_at_once_where_rates_agree(rate):
    n = 300
    report, sent, _ = collect(Video(n, rate, 12345), stages(rate_hz=rate))
    assert report.frames == n
    assert [c.seq for c in sent] == list(range(n))
    assert all(s.skipped == 0 and s.waited == 0 for s in report.stages)
    assert report.age_ms.max() < 0.01


def test_slow_source_is_held_in_between():
    report, sent, events = collect(Video(25, 25.0), stages(rate_hz=50.0))
    assert [e.mode for e in events if e.stage == "perception"] == [Mode.RUN, Mode.WAIT] * 25
    assert [c.origin for c in sent] == [Origin.NOMINAL, Origin.HELD] * 25
    assert report.commands == 50


def test_fast_source_is_skipped_through():
    report, sent, _ = collect(Video(200, 100.0), stages(rate_hz=50.0))
    assert report.commands == len(sent) == 100
    assert [c.seq for c in sent] == list(range(0, 200, 2))
    assert report.stages[0].skipped == 99


def test_stages_of_different_rates():
    three = stages()
    three[0].timing = Timing(10, 5, 40)
    three[2].timing = Timing(50, 2, 200)
    report, sent, _ = collect(Video(100, 50.0), three)
    assert [s.runs for s in report.stages] == [20, 20, 20]
    assert report.stages[2].held == 80
    assert len(sent) == 100


def test_measured_time_is_held_against_the_budget():
    """Real time of the work: 60 ms at frame 10, so frames 11 to 13 fall into it."""
    three = [Slow(Timing(50, 50, 100)), *stages(max_age_ms=200)[1:]]
    for stage in three[1:]:  # not these: the machine may be busy
        stage.timing = Timing(50, 1000, 200)
    report, _, events = collect(Frames(40), three, deadlines=True)
    seen = [e.mode for e in events if e.stage == "perception"]
    assert seen[11:13] == [Mode.BUSY, Mode.BUSY]
    assert report.stages[0].missed >= 1
    assert report.stages[0].max_ms >= 60


def test_frames_limit():
    report, sent, _ = collect(Frames(100), stages(), frames=7)
    assert report.frames == len(sent) == 7


def test_no_collection_during_a_run_and_after_it_as_before():
    during = []

    class Looks(Bend):
        def step(self, inputs) -> Objects | None:
            during.append(gc.isenabled())
            return super().step(inputs)

    assert gc.isenabled()
    collect(Frames(3), [Looks(Timing(50, 5, 40)), *stages()[1:]])
    assert during == [False] * 3
    assert gc.isenabled()


def test_error_in_a_stage_closes_everything():
    class Broken(Bend):
        def step(self, inputs):
            raise ArithmeticError("no")

    source, broken = Frames(3), Broken(Timing(50, 5, 40))
    with pytest.raises(ArithmeticError):
        Pipeline([broken, *stages()[1:]], lambda: source).run_inline()
    assert (broken.closed, source.closed, gc.isenabled()) == (1, 1, True)


def test_report_rows_are_plain():
    report, _, _ = collect(Frames(10), stages())
    rows = report.rows()
    assert [r["name"] for r in rows] == ["perception", "planning", "control"]
    assert "times_ms" not in rows[0]
    assert all(isinstance(v, str | int | float) for r in rows for v in r.values())
    assert report.stages[0].times_ms.shape == (10,)
    assert np.isclose(report.seconds, 0.18)


class Classy(Bend):
    """Notes the scheduling class that its work runs in."""

    def __init__(self, timing):
        super().__init__(timing)
        self.seen = set()

    def step(self, inputs):
        self.seen.add(granted())
        return super().step(inputs)


@pytest.mark.parametrize("deadlines", [True, False])
def test_what_is_measured_runs_in_the_boards_class(deadlines):
    """The stages' work alone, and only where it is held against budgets."""
    board = boards.load("host")
    wanted = ("fifo", board.extra["realtime"]["priority"])
    three = [Classy(Timing(50, 5, 100)), *stages(max_age_ms=200)[1:]]
    before = granted()
    report = Pipeline(three, Frames(5), None, board=board).run_inline(deadlines=deadlines)
    assert granted() == before
    refused = any("fifo" in w for w in report.warnings)
    assert three[0].seen == {wanted if deadlines and not refused else before}
    assert not (refused and not deadlines)
