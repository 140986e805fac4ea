"""The lane ahead of a dashcam, from the picture alone: no map, no training, no colour threshold.

The road plane is sampled as seen from above (inverse perspective, Mallot et al. 1991). A marking
there is a ridge: brighter, or yellower, than the road on both sides, measured against the noise of
its own row. Headings and curvatures are voted for by sums along the curves they give (a generalised
Hough transform); the pair of peaks a lane's width apart is refined by a robust weighted fit of two
parallel parabolas, and followed from frame to frame. The horizon is found from where the straight
lines of the picture meet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .messages import Box, Road

#: Samples of the road plane: metres ahead, metres to the left.
AHEAD = np.arange(6.0, 40.01, 0.5, dtype=np.float32)
ACROSS = np.arange(8.0, -8.01, -0.1, dtype=np.float32)
_STEP = 0.1
_WIDTHS = np.arange(28, 45)  # lane widths looked for, in steps of ACROSS: 2.8 .. 4.4 m
_MARK = 3  # samples from a marking's middle to the bare road beside it
_POINTS = 21
_SURE = 0.25  # least confidence of a lane that is told


@dataclass(frozen=True)
class Camera:
    """A forward camera. `focal` in image widths, `height_m` above the road, `horizon` as a fraction
    of the image's height, None to find it in the pictures."""

    focal: float = 0.9
    height_m: float = 1.2
    horizon: float | None = None

    def to_pixels(self, points: np.ndarray, size: tuple[int, int], horizon: float) -> np.ndarray:
        """Pixels [n, 2] (column, row) of points [n, 2] (x ahead, y left, metres) on the road."""
        h, w = size
        x = np.maximum(points[:, 0], 0.5)
        f = self.focal * w
        return np.stack([w / 2 - f * points[:, 1] / x, horizon * h + f * self.height_m / x], 1)


@dataclass
class Lane:
    """Two parallel parabolas y = side + heading x + bend x^2: `left`, `right` sides in metres."""

    left: float
    right: float
    heading: float
    bend: float
    confidence: float

    def vector(self) -> np.ndarray:
        """The four numbers of the curves."""
        return np.array([self.left, self.right, self.heading, self.bend])

    def line(self, side: float, x: np.ndarray) -> np.ndarray:
        """Points [n, 2] of the curve at `side` metres to the left."""
        return np.stack([x, side + self.heading * x + self.bend * x * x], 1)

    def road(self) -> Road:
        """The lane as the Road message has it: its centre from the camera to 40 m ahead."""
        x = np.linspace(0.0, float(AHEAD[-1]), _POINTS)
        centre = self.line(0.5 * (self.left + self.right), x).astype(np.float32)
        return Road(centre, self.left - self.right, self.confidence)


