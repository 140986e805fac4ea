"""Published examples, and bounds against a simulation."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import task_sets

from edgeinfer.pipeline.schedule import admission, chains, edf, fixed
from edgeinfer.pipeline.schedule.chains import Link
from edgeinfer.pipeline.schedule.tasks import Task, utilisation

SETS = 3000


def ordered(*rows: tuple[int, ...]) -> list[Task]:
    """(period, work[, deadline]), the most urgent first."""
    return [
        Task("abcdefg"[i], r[0], r[1], r[2] if len(r) > 2 else r[0], priority=-i)
        for i, r in enumerate(rows)
    ]


def test_burns_and_wellings() -> None:
    """Real-Time Systems and Programming Languages, the chapter on scheduling: two task sets."""
    assert fixed.response_times(ordered((7, 3), (12, 3), (20, 5))) == {"a": 3, "b": 6, "c": 20}
    assert fixed.response_times(ordered((20, 5), (40, 10), (80, 40))) == {"a": 5, "b": 15, "c": 80}


def test_liu_and_layland() -> None:
    """1973: rate-monotonic, a load up to n(2^(1/n) - 1) always passes."""
    rng = random.Random(1)
    for _ in range(300):
        count = rng.randint(2, 6)
        bound = count * (2 ** (1 / count) - 1)
        periods = sorted(rng.randint(100, 1000) for _ in range(count))
        shares = task_sets.shares(rng, count, bound)
        rows = [(p, int(s * p)) for p, s in zip(periods, shares, strict=True)]
        times = fixed.response_times(ordered(*rows))
        assert all((times["abcdefg"[i]] or 0) <= r[0] for i, r in enumerate(rows))


def test_lehoczky_jobs_after_the_first_are_the_worst() -> None:
    """1990: 26 of 70 and 62 of 100; seven jobs in the busy period, the fifth takes 118."""
    assert fixed.response_times(ordered((70, 26), (100, 62)))["b"] == 118


def test_can_refuted_and_revised() -> None:
    """Davis et al. 2007: three frames of 1 ms; the second of C ends after 3.5 ms, not 3.0."""
    a, b, c = ordered((250, 100), (350, 100), (350, 100))
    assert fixed.response_ns(c, [a, b, c], preemptive=False) == 350
    assert fixed.response_ns(b, [a, b, c], preemptive=False) == 300
    assert fixed.response_ns(a, [a, b, c], preemptive=False) == 200


def test_jitter_blocking_and_equals_by_hand() -> None:
    a, b = ordered((10, 2), (20, 5))
    assert fixed.response_ns(b, [replace(a, jitter_ns=4), b]) == 9, "at 0 and at 6"
    assert fixed.response_ns(replace(a, jitter_ns=4), [a]) == 6
    long = replace(b, segment_ns=3)
    assert (fixed.response_ns(a, [a, long]), fixed.blocking_ns(a, [a, long])) == (5, 3)
    equal = replace(b, priority=0)
    assert fixed.response_ns(a, [a, equal]) == 7, "whoever came first goes first"


def test_a_full_core_has_no_bound() -> None:
    a, b = ordered((10, 6), (10, 5))
    assert fixed.response_times([a, b]) == {"a": 6, "b": None}
    a, b = ordered((10, 5), (10, 5))
    assert fixed.response_times([a, b]) == {"a": 5, "b": 10}
    assert fixed.response_ns(b, [replace(a, jitter_ns=1), b]) is None


def test_buttazzo_demand() -> None:
    """Hard Real-Time Computing Systems, the example of the processor demand criterion."""
    tasks = ordered((6, 2, 4), (8, 2, 5), (9, 3, 7))
    assert [edf.demand_ns(tasks, w) for w in (4, 5, 7, 10, 13, 16)] == [2, 4, 7, 9, 11, 16]
    assert edf.overload(tasks) is None
    assert edf.overload([*tasks[:2], replace(tasks[2], deadline_ns=6)]) == (6, 7, "c")
    assert edf.overload([tasks[0], Task("z", 100, 9, 100, segment_ns=3)]) == (4, 5, "a")


def test_edf_takes_a_full_core_with_deadlines_at_the_periods() -> None:
    tasks = ordered((2, 1), (3, 1), (6, 1))
    assert utilisation(tasks) == 1
    assert edf.overload(tasks) is None
    assert edf.overload([*tasks, Task("x", 1000, 1, 1000)]) is not None
    assert edf.overload([Task("x", 10, 1, 3, jitter_ns=3)]) == (0, 1, "x")


def test_global_density() -> None:
    """Dhall & Liu 1978: little load, and still too much for any number of cores."""
    light = [Task(f"l{i}", 10, 1, 10) for i in range(3)]
    heavy = Task("h", 11, 11, 11)
    assert edf.density_excess([*light, heavy], 3) > 0
    assert edf.density_excess(light, 1) == Fraction(3, 10) - 1
    assert edf.density_excess([Task("x", 10, 5, 4)], 8) == Fraction(1, 4)


def test_chains_by_hand() -> None:
    """Without phases each stage adds its period and response; with them, what was due is there."""
    alone = [Link("a", 10, 2), Link("b", 20, 5), Link("c", 20, 3)]
    assert chains.ends(alone) == chains.Ends((0, 12, 37), 40, 60)
    clock = [Link("a", 20, 2, 0), Link("b", 20, 5, 2), Link("c", 20, 3, 7)]
    assert chains.ends(clock) == chains.Ends((0, 2, 7), 10, 30)
    late = [*clock[:2], Link("c", 20, 3, 6)]
    assert chains.ends(late).read_ns == (0, 2, 26), "released before what it reads is there"
    faster = [Link("a", 20, 2, 0), Link("b", 10, 1, 2)]
    assert chains.ends(faster).read_ns == (0, 12), "every other job reads the same again"
    coprime = [Link("a", 999_983, 1, 0), Link("b", 1_000_003, 1, 1)]
    assert chains.ends(coprime).read_ns == (0, 999_984), "too long to look at each"
    with pytest.raises(ValueError, match="at least one"):
        chains.ends([])


@pytest.mark.parametrize(
    "wrong",
    [
        {"period_ns": 0},
        {"wcet_ns": -1},
        {"deadline_ns": 0},
        {"jitter_ns": -1},
        {"segment_ns": 9},
    ],
)
def test_wrong_tasks_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)).split("_")[0]):
        replace(Task("t", 10, 5, 10), **wrong)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> task_sets.Simulator:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: apt-get install gcc")
    folder = Path(tmp_path_factory.mktemp("simulate"))
    task_sets.compile_simulator(folder)
    return task_sets.Simulator(folder)


def test_no_response_is_longer_than_its_bound(simulator: task_sets.Simulator) -> None:
    found = [task_sets.core_violation(random.Random(i), simulator) for i in range(SETS)]
    assert [v for v in found if v] == []


def test_no_stage_of_a_pipeline_is_later_than_its_bound(simulator: task_sets.Simulator) -> None:
    found = [task_sets.pipeline_violation(random.Random(i), simulator) for i in range(SETS // 3)]
    assert [v for v in found if v] == []


def test_the_simulation_finds_stages_that_meet(
    simulator: task_sets.Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission.Question, "_clashes", lambda *_: set())
    found = (task_sets.pipeline_violation(random.Random(i), simulator) for i in range(SETS))
    assert any(found)


def test_no_data_is_older_than_its_bound(simulator: task_sets.Simulator) -> None:
    found = [task_sets.chain_violation(random.Random(i), simulator) for i in range(SETS)]
    assert [v for v in found if v] == []


def test_what_is_released_together_takes_exactly_the_bound(simulator: task_sets.Simulator) -> None:
    """The simulation finds the worst case where it is known: releases at once, whole work."""
    rng, equal = random.Random(3), 0
    for _ in range(200):
        tasks = [replace(t, jitter_ns=0, segment_ns=0, priority=i)
                 for i, t in enumerate(task_sets.task_set(rng, 0))]  # fmt: skip
        bounds = fixed.response_times(tasks)
        seen = simulator.core(tasks, task_sets.FIXED, False, True, 1)
        if all(bounds.values()) and utilisation(tasks) < Fraction(9, 10):
            assert seen == bounds
            equal += 1
    assert equal > 50


@pytest.mark.parametrize("without", ["blocking", "jitter", "later jobs", "deadlines"])
def test_the_simulation_finds_wrong_bounds(
    simulator: task_sets.Simulator, monkeypatch: pytest.MonkeyPatch, without: str
) -> None:
    if without == "blocking":
        monkeypatch.setattr(fixed, "blocking_ns", lambda *_: 0)
    elif without == "jitter":
        monkeypatch.setattr(fixed, "_jobs", lambda t, w: -(-w // t.period_ns))
    elif without == "later jobs":
        one = fixed._preemptive, fixed._non_preemptive
        monkeypatch.setattr(fixed, "_preemptive", lambda t, a, h, q: one[0](t, a, h, 0))
        monkeypatch.setattr(fixed, "_non_preemptive", lambda t, a, h, q: one[1](t, a, h, 0))
    else:
        monkeypatch.setattr(edf, "overload", lambda tasks: None)
    found = (task_sets.core_violation(random.Random(i), simulator) for i in range(SETS))
    assert any(found)


def test_the_simulation_finds_wrong_ages(
    simulator: task_sets.Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = chains.ends

    def shorter(links: list[Link]) -> chains.Ends:
        found = whole(links)
        least = min(x.period_ns for x in links)
        return replace(found, age_ns=found.age_ns - least, reaction_ns=found.reaction_ns - least)

    monkeypatch.setattr(chains, "ends", shorter)
    found = (task_sets.chain_violation(random.Random(i), simulator) for i in range(SETS))
    assert any(found)
