"""The README's tables, from the results of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeinfer.bench.compare import PEERS
from edgeinfer.bench.figures import geometric_mean

Result = dict[str, Any]


def markdown(results: Sequence[Result], precision: str) -> str:
    """One table: a row a model, ours and every peer in ms at 1 / 2 ... threads, the ratios."""
    chosen = [r for r in results if r["model"].endswith(f"_{precision}.tflite")]
    names = list(dict.fromkeys(r["model"] for r in chosen))
    counts = sorted({r["threads"] for r in chosen})
    ran = {row["kind"] for r in chosen for row in r.get("rows", [])}
    peers = [p for p in PEERS if p in ran]
    head = ["model (MMAC)", "ours", "% of peak", *peers]
    head += [f"best peer / ours, {n}T" for n in counts] + ["p99 / median: ours, best peer"]
    lines = [_line(head), _line(["---"] * len(head))]
    ratios: dict[int, list[float]] = {n: [] for n in counts}
    for name in names:
        by_count = {r["threads"]: r for r in chosen if r["model"] == name}
        lines.append(_line(_row(name, by_count, counts, peers, ratios)))
    means = [f"{geometric_mean(v):.2f}x" if v else "" for v in ratios.values()]
    lines.append(_line(["geometric mean", "", "", *[""] * len(peers), *means, ""]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _row(
    name: str, by_count: dict[int, Result], counts: Sequence[int], peers: Sequence[str],
    ratios: dict[int, list[float]],
) -> list[str]:  # fmt: skip
    any_result = next(iter(by_count.values()))
    title = f"{name.rpartition('_')[0]} ({any_result.get('macs', 0) / 1e6:.4g})"
    cells = [title, *(_each(by_count, counts, "edgeinfer", cell) for cell in (_ms, _share))]
    cells += [_each(by_count, counts, p, _ms) for p in peers]
    for n in counts:
        best = _best(by_count.get(n))
        if best is not None:
            ratios[n].append(best["ratio"]["value"])
        cells.append("" if best is None else _ratio(best["ratio"]))
    return [*cells, " / ".join(_tails(by_count.get(n)) for n in counts)]


def _tails(result: Result | None) -> str:
    """How far the slowest hundredth lies from the middle, ours and the best peer's."""
    ours, best = next(iter((result or {}).get("rows", [])), None), _best(result)
    rows = [r["summary"] for r in (ours, best) if r is not None]
    return ", ".join(f"{r['p99'] / r['median']:.2g}" for r in rows) or "-"


def _best(result: Result | None) -> Result | None:
    rows = (result or {}).get("rows", [])[1:]
    return min(rows, key=lambda r: r["summary"]["median"], default=None)


def _ratio(ratio: dict[str, float]) -> str:
    return f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def _ms(row: Result) -> str:
    return f"{row['summary']['median']:.3g}"


def _share(row: Result) -> str:
    return "" if row["peak_share"] is None else f"{100 * row['peak_share']:.0f}"


def _each(by_count: dict[int, Result], counts: Sequence[int], kind: str, cell: Any) -> str:
    found = []
    for n in counts:
        rows = [r for r in by_count.get(n, {}).get("rows", []) if r["kind"] == kind]
        found.append(cell(rows[0]) if rows else "-")
    return " / ".join(found) if set(found) != {"-"} else "-"


def left_out(results: Sequence[Result]) -> str:
    """Who did not run what, and why: one line a reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for result in results:
        name = result["model"].removesuffix(".tflite")
        for peer, why in result.get("left_out", {}).items():
            names = reasons.setdefault((peer, _generic(why, name)), [])
            names += [] if name in names else [name]
    return "\n".join(f"* {p}: {why} ({', '.join(n)})" for (p, why), n in reasons.items())


def _generic(why: str, name: str) -> str:
    return why.replace(name, "MODEL")
