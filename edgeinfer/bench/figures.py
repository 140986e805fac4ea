"""What is said of times taken in turn: percentiles, and a ratio with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000


@dataclass(frozen=True)
class Summary:
    """Of all calls of one engine, milliseconds."""

    calls: int
    median: float
    p99: float
    max: float


@dataclass(frozen=True)
class Ratio:
    """Time of another over ours (above 1: ours is faster), with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """ "ahead" or "behind" where the interval leaves no doubt, else "level"."""
        if self.low > 1:
            return "ahead"
        return "behind" if self.high < 1 else "level"

    def __str__(self) -> str:
        return f"{self.value:.2f}x [{self.low:.2f}, {self.high:.2f}]"


def summary(rounds: Sequence[np.ndarray]) -> Summary:
    """Of the calls of every round, nanoseconds."""
    ms = np.concatenate(rounds) / 1e6
    median, p99, top = (float(np.percentile(ms, q)) for q in (50, 99, 100))
    return Summary(len(ms), median, p99, top)


def ratio(
    ours: Sequence[np.ndarray], other: Sequence[np.ndarray], resamples: int = RESAMPLES
) -> Ratio:
    """Median over the rounds of (other's median / our median) in that round.

    The rounds are pairs: what slowed the machine during a round slowed both, so the quotient is
    taken inside it. The interval is the percentile bootstrap over the rounds (Efron 1979), from a
    fixed seed; with fewer than three rounds it is the whole range of what was seen.
    """
    if len(ours) != len(other) or not len(ours):
        raise ValueError(f"rounds must come in pairs, got {len(ours)} and {len(other)}")
    pairs = zip(ours, other, strict=True)
    quotients = np.array([float(np.median(b) / np.median(a)) for a, b in pairs])
    value = float(np.median(quotients))
    if len(quotients) < 3:
        return Ratio(value, float(quotients.min()), float(quotients.max()))
    rng = np.random.default_rng(0)
    drawn = rng.choice(quotients, (resamples, len(quotients)))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return Ratio(value, float(low), float(high))


def geometric_mean(values: Sequence[float]) -> float:
    """The mean for ratios."""
    return float(np.exp(np.mean(np.log(values))))
