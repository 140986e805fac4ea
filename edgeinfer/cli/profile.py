"""edgeinfer profile: where the time of a model goes, what bounds it, what to change."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import report
from ..bench import bottleneck
from ..bench.compare import precision_of
from ..engine import peak
from ..engine.model import load
from ..engine.saved import Plan
from ..engine.session import Session
from ..engine.steps import StepTime
from . import text_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("model", type=Path, help="a .tflite model or a saved plan")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--board", default="host")
    parser.add_argument("--rounding", default="xnnpack", choices=("xnnpack", "tflite"))
    parser.add_argument("--runs", type=int, default=50, help="runs whose median is taken")
    parser.add_argument("--steps", type=int, default=8, help="how many of the slowest to list")
    parser.add_argument("--html", type=Path, help="also write a page with the roofline")
    parser.add_argument("--json", type=Path, help="also write every step to this file")


@dataclass
class Profile:
    """A profiled model: its steps, the median of whole runs, microseconds."""

    name: str
    session: Session
    steps: list[StepTime]
    run_us: float

    @property
    def dtype(self) -> str:
        """The type most multiply-accumulates are in."""
        found, _ = precision_of(self.session.plan)
        return found if found != "?" else "float32"

    def heading(self) -> str:
        """Time, rate and share of the peak, in one line."""
        macs = sum(s.macs for s in self.steps)
        text = f"{self.name}: {self.run_us / 1e3:.4g} ms, {macs / 1e6:.4g} MMAC"
        rate = 1e6 * macs / self.run_us
        ceiling = self.peak(self.dtype)
        if macs and ceiling:
            text += f", {rate / 1e9:.1f} GMAC/s, {rate / ceiling:.0%} of the {self.dtype} peak"
        threads = self.session.threads
        return f"{text} ({self.session.plan.isa}, {threads} thread{'s' * (threads > 1)})"

    def peak(self, dtype: str) -> float | None:
        """The machine's multiply-accumulates a second."""
        return peak.macs_per_second(self.session.plan.isa, dtype, self.session.threads)

    def advice(self) -> list[str]:
        """What to change."""
        low, high = self.peak("float32"), self.peak("int8")
        gain = high / low if low and high else None
        return bottleneck.advice(self.steps, self.run_us, gain)


def take(source: Any, name: str, args: argparse.Namespace) -> Profile:
    """Profile a Model or Plan on random input values."""
    options = {} if isinstance(source, Plan) else {"rounding": args.rounding}
    session = Session(source, args.board, args.threads, **options)
    rng = np.random.default_rng(0)
    for key, tensor in session.inputs.items():
        if tensor.dtype == "float32":
            session[key] = rng.uniform(-1, 1, tensor.shape).astype(np.float32)
        elif tensor.dtype in ("int8", "uint8"):
            session[key] = rng.integers(0, 128, tensor.shape).astype(tensor.dtype)
    session.profile(3)  # measures the machine, warms the caches
    plain, timed = [], []
    for _ in range(max(args.runs, 1)):  # in turn, so that a busy machine slows both alike
        session.run()
        start = time.perf_counter_ns()
        session.run()
        plain.append((time.perf_counter_ns() - start) / 1e3)
        timed.append(session.profile(1))
    medians = np.median([[s.microseconds for s in run] for run in timed], axis=0)
    steps = [replace(s, microseconds=float(us)) for s, us in zip(timed[0], medians, strict=True)]
    return Profile(name, session, steps, float(np.median(plain)))


def run(args: argparse.Namespace) -> int:
    """Profile, print, write."""
    found = take(load(args.model), args.model.name, args)
    print(_text(found, args.steps))
    if args.json:
        steps = [{**asdict(s), "bound": s.bound} for s in found.steps]
        data = {"model": found.name, "run_us": found.run_us, "steps": steps}
        args.json.write_text(json.dumps(data, indent=1) + "\n")
    if args.html:
        _page(args.html, found)
    return 0


def _bar(share: float, width: int = 24) -> str:
    """A bar of eighths of a character."""
    eighths = round(share * width * 8)
    return "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")


def _text(found: Profile, count: int) -> str:
    bounds = bottleneck.by_bound(found.steps)
    held = ", ".join(f"{name} {share:.0%}" for name, share in bounds.items() if share >= 0.005)
    slowest = sorted(found.steps, key=lambda s: -s.microseconds)[:count]
    lines = [
        found.heading(),
        f"held back by: {held}",
        "",
        text_table(_kind_rows(found.steps, True)),
    ]
    lines += ["", text_table([_step_row(s) for s in slowest]), ""]
    return "\n".join([*lines, *(f"{i}. {text}" for i, text in enumerate(found.advice(), 1))])


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f}"


def _kind_rows(steps: list[StepTime], bars: bool) -> list[dict[str, object]]:
    total = sum(s.microseconds for s in steps) or 1.0
    return [
        {
            "kernel": kind.kernel, "steps": len(kind.steps), "us": f"{kind.microseconds:.1f}",
            "% of time": _share(kind.microseconds / total), "MMAC": f"{kind.macs / 1e6:.4g}",
            "% of peak": _share(kind.peak_share),
            "% of roof": _share(min(kind.roof_us / max(kind.microseconds, 1e-9), 1.0)),
            "held back by": kind.bound,
            **({"": _bar(kind.microseconds / total).ljust(24)} if bars else {}),
        }
        for kind in bottleneck.kinds(steps)
    ]  # fmt: skip


def _step_row(step: StepTime) -> dict[str, object]:
    return {
        "step": step.step[-40:], "us": f"{step.microseconds:.1f}", "MMAC": f"{step.macs / 1e6:.4g}",
        "kB": f"{step.bytes / 1e3:.1f}", "MAC/byte": f"{step.intensity:.1f}",
        "% of peak": _share(step.peak_share), "held back by": step.bound,
    }  # fmt: skip


def _page(path: Path, found: Profile) -> None:
    points = [
        (s.step, s.intensity, 1e6 * s.macs / s.microseconds, s.microseconds)
        for s in found.steps
        if s.macs and s.microseconds > 0
    ]
    first = found.steps[0] if found.steps else None
    bandwidth = 1e6 * first.bytes / first.memory_us if first and first.bytes else 1.0
    roofs = {d: r for d in ("float32", "int8") if (r := found.peak(d))}
    sections = [
        ("What to change", "<ol>" + "".join(f"<li>{report.escape(t)}</li>" for t in found.advice())
         + "</ol>"),
        ("Roofline", report.roofline(points, roofs, bandwidth)),
        ("Kernels", report.table(_kind_rows(found.steps, False))),
        ("Steps", report.table([_step_row(s) for s in found.steps])),
    ]  # fmt: skip
    bounds = bottleneck.by_bound(found.steps)
    held = "held back by: " + ", ".join(f"{n} {v:.0%}" for n, v in bounds.items())
    report.write(path, f"profile of {found.name}", f"{found.heading()}; {held}", sections)
