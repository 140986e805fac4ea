"""Pictures for people: what the pipeline saw and decided, drawn on the frame; and video files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DeviceError
from .pipeline.messages import Box, Command, Objects, Origin, Trajectory

#: Projects points [n, 2] of the vehicle frame (m) to pixels [n, 2] (column, row) of the frame.
Project = Callable[[np.ndarray], np.ndarray]

ROAD, PATH, BOX = (60, 200, 255), (80, 255, 120), (255, 180, 40)
_ORIGIN = {Origin.NOMINAL: (80, 255, 120), Origin.HELD: (255, 200, 60), Origin.SAFE: (255, 80, 80)}


def _cv2() -> Any:
    import cv2

    return cv2


def enlarge(image: np.ndarray, width: int) -> tuple[np.ndarray, float]:
    """A copy at least `width` pixels wide (whole multiples, pixels kept), and its scale."""
    scale = max(-(-width // image.shape[1]), 1)
    return np.repeat(np.repeat(image, scale, 0), scale, 1), float(scale)


def line(image: np.ndarray, points: np.ndarray, colour: tuple[int, int, int], width: int) -> None:
    """A polyline through pixels [n, 2]; what lies outside is cut."""
    cv2 = _cv2()
    near = points[np.all(np.abs(points) < 1e5, axis=1)]
    if len(near) > 1:
        at = np.rint(near * 8).astype(np.int32)
        cv2.polylines(image, [at], False, colour, width, cv2.LINE_AA, 3)


def text(image: np.ndarray, at: tuple[int, int], said: str, size: float = 0.5) -> None:
    """Light text on a dark edge, readable on any ground."""
    cv2 = _cv2()
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(image, said, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, width, cv2.LINE_AA)


def boxes(image: np.ndarray, found: Sequence[Box], labels: Sequence[str]) -> None:
    """Boxes with label and score."""
    cv2, (h, w) = _cv2(), image.shape[:2]
    for b in found:
        a, c = (round(b.x0 * w), round(b.y0 * h)), (round(b.x1 * w), round(b.y1 * h))
        cv2.rectangle(image, a, c, BOX, 2, cv2.LINE_AA)
        name = labels[b.label] if 0 <= b.label < len(labels) else str(b.label)
        text(image, (a[0], max(a[1] - 5, 12)), f"{name} {b.score:.2f}")


def gauge(image: np.ndarray, command: Command | None) -> None:
    """Steering, throttle and brake in a strip at the lower edge."""
    cv2, (h, w) = _cv2(), image.shape[:2]
    band = image[h - 46 :]
    band[:] = band // 3
    if command is None:
        text(image, (10, h - 18), "silent", 0.6)
        return
    middle, half = w // 2, w // 5
    colour = _ORIGIN[command.origin]
    cv2.line(image, (middle - half, h - 30), (middle + half, h - 30), (120, 120, 120), 1)
    end = middle - round(command.steer * half)
    cv2.line(image, (middle, h - 30), (end, h - 30), colour, 7)
    text(image, (middle - 60, h - 8), f"steer {command.steer:+.2f}", 0.45)
    for x, name, value, hue in (
        (10, "throttle", command.throttle, (80, 255, 120)),
        (w - w // 5 - 10, "brake", command.brake, (255, 90, 90)),
    ):
        cv2.rectangle(image, (x, h - 36), (x + round(value * (w // 5)), h - 26), hue, -1)
        text(image, (x, h - 8), f"{name} {value:.2f}", 0.45)


def annotate(
    image: np.ndarray,
    project: Project,
    objects: Objects | None,
    trajectory: Trajectory | None,
    command: Command | None,
    labels: Sequence[str] = (),
    width: int = 384,
) -> np.ndarray:
    """A new picture (uint8 RGB): boxes, road, trajectory and command drawn on the frame."""
    picture, scale = enlarge(image, width)
    if objects is not None and objects.road is not None:
        road, half = objects.road, objects.road.width_m / 2
        centre = np.asarray(road.centre, np.float64)
        tangent = np.gradient(centre, axis=0)
        tangent /= np.maximum(np.hypot(*tangent.T), 1e-6)[:, None]
        normal = np.stack((-tangent[:, 1], tangent[:, 0]), 1)
        for offset in (half, -half):
            line(picture, scale * project(centre + offset * normal), ROAD, 2)
    if trajectory is not None:
        line(picture, scale * project(trajectory.points[:, 1:3].astype(np.float64)), PATH, 3)
    if objects is not None:
        boxes(picture, objects.boxes, labels)
        if objects.road is not None and np.isfinite(objects.road.speed_mps):
            text(picture, (10, 20), f"{objects.road.speed_mps:.0f} m/s as seen")
    gauge(picture, command)
    return picture


class Video:
    """An mp4 file of RGB frames; VP9 where OpenCV has it (browsers play it), else MPEG-4."""

    def __init__(self, path: str | Path, rate_hz: float) -> None:
        self.path, self.rate_hz = Path(path), rate_hz
        self._writer: Any = None
        self.frames = 0

    def _open(self, size: tuple[int, int]) -> Any:
        cv2 = _cv2()
        for code in ("vp09", "mp4v"):
            fourcc = cv2.VideoWriter_fourcc(*code)
            writer = cv2.VideoWriter(str(self.path), fourcc, self.rate_hz, size)
            if writer.isOpened():
                return writer
        raise DeviceError(f"{self.path}: OpenCV cannot write a video here; give another --out")

    def add(self, image: np.ndarray) -> None:
        """Append one frame; all must have the size of the first."""
        if self._writer is None:
            self._writer = self._open((image.shape[1], image.shape[0]))
        self._writer.write(np.ascontiguousarray(image[:, :, ::-1]))
        self.frames += 1

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()
