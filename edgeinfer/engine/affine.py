"""Fixed-point requantisation as one float multiply-add, where that can be proved.

Under `rounding="tflite"` an int32 accumulator becomes 8 bits in fixed point, rounding twice, which
takes a dozen vector instructions. Both that function and

    floor(fma(float(acc), scale, acc < 0 ? negative : positive)) + centre

rise with acc, so they are equal for every int32 if they agree at the at most 255 accumulators at
which the output changes, just below them, and on both sides of 0. Here scale and offsets are sought
for each channel and verified in the arithmetic of the kernels (float32, one rounding); channels
that fail keep the fixed-point form. `centre` makes the sums small: 128 for uint8, else 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_F = np.float32
_ULPS = (0, 1, -1, 2, -2, 3, -3)

#: acc int64 [channels, n] -> the outputs, not yet clamped, relative to the zero point.
Exact = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Affine:
    """Per channel, float32 [channels]; `proved` where the form holds."""

    scale: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    proved: np.ndarray

    def block(self, order: Callable[[np.ndarray], np.ndarray], lanes: int) -> np.ndarray:
        """[blocks][scale, positive, negative][lanes] float32, channels spread by `order`.

        A block with a channel that is not proved has NaN scales.
        """
        parts = [order(v).reshape(-1, lanes) for v in (self.scale, self.positive, self.negative)]
        holds = order(np.where(self.proved, _F(0), _F(1))).reshape(-1, lanes).max(1) == 0
        out = np.stack(parts, 1).astype(_F)
        out[~holds, 0] = np.nan
        return out


def fixed_point(multiplier: np.ndarray, shift: np.ndarray) -> Exact:
    """The double rounding of requant.h (ei_mul_quantized) for shifts up to 0."""
    m, right = multiplier.astype(np.int64)[:, None], -np.minimum(shift, 0).astype(np.int64)[:, None]

    def exact(acc: np.ndarray) -> np.ndarray:
        total = acc * m
        total += np.where(total >= 0, 1 << 30, 1 - (1 << 30))
        x = np.where(total >= 0, total >> 31, -(-total >> 31))  # division truncates
        mask = (np.int64(1) << right) - 1
        up = (x & mask) > (mask >> 1) + (x < 0)
        return (x >> right) + up

    return exact


def real(scale: np.ndarray) -> Exact:
    """The float64 form of requant.h (ei_requant_double)."""

    def exact(acc: np.ndarray) -> np.ndarray:
        v = acc.astype(np.float64) * scale[:, None]
        return np.copysign(np.floor(np.abs(np.clip(v, -600, 600)) + 0.49999999999999994), v).astype(
            np.int64
        )

    return exact


def find(exact: Exact, scale: np.ndarray, zero: int, lo: int, hi: int, centre: int) -> Affine:
    """Scale and offsets for each channel; `scale` float64 is the real one, outputs are lo..hi."""
    steps = np.arange(lo + 1, hi + 1, dtype=np.int64)
    n = len(scale)
    none = np.zeros(n, _F)
    if not len(steps):
        return Affine(none, none, none, np.zeros(n, bool))
    at, known = _thresholds(exact, scale, steps - zero)
    found = [none.copy(), none.copy(), none.copy()]
    proved = np.zeros(n, bool)
    around = exact(np.array([[-1, 0]], np.int64))
    left = np.flatnonzero((scale < 1) & (scale > 2.0**-21))
    goal = (steps - centre).astype(np.float64)
    for ulp in _ULPS:
        if not len(left):
            break
        s = scale[left].astype(_F)
        for _ in range(abs(ulp)):
            s = np.nextafter(s, _F(np.sign(ulp)))
        offsets = _offsets(at[left], known[left], s.astype(np.float64), goal)
        good = _verify(
            around[left], at[left], known[left], s, offsets, goal, (zero, lo, hi, centre)
        )
        for target, values in zip(found, (s, *offsets), strict=True):
            target[left[good]] = values[good]
        proved[left[good]] = True
        left = left[~good]
    return Affine(found[0], found[1], found[2], proved)


def _thresholds(exact: Exact, scale: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least accumulator whose output is k or more, [channels, steps]; whether it is an int32.

    Around the real threshold the outputs are few steps from it: the double rounding moves it by
    less than one.
    """
    guess = np.ceil((k[None] - 0.5) / scale[:, None])
    inside = np.abs(guess) < 2**31 - 4
    guess = np.where(inside, guess, 0).astype(np.int64)
    at = guess + 2
    for d in (1, 0, -1, -2):
        at = np.where(exact(guess + d) >= k[None], np.minimum(at, guess + d), at)
    return at, inside


def _offsets(
    at: np.ndarray, known: np.ndarray, s: np.ndarray, goal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The middle of what the thresholds allow the offsets to be, for positive and negative sums."""
    low = goal[None] - at * s[:, None]  # at a threshold the sum reaches the goal
    high = low + s[:, None]  # just below it does not
    out = []
    for side in (True, False):
        reach = np.where(known & ((at >= 0) == side), low, -np.inf).max(1)
        stay = np.where(known & ((at >= 1) == side), high, np.inf).min(1)
        middle = (np.maximum(reach, -1e9) + np.minimum(stay, 1e9)) / 2
        alone = np.where(np.isinf(reach), stay - 0.5 * s, reach + 0.5 * s)
        both = np.isinf(reach) | np.isinf(stay)
        out.append(np.where(np.isinf(reach) & np.isinf(stay), 0, np.where(both, alone, middle)))
    positive, negative = (v.astype(_F) for v in out)
    lacking = ~(known & (at < 1)).any(1)  # no output changes below 0: one offset will do
    return positive, np.where(lacking, positive, negative)


def _verify(
    around: np.ndarray, at: np.ndarray, known: np.ndarray, s: np.ndarray,
    offsets: tuple[np.ndarray, np.ndarray], goal: np.ndarray, bounds: tuple[int, int, int, int],
) -> np.ndarray:  # fmt: skip
    """Channels for which both functions agree at every threshold, below it, and around 0.

    `around`: the exact outputs of -1 and 0, [channels, 2].
    """
    zero, lo, hi, centre = bounds

    def ours(acc: np.ndarray) -> np.ndarray:
        o = np.where(acc < 0, offsets[1][:, None], offsets[0][:, None]).astype(np.float64)
        exactly = acc.astype(_F).astype(np.float64) * s[:, None].astype(np.float64) + o
        return np.floor(exactly.astype(_F))

    good = (ours(at) >= goal[None]) & (ours(at - 1) < goal[None])
    near = np.broadcast_to(np.array([-1, 0], np.int64), (len(s), 2))
    same = np.clip(ours(near) + centre, lo, hi) == np.clip(around + zero, lo, hi)
    return (good | ~known).all(1) & same.all(1)
