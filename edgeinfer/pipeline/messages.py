"""The four messages: Frame, Objects, Trajectory, Command.

Each carries `seq`, the number of the frame it derives from, and `stamp_ns`, when that frame was
taken (clock of the pipeline, nanoseconds). Vehicle frame as in ISO 8855: x forward, y left, metres.
`to_bytes` gives a fixed little-endian layout that begins with a version and a checksum
(CRC-16-CCITT, all but the pixels of a frame, which would cost milliseconds), so that messages
travel through shared memory and records; `from_bytes` checks everything and raises
MessageError.
"""

from __future__ import annotations

import math
import struct
from binascii import crc_hqx
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, TypeVar

import numpy as np

from ..errors import MessageError

VERSION = 2
MAX_POINTS = 64
MAX_BOXES = 64
#: Bytes that hold any message but a Frame: header, boxes, points, scalars.
MESSAGE_BYTES = 64 + MAX_POINTS * 16 + MAX_BOXES * 24

_HEAD = struct.Struct("<4sHHQq")  # kind, version, checksum, seq, stamp_ns
M = TypeVar("M", bound="Message")


@dataclass(frozen=True, eq=False)
class Message:
    """Base: the frame's number and time."""

    KIND: ClassVar[bytes] = b"----"
    CHECKED: ClassVar[int] = MESSAGE_BYTES  # bytes of the body that the checksum covers

    seq: int
    stamp_ns: int

    def to_bytes(self) -> bytes:
        """The message in its wire form."""
        body = self._body()
        check = _checksum(self.seq, self.stamp_ns, body)
        return _HEAD.pack(self.KIND, VERSION, check, self.seq, self.stamp_ns) + body

    def to_parts(self) -> tuple[bytes, Any]:
        """The wire form in two: bytes, and the buffer that follows them (b"" where there is none).

        An image travels without a copy that way; its head is a multiple of 8 bytes.
        """
        return self.to_bytes(), b""

    def _body(self) -> bytes:
        raise NotImplementedError

    @classmethod
    def from_bytes(cls: type[M], data: bytes | memoryview) -> M:
        """The message in `data`; MessageError where it is damaged or of another kind or version."""
        view = memoryview(data)
        if len(view) < _HEAD.size:
            raise MessageError(f"{cls.__name__}: {len(view)} bytes, at least {_HEAD.size} needed")
        kind, version, check, seq, stamp = _HEAD.unpack_from(view)
        if kind != cls.KIND or version != VERSION:
            raise MessageError(
                f"{cls.__name__}: found {kind!r} version {version}, expected {cls.KIND!r} {VERSION}"
            )
        body = view[_HEAD.size :]
        if check != _checksum(seq, stamp, body[: cls.CHECKED]):
            raise MessageError(f"{cls.__name__} {seq}: damaged (its checksum does not fit)")
        try:
            return cls(seq, stamp, *cls._parse(body))
        except (struct.error, ValueError) as exc:
            raise MessageError(f"{cls.__name__} {seq}: damaged ({exc})") from exc

    @classmethod
    def _parse(cls, body: memoryview) -> tuple[Any, ...]:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]


def _checksum(seq: int, stamp_ns: int, body: bytes | memoryview) -> int:
    return crc_hqx(body, (seq ^ stamp_ns ^ stamp_ns >> 16 ^ stamp_ns >> 32) & 0xFFFF)


def _floats(array: np.ndarray, columns: int, what: str) -> np.ndarray:
    """float32 [n, columns], n <= MAX_POINTS, all finite."""
    out = np.ascontiguousarray(array, np.float32).reshape(-1, columns)
    if len(out) > MAX_POINTS:
        raise MessageError(f"{what}: {len(out)} points, at most {MAX_POINTS} fit")
    if not np.isfinite(out).all():
        raise MessageError(f"{what}: a value is not finite")
    return out


def _finite(values: Iterable[float], what: str) -> None:
    if not all(map(math.isfinite, values)):
        raise MessageError(f"{what}: a value is not finite")


def _exact(body: memoryview, offset: int) -> None:
    if len(body) != offset:
        raise ValueError(f"{len(body)} bytes of content, expected {offset}")


@dataclass(frozen=True, eq=False)
class Frame(Message):
    """One image: uint8 [height, width, 3], RGB."""

    KIND: ClassVar[bytes] = b"FRAM"
    CHECKED: ClassVar[int] = 8  # its shape
    _SHAPE: ClassVar[struct.Struct] = struct.Struct("<II")

    image: np.ndarray

    def to_bytes(self) -> bytes:
        return b"".join(self.to_parts())

    def to_parts(self) -> tuple[bytes, Any]:
        h, w, c = self.image.shape
        if c != 3 or self.image.dtype != np.uint8:
            raise MessageError(f"Frame: {self.image.dtype}{[h, w, c]} is not uint8 RGB")
        shape = self._SHAPE.pack(h, w)
        check = _checksum(self.seq, self.stamp_ns, shape)
        head = _HEAD.pack(self.KIND, VERSION, check, self.seq, self.stamp_ns)
        return head + shape, np.ascontiguousarray(self.image).reshape(-1).data

    @classmethod
    def _parse(cls, body: memoryview) -> tuple[np.ndarray]:
        h, w = cls._SHAPE.unpack_from(body)
        _exact(body, cls._SHAPE.size + h * w * 3)
        return (np.frombuffer(body[cls._SHAPE.size :], np.uint8).reshape(h, w, 3),)


