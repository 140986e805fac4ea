"""The page of a comparison: tables and bars, self-contained."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from .. import __version__, _native, report
from ..engine import peak
from .compare import Comparison


@cache
def machine() -> dict[str, Any]:
    """What the figures were taken on: processor, cores, ISA and its measured peaks."""
    isa, cores = _native.best_isa(), os.cpu_count() or 1
    counts = sorted({1, cores})
    return {
        "edgeinfer": __version__,
        "processor": _processor(),
        "cores": cores,
        "isa": isa,
        "load_average": os.getloadavg()[0],
        "peak_macs_per_second": {
            dtype: {str(n): peak.macs_per_second(isa, dtype, n) for n in counts}
            for dtype in ("float32", "int8")
        },
        "read_bytes_per_second": {
            name: {str(n): peak.bytes_per_second(size, n) for n in counts}
            for name, size in (("256 KiB", 1 << 18), ("4 MiB", 1 << 22), ("256 MiB", 1 << 28))
        },
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def rows(found: Comparison) -> list[dict[str, object]]:
    """The table of one comparison, ours first, then from the fastest to the slowest."""
    ordered = [found.rows[0], *sorted(found.rows[1:], key=lambda r: r.summary.median)]
    return [
        {
            "engine": row.name + ("" if row.file == found.model else f", {row.file}"),
            "median ms": f"{row.summary.median:.4g}",
            "p99 ms": f"{row.summary.p99:.4g}",
            "max ms": f"{row.summary.max:.4g}",
            "GMAC/s": "" if row.gmacs is None else f"{row.gmacs:.1f}",
            "% of peak": "" if row.peak_share is None else f"{100 * row.peak_share:.0f}",
            "its time / ours": "" if row is found.rows[0] else str(row.ratio),
        }
        for row in ordered
    ]


def _bars(found: Comparison) -> str:
    ordered = sorted(found.rows, key=lambda r: r.summary.median)
    return report.bars(
        [(r.name, r.summary.median, r.summary.p99) for r in ordered],
        "ms, median; the line reaches p99",
        found.rows[0].name,
    )


def _section(found: Comparison) -> tuple[str, str]:
    threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
    heading = f"{found.model}, {found.precision}, {found.macs / 1e6:.4g} MMAC, {threads}"
    left = "".join(f"<li>{report.escape(f'{k}: {v}')}</li>" for k, v in found.left_out.items())
    content = _bars(found) + report.table(rows(found)) + f"<p>{report.escape(found.verdict)}</p>"
    return heading, content + (f"<p class=sub>left out</p><ul>{left}</ul>" if left else "")


def write(path: Path, found: Sequence[Comparison]) -> None:
    """Write the page of some comparisons to one file."""
    about = machine()
    peaks = [
        {"peak GMAC/s": dtype, **{f"{n} threads": f"{v / 1e9:.0f}" for n, v in p.items() if v}}
        for dtype, p in about["peak_macs_per_second"].items()
    ]
    elsewhere = max((c.elsewhere for c in found), default=0.0)
    subtitle = (
        f"{about['processor']}, {about['cores']} cores, {about['isa']}; a call is input copy, run, "
        f"output copy; engines in turn; other programs took up to {elsewhere:.0%} of the machine"
    )
    sections = [("Measured peaks", report.table(peaks)), *map(_section, found)]
    report.write(path, "edgeinfer bench", subtitle, sections)
