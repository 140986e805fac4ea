"""Stage: one step of the pipeline, with its rate and budget; no clock and no I/O inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from .messages import Message


@dataclass(frozen=True)
class Timing:
    """What a stage may take: rate (Hz), budget (ms) a run, maximum age of its inputs (ms).

    `deadline_ms`: from its release to its result, 0: the period.
    """

    rate_hz: float
    budget_ms: float
    max_age_ms: float
    deadline_ms: float = 0.0

    @property
    def period_ns(self) -> int:
        """Time between releases, nanoseconds."""
        return round(1e9 / self.rate_hz)

    @property
    def budget_ns(self) -> int:
        """Budget, nanoseconds."""
        return round(self.budget_ms * 1e6)

    @property
    def deadline_ns(self) -> int:
        """From a release to the result, nanoseconds."""
        return round(self.deadline_ms * 1e6) or self.period_ns

    @property
    def max_age_ns(self) -> int:
        """Maximum age of an input, nanoseconds."""
        return round(self.max_age_ms * 1e6)


class Stage(ABC):
    """A named step that turns the newest messages of its inputs into one message.

    `inputs` names the stages (or "source") it reads. `open()` runs once in the process that will
    call `step`, and is the place to load a Session. `step` must depend on its arguments and the
    stage's own state alone, so that a replay gives the same result.
    """

    name: str
    inputs: tuple[str, ...]
    timing: Timing
    #: When the result of this step is due (ns of time.monotonic_ns()), set by whoever runs the
    #: stage against the clock; None: take the time it takes.
    deadline_ns: int | None = None
    #: What came of the last step's deadline, "" where all is well: it goes into the record.
    outcome: str = ""
    #: In a replay: the recorded outcome, to be given again; None: not a replay.
    repeats: str | None = None

    def open(self) -> None:  # noqa: B027 - optional
        """Load what `step` needs. Called once, before the first step."""

    @abstractmethod
    def step(self, inputs: Mapping[str, Message]) -> Message | None:
        """The result for these inputs, or None where there is none to give."""

    def close(self) -> None:  # noqa: B027 - optional
        """Release what `open` took."""
