"""Record and replay: a whole run in one MCAP file (mcap.dev), and the same commands out of it.

Topics: `source` (frames), one for each stage (its messages), `actuator` (the commands sent), and
`events` (what each stage did at each release, JSON). A message's sequence is its number at its
publisher. The file is appended chunk by chunk; a file cut off anywhere is readable up to its last
whole chunk. A replay runs the stages anew on the recorded frames, taking the recorded decisions
(which inputs, run or hold) and times; nothing else of the record enters, so the commands are equal
only where the stages compute the same.
"""

from __future__ import annotations

import json
import struct
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import MessageError
from .guard import Guard, GuardLimits
from .inline import Tick
from .loop import WORKING, Event, Mode, Runner, Words
from .messages import Command, Frame, Message, parse
from .modes import ModeLimits, Status, shape
from .schedule import SOURCE
from .slot import Published
from .stage import Stage

_CHUNK = 1 << 18
_KEEP = {SOURCE: 8}  # messages kept for later readers, by publisher; others _KEEP_OTHERS
_KEEP_OTHERS = 256
_PNG = struct.Struct("<Qq")

ACTUATOR = "actuator"
EVENTS = "events"


class TruncatedRecordWarning(UserWarning):
    """A record ends before its end; what comes before is good."""


def _mcap() -> Any:
    import mcap.reader
    import mcap.stream_reader
    import mcap.writer

    return mcap


