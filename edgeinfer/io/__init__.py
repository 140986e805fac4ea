"""Sources and sinks by URL: "file:drive.mp4", "camera:0", "can:can0", "sim:carracing", ...

A scheme is the name of a module that is imported when it is first used; a missing driver or device
is a DeviceError that says what, why and how to get it. A source gives Frames, a sink takes
Commands; a simulator is both.

    source = open_source("file:drive.mp4")
    while (frame := source.read()) is not None: ...
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol
from urllib.parse import parse_qsl

from ..errors import DeviceError, MissingPackageError
from ..pipeline.messages import Command, Frame


class Source(Protocol):
    """Gives Frames. `rate_hz` is their nominal rate; `read` returns None at the end."""

    rate_hz: float

    def read(self) -> Frame | None:
        """The next frame (uint8 [height, width, 3], RGB), or None at the end."""

    def close(self) -> None:
        """Release the device."""


class Sink(Protocol):
    """Takes Commands: the last thing behind the guard."""

    def write(self, command: Command) -> None:
        """Send one command."""

    def close(self) -> None:
        """Release the device."""


@dataclass(frozen=True)
class Url:
    """A parsed URL "scheme:target?key=value": `text` is what the user wrote."""

    text: str
    scheme: str
    target: str
    options: dict[str, str] = field(default_factory=dict)

    def number(self, key: str, default: float) -> float:
        """Option `key` as a number; DeviceError where it is not one."""
        try:
            return float(self.options.get(key, default))
        except ValueError as exc:
            value = self.options[key]
            raise DeviceError(f"{self.text}: {key}={value!r} is not a number") from exc

    def allow(self, *known: str) -> None:
        """DeviceError where the user gave an option that is not `known`."""
        for key in self.options:
            if key not in known:
                there = ", ".join(known) or "none"
                raise DeviceError(f"{self.text}: no option {key!r}; {self.scheme}: takes {there}")


#: scheme -> (module, function that opens a source or "", function that opens a sink or "")
SCHEMES: dict[str, tuple[str, str, str]] = {
    "camera": ("camera", "open_source", ""),
    "file": ("file", "open_source", ""),
    "images": ("file", "open_images", ""),
    "can": ("can", "", "open_sink"),
    "candump": ("can", "", "open_log"),
    "serial": ("serial", "", "open_sink"),
    "virtual": ("virtual", "open_source", "open_sink"),
    "sim": ("carracing", "open_source", "open_source"),
}


def parse_url(text: str) -> Url:
    """Split "scheme:target?key=value&..."; DeviceError where the scheme is unknown."""
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in SCHEMES:
        known = ", ".join(f"{s}:" for s in SCHEMES)
        raise DeviceError(f"{text!r}: no such kind of source or sink; there are {known}")
    target, _, query = rest.partition("?")
    return Url(text, scheme, target, dict(parse_qsl(query, keep_blank_values=True)))


def open_source(text: str) -> Source:
    """Open the source that a URL names; DeviceError where it cannot be opened."""
    return _open(text, 1, "a source of frames")


def open_sink(text: str) -> Sink:
    """Open the sink that a URL names; DeviceError where it cannot be opened."""
    return _open(text, 2, "a sink of commands")


def _open(text: str, role: int, what: str) -> Any:
    url = parse_url(text)
    entry = SCHEMES[url.scheme]
    if not entry[role]:
        able = ", ".join(f"{s}:" for s, e in SCHEMES.items() if e[role])
        raise DeviceError(f"{text!r} is not {what}; use one of {able}")
    try:
        return getattr(import_module(f"{__name__}.{entry[0]}"), entry[role])(url)
    except ImportError as exc:
        raise _missing(text, exc) from exc


_PACKAGES = {
    "cv2": "opencv-python",
    "can": "python-can",
    "serial": "pyserial",
    "gymnasium": "'gymnasium[box2d]' pygame-ce",
    "Box2D": "'gymnasium[box2d]'",
    "pygame": "pygame-ce",
}


def _missing(text: str, exc: ImportError) -> MissingPackageError:
    name = (exc.name or "").partition(".")[0]
    package = _PACKAGES.get(name, name)
    return MissingPackageError(f"{text!r} needs {package} ({exc}): pip install {package}")
