"""edgeinfer bench: latency of a model beside the installed peers, interleaved in one run.

A call is: copy the input in, run, copy the outputs out. Ours and every peer take turns, each in a
process of its own, so that what else the machine does falls on all alike; the ratio is what to
quote. A peer that cannot run is named with the reason. Nothing is installed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..bench import page
from ..bench.compare import PEERS, Comparison, compare, model_paths
from ..bench.turns import Job
from ..engine.model import load
from ..engine.saved import Plan
from . import text_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("models", nargs="+", type=Path, help="models or folders of models")
    parser.add_argument("--threads", default="1", help="list, e.g. 1,2")
    parser.add_argument("--peers", default=",".join(PEERS), help="list; installed ones run")
    parser.add_argument("--runs", type=int, default=20, help="turns of about 20 ms each takes")
    parser.add_argument("--python", action="append", default=[], metavar="PEER=PATH",
                        help="interpreter of the environment a peer is installed in")  # fmt: skip
    parser.add_argument("--realtime", action="store_true", help="calls run in the real-time class, "
                        "for a machine that is busy with other programs (root)")  # fmt: skip
    parser.add_argument("--isa", choices=("avx2",), help="keep to it; peers that can be told run")
    parser.add_argument("--board", default="host")
    parser.add_argument("--rounding", default="xnnpack", choices=("xnnpack", "tflite"))
    parser.add_argument("--fallback", help="delegate for what our kernels do not cover")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--html", type=Path, help="also write a page with plots to this file")


def run(args: argparse.Namespace) -> int:
    """Measure every model at every thread count."""
    peers = _peers(args.peers)
    pythons = _pythons(args.python)
    results = []
    for path in model_paths(args.models):
        for threads in map(int, args.threads.split(",")):
            job = Job(path, threads, args.isa, args.realtime, _options(path, args))
            results.append(compare(job, peers, max(1, args.runs), pythons))
            print(describe(results[-1]) + "\n", flush=True)
    if args.json:
        data = {"machine": page.machine(), "results": [r.to_json() for r in results]}
        args.json.write_text(json.dumps(data, indent=1) + "\n")
    if args.html:
        page.write(args.html, results)
    return 0


def _peers(text: str) -> list[str]:
    wanted = [p for p in text.split(",") if p]
    for peer in wanted:
        if peer not in PEERS:
            raise ValueError(f"--peers {peer}: not known here; peers are {', '.join(PEERS)}")
    return wanted


def _pythons(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for peer, _, path in pairs:
        if peer not in PEERS or not path:
            raise ValueError(f"--python {peer}: write PEER=PATH with one of {', '.join(PEERS)}")
    return {peer: path for peer, _, path in pairs}


def _options(path: Path, args: argparse.Namespace) -> dict[str, object]:
    session = {} if isinstance(load(path), Plan) else {
        "rounding": args.rounding, "fallback": args.fallback,
    }  # fmt: skip
    return {"board": args.board, "session": session}


def describe(found: Comparison) -> str:
    """The comparison as text: a heading, a table, the verdict, who is missing."""
    threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
    head = f"{found.model}: {found.precision}, {found.macs / 1e6:.4g} MMAC, {threads}"
    lines = [
        f"{head}; {found.rounds} turns each; other programs took {found.elsewhere:.0%} "
        "of the machine meanwhile",
        text_table(page.rows(found)),
        found.verdict,
    ]
    missing = {k: v for k, v in found.left_out.items() if "ModuleNotFoundError" in v}
    lines += [f"left out: {k}: {v}" for k, v in found.left_out.items() if k not in missing]
    if missing:
        lines.append("not installed: " + ", ".join(missing))
    return "\n".join(lines)
