"""edgeinfer drive: the main job. A scene or a recorded road through the whole pipeline."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import board as boards
from .. import draw, report
from ..board import Board
from ..io import open_sink, open_source, parse_url
from ..pipeline.control import ControlStage
from ..pipeline.inline import Tick
from ..pipeline.messages import Objects, Trajectory
from ..pipeline.pipeline import Pipeline
from ..pipeline.planning import PlanningStage
from ..pipeline.stage import Stage, Timing
from ..pipeline.statistics import RunReport
from ..pipeline.vehicle import CAR_RACING, PASSENGER_CAR
from . import text_table

#: Board entries of the recorded road, where a board has them; else the plain stage names.
_PLAN = {"perception": "detection"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--source", default="sim:carracing", help="sim:carracing, file:VIDEO, ...")
    parser.add_argument("--sink", help="also write the commands: can:virtual0, candump:FILE, ...")
    parser.add_argument("--model", help="detector for a recorded road, road model for the scene")
    parser.add_argument(
        "--decoder", default="", help="ssd, fastestdet or yolo5 (default: by shape)"
    )
    parser.add_argument("--threshold", type=float, default=0.4, help="least score of a box")
    parser.add_argument("--labels", type=Path, help="file of class names, one a line")
    parser.add_argument("--board", default="host", help="board name or folder")
    parser.add_argument("--seed", type=int, default=0, help="first track of the scene")
    parser.add_argument("--episodes", type=int, default=1, help="tracks, one after the other")
    parser.add_argument("--randomize", action="store_true", help="random colours in the scene")
    parser.add_argument("--frames", type=int, help="stop after so many frames")
    parser.add_argument("--no-deadlines", action="store_true", help="let late results count")
    parser.add_argument("--no-video", action="store_true", help="draw nothing")
    parser.add_argument("--out", type=Path, default=Path("out/drive"), help="folder of the report")


@dataclass
class _Run:
    """One episode or recording: its report, its series over time, what it was worth."""

    name: str
    outcome: dict[str, object] = field(default_factory=dict)
    report: RunReport | None = None
    times: list[float] = field(default_factory=list)
    commands: list[tuple[float, float, float]] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)

    def add(self, tick: Tick) -> None:
        c, objects = tick.command, tick.messages.get("perception")
        road = objects.road if isinstance(objects, Objects) else None
        self.times.append(tick.time_ns / 1e9)
        self.commands.append((c.steer, c.throttle, c.brake) if c else (np.nan,) * 3)
        self.speeds.append(road.speed_mps if road is not None else np.nan)


def run(args: argparse.Namespace) -> int:
    """Drive, print the tables, write the report."""
    for url in filter(None, (args.source, args.sink)):
        parse_url(url)  # what is misspelt is told before anything is made
    board = boards.load(args.board)
    args.out.mkdir(parents=True, exist_ok=True)
    video = None if args.no_video else args.out / "drive.mp4"
    scene = args.source.startswith("sim:")
    runs = _scene(args, board, video) if scene else [_road(args, board, video)]
    rows = _stage_rows(runs)
    print(text_table(rows))
    print()
    print(text_table([{"run": r.name, **r.outcome} for r in runs]))
    if scene and len(runs) > 1:
        scores = np.array([r.outcome["score"] for r in runs], float)
        print(f"\nmean score {scores.mean():.1f} ± {scores.std():.1f} over {len(runs)} runs")
    _write_report(args, runs, rows, video)
    print(f"\nreport: {args.out / 'report.html'}   trace for Perfetto: {args.out / 'trace.json'}")
    return 1 if any(r.report is not None and r.report.crashed for r in runs) else 0


def _timing(board: Board, stage: str, rate_hz: float | None = None) -> Timing:
    b = board.stages.get(_PLAN.get(stage, stage) if rate_hz else stage) or board.stages[stage]
    if rate_hz is None:
        return Timing(b.rate_hz, b.budget_ms, b.max_age_ms)
    # A recording brings its own rate; budgets may fill their share of the period.
    period = 1e3 / rate_hz
    share = {"perception": 0.7, "planning": 0.15, "control": 0.1}[stage]
    return Timing(rate_hz, max(b.budget_ms, share * period), max(b.max_age_ms, 4 * period))


def _scene(args: argparse.Namespace, board: Board, video: Path | None) -> list[_Run]:
    from ..io.carracing import to_pixels
    from ..pipeline.perception import ROAD_MODEL, RoadPerception

    join = "&" if "?" in args.source else "?"
    runs = []
    for seed in range(args.seed, args.seed + args.episodes):
        url = f"{args.source}{join}seed={seed}&randomize={int(args.randomize)}"
        stages: list[Stage] = [
            RoadPerception(_timing(board, "perception"), args.model or ROAD_MODEL, board),
            PlanningStage(_timing(board, "planning"), CAR_RACING),
            ControlStage(_timing(board, "control"), CAR_RACING),
        ]
        source = open_source(url)
        first = seed == args.seed

        def project(tick: Tick) -> draw.Project:
            return partial(to_pixels, seconds=tick.time_ns / 1e9)

        found = _drive(
            args, f"seed {seed}", stages, source, board, project, video if first else None
        )
        m = source.metrics  # type: ignore[attr-defined]
        found.outcome = {
            "score": round(m.score, 1),
            "laps": m.laps,
            "time s": round(m.seconds, 2),
            "off road s": round(m.off_road_s, 2),
            **_commands(found),
        }
        source.close()
        runs.append(found)
    return runs


def _road(args: argparse.Namespace, board: Board, video: Path | None) -> _Run:
    from ..errors import ModelError
    from ..pipeline.detection import DashcamPerception

    if not args.model:
        raise ModelError("a recorded road needs a detector: give --model DETECTOR.tflite")
    source = open_source(args.source)
    rate = source.rate_hz
    labels = args.labels.read_text().splitlines() if args.labels else None
    perception = DashcamPerception(
        _timing(board, "perception", rate), args.model, board, args.decoder, args.threshold, labels
    )
    stages: list[Stage] = [
        perception,
        PlanningStage(_timing(board, "planning", rate), PASSENGER_CAR),
        ControlStage(_timing(board, "control", rate), PASSENGER_CAR),
    ]
    counts = {"vehicle": 0, "lane": 0, "frames": 0}

    def count(tick: Tick) -> None:
        objects = tick.messages.get("perception")
        if isinstance(objects, Objects):
            names = {_label(perception, b.label) for b in objects.boxes}
            counts["vehicle"] += bool(names & {"car", "truck", "bus", "motorcycle"})
            counts["lane"] += objects.road is not None
            counts["frames"] += 1

    def project(tick: Tick) -> draw.Project:
        finder = perception.lane
        size = tick.frame.image.shape[:2]
        return lambda points: finder.camera.to_pixels(points, size, finder.horizon)

    # A recording is not driven: a late result would only hide what was found.
    args.no_deadlines = True
    found = _drive(args, args.source, stages, source, board, project, video, count)
    n = counts["frames"]
    found.outcome = {
        "frames": n,
        "vehicle in": counts["vehicle"],
        "lane in": counts["lane"],
        **_commands(found),
    }
    source.close()
    return found


def _label(stage: Any, label: int) -> str:
    labels = stage.detector.labels
    return labels[label] if 0 <= label < len(labels) else str(label)


def _commands(found: _Run) -> dict[str, object]:
    r = found.report
    assert r is not None
    age = float(np.percentile(r.age_ms, 99)) if len(r.age_ms) else float("nan")
    return {"commands": r.commands, "age p99 ms": round(age, 2), "wall s": round(r.wall_seconds, 1)}


def _drive(
    args: argparse.Namespace,
    name: str,
    stages: list[Stage],
    source: Any,
    board: Board,
    project: Callable[[Tick], draw.Project],
    video: Path | None,
    also: Callable[[Tick], None] | None = None,
) -> _Run:
    found = _Run(name)
    every = max(round(source.rate_hz / 25), 1)  # 25 pictures a second are enough to watch
    film = draw.Video(video, source.rate_hz / every) if video is not None else None
    scene = hasattr(source, "write")
    extra = open_sink(args.sink) if args.sink else None
    total = args.frames or getattr(source, "length", None)

    def observe(tick: Tick) -> None:
        found.add(tick)
        if also is not None:
            also(tick)
        if scene and extra is not None and tick.command is not None:
            extra.write(tick.command)
        if film is not None and len(found.times) % every == 0:
            film.add(_picture(tick, project(tick), stages[0]))
        _progress(name, len(found.times), total, source)

    sink = None if scene else extra
    pipeline = Pipeline(stages, source, sink, board=board)
    try:
        found.report = pipeline.run_inline(
            frames=args.frames,
            deadlines=not args.no_deadlines,
            trace=args.out / "trace.json",
            observe=observe,
            # The clock of an inline run is the source's: a recording may be slower than its rate.
            admit="check" if scene else "anyway",
        )
    finally:
        if film is not None:
            film.close()
        if extra is not None:
            extra.close()
        if sys.stderr.isatty():
            print(file=sys.stderr)
    return found


def _picture(tick: Tick, project: draw.Project, perception: Any) -> np.ndarray:
    objects, trajectory = tick.messages.get("perception"), tick.messages.get("planning")
    detector = getattr(perception, "detector", None)
    return draw.annotate(
        tick.frame.image,
        project,
        objects if isinstance(objects, Objects) else None,
        trajectory if isinstance(trajectory, Trajectory) else None,
        tick.command,
        detector.labels if detector is not None else (),
    )


def _progress(name: str, done: int, total: int | None, source: Any) -> None:
    if done % 50 and done != total:
        return
    metrics = getattr(source, "metrics", None)
    score = f", score {metrics.score:.0f}" if metrics is not None else ""
    of = f" of at most {total}" if total else ""
    end = "\r" if sys.stderr.isatty() else "\n"
    print(f"{name}: frame {done}{of}{score}   ", end=end, file=sys.stderr, flush=True)


def _stage_rows(runs: list[_Run]) -> list[dict[str, object]]:
    """The table of stages over all runs."""
    rows: list[dict[str, object]] = []
    reports = [r.report for r in runs if r.report is not None]
    for i, stage in enumerate(reports[0].stages):
        ms = np.concatenate([r.stages[i].times_ms for r in reports])
        p50, p99, top = (float(np.percentile(ms, q)) if len(ms) else np.nan for q in (50, 99, 100))
        rows.append(
            {
                "stage": stage.name,
                "rate Hz": round(stage.rate_hz, 2),
                "budget ms": round(stage.budget_ms, 2),
                "p50 ms": round(p50, 3),
                "p99 ms": round(p99, 3),
                "max ms": round(top, 3),
                "missed": sum(r.stages[i].missed for r in reports),
                "skipped": sum(r.stages[i].skipped for r in reports),
            }
        )
    return rows


def _write_report(
    args: argparse.Namespace, runs: list[_Run], rows: list[dict[str, object]], video: Path | None
) -> None:
    first = runs[0]
    assert first.report is not None
    t, c = np.array(first.times), np.array(first.commands, float).reshape(-1, 3)
    sections = [
        ("Runs", report.table([{"run": r.name, **r.outcome} for r in runs])),
        ("Stages", report.table(rows)),
        (
            f"Command, {first.name}",
            report.plot(
                {"steer (left +)": (t, c[:, 0]), "throttle": (t, c[:, 1]), "brake": (t, c[:, 2])},
                "s", "",
            ),
        ),
        (
            "Speed as perception sees it",
            report.plot({"speed": (t, np.array(first.speeds, float))}, "s", "m/s"),
        ),
    ]  # fmt: skip
    for stage in first.report.stages:
        n = np.arange(len(stage.times_ms), dtype=float)
        plot = report.plot({stage.name: (n, stage.times_ms)}, "run", "ms", stage.budget_ms)
        sections.append((f"Time of {stage.name}, budget {stage.budget_ms:g} ms", plot))
    subtitle = f"source {args.source}, board {args.board}, model {args.model or 'built in'}"
    report.write(args.out / "report.html", "edgeinfer drive", subtitle, sections, video)
