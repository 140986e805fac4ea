"""Pipelines by name: those of `drive`, or any that a module makes."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

from .. import board as boards
from ..errors import EdgeInferError
from ..io import open_sink, open_source
from ..pipeline.pipeline import Pipeline
from .stages import Recipe

NAMES = "drive (the scene), dashcam (with --source and --model), or MODULE:FUNCTION"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which pipeline, on which board, fed with what."""
    parser.add_argument("pipeline", metavar="PIPELINE", help=NAMES)
    parser.add_argument("--board", default="host", help="board name or folder")
    parser.add_argument("--source", help="of dashcam: file:VIDEO, camera:0; default virtual:")
    parser.add_argument("--sink", default="", help="of dashcam: can:virtual0, ...")
    parser.add_argument("--model", help="of dashcam: the detector; of drive: the road model")


def load(args: argparse.Namespace) -> Pipeline:
    """The pipeline that `args` name, its source and sink not yet opened."""
    if args.pipeline == "drive":
        return _drive(args)
    if args.pipeline == "dashcam":
        return _dashcam(args)
    module, _, name = args.pipeline.partition(":")
    if not name:
        raise EdgeInferError(f"no pipeline {args.pipeline!r}: give {NAMES}")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(import_module(module), name)()
    except (ImportError, AttributeError) as exc:
        raise EdgeInferError(f"{args.pipeline}: {exc}") from exc
    if not isinstance(found, Pipeline):
        raise EdgeInferError(f"{args.pipeline} gave {type(found).__name__}, not a Pipeline")
    return found


def _drive(args: argparse.Namespace) -> Pipeline:
    board = boards.load(args.board)
    recipe = Recipe(args.board, args.model or "")
    ends = partial(open_source, args.source or "sim:carracing?seed=0")
    return Pipeline(recipe.stages(board), ends, ends, board=board, notes=recipe.notes())


def _dashcam(args: argparse.Namespace) -> Pipeline:
    board, url = boards.load(args.board), args.source or "virtual:?frames=100000"
    source = open_source(url)
    rate = source.rate_hz
    source.close()
    recipe = Recipe(args.board, args.model or "", rate)
    sink = partial(open_sink, args.sink) if args.sink else None
    stages = recipe.stages(board)
    return Pipeline(stages, partial(open_source, url), sink, board=board, notes=recipe.notes())
