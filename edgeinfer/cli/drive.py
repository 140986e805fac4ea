"""edgeinfer drive: the main job. A scene or a recorded road through the whole pipeline."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import board as boards
from .. import report
from ..board import Board
from ..errors import DeviceError, MessageError
from ..io import open_sink, open_source, parse_url
from ..pipeline.inline import Durations, Tick
from ..pipeline.loop import Event
from ..pipeline.metrics import Metrics
from ..pipeline.pipeline import Pipeline
from ..pipeline.record import replay
from ..pipeline.stage import Stage
from . import text_table
from .film import Film, Run
from .stages import Recipe


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
    parser.add_argument(
        "--processes", action="store_true", help="in real time, one process a stage"
    )
    parser.add_argument(
        "--record", type=Path, help="write the (first) run to this file, for edgeinfer replay"
    )
    parser.add_argument(
        "--overrun", metavar="STAGE=SHARE", help="let that share of a stage's runs take 3 budgets"
    )
    parser.add_argument(
        "--metrics", metavar="[HOST]:PORT", help="answer Prometheus there while driving"
    )
    parser.add_argument("--no-video", action="store_true", help="draw nothing")
    parser.add_argument("--out", type=Path, default=Path("out/drive"), help="folder of the report")


def run(args: argparse.Namespace) -> int:
    """Drive, print the tables, write the report."""
    for url in filter(None, (args.source, args.sink)):
        parse_url(url)  # what is misspelt is told before anything is made
    args.live = Metrics() if args.metrics else None
    with args.live.serve(args.metrics) if args.live else nullcontext():
        return _drive(args)


def _drive(args: argparse.Namespace) -> int:
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
    for found in runs:
        for event in found.report.transitions if found.report is not None else ():
            print(f"{found.name}, {event.release_ns / 1e9:.2f} s: {event.text}")
    for line in _troubles(runs):
        print(f"edgeinfer: {line}", file=sys.stderr)
    _write_report(args, runs, rows, video)
    print(f"\nreport: {args.out / 'report.html'}   trace for Perfetto: {args.out / 'trace.json'}")
    return 1 if any(r.report is not None and r.report.crashed for r in runs) else 0


def _troubles(runs: list[Run]) -> list[str]:
    """Settings refused and stages that crashed, each once."""
    found: dict[str, None] = {}
    for r in runs:
        if r.report is not None:
            found.update(dict.fromkeys(r.report.warnings))
            found.update((f"{r.name}: {k} crashed: {v}", None) for k, v in r.report.crashed.items())
    return list(found)


def _scene(args: argparse.Namespace, board: Board, video: Path | None) -> list[Run]:
    join, recipe = "&" if "?" in args.source else "?", Recipe.of(args, None)
    if args.processes and args.sink:
        raise DeviceError(
            f"--sink {args.sink} with --processes: the scene is its own actuator there; leave out "
            "one of them (--record keeps the commands too)"
        )
    runs = []
    for seed in range(args.seed, args.seed + args.episodes):
        url = f"{args.source}{join}seed={seed}&randomize={int(args.randomize)}"
        if args.frames:
            url += f"&steps={args.frames}"
        first = seed == args.seed
        found, metrics = (_scene_processes if args.processes else _scene_inline)(
            args, f"seed {seed}", recipe, url, board, video if first else None, first
        )
        found.outcome = {
            "score": round(metrics.score, 1),
            "laps": metrics.laps,
            "time s": round(metrics.seconds, 2),
            "off road s": round(metrics.off_road_s, 2),
            **found.sent(),
        }
        runs.append(found)
    return runs


def _scene_inline(
    args: argparse.Namespace, name: str, recipe: Recipe, url: str, board: Board,
    video: Path | None, first: bool,
) -> tuple[Run, Any]:  # fmt: skip
    source = open_source(url)
    try:
        found = _inline(args, name, recipe, source, board, video, args.record if first else None)
    finally:
        source.close()
    return found, source.metrics  # type: ignore[attr-defined]


def _scene_processes(
    args: argparse.Namespace, name: str, recipe: Recipe, url: str, board: Board,
    video: Path | None, first: bool,
) -> tuple[Run, Any]:  # fmt: skip
    from ..io.carracing import RATE_HZ
    from ..io.carracing import Metrics as Score

    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "metrics.json"
        ends = partial(open_source, f"{url}&metrics={saved}")
        stages = recipe.stages(board)
        pipeline = Pipeline(stages, ends, ends, board=board, notes=recipe.notes())
        found = _processes(args, name, recipe, pipeline, RATE_HZ, video, first)
        metrics = Score(**json.loads(saved.read_text())) if saved.exists() else Score()
    return found, metrics


def _road(args: argparse.Namespace, board: Board, video: Path | None) -> Run:
    source = open_source(args.source)
    rate = source.rate_hz
    recipe = Recipe.of(args, rate)
    # A recording is not driven: a late result would only hide what was found.
    args.no_deadlines = True
    if args.processes:
        source.close()
        ends = partial(open_source, args.source), args.sink and partial(open_sink, args.sink)
        stages = recipe.stages(board)
        pipeline = Pipeline(stages, *ends, board=board, notes=recipe.notes())
        found = _processes(args, args.source, recipe, pipeline, rate, video, True)
    else:
        found = _inline(args, args.source, recipe, source, board, video, args.record)
        source.close()
    seen = {"frames": found.seen["frames"], "vehicle in": found.seen["vehicle"]}
    found.outcome = {**seen, "lane in": found.seen["lane"], **found.sent()}
    return found


def _inline(
    args: argparse.Namespace,
    name: str,
    recipe: Recipe,
    source: Any,
    board: Board,
    video: Path | None,
    record: Path | None,
) -> Run:
    found, stages = Run(name), recipe.stages(board)
    film = Film(found, stages[0], source.rate_hz, video)
    extra = open_sink(args.sink) if args.sink else None
    total = args.frames or getattr(source, "length", None)

    def observe(tick: Tick) -> None:
        film(tick)
        if recipe.scene and extra is not None and tick.command is not None:
            extra.write(tick.command)
        _progress(name, len(found.times), total, source)

    sink = None if recipe.scene else extra
    pipeline = Pipeline(stages, source, sink, board=board, notes=recipe.notes())
    if args.live:
        args.live.declare(pipeline.timings)
    try:
        found.report = pipeline.run_inline(
            frames=args.frames,
            deadlines=not args.no_deadlines,
            durations=_overruns(args.overrun, stages) if args.overrun else None,
            record=record,
            png=not recipe.scene,
            trace=args.out / "trace.json",
            observe=observe,
            on_event=args.live.add if args.live else None,
            # The clock of an inline run is the source's: a recording may be slower than its rate.
            admit="check" if recipe.scene else "anyway",
        )
    finally:
        film.close()
        if extra is not None:
            extra.close()
        _end_progress()
    return found


def _overruns(option: str, stages: list[Stage]) -> Durations:
    """Random overruns of one stage, the same in every run."""
    name, _, share = option.partition("=")
    budgets = {s.name: s.timing.budget_ns for s in stages}
    try:
        chance = float(share)
    except ValueError:
        chance = -1.0
    if name not in budgets or not 0 <= chance <= 1:
        raise ValueError(f"--overrun {option!r}: give STAGE=SHARE, 0..1, of {', '.join(budgets)}")
    draws = np.random.default_rng(0)

    def duration(stage: str, release: int) -> int | None:
        return 3 * budgets[name] if stage == name and draws.random() < chance else None

    return duration


def _processes(
    args: argparse.Namespace,
    name: str,
    recipe: Recipe,
    pipeline: Pipeline,
    rate_hz: float,
    video: Path | None,
    first: bool,
) -> Run:
    """Run in real time; then draw from the record, whose replay must give the same commands."""
    found, frames = Run(name), 0
    if args.live:
        args.live.declare(pipeline.timings)
    with tempfile.TemporaryDirectory() as folder:
        record = args.record if first and args.record else Path(folder) / "run.mcap"

        def seen(event: Event) -> None:
            nonlocal frames
            if args.live:
                args.live.add(event)
            if event.stage == "source":
                frames += 1
                _progress(name, frames, args.frames, None)

        found.report = pipeline.run_processes(
            seconds=args.frames / rate_hz if args.frames and not recipe.scene else None,
            record=record,
            trace=args.out / "trace.json",
            on_event=seen,
        )
        _end_progress()
        stages: list[Stage] = recipe.stages()
        film = Film(found, stages[0], rate_hz, video)
        try:
            again = replay(record, stages, film)
            at = again.first_difference
            trouble = "" if again.same else f"the replay differs from command {at} on"
        except MessageError as exc:  # parts of the record were lost: the run itself stands
            trouble = str(exc)
        finally:
            film.close()
    if trouble:
        print(f"edgeinfer: {name}: {trouble}", file=sys.stderr)
    return found


def _progress(name: str, done: int, total: int | None, source: Any) -> None:
    if done % 50 and done != total:
        return
    metrics = getattr(source, "metrics", None)
    score = f", score {metrics.score:.0f}" if metrics is not None else ""
    of = f" of at most {total}" if total else ""
    end = "\r" if sys.stderr.isatty() else "\n"
    print(f"{name}: frame {done}{of}{score}   ", end=end, file=sys.stderr, flush=True)


def _end_progress() -> None:
    if sys.stderr.isatty():
        print(file=sys.stderr)


def _stage_rows(runs: list[Run]) -> list[dict[str, object]]:
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
    args: argparse.Namespace, runs: list[Run], rows: list[dict[str, object]], video: Path | None
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
