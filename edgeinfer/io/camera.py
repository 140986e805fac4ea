"""A camera of this machine through OpenCV: `camera:0`, `camera:/dev/video2?width=1280&height=720`.

Stamps are CLOCK_MONOTONIC when the driver handed the frame over.
"""

from __future__ import annotations

import time
from pathlib import Path

from ..errors import DeviceError
from ..pipeline.messages import Frame
from . import Url
from .file import quiet_opencv


def _devices() -> str:
    found = sorted(str(p) for p in Path("/dev").glob("video*"))
    if found:
        return f"found {', '.join(found)}: choose one, or check its permission (group video)"
    return "no /dev/video* here: plug a camera in, or use file:VIDEO or virtual:"


class Camera:
    """Frames of a camera, RGB. `device` is an index or a path."""

    def __init__(self, device: str, width: int = 0, height: int = 0, rate_hz: float = 0) -> None:
        cv2 = quiet_opencv()
        self._cv2, self.device = cv2, device
        self._capture = cv2.VideoCapture(int(device) if device.isdigit() else device)
        if not self._capture.isOpened():
            raise DeviceError(f"camera:{device}: cannot be opened; {_devices()}")
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not a queue of old ones
        for key, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, width),
            (cv2.CAP_PROP_FRAME_HEIGHT, height),
            (cv2.CAP_PROP_FPS, rate_hz),
        ):
            if value:
                self._capture.set(key, value)
        self.rate_hz = float(self._capture.get(cv2.CAP_PROP_FPS)) or 30.0
        self._seq = 0

    def read(self) -> Frame:
        """The next frame; waits for it. DeviceError where the camera went away."""
        ok, image = self._capture.read()
        stamp = time.monotonic_ns()
        if not ok:
            raise DeviceError(f"camera:{self.device}: gave no frame {self._seq}; is it unplugged?")
        frame = Frame(self._seq, stamp, self._cv2.cvtColor(image, self._cv2.COLOR_BGR2RGB))
        self._seq += 1
        return frame

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()


def open_source(url: Url) -> Camera:
    """`camera:INDEX_OR_PATH?width=W&height=H&rate=HZ`."""
    url.allow("width", "height", "rate")
    width, height = int(url.number("width", 0)), int(url.number("height", 0))
    return Camera(url.target or "0", width, height, url.number("rate", 0))
