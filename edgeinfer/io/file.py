"""Recorded pictures: `file:drive.mp4` (what OpenCV decodes) and `images:FOLDER`.

Options: `start=SECONDS`, `frames=N`, `loop=1` for videos; `rate=HZ` for folders (default 10).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DeviceError
from ..pipeline.messages import Frame
from . import Url

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff"}


def quiet_opencv() -> Any:
    """The cv2 module, with its chatter on standard error off: errors are ours to tell."""
    import cv2

    logging = getattr(getattr(cv2, "utils", None), "logging", None)
    if logging is not None:
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    return cv2


def read_image(path: str | Path) -> np.ndarray:
    """uint8 [height, width, 3] RGB of a picture file; DeviceError where it cannot be decoded."""
    cv2 = quiet_opencv()
    if not Path(path).is_file():
        raise DeviceError(f"{path}: no such file; check the path")
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DeviceError(f"{path}: OpenCV cannot decode it; convert it to PNG or JPEG")
    return np.ascontiguousarray(image[:, :, ::-1])


class VideoFile:
    """Frames of a video file, decoded by OpenCV and turned to RGB. Stamps are the video's time."""

    def __init__(self, path: str, start: float = 0.0, frames: int = 0, loop: bool = False) -> None:
        cv2 = quiet_opencv()
        if not Path(path).is_file():
            raise DeviceError(f"file:{path}: no such file; check the path")
        self._cv2, self.path, self._loop = cv2, path, loop
        self._capture = cv2.VideoCapture(path)
        if not self._capture.isOpened():
            raise DeviceError(f"file:{path}: OpenCV cannot decode this video; convert it to mp4")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate_hz = float(rate) if 1.0 <= rate <= 1000.0 else 25.0
        known = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._skip = round(start * self.rate_hz)
        self._limit = frames or None
        self.length = min(known - self._skip, frames or known) if known > 0 else None
        self._seq = 0
        self._discard()

    def _discard(self) -> None:
        for _ in range(self._skip):  # seeking by time lands on key frames only in some files
            if not self._capture.grab():
                raise DeviceError(f"file:{self.path}: ends before the start asked for")

    def _decode(self) -> np.ndarray | None:
        ok, image = self._capture.read()
        if not ok and self._loop and self._seq:
            self._capture.set(self._cv2.CAP_PROP_POS_FRAMES, 0)
            self._discard()
            ok, image = self._capture.read()
        if not ok and not self._seq:
            raise DeviceError(f"file:{self.path}: holds no picture that OpenCV can decode")
        return image if ok else None

    def read(self) -> Frame | None:
        """The next frame, or None at the end of the video."""
        if self._limit is not None and self._seq >= self._limit:
            return None
        image = self._decode()
        if image is None:
            return None
        stamp = round(self._seq * 1e9 / self.rate_hz)
        frame = Frame(self._seq, stamp, self._cv2.cvtColor(image, self._cv2.COLOR_BGR2RGB))
        self._seq += 1
        return frame

    def close(self) -> None:
        """Release the decoder."""
        self._capture.release()


class ImageFolder:
    """The pictures of a folder in order of their names, or one picture, `rate_hz` a second."""

    def __init__(self, path: str, rate_hz: float = 10.0) -> None:
        root = Path(path)
        if not root.exists():
            raise DeviceError(f"images:{path}: no such folder; check the path")
        self._files = _pictures(root)
        if not self._files:
            raise DeviceError(f"images:{path}: no picture in it ({', '.join(sorted(_SUFFIXES))})")
        self.rate_hz, self._seq, self.length = rate_hz, 0, len(self._files)

    def read(self) -> Frame | None:
        """The next picture, or None after the last."""
        if self._seq >= len(self._files):
            return None
        image = read_image(self._files[self._seq])
        frame = Frame(self._seq, round(self._seq * 1e9 / self.rate_hz), image)
        self._seq += 1
        return frame

    def close(self) -> None:
        """Nothing to release."""


def _pictures(root: Path) -> list[Path]:
    found = [root] if root.is_file() else sorted(root.iterdir())
    return [p for p in found if p.suffix.lower() in _SUFFIXES]


def open_source(url: Url) -> VideoFile:
    """`file:PATH?start=SECONDS&frames=N&loop=1`."""
    url.allow("start", "frames", "loop")
    return VideoFile(
        url.target,
        url.number("start", 0),
        int(url.number("frames", 0)),
        bool(url.number("loop", 0)),
    )


def open_images(url: Url) -> ImageFolder:
    """`images:FOLDER?rate=HZ`."""
    url.allow("rate")
    rate = url.number("rate", 10.0)
    if rate <= 0:
        raise DeviceError(f"{url.text}: rate={rate} is not above 0 Hz")
    return ImageFolder(url.target, rate)
