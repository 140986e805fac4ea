"""Plausible pictures: is the camera alive, or frozen, blank, or sending noise?

A network answers whatever it is shown, and with confidence (noise gets 0.85 from the road network
of this package), so what no road can look like is stopped before it:

* frozen: a real sensor's noise makes two frames differ even where nothing moves, a simulator's may
  be equal only while the vehicle stands. So equal frames are a fault where the vehicle is known to
  move, or its speed is not known. One frame twice does no harm: it is no news, and is waited out.
* blank: hardly any contrast: a covered lens, a dead sensor, an exposure that ran away.
* noise: neighbouring pixels as different as any two are: a broken cable or decoder. Natural images
  are smooth (Ruderman 1994, "The statistics of natural images").

These are faults of a device. A picture that is strange but possible is not one: it is a matter of
confidence (ISO 21448).
"""

from __future__ import annotations

import math

import numpy as np

_SAMPLES = 32  # a side: looking at every pixel of a large frame would cost milliseconds
_BLANK = 2.0  # standard deviation, grey levels
_NOISE = 0.9  # mean difference of neighbours over the standard deviation; 1.13 of white noise


class CameraMonitor:
    """Looks at each frame. `limit`: equal frames in a row that make a fault where the speed is not
    known; above `moving_mps` the first one does, below it none: the vehicle may stand.
    """

    def __init__(self, limit: int = 1, moving_mps: float = 1.0) -> None:
        self.limit, self.moving_mps = limit, moving_mps
        self._last: np.ndarray | None = None
        self._equal = 0

    def fault(self, image: np.ndarray, speed_mps: float = math.nan) -> str:
        """Take the next frame, uint8 [height, width, 3]: "", "frozen", "blank" or "noise"."""
        rows, columns = (max(1, n // _SAMPLES) for n in image.shape[:2])
        sample = image[::rows, ::columns]
        frozen = self._frozen(sample, speed_mps)
        deviation = float(sample.std())
        if deviation < _BLANK:
            return "blank"
        lines = image[::rows, : 2 * _SAMPLES].astype(np.int16)
        if float(np.abs(np.diff(lines, axis=1)).mean()) > _NOISE * max(
            deviation, float(lines.std())
        ):
            return "noise"
        return "frozen" if frozen else ""

    def _frozen(self, sample: np.ndarray, speed_mps: float) -> bool:
        if self._last is not None and np.array_equal(sample, self._last):
            self._equal += 1
        else:
            self._equal, self._last = 0, sample.copy()
        if math.isnan(speed_mps):
            return self._equal >= self.limit
        return self._equal > 0 and speed_mps > self.moving_mps
