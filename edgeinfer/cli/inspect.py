"""edgeinfer inspect: signature, operators, who runs each, arena bytes, estimated MACs."""

from __future__ import annotations

import argparse
from collections import Counter

from ..engine.model import Model, load
from ..engine.saved import Plan
from ..engine.session import Session
from ..errors import UnsupportedError
from . import text_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("model", help="a .tflite model or a saved plan")
    parser.add_argument("--board", default="host")
    parser.add_argument("--rounding", default="xnnpack", choices=("xnnpack", "tflite"))
    parser.add_argument("--fallback", help="delegate for what our kernels do not cover")
    parser.add_argument("--steps", action="store_true", help="one line a step")


def run(args: argparse.Namespace) -> int:
    """Print what there is to know; the exit status is 1 where the model cannot run here."""
    found = load(args.model)
    print(args.model)
    if isinstance(found, Model):
        _describe(found)
    try:
        options = {} if isinstance(found, Plan) else {
            "rounding": args.rounding, "fallback": args.fallback,
        }  # fmt: skip
        session = Session(found, args.board, **options)
    except UnsupportedError as exc:
        print(f"\ncannot run here: {exc}")
        return 1
    _placement(session, args.steps)
    return 0


def _describe(model: Model) -> None:
    print(f"  {model.format}, SHA-256 {model.hash[:16]}, {model.description or 'no description'}")
    for what, tensors in (("input", model.inputs), ("output", model.outputs)):
        for name, tensor in tensors.items():
            print(f"  {what:6} {name}: {str(tensor).partition(': ')[2]}")
    counts = Counter(n.op for n in model.graph.nodes)
    print("  ops    " + ", ".join(f"{op} x{n}" for op, n in counts.most_common()))
    print(f"  about {sum(model.macs.values()) / 1e6:.2f} million multiply-accumulates a run")
    if model.labels:
        print(f"  {len(model.labels)} labels: {', '.join(model.labels[:4])}, ...")


def _placement(session: Session, steps: bool) -> None:
    plan, placed = session.plan, session.placement()
    print(f"\nplan for ISA {plan.isa}, rounding {plan.rounding}: {len(placed)} steps")
    print(f"  arena {session.arena_bytes} bytes, session {session.memory_bytes} bytes in all")
    if steps:
        print(text_table([{"step": p.step, "runs on": p.kernel or p.delegate} for p in placed]))
        return
    counts = Counter(p.kernel or f"delegate {p.delegate}" for p in placed)
    print(text_table([{"runs on": k, "steps": n} for k, n in counts.most_common()]))
