"""Commands over a serial line: `serial:/dev/ttyUSB0?baud=115200`, `serial:loop://`.

A command is one line of SLCAN (Lawicel) text, `tIIIL` and the data in hexadecimal, ended by a
carriage return: any SLCAN adapter puts it on a CAN bus, any microcontroller can parse it. The
content is COMMAND of edgeinfer.dbc, with its counter and checksum.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import DeviceError, MessageError
from ..pipeline.messages import Command
from . import Url
from . import can as can_io


def to_line(frame_id: int, data: bytes) -> bytes:
    """SLCAN line of a standard frame."""
    return f"t{frame_id:03X}{len(data)}{data.hex().upper()}\r".encode("ascii")


def from_line(line: bytes) -> tuple[int, bytes]:
    """(identifier, data) of an SLCAN line; MessageError where it is damaged."""
    text = line.rstrip(b"\r").decode("ascii", "replace")
    try:
        length = int(text[4])
        if text[0] != "t" or len(text) != 5 + 2 * length:
            raise ValueError("wrong length")
        return int(text[1:4], 16), bytes.fromhex(text[5:])
    except (ValueError, IndexError) as exc:
        raise MessageError(f"{line!r} is not an SLCAN frame ({exc})") from exc


def _ports() -> str:
    found = sorted(str(p) for kind in ("ttyUSB*", "ttyACM*") for p in Path("/dev").glob(kind))
    if found:
        return f"found {', '.join(found)}: choose one, or check its permission (group dialout)"
    return "no /dev/ttyUSB* or ttyACM* here: plug the adapter in, or use can:virtual0"


class SerialSink:
    """Sends every Command as one SLCAN line."""

    def __init__(self, port: str, baud: int = 115200) -> None:
        import serial

        self.port, self._counter = port, 0
        try:
            self.line: Any = serial.serial_for_url(
                port, baudrate=baud, timeout=0.1, write_timeout=0.1
            )
        except (serial.SerialException, ValueError) as exc:
            raise DeviceError(f"serial:{port}: cannot be opened ({exc}); {_ports()}") from exc

    def write(self, command: Command) -> None:
        """Send one command; DeviceError where the line does not take it within 100 ms."""
        import serial

        try:
            self.line.write(to_line(*can_io.encode(command, self._counter)))
        except serial.SerialException as exc:
            raise DeviceError(f"serial:{self.port}: not sent ({exc}); is it unplugged?") from exc
        self._counter += 1

    def close(self) -> None:
        """Release the port."""
        self.line.close()


def open_sink(url: Url) -> SerialSink:
    """`serial:PORT?baud=N`."""
    url.allow("baud")
    if not url.target:
        raise DeviceError(f"{url.text!r}: no port; {_ports()}")
    return SerialSink(url.target, int(url.number("baud", 115200)))
