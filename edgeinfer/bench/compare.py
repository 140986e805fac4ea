"""One model, one number of threads: ours and the peers in turn, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import _native
from ..engine import peak
from ..engine.model import Model, load
from ..engine.saved import Plan
from . import turns
from .figures import Ratio, Summary, ratio, summary

#: In the order they are asked.
PEERS = ("litert", "onnxruntime", "openvino", "ncnn", "mnn", "executorch", "tflite")


@dataclass(frozen=True)
class Row:
    """One engine: `kind` of worker.ENGINES, name with version, file it read, figures.

    `ratio` is its time over ours; GMAC/s and the share of the peak (0..1) are None where the number
    of multiply-accumulates, or the peak, is not known.
    """

    kind: str
    name: str
    file: str
    summary: Summary
    ratio: Ratio
    gmacs: float | None
    peak_share: float | None


@dataclass
class Comparison:
    """What one run found; `rows[0]` is ours, `left_out` says why a peer is not among them.

    `elsewhere` is the share (0..1) of the machine's processor time that other programs took.
    """

    model: str
    threads: int
    precision: str
    macs: int
    peak: float | None
    rounds: int
    elsewhere: float
    rows: list[Row] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def best_peer(self) -> Row | None:
        """The peer with the lowest median, or None where none ran."""
        return min(self.rows[1:], key=lambda r: r.summary.median, default=None)

    @property
    def verdict(self) -> str:
        """How ours stands to the best peer, in words."""
        best = self.best_peer
        if best is None:
            return "no peer ran"
        words = {"ahead": "ahead of", "behind": "behind", "level": "level with"}
        return f"{words[best.ratio.verdict]} the best peer, {best.name}: {best.ratio}"

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        best = self.best_peer
        return {**asdict(self), "best_peer": best.name if best else None, "verdict": self.verdict}


def precision_of(model: Model | Plan) -> tuple[str, int]:
    """("int8" | "float32" | "?", multiply-accumulates): the type most of them take in."""
    macs = model.macs
    top = max(macs, key=lambda k: macs[k], default="?")
    names = {"uint8": "int8", "?": "?", "int8": "int8"}
    return names.get(top, "float32"), sum(macs.values())


def compare(
    job: turns.Job,
    peers: Sequence[str] = PEERS,
    rounds: int = 20,
    pythons: Mapping[str, str] | None = None,
) -> Comparison:
    """Run ours and those of `peers` that can, in turn; `pythons` names a peer's interpreter.

    EngineFailed where ours fails. A peer that fails is left out, with its reason.
    """
    precision, macs = precision_of(load(job.path))
    engines = [turns.Engine("edgeinfer", job)]
    left_out: dict[str, str] = {}
    try:
        for kind in peers:
            try:
                engines.append(turns.Engine(kind, job, (pythons or {}).get(kind)))
            except turns.EngineFailed as exc:
                left_out[kind] = str(exc)
        elsewhere = _take(engines, rounds, left_out)
        ceiling = None
        if precision != "?":
            ceiling = peak.macs_per_second(job.isa or _native.best_isa(), precision, job.threads)
        found = Comparison(
            job.path.name, job.threads, precision, macs, ceiling, rounds, elsewhere,
            [_row(e, engines[0], macs, ceiling) for e in engines], left_out,
        )  # fmt: skip
    finally:
        for engine in engines:
            engine.close()
    return found


def _take(engines: list[turns.Engine], rounds: int, left_out: dict[str, str]) -> float:
    """Rounds until all that remain have them all: a peer that breaks off is left out."""
    while True:
        try:
            return turns.take(engines, rounds)
        except turns.EngineFailed as exc:
            if exc.engine is None or exc.engine is engines[0]:
                raise
            left_out[exc.engine.kind] = str(exc)
            exc.engine.close()
            engines.remove(exc.engine)
            for engine in engines:
                engine.rounds.clear()


def _row(engine: turns.Engine, ours: turns.Engine, macs: int, ceiling: float | None) -> Row:
    found = summary(engine.rounds)
    rate = macs / found.median / 1e6 if macs else None
    share = rate * 1e9 / ceiling if rate and ceiling else None
    compared = ratio(ours.rounds, engine.rounds)
    return Row(engine.kind, engine.name, engine.file, found, compared, rate, share)


def model_paths(paths: Sequence[Path]) -> list[Path]:
    """The models named, and every .tflite directly in a folder that is named."""
    found = []
    for path in paths:
        found += sorted(path.glob("*.tflite")) if path.is_dir() else [path]
    return found
