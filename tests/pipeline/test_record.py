"""Records: read back, replayed to the same bytes, cut off anywhere, damaged; traces."""

from __future__ import annotations

import gzip
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from pipeline_stages import MS, Bend, Frames, Plant, Sink, stages

from edgeinfer.errors import MessageError
from edgeinfer.pipeline.control import ControlStage
from edgeinfer.pipeline.guard import GuardLimits
from edgeinfer.pipeline.loop import Event, Mode
from edgeinfer.pipeline.messages import Command, Frame
from edgeinfer.pipeline.pipeline import Pipeline
from edgeinfer.pipeline.record import Recorder, TruncatedRecordWarning, read, replay


def durations(seed):
    """Every stage now and then too late, each time by another amount."""
    draw = np.random.default_rng(seed)
    table = draw.choice([0, 0, 0, 12, 30, 90], size=(3, 1000)) * MS
    rows = {"perception": 0, "planning": 1, "control": 2}
    return lambda stage, n: int(table[rows[stage], n])


def make(path, n=60, png=False, seed=1, blind=(20, 21, 22, 23, 24, 25, 26, 40)):
    sink = Sink()
    pipeline = Pipeline(stages(), Frames(n, blind), sink, guard=GuardLimits(safe_ms=10_000))
    report = pipeline.run_inline(record=path, png=png, deadlines=True, durations=durations(seed))
    return report, [c.to_bytes() for c in sink.got]


