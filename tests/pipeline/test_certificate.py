"""The verdict on a fault, from what the actuator was told and when."""

from __future__ import annotations

import pytest

from edgeinfer.pipeline.certificate import Case, Contract, judge
from edgeinfer.pipeline.faults import BAD, BEGIN, SENT, Entry, Journal
from edgeinfer.pipeline.loop import Event, Mode
from edgeinfer.pipeline.messages import Command, Origin

MS = 1_000_000
T0 = 1_000 * MS  # when the fault begins
CONTRACT = Contract(200 * MS, 100 * MS, 80 * MS)
CASE = Case("perception", "stage", "stall")


def sent(ms: float, age_ms: float = 30, origin: Origin = Origin.NOMINAL, seq: int = 1) -> Entry:
    at = T0 + round(ms * MS)
    return Entry(SENT, at, seq, at - round(age_ms * MS), (0.0, 0.0, 0.0), origin)


def begin() -> Entry:
    return Entry(BEGIN, T0, -1, 0, (0.0, 0.0, 0.0), 0)


def verdict(*entries: Entry, events: tuple[Event, ...] = (), end_ms: float = 600):
    return judge(CASE, [begin(), *entries], events, T0 + round(end_ms * MS), CONTRACT)


def test_held_then_safe():
    held = [sent(t, 30 + t, Origin.HELD) for t in (10, 30, 50)]
    safe = [sent(t, 999, Origin.SAFE) for t in range(70, 600, 20)]
    r = verdict(*held, *safe)
    assert (r.detected_ms, r.handled_ms, r.hazard_ms) == (70, 70, 0)
    assert r.reaction == "safe command"
    assert r.passed
    noticed = Event("perception", Mode.STALE, T0 + 25 * MS)
    assert verdict(*held, *safe, events=(noticed,)).detected_ms == 25
    assert verdict(*held, *safe, events=(noticed,)).reacted_ms == 45


def test_silence_counts_from_where_the_actuator_gives_up():
    r = verdict(sent(-5, 20), sent(15, 40))
    assert (r.handled_ms, r.silent_ms) == (95, 95)
    assert r.hazard_ms == 18, "from 77 ms on its data were older than 100 ms and the 2 of jitter"
    assert r.reaction == "silence"
    assert r.passed


def test_old_data_is_a_hazard_until_it_ends():
    r = verdict(*[sent(t, 50 + t) for t in range(0, 300, 20)], sent(300, 0, Origin.SAFE))
    assert r.handled_ms == 300
    assert r.hazard_ms > 200
    assert r.margin_ms == -100
    assert not r.passed


def test_what_never_ends_is_not_handled():
    r = verdict(*[sent(t, 300) for t in range(0, 600, 20)])
    assert (r.handled_ms, r.reaction, r.passed) == (None, "hazard", False)


def test_commands_from_spoilt_messages_are_a_hazard():
    bad = Entry(BAD, T0, 7, 0, (0.0, 0.0, 0.0), 0)
    r = verdict(bad, *[sent(t, 30, seq=7) for t in (20, 40)], sent(60, 30, seq=9), end_ms=100)
    assert (r.hazard_ms, r.handled_ms, r.reaction) == (40, 60, "normal")


def test_a_stamp_from_the_future_is_a_hazard():
    assert not verdict(*[sent(t, -5000) for t in range(0, 600, 20)]).passed


def test_undisturbed_is_handled_with_the_first_new_frame():
    r = verdict(*[sent(t, 30) for t in range(0, 600, 20)])
    assert (r.detected_ms, r.handled_ms, r.reaction) == (None, 40, "normal")


def test_a_fault_that_never_began_proves_nothing():
    r = judge(CASE, [sent(0)], [], T0 + 100 * MS, CONTRACT)
    assert not r.passed
    assert "never began" in r.note


def test_the_journal_keeps_whole_entries(tmp_path):
    journal = Journal(tmp_path / "j")
    assert journal.read() == []
    journal.add(BEGIN)
    journal.add(SENT, 5, 17, Command(5, 17, 0.5, 0.25, 0.0, Origin.HELD))
    with open(journal.path, "ab") as file:
        file.write(b"half an entry")
    first, second = journal.read()
    assert first.kind == BEGIN
    assert (second.seq, second.stamp_ns, second.origin) == (5, 17, Origin.HELD)
    assert second.command == (0.5, 0.25, 0.0)


@pytest.mark.parametrize("text", ["200", "ms", "-5ms", "0s", "fastms"])
def test_times_are_checked(text):
    from edgeinfer.cli.prove import milliseconds

    with pytest.raises(ValueError, match="--ftti"):
        milliseconds(text)
    assert milliseconds("0.2s") == milliseconds("200ms") == 200
