"""Scores of the CarRacing scene over many seeds, with the real stages.

    python tools/evaluate_drive.py --seeds 0-99
    python tools/evaluate_drive.py --seeds 0-99 --randomize
    python tools/evaluate_drive.py --seeds 0-19 --overrun 0.2

`--truth` replaces perception by the simulator's own centre line: the bound that planning and
control set. `--overrun` has that share of the network's runs, at random, need longer than there is:
the last road stands in. `--jobs` runs episodes in several processes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import road_data

from edgeinfer.io.carracing import CarRacing, Metrics
from edgeinfer.pipeline.control import ControlStage
from edgeinfer.pipeline.messages import Command, Objects, Road
from edgeinfer.pipeline.perception import ROAD_MODEL, RoadPerception
from edgeinfer.pipeline.planning import PlanningStage
from edgeinfer.pipeline.stage import Stage, Timing
from edgeinfer.pipeline.vehicle import CAR_RACING

_TIMING = Timing(50, 8, 40)


class TruePerception(Stage):
    """The road as the simulator knows it."""

    name = "perception"
    inputs = ("source",)

    def __init__(self, scene: CarRacing) -> None:
        self.track = road_data.Track(scene._world)

    def step(self, inputs: Any) -> Objects:
        """The true centre line, whatever the frame shows."""
        frame, t = inputs["source"], self.track.truth()
        road = Road(t.centre, road_data.ROAD_WIDTH, 1.0, t.speed, t.yaw_rate)
        return Objects(frame.seq, frame.stamp_ns, road)


class Overrun(RoadPerception):
    """Perception that finds, for a share of its runs, that the rest of the run takes 1000 s."""

    def __init__(self, model: Path, share: float, seed: int) -> None:
        super().__init__(_TIMING, model)
        self.share, self.rng = share, np.random.default_rng(seed)

    def step(self, inputs: Any) -> Objects | None:
        """A result, or what stands in for it."""
        times = self.session.times
        assert times is not None
        rest = 10**12 if self.rng.random() < self.share else 0
        plan = replace(times.plans[0], rest_ns=(rest,) * len(times.plans[0].rest_ns))
        self.session.times = replace(times, plans=(plan,))
        self.deadline_ns = time.monotonic_ns() + 10**11
        return super().step(inputs)


def drive(seed: int, args: argparse.Namespace) -> tuple[int, Metrics]:
    """One episode: the stages in order on every frame."""
    scene = CarRacing(seed, args.randomize)
    vehicle = replace(CAR_RACING, **dict(args.set))
    perception: Stage = Overrun(args.model, args.overrun, seed)
    if args.truth:
        perception = TruePerception(scene)
    stages: list[Stage] = [
        perception, PlanningStage(_TIMING, vehicle), ControlStage(_TIMING, vehicle)
    ]  # fmt: skip
    for stage in stages:
        stage.open()
    while (frame := scene.read()) is not None:
        messages: dict[str, Any] = {"source": frame}
        for stage in stages:
            if all(messages.get(name) is not None for name in stage.inputs):
                messages[stage.name] = stage.step(messages)
        scene.write(messages.get("control") or Command(frame.seq, frame.stamp_ns, 0, 0, 0.1))
    scene.close()
    return seed, scene.metrics


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _setting(text: str) -> tuple[str, float]:
    key, _, value = text.partition("=")
    return key, float(value)


def table(results: list[tuple[int, Metrics]]) -> str:
    """One line a seed."""
    lines = [" seed   score  laps  frames  off-road s"]
    for seed, m in results:
        lines.append(f"{seed:5d} {m.score:7.1f} {m.laps:5d} {m.steps:7d} {m.off_road_s:11.2f}")
    return "\n".join(lines)


def summary(results: list[tuple[int, Metrics]]) -> str:
    """Mean, deviation, extremes."""
    score = np.array([m.score for _, m in results])
    off = np.array([m.off_road_s for _, m in results])
    ranked = sorted(results, key=lambda r: r[1].score)
    worst = ", ".join(f"{seed}: {m.score:.0f}" for seed, m in ranked[:5])
    return (
        f"{len(score)} episodes: score {score.mean():.1f} ± {score.std():.1f}, "
        f"median {np.median(score):.1f}, min {score.min():.1f}, max {score.max():.1f}; laps "
        f"{sum(m.laps for _, m in results)}; off the road {off.mean():.2f} s a lap; worst {worst}"
    )


def main() -> None:
    """Drive all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=_seeds, default=range(100), help="first-last")
    parser.add_argument("--randomize", action="store_true", help="random colours")
    parser.add_argument("--overrun", type=float, default=0.0, help="share of runs, 0..1")
    parser.add_argument("--truth", action="store_true", help="perfect perception")
    parser.add_argument("--model", type=Path, default=ROAD_MODEL)
    parser.add_argument("--set", type=_setting, nargs="*", default=[], help="vehicle parameters")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--quiet", action="store_true", help="no table")
    args = parser.parse_args()
    start = time.monotonic()
    with multiprocessing.Pool(args.jobs) as pool:
        results = pool.map(partial(drive, args=args), args.seeds, chunksize=1)
    if not args.quiet:
        print(table(results))
    print(f"{summary(results)}; {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
