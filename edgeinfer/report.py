"""Self-contained HTML pages: tables, plots, and the video of a drive."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#667;--line:#d5d9e0;--card:#fff;--page:#f4f6f8}
@media(prefers-color-scheme:dark){:root{--ink:#e7eaee;--soft:#9aa3ae;--line:#343b45;--card:#1c2128;
--page:#12161b}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);margin:0;
padding:24px;max-width:1080px;margin:auto}
h1{font-size:24px;margin:0 0 4px}h2{font-size:17px;margin:28px 0 8px}
p.sub{color:var(--soft);margin:0 0 16px}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 18px;
margin:12px 0;overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:4px 10px;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:600}th:first-child,td:first-child{text-align:left}
video{width:100%;max-width:720px;border-radius:8px;background:#000}
svg{width:100%;height:auto}svg text{fill:var(--soft);font-size:11px}
.grid{stroke:var(--line);stroke-width:1}
"""
_COLOURS = ("#2f7ed8", "#e4572e", "#2fae66", "#9b59b6", "#c9a227")
_VIDEO_LIMIT = 24 << 20

escape = html.escape


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """An HTML table, one row a mapping, columns in the order of the first."""
    if not rows:
        return "<p>nothing</p>"
    head = "".join(f"<th>{html.escape(str(k))}</th>" for k in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(v))}</td>" for v in row.values()) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _ticks(lo: float, hi: float) -> list[float]:
    step = 10 ** math.floor(math.log10(max(hi - lo, 1e-9)))
    while (hi - lo) / step < 3:
        step /= 2
    while (hi - lo) / step > 7:
        step *= 2
    first = math.ceil(lo / step)
    return [k * step for k in range(first, math.floor(hi / step) + 1)]


def plot(
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    x_label: str,
    y_label: str,
    level: float | None = None,
) -> str:
    """An SVG line plot of named (x, y) series; `level` draws a dashed line, e.g. a budget."""
    points = [(x[np.isfinite(y)], y[np.isfinite(y)]) for x, y in series.values()]
    points = [(x, y) for x, y in points if len(x)]
    if not points:
        return "<p>nothing to plot</p>"
    x0, x1 = min(x.min() for x, _ in points), max(x.max() for x, _ in points)
    lows, highs = [y.min() for _, y in points], [y.max() for _, y in points]
    y0, y1 = min(*lows, 0.0), max(*highs, level or 0.0)
    x1, y1 = (x1 if x1 > x0 else x0 + 1), (y1 if y1 > y0 else y0 + 1)
    w, h, left, bottom = 960, 240, 52, 30

    def at(x: Any, y: Any) -> tuple[Any, Any]:
        across = left + (x - x0) / (x1 - x0) * (w - left - 10)
        return across, (h - bottom) - (y - y0) / (y1 - y0) * (h - bottom - 12)

    parts = [f'<svg viewBox="0 0 {w} {h}" role="img">']
    for tick in _ticks(float(y0), float(y1)):
        _, y = at(x0, tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{w - 10}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in _ticks(float(x0), float(x1)):
        x, _ = at(tick, y0)
        parts.append(f'<text x="{x:.1f}" y="{h - 12}" text-anchor="middle">{tick:g}</text>')
    if level is not None:
        _, y = at(x0, level)
        parts.append(
            f'<line x1="{left}" x2="{w - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4572e" '
            'stroke-dasharray="6 4"/>'
        )
    for i, (name, (x, y)) in enumerate(series.items()):
        keep = np.isfinite(y)
        px, py = at(x[keep], y[keep])
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(px, py, strict=True))
        colour = _COLOURS[i % len(_COLOURS)]
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.4"/>'
        )
        parts.append(
            f'<text x="{left + 10 + 120 * i}" y="11" style="fill:{colour}">'
            f"{html.escape(name)}</text>"
        )
    parts.append(f'<text x="{w - 10}" y="{h - 1}" text-anchor="end">{html.escape(x_label)}</text>')
    parts.append(f'<text x="4" y="11">{html.escape(y_label)}</text></svg>')
    return "".join(parts)


