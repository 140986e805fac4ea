"""Commands on a CAN bus, or in a CAN log: `can:virtual0`, `can:can0`, `candump:out.log`.

The frame is COMMAND of edgeinfer.dbc: steer, throttle, brake, origin, the frame's number, protected
by a counter and a CRC-8 SAE J1850 as in AUTOSAR E2E profile 1. `decode` checks both.

`can:CHANNEL` is SocketCAN, or python-can's in-process bus where the channel begins with "virtual";
`can:CHANNEL?interface=slcan&bitrate=500000` names any interface python-can has a driver for.
`candump:PATH` writes the log format its suffix names (.log, .asc, .blf, .csv, .db, .trc).
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import DeviceError, MessageError
from ..pipeline.messages import Command, Origin
from . import Url

DBC = Path(__file__).with_name("edgeinfer.dbc")
_COUNTS = 15  # the counter runs 0..14; profile 1 keeps 15 for "invalid"


@cache
def _database() -> Any:
    import cantools

    return cantools.database.load_file(DBC)


@cache
def _crc_table() -> tuple[int, ...]:
    def entry(value: int) -> int:
        for _ in range(8):
            value = (value << 1) ^ (0x1D if value & 0x80 else 0)
        return value & 0xFF

    return tuple(entry(i) for i in range(256))


def crc8(data: bytes) -> int:
    """CRC-8 SAE J1850: polynomial 0x1D, start 0xFF, result inverted."""
    table, crc = _crc_table(), 0xFF
    for byte in data:
        crc = table[crc ^ byte]
    return crc ^ 0xFF


def _checksum(frame_id: int, data: bytes) -> int:
    return crc8(frame_id.to_bytes(2, "little") + data[1:])


def encode(command: Command, counter: int) -> tuple[int, bytes]:
    """(CAN identifier, 8 bytes) of a Command; values outside their range are limited to it."""
    message = _database().get_message_by_name("COMMAND")
    values = {
        "STEER": min(max(command.steer, -1.0), 1.0),
        "THROTTLE": min(max(command.throttle, 0.0), 1.0),
        "BRAKE": min(max(command.brake, 0.0), 1.0),
        "ORIGIN": int(command.origin),
        "FRAME": command.seq & 0xFFF,
        "COUNTER": counter % _COUNTS,
        "CHECKSUM": 0,
    }
    data = bytes(message.encode(values))
    return message.frame_id, bytes([_checksum(message.frame_id, data)]) + data[1:]


def decode(frame_id: int, data: bytes, stamp_ns: int = 0) -> tuple[Command, int]:
    """(Command, counter) of a frame. `seq` is the low 12 bits of the camera frame's number.

    Raises MessageError where it is not a COMMAND, its length or its checksum is wrong.
    """
    message = _database().get_message_by_name("COMMAND")
    if frame_id != message.frame_id or len(data) != message.length:
        raise MessageError(
            f"CAN frame 0x{frame_id:X} of {len(data)} bytes is not COMMAND "
            f"(0x{message.frame_id:X}, {message.length} bytes)"
        )
    if data[0] != _checksum(frame_id, data):
        expected = _checksum(frame_id, data)
        raise MessageError(f"COMMAND {data.hex()}: checksum {data[0]}, computed {expected}")
    v = message.decode(data, decode_choices=False)
    if v["ORIGIN"] > Origin.SAFE or v["COUNTER"] >= _COUNTS:
        raise MessageError(f"COMMAND {data.hex()}: origin {v['ORIGIN']}, counter {v['COUNTER']}")
    origin = Origin(v["ORIGIN"])
    command = Command(v["FRAME"], stamp_ns, v["STEER"], v["THROTTLE"], v["BRAKE"], origin)
    return command, v["COUNTER"]


def _message(command: Command, counter: int, seconds: float) -> Any:
    import can

    frame_id, data = encode(command, counter)
    return can.Message(
        timestamp=seconds, arbitration_id=frame_id, data=data, is_extended_id=False, is_rx=False
    )


class CanSink:
    """Sends every Command as a frame on a CAN bus through python-can."""

    def __init__(self, channel: str, interface: str = "", **options: Any) -> None:
        import can

        self.channel, self._counter = channel, 0
        interface = interface or ("virtual" if channel.startswith("virtual") else "socketcan")
        try:
            self.bus = can.Bus(interface=interface, channel=channel, **options)
        except (can.CanError, OSError, ValueError, NotImplementedError, ImportError) as exc:
            raise DeviceError(_why(channel, interface, exc)) from exc

    def write(self, command: Command) -> None:
        """Send one command; DeviceError where the bus does not take it."""
        import can

        try:
            self.bus.send(_message(command, self._counter, time.time()), timeout=0.01)
        except (can.CanError, OSError) as exc:
            raise DeviceError(
                f"can:{self.channel}: frame {command.seq} not sent ({exc}); is the bus up, "
                "terminated, and somebody there to acknowledge?"
            ) from exc
        self._counter += 1

    def close(self) -> None:
        """Leave the bus."""
        self.bus.shutdown()


def _why(channel: str, interface: str, exc: Exception) -> str:
    fix = "check the interface's name and options"
    if interface == "socketcan":
        fix = (
            f"bring it up with: sudo ip link set {channel} up type can bitrate 500000 "
            "(or use can:virtual0)"
        )
    return f"can:{channel}: cannot be opened on {interface} ({exc}); {fix}"


class CanLog:
    """Writes every Command as a CAN frame to a log file, stamped with its camera frame's time."""

    def __init__(self, path: str) -> None:
        import can

        self.path, self._counter = path, 0
        try:
            self._log: Any = can.Logger(path)
        except (OSError, ValueError) as exc:
            raise DeviceError(
                f"candump:{path}: cannot be written ({exc}); use a .log file"
            ) from exc

    def write(self, command: Command) -> None:
        """Log one command."""
        message = _message(command, self._counter, command.stamp_ns / 1e9)
        message.channel = "edgeinfer0"
        self._log.on_message_received(message)
        self._counter += 1

    def close(self) -> None:
        """Finish the file."""
        self._log.stop()


def open_sink(url: Url) -> CanSink:
    """`can:CHANNEL?interface=NAME&bitrate=N`."""
    url.allow("interface", "bitrate")
    if not url.target:
        raise DeviceError(f"{url.text!r}: no channel; write can:can0 or can:virtual0")
    options = {"bitrate": int(url.number("bitrate", 0))} if "bitrate" in url.options else {}
    return CanSink(url.target, url.options.get("interface", ""), **options)


def open_log(url: Url) -> CanLog:
    """`candump:PATH`."""
    url.allow()
    if not url.target:
        raise DeviceError(f"{url.text!r}: no file; write candump:commands.log")
    return CanLog(url.target)
