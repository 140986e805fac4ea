"""edgeinfer compile: plan a model for a board and save the plan to one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import board as boards
from ..engine import binding
from ..engine.covered import largest_part, parse_nodes
from ..engine.model import Model, load
from ..engine.plan import build
from ..engine.tuning import Table
from ..errors import PlanError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("model", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="default: the model's name with .plan")
    parser.add_argument("--board", default="host")
    parser.add_argument("--rounding", default="xnnpack", choices=("xnnpack", "tflite"))
    parser.add_argument("--fallback", help="delegate for what our kernels do not cover")
    parser.add_argument(
        "--nodes", metavar="3-40|auto",
        help="plan a part of a .tflite model, for the external delegate in TFLite: operators by "
        "index, or the largest part that our kernels cover; the runtime keeps the rest",
    )  # fmt: skip
    parser.add_argument(
        "--tune", type=_seconds, default=0.0, metavar="SECONDS",
        help="choose kernels by measuring for so long at most (2s); kept in a cache or --table",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, help="that the plan is tuned for")
    parser.add_argument(
        "--table", type=Path,
        help="tuning table to choose by, default the board's; with --tune it takes up what is new",
    )  # fmt: skip


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def run(args: argparse.Namespace) -> int:
    """Plan and save."""
    model = load(args.model)
    if not isinstance(model, Model):
        raise PlanError(f"{args.model} is a plan already")
    board = boards.load(args.board)
    isa = None if board.isa == "best" else board.isa
    table = _table(args, board)
    bound = binding.bind(model, _nodes(args, model))
    plan = build(
        bound.graph, isa=isa, origin=bound.part, rounding=args.rounding, fallback=args.fallback,
        tune=args.tune or None if table is None else table, threads=args.threads, board=board.name,
    )  # fmt: skip
    output = args.output or args.model.with_suffix(".plan")
    plan.save(output)
    size = output.stat().st_size
    if args.nodes:
        print(f"{len(bound.graph.nodes)} of {len(model.graph.nodes)} operators")
    print(f"{output}: {size} bytes, ISA {plan.isa}, arena {plan.arena_bytes} bytes")
    if table is not None and args.tune:
        table.save(args.table)
    if table is not None:
        lacking = len(table.missing - table.entries.keys())
        print(f"tuned: {len(table.used)} steps by the table, {lacking} by rule that it lacks")
    return 0


def _nodes(args: argparse.Namespace, model: Model) -> list[int] | None:
    """The operators to plan; None: all."""
    if args.nodes == "auto":
        return largest_part(model.graph, args.rounding)
    return parse_nodes(args.nodes) if args.nodes else None


def _table(args: argparse.Namespace, board: boards.Board) -> Table | None:
    """The table to choose by; None: the cache, or the rules."""
    if args.table is None:
        return Table.load(board.tuning) if board.tuning and not args.tune else None
    table = Table.load(args.table) if args.table.exists() or not args.tune else Table()
    table.seconds = args.tune
    return table
