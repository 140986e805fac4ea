"""A camera and an actuator made of nothing: `virtual:`; the fake that tests and demos drive.

The source draws a road seen by a pinhole camera above a plane, whose lane geometry is known:
`virtual:?frames=100&width=640&height=360&curvature=0.002&offset=0.3&lane=3.6&rate=25&seed=1`.
The sink keeps the commands in a list.
"""

from __future__ import annotations

import numpy as np

from ..pipeline.messages import Command, Frame
from . import Url

_MARK_M = 0.15
_DASH_M, _GAP_M = 3.0, 9.0


class VirtualRoad:
    """Frames of a drawn lane; dashed on the right, solid on the left, moving at `speed` m/s.

    `offset` (m) is how far the lane's centre lies to the left of the camera, `curvature` (1/m) is
    positive to the left. The camera is `height_m` above the road, its focal length `focal` times
    the image's width, its horizon at the fraction `horizon` of the image's height.
    """

    def __init__(
        self,
        frames: int = 100,
        size: tuple[int, int] = (360, 640),
        curvature: float = 0.0,
        offset: float = 0.0,
        lane_m: float = 3.6,
        rate_hz: float = 25.0,
        speed: float = 20.0,
        seed: int = 0,
        height_m: float = 1.2,
        focal: float = 0.9,
        horizon: float = 0.5,
    ) -> None:
        self.rate_hz, self.length, self.speed = rate_hz, frames, speed
        self.size, self.lane_m = size, lane_m
        self._noise = np.random.default_rng(seed)
        self._seq = 0
        h, w = size
        v, u = np.mgrid[0:h, 0:w].astype(np.float32) + 0.5
        below = np.maximum(v - horizon * h, 1e-3)
        self._x = focal * w * height_m / below  # metres ahead
        y = (w / 2 - u) * self._x / (focal * w)  # metres to the left
        self._y = y - offset - 0.5 * curvature * self._x**2
        self._ground = (v > horizon * h + 1) & (self._x < 120)

    def _image(self, along: float) -> np.ndarray:
        h, w = self.size
        image = np.empty((h, w, 3), np.float32)
        image[...] = (150, 180, 215)
        image[self._ground] = (105, 130, 85)
        image[self._ground & (np.abs(self._y) < 1.6 * self.lane_m)] = (92, 92, 95)
        reach = np.maximum(_MARK_M, 0.7 * self._x / (0.9 * w)) / 2  # never thinner than a pixel
        left = np.abs(self._y - self.lane_m / 2) < reach
        dash = (self._x + along) % (_DASH_M + _GAP_M) < _DASH_M
        right = (np.abs(self._y + self.lane_m / 2) < reach) & dash
        image[self._ground & (left | right)] = (225, 225, 220)
        image += self._noise.normal(0.0, 4.0, (h, w, 1))
        return np.clip(image, 0, 255).astype(np.uint8)

    def read(self) -> Frame | None:
        """The next frame, or None after the last."""
        if self._seq >= self.length:
            return None
        seconds = self._seq / self.rate_hz
        frame = Frame(self._seq, round(seconds * 1e9), self._image(self.speed * seconds))
        self._seq += 1
        return frame

    def close(self) -> None:
        """Nothing to release."""


class VirtualActuator:
    """Keeps what it is told: `commands` in order."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def write(self, command: Command) -> None:
        """Keep one command."""
        self.commands.append(command)

    def close(self) -> None:
        """Nothing to release."""


def open_source(url: Url) -> VirtualRoad:
    """`virtual:?frames=N&width=W&height=H&curvature=K&offset=M&lane=M&rate=HZ&speed=V&seed=N`."""
    known = ("frames", "width", "height", "curvature", "offset", "lane", "rate", "speed", "seed")
    url.allow(*known)
    n = url.number
    return VirtualRoad(
        frames=int(n("frames", 100)),
        size=(int(n("height", 360)), int(n("width", 640))),
        curvature=n("curvature", 0.0),
        offset=n("offset", 0.0),
        lane_m=n("lane", 3.6),
        rate_hz=n("rate", 25.0),
        speed=n("speed", 20.0),
        seed=int(n("seed", 0)),
    )


def open_sink(url: Url) -> VirtualActuator:
    """`virtual:`."""
    url.allow()
    return VirtualActuator()
