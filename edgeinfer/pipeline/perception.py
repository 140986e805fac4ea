"""Perception: from a Frame to Objects. The only place where the pipeline meets the engine."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..board import Board
from ..engine.model import load
from ..engine.session import Session
from ..errors import ModelError, ShapeError
from .inference import calibrate, infer, moved, substitutes
from .messages import Frame, Message, Objects, Road
from .monitor import CameraMonitor
from .stage import Stage, Timing

#: The network that tools/train_road.py made for the CarRacing scene.
ROAD_MODEL = Path(__file__).resolve().parent.parent / "models" / "road.tflite"


class RoadPerception(Stage):
    """Frame -> Objects.road by a network that gives the centre line as a point and headings.

    `model` is a .tflite file with one input, uint8 [1, height, width, 3] of pixels, and one output
    of [n + 5] numbers: x, y (m) of the line's first point, headings (rad) of its n pieces, speed
    (m/s), yaw rate (rad/s), and the logarithm of the error (m) expected of the line. Beside it
    stands a .json with the `mean` and `deviation` that give all but the last their units, the
    length `step_m` of a piece and `road_width_m`.

    Against the clock the network has the stage's budget. Where it cannot keep it, `smaller` stands
    in, a model of the same inputs, outputs and .json; else the last road, for at most `hold_ms`
    (by default `timing.max_age_ms`), moved on by its own speed, with the stamp of the frame it was
    seen in: those who read it see its age.
    """

    name = "perception"
    inputs = ("source",)

    def __init__(
        self,
        timing: Timing,
        model: str | Path = ROAD_MODEL,
        board: str | Board = "host",
        threads: int = 1,
        smaller: str | Path | None = None,
        hold_ms: float | None = None,
    ) -> None:
        self.timing, self.path, self.board, self.threads = timing, Path(model), board, threads
        self.smaller, self.hold_ms = smaller, hold_ms

    def open(self) -> None:
        """Load the model and plan it for the board."""
        record = _record(self.path.with_suffix(".json"))
        self._mean = np.array(record["mean"], np.float32)
        self._deviation = np.array(record["deviation"], np.float32)
        self._width, self._step = float(record["road_width_m"]), float(record["step_m"])
        if self.smaller is not None and _record(Path(self.smaller).with_suffix(".json")) != record:
            raise ModelError(f"{self.smaller}: its .json is not that of {self.path}")
        self.session = Session(
            load(self.path), self.board, self.threads,
            substitutes=substitutes(self.timing, self.smaller, self.hold_ms),
        )  # fmt: skip
        calibrate(self.session)
        # Number and stamp of the frame that the last road was seen in, if it was worth seeing.
        self._seen: tuple[int, int] | None = None
        (self._in,), (self._out,) = self.session.inputs, self.session.outputs
        self._image = self.session[self._in][0]
        out = self.session.outputs[self._out]
        self._scale, self._zero = out.scale, out.zero
        self._monitor = CameraMonitor()
        if out.count != len(self._mean) + 1:
            raise ModelError(
                f"{self.path}: {out.count} outputs, {len(self._mean) + 1} expected from its .json"
            )

    def step(self, inputs: Mapping[str, Message]) -> Objects | None:
        """The road in the newest frame, or what stands in for it; nothing where the camera is at
        fault.
        """
        frame = inputs["source"]
        assert isinstance(frame, Frame)
        if frame.image.shape != self._image.shape:
            raise ShapeError(
                f"frame {frame.seq} is {frame.image.shape}, {self.path.name} takes "
                f"{self._image.shape}: use a source of that size"
            )
        self._image[...] = frame.image
        outcome = infer(self, self.session)
        held = outcome.substitute == "last"
        if not outcome.valid or (held and self._seen is None):
            self._monitor.fault(frame.image)
            return None
        road = self._road()
        fault = self._monitor.fault(frame.image, road.speed_mps)
        if not held:
            self._seen = None if fault else (frame.seq, frame.stamp_ns)
        if fault or self._seen is None:
            return None
        seq, stamp = self._seen
        return Objects(seq, stamp, moved(road, (frame.stamp_ns - stamp) / 1e9))

    def _road(self) -> Road:
        raw = self.session[self._out].reshape(-1).astype(np.float32)
        values = self._scale * (raw - self._zero)
        real = values[:-1] * self._deviation + self._mean
        pieces = self._step * np.stack((np.cos(real[2:-2]), np.sin(real[2:-2])), 1)
        centre = real[:2] + np.concatenate((np.zeros((1, 2)), np.cumsum(pieces, 0)))
        # One half where the line may well be a quarter of the road's width off.
        confidence = 1.0 / (1.0 + 4.0 * math.exp(float(values[-1])) / self._width)
        speed, yaw_rate = max(float(real[-2]), 0.0), float(real[-1])
        return Road(centre.astype(np.float32), self._width, confidence, speed, yaw_rate)


def _record(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError) as exc:
        raise ModelError(f"{path}: not readable ({exc}); it belongs beside the model") from exc