@pytest.mark.parametrize("png", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_replay_gives_the_same_bytes(tmp_path, png, seed):
    report, sent = make(tmp_path / "r.mcap", png=png, seed=seed)
    again = replay(tmp_path / "r.mcap", stages())
    assert again.recorded == sent
    assert again.commands == sent
    assert again.same
    assert again.first_difference is None
    held = next(s for s in report.stages if s.name == "control")
    assert held.held > 0
    assert held.safe > 0
    assert held.missed > 0


def test_replay_opens_and_closes_the_stages(tmp_path):
    make(tmp_path / "r.mcap")
    three = stages()
    replay(tmp_path / "r.mcap", three)
    assert isinstance(three[0], Bend)
    assert (three[0].opened, three[0].closed) == (1, 1)


def test_two_inline_runs_are_the_same_bytes(tmp_path):
    """All of the file, measured times aside: they are injected here."""
    for name in ("a", "b"):
        make(tmp_path / name)
    entries = [
        [(e.topic, e.number, e.time_ns, _plain(e.content)) for e in read(tmp_path / name)]
        for name in ("a", "b")
    ]
    assert entries[0] == entries[1]


def _plain(content):
    if isinstance(content, Event):
        return {k: v for k, v in vars(content).items() if k != "start_ns"}
    return content.to_bytes()


def test_replay_tells_when_the_stages_changed(tmp_path):
    class Other(ControlStage):
        def step(self, inputs):
            command = super().step(inputs)
            if command.seq != 30:
                return command
            return Command(command.seq, command.stamp_ns, 0.123, command.throttle, command.brake)

    path = tmp_path / "r.mcap"
    Pipeline(stages(), Frames(60), Sink()).run_inline(record=path)
    three = stages()
    again = replay(path, [*three[:2], Other(three[2].timing, three[2].vehicle)])
    assert not again.same
    assert again.first_difference == 30


def test_replay_refuses_other_stages(tmp_path):
    make(tmp_path / "r.mcap")
    with pytest.raises(MessageError, match="recorded with stages"):
        replay(tmp_path / "r.mcap", stages()[:2])


def test_frames_come_back_exactly(tmp_path):
    for png in (False, True):
        make(tmp_path / "r.mcap", png=png)
        frames = [e.content for e in read(tmp_path / "r.mcap") if isinstance(e.content, Frame)]
        source = Frames(60, (20, 21, 22, 23, 24, 25, 26, 40))
        assert len(frames) == 60
        assert all(f == source.read() for f in frames)


def test_readable_by_the_reference_reader(tmp_path):
    from mcap.reader import make_reader

    path = tmp_path / "r.mcap"
    report, _ = make(path)
    with open(path, "rb") as file:
        reader = make_reader(file)
        summary = reader.get_summary()
        names = {c.topic for c in summary.channels.values()}
        assert names == {"source", "perception", "planning", "control", "actuator", "events"}
        sent = sum(1 for _ in reader.iter_messages(topics=["actuator"]))
    assert sent == report.commands


def whole(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return list(read(path))


def test_cut_off_anywhere_is_readable_to_the_last_whole_chunk(tmp_path):
    path, cut = tmp_path / "r.mcap", tmp_path / "cut.mcap"
    source = Frames(200)
    with Recorder(path, stages(), GuardLimits(), "control", chunk_bytes=4096) as recorder:
        for n in range(200):
            frame = source.read()
            assert frame is not None
            recorder.message("source", n + 1, frame, n)
            recorder.event(Event("source", Mode.RUN, n, n, output=n + 1), n)
    entries, data = whole(path), path.read_bytes()
    assert len(entries) == 400
    got = []
    for length in np.linspace(100, len(data) - 1, 60).astype(int):
        cut.write_bytes(data[:length])
        with pytest.warns(TruncatedRecordWarning, match="cut off or damaged"):
            part = list(read(cut))
        assert [e.content for e in part] == [e.content for e in entries[: len(part)]]
        got.append(len(part))
    assert got == sorted(got)
    assert got[0] == 0
    assert len(set(got)) > 10
    assert got[-1] == 400  # only index and footer were lost


def test_damaged_chunk_ends_the_reading(tmp_path):
    path = tmp_path / "r.mcap"
    make(path, n=200)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(data)
    with pytest.warns(TruncatedRecordWarning):
        list(read(path))


def test_cut_record_replays_as_far_as_it_goes(tmp_path):
    path = tmp_path / "r.mcap"
    with Recorder(path, stages(), GuardLimits(safe_ms=10_000), "control", chunk_bytes=2048) as r:
        from edgeinfer.pipeline.guard import Guard
        from edgeinfer.pipeline.inline import Inline
        from edgeinfer.pipeline.pipeline import Log

        log = Log(r, None, None)
        guard = Guard(GuardLimits(safe_ms=10_000))
        Inline(stages(), "control", guard, log.both, lambda c: None).run(Frames(60))
    os.truncate(path, path.stat().st_size * 2 // 3)
    with pytest.warns(TruncatedRecordWarning):
        again = replay(path, stages())
    assert again.same
    assert 10 < len(again.commands) < 60


def test_not_a_record(tmp_path):
    path = tmp_path / "x.mcap"
    path.write_bytes(b"hello, this is no record")
    with pytest.raises(MessageError, match="not a record"):
        read(path)


def test_plant_is_written_once_a_frame_and_at_rest_in_silence():
    plant = Plant(20, blind=(0, 1, 2))
    report = Pipeline(stages(), plant, plant).run_inline()
    assert (report.frames, len(plant.got), report.commands) == (20, 20, 17)
    assert all((c.steer, c.throttle, c.brake) == (0, 0, 0) for c in plant.got[:3])
    assert plant.got[5].throttle > 0


def test_sources_given_as_functions_are_closed(tmp_path):
    made = []

    def source():
        made.append(Frames(3))
        return made[-1]

    def sink():
        made.append(Sink())
        return made[-1]

    Pipeline(stages(), source, sink).run_inline()
    assert [m.closed for m in made] == [1, 1]
    own = Frames(3)
    Pipeline(stages(), own).run_inline()
    assert own.closed == 0


def test_observer_sees_frame_messages_and_command():
    ticks = []
    Pipeline(stages(), Frames(5), Sink()).run_inline(observe=ticks.append)
    assert [t.frame.seq for t in ticks] == [0, 1, 2, 3, 4]
    assert set(ticks[0].messages) == {"perception", "planning", "control"}
    assert ticks[4].command.seq == 4


@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_trace_has_tracks_and_arrows(tmp_path, name):
    path = tmp_path / name
    Pipeline(stages(), Frames(10), Sink()).run_inline(
        trace=path, deadlines=True, durations=durations(3)
    )
    opener = gzip.open if name.endswith("gz") else open
    with opener(path, "rb") as file:
        events = json.load(file)["traceEvents"]
    tracks = {e["args"]["name"]: e["tid"] for e in events if e["name"] == "thread_name"}
    assert list(tracks) == ["source", "perception", "planning", "control", "guard"]
    assert len(set(tracks.values())) == 5
    slices = [e for e in events if e["ph"] == "X"]
    assert all(e["dur"] > 0 and e["ts"] >= 0 for e in slices)
    flows = [e for e in events if e["ph"] in "stf"]
    for frame in {e["id"] for e in flows}:
        phases = [e["ph"] for e in flows if e["id"] == frame]
        assert phases[0] == "s"  # starts at the source
        assert phases.count("s") == 1
        assert phases.count("f") <= 1
        assert "f" not in phases[:-1]
    done = [e["id"] for e in flows if e["ph"] == "f"]
    assert len(done) >= 3
    starts = {(e["tid"], e["ts"]) for e in slices}
    assert {(e["tid"], e["ts"]) for e in flows} <= starts  # an arrow needs a slice to hang on


def test_png_of_real_size(tmp_path):
    """A photograph's worth of noise in colour: lossless means every bit."""
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    with Recorder(tmp_path / "r", stages(), GuardLimits(), "control", png=True) as recorder:
        recorder.message("source", 1, Frame(5, 6, image), 7)
    (entry,) = list(read(Path(tmp_path / "r")))
    assert entry.content == Frame(5, 6, image)
