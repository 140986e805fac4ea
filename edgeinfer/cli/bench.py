"""edgeinfer bench: latency of a model beside the installed peers, interleaved in one run.

A call is: copy the input in, run, copy the outputs out. Ours and every peer take turns, so that
what else the machine does falls on all alike; the ratio of medians is what to quote.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.model import Model, load
from ..engine.session import Session
from . import text_table

Call = Callable[[], Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--threads", default="1", help="list, e.g. 1,2")
    parser.add_argument("--peers", default="litert,onnxruntime", help="list; installed ones run")
    parser.add_argument("--runs", type=int, default=0, help="calls each; 0: about two seconds")
    parser.add_argument("--board", default="host")
    parser.add_argument("--fallback", help="delegate for what our kernels do not cover")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")


def _ours(path: Path, threads: int, args: argparse.Namespace) -> tuple[str, Call]:
    model = load(path)
    options = {"fallback": args.fallback} if isinstance(model, Model) else {}
    session = Session(model, args.board, threads, **options)
    feeds = {name: np.zeros_like(session[name]) for name in session.inputs}

    def call() -> list[np.ndarray]:
        for name, value in feeds.items():
            session[name][...] = value
        session.run()
        return [session[name].copy() for name in session.outputs]

    return f"edgeinfer ({session.plan.isa})", call


def _litert(path: Path, threads: int) -> tuple[str, Call]:
    from ..delegates.tflite import runtime

    module = runtime()
    interpreter = module.Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    feeds = [
        (d["index"], np.zeros(d["shape"], d["dtype"])) for d in interpreter.get_input_details()
    ]
    outputs = [d["index"] for d in interpreter.get_output_details()]

    def call() -> list[np.ndarray]:
        for index, value in feeds:
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    package = module.__name__.partition(".")[0].replace("_", "-")
    return f"{package} {_version(package)}", call


def _onnxruntime(path: Path, threads: int) -> tuple[str, Call]:
    twin = path.with_suffix(".onnx")
    if not twin.is_file():
        raise FileNotFoundError(f"reads ONNX alone; put the model's twin at {twin.name}")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(twin), options, providers=["CPUExecutionProvider"])
    types = {"tensor(float)": "f4", "tensor(int8)": "i1", "tensor(uint8)": "u1"}
    feeds = {
        i.name: np.zeros([d if isinstance(d, int) else 1 for d in i.shape], types[i.type])
        for i in session.get_inputs()
    }
    return f"onnxruntime {onnxruntime.__version__}", lambda: session.run(None, feeds)


_PEERS: dict[str, Callable[[Path, int], tuple[str, Call]]] = {
    "litert": _litert,
    "onnxruntime": _onnxruntime,
}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "?"


def measure(calls: dict[str, Call], runs: int) -> dict[str, np.ndarray]:
    """Milliseconds of every call, [runs] each, taken in turn."""
    for call in calls.values():
        for _ in range(3):
            call()
    if not runs:
        start = time.perf_counter()
        for call in calls.values():
            call()
        runs = int(np.clip(2.0 / (time.perf_counter() - start + 1e-9), 10, 5000))
    times: dict[str, list[int]] = {name: [] for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            start_ns = time.perf_counter_ns()
            call()
            times[name].append(time.perf_counter_ns() - start_ns)
    return {name: np.array(t) / 1e6 for name, t in times.items()}


def run(args: argparse.Namespace) -> int:
    """Measure every model at every thread count."""
    results = []
    for path in args.models:
        for threads in map(int, args.threads.split(",")):
            results.append(_one(path, threads, args))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def _one(path: Path, threads: int, args: argparse.Namespace) -> dict[str, Any]:
    name, ours = _ours(path, threads, args)
    calls = {name: ours}
    for peer in filter(None, args.peers.split(",")):
        try:
            label, call = _PEERS[peer](path, threads)
            calls[label] = call
        except KeyError:
            print(f"  {peer}: not known here; peers are {', '.join(_PEERS)}")
        except Exception as exc:
            print(f"  {peer}: left out ({type(exc).__name__}: {str(exc)[:120]})")
    times = measure(calls, args.runs)
    base = float(np.median(times[name]))
    rows: list[dict[str, object]] = []
    for label, ms in times.items():
        median, p99, top = (float(np.percentile(ms, q)) for q in (50, 99, 100))
        rows.append(
            {
                "engine": label, "median ms": round(median, 4), "p99 ms": round(p99, 4),
                "max ms": round(top, 4), "ours is": f"{median / base:.2f}x",
            }
        )  # fmt: skip
    print(f"{path.name}, {threads} thread(s), {len(times[name])} calls each, in turn")
    print(text_table(rows) + "\n")
    return {"model": path.name, "threads": threads, "engines": rows}
