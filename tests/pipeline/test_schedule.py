"""Admission: what passes, what is refused, and with which numbers."""

from __future__ import annotations

import pytest
from pipeline_stages import Bend, Frames, stages

from edgeinfer import board as boards
from edgeinfer.errors import AdmissionError
from edgeinfer.pipeline.control import ControlStage
from edgeinfer.pipeline.pipeline import Pipeline
from edgeinfer.pipeline.schedule import admit, offsets, order
from edgeinfer.pipeline.stage import Stage, Timing
from edgeinfer.pipeline.vehicle import PASSENGER_CAR


class Named(Bend):
    """A stage of any name and wiring."""

    def __init__(self, name: str, inputs: tuple[str, ...], *timing: float) -> None:
        super().__init__(Timing(*timing) if timing else Timing(50, 1, 1000))
        self.name, self.inputs = name, inputs  # type: ignore[misc]


def test_ages_add_periods_and_budgets():
    """By hand: source 20; perception's output 20+5+20=45 old; planning's 45+4+20=69."""
    result = admit(stages(), 50.0, cores=2)
    assert result.admitted
    assert [r.age_ms for r in result.rows] == [20.0, 45.0, 69.0]
    assert result.age_ms == 71.0
    assert [round(r.utilisation, 3) for r in result.rows] == [0.25, 0.2, 0.1]
    assert sorted(round(u, 3) for u in result.cores) == [0.25, 0.3]


def test_one_core_takes_all():
    assert admit(stages(), 50.0, cores=1).cores == (pytest.approx(0.55),)
    result = admit(stages(), 50.0, cores=1, limit=0.5)
    assert result.problems == ("core 0: utilisation 0.55 > 0.50",)


def test_pinned_stages_stay():
    result = admit(stages(), 50.0, 2, pinned={"perception": 1, "planning": 1, "control": 1})
    assert result.cores == (0.0, pytest.approx(0.55))
    with pytest.raises(ValueError, match="core 2; there are 2"):
        admit(stages(), 50.0, 2, pinned={"control": 2})


@pytest.mark.parametrize(
    ("timing", "said"),
    [
        (Timing(50, 0, 100), "control: budget 0 ms, every stage must have one"),
        (Timing(50, 21, 100), "control: budget 21 ms > period 20 ms"),
        (Timing(50, 2, 68), "control: input up to 69.0 ms old > 68 ms"),
    ],
)
def test_refusals_name_the_numbers(timing, said):
    three = [*stages()[:2], ControlStage(timing, PASSENGER_CAR)]
    result = admit(three, 50.0, cores=4)
    assert said in result.problems
    with pytest.raises(AdmissionError, match="cannot keep its budgets"):
        result.check()


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
