"""Runs with a deadline: when they give up, what stands in, cancel and close."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgeinfer as ei
from edgeinfer import _native, board, delegates
from edgeinfer.delegates.base import Delegate, Refusal
from edgeinfer.engine import scheduler
from edgeinfer.engine.deadline import CpuPlan, LastResult, Rung, SmallerModel
from edgeinfer.engine.graph import Graph, Node
from edgeinfer.engine.plan import Plan, build
from edgeinfer.errors import (
    BoardError,
    DelegateError,
    PlanError,
    RunCancelledError,
    SessionClosedError,
    UnsupportedError,
)
from tests import models

NEVER_NS = 10**15  # longer than any deadline here is away


def net(
    dtype: str = "int8", channels: int = 8, layers: int = 3, seed: int = 0, size: int = 16
) -> Graph:
    """Image "x" -> "y" [1, 4]: same names and shapes whatever the size."""
    make = models.Maker(dtype, seed)
    t = make.input("x", (1, size, size, 3))
    for _ in range(layers):
        t = make.conv(t, channels, activation="RELU")
    y = make.fc(make.mean(t), 4)
    y.name = "y"
    return make.graph(y)


def fed(session: ei.Session, seed: int = 0) -> ei.Session:
    rng = np.random.default_rng(seed)
    for name, t in session.inputs.items():
        real = rng.uniform(-2, 2, t.shape)
        q = real if t.dtype == "float32" else np.clip(np.rint(real / t.scale) + t.zero, -128, 127)
        session[name][...] = q.astype(t.dtype)
    return session


def result(source: Plan | ei.Session, seed: int = 0) -> np.ndarray:
    session = fed(source if isinstance(source, ei.Session) else ei.Session(source), seed)
    session.run()
    return session["y"].copy()


def soon() -> int:
    return time.monotonic_ns() + 10**11


def pretend(session: ei.Session, *rests: Sequence[int]) -> None:
    """Make the walker believe that from step i on the run of plan k takes rests[k][i] ns."""
    plans = []
    for rung, rest in zip(session._rungs(), rests, strict=True):
        times = rung.measure(2, 0.5, 1.0)
        steps = len(times.rest_ns)
        plans.append(replace(times, rest_ns=tuple([*rest, *[0] * steps][:steps])))
    session.times = ei.Times(0.5, 2, session.threads, tuple(plans))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_in_time_the_result_is_that_of_a_run_without_deadline(dtype: str, threads: int) -> None:
    plan = build(net(dtype))
    session = fed(ei.Session(plan, threads=threads))
    assert session.run(deadline=None) is None
    outcome = session.run(deadline=soon())
    assert (outcome.kind, outcome.substitute, outcome.valid) == ("ok", "", True)
    assert 0 < outcome.age_ns < 10**10
    assert np.array_equal(session["y"], result(plan))
    assert session.outcomes == {"ok": 1}


@pytest.mark.parametrize("shares", [2, 3, 7, 64])
@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("isa", _native.isas())
def test_shares_change_nothing(isa: str, dtype: str, shares: int) -> None:
    plan = build(models.network(dtype, size=24), isa=isa)
    want, session = ei.Session(plan), ei.Session(plan, threads=2)
    out = next(iter(session.outputs))
    steps = [_native.lib.ei_plan_step_shares(plan.handle, s.index) for s in plan.steps()]
    assert max(steps) > 1
    cuts = [min(shares, most) for most in steps]
    assert _native.lib.ei_session_set_cuts(session._handle, cuts, len(cuts)) == 0
    fed(want).run()
    fed(session).run(deadline=soon())
    assert np.array_equal(want[out], session[out])


@pytest.mark.parametrize("step", [0, 1, 3])
def test_gives_up_before_the_step_from_which_time_is_short(step: int) -> None:
    session = fed(ei.Session(build(net())))
    pretend(session, [0] * step + [NEVER_NS])
    outcome = session.run(deadline=soon())
    assert (outcome.kind, outcome.valid) == ("late", False)
    done = _native.ffi.new("ei_result *")
    assert _native.lib.ei_session_run_by(session._handle, soon(), done) == 0
    assert (done.outcome, done.step) == (_native.lib.EI_LATE, step)


def test_a_deadline_that_has_passed_is_late() -> None:
    session = fed(ei.Session(build(net())))
    assert session.run(deadline=time.monotonic_ns() - 1).kind == "late"
    assert session.run(deadline=-5).kind == "late"
    with pytest.raises(TypeError):
        session.run(deadline=0.5)
    with pytest.raises(TypeError, match="deadline"):
        session.run(5)
    with pytest.raises(TypeError, match="deadline"):
        session.run(within=5)


def test_the_last_result_stands_in_with_its_age() -> None:
    plan = build(net())
    session = ei.Session(plan, substitutes=[LastResult(60.0)])
    pretend(session, [0, 0, NEVER_NS])
    assert fed(session, 1).run(deadline=soon()).kind == "late", "there is no last result yet"
    want = result(session, 1)
    ages = []
    for _ in range(2):  # giving up does not destroy what is kept
        session["y"][...] = 0
        outcome = fed(session, 2).run(deadline=soon())
        assert (outcome.kind, outcome.substitute) == ("substituted", "last")
        assert np.array_equal(session["y"], want)
        ages.append(outcome.age_ns)
    assert 0 < ages[0] < ages[1] < 10**10
    assert session.outcomes == {"late:nothing": 1, "substituted:last": 2}


def test_a_last_result_too_old_does_not_stand_in() -> None:
    session = ei.Session(build(net()), substitutes=[LastResult(1e-9)])
    result(session)
    pretend(session, [NEVER_NS])
    assert session.run(deadline=soon()).kind == "late"


@pytest.mark.parametrize("small", ["int8", "float32"])
@pytest.mark.parametrize("large", ["int8", "float32"])
def test_a_smaller_model_stands_in_and_means_the_same(large: str, small: str) -> None:
    """Its outputs in the session's own quantisation, from the session's own inputs."""
    plan, other = build(net(large, 16)), build(net(small, 4, seed=9))
    session = fed(ei.Session(plan, substitutes=[SmallerModel(other)]), 3)
    before = session["x"].copy()
    pretend(session, [0, 0, NEVER_NS], [])
    outcome = session.run(deadline=soon())
    assert (outcome.kind, outcome.substitute, outcome.valid) == ("substituted", "smaller", True)
    assert np.array_equal(session["x"], before)
    own, its = plan.outputs["y"], other.outputs["y"]
    alone = fed(ei.Session(other), 3)
    x, y = plan.inputs["x"], other.inputs["x"]
    real = before if x.dtype == "float32" else x.scale * (before.astype(np.float32) - x.zero)
    quant = np.clip(np.rint(real / (y.scale or 1)) + y.zero, -128, 127)
    alone["x"][...] = real if y.dtype == "float32" else quant.astype(np.int8)
    alone.run()
    got, want = (
        s["y"] if t.dtype == "float32" else t.scale * (s["y"].astype(np.float32) - t.zero)
        for s, t in ((session, own), (alone, its))
    )
    low, high = own.scale * (np.array([-128, 127]) - own.zero) if own.scale else (-1e9, 1e9)
    assert np.abs(got - np.clip(want, low, high)).max() <= 0.51 * own.scale + 1e-6
    assert np.array_equal(result(session, 4), result(plan, 4)), "the first plan is whole again"


def test_the_ladder_is_tried_from_the_top() -> None:
    plan, small, smaller = build(net(channels=32)), build(net(channels=8)), build(net(channels=4))
    session = ei.Session(
        plan, substitutes=[SmallerModel(small), SmallerModel(smaller), LastResult(60.0)]
    )
    last = result(session, 5)
    fed(session, 6)
    pretend(session, [NEVER_NS], [0, NEVER_NS], [])
    fed(session, 6)
    assert session.run(deadline=soon()).name == "substituted:smaller2"
    second = session["y"].copy()
    pretend(session, [NEVER_NS], [NEVER_NS], [NEVER_NS])
    assert session.run(deadline=soon()).name == "substituted:last"
    assert np.array_equal(session["y"], last)
    alone = fed(ei.Session(smaller), 6)
    alone.run()
    x, y = plan.outputs["y"], smaller.outputs["y"]
    real = y.scale * (alone["y"].astype(np.float32) - y.zero)
    assert np.abs(np.clip(np.rint(real / x.scale) + x.zero, -128, 127) - second).max() <= 1


def test_an_outcome_can_be_repeated() -> None:
    """Whatever the clock says: as a replay wants it."""
    plan, small = build(net(channels=16)), build(net(channels=4, seed=9))
    session, both = (
        ei.Session(plan, substitutes=[SmallerModel(small), LastResult(1e-9)]) for _ in range(2)
    )
    last, fresh = result(session, 1), result(plan, 2)
    pretend(both, [NEVER_NS], [])
    fed(both, 2).run(deadline=soon())
    kept = {"substituted:last": last, "late:last": last, "late:nothing": last}
    made = {"substituted:smaller": both["y"], "ok": fresh, "late": fresh}
    for name, want in {**kept, **made}.items():
        outcome = fed(session, 2).repeat(name)
        assert outcome.name == name
        assert np.array_equal(session["y"], want)
    for name in ("substituted:cpu", "cancelled", "substituted", "ok:nothing:more"):
        with pytest.raises(PlanError, match="as substitutes"):
            session.repeat(name)


def test_a_smaller_model_uses_the_memory_of_the_first() -> None:
    plan, small = build(net(channels=32)), build(net(channels=8))
    alone, both = (ei.Session(plan, substitutes=s) for s in ([], [SmallerModel(small)]))
    assert plan.arena_bytes > 2 * small.arena_bytes
    assert both.memory_bytes - alone.memory_bytes < small.arena_bytes + 16384


def test_a_substitute_must_mean_the_same() -> None:
    own = net()
    renamed = Graph("renamed", own.nodes, own.inputs, {"z": own.outputs["y"]})
    two = Graph("two", own.nodes, own.inputs, {"y": own.outputs["y"], "z": own.nodes[0].outputs[0]})
    wrong = [(renamed, "no output 'y'"), (net(size=8), "no input 'x'"), (two, "2 outputs")]
    for graph, what in wrong:
        with pytest.raises(UnsupportedError, match=what):
            ei.Session(build(net()), substitutes=[SmallerModel(build(graph))])
    ei.Session(build(net()), substitutes=[SmallerModel(build(net("uint8")))])
    stateful = build(models.variables())
    with pytest.raises(UnsupportedError, match="states"):
        ei.Session(stateful, substitutes=[SmallerModel(stateful)])


def test_a_run_given_up_or_cancelled_never_happened_to_the_states() -> None:
    session, want = (ei.Session(build(models.variables())) for _ in range(2))
    for k in range(4):
        session["x"][...] = want["x"][...] = k
        steps = _native.lib.ei_plan_steps(session.plan.handle)
        rest = [0] * (steps - 1) + [NEVER_NS]
        assert _native.lib.ei_session_set_rest(session._handle, rest, steps) == 0
        assert session.run(deadline=soon()).kind == "late"
        assert _native.lib.ei_session_set_rest(session._handle, [0] * steps, steps) == 0
        assert session.run(deadline=soon()).kind == "ok"
        want.run()
        assert np.array_equal(session["out"], want["out"])


def test_times_are_measured_kept_and_refused_for_another_plan(tmp_path: Path) -> None:
    plan = build(net(channels=32))
    session = fed(ei.Session(plan, substitutes=[SmallerModel(build(net(channels=8)))]))
    assert session.longest_segment is None
    want = result(plan)
    times = session.calibrate(runs=20, quantile=0.5, segment_s=2e-6)
    assert len(times.plans) == 2
    assert list(times.plans[0].rest_ns) == sorted(times.plans[0].rest_ns, reverse=True)
    assert max(times.plans[0].cuts) > 1
    assert 0 < times.longest_segment < times.total
    assert session.longest_segment == times.longest_segment
    assert session.run(deadline=soon()).kind == "ok"
    assert np.array_equal(session["y"], want)
    # What the run needs is known: half of it is not enough, and is not begun.
    assert session.run(deadline=time.monotonic_ns() + times.plans[0].rest_ns[0] // 2).kind != "ok"
    times.save(tmp_path / "times.json")
    again = ei.Session(plan, substitutes=[SmallerModel(build(net(channels=8)))])
    again.times = ei.Times.load(tmp_path / "times.json")
    assert again.times == times
    with pytest.raises(PlanError, match="another plan"):
        ei.Session(build(net()), substitutes=[SmallerModel(plan)]).times = times
    with pytest.raises(PlanError, match="2 plans"):
        ei.Session(plan).times = times
    (tmp_path / "other.json").write_text('{"plans": 3}')
    with pytest.raises(PlanError, match="not the times"):
        ei.Times.load(tmp_path / "other.json")


def big() -> ei.Session:
    """Runs of some 100 ms in many steps: the reference kernels."""
    return fed(ei.Session(build(net(channels=64, layers=6), isa="ref")))


def until_running(session: ei.Session) -> None:
    while not session.cancel():
        time.sleep(0.0002)


@pytest.mark.parametrize("deadline", [False, True])
def test_cancel_ends_the_run_and_no_later_one(deadline: bool) -> None:
    session = big()
    assert not session.cancel(), "no run is in progress"
    want = result(session)
    thread = threading.Thread(target=until_running, args=(session,))
    thread.start()
    with pytest.raises(RunCancelledError, match="cancelled"):
        session.run(deadline=soon() if deadline else None)
    thread.join()
    assert np.array_equal(result(session), want)


def test_random_cancels() -> None:
    """Whatever the moment, a run is whole or says that it was cancelled."""
    session = fed(ei.Session(build(net()), hold_gil=False))
    want, stop, cancelled, whole = result(session), threading.Event(), 0, 0

    def cancels() -> None:
        rng = np.random.default_rng(0)
        while not stop.is_set():
            session.cancel()
            time.sleep(rng.uniform(0, 2e-4))

    thread = threading.Thread(target=cancels)
    thread.start()
    end = time.monotonic() + 20
    while min(cancelled, whole) < 200 and time.monotonic() < end:
        try:
            session.run()
        except RunCancelledError:
            cancelled += 1
        else:
            whole += 1
            assert np.array_equal(session["y"], want)
    stop.set()
    thread.join()
    assert cancelled > 0
    assert whole > 0


def test_close_ends_the_run_and_refuses_the_next() -> None:
    with big() as session:
        want = result(session)
        view = session["y"]

        def closes() -> None:
            until_running(session)
            session.close()

        thread = threading.Thread(target=closes)
        thread.start()
        with pytest.raises((RunCancelledError, SessionClosedError)):
            session.run()
        thread.join()
        for deadline in (None, soon()):
            with pytest.raises(SessionClosedError):
                session.run(deadline=deadline)
        with pytest.raises(SessionClosedError):
            session.submit().result(20)
        assert view.shape == want.shape
        assert not session.cancel()


def test_futures_cancel_the_run_in_progress() -> None:
    session = big()
    first, second = session.submit(), session.submit()
    while not first.running():
        time.sleep(0.001)
    assert not first.cancel()
    with pytest.raises(RunCancelledError):
        first.result(20)
    assert second.result(20).keys() == {"y"}, "the next run is not hit"


def test_tasks_cancel_the_run_in_progress() -> None:
    session = big()

    async def cancels() -> None:
        run = session.submit()
        future = asyncio.wrap_future(run)
        while not run.running():
            await asyncio.sleep(0.001)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        await asyncio.sleep(0)  # the loop tells the run
        with pytest.raises(RunCancelledError):
            run.result(20)

    asyncio.run(cancels())


def test_submitted_runs_have_deadlines() -> None:
    session = ei.Session(build(net()), substitutes=[LastResult(60.0)])
    ok = session.submit({"x": fed(session)["x"].copy()}, deadline=soon())
    assert np.array_equal(ok.result(20)["y"], result(build(net())))
    late = session.submit(deadline=time.monotonic_ns() - 1)
    assert late.result(20).keys() == {"y"}
    assert (ok.outcome, late.outcome) != (None, None)
    assert ok.outcome is not None
    assert late.outcome is not None
    assert (ok.outcome.name, late.outcome.name) == ("ok", "late:last")


class Broken(Delegate):
    """Takes everything; what it made fails as often as told."""

    name = "broken"
    fails = 0
    slow_s = 0.0

    def available(self) -> str | None:
        return None

    def supports(self, node: Node) -> Refusal | None:
        return None

    def compile(self, part: Graph, rounding: str = "xnnpack") -> bytes:
        return b""

    def bind(
        self,
        compiled: bytes,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
        threads: int = 1,
    ) -> Broken:
        self.outputs = outputs
        return self

    def run(self) -> None:
        """Give 7 everywhere, or fail."""
        time.sleep(self.slow_s)
        self.fails -= 1
        if self.fails >= 0:
            raise DelegateError("the device is gone")
        for view in self.outputs:
            view[...] = 7


def with_delegate() -> Plan:
    """As net(): a node that we have no kernel for makes "y"."""
    make = models.Maker("float32")
    t = make.mean(make.conv(make.input("x", (1, 16, 16, 3)), 4))
    y = models.Tensor("y", t.shape, "float32")
    attrs = {"exclusive": False, "reverse": True}
    make.nodes.append(Node("CUMSUM", [t, make.ints(1)], [y], attrs, "y"))
    return build(make.graph(y), fallback="broken")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Broken:
    made = Broken()
    monkeypatch.setitem(delegates._known, "broken", made)
    return made


def test_the_cpu_plan_stands_in_for_a_delegate(broken: Broken) -> None:
    cpu, plan = build(net("float32")), with_delegate()
    session = fed(ei.Session(plan, substitutes=[CpuPlan(cpu), LastResult(60.0)]))
    assert session.run(deadline=soon()).kind == "ok"
    assert (session["y"] == 7).all()
    assert session.run() is None
    broken.fails = 1
    assert session.run(deadline=soon()).name == "substituted:cpu"
    assert np.allclose(session["y"], result(cpu), rtol=1e-5)
    assert session.run(deadline=time.monotonic_ns() - 1).name == "late:last"
    assert (session["y"] == 7).all()
    broken.fails = 1
    with pytest.raises(DelegateError, match="gone"):
        session.run()
    broken.fails = 1
    with pytest.raises(DelegateError, match="gone"):
        fed(ei.Session(plan)).run(deadline=soon())
    broken.slow_s = 0.02
    times = session.calibrate(runs=3)
    assert 0.02 < times.longest_segment <= times.total
    broken.fails = 1  # which it would, if it were asked
    assert session.run(deadline=time.monotonic_ns() + 15_000_000).substitute == "cpu"
    assert broken.fails == 1
    again = ei.Session(plan, substitutes=[CpuPlan(cpu)])
    with pytest.raises(PlanError, match="another plan"):
        again.times = replace(times, plans=times.plans[::-1])
    again.times = times
    assert not session.cancel(), "no run is in progress"
    session.close()
    with pytest.raises(SessionClosedError):
        session.run()


@pytest.fixture
def one_core() -> Iterator[None]:
    scheduler.set_cores(1)
    yield
    scheduler.set_cores(0)


@pytest.mark.usefixtures("one_core")
def test_a_run_with_a_deadline_goes_before_background_work() -> None:
    other, stop = big(), threading.Event()
    urgent = fed(ei.Session(build(net()), hold_gil=False))
    want, other_want = result(build(net())), result(other)
    same = []

    def background() -> None:
        while not stop.is_set():
            other.run()
            same.append(np.array_equal(other["y"], other_want))

    thread = threading.Thread(target=background)
    thread.start()
    end = time.monotonic() + 30
    while other.preempted < 5 and time.monotonic() < end:
        assert urgent.run(deadline=soon()).kind == "ok"
        assert np.array_equal(urgent["y"], want)
        time.sleep(0.001)
    stop.set()
    thread.join()
    assert other.preempted >= 5
    assert urgent.preempted == 0
    assert all(same)


@pytest.mark.usefixtures("one_core")
def test_submitted_runs_of_many_sessions_all_end() -> None:
    sessions = [ei.Session(build(net()), hold_gil=False) for _ in range(5)]
    feeds = [{"x": fed(ei.Session(build(net())), k)["x"].copy()} for k in range(4)]
    runs = [(k, s.submit(feeds[k])) for k in range(4) for s in sessions]
    for k, run in runs:
        assert np.array_equal(run.result(30)["y"], result(build(net()), k))


@pytest.mark.usefixtures("one_core")
def test_a_run_that_waits_for_its_turn_can_be_late_and_be_cancelled() -> None:
    """Another has the one core all the time, with an earlier deadline."""
    other, stop = big(), threading.Event()

    def busy() -> None:
        while not stop.is_set():
            other.run(deadline=1 << 60)

    thread = threading.Thread(target=busy)
    thread.start()
    waits = fed(ei.Session(build(net()), hold_gil=False))
    while not scheduler.waiting():
        assert waits.run(deadline=time.monotonic_ns() + 10**9).kind in ("ok", "late")
        run = waits.submit()
        time.sleep(0.003)
        if scheduler.waiting():
            break
        run.result(20)
    run.cancel()
    stop.set()
    thread.join()
    with pytest.raises(RunCancelledError):
        run.result(20)


def test_a_board_reserves_cores() -> None:
    host = board.load("host")
    ei.Session(build(net()), board=host)
    assert scheduler.cores() == 0
    try:
        ei.Session(build(net()), board=replace(host, extra={"inference": {"cores": [0]}}))
        assert scheduler.cores() == 1
        pooled = ei.Session(build(net(channels=32)), threads=2)
        assert np.array_equal(result(pooled), result(build(net(channels=32))))
        tasks = [os.sched_getaffinity(int(task)) for task in os.listdir("/proc/self/task")]
        assert {0} in tasks, "a worker of the pool"
        with pytest.raises(BoardError, match=r"\[inference\] cores = \[999\]"):
            ei.Session(build(net()), board=replace(host, extra={"inference": {"cores": [999]}}))
    finally:
        scheduler.set_cores(0)


def test_rung_times_add_up() -> None:
    """From each step to the end: at least what the next takes, at most all of it."""
    session = fed(ei.Session(build(net())))
    (rung,) = session._rungs()
    assert isinstance(rung, Rung)
    times = rung.measure(10, 1.0, 1.0)
    assert set(times.cuts) == {1}
    assert all(longest <= times.rest_ns[i] for i, longest in enumerate(times.longest_ns))
