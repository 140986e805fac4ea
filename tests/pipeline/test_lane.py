"""The lane finder on drawn roads whose geometry is known, and on real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeinfer.io.file import VideoFile, read_image
from edgeinfer.io.virtual import VirtualRoad
from edgeinfer.pipeline.lane import ACROSS, AHEAD, Camera, LaneFinder, ridges
from edgeinfer.pipeline.messages import Box, Objects, Road
from tests.conftest import shared_path


def follow(source: VirtualRoad | VideoFile, finder: LaneFinder) -> list[Road | None]:
    """The road in every frame."""
    found = []
    while (frame := source.read()) is not None:
        found.append(finder(frame.image))
    return found


@pytest.mark.parametrize("curvature", [0.0, 0.002, -0.003])
@pytest.mark.parametrize("offset", [-0.4, 0.3])
@pytest.mark.parametrize("height", [360, 720])
def test_known_geometry(curvature: float, offset: float, height: int) -> None:
    size = (height, height * 16 // 9)
    source = VirtualRoad(frames=8, size=size, curvature=curvature, offset=offset)
    road = follow(source, LaneFinder(Camera(horizon=0.5)))[-1]
    assert road is not None
    assert road.width_m == pytest.approx(3.6, abs=0.15)
    x, y = road.centre.T
    truth = offset + 0.5 * curvature * x**2
    assert np.abs(y - truth)[x < 30].max() < 0.25
    assert road.confidence > 0.5


def test_the_horizon_is_found() -> None:
    finder = LaneFinder()
    roads = follow(VirtualRoad(frames=25, offset=0.3), finder)
    assert finder.horizon == pytest.approx(0.5, abs=0.01)
    assert roads[-1] is not None


def test_a_lane_fits_the_message() -> None:
    road = follow(VirtualRoad(frames=2), LaneFinder(Camera(horizon=0.5)))[-1]
    message = Objects(0, 0, road)
    assert Objects.from_bytes(message.to_bytes()) == message
    assert road is not None
    assert (np.diff(road.centre[:, 0]) > 0).all()


@pytest.mark.parametrize("kind", ["noise", "grey", "black"])
def test_no_lane_where_there_is_none(kind: str) -> None:
    noise = np.random.default_rng(1)
    finder = LaneFinder(Camera(horizon=0.5))
    for _ in range(6):
        image = np.full((360, 640, 3), {"grey": 120, "black": 0, "noise": 128}[kind], np.uint8)
        if kind == "noise":
            image = noise.integers(0, 256, image.shape, np.uint8)
        assert finder(image) is None


def test_a_lane_is_held_for_a_while_only() -> None:
    finder = LaneFinder(Camera(horizon=0.5))
    follow(VirtualRoad(frames=5), finder)
    blank = np.full((360, 640, 3), 90, np.uint8)
    seen = [finder(blank) is not None for _ in range(15)]
    assert seen[0]
    assert not seen[-1]


def test_the_same_frames_give_the_same_lanes() -> None:
    runs = [follow(VirtualRoad(frames=6, seed=3), LaneFinder()) for _ in range(2)]
    for a, b in zip(*runs, strict=True):
        assert Objects(0, 0, a) == Objects(0, 0, b)


def test_what_lies_in_a_box_is_no_marking() -> None:
    finder = LaneFinder(Camera(horizon=0.5))
    image = VirtualRoad(frames=1).read()
    assert image is not None
    everything = (Box(2, 0.9, 0.0, 0.0, 1.0, 1.0),)
    assert finder(image.image, everything) is None


def test_a_step_is_no_ridge() -> None:
    ground = np.full((len(AHEAD), len(ACROSS), 3), 80, np.uint8)
    ground[:, 60:] = 200  # concrete beside asphalt
    ground[:, 30:32] = 200  # a marking
    strength = ridges(ground)
    assert strength[:, 55:].max() == 0
    assert strength[:, 30:32].min() > 0.9


def test_a_yellow_line_on_bright_concrete_is_a_ridge() -> None:
    ground = np.full((len(AHEAD), len(ACROSS), 3), 190, np.uint8)
    ground[:, 30:32] = (200, 170, 60)  # darker than the concrete, but yellow
    assert ridges(ground)[:, 30:32].min() > 0.9


def test_dashcam_video() -> None:
    path = shared_path("models/road/vd_test_video.mp4")
    finder = LaneFinder()
    roads = follow(VideoFile(str(path)), finder)
    assert all(r is not None for r in roads)
    assert finder.horizon == pytest.approx(0.585, abs=0.02)
    # The car keeps its lane, left of its middle, over all 1.5 s.
    at_10m = [float(np.interp(10.0, *r.centre.T)) for r in roads if r is not None]
    assert max(at_10m) - min(at_10m) < 0.5
    assert all(3.2 < r.width_m < 4.3 for r in roads if r is not None)


def test_dashcam_picture() -> None:
    road = LaneFinder()(read_image(shared_path("models/road/solidWhiteCurve.jpg")))
    assert road is not None
    assert 3.2 < road.width_m < 4.3


def test_a_road_seen_from_the_side_is_no_lane() -> None:
    path: Path = shared_path("models/road/traffic_frames.mp4")
    assert follow(VideoFile(str(path)), LaneFinder()) == [None] * 20