def find_horizon(grey: np.ndarray) -> float | None:
    """Row where the straight lines of the lower picture meet, as a fraction of its height."""
    import cv2

    h, w = grey.shape
    middle = float(np.median(grey[h // 2 :]))
    edges = cv2.Canny(cv2.GaussianBlur(grey, (5, 5), 0), 0.5 * middle, 1.0 * middle)
    edges[: int(0.45 * h)] = 0
    found = cv2.HoughLinesP(edges, 1, np.pi / 360, 30, minLineLength=w * 0.06, maxLineGap=w * 0.01)
    if found is None:
        return None
    x0, y0, x1, y1 = np.asarray(found, np.float64).reshape(-1, 4).T
    length, dx = np.hypot(x1 - x0, y1 - y0), x1 - x0
    slope = (y1 - y0) / np.where(np.abs(dx) < 1e-3, 1e-3, dx)
    steep = (np.abs(slope) > 0.3) & (np.abs(slope) < 3.0)
    left, right = steep & (slope < 0), steep & (slope > 0)
    start = y0 - slope * x0
    ml, bl, mr, br = slope[left], start[left], slope[right], start[right]
    x = (br[None] - bl[:, None]) / (ml[:, None] - mr[None])
    y = ml[:, None] * x + bl[:, None]
    weight = length[left][:, None] * length[right][None]
    good = (np.abs(x - w / 2) < 0.2 * w) & (y > 0.3 * h) & (y < 0.75 * h)
    return _weighted_median(y[good], weight[good]) / h if good.any() else None


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    along = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(along, 0.5 * along[-1])])


def ridges(ground: np.ndarray) -> np.ndarray:
    """Strength 0..1 of markings in a road plane [rows, columns, 3] RGB, row by row."""
    rgb = ground.astype(np.float32)
    grey, yellow = rgb.mean(2), 0.5 * (rgb[:, :, 0] + rgb[:, :, 1]) - rgb[:, :, 2]
    return np.maximum(_ridge(grey), _ridge(yellow))


def _ridge(plane: np.ndarray) -> np.ndarray:
    out = np.zeros_like(plane)
    a, b, c = plane[:, : -2 * _MARK], plane[:, _MARK:-_MARK], plane[:, 2 * _MARK :]
    rise = np.minimum(b - a, b - c)  # both sides must be darker: a step is no marking
    noise = np.median(np.abs(a - b), axis=1, keepdims=True)
    out[:, _MARK:-_MARK] = np.clip(rise / (4.0 * noise + 8.0), 0.0, 1.0)
    return out


class LaneFinder:
    """Finds and follows the lane in the frames of one camera. Deterministic; keeps state."""

    def __init__(self, camera: Camera | None = None) -> None:
        self.camera = camera or Camera()
        self.lane: Lane | None = None
        self._rows: deque[float] = deque(maxlen=50)
        self._missed = 0
        self._mapped: tuple[Any, ...] = ()
        headings = np.linspace(-0.12, 0.12, 13)
        bends = np.linspace(-0.004, 0.004, 11)
        self._everywhere = np.array([(c, b) for c in headings for b in bends])

    @property
    def horizon(self) -> float:
        """Row of the horizon as a fraction of the image's height: given, found, or a guess."""
        if self.camera.horizon is not None:
            return self.camera.horizon
        return float(np.median(self._rows)) if self._rows else 0.55

    def __call__(self, image: np.ndarray, boxes: Sequence[Box] = ()) -> Road | None:
        """The road in an RGB image, or None; what lies in `boxes` is no marking."""
        self._see_horizon(image)
        if self.camera.horizon is None and not self._rows:
            return None  # nothing in view runs into the distance: this is no road ahead
        strength = ridges(self._from_above(image)) * self._free(image.shape, boxes)
        self._follow(self._search(strength))
        sure = self.lane is not None and self.lane.confidence >= _SURE
        return self.lane.road() if self.lane is not None and sure else None

    def _see_horizon(self, image: np.ndarray) -> None:
        if self.camera.horizon is not None:
            return
        import cv2

        row = find_horizon(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        if row is not None:
            self._rows.append(row)

    def _from_above(self, image: np.ndarray) -> np.ndarray:
        import cv2

        key = (image.shape[:2], round(self.horizon * image.shape[0]))
        if not self._mapped or self._mapped[0] != key:
            grid = np.stack(np.meshgrid(AHEAD, ACROSS, indexing="ij"), 2).reshape(-1, 2)
            at = self.camera.to_pixels(grid, image.shape[:2], self.horizon).astype(np.float32)
            at = at.reshape(len(AHEAD), len(ACROSS), 2)
            self._mapped = (key, at)
        at = self._mapped[1]
        border = cv2.BORDER_REPLICATE
        return cv2.remap(image, at[:, :, 0], at[:, :, 1], cv2.INTER_LINEAR, borderMode=border)

    def _free(self, shape: tuple[int, ...], boxes: Sequence[Box]) -> np.ndarray:
        at = self._mapped[1] / np.array([shape[1], shape[0]], np.float32)
        u, v = at[:, :, 0], at[:, :, 1]
        free = (u > 0.005) & (u < 0.995) & (v < 0.99)
        for b in boxes:
            free &= ~((u > b.x0) & (u < b.x1) & (v > b.y0) & (v < b.y1))
        return free

    def _search(self, strength: np.ndarray) -> Lane | None:
        """The best pair of markings: near the lane followed if there is one, else anywhere."""
        near = self._everywhere
        if self.lane is not None:
            steps = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])
            here = (self.lane.heading, self.lane.bend)
            near = np.array([(here[0] + s, here[1] + 0.03 * t) for s in steps for t in steps])
        votes = _votes(strength, near)
        pair = _best_pair(votes, self.lane)
        if pair is None:
            return None
        which, left, right = pair
        start = np.array([left, right, *near[which]])
        return _refine(strength, start, self.lane)

    def _follow(self, found: Lane | None) -> None:
        """Smooth; hold the lane over a gap of up to ten frames; begin anew after that."""
        if self.lane is None:
            self.lane = found
            return
        jump = found is not None and abs(found.left - self.lane.left) > 0.6
        if found is None or jump:
            self._missed += 1
            self.lane.confidence *= 0.85
            if self._missed > 10:
                self.lane, self._missed = None, 0
            return
        self._missed = 0
        gain = 0.15 + 0.35 * found.confidence
        new = self.lane.vector() + gain * (found.vector() - self.lane.vector())
        trust = self.lane.confidence + 0.3 * (found.confidence - self.lane.confidence)
        left, right, heading, bend = (float(v) for v in new)
        self.lane = Lane(left, right, heading, bend, trust)


