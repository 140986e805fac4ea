"""Frames of CarRacing-v3 with the truth about the road, to train the perception network.

    python tools/road_data.py --frames 40000 --out out/road_data

The car is driven by the project's own planner and controller on the true centre line, with bursts
of wrong steering and with limits drawn at random, so that the frames show it off its line, turned,
slow and fast. Every seventh frame or so is rendered and kept, with colours drawn at random in
`--randomize` of the episodes. Seeds start at 10000: the evaluation uses 0 to 99.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import gymnasium
import numpy as np

from edgeinfer.pipeline.control import ControlStage
from edgeinfer.pipeline.messages import Command, Objects, Road
from edgeinfer.pipeline.planning import PlanningStage
from edgeinfer.pipeline.stage import Timing
from edgeinfer.pipeline.vehicle import CAR_RACING, Vehicle

#: Arc lengths (m) ahead of the car at which the centre line is asked for.
AHEAD = np.arange(10) * 4.0
ROAD_WIDTH = 80 / 6  # TRACK_WIDTH of the simulator is the half width
FIRST_SEED = 10000
_TIMING = Timing(50, 8, 40)


@dataclass
class Truth:
    """What the simulator knows: centre line [10, 2] (vehicle frame), speed, yaw rate, offset."""

    centre: np.ndarray
    speed: float
    yaw_rate: float
    offset: float


class Track:
    """The centre line of one episode, and where the car is along it."""

    def __init__(self, env: gymnasium.Env) -> None:
        self.env = env
        points = np.array(env.track)[:, 2:4]
        closed = np.vstack((points, points[:1]))
        self.along = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))))
        self.x, self.y = closed.T
        self.at = 0.0

    def _point(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s = s % self.along[-1]
        return np.interp(s, self.along, self.x), np.interp(s, self.along, self.y)

    def truth(self) -> Truth:
        """The truth at this moment. The car is sought near where it was: tracks come close to
        themselves, and the stretch that counts is the one it drives on."""
        hull = self.env.car.hull
        px, py = hull.position
        near = self.at + np.linspace(-15, 25, 161)
        x, y = self._point(near)
        k = int(np.argmin((x - px) ** 2 + (y - py) ** 2))
        self.at = float(near[k] % self.along[-1])
        ahead_x, ahead_y = self._point(self.at + AHEAD)
        dx, dy, sin, cos = ahead_x - px, ahead_y - py, math.sin(hull.angle), math.cos(hull.angle)
        centre = np.stack((-sin * dx + cos * dy, -cos * dx - sin * dy), 1)
        speed = math.hypot(*hull.linearVelocity)
        return Truth(centre, speed, hull.angularVelocity, math.hypot(x[k] - px, y[k] - py))


def make(randomize: bool) -> gymnasium.Env:
    """The simulator without its wrappers, drawing only when asked."""
    env = gymnasium.make("CarRacing-v3", domain_randomize=randomize).unwrapped
    env.draw = env._render
    env._render = lambda mode: None
    return env


def _driver(rng: np.random.Generator) -> Vehicle:
    scale = rng.uniform(0.15, 1.3)
    return replace(
        CAR_RACING,
        accel_lateral=CAR_RACING.accel_lateral * scale,
        margin=rng.uniform(0.5, 6.0),
        lookahead_gain=rng.uniform(0.08, 0.25),
    )


def episode(env: gymnasium.Env, seed: int, rng: np.random.Generator) -> Iterator[tuple]:
    """(image, labels) of one episode; labels: 20 coordinates, speed, yaw rate, offset."""
    env.reset(seed=seed)
    track, vehicle = Track(env), _driver(rng)
    planner, controller = PlanningStage(_TIMING, vehicle), ControlStage(_TIMING, vehicle)
    wrong, left = 0.0, 0
    for n in range(700):
        t = track.truth()
        if t.offset > 14:
            return
        road = Road(t.centre, ROAD_WIDTH, 1.0, t.speed, t.yaw_rate)
        trajectory = planner.step({"perception": Objects(n, 0, road)})
        command: Command = controller.step({"planning": trajectory})
        if left == 0 and rng.random() < 0.03:
            left, wrong = int(rng.integers(5, 30)), rng.normal(0, 0.6)
        left = max(left - 1, 0)
        steer = float(np.clip(command.steer + (wrong if left else 0), -1, 1))
        env.step(np.array([-0.4 * steer, command.throttle, command.brake]))
        if rng.random() < (0.4 if n < 50 else 0.14):
            t = track.truth()
            labels = [*t.centre.reshape(-1), t.speed, t.yaw_rate, t.offset]
            yield env.draw("state_pixels"), np.array(labels, np.float32)


def generate(frames: int, first_seed: int, randomize: float) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [frames, 96, 96, 3] and float32 [frames, 23]."""
    rng = np.random.default_rng(first_seed)
    envs = [make(False), make(True)]
    images, labels = np.zeros((frames, 96, 96, 3), np.uint8), np.zeros((frames, 23), np.float32)
    n, seed = 0, first_seed
    while n < frames:
        for image, label in episode(envs[rng.random() < randomize], seed, rng):
            images[n], labels[n], n = image, label, n + 1
            if n == frames:
                break
        seed += 1
    return images, labels


def main() -> None:
    """Write one shard of frames."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=40000)
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="first episode's seed")
    parser.add_argument("--randomize", type=float, default=0.6, help="share of random colours")
    parser.add_argument("--out", type=Path, default=Path("out/road_data"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    images, labels = generate(args.frames, args.seed, args.randomize)
    np.savez(args.out / f"shard_{args.seed}.npz", images=images, labels=labels)
    print(f"{args.frames} frames from seed {args.seed} in {args.out}")


if __name__ == "__main__":
    main()
