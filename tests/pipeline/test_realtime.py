"""Absolute sleeps, the realign rule, real-time settings and what is said when they are refused."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from typing import Any

import pytest

from edgeinfer.pipeline.realtime import (
    PeriodicLoop,
    RealTime,
    apply,
    granted,
    now_ns,
    sleep_until,
)

MS = 1_000_000


def test_clock_is_monotonic_time() -> None:
    before, now, after = time.monotonic_ns(), now_ns(), time.monotonic_ns()
    assert before <= now <= after


def test_sleep_is_absolute_and_survives_signals() -> None:
    hits: list[int] = []
    old = signal.signal(signal.SIGALRM, lambda *_: hits.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
        end = now_ns() + 40 * MS
        sleep_until(end)
        woke = now_ns()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert woke >= end
    sleep_until(0)  # the past: at once


def test_loop_keeps_its_grid() -> None:
    first = now_ns() + 5 * MS
    loop = PeriodicLoop(first, 5 * MS)
    for _ in range(10):
        loop.wait()
        assert now_ns() >= loop.release_ns
        assert (loop.release_ns - first) % (5 * MS) == 0
        assert loop.lateness_ns >= 0


def test_overrun_realigns_and_never_bursts() -> None:
    first = now_ns()
    loop = PeriodicLoop(first, 10 * MS)
    assert loop.wait() == 0
    sleep_until(first + 47 * MS)  # work of 47 ms in a period of 10
    missed = loop.wait()
    assert missed >= 3  # releases 10, 20, 30; that of 40 is worked on, at once
    assert loop.missed == missed
    assert loop.release_ns == first + (missed + 1) * 10 * MS
    second = loop.release_ns
    loop.wait()
    assert loop.release_ns >= second + 10 * MS  # no catching up
    assert (loop.release_ns - first) % (10 * MS) == 0


def test_period_must_be_positive() -> None:
    with pytest.raises(ValueError, match="period 0 ns"):
        PeriodicLoop(0, 0)


def _settings(settings: RealTime, unprivileged: bool, pipe: Any) -> None:
    if unprivileged and os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    got = apply(settings)
    pipe.send((got, granted(), os.sched_getaffinity(0)))


def in_child(settings: RealTime, unprivileged: bool = False) -> Any:
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_settings, args=(settings, unprivileged, writer))
    process.start()
    said = reader.recv()
    process.join()
    return said


def test_nothing_asked_nothing_said() -> None:
    got, (policy, priority), _ = in_child(RealTime())
    assert (got.warnings, policy, priority) == ((), "other", 0)


def test_core_is_pinned_or_refused_with_the_fix() -> None:
    core = min(os.sched_getaffinity(0))
    got, _, cores = in_child(RealTime(core=core))
    assert (got.warnings, cores) == ((), {core})
    got, _, _ = in_child(RealTime(core=1000))
    assert len(got.warnings) == 1
    assert "core 1000 refused" in got.warnings[0]
    assert "nproc" in got.warnings[0]


def test_what_was_granted_is_reported() -> None:
    got, class_, _ = in_child(RealTime(priority=30))
    assert (got.policy, got.priority) == class_
    assert class_ == ("fifo", 30) or "fifo 30 refused" in got.warnings[0]


def test_refused_without_rights() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to give rights up")
    got, class_, _ = in_child(RealTime(priority=30), unprivileged=True)
    assert class_ == ("other", 0)
    assert "CAP_SYS_NICE" in got.warnings[0]


def test_deadline_class_is_granted_or_refused_with_the_fix() -> None:
    share = (2 * MS, 10 * MS, 20 * MS)
    got, class_, _ = in_child(RealTime(deadline=share))
    assert class_[0] == "deadline" or "deadline" in got.warnings[0]
    assert got.policy == class_[0]
    got, class_, _ = in_child(RealTime(deadline=(30 * MS, 20 * MS, 20 * MS)))
    assert class_[0] == "other"
    assert "Invalid argument" in got.warnings[0]
    if os.geteuid() == 0:
        got, class_, _ = in_child(RealTime(deadline=share), unprivileged=True)
        assert class_ == ("other", 0)
        assert "run as root" in got.warnings[0]


def test_placed_only_where_the_class_is_granted() -> None:
    core, everywhere = max(os.sched_getaffinity(0)), os.sched_getaffinity(0)
    _, class_, cores = in_child(RealTime(priority=30, placed=core))
    assert cores == ({core} if class_[0] == "fifo" else everywhere)
    if os.geteuid() == 0:
        _, _, cores = in_child(RealTime(priority=30, placed=core), unprivileged=True)
        assert cores == everywhere