class Recorder:
    """Writes a record. `png`: frames are compressed without loss (smaller, slower); `notes`: what
    else a reader should know (JSON), given back as `Record.about["notes"]`.
    """

    def __init__(
        self,
        path: str | Path,
        stages: Sequence[Stage],
        limits: GuardLimits,
        commands: str,
        png: bool = False,
        notes: Mapping[str, Any] | None = None,
        modes: ModeLimits | None = None,
        chunk_bytes: int = _CHUNK,
    ) -> None:
        self.path, self._png = Path(path), png
        self.trouble = ""  # why nothing more is written
        self._file = open(path, "wb")  # noqa: SIM115 - closed by close()
        self._writer: Any = _mcap().writer.Writer(self._file, chunk_size=chunk_bytes)
        self._writer.start(profile="edgeinfer", library="edgeinfer")
        self._channels: dict[str, int] = {}
        about = {
            "stages": json.dumps([s.name for s in stages]),
            "timing": json.dumps({s.name: asdict(s.timing) for s in stages}),
            "guard": json.dumps(asdict(limits)),
            "modes": json.dumps(asdict(modes or ModeLimits())),
            "commands": json.dumps(commands),
            "notes": json.dumps(dict(notes or {})),
        }
        self._writer.add_metadata("pipeline", about)
        self._file.flush()

    def _channel(self, topic: str, schema: str, encoding: str) -> int:
        if topic not in self._channels:
            kind = "jsonschema" if encoding == "json" else ""
            text = b'{"type":"object"}' if kind else b""
            number = self._writer.register_schema(schema, kind, text)
            self._channels[topic] = self._writer.register_channel(topic, encoding, number)
        return self._channels[topic]

    def _add(self, channel: int, count: int, data: bytes, time_ns: int) -> None:
        try:
            self._writer.add_message(channel, time_ns, data, time_ns, count & 0xFFFFFFFF)
            self._file.flush()  # the writer hands over whole chunks: what is written is readable
        except OSError as exc:  # a full disk stops the record, not the vehicle
            self._end_early(exc)

    def _end_early(self, why: OSError) -> None:
        self.trouble = f"{self.path}: the record ends early ({why.strerror or why})"

    def message(self, topic: str, count: int, message: Message, time_ns: int) -> None:
        """Number `count` of publisher `topic`."""
        if self.trouble:
            return
        if self._png and isinstance(message, Frame):
            channel = self._channel(topic, "edgeinfer.Frame", "edgeinfer-png")
            self._add(channel, count, _to_png(message), time_ns)
        else:
            channel = self._channel(topic, f"edgeinfer.{type(message).__name__}", "edgeinfer")
            self._add(channel, count, message.to_bytes(), time_ns)

    def event(self, event: Event, time_ns: int) -> None:
        """What a stage did at a release."""
        if self.trouble:
            return
        self._add(self._channel(EVENTS, "edgeinfer.Event", "json"), 0, event.to_json(), time_ns)

    def close(self) -> None:
        """Finish the file: index and footer."""
        if self._file.closed:
            return
        try:
            if not self.trouble:
                self._writer.finish()
            self._file.close()
        except OSError as exc:
            self._end_early(exc)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _to_png(frame: Frame) -> bytes:
    import cv2

    ok, data = cv2.imencode(".png", frame.image[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not ok:
        raise MessageError(f"frame {frame.seq}: OpenCV cannot encode it as PNG")
    return _PNG.pack(frame.seq, frame.stamp_ns) + bytes(data)


def _from_png(data: bytes) -> Frame:
    import cv2

    seq, stamp = _PNG.unpack_from(data)
    image = cv2.imdecode(np.frombuffer(data, np.uint8, offset=_PNG.size), cv2.IMREAD_COLOR)
    if image is None:
        raise MessageError(f"frame {seq}: its PNG is damaged")
    return Frame(seq, stamp, np.ascontiguousarray(image[:, :, ::-1]))


class Entry(NamedTuple):
    """One entry: topic, number at its publisher, time written, Message or Event."""

    topic: str
    number: int
    time_ns: int
    content: Message | Event


@dataclass
class Record:
    """A record opened for reading: iterate over it. `about`: stages, timing, guard limits."""

    path: Path
    about: dict[str, Any] = field(default_factory=dict)
    truncated: str = ""

    def __iter__(self) -> Iterator[Entry]:
        with open(self.path, "rb") as file:
            try:
                yield from self._entries(file)
            except _damage() as exc:
                self.truncated = f"{type(exc).__name__}: {exc}".rstrip(": ")
                text = f"{self.path}: cut off or damaged ({self.truncated}); read up to there"
                warnings.warn(text, TruncatedRecordWarning, stacklevel=2)

    def _entries(self, file: Any) -> Iterator[Entry]:
        from mcap.records import Channel, Metadata
        from mcap.records import Message as McapMessage

        channels: dict[int, Any] = {}
        limit = max(self.path.stat().st_size, 1 << 20) * 64
        reader = _mcap().stream_reader.StreamReader(
            file, validate_crcs=True, record_size_limit=limit
        )
        for item in reader.records:
            if isinstance(item, Channel):
                channels[item.id] = item
            elif isinstance(item, Metadata) and item.name == "pipeline":
                self.about = {k: json.loads(v) for k, v in item.metadata.items()}
            elif isinstance(item, McapMessage):
                channel = channels[item.channel_id]
                content = _decode(channel.message_encoding, item.data)
                yield Entry(channel.topic, item.sequence, item.log_time, content)


def _damage() -> tuple[type[Exception], ...]:
    import zlib

    from mcap.exceptions import McapError
    from zstandard import ZstdError

    return McapError, ZstdError, zlib.error, struct.error, EOFError, ValueError


def _decode(encoding: str, data: bytes) -> Message | Event:
    if encoding == "json":
        return Event.from_json(data)
    return _from_png(data) if encoding == "edgeinfer-png" else parse(data)


def read(path: str | Path) -> Record:
    """A record for reading; MessageError where the file is not one."""
    with open(path, "rb") as file:
        if file.read(8) != b"\x89MCAP0\r\n":
            raise MessageError(f"{path}: not a record (MCAP) of edgeinfer")
    return Record(Path(path))


@dataclass(frozen=True)
class Replay:
    """Commands of a replay beside the recorded ones, wire bytes each, in order of sending."""

    commands: list[bytes]
    recorded: list[bytes]
    events: int

    @property
    def same(self) -> bool:
        """Whether they are equal, byte for byte."""
        return self.commands == self.recorded

    @property
    def first_difference(self) -> int | None:
        """Number of the first command that differs, or None."""
        pairs = zip(self.commands, self.recorded, strict=False)
        short = min(len(self.commands), len(self.recorded))
        differing = next((i for i, (a, b) in enumerate(pairs) if a != b), short)
        return None if self.same else differing


class _Outputs:
    """The newest outputs of each publisher, by number."""

    def __init__(self) -> None:
        self._kept: dict[str, OrderedDict[int, Published]] = {}

    def add(self, topic: str, published: Published) -> None:
        kept = self._kept.setdefault(topic, OrderedDict())
        kept[published.number] = published
        while len(kept) > _KEEP.get(topic, _KEEP_OTHERS):
            kept.popitem(last=False)

    def newest(self) -> dict[str, Message]:
        """The last message of every publisher."""
        return {t: next(reversed(kept.values())).message for t, kept in self._kept.items()}

    def get(self, topic: str, count: int, reader: str) -> Published:
        kept = self._kept.get(topic)
        found = kept.get(count) if kept else None
        if found is None:
            raise MessageError(
                f"replay: {reader} used message {count} of {topic!r}, which the record lacks "
                "(parts were lost while recording) or the replayed stage did not give"
            )
        return found


def replay(
    path: str | Path,
    stages: Sequence[Stage],
    observe: Callable[[Tick], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Replay:
    """Run `stages` on a record's frames with its decisions; compare the commands.

    The stages must be those of the run, by name. `observe` sees every period of the guard, with
    the messages and the command of the replay; `on_event` the recorded events. MessageError where
    the record does not fit.
    """
    record = read(path)
    outputs, replayed, recorded, n = _Outputs(), [], [], 0
    runners: dict[str, Runner] = {}
    guard: Guard | None = None
    modes = ModeLimits()
    try:
        for entry in record:
            if guard is None:
                guard = Guard(GuardLimits(**record.about["guard"]))
                modes = ModeLimits(**record.about["modes"])
                runners = _open(record, stages, guard.limits.safe_brake)
            if entry.topic == ACTUATOR and isinstance(entry.content, Message):
                recorded.append(entry.content.to_bytes())
            elif isinstance(entry.content, Frame):
                outputs.add(SOURCE, Published(entry.number, entry.content, entry.time_ns))
            elif isinstance(entry.content, Event):
                n += 1
                sent = _repeat(entry.content, runners, guard, outputs, modes)
                replayed += [sent.to_bytes()] if sent else []
                _tell(entry.content, sent, outputs, observe, on_event)
    finally:
        for runner in runners.values():
            runner.stage.close()
    if len(replayed) == len(recorded) + 1 and record.truncated:
        replayed.pop()  # the event of the last command was saved, the command itself not
    return Replay(replayed, recorded, n)


def _tell(
    event: Event,
    sent: Command | None,
    outputs: _Outputs,
    observe: Callable[[Tick], None] | None,
    on_event: Callable[[Event], None] | None,
) -> None:
    """Tell those who listen to a replay."""
    if on_event is not None:
        on_event(event)
    if observe is None or event.stage != "guard":
        return
    messages = outputs.newest()
    frame = messages.pop(SOURCE, None)
    if isinstance(frame, Frame):
        observe(Tick(event.release_ns, frame, messages, sent))


def _open(record: Record, stages: Sequence[Stage], safe_brake: float) -> dict[str, Runner]:
    wanted, given = record.about["stages"], {s.name: s for s in stages}
    if set(wanted) != set(given):
        raise MessageError(f"{record.path}: recorded with stages {wanted}, given {list(given)}")
    for stage in stages:
        stage.open()
    last = record.about["commands"]
    return {s.name: Runner(s, s.name == last, safe_brake) for s in stages}


def _repeat(
    event: Event,
    runners: dict[str, Runner],
    guard: Guard,
    outputs: _Outputs,
    modes: ModeLimits,
) -> Command | None:
    """Do again what the event tells of; the Command sent where it is the guard's."""
    used = event.inputs or {}
    inputs = {name: outputs.get(name, count, event.stage) for name, count in used.items()}
    if event.stage == "guard" and event.mode is not Mode.STALE:
        for published in inputs.values():
            assert isinstance(published.message, Command)
            status = Status.parse(Words.parse(event.text).status)
            shaped = shape(published.message, status, modes)
            guard.offer(shaped, published.number, event.release_ns, event.duration_ns)
        sent = guard.output(event.release_ns)
        return None if event.mode is Mode.LOST else sent
    if event.stage in runners and event.mode in WORKING:
        runners[event.stage].stage.repeats = event.text
        chosen = Mode.RUN if inputs else Mode.HELD
        _, out = runners[event.stage].work(chosen, inputs, event.release_ns)
        if out is not None and event.output:
            outputs.add(event.stage, Published(event.output, out, event.start_ns))
    return None
