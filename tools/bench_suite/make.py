"""Makes the model files of the suite in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nets
import portable
import quantise

from edgeinfer.engine.tflite_writer import write_tflite


def tflite(folder: Path, names: Sequence[str]) -> list[Path]:
    """Write NAME_fp32.tflite and NAME_int8.tflite, and the .npz their twins are made from.

    Files that are there stay as they are. Returns the .tflite paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name in names:
        paths = [folder / f"{name}_{kind}.tflite" for kind in ("fp32", "int8")]
        found += paths
        if all(p.exists() and p.with_suffix(".npz").exists() for p in paths):
            continue
        graph = nets.NETS[name][0]()
        integer = quantise.quantise(graph, quantise.calibrate(graph))
        for path, made in zip(paths, (graph, integer), strict=True):
            portable.save(made, path.with_suffix(".npz"))
            path.write_bytes(write_tflite(made, "random weights, made by tools/bench_suite"))
    return found
