"""The closed-loop scene: Gymnasium's CarRacing-v3, a source of frames and a sink of commands.

`sim:carracing?seed=3&randomize=1&steps=1000&metrics=FILE`. The source gives what the camera above
the car sees (96x96 RGB, with the indicator bar) and nothing else; `write` applies a command for
1/50 s. Score, laps and time off the road come from the simulator's own state and serve as metrics
alone.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DeviceError, MissingPackageError
from ..pipeline.messages import Command, Frame
from . import Url

RATE_HZ = 50.0
STEPS = 1000  # time limit of the registered environment
_STEP_NS = 20_000_000
#: action[0] is a wheel angle; the wheels' joints stop at 0.4 rad.
_STEER_MAX = 0.4
#: Pixels of the 96x96 image per metre, across and along, once the first second's zoom has ended.
_PIXELS = np.array([16.2 * 96 / 1000, 16.2 * 96 / 800])


@dataclass
class Metrics:
    """What a run came to: `off_road_s` is the time with two or more wheels beside the road."""

    score: float = 0.0
    laps: int = 0
    steps: int = 0
    off_road_s: float = 0.0
    tiles: int = 0

    @property
    def seconds(self) -> float:
        """Time driven, simulated."""
        return self.steps / RATE_HZ


def _make(randomize: bool, view: bool) -> Any:
    # No window is wanted, and most cars have no display.
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import gymnasium

        return gymnasium.make(
            "CarRacing-v3",
            render_mode="rgb_array" if view else None,
            continuous=True,
            domain_randomize=randomize,
            disable_env_checker=True,
        )
    except Exception as exc:
        # Gymnasium has an exception type of its own for the packages that it lacks.
        if isinstance(exc, ImportError) or type(exc).__name__ == "DependencyNotInstalled":
            raise MissingPackageError(
                f"sim:carracing needs Gymnasium with Box2D and pygame ({exc}): "
                "pip install 'gymnasium[box2d]' pygame-ce"
            ) from exc
        raise


class CarRacing:
    """One episode. `read` gives the view after the last `write`; None once the episode is over.

    `seed` draws the track, `randomize` draws the colours of road and grass too, `steps` limits the
    episode. `metrics` grows with every write; `close` writes it to `save` (JSON) where given, for
    those who run the scene in another process.
    """

    rate_hz = RATE_HZ

    def __init__(
        self, seed: int = 0, randomize: bool = False, steps: int = STEPS, save: str = ""
    ) -> None:
        if seed < 0:
            raise DeviceError(f"sim:carracing: seed={seed} is negative; give 0 or more")
        if not 1 <= steps <= STEPS:
            raise DeviceError(f"sim:carracing: steps={steps} is not within 1..{STEPS}")
        self.seed, self.randomize, self.length = seed, randomize, steps
        self.metrics, self.done, self._save = Metrics(), False, save
        self._env = _make(randomize, view=False)
        self._image, _ = self._env.reset(seed=seed)

    @property
    def _world(self) -> Any:
        return self._env.unwrapped

    def read(self) -> Frame | None:
        """The camera's view now, uint8 [96, 96, 3]; None when the episode is over."""
        if self.done:
            return None
        n = self.metrics.steps
        return Frame(n, n * _STEP_NS, self._image)

    def write(self, command: Command) -> None:
        """Drive 1/50 s with this command. Does nothing once the episode is over."""
        if self.done:
            return
        action = np.array([-_STEER_MAX * command.steer, command.throttle, command.brake])
        self._image, reward, ended, cut, info = self._env.step(action)
        m = self.metrics
        m.steps += 1
        m.score += float(reward)
        m.tiles = int(self._world.tile_visited_count)
        m.laps += int(bool(info.get("lap_finished", False)))
        m.off_road_s += (self._wheels_off() >= 2) / RATE_HZ
        self.done = bool(ended or cut or m.steps >= self.length)

    def _wheels_off(self) -> int:
        return sum(not wheel.tiles for wheel in self._world.car.wheels)

    def picture(self) -> np.ndarray:
        """A view for people: uint8 [400, 600, 3]. Never seen by the stages."""
        return np.asarray(self._world._render("rgb_array"))

    def close(self) -> None:
        """Release the simulator; save the metrics where that was asked for."""
        self._env.close()
        if self._save:
            Path(self._save).write_text(json.dumps(asdict(self.metrics)))


def to_pixels(points: np.ndarray, seconds: float = 1.0) -> np.ndarray:
    """Pixels [n, 2] (column, row) of the 96x96 image for points [n, 2] in the vehicle frame (m).

    `seconds` since the start: the view zooms in during the first.
    """
    zoom = min(seconds, 1.0) + (1.0 - min(seconds, 1.0)) / 27.0
    xy = np.asarray(points, np.float64).reshape(-1, 2) * zoom
    return np.stack([48.0 - xy[:, 1] * _PIXELS[0], 72.0 - xy[:, 0] * _PIXELS[1]], 1)


def open_source(url: Url) -> CarRacing:
    """`sim:carracing?seed=N&randomize=0|1&steps=N&metrics=FILE`: source and sink in one object."""
    url.allow("seed", "randomize", "steps", "metrics")
    if url.target != "carracing":
        raise DeviceError(f"{url.text!r}: no such scene; there is sim:carracing")
    return CarRacing(
        int(url.number("seed", 0)),
        bool(url.number("randomize", 0)),
        int(url.number("steps", STEPS)),
        url.options.get("metrics", ""),
    )
