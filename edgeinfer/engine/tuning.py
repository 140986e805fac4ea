"""Plan-time tuning: which kernel and how many workers a step gets, chosen by measurement.

Every alternative gives the same integers (and floats within their stated bound), so that a choice
is about time alone. A `Table` holds what was chosen; plans made with the same table are the same,
byte for byte. A table is measured within a time budget and kept in a cache of the user by model,
machine and build, or written by hand to a board's folder (boards/<name>/tuning.json), for plans
that are made elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .. import _native
from ..errors import PlanError
from .graph import Graph
from .ops import Step
from .tensor import Tensor

FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """The alternative chosen for a key, and what each took when it was measured, microseconds."""

    choice: str
    microseconds: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Table:
    """Choices by key (`step_key`).

    `seconds` is what measuring choices that it lacks may take when a plan is made; 0: none are.
    `used` and `missing` collect the keys of plans made since: found, and looked for in vain.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    seconds: float = 0.0
    used: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)

    def choice(self, key: str, names: Sequence[str]) -> str | None:
        """What the table says for the key, where it is one of `names`."""
        found = self.entries.get(key)
        if found is None or found.choice not in names:
            self.missing.add(key)
            return None
        self.used.add(key)
        return found.choice

    @classmethod
    def load(cls, path: str | Path) -> Table:
        """Read a table; PlanError where it is absent, damaged or of another format."""
        try:
            return cls(_parse(json.loads(Path(path).read_text())))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            raise PlanError(
                f"{path}: not a tuning table ({exc}); make one with 'edgeinfer compile MODEL "
                "--tune 2s --table FILE'"
            ) from exc

    def save(self, path: str | Path) -> None:
        """Write the table, whole or not at all."""
        entries = {
            key: {"choice": e.choice, "microseconds": dict(e.microseconds)}
            for key, e in sorted(self.entries.items())
        }
        data = {"format": FORMAT, "checksum": _checksum(entries), "entries": entries}
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.write_text(json.dumps(data, indent=1) + "\n")
        part.replace(path)


def _parse(data: dict[str, Any]) -> dict[str, Entry]:
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']}, this version reads {FORMAT}")
    entries = data["entries"]
    if data.get("checksum", _checksum(entries)) != _checksum(entries):
        raise ValueError("its checksum is wrong; if it was edited by hand remove the checksum")
    return {
        str(key): Entry(str(e["choice"]), {k: float(v) for k, v in e["microseconds"].items()})
        for key, e in entries.items()
    }


def _checksum(entries: Any) -> str:
    text = json.dumps(entries, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Target:
    """What a plan is tuned for: an ISA, a rounding, a number of threads."""

    isa: str
    rounding: str
    threads: int = 1


def step_key(step: Step, target: Target, names: Sequence[str]) -> str:
    """What two steps that tune alike have in common: operator, shapes, types, target, choices."""
    ins, outs = (" ".join(map(_described, ts)) for ts in (step.inputs, step.outputs))
    values = " ".join(f"{k}={v}" for k, v in step.values.items() if not k.startswith("act_"))
    where = f"{target.isa} {target.rounding} {target.threads}"
    return f"{step.op}({ins}) -> {outs}; {values}; {where}; {'|'.join(names)}"


def _described(tensor: Tensor | None) -> str:
    if tensor is None:
        return "-"
    text = f"{tensor.dtype}{list(tensor.shape)}".replace(" ", "")
    if not tensor.constant or tensor.data is None:
        return text
    eighths = round(8 * np.count_nonzero(tensor.data) / max(tensor.count, 1))
    asymmetric = "~" if tensor.quantised and np.any(tensor.zero) else ""
    return f"{text}{asymmetric}*" + (f"{eighths}/8" if eighths < 7 and tensor.count > 64 else "")


@cache
def build_id() -> str:
    """A hash of the C engine: what was measured with another build says nothing of this one."""
    return hashlib.sha256(Path(_native.library()).read_bytes()).hexdigest()[:16]


@cache
def machine_id() -> str:
    """Processor and number of cores, as the operating system tells them."""
    names = [platform.machine()]
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    wanted = ("model name", "Model", "CPU part", "stepping")
    names += sorted({line.strip() for line in lines if line.split("\t")[0].strip() in wanted})
    return f"{' '.join(names)}, {len(os.sched_getaffinity(0))} cores"


def digest(graph: Graph) -> str:
    """A hash of a model: its operators, shapes, types and constants."""
    found = hashlib.sha256()
    for node in graph.nodes:
        tensors = [t for t in (*node.inputs, *node.outputs) if t is not None]
        found.update(f"{node.op} {sorted(node.attrs.items())} {list(map(str, tensors))}\n".encode())
        for tensor in tensors:
            if tensor.data is not None:
                found.update(np.ascontiguousarray(tensor.data).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def cache_path(model: str, board: str = "host") -> Path:
    """Where the choices for a model (`digest`) on this machine with this build are kept.

    In $XDG_CACHE_HOME/edgeinfer (default ~/.cache/edgeinfer).
    """
    text = "\n".join([model, board, machine_id(), build_id()])
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "edgeinfer" / f"tuning-{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def cached(path: Path) -> Table:
    """The table of a cache file; an empty one where there is none or it is damaged."""
    if not path.exists():
        return Table()
    try:
        return Table.load(path)
    except PlanError as exc:
        warnings.warn(f"{exc}: measured again", stacklevel=2)
        return Table()


def keep(table: Table, path: Path) -> None:
    """Write a cache file, where that is possible."""
    try:
        table.save(path)
    except OSError as exc:
        warnings.warn(f"tuning was not cached ({exc})", stacklevel=2)
