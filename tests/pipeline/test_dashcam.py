"""Detectors: recognised by their outputs, right on real pictures."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest

from edgeinfer.engine.tensor import Tensor
from edgeinfer.errors import UnsupportedError
from edgeinfer.io.file import VideoFile, read_image
from edgeinfer.pipeline.detection import COCO80, DashcamPerception, Detector, recognise
from edgeinfer.pipeline.messages import Objects
from edgeinfer.pipeline.stage import Timing
from tests.conftest import shared_path

FASTEST = "models/detect/FastestDet_full_integer_quant.derived.tflite"
SSD = "models/detect/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"


def outputs(*shapes: tuple[int, ...]) -> dict[str, Tensor]:
    """Float outputs of these shapes."""
    return {f"o{i}": Tensor(f"o{i}", s, "float32") for i, s in enumerate(shapes)}


@pytest.mark.parametrize(
    ("shapes", "decoder"),
    [
        (((1, 10, 4), (1, 10), (1, 10), (1,)), "ssd"),
        (((1, 22, 22, 85),), "fastestdet"),
        (((1, 6300, 85),), "yolo5"),
    ],
)
def test_recognised_by_shape(shapes: tuple[tuple[int, ...], ...], decoder: str) -> None:
    assert recognise(outputs(*shapes)) == decoder


@pytest.mark.parametrize("shapes", [((1, 1001),), ((1, 513, 513),), ((1, 4), (1, 4))])
def test_what_is_no_detector_says_what_to_do(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(UnsupportedError, match="--decoder"):
        recognise(outputs(*shapes))


def test_coco_names() -> None:
    assert len(COCO80) == 80
    assert (COCO80[0], COCO80[2], COCO80[79]) == ("person", "car", "toothbrush")


@pytest.mark.parametrize("model", [FASTEST, SSD])
def test_two_cars_ahead(model: str) -> None:
    detector = Detector(shared_path(model))
    found = detector(read_image(shared_path("models/road/vd_test1.jpg")))
    cars = np.array([b[2:] for b in map(astuple, found) if detector.labels[b[0]] == "car"])
    pixels = cars * np.array([1280, 720, 1280, 720])
    # Corners by eye, in pixels of the 1280x720 picture.
    for truth in ((818, 413, 942, 497), (1058, 401, 1268, 507)):
        near = np.abs(pixels - truth).max(1) < 30
        assert near.sum() == 1


def test_a_vehicle_in_every_frame() -> None:
    stage = DashcamPerception(Timing(25, 100, 200), shared_path(FASTEST))
    source = VideoFile(str(shared_path("models/road/vd_test_video.mp4")))
    stage.open()
    vehicles, lanes, count = 0, 0, 0
    while (frame := source.read()) is not None:
        objects = stage.step({"source": frame})
        assert isinstance(objects, Objects)
        assert (objects.seq, objects.stamp_ns) == (frame.seq, frame.stamp_ns)
        vehicles += any(COCO80[b.label] in ("car", "truck", "bus") for b in objects.boxes)
        lanes += objects.road is not None
        count += 1
    stage.close()
    assert (vehicles, lanes, count) == (38, 38, 38)
