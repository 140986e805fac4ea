"""Admission: what passes, what is refused, and with which numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pipeline_stages import Bend, Frames, stages

from edgeinfer import board as boards
from edgeinfer.board import StageBudget
from edgeinfer.errors import AdmissionError, BoardError
from edgeinfer.pipeline.control import ControlStage
from edgeinfer.pipeline.pipeline import Pipeline
from edgeinfer.pipeline.schedule import fixed, offsets, order, sensitivity
from edgeinfer.pipeline.schedule.admission import Admission, Question, Row
from edgeinfer.pipeline.schedule.chains import Chain
from edgeinfer.pipeline.schedule.platform import Platform, limits
from edgeinfer.pipeline.schedule.tasks import Task
from edgeinfer.pipeline.stage import Stage, Timing
from edgeinfer.pipeline.vehicle import PASSENGER_CAR


class Named(Bend):
    """A stage of any name and wiring."""

    def __init__(self, name: str, inputs: tuple[str, ...], *timing: float) -> None:
        super().__init__(Timing(*timing) if timing else Timing(50, 1, 1000))
        self.name, self.inputs = name, inputs  # type: ignore[misc]


def ask(three: list[Stage], cores: int = 2, **more: Any) -> Admission:
    limit = more.pop("limit", 0.9)
    return Question(three, 50.0, Platform(cores, limit), **more).answer()


def row(found: Admission, name: str) -> Row:
    return next(r for r in found.rows if r.name == name)


def test_ages_follow_the_responses() -> None:
    """By hand: 5 alone on one core; 4 and then 2 on the other, one after the other. What perception
    reads is up to a period of the source old, 20; planning's data 25, control's 29, the command 31.
    """
    found = ask(stages())
    assert found.admitted
    assert [r.response_ms for r in found.rows] == [5.0, 4.0, 2.0]
    assert [r.age_ms for r in found.rows] == [20.0, 25.0, 29.0]
    (chain,) = found.chains
    assert str(chain) == "source > perception > planning > control > guard"
    assert (chain.age_ms, chain.reaction_ms) == (31.0, 51.0)
    assert sorted(round(u, 3) for u in found.cores) == [0.25, 0.3]


def test_stages_that_are_at_work_at_once_delay_each_other() -> None:
    """On one core 8, 6 and 4 come one after the other; with a guard of 2 they no longer fit."""
    three: list[Stage] = [
        Named(n, (i,), 50, c, 500) for n, i, c in (("a", "source", 8), ("b", "a", 6), ("c", "b", 4))
    ]
    free = Question(three, 50.0, Platform(1, 1.0)).answer()
    assert [r.response_ms for r in free.rows] == [8.0, 6.0, 4.0]
    crowded = Question(three, 50.0, Platform(1, 1.0, guard_ns=2_000_000)).answer()
    assert [row(crowded, n).response_ms for n in "abc"] == [20.0, 20.0, 20.0]


def test_one_core_takes_all() -> None:
    assert ask(stages(), 1).cores == (pytest.approx(0.55),)
    assert ask(stages(), 1, limit=0.5).problems == ("core 0: utilisation 0.55 > 0.50",)


def test_pinned_stages_stay() -> None:
    entries = {n: StageBudget(50, 1, 100, core=1) for n in ("perception", "planning", "control")}
    found = ask(stages(), entries=entries)
    assert found.cores == (0.0, pytest.approx(0.55))
    assert found.core("control") == 1
    wrong = {"control": StageBudget(50, 1, 100, core=2)}
    with pytest.raises(ValueError, match="core 2; there are 2"):
        ask(stages(), entries=wrong)


def test_kernel_ends_priorities_and_segments_count() -> None:
    entries = {
        "perception": StageBudget(50, 5, 100, priority=1, segment_ms=3),
        "control": StageBudget(50, 2, 100, priority=9),
    }
    platform = Platform(
        1, 0.9, "fifo", 5, jitter_ns=100_000, kernel_ns=50_000, source_ns=10**6, guard_ns=500_000
    )
    three = [*stages()[:2], ControlStage(Timing(100, 2, 100), PASSENGER_CAR)]
    found = Question(three, 50.0, platform, entries).answer()
    control = row(found, "control")
    assert (control.blocking_ms, control.priority) == (3.0, 9)
    # Guard 0.5, blocked 3, own 2, jitter 0.1, and 0.05 of the kernel for each of 6 ms begun.
    assert control.response_ms == pytest.approx(5.9)
    assert row(found, "guard").priority == 10
    # With what others may have left, perception and planning do not fit one after the other: all
    # of planning, two of control and of the guard, and 16 of the kernel.
    assert row(found, "perception").response_ms == pytest.approx(0.1 + 5 + 4 + 4 + 1 + 1 + 0.8)


def test_what_others_left_counts() -> None:
    """By hand: b runs when a does not, but a may have held up x, of which two jobs are left."""
    a, x = Task("a", 100, 9, 100, priority=3), Task("x", 20, 2, 20, priority=2)
    b = Task("b", 100, 19, 100)
    together = fixed.response_times([a, x, b])
    assert together == {"a": 9, "x": 11, "b": 32}
    assert fixed.alone_ns(b, [x, b], together) == 19 + 2 * 2
    assert fixed.alone_ns(b, [x, b], {"x": 2}) == 19 + 2 * 2
    assert fixed.alone_ns(replace(b, wcet_ns=15), [x, b], together) == 15 + 2 * 2
    assert fixed.alone_ns(replace(b, wcet_ns=15), [x, b], {"x": 2}) == 15 + 2
    assert fixed.alone_ns(b, [x, b], {"x": None}) is None


def test_who_shares_an_accelerator_waits_for_it() -> None:
    entries = {
        "perception": StageBudget(50, 5, 100, accelerator="gpu", accelerator_ms=4),
        "planning": StageBudget(50, 4, 100, accelerator="gpu", accelerator_ms=3),
    }
    found = ask(stages(), 4, entries=entries)
    assert [r.wait_ms for r in found.rows] == [3.0, 4.0, 0.0]
    assert [r.response_ms for r in found.rows] == [8.0, 8.0, 2.0]
    assert [r.response_ms for r in ask(stages(), 1, entries=entries).rows] == [8.0, 8.0, 2.0]
    assert found.accelerators == {"gpu": pytest.approx(0.35)}
    much = {**entries, "planning": replace(entries["planning"], accelerator_ms=17)}
    assert "gpu: utilisation 1.05 > 1" in ask(stages(), 4, entries=much).problems


def test_earliest_deadline_first_needs_a_density() -> None:
    platform = Platform(1, 1.0, "deadline", 0)
    assert Question(stages(), 50.0, platform).answer().admitted
    hurried = [*stages()[:2], ControlStage(Timing(50, 2, 100, 3), PASSENGER_CAR)]
    (problem,) = Question(hurried, 50.0, platform).answer().problems
    assert problem == "earliest deadline first: density 0.12 too much for 1 cores"


@pytest.mark.parametrize(
    ("timing", "said"),
    [
        (Timing(50, 0, 100), "control: budget 0 ms, every stage must have one"),
        (Timing(50, 21, 100), "control: budget 21 ms > period 20 ms"),
        (Timing(50, 21, 100), "control: response without bound, core 2 is full"),
        (Timing(50, 2, 28), "control: input up to 29.0 ms old > 28 ms"),
        (Timing(50, 2, 100, 1), "control: response 2.0 ms > deadline 1 ms on core 2"),
        (Timing(50, 2, 100, 30), "control: deadline 30 ms > period 20 ms"),
    ],
)
def test_refusals_name_the_numbers(timing: Timing, said: str) -> None:
    entries = {"control": StageBudget(50, 1, 1, core=2)}
    three = [*stages()[:2], ControlStage(timing, PASSENGER_CAR)]
    found = ask(three, 4, entries=entries)
    assert said in found.problems
    with pytest.raises(AdmissionError, match="cannot keep its budgets"):
        found.check()


def test_chains_have_limits() -> None:
    names = ("source", "perception", "planning", "control", "guard")
    found = ask(stages(), limits=[Chain(names, 30, 58), Chain(("source", "x", "guard"))])
    assert found.problems == (f"{' > '.join(names)}: data up to 31.0 ms > 30 ms",)
    assert "chain source > x > guard is not of this pipeline" in found.notes


def test_slack_and_scale_are_borders() -> None:
    """The largest budgets that pass do; a little more does not."""
    question = Question(stages(), 50.0, Platform(2))
    slack = sensitivity.slack_ms(question)
    assert slack["perception"] == pytest.approx(13.0), "20 ms, and 0.9 of them"
    for name, more in slack.items():
        assert more is not None
        for extra, passes in ((0.0, True), (0.02, False)):
            longer = [
                Named(s.name, s.inputs, 50, s.timing.budget_ms + (more + extra) * (s.name == name),
                      s.timing.max_age_ms) for s in stages()
            ]  # fmt: skip
            placed = sensitivity._placed(question, question.answer())
            assert replace(placed, stages=longer).answer().admitted == passes, name
    assert sensitivity.scale(question).factor == pytest.approx(3.0)
    assert sensitivity.scale(question).first.startswith("core 1: utilisation")


def test_changes_that_help_do() -> None:
    three: list[Stage] = [
        Named("perception", ("source",), 50, 19, 100),
        Named("planning", ("perception",), 50, 4, 60),
        Named("control", ("planning",), 50, 2, 80),
    ]
    found = sensitivity.changes(Question(three, 50.0, Platform(2)))
    assert "perception: budget 18 ms" in found
    assert not any(f.startswith("control") for f in found)
    three[0].timing = Timing(50, 5, 10)
    assert "perception: maximum input age 20 ms" in sensitivity.changes(
        Question(three, 50.0, Platform(2))
    )


def test_pipeline_refuses_to_start_unless_told():
    three = [*stages()[:2], ControlStage(Timing(50, 21, 100), PASSENGER_CAR)]
    pipeline = Pipeline(three, Frames(3))
    with pytest.raises(AdmissionError, match="budget 21 ms > period 20 ms"):
        pipeline.run_inline()
    with pytest.raises(AdmissionError, match="budget 21 ms > period 20 ms"):
        pipeline.run_processes(seconds=1)
    assert pipeline.run_inline(admit="anyway").frames == 3
    with pytest.raises(ValueError, match="admit='maybe'"):
        pipeline.run_inline(admit="maybe")


def test_order_follows_the_data():
    a, b, c = Named("a", ("c",)), Named("b", ("a", "c")), Named("c", ("source",))
    assert [s.name for s in order([a, b, c])] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("wiring", "said"),
    [
        ([("a", ("b",)), ("b", ("a",))], "circle"),
        ([("a", ("nobody",))], "reads 'nobody'"),
        ([("a", ("source",)), ("a", ("source",))], "'a' is taken"),
        ([("guard", ("source",))], "'guard' is taken"),
    ],
)
def test_wrong_wiring_is_refused(wiring, said):
    wrong: list[Stage] = [Named(*w) for w in wiring]
    with pytest.raises(ValueError, match=said):
        order(wrong)


def test_who_gives_the_command_must_be_clear():
    two: list[Stage] = [Named("a", ("source",)), Named("b", ("source",))]
    with pytest.raises(ValueError, match="say commands=NAME"):
        Pipeline(two, Frames(1))
    assert Pipeline(two, Frames(1), commands="b").commands == "b"


def test_offsets_follow_the_budgets():
    ms = {name: ns / 1e6 for name, ns in offsets(stages()).items()}
    assert ms == {"perception": 2.0, "planning": 7.0, "control": 11.0}


@pytest.mark.parametrize("name", boards.names())
def test_every_board_admits_its_own_budgets(name):
    """Boards are data: each names the three stages, and its numbers pass its own analysis."""
    board = boards.load(name)
    own = {n: Timing(b.rate_hz, b.budget_ms, b.max_age_ms) for n, b in board.stages.items()}
    three: list[Stage] = [
        Named("perception", ("source",)),
        Named("planning", ("perception",)),
        Named("control", ("planning",)),
    ]
    for stage in three:
        stage.timing = own[stage.name]
    pipeline = Pipeline(three, Frames(1), board=board)
    pipeline.admission(own["perception"].rate_hz).check()
    assert set(own) == {"perception", "planning", "control"}


_BOARD = """[board]
name = "b"
cores = 3
[realtime]
priority = 7
policy = "fifo"
[kernel]
jitter_us = 250
work_us = 20
[ends]
source_ms = 2
guard_ms = 0.5
[stages.perception]
rate_hz = 50
budget_ms = 5
max_age_ms = 40
priority = 3
deadline_ms = 15
[[chains]]
stages = ["perception", "planning"]
max_age_ms = 90
"""


def board(folder: Path, text: str) -> boards.Board:
    (folder / "board.toml").write_text(text)
    return boards.load(folder)


def test_boards_say_what_the_analysis_needs(tmp_path: Path) -> None:
    b = board(tmp_path, _BOARD)
    assert Platform.of(b) == Platform(
        3, 0.9, "fifo", 7, 250_000, 20_000, 1_000_000, 2_000_000, 500_000
    )
    assert limits(b) == [Chain(("source", "perception", "planning", "guard"), 90.0)]
    assert (b.stages["perception"].priority, b.stages["perception"].deadline_ms) == (3, 15.0)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"fifo"', '"lottery"', "policy 'lottery' is none of"),
        ("jitter_us = 250", "jitter_us = -1", "jitter_us = -1"),
        ("work_us = 20", 'work_us = "much"', "work_us = 'much'"),
        ("[ends]", "[[ends]]", "write \\[ends\\]"),
        ("max_age_ms = 90", "max_age_ms = true", "max_age_ms = True"),
        ('stages = ["perception", "planning"]', "stages = 3", "no list of stages"),
        ("priority = 3", "prioritee = 3", "prioritee"),
    ],
)
def test_wrong_boards_are_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(BoardError, match=said):
        _analysed(tmp_path, _BOARD.replace(old, new))


def _analysed(folder: Path, text: str) -> object:
    b = board(folder, text)
    return Platform.of(b), limits(b)
