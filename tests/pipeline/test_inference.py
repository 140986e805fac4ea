"""Perception against the clock: a result, a substitute with its age, or nothing; and its replay."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pipeline_stages import Frames, Sink

from edgeinfer.errors import ModelError, PlanError
from edgeinfer.io import open_source
from edgeinfer.pipeline.control import ControlStage
from edgeinfer.pipeline.inference import moved
from edgeinfer.pipeline.loop import Event, Mode
from edgeinfer.pipeline.messages import Frame, Message, Objects, Origin, Road
from edgeinfer.pipeline.perception import ROAD_MODEL, RoadPerception
from edgeinfer.pipeline.pipeline import Pipeline
from edgeinfer.pipeline.planning import PlanningStage
from edgeinfer.pipeline.record import replay
from edgeinfer.pipeline.stage import Timing
from edgeinfer.pipeline.vehicle import CAR_RACING

TIMING = Timing(50, 8, 60)
MS = 1_000_000


class Overrun(RoadPerception):
    """Perception that believes from frame `first` to `end` that its network needs 1000 s."""

    first, end = 10, 13

    def step(self, inputs: Mapping[str, Message]) -> Objects | None:
        times = self.session.times
        assert times is not None
        rest = 10**12 if self.first <= inputs["source"].seq < self.end else 0
        plan = times.plans[0]
        slow = replace(plan, rest_ns=tuple(rest for _ in plan.rest_ns))
        self.session.times = replace(times, plans=(slow, *times.plans[1:]))
        if self.deadline_ns is not None:
            self.deadline_ns += 10**10  # the machine's own hiccups are not the subject
        return super().step(inputs)


def shape() -> tuple[int, int, int]:
    stage = RoadPerception(TIMING)
    stage.open()
    height, width, depth = stage._image.shape
    return height, width, depth


def picture(seq: int, size: tuple[int, int, int]) -> np.ndarray:
    """Waves that move: what a camera may see."""
    rows, columns, channels = np.ogrid[: size[0], : size[1], : size[2]]
    wave = np.sin(rows / 9 + seq) + np.cos(columns / 7 - seq / 2) + 0.3 * channels
    return (128 + 40 * wave).clip(0, 255).astype(np.uint8)


class Pictures(Frames):
    """A source of them."""

    def read(self) -> Frame | None:
        found = super().read()
        return found and replace(found, image=picture(found.seq, self.shape))


def frame(seq: int) -> dict[str, Message]:
    return {"source": Frame(seq, seq * 20 * MS, picture(seq, shape()))}


def opened(**kwargs: object) -> Overrun:
    stage = Overrun(TIMING, **kwargs)  # type: ignore[arg-type]
    stage.open()
    return stage


def test_in_time_it_is_the_result_of_a_run_without_deadline() -> None:
    timed, plain = opened(), RoadPerception(TIMING)
    plain.open()
    timed.deadline_ns = time.monotonic_ns()
    assert timed.step(frame(1)) == plain.step(frame(1))
    assert timed.outcome == plain.outcome == ""


def test_the_last_road_stands_in_with_its_own_stamp() -> None:
    stage = opened(hold_ms=60_000)  # of real time: the machine may be busy
    stage.deadline_ns = time.monotonic_ns()
    seen = stage.step(frame(9))
    stage.deadline_ns = time.monotonic_ns()
    held = stage.step(frame(11))
    assert stage.outcome == "substituted:last"
    assert isinstance(seen, Objects)
    assert isinstance(held, Objects)
    assert (held.seq, held.stamp_ns) == (9, 180 * MS)
    assert seen.road is not None
    assert held.road is not None
    want = moved(seen.road, 0.04)
    assert np.array_equal(held.road.centre, want.centre)
    assert held.road.speed_mps == seen.road.speed_mps
    stage.deadline_ns = time.monotonic_ns()
    fresh = stage.step(frame(13))
    assert fresh is not None
    assert (fresh.seq, stage.outcome) == (13, "")


def test_the_road_of_a_faulty_frame_does_not_stand_in() -> None:
    stage = opened(hold_ms=60_000)
    blank = Frame(9, 180 * MS, np.zeros(shape(), np.uint8))
    assert stage.step({"source": blank}) is None
    stage.deadline_ns = time.monotonic_ns()
    assert stage.step(frame(11)) is None
    assert stage.outcome == "substituted:last"


def test_without_a_last_road_there_is_nothing_to_say() -> None:
    for stage in (opened(), opened(hold_ms=0)):
        if stage.hold_ms == 0:
            stage.step(frame(9))
        stage.deadline_ns = time.monotonic_ns()
        assert stage.step(frame(11)) is None
        assert stage.outcome == "late:nothing"


def test_a_smaller_model_sees_the_newest_frame() -> None:
    stage = opened(smaller=ROAD_MODEL)
    stage.deadline_ns = time.monotonic_ns()
    got = stage.step(frame(11))
    assert stage.outcome == "substituted:smaller"
    plain = RoadPerception(TIMING)
    plain.open()
    assert got == plain.step(frame(11))


def test_a_smaller_model_must_mean_the_same(tmp_path: Path) -> None:
    other = tmp_path / "other.tflite"
    other.write_bytes(ROAD_MODEL.read_bytes())
    text = ROAD_MODEL.with_suffix(".json").read_text()
    other.with_suffix(".json").write_text(text.replace('"step_m": ', '"step_m": 1'))
    with pytest.raises(ModelError, match=r"other\.tflite"):
        opened(smaller=other)


@pytest.mark.parametrize("yaw_rate", [0.0, 0.5, -0.5])
def test_a_moved_road_is_where_the_vehicle_sees_it(yaw_rate: float) -> None:
    """On a road that the vehicle follows exactly, the road ahead always looks the same."""
    speed = 10.0
    s = np.arange(0, 40, 2.0)
    angle = s * yaw_rate / speed
    x = s * np.sinc(angle / np.pi) if yaw_rate == 0 else np.sin(angle) * speed / yaw_rate
    y = np.zeros_like(s) if yaw_rate == 0 else (1 - np.cos(angle)) * speed / yaw_rate
    centre = np.stack((x, y), 1).astype(np.float32)
    road = moved(Road(centre, 6.0, 1.0, speed, yaw_rate), 0.6)  # three points further
    assert np.allclose(road.centre, centre[:-3], atol=1e-4)


def test_a_road_of_unknown_motion_stays_and_three_points_are_left() -> None:
    centre = np.stack((np.arange(0, 12, 2.0), np.zeros(6)), 1).astype(np.float32)
    still = Road(centre, 6.0, 1.0)
    assert moved(still, 1.0) is still
    assert math.isnan(still.speed_mps)
    assert len(moved(Road(centre, 6.0, 1.0, 100.0, 0.0), 1.0).centre) == 3


def drive(record: Path, end: int) -> tuple[list[Event], list[bytes], list[Origin]]:
    perception = Overrun(TIMING, hold_ms=100_000)  # of real time, which passes differently
    perception.end = end
    stages = [perception, PlanningStage(Timing(50, 7, 80), CAR_RACING),
              ControlStage(Timing(50, 2, 100), CAR_RACING)]  # fmt: skip
    events: list[Event] = []
    sink = Sink()
    Pipeline(stages, Pictures(30, shape=shape()), sink).run_inline(
        deadlines=True, record=record, on_event=events.append, admit="anyway"
    )
    return events, [c.to_bytes() for c in sink.got], [c.origin for c in sink.got]


def test_the_ladder_sees_the_age_and_a_replay_gives_the_same_bytes(tmp_path: Path) -> None:
    """The last road grows old: planning takes it for 80 ms, control holds on, then stops."""
    events, sent, origins = drive(tmp_path / "r.mcap", 20)
    seen = {e.release_ns // (20 * MS): e for e in events if e.stage == "perception"}
    assert {seen[k].text for k in range(10, 20)} == {"substituted:last"}
    assert [seen[k].age_ns for k in range(10, 13)] == [20 * MS, 40 * MS, 60 * MS]
    assert {seen[k].text for k in (9, 20)} == {""}
    planning = {e.release_ns // (20 * MS): e.mode for e in events if e.stage == "planning"}
    assert [planning[k] for k in (9, 11, 13, 14, 18)] == [Mode.RUN] * 3 + [Mode.STALE] * 2
    assert Origin.SAFE in origins
    stages = [RoadPerception(TIMING), PlanningStage(Timing(50, 7, 80), CAR_RACING),
              ControlStage(Timing(50, 2, 100), CAR_RACING)]  # fmt: skip
    again = replay(tmp_path / "r.mcap", stages)
    assert again.recorded == sent
    assert again.same


class Unreliable(Overrun):
    """A run in five, at random, cannot keep its time."""

    share = 0.2

    def open(self) -> None:
        super().open()
        self.rng, self.count = np.random.default_rng(3), 0

    def step(self, inputs: Mapping[str, Message]) -> Objects | None:
        self.first, self.end = (0, 1 << 60) if self.rng.random() < self.share else (0, 0)
        self.deadline_ns = time.monotonic_ns() + 10**10
        found = super().step(inputs)
        self.count += self.outcome == "substituted:last"
        return found


def test_a_fifth_of_overruns_costs_hardly_any_score() -> None:
    pytest.importorskip("Box2D")
    scores, counts = [], []
    for share in (0.0, 0.2):
        scene, perception = open_source("sim:carracing?seed=0"), Unreliable(TIMING)
        perception.share = share
        stages = [perception, PlanningStage(TIMING, CAR_RACING), ControlStage(TIMING, CAR_RACING)]
        Pipeline(stages, scene, scene).run_inline(frames=250, admit="anyway")
        scores.append(scene.metrics.score)
        counts.append(perception.count)
    assert counts[0] == 0
    assert 30 < counts[1] < 70
    assert scores[0] > 200
    assert scores[1] >= 0.95 * scores[0]


def test_an_outcome_that_cannot_be_repeated_is_named() -> None:
    stage = opened()
    stage.repeats = "substituted:smaller"
    with pytest.raises(PlanError, match="substituted:smaller"):
        stage.step(frame(1))
