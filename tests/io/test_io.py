"""Sources and sinks by URL."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer import io
from edgeinfer.errors import DeviceError, MessageError, MissingPackageError
from edgeinfer.io import can as can_io
from edgeinfer.io import serial as serial_io
from edgeinfer.pipeline.messages import Command, Origin

cv2 = pytest.importorskip("cv2")


def write_video(path: Path, count: int = 12, rate: float = 20.0) -> None:
    """A video whose frames are reddish on the left and bluish on the right."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, (64, 48))
    assert writer.isOpened()
    for i in range(count):
        image = np.zeros((48, 64, 3), np.uint8)
        image[:, :32, 2] = 200  # BGR: red
        image[:, 32:, 0] = 100 + 5 * i
        writer.write(image)
    writer.release()


def test_video_is_rgb_and_stamped_by_its_own_clock(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4")
    source = io.open_source(f"file:{tmp_path / 'v.mp4'}")
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    assert source.rate_hz == pytest.approx(20.0)
    assert [f.seq for f in frames] == list(range(12))
    assert [f.stamp_ns for f in frames] == [i * 50_000_000 for i in range(12)]
    red, blue = frames[5].image[24, 16], frames[5].image[24, 48]
    assert red[0] > 150
    assert red[2] < 60
    assert blue[2] > 80
    assert blue[0] < 60


@pytest.mark.parametrize(
    ("query", "count"), [("frames=5", 5), ("start=0.3", 6), ("start=0.4&frames=2", 2)]
)
def test_video_options(tmp_path: Path, query: str, count: int) -> None:
    write_video(tmp_path / "v.mp4")
    source = io.open_source(f"file:{tmp_path / 'v.mp4'}?{query}")
    found = 0
    while source.read() is not None:
        found += 1
    assert found == count


def test_video_loops(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", count=4)
    source = io.open_source(f"file:{tmp_path / 'v.mp4'}?loop=1&frames=10")
    seen = [source.read() for _ in range(11)]
    assert [f.seq for f in seen if f is not None] == list(range(10))
    assert seen[10] is None


def test_image_folder_in_order_of_names(tmp_path: Path) -> None:
    for i, name in enumerate(["b.png", "a.png", "c.jpg"]):
        cv2.imwrite(str(tmp_path / name), np.full((8, 10, 3), 50 * (i + 1), np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    source = io.open_source(f"images:{tmp_path}?rate=4")
    found = [source.read() for _ in range(4)]
    assert found[3] is None
    assert [int(f.image[0, 0, 0]) for f in found[:2] if f is not None] == [100, 50]
    assert found[2] is not None
    assert found[2].stamp_ns == 500_000_000


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("dvd:x", "no such kind"),
        ("just a path", "no such kind"),
        ("file:/nowhere.mp4", "no such file"),
        ("images:/nowhere", "no such folder"),
        ("camera:/dev/no-such-camera", "cannot be opened"),
        ("virtual:?speling=1", "no option 'speling'"),
        ("virtual:?frames=many", "is not a number"),
        ("can:can0", "is not a source"),
    ],
)
def test_a_source_that_cannot_be_opened_says_why(url: str, words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        io.open_source(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("can:nocan9", "ip link set nocan9 up"),
        ("can:", "no channel"),
        ("can:x?interface=nonsense", "cannot be opened on nonsense"),
        ("serial:/dev/no-such-port", "cannot be opened"),
        ("candump:/nowhere/x.log", "cannot be written"),
        ("camera:0", "is not a sink"),
    ],
)
def test_a_sink_that_cannot_be_opened_says_why(url: str, words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        io.open_sink(url)


def test_a_file_that_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"not a video at all" * 50)
    with pytest.raises(DeviceError, match="cannot decode"):
        io.open_source(f"file:{tmp_path / 'x.mp4'}")


def test_a_missing_package_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.delitem(sys.modules, "edgeinfer.io.file", raising=False)
    with pytest.raises(MissingPackageError, match="pip install opencv-python"):
        io.open_source("file:x.mp4")


COMMANDS = st.builds(
    Command,
    st.integers(0, 2**40),
    st.integers(0, 2**50),
    st.floats(-1, 1, width=32),
    st.floats(0, 1, width=32),
    st.floats(0, 1, width=32),
    st.sampled_from(Origin),
)


@given(COMMANDS, st.integers(0, 1000))
def test_can_frames_decode_to_the_command(command: Command, count: int) -> None:
    frame_id, data = can_io.encode(command, count)
    back, counter = can_io.decode(frame_id, data)
    assert (frame_id, len(data), counter) == (256, 8, count % 15)
    assert back.seq == command.seq & 0xFFF
    assert back.origin == command.origin
    assert abs(back.steer - command.steer) <= 0.5e-4 + 1e-7
    assert abs(back.throttle - command.throttle) <= 0.5e-3 + 1e-7
    assert abs(back.brake - command.brake) <= 0.5e-3 + 1e-7


@given(COMMANDS, st.integers(0, 63))
def test_one_flipped_bit_is_found(command: Command, bit: int) -> None:
    frame_id, data = can_io.encode(command, 3)
    broken = bytearray(data)
    broken[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(MessageError, match="checksum"):
        can_io.decode(frame_id, bytes(broken))


def test_crc_is_the_published_one() -> None:
    # Check values of AUTOSAR SWS CRC, CRC-8 SAE J1850.
    assert can_io.crc8(b"123456789") == 0x4B
    assert can_io.crc8(bytes(4)) == 0x59
    assert can_io.crc8(bytes.fromhex("F20183")) == 0x37


def test_limits_hold_on_the_wire() -> None:
    frame_id, data = can_io.encode(Command(1, 0, 7.0, 2.0, -1.0), 0)
    back, _ = can_io.decode(frame_id, data)
    assert (back.steer, back.throttle, back.brake) == (1.0, 1.0, 0.0)


def test_a_foreign_frame_is_refused() -> None:
    with pytest.raises(MessageError, match="is not COMMAND"):
        can_io.decode(0x123, bytes(8))
    with pytest.raises(MessageError, match="is not COMMAND"):
        can_io.decode(256, bytes(7))


def drive(sink: io.Sink, count: int = 20) -> list[Command]:
    """Write a sweep of commands and return it."""
    sent = [
        Command(i, 20_000_000 * i, math.sin(i), 0.05 * i % 1, 0.1 if i % 2 else 0.0)
        for i in range(count)
    ]
    for command in sent:
        sink.write(command)
    return sent


def test_commands_arrive_on_a_virtual_bus() -> None:
    can = pytest.importorskip("can")
    with can.Bus(interface="virtual", channel="virtual7") as listener:
        sink = io.open_sink("can:virtual7")
        sent = drive(sink)
        got = [can_io.decode(m.arbitration_id, m.data) for m in (listener.recv(1) for _ in sent)]
        sink.close()
    assert [c for _, c in got] == [i % 15 for i in range(20)]
    assert [c.seq for c, _ in got] == list(range(20))


@pytest.mark.parametrize("suffix", ["log", "asc"])
def test_a_can_log_reads_back(tmp_path: Path, suffix: str) -> None:
    can = pytest.importorskip("can")
    path = tmp_path / f"out.{suffix}"
    sink = io.open_sink(f"candump:{path}")
    sent = drive(sink)
    sink.close()
    with can.LogReader(str(path)) as reader:
        messages = list(reader)
    got = [can_io.decode(m.arbitration_id, bytes(m.data))[0] for m in messages]
    assert [c.seq for c in got] == [c.seq for c in sent]
    assert [c.steer for c in got] == pytest.approx([c.steer for c in sent], abs=1e-4)
    times = [m.timestamp - messages[0].timestamp for m in messages]
    assert times == pytest.approx([0.02 * i for i in range(20)], abs=1e-3)


def test_serial_lines_round_trip() -> None:
    sink = io.open_sink("serial:loop://")
    assert isinstance(sink, serial_io.SerialSink)
    sent = drive(sink, 5)
    data = sink.line.read_until(b"\r")
    assert data.startswith(b"t1008")
    assert len(data) == 22
    back, counter = can_io.decode(*serial_io.from_line(data))
    assert (back.seq, counter) == (0, 0)
    back, counter = can_io.decode(*serial_io.from_line(sink.line.read_until(b"\r")))
    assert (back.seq, counter) == (1, 1)
    assert back.steer == pytest.approx(sent[1].steer, abs=1e-4)
    sink.close()


@pytest.mark.parametrize("line", [b"", b"x100\r", b"t10081234\r", b"t1zz0\r", b"t100a\r"])
def test_a_damaged_line_is_refused(line: bytes) -> None:
    with pytest.raises(MessageError, match="SLCAN"):
        serial_io.from_line(line)


def test_virtual_source_and_sink() -> None:
    source = io.open_source("virtual:?frames=3&width=160&height=90&rate=10")
    frames = [source.read() for _ in range(4)]
    assert frames[3] is None
    assert [f.stamp_ns for f in frames if f] == [0, 100_000_000, 200_000_000]
    assert frames[0] is not None
    assert frames[0].image.shape == (90, 160, 3)
    again = io.open_source("virtual:?frames=3&width=160&height=90&rate=10").read()
    assert again == frames[0]
    sink = io.open_sink("virtual:")
    assert drive(sink, 3) == sink.commands  # type: ignore[attr-defined]
