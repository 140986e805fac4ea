"""edgeinfer replay: the stages of a record again, on its frames; the same commands, or not."""

from __future__ import annotations

import argparse
from dataclasses import replace as changed
from pathlib import Path

from ..pipeline.record import Record, read, replay
from . import text_table
from .film import Film, Run
from .stages import Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("record", type=Path, help="a record made by edgeinfer drive --record")
    parser.add_argument("--model", help="another model than that of the run")
    parser.add_argument("--board", help="another board than that of the run")
    parser.add_argument(
        "--isa", default="", help="another ISA: ref, avx2, ...; the bytes are the same"
    )
    parser.add_argument("--threads", type=int, default=1, help="of perception's network (1)")
    parser.add_argument("--video", type=Path, help="draw the replay into this file (.mp4)")


def run(args: argparse.Namespace) -> int:
    """Replay and compare; status 1 where a command differs by a bit."""
    record = read(args.record)
    next(iter(record), None)  # what the record says of itself comes before its first entry
    recipe = Recipe.from_notes(record.about.get("notes", {}), args.record)
    recipe = changed(
        recipe, model=args.model or recipe.model, board=args.board or recipe.board,
        isa=args.isa, threads=args.threads,
    )  # fmt: skip
    stages = recipe.stages()
    film = Film(Run(args.record.name), stages[0], _rate(record), args.video)
    try:
        again = replay(args.record, stages, film)
    finally:
        film.close()
    row = {
        "record": args.record.name,
        "events": again.events,
        "commands": len(again.commands),
        "recorded": len(again.recorded),
        "same": "yes" if again.same else f"no, from command {again.first_difference} on",
    }
    print(text_table([row]))
    return 0 if again.same else 1


def _rate(record: Record) -> float:
    """How often the guard acted: the rate of the last stage."""
    return float(record.about["timing"][record.about["commands"]]["rate_hz"])
