"""The CarRacing scene: adapter, road network, planner, control; one short drive."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.errors import DeviceError, ShapeError
from edgeinfer.io import open_source
from edgeinfer.pipeline.control import ControlStage
from edgeinfer.pipeline.messages import Command, Frame, Objects, Road
from edgeinfer.pipeline.perception import ROAD_MODEL, RoadPerception
from edgeinfer.pipeline.planning import PlanningStage
from edgeinfer.pipeline.stage import Timing
from edgeinfer.pipeline.vehicle import CAR_RACING

TIMING = Timing(50, 8, 40)


def _straight(y: float = 0.0) -> Objects:
    centre = np.stack([np.arange(10) * 4.0, np.full(10, y)], 1)
    return Objects(0, 0, Road(centre, 13.3, 1.0, 30.0, 0.0))


def _command(objects: Objects) -> Command:
    trajectory = PlanningStage(TIMING, CAR_RACING).step({"perception": objects})
    assert trajectory is not None
    return ControlStage(TIMING, CAR_RACING).step({"planning": trajectory})


def test_model_is_small() -> None:
    assert ROAD_MODEL.stat().st_size < 300_000


def test_straight_road_is_driven_straight_and_fast() -> None:
    command = _command(_straight())
    assert abs(command.steer) < 1e-3
    assert command.throttle > 0.9
    assert command.brake == 0


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_steers_back_to_the_road(side: float) -> None:
    assert _command(_straight(8.0 * side)).steer * side > 0.02


def test_brakes_before_a_bend() -> None:
    angle = np.maximum(np.arange(10) * 4.0 - 8.0, 0) / 11.3
    centre = np.cumsum(4.0 * np.stack([np.cos(angle), np.sin(angle)], 1), 0)
    road = Road(centre - centre[0], 13.3, 1.0, 90.0, 0.0)
    assert _command(Objects(0, 0, road)).brake > 0.1


def test_line_across_the_way_stays_bounded() -> None:
    centre = np.stack([np.full(10, 6.0), np.arange(10) * 4.0], 1)
    trajectory = PlanningStage(TIMING, CAR_RACING).step(
        {"perception": Objects(0, 0, Road(centre, 13.3, 1.0, 10.0, 0.0))}
    )
    assert trajectory is not None
    assert len(trajectory.points) <= 64
    assert np.isfinite(trajectory.points).all()


def test_frame_of_another_size_is_refused() -> None:
    stage = RoadPerception(TIMING)
    stage.open()
    with pytest.raises(ShapeError, match="96"):
        stage.step({"source": Frame(0, 0, np.zeros((48, 96, 3), np.uint8))})


def test_unknown_scene_and_option_are_refused() -> None:
    pytest.importorskip("gymnasium")
    with pytest.raises(DeviceError, match="carracing"):
        open_source("sim:hovercraft")
    with pytest.raises(DeviceError, match="steps"):
        open_source("sim:carracing?steps=5000")


@pytest.mark.parametrize("randomize", [0, 1])
def test_drives_from_the_camera_alone(randomize: int) -> None:
    """150 frames on a track that no training frame shows: it moves, and stays on the road."""
    pytest.importorskip("Box2D")
    scene = open_source(f"sim:carracing?seed=1&steps=150&randomize={randomize}")
    stages = [
        RoadPerception(TIMING), PlanningStage(TIMING, CAR_RACING), ControlStage(TIMING, CAR_RACING)
    ]  # fmt: skip
    stages[0].open()
    while (frame := scene.read()) is not None:
        message = frame
        for stage in stages:
            message = stage.step({stage.inputs[0]: message})
        scene.write(message)
    assert scene.metrics.tiles > 25
    assert scene.metrics.off_road_s < 0.1
    scene.close()
