"""The stages that `drive` runs and `replay` runs again, from what the user said of them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from .. import board as boards
from .. import draw
from ..board import Board
from ..errors import MessageError, ModelError
from ..pipeline.control import ControlStage
from ..pipeline.inline import Tick
from ..pipeline.planning import PlanningStage
from ..pipeline.stage import Stage, Timing
from ..pipeline.vehicle import CAR_RACING, PASSENGER_CAR, Vehicle

#: Board entries of the recorded road, where a board has them; else the plain stage names.
_PLAN = {"perception": "detection"}
#: What budgets of a recorded road may fill of its period.
_SHARE = {"perception": 0.7, "planning": 0.15, "control": 0.1}


@dataclass(frozen=True)
class Recipe:
    """Which stages, made of what. `rate_hz` is the recording's; None: the scene's own budgets.

    `isa`: another than the board's; `threads` of perception's network.
    """

    board: str = "host"
    model: str = ""
    rate_hz: float | None = None
    decoder: str = ""
    threshold: float = 0.4
    labels: tuple[str, ...] = ()
    isa: str = ""
    threads: int = 1

    @classmethod
    def of(cls, args: argparse.Namespace, rate_hz: float | None) -> Recipe:
        """From the options of `drive`."""
        labels = tuple(args.labels.read_text().splitlines()) if args.labels else ()
        model = str(args.model or "")
        return cls(args.board, model, rate_hz, args.decoder, args.threshold, labels)

    @classmethod
    def from_notes(cls, notes: Mapping[str, Any], path: Path) -> Recipe:
        """From the notes of a record; MessageError where `drive` did not make it."""
        try:
            fields = dict(notes["recipe"])
            return cls(**{**fields, "labels": tuple(fields["labels"])})
        except (KeyError, TypeError) as exc:
            raise MessageError(
                f"{path}: its notes do not say which stages made it ({exc}): not a record of "
                "edgeinfer drive; replay it with edgeinfer.pipeline.record.replay and your stages"
            ) from exc

    def notes(self) -> dict[str, Any]:
        """For a record."""
        return {"recipe": asdict(self)}

    @property
    def scene(self) -> bool:
        """Whether the stages are those of the simulated scene."""
        return self.rate_hz is None

    def stages(self, board: Board | None = None) -> list[Stage]:
        """Perception, planning and control, not yet opened."""
        board = board or boards.load(self.board)
        board = replace(board, isa=self.isa) if self.isa else board
        vehicle: Vehicle = CAR_RACING if self.scene else PASSENGER_CAR
        return [
            self._perception(board),
            PlanningStage(self._timing(board, "planning"), vehicle),
            ControlStage(self._timing(board, "control"), vehicle),
        ]

    def _perception(self, board: Board) -> Stage:
        timing = self._timing(board, "perception")
        if self.scene:
            from ..pipeline.perception import ROAD_MODEL, RoadPerception

            return RoadPerception(timing, self.model or ROAD_MODEL, board, self.threads)
        from ..pipeline.detection import DashcamPerception

        if not self.model:
            raise ModelError("a recorded road needs a detector: give --model DETECTOR.tflite")
        labels = list(self.labels) or None
        return DashcamPerception(
            timing, self.model, board, self.decoder, self.threshold, labels, threads=self.threads
        )

    def _timing(self, board: Board, stage: str) -> Timing:
        name = stage if self.scene else _PLAN.get(stage, stage)
        b = board.stages.get(name) or board.stages[stage]
        if self.rate_hz is None:
            return Timing(b.rate_hz, b.budget_ms, b.max_age_ms, b.deadline_ms)
        # A recording brings its own rate; budgets may fill their share of the period.
        period = 1e3 / self.rate_hz
        budget = max(b.budget_ms, _SHARE[stage] * period)
        return Timing(self.rate_hz, budget, max(b.max_age_ms, 4 * period))


def projection(perception: Any, tick: Tick, epoch_ns: int = 0) -> draw.Project:
    """Vehicle frame (m) to pixels of the tick's frame; `epoch_ns` is when the run began."""
    finder = getattr(perception, "lane", None)
    if finder is None:
        from ..io.carracing import to_pixels

        return partial(to_pixels, seconds=(tick.time_ns - epoch_ns) / 1e9)
    size = tick.frame.image.shape[:2]
    return lambda points: finder.camera.to_pixels(points, size, finder.horizon)
