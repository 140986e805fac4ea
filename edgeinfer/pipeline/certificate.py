"""The fault-time certificate: how fast this pipeline answers faults, measured at its actuator.

In the words of ISO 26262-1:2018: a fault begins; FDTI (fault detection time interval) later
something of the system shows that it noticed; FRTI (fault reaction time interval) after that the
actuator is in a safe state; both together are the FHTI (fault handling time interval), which must
be shorter than the FTTI (fault tolerant time interval) of what is controlled. Nothing here is a
certification: it is the measurement that one would need.

What counts is the command that the actuator holds at each moment. It is safe where it is the safe
Command, where the guard or the bus is silent for longer than the actuator waits (it then acts by
itself), or where it derives from a good frame not older than the data may be. It is a hazard where
it is too old (by more than the 2 ms that a process may wake late), or derives from a message that
the fault spoilt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .faults import BAD, BEGIN, SENT, Entry, is_silence
from .loop import FUTURE_NS, Event, Mode, Words
from .messages import Origin

#: How late a wake-up may be without the command in force counting as too old.
_JITTER_NS = 2_000_000
_NOTICED = (Mode.HELD, Mode.SAFE, Mode.STALE, Mode.BUSY, Mode.LOST)


@dataclass(frozen=True)
class Contract:
    """What must hold, nanoseconds: `ftti_ns`; `age_ns` of the data behind a command, at most;
    `timeout_ns`: how long an actuator that hears nothing goes on.
    """

    ftti_ns: int
    age_ns: int
    timeout_ns: int


@dataclass(frozen=True)
class Case:
    """One fault of one node. `sort`: "source", "stage", "link", "sink" or "machine"."""

    node: str
    sort: str
    kind: str


@dataclass(frozen=True)
class Result:
    """What a fault led to. Times in ms from its beginning; None where there was none.

    `reaction`: what the actuator had at the end: "safe command", "silence", "normal" (recovered,
    or never disturbed), or "hazard"; `hazard_ms`: how long it held a hazardous command in all;
    `silent_ms`: when the guard went silent.
    """

    case: Case
    detected_ms: float | None
    handled_ms: float | None
    hazard_ms: float
    silent_ms: float | None
    reaction: str
    ftti_ms: float
    note: str = ""

    @property
    def reacted_ms(self) -> float | None:
        """FRTI: from detection to the safe state."""
        if self.handled_ms is None or self.detected_ms is None:
            return None
        return max(self.handled_ms - self.detected_ms, 0.0)

    @property
    def margin_ms(self) -> float | None:
        """What is left of the FTTI."""
        return None if self.handled_ms is None else self.ftti_ms - self.handled_ms

    @property
    def passed(self) -> bool:
        """Whether it was handled within the FTTI."""
        return self.margin_ms is not None and self.margin_ms >= 0


@dataclass(frozen=True)
class _Span:
    """The actuator holds one state from `begin` to `end`."""

    begin: int
    end: int
    state: str  # "safe command", "silence", "normal", "hazard", "old data"


def spans(
    sent: Sequence[Entry], bad: set[int], fault_ns: int, end_ns: int, c: Contract
) -> list[_Span]:
    """What the actuator held from the fault to the end of the observation."""
    found: list[_Span] = []
    for i, e in enumerate(sent):
        until = sent[i + 1].time_ns if i + 1 < len(sent) else end_ns
        quiet = min(until, e.time_ns + c.timeout_ns)
        for begin, end, state in _states(e, bad, fault_ns, quiet, c):
            found.append(_Span(max(begin, fault_ns), end, state))
        found.append(_Span(max(quiet, fault_ns), until, "silence"))
    if not sent:
        found.append(_Span(fault_ns, end_ns, "silence"))
    return [s for s in found if s.end > s.begin]


def _states(
    e: Entry, bad: set[int], fault_ns: int, quiet: int, c: Contract
) -> Iterable[tuple[int, int, str]]:
    if is_silence(e):
        return [(e.time_ns, quiet, "silence")]
    if e.origin == Origin.SAFE:
        return [(e.time_ns, quiet, "safe command")]
    if e.seq in bad or e.stamp_ns > e.time_ns + FUTURE_NS:
        return [(e.time_ns, quiet, "hazard")]
    fresh = "normal" if e.origin == Origin.NOMINAL and e.stamp_ns >= fault_ns else "old data"
    expired = min(max(e.stamp_ns + c.age_ns + _JITTER_NS, e.time_ns), quiet)
    return [(e.time_ns, expired, fresh), (expired, quiet, "hazard")]


def judge(
    case: Case,
    journal: Sequence[Entry],
    events: Sequence[Event],
    end_ns: int,
    contract: Contract,
    note: str = "",
) -> Result:
    """The result of one run that was observed until `end_ns`."""
    ftti = contract.ftti_ns / 1e6
    begun = [e.time_ns for e in journal if e.kind == BEGIN]
    if not begun:
        why = "the fault never began: the pipeline did not run that long"
        return Result(case, None, None, 0.0, None, "hazard", ftti, why)
    fault_ns = begun[0]
    sent = [e for e in journal if e.kind == SENT and e.time_ns < end_ns]
    bad = {e.seq for e in journal if e.kind == BAD}
    held = spans(sent, bad, fault_ns, end_ns, contract)
    hazards = [s for s in held if s.state == "hazard"]
    silent = next((s.begin for s in held if s.state == "silence"), None)
    last = held[-1].state
    return Result(
        case,
        _ms(_detected(held, events, fault_ns), fault_ns),
        _ms(_handled(held), fault_ns),
        sum(s.end - s.begin for s in hazards) / 1e6,
        _ms(silent, fault_ns),
        "normal" if last == "old data" else last,
        ftti,
        note,
    )


def _handled(held: Sequence[_Span]) -> int | None:
    """When the actuator first held what is safe and stayed so; None where it never did."""
    good = ("safe command", "silence", "normal")
    last_hazard = max((i for i, s in enumerate(held) if s.state == "hazard"), default=-1)
    return next((s.begin for s in held[last_hazard + 1 :] if s.state in good), None)


def _detected(held: Sequence[_Span], events: Sequence[Event], fault_ns: int) -> int | None:
    """When the system, or the actuator, first showed that something was wrong."""
    seen = [s.begin for s in held if s.state in ("safe command", "silence")]
    seen += [
        max(e.release_ns, e.start_ns)
        for e in events
        if e.mode in _NOTICED
        or e.late
        or (e.stage == "guard" and Words.parse(e.text).offered not in ("-", "ok"))
    ]
    return min((t for t in seen if t >= fault_ns), default=None)


def _ms(time_ns: int | None, begin_ns: int) -> float | None:
    return None if time_ns is None else (time_ns - begin_ns) / 1e6
