"""Our kernels as an external delegate against the runtime's own, in turn within one process.

    python tools/bench_delegate.py MODEL.tflite... --threads 1

Runs under whichever TFLite runtime is installed (ai-edge-litert, else tflite-runtime) and compares
with what that does by default (XNNPACK, where it takes the model). Each turn sets the inputs,
invokes, and reads the outputs. Prints medians, 99th percentiles and the ratio of the medians.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import edgeinfer


def _runtime() -> Any:
    try:
        from ai_edge_litert import interpreter
    except ImportError:
        from tflite_runtime import interpreter
    return interpreter


def _turn(made: Any, feeds: list[np.ndarray]) -> float:
    begin = time.perf_counter()
    for detail, value in zip(made.get_input_details(), feeds, strict=True):
        made.set_tensor(detail["index"], value)
    made.invoke()
    for detail in made.get_output_details():
        made.get_tensor(detail["index"])
    return time.perf_counter() - begin


def _random(detail: dict[str, Any]) -> np.ndarray:
    random, dtype = np.random.default_rng(0), np.dtype(detail["dtype"])
    if dtype.kind == "f":
        return random.standard_normal(detail["shape"]).astype(dtype)
    return random.integers(0, 255, detail["shape"]).astype(np.uint8).astype(dtype)


def compare(model: str, threads: int, seconds: float) -> str:
    """One line for a model."""
    runtime = _runtime()
    path, options = edgeinfer.tflite_delegate(model, threads=threads)
    ours = runtime.load_delegate(path, options)
    sides = [
        runtime.Interpreter(model, num_threads=threads),
        runtime.Interpreter(model, experimental_delegates=[ours], num_threads=threads),
    ]
    for side in sides:
        side.allocate_tensors()
    feeds = [_random(d) for d in sides[0].get_input_details()]
    once = max(_turn(side, feeds) for side in sides for _ in range(3))
    turns = int(min(max(seconds / once / 2, 20), 20000))
    times = np.array([[_turn(side, feeds) for side in sides] for _ in range(turns)]) * 1e3
    (theirs, mine), (t99, m99) = np.median(times, 0), np.percentile(times, 99, 0)
    return (
        f"{Path(model).name}: runtime's own {theirs:.3f} ms (p99 {t99:.3f}), "
        f"edgeinfer {mine:.3f} ms (p99 {m99:.3f}), ratio {theirs / mine:.2f}"
    )


def main() -> None:
    """Parse the options, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each model")
    args = parser.parse_args()
    for model in args.models:
        print(compare(model, args.threads, args.seconds), flush=True)


if __name__ == "__main__":
    main()
