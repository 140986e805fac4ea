"""edgeinfer compile: plan a model for a board and save the plan to one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import board as boards
from ..engine.model import Model, load
from ..engine.plan import build
from ..errors import PlanError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("model", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="default: the model's name with .plan")
    parser.add_argument("--board", default="host")
    parser.add_argument("--rounding", default="xnnpack", choices=("xnnpack", "tflite"))
    parser.add_argument("--fallback", help="delegate for what our kernels do not cover")


def run(args: argparse.Namespace) -> int:
    """Plan and save."""
    model = load(args.model)
    if not isinstance(model, Model):
        raise PlanError(f"{args.model} is a plan already")
    board = boards.load(args.board)
    isa = None if board.isa == "best" else board.isa
    plan = build(model.graph, isa=isa, rounding=args.rounding, fallback=args.fallback)
    output = args.output or args.model.with_suffix(".plan")
    plan.save(output)
    size = output.stat().st_size
    print(f"{output}: {size} bytes, ISA {plan.isa}, arena {plan.arena_bytes} bytes")
    return 0