def _votes(strength: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """[curves, columns]: mean strength along each curve, by where it begins across the road."""
    shift = curves[:, :1] * AHEAD[None] + curves[:, 1:] * AHEAD[None] ** 2
    columns = np.arange(len(ACROSS))[None, None] - np.rint(shift / _STEP).astype(int)[:, :, None]
    inside = (columns >= 0) & (columns < len(ACROSS))
    rows = np.arange(len(AHEAD))[None, :, None]
    taken = strength[rows, np.clip(columns, 0, len(ACROSS) - 1)] * inside
    profile = taken.mean(1)
    profile[:, 1:-1] = 0.25 * (profile[:, :-2] + 2 * profile[:, 1:-1] + profile[:, 2:])
    return profile


def _best_pair(votes: np.ndarray, known: Lane | None) -> tuple[int, float, float] | None:
    """(curve, left, right) of the strongest two markings a lane's width apart around the car."""
    best, found = 0.0, None
    for width in _WIDTHS:
        left, right = votes[:, :-width], votes[:, width:]
        score = np.minimum(left, right) + 0.25 * np.maximum(left, right)
        wanted = 3.6 if known is None else known.left - known.right
        middle = ACROSS[: left.shape[1]] - 0.5 * width * _STEP
        at = 0.0 if known is None else 0.5 * (known.left + known.right)
        reach = 2.0 if known is None else 0.8
        score = score * (np.abs(middle - at) < reach) * np.exp(-((width * _STEP - wanted) ** 2) / 2)
        k = int(np.argmax(score))
        if score.flat[k] > best:
            which, column = divmod(k, left.shape[1])
            best, found = float(score.flat[k]), (which, column, width)
    if found is None or best < 0.06:
        return None
    which, column, width = found
    return which, float(ACROSS[column]), float(ACROSS[column + width])


def _refine(strength: np.ndarray, start: np.ndarray, known: Lane | None) -> Lane | None:
    """Robust weighted fit of both sides at once (Cauchy weights), held to what was known."""
    p, seen = start.copy(), np.zeros(2)
    prior = np.array([0.0, 0.0, 0.0, 0.0]) if known is None else known.vector()
    hold = np.array([0.0, 0.0, 1.0, 1e5]) if known is None else np.array([0.5, 0.5, 3e3, 1e7])
    rows, columns = np.nonzero(strength > 0.15)
    x, y, w = AHEAD[rows].astype(float), ACROSS[columns].astype(float), strength[rows, columns]
    for scale in (0.3, 0.2, 0.12):
        normal, right_side = np.diag(hold), hold * prior
        for side in (0, 1):
            error = y - (p[side] + p[2] * x + p[3] * x * x)
            near = np.abs(error) < 3 * scale
            weight = w[near] / (1 + (error[near] / scale) ** 2)
            a = np.zeros((near.sum(), 4))
            a[:, side], a[:, 2], a[:, 3] = 1.0, x[near], x[near] ** 2
            normal = normal + (a * weight[:, None]).T @ a
            right_side = right_side + (a * weight[:, None]).T @ y[near]
            seen[side] = len(np.unique(rows[near])) / len(AHEAD)
        p = np.linalg.solve(normal + 1e-6 * np.eye(4), right_side)
    # A dashed line of the American kind, 3 m in 12, shows in a quarter of the rows.
    shown = float(np.clip(min(seen[0], seen[1]) / 0.25, 0, 1) * np.clip(max(seen), 0.2, 1))
    confidence = shown * _contrast(strength, p)
    width = p[0] - p[1]
    if confidence < 0.1 or not 2.4 < width < 5.0:
        return None
    left, right, heading, bend = (float(v) for v in p)
    return Lane(left, right, heading, bend, confidence)


def _contrast(strength: np.ndarray, p: np.ndarray) -> float:
    """0..1: how far both markings stand out from other curves of that shape across the road."""
    profile = _votes(strength, p[None, 2:])[0]
    others = float(np.quantile(profile[profile > 0], 0.75)) if (profile > 0).any() else 0.0
    sides = np.rint((ACROSS[0] - p[:2]) / _STEP).astype(int)
    peaks = [profile[max(k - 1, 0) : k + 2].max(initial=0.0) for k in sides]
    return float(np.clip((min(peaks) / (others + 0.01) - 1.0) / 2.0, 0.0, 1.0))
