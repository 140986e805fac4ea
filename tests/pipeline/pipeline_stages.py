"""Small stages, sources and sinks that the pipeline's tests share; real ones, only simple."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgeinfer.pipeline.control import ControlStage
from edgeinfer.pipeline.messages import Command, Frame, Message, Objects, Road
from edgeinfer.pipeline.planning import PlanningStage
from edgeinfer.pipeline.stage import Stage, Timing
from edgeinfer.pipeline.vehicle import PASSENGER_CAR

MS = 1_000_000
PERIOD_NS = 20 * MS


class Bend(Stage):
    """Perception: the frame's brightness is the road's curvature; keeps a state, as trackers do."""

    name, inputs = "perception", ("source",)

    def __init__(self, timing: Timing) -> None:
        self.timing, self.mean = timing, 128.0
        self.opened = self.closed = 0

    def open(self) -> None:
        self.mean = 128.0
        self.opened += 1

    def close(self) -> None:
        self.closed += 1

    def step(self, inputs: Mapping[str, Message]) -> Objects | None:
        frame = inputs["source"]
        assert isinstance(frame, Frame)
        self.mean += 0.5 * (float(frame.image.mean()) - self.mean)
        if frame.image[0, 0, 0] == 0:
            return Objects(frame.seq, frame.stamp_ns, None)  # no road to be seen
        x = np.arange(0, 80, 2.0)
        centre = np.stack([x, x * x * 1e-3 * (self.mean - 128) / 128], 1)
        return Objects(frame.seq, frame.stamp_ns, Road(centre, 4.0, 1.0, 10.0))


class Crash(Bend):
    """Perception that dies at a frame: by signal, or by exception where `signal` is 0."""

    def __init__(self, timing: Timing, frame: int, signal: int) -> None:
        super().__init__(timing)
        self.frame, self.signal = frame, signal

    def step(self, inputs: Mapping[str, Message]) -> Objects | None:
        if inputs["source"].seq >= self.frame:
            if self.signal:
                os.kill(os.getpid(), self.signal)
            raise RuntimeError("the lens fell off")
        return super().step(inputs)


class Hang(Bend):
    """Perception that never comes back."""

    def step(self, inputs: Mapping[str, Message]) -> Objects | None:
        time.sleep(3600)
        return None


class BadOpen(Bend):
    """Perception whose model is missing."""

    def open(self) -> None:
        raise FileNotFoundError("no model here")


class ControlCrash(ControlStage):
    """Control killed at a frame."""

    def __init__(self, timing: Timing, frame: int, signal: int) -> None:
        super().__init__(timing, PASSENGER_CAR)
        self.frame, self.signal = frame, signal

    def step(self, inputs: Mapping[str, Message]) -> Command:
        if inputs["planning"].seq >= self.frame:
            os.kill(os.getpid(), self.signal)
        return super().step(inputs)


class Frames:
    """A source of `n` small frames at 50 Hz; those in `blind` show nothing."""

    def __init__(
        self,
        n: int,
        blind: tuple[int, ...] = (),
        shape: tuple[int, int, int] = (8, 12, 3),
        rate_hz: float = 50.0,
    ) -> None:
        self.n, self.blind, self.seq, self.closed = n, blind, 0, 0
        self.shape, self.rate_hz = shape, rate_hz

    def read(self) -> Frame | None:
        if self.seq >= self.n:
            return None
        value = 0 if self.seq in self.blind else 100 + self.seq * 37 % 56
        image = np.full(self.shape, value, np.uint8)
        frame = Frame(self.seq, self.seq * PERIOD_NS, image)
        self.seq += 1
        return frame

    def close(self) -> None:
        self.closed += 1


class Plant(Frames):
    """A simulator: moves on only when written to."""

    def __init__(self, n: int, blind: tuple[int, ...] = ()) -> None:
        super().__init__(n, blind)
        self.got: list[Command] = []

    def read(self) -> Frame | None:
        self.seq = len(self.got)
        frame = super().read()
        self.seq = len(self.got)
        return frame

    def write(self, command: Command) -> None:
        self.got.append(command)


class Sink:
    """Keeps the commands; in `path` too, for readers in other processes."""

    def __init__(self, path: Path | None = None) -> None:
        self.path, self.got, self.closed = path, list[Command](), 0

    def write(self, command: Command) -> None:
        self.got.append(command)
        if self.path is not None:
            with open(self.path, "ab") as file:
                file.write(time.monotonic_ns().to_bytes(8, "little") + command.to_bytes())

    def close(self) -> None:
        self.closed += 1


def commands_in(path: Path) -> list[tuple[int, Command]]:
    """(time, Command) of all that a Sink wrote to `path`."""
    size = 8 + len(Command(0, 0, 0.0, 0.0, 0.0).to_bytes())
    data = path.read_bytes() if path.exists() else b""
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    return [(int.from_bytes(p[:8], "little"), Command.from_bytes(p[8:])) for p in parts]


def stages(
    rate_hz: float = 50.0, max_age_ms: float = 80.0, perception: type[Bend] = Bend, *args: int
) -> list[Stage]:
    """Perception, planning, control with budgets of 5, 4 and 2 ms."""
    return [
        perception(Timing(rate_hz, 5, 40), *args),
        PlanningStage(Timing(rate_hz, 4, 80), PASSENGER_CAR),
        ControlStage(Timing(rate_hz, 2, max_age_ms), PASSENGER_CAR),
    ]
