"""What a run looks like from outside: its series over time, its counts, its annotated video."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import draw
from ..pipeline.inline import Tick
from ..pipeline.messages import Objects, Trajectory
from ..pipeline.statistics import RunReport
from .stages import projection

_VEHICLES = {"car", "truck", "bus", "motorcycle"}
_PICTURES_HZ = 25  # enough to watch


@dataclass
class Run:
    """One episode or recording: its report, its series over time, what it was worth."""

    name: str
    outcome: dict[str, object] = field(default_factory=dict)
    report: RunReport | None = None
    times: list[float] = field(default_factory=list)
    commands: list[tuple[float, float, float]] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=lambda: {"frames": 0, "vehicle": 0, "lane": 0})

    def sent(self) -> dict[str, object]:
        """Commands, their ages, the time it took."""
        r = self.report
        assert r is not None
        age = float(np.percentile(r.age_ms, 99)) if len(r.age_ms) else float("nan")
        wall = round(r.wall_seconds, 1)
        return {"commands": r.commands, "age p99 ms": round(age, 2), "wall s": wall}


class Film:
    """Takes a run's ticks into `run`, and into a video where `path` is given."""

    def __init__(self, run: Run, perception: Any, rate_hz: float, path: Path | None) -> None:
        self.run, self._perception = run, perception
        self._every = max(round(rate_hz / _PICTURES_HZ), 1)
        self._video = draw.Video(path, rate_hz / self._every) if path is not None else None
        self._epoch_ns: int | None = None

    def __call__(self, tick: Tick) -> None:
        """One period of the guard."""
        if self._epoch_ns is None:
            self._epoch_ns = tick.time_ns
        c, objects = tick.command, tick.messages.get("perception")
        road = objects.road if isinstance(objects, Objects) else None
        self.run.times.append((tick.time_ns - self._epoch_ns) / 1e9)
        self.run.commands.append((c.steer, c.throttle, c.brake) if c else (np.nan,) * 3)
        self.run.speeds.append(road.speed_mps if road is not None else np.nan)
        if isinstance(objects, Objects):
            self._count(objects)
        if self._video is not None and len(self.run.times) % self._every == 0:
            self._video.add(self._picture(tick))

    @property
    def _labels(self) -> Any:
        detector = getattr(self._perception, "detector", None)
        return detector.labels if detector is not None else ()

    def _count(self, objects: Objects) -> None:
        labels, seen = self._labels, self.run.seen
        names = {labels[b.label] for b in objects.boxes if 0 <= b.label < len(labels)}
        seen["frames"] += 1
        seen["vehicle"] += bool(names & _VEHICLES)
        seen["lane"] += objects.road is not None

    def _picture(self, tick: Tick) -> np.ndarray:
        objects, trajectory = tick.messages.get("perception"), tick.messages.get("planning")
        return draw.annotate(
            tick.frame.image,
            projection(self._perception, tick, self._epoch_ns or 0),
            objects if isinstance(objects, Objects) else None,
            trajectory if isinstance(trajectory, Trajectory) else None,
            tick.command,
            self._labels,
        )

    def close(self) -> None:
        """Finish the video."""
        if self._video is not None:
            self._video.close()
