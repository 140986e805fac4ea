"""One process a stage, in real time: it runs, replays, ends cleanly, and survives crashes.

Nothing here asserts how fast: the machine may be busy. Ages and orders are asserted.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pipeline_stages import (
    BadOpen,
    ControlCrash,
    Crash,
    Frames,
    Hang,
    Plant,
    Sink,
    commands_in,
    stages,
)

from edgeinfer.errors import EdgeInferError
from edgeinfer.pipeline.guard import GuardLimits
from edgeinfer.pipeline.messages import Frame, Origin
from edgeinfer.pipeline.pipeline import Pipeline
from edgeinfer.pipeline.record import TruncatedRecordWarning, read, replay
from edgeinfer.pipeline.stage import Timing

LIMITS = GuardLimits(heartbeat_ms=200, safe_ms=400)
NORMAL: dict = {}  # no real-time class: tests share the machine


def run(three, frames, tmp_path, **kwargs):
    sink = tmp_path / "sink"
    pipeline = Pipeline(
        three, functools.partial(Frames, frames), functools.partial(Sink, sink), guard=LIMITS
    )
    report = pipeline.run_processes(realtime=NORMAL, **kwargs)
    return report, commands_in(sink)


def relaxed(**kwargs):
    """Stages that take old inputs, for a machine that may be busy."""
    three = stages(max_age_ms=300.0, **kwargs)
    three[0].timing = Timing(50, 5, 200)
    three[1].timing = Timing(50, 4, 250)
    return three


def open_files():
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(scope="module", autouse=True)
def warm():
    """The first process of a kind leaves helpers behind (resource tracker); not ours to count."""
    process = multiprocessing.get_context("spawn").Process(target=int)
    process.start()
    process.join()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_runs_records_replays_and_leaves_nothing(tmp_path, method):
    before = set(os.listdir("/dev/shm")), multiprocessing.active_children()
    record, trace = tmp_path / "r.mcap", tmp_path / "t.json"
    report, sent = run(relaxed(), 50, tmp_path, record=record, trace=trace, method=method)
    assert report.crashed == {}
    assert report.frames == 50
    assert report.commands == len(sent) > 10
    assert sum(c.origin is Origin.NOMINAL for _, c in sent) > 10
    for stage in report.stages:
        assert stage.runs > 10
        assert stage.max_ms > 0
    assert report.age_ms.min() > 0
    again = replay(record, relaxed())
    assert again.same
    assert again.recorded == [c.to_bytes() for _, c in sent]
    assert trace.stat().st_size > 1000
    assert (set(os.listdir("/dev/shm")), multiprocessing.active_children()) == before


def test_frames_larger_than_the_pipe_are_all_recorded(tmp_path):
    """More bytes than may wait in the source's process: they must leave while it sleeps."""
    # 133 MB in 3.8 s, of which the pipe takes 1 MB at a time and 64 MB may wait.
    large = functools.partial(Frames, 48, shape=(720, 1280, 3), rate_hz=12.5)
    pipeline = Pipeline(relaxed(), large, functools.partial(Sink, tmp_path / "s"), guard=LIMITS)
    report = pipeline.run_processes(realtime=NORMAL, record=tmp_path / "r.mcap")
    assert not any("lost" in w for w in report.warnings), report.warnings
    frames = [e.content for e in read(tmp_path / "r.mcap") if isinstance(e.content, Frame)]
    assert len(frames) == 48
    assert replay(tmp_path / "r.mcap", relaxed()).same


def test_no_file_is_left_open(tmp_path):
    run(relaxed(), 5, tmp_path)
    before = open_files()
    run(relaxed(), 5, tmp_path)
    assert open_files() == before


def test_time_limit_ends_the_run(tmp_path):
    report, _ = run(relaxed(), 10**9, tmp_path, seconds=0.5)
    assert report.crashed == {}
    assert 0.4 < report.wall_seconds < 5
    assert report.guard["ok"] > 0


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGKILL, "killed by SIGKILL (9)"),
        (signal.SIGSEGV, "killed by SIGSEGV (11)"),
        (0, "exit code 1: RuntimeError: the lens fell off"),
    ],
)
def test_crashed_perception_is_named_and_the_vehicle_stops(tmp_path, number, said):
    three = [Crash(Timing(50, 5, 200), 10, number), *relaxed()[1:]]
    report, sent = run(three, 10**9, tmp_path)
    assert report.crashed == {"perception": said}
    assert sent[-1][1].origin is Origin.SAFE
    assert sent[-1][1].throttle == 0
    assert sent[-1][1].brake > 0
    control = next(s for s in report.stages if s.name == "control")
    assert control.safe > 0  # control itself saw it: the guard had no cause to step in
    assert report.guard["heartbeat"] == 0 or control.safe > 0


