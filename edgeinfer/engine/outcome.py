"""What came of a run with a deadline."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What came of a run with a deadline.

    `kind` "ok": the outputs are this run's, in time. "substituted": they are those of `substitute`,
    "smaller" or "cpu" (computed in this run by that plan; "smaller2": by the second plan of the
    ladder, where that has several) or "last" (of the last whole run).
    "late": there was no substitute, or no time for any; `valid` says whether the outputs mean
    anything: they are this run's, or the substitute's, after the deadline. `age_ns` is from the
    begin of the run that gave the outputs to the end of this one.
    """

    kind: str
    substitute: str = ""
    age_ns: int = 0
    valid: bool = True

    @property
    def name(self) -> str:
        """As it is counted: "ok", "late", "late:nothing" (not valid), "substituted:last", ..."""
        what = self.substitute if self.valid else "nothing"
        return f"{self.kind}:{what}" if what else self.kind