def bars(items: Sequence[tuple[str, float, float]], label: str, marked: str = "") -> str:
    """SVG bars of (name, value, reach), one a line; a thin line goes on to `reach` (>= value), cut
    off at twice the largest value. The bar called `marked` has a colour of its own."""
    if not items:
        return "<p>nothing to plot</p>"
    w, left, row = 960, 230, 22
    top = min(max(r for _, _, r in items), 2 * max(v for _, v, _ in items)) or 1.0
    parts = [f'<svg viewBox="0 0 {w} {row * len(items) + 18}" role="img">']
    for i, (name, value, reach) in enumerate(items):
        y, scale = i * row, (w - left - 90) / top
        end, far = left + value * scale, left + min(reach, top) * scale
        colour = _COLOURS[1 if name == marked else 0]
        middle = y + row / 2
        parts.append(
            f'<text x="{left - 8}" y="{middle + 4}" text-anchor="end">{html.escape(name)}</text>'
            f'<rect x="{left}" y="{y + 3}" width="{end - left:.1f}" height="{row - 6}" '
            f'fill="{colour}"/><line x1="{end:.1f}" x2="{far:.1f}" y1="{middle}" y2="{middle}" '
            f'stroke="{colour}"/><text x="{far + 6:.1f}" y="{middle + 4}">{value:.4g}</text>'
        )
    parts.append(f'<text x="{left}" y="{row * len(items) + 14}">{html.escape(label)}</text></svg>')
    return "".join(parts)


def roofline(
    points: Sequence[tuple[str, float, float, float]], roofs: Mapping[str, float], bandwidth: float
) -> str:
    """SVG roofline, both axes logarithmic: (name, MAC per byte, MAC per second, weight) of points,
    whose area is their weight; the roofs MAC per second by name, the slope `bandwidth` bytes per
    second (Williams, Waterman, Patterson 2009)."""
    if not points or not roofs:
        return "<p>nothing to plot</p>"
    w, h, left, bottom = 960, 380, 60, 34
    x0 = math.floor(math.log10(min(0.1, *(p[1] for p in points))))
    x1 = math.ceil(math.log10(max(100.0, *(p[1] for p in points))))
    top = max(roofs.values())
    y0 = math.floor(math.log10(min(1e9, *(p[2] for p in points))))
    y1 = math.ceil(math.log10(max(top, *(p[2] for p in points))))

    def at(intensity: float, rate: float) -> tuple[float, float]:
        x = left + (math.log10(intensity) - x0) / (x1 - x0) * (w - left - 12)
        return x, (h - bottom) - (math.log10(rate) - y0) / (y1 - y0) * (h - bottom - 14)

    parts = [f'<svg viewBox="0 0 {w} {h}" role="img">']
    for k in range(y0, y1 + 1):
        _, y = at(1.0, 10.0**k)
        parts.append(f'<line class="grid" x1="{left}" x2="{w - 12}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{10**k / 1e9:g}</text>'
        )
    for k in range(x0, x1 + 1):
        x, _ = at(10.0**k, top)
        parts.append(f'<text x="{x:.1f}" y="{h - 16}" text-anchor="middle">{10.0**k:g}</text>')
    for i, (name, roof) in enumerate(roofs.items()):
        ends = [at(10.0**x0, bandwidth * 10.0**x0), at(roof / bandwidth, roof), at(10.0**x1, roof)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in ends)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{_COLOURS[i + 1]}" stroke-width="1.4"/>'
            f'<text x="{w - 14}" y="{ends[2][1] - 4:.1f}" text-anchor="end">{html.escape(name)} '
            f"peak {roof / 1e9:.0f}</text>"
        )
    heaviest = max(p[3] for p in points)
    for name, intensity, rate, weight in points:
        x, y = at(intensity, rate)
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2 + 12 * (weight / heaviest) ** 0.5:.1f}" '
            f'fill="{_COLOURS[0]}" fill-opacity="0.45"><title>{html.escape(name)}</title></circle>'
        )
    parts.append('<text x="4" y="11">GMAC/s</text>')
    parts.append(f'<text x="{w - 12}" y="{h - 2}" text-anchor="end">MAC per byte</text></svg>')
    return "".join(parts)


def _video(path: Path) -> str:
    if not path.is_file():
        return "<p>no video</p>"
    if path.stat().st_size > _VIDEO_LIMIT:
        name = html.escape(path.name)
        return f'<video controls src="{name}"></video><p class="sub">{name}, beside this page</p>'
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<video controls autoplay muted loop src="data:video/mp4;base64,{data}"></video>'


def write(
    path: str | Path,
    title: str,
    subtitle: str,
    sections: Sequence[tuple[str, str]],
    video: str | Path | None = None,
) -> None:
    """Write the page: (heading, HTML) sections, the video embedded (beside it above 24 MB)."""
    body = [f"<h1>{html.escape(title)}</h1><p class=sub>{html.escape(subtitle)}</p>"]
    if video is not None:
        body.append(f"<section>{_video(Path(video))}</section>")
    for heading, content in sections:
        body.append(f"<h2>{html.escape(heading)}</h2><section>{content}</section>")
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style><body>{''.join(body)}"
    )
    Path(path).write_text(page, encoding="utf-8")
