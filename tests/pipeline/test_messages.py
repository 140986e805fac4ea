"""Messages: exact round trips, every damage is a MessageError."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeinfer.errors import MessageError
from edgeinfer.pipeline.messages import (
    MAX_BOXES,
    MAX_POINTS,
    MESSAGE_BYTES,
    Box,
    Command,
    Frame,
    Message,
    Objects,
    Origin,
    Road,
    Trajectory,
    parse,
)

F32 = st.floats(-1e6, 1e6, width=32)
SEQ = st.integers(0, 2**64 - 1)
STAMP = st.integers(-(2**63), 2**63 - 1)


def points(columns):
    shape = st.tuples(st.integers(0, MAX_POINTS), st.just(columns))
    return arrays(np.float32, shape, elements=F32)


ROADS = st.builds(Road, points(2), F32, F32, F32 | st.just(math.nan), F32 | st.just(math.nan))
BOXES = st.lists(st.builds(Box, st.integers(-1, 10**6), F32, F32, F32, F32, F32), max_size=5)
IMAGES = arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3)))
MESSAGES = st.one_of(
    st.builds(Frame, SEQ, STAMP, IMAGES),
    st.builds(Objects, SEQ, STAMP, st.none() | ROADS, BOXES.map(tuple)),
    st.builds(Trajectory, SEQ, STAMP, points(4), F32 | st.just(math.nan)),
    st.builds(Command, SEQ, STAMP, F32, F32, F32, st.sampled_from(Origin)),
)


@settings(max_examples=200, deadline=None)
@given(MESSAGES)
def test_round_trip(message: Message) -> None:
    data = message.to_bytes()
    again = parse(data)
    assert type(again) is type(message)
    assert (again.seq, again.stamp_ns) == (message.seq, message.stamp_ns)
    assert again == message
    assert again.to_bytes() == data


@settings(max_examples=300, deadline=None)
@given(MESSAGES, st.data())
def test_damage_is_an_error_or_another_valid_message(message: Message, data: st.DataObject) -> None:
    raw = bytearray(message.to_bytes())
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        again = parse(bytes(raw))
    except MessageError:
        return
    assert parse(again.to_bytes()) == again  # what is accepted can be passed on


def test_largest_messages_fit_a_slot() -> None:
    box = Box(1, 0.5, 0.0, 0.0, 1.0, 1.0)
    road = Road(np.zeros((MAX_POINTS, 2), np.float32), 3.0, 1.0)
    largest = [
        Objects(1, 2, road, (box,) * MAX_BOXES),
        Trajectory(1, 2, np.zeros((MAX_POINTS, 4), np.float32)),
        Command(1, 2, 0.0, 0.0, 0.0),
    ]
    assert all(len(m.to_bytes()) <= MESSAGE_BYTES for m in largest)


NAN_ROAD = Road(np.zeros((1, 2), np.float32), math.nan, 1.0)
FAR_ROAD = Road(np.full((1, 2), np.inf, np.float32), 1.0, 1.0)


@pytest.mark.parametrize(
    "message",
    [
        Command(1, 2, math.nan, 0.0, 0.0),
        Command(1, 2, 0.0, math.inf, 0.0),
        Trajectory(1, 2, np.full((2, 4), np.nan, np.float32)),
        Trajectory(1, 2, np.zeros((MAX_POINTS + 1, 4), np.float32)),
        Objects(1, 2, NAN_ROAD),
        Objects(1, 2, FAR_ROAD),
        Objects(1, 2, None, (Box(0, math.nan, 0, 0, 1, 1),)),
        Objects(1, 2, None, (Box(0, 1, 0, 0, 1, 1),) * (MAX_BOXES + 1)),
        Frame(1, 2, np.zeros((2, 2), np.uint8).reshape(2, 2, 1)),
        Frame(1, 2, np.zeros((2, 2, 3), np.float32)),
    ],
    ids=lambda m: type(m).__name__,
)
def test_what_must_not_travel_does_not(message: Message) -> None:
    with pytest.raises(MessageError):
        message.to_bytes()


def test_errors_name_what_was_found() -> None:
    data = Command(1, 2, 0.0, 0.0, 0.0).to_bytes()
    with pytest.raises(MessageError, match="Frame: found b'CMND' version 2"):
        Frame.from_bytes(data)
    with pytest.raises(MessageError, match="Command: found b'CMND' version 9"):
        Command.from_bytes(data[:4] + b"\x09\x00" + data[6:])
    with pytest.raises(MessageError, match="at least 24 needed"):
        Command.from_bytes(data[:10])
    with pytest.raises(MessageError, match="no message begins with b'nope'"):
        parse(b"nope" + data)
