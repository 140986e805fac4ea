"""A graph as one .npz file that the peers' environments read with NumPy alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def save(graph: Any, path: Path) -> None:
    """Write an edgeinfer Graph: its structure as JSON, its constants as arrays."""
    tensors = list(graph.tensors())
    index = {id(t): i for i, t in enumerate(tensors)}
    records = [_tensor(t) for t in tensors]
    nodes = [
        {
            "op": n.op,
            "inputs": [None if t is None else index[id(t)] for t in n.inputs],
            "outputs": [index[id(t)] for t in n.outputs],
            "attrs": {k: v for k, v in n.attrs.items() if k != "intermediates"},
        }
        for n in graph.nodes
    ]
    ends = {k: [index[id(t)] for t in getattr(graph, k).values()] for k in ("inputs", "outputs")}
    data = {"name": graph.name, "tensors": records, "nodes": nodes, **ends}
    arrays = {f"t{index[id(t)]}": t.data for t in tensors if t.constant}
    np.savez(path, graph=np.array(json.dumps(data)), **arrays)


def _tensor(tensor: Any) -> dict[str, Any]:
    record = {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype}
    if tensor.quant is not None:
        quant = tensor.quant
        record |= {"scale": quant.scale.tolist(), "zero": quant.zero.tolist(), "axis": quant.axis}
    return record


def load(path: str | Path) -> dict[str, Any]:
    """The structure `save` wrote; constants are under "data" of their tensors."""
    with np.load(path) as file:
        graph: dict[str, Any] = json.loads(str(file["graph"]))
        for i, tensor in enumerate(graph["tensors"]):
            tensor["data"] = file.get(f"t{i}")
    return graph


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after, of TFLite's SAME padding."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
