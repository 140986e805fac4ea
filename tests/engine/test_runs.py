"""Ways to run a session: with and without the GIL, submitted, from several threads, failing."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgeinfer as ei
from edgeinfer import _call
from edgeinfer.engine.plan import Plan, build
from edgeinfer.errors import ShapeError
from tests.models import Maker, network

ROOT = Path(__file__).resolve().parents[2]


def plan() -> Plan:
    return build(network("int8"))


def feed(seed: int, session: ei.Session) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n: rng.integers(-128, 128, t.shape).astype(t.dtype) for n, t in session.inputs.items()}


def expected(seed: int) -> dict[str, np.ndarray]:
    session = ei.Session(plan())
    for name, value in feed(seed, session).items():
        session[name][...] = value
    session.run()
    return {name: session[name].copy() for name in session.outputs}


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("hold", [None, True, False])
def test_the_gil_changes_nothing_but_who_waits(hold: bool | None) -> None:
    session = ei.Session(plan(), hold_gil=hold)
    for name, value in feed(1, session).items():
        session[name][...] = value
    assert session.run() is None
    assert same({n: session[n] for n in session.outputs}, expected(1))


def test_short_runs_hold_the_gil_and_long_ones_do_not() -> None:
    """Seen from another thread: a run that holds the GIL lets nobody in between."""
    make = Maker("float32")
    long = make.graph(make.conv(make.input("x", (1, 64, 64, 64)), 256))
    assert not ei.Session(build(long, isa="ref"))._short()
    make = Maker("int8")
    assert ei.Session(build(make.graph(make.fc(make.input("x", (1, 16)), 4))))._short()
    session = ei.Session(build(long, isa="ref"))  # some 100 ms
    ticks, stop = [0], threading.Event()

    def tick() -> None:
        while not stop.wait(0.001):
            ticks[0] += 1

    thread = threading.Thread(target=tick)
    thread.start()
    session.run()
    stop.set()
    thread.join()
    assert ticks[0] >= 2


def test_submitted_runs_give_their_own_results() -> None:
    sessions = [ei.Session(plan(), threads=n) for n in (1, 2, 1)]
    futures = [(s, sessions[s % 3].submit(feed(s, sessions[0]))) for s in range(30)]
    for seed, future in futures:
        assert same(future.result(60), expected(seed))


def test_submitted_runs_can_be_awaited() -> None:
    session = ei.Session(plan())

    async def both() -> list[dict[str, np.ndarray]]:
        runs = [asyncio.wrap_future(session.submit(feed(s, session))) for s in (3, 4)]
        return await asyncio.gather(*runs)

    first, second = asyncio.run(both())
    assert same(first, expected(3))
    assert same(second, expected(4))


def test_what_goes_wrong_is_the_futures_and_the_next_run_is_well() -> None:
    session = ei.Session(plan())
    wrong = session.submit({"nothing of that name": np.zeros(3)})
    shape = session.submit(dict.fromkeys(session.inputs, np.zeros((3, 1, 7, 5), np.int8)))
    right = feed(0, session)
    dtype = session.submit({name: value.astype(np.float64) for name, value in right.items()})
    scalar = session.submit(dict.fromkeys(session.inputs, 0))
    good = session.submit(feed(5, session))
    with pytest.raises(KeyError, match="there are"):
        wrong.result(60)
    for refused in (shape, dtype, scalar):
        with pytest.raises(ShapeError, match="takes"):
            refused.result(60)
    assert same(good.result(60), expected(5))


def test_sessions_in_flight_share_the_threads_of_the_process() -> None:
    """Twenty sessions of two threads each: one pool, and as many submitters as processors."""
    code = """
import os
import numpy as np
import edgeinfer as ei
from tests.engine.test_runs import feed, plan
tasks = lambda: len(os.listdir("/proc/self/task"))
before = tasks()
sessions = [ei.Session(plan(), threads=2) for _ in range(20)]
assert tasks() == before + 1, "the pool's one worker"
runs = [s.submit(feed(i, s)) for i, s in enumerate(sessions * 5)]
for run in runs:
    run.result(60)
assert tasks() <= before + 1 + len(os.sched_getaffinity(0)), tasks() - before
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


def test_waiting_runs_can_be_cancelled() -> None:
    session = ei.Session(plan())
    futures = [session.submit(feed(s, session)) for s in range(50)]
    cancelled = [f for f in futures[10:] if f.cancel()]
    for seed, future in enumerate(futures):
        if future not in cancelled:
            assert same(future.result(60), expected(seed))


def test_a_status_is_raised_by_who_was_named() -> None:
    """The call itself, on a C function that fails."""
    code = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda argument: argument or 0)
    address = ctypes.cast(code, ctypes.c_void_p).value or 0
    said: list[int] = []

    def fail(status: int) -> None:
        said.append(status)
        raise RuntimeError(f"status {status}")

    calls: list[Callable[[], None]] = [
        _call.bind(address, address, argument, fail, print, code, False) for argument in (0, 7)
    ]
    assert calls[0]() is None
    with pytest.raises(RuntimeError, match="status 7"):
        calls[1]()
    assert said == [7]


def test_a_session_goes_with_its_last_reference() -> None:
    """No cycle keeps the arena until the collector comes."""
    gc.disable()
    try:
        session = ei.Session(plan())
        session.run()
        gone = weakref.ref(session)
        del session
        assert gone() is None
    finally:
        gc.enable()
