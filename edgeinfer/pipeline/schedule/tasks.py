"""Task: what the analyses know of a piece of work that comes again and again on one core."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Task:
    """A sporadic task; nanoseconds throughout, so that no decision hangs on a rounding.

    Released at least `period_ns` apart, each release at most `jitter_ns` late; a job takes at most
    `wcet_ns` and is due `deadline_ns` after the time at which its release should have been.
    `segment_ns`: the longest part of it that nothing interrupts (0: interruptible anywhere).
    `priority`: the larger, the more urgent. ValueError where a value is out of range.
    """

    name: str
    period_ns: int
    wcet_ns: int
    deadline_ns: int
    jitter_ns: int = 0
    segment_ns: int = 0
    priority: int = 0

    def __post_init__(self) -> None:
        for field, least in (("period", 1), ("wcet", 0), ("deadline", 1), ("jitter", 0)):
            value = getattr(self, f"{field}_ns")
            if value < least:
                raise ValueError(f"task {self.name!r}: {field} {value} ns, at least {least}")
        if not 0 <= self.segment_ns <= self.wcet_ns:
            raise ValueError(
                f"task {self.name!r}: a segment of {self.segment_ns} ns in {self.wcet_ns} ns"
            )

    @property
    def utilisation(self) -> Fraction:
        """Share of a core, exact."""
        return Fraction(self.wcet_ns, self.period_ns)


def utilisation(tasks: Iterable[Task]) -> Fraction:
    """The sum of the tasks' shares, exact."""
    return sum((t.utilisation for t in tasks), Fraction(0))