@dataclass(frozen=True)
class Box:
    """A detected object: label id, score 0..1, corners x0, y0, x1, y1 as fractions of the image."""

    label: int
    score: float
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, eq=False)
class Road:
    """The road ahead: `centre` float32 [k, 2] metres in the vehicle frame, ordered by distance.

    `width_m` of the lane, `confidence` 0..1; `speed_mps` and `yaw_rate` (rad/s) of the vehicle
    itself as perception sees them, NaN where it does not.
    """

    centre: np.ndarray
    width_m: float
    confidence: float
    speed_mps: float = math.nan
    yaw_rate: float = math.nan


@dataclass(frozen=True, eq=False)
class Objects(Message):
    """What perception found: the road, or None, and boxes (at most MAX_BOXES)."""

    KIND: ClassVar[bytes] = b"OBJS"
    _COUNTS: ClassVar[struct.Struct] = struct.Struct("<HHI4f")
    _BOX: ClassVar[struct.Struct] = struct.Struct("<i5f")

    road: Road | None
    boxes: tuple[Box, ...] = ()

    def _body(self) -> bytes:
        if len(self.boxes) > MAX_BOXES:
            raise MessageError(f"Objects: {len(self.boxes)} boxes, at most {MAX_BOXES} fit")
        r = self.road
        centre = _floats(r.centre, 2, "Road") if r is not None else np.zeros((0, 2), np.float32)
        scalars = (r.width_m, r.confidence, r.speed_mps, r.yaw_rate) if r else (0.0,) * 4
        _finite(scalars[:2], "Road")
        for b in self.boxes:
            _finite((b.score, b.x0, b.y0, b.x1, b.y1), "Box")
        head = self._COUNTS.pack(len(centre), len(self.boxes), int(r is not None), *scalars)
        boxes = b"".join(
            self._BOX.pack(b.label, b.score, b.x0, b.y0, b.x1, b.y1) for b in self.boxes
        )
        return head + centre.tobytes() + boxes

    @classmethod
    def _parse(cls, body: memoryview) -> tuple[Road | None, tuple[Box, ...]]:
        n, n_boxes, present, *scalars = cls._COUNTS.unpack_from(body)
        start = cls._COUNTS.size
        middle = start + 8 * n
        _exact(body, middle + n_boxes * cls._BOX.size)
        centre = _floats(np.frombuffer(body[start:middle], "<f4"), 2, "Road")
        boxes = tuple(Box(*values) for values in cls._BOX.iter_unpack(body[middle:]))
        if n_boxes > MAX_BOXES:
            raise ValueError(f"{n_boxes} boxes, at most {MAX_BOXES} fit")
        _finite(scalars[:2], "Road")
        for box in boxes:
            _finite((box.score, box.x0, box.y0, box.x1, box.y1), "Box")
        return Road(centre, *scalars) if present else None, boxes


@dataclass(frozen=True, eq=False)
class Trajectory(Message):
    """What the vehicle intends: float32 [m, 4] of t (s), x, y (m, vehicle frame), v (m/s).

    `speed_mps` is the present speed it was planned from (NaN where unknown).
    """

    KIND: ClassVar[bytes] = b"TRAJ"
    _COUNT: ClassVar[struct.Struct] = struct.Struct("<If")

    points: np.ndarray
    speed_mps: float = math.nan

    def _body(self) -> bytes:
        points = _floats(self.points, 4, "Trajectory")
        return self._COUNT.pack(len(points), self.speed_mps) + points.tobytes()

    @classmethod
    def _parse(cls, body: memoryview) -> tuple[np.ndarray, float]:
        n, speed = cls._COUNT.unpack_from(body)
        _exact(body, cls._COUNT.size + 16 * n)
        points = np.frombuffer(body[cls._COUNT.size :], "<f4")
        return _floats(points, 4, "Trajectory"), speed


class Origin(IntEnum):
    """Where a command comes from: a fresh Trajectory, a held one, or the safe fallback."""

    NOMINAL = 0
    HELD = 1
    SAFE = 2


@dataclass(frozen=True, eq=False)
class Command(Message):
    """What the actuators get: steer -1..1 (positive left), throttle and brake 0..1."""

    KIND: ClassVar[bytes] = b"CMND"
    _FIELDS: ClassVar[struct.Struct] = struct.Struct("<3fI")

    steer: float
    throttle: float
    brake: float
    origin: Origin = Origin.NOMINAL

    def __post_init__(self) -> None:
        # The wire form is float32: a command must equal itself after a replay.
        for name in ("steer", "throttle", "brake"):
            object.__setattr__(self, name, float(np.float32(getattr(self, name))))

    def _body(self) -> bytes:
        _finite((self.steer, self.throttle, self.brake), f"Command {self.seq}")
        return self._FIELDS.pack(self.steer, self.throttle, self.brake, self.origin)

    @classmethod
    def _parse(cls, body: memoryview) -> tuple[float, float, float, Origin]:
        _exact(body, cls._FIELDS.size)
        steer, throttle, brake, origin = cls._FIELDS.unpack(body)
        _finite((steer, throttle, brake), "Command")
        return steer, throttle, brake, Origin(origin)


KINDS: dict[bytes, type[Message]] = {c.KIND: c for c in (Frame, Objects, Trajectory, Command)}


def parse(data: bytes | memoryview) -> Message:
    """The message of whatever kind in `data`."""
    kind = bytes(memoryview(data)[:4])
    if kind not in KINDS:
        raise MessageError(f"no message begins with {kind!r}")
    return KINDS[kind].from_bytes(data)