def test_crashed_control_is_caught_by_the_guard_and_silence_follows(tmp_path):
    three = [*relaxed()[:2], ControlCrash(Timing(50, 2, 300), 10, signal.SIGKILL)]
    report, sent = run(three, 10**9, tmp_path)
    assert report.crashed == {"control": "killed by SIGKILL (9)"}
    assert report.guard["heartbeat"] == 1
    assert report.guard["timeout"] == 1  # and then nothing: the run outlived the last command
    safe = [(t, c) for t, c in sent if c.origin is Origin.SAFE]
    assert sent[-1] == safe[-1]
    assert all(c.throttle == 0 for _, c in safe)
    span = (safe[-1][0] - safe[0][0]) / 1e6
    assert span < LIMITS.safe_ms + 50


def test_stage_that_cannot_start_is_an_error_with_its_reason(tmp_path):
    three = [BadOpen(Timing(50, 5, 40)), *stages()[1:]]
    with pytest.raises(EdgeInferError, match=r"(?s)'perception' did not start.*no model here"):
        run(three, 10, tmp_path)
    assert multiprocessing.active_children() == []


def test_stage_that_hangs_is_killed_and_named(tmp_path):
    three = [Hang(Timing(50, 5, 40)), *stages()[1:]]
    report, _ = run(three, 10**9, tmp_path, seconds=0.3)
    assert list(report.crashed) == ["perception"]
    assert "did not stop within" in report.crashed["perception"]


def test_simulator_is_source_and_sink_in_one_process(tmp_path):
    plant = functools.partial(Plant, 30)
    record = tmp_path / "r.mcap"
    pipeline = Pipeline(relaxed(), plant, plant, guard=LIMITS)
    report = pipeline.run_processes(realtime=NORMAL, record=record)
    assert report.crashed == {}
    assert report.frames == 30
    assert report.commands > 10
    assert replay(record, relaxed()).same


def test_events_are_told_as_they_happen(tmp_path):
    seen = []
    run(relaxed(), 20, tmp_path, on_event=seen.append)
    stages = {e.stage for e in seen} - {"modes"}
    assert stages == {"source", "perception", "planning", "control", "guard"}
    times = [e.start_ns for e in seen]
    assert times == sorted(times)


_PROGRAM = """
import functools, sys
sys.path.insert(0, {tests!r})
from pipeline_stages import Frames, stages
from edgeinfer.pipeline.pipeline import Pipeline
if __name__ == "__main__":
    pids = open({pids!r}, "w")
    def seen(event):
        import multiprocessing
        if event.stage == "guard":
            print(*[p.pid for p in multiprocessing.active_children()], file=pids, flush=True)
    source = functools.partial(Frames, 10**9)
    Pipeline(stages(), source).run_processes(
        realtime={{}}, record={record!r}, admit="anyway", on_event=seen, seconds=60)
"""


def test_supervisor_killed_leaves_no_process_and_a_readable_record(tmp_path):
    program, pids, record = tmp_path / "p.py", tmp_path / "pids", tmp_path / "r.mcap"
    tests = str(Path(__file__).parent)
    program.write_text(_PROGRAM.format(tests=tests, pids=str(pids), record=str(record)))
    process = subprocess.Popen([sys.executable, program], cwd=Path(__file__).resolve().parents[2])
    wait_for(lambda: record.exists() and record.stat().st_size > 50_000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    children = {int(p) for p in pids.read_text().split("\n")[0].split()}
    assert len(children) == 5
    wait_for(lambda: not any(alive(p) for p in children))
    with pytest.warns(TruncatedRecordWarning):
        again = replay(record, stages())
    assert len(again.commands) > 10
    assert again.same


def alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
