"""From the times of steps to words: what bounds a model, and what to change about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..engine.steps import StepTime

BOUNDS = ("compute", "memory", "instructions", "overhead")
_ACTIVATIONS = ("lookup", "hard_swish", "logistic", "tanh", "gelu", "elu", "leaky_relu", "prelu")


@dataclass
class Kind:
    """All steps of one kernel: "conv_2d_q8" of an instruction set."""

    kernel: str
    steps: list[StepTime] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The kernel without its instruction set."""
        return self.kernel.partition("/")[2]

    @property
    def microseconds(self) -> float:
        """Time of all its steps."""
        return sum(s.microseconds for s in self.steps)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all its steps."""
        return sum(s.macs for s in self.steps)

    @property
    def roof_us(self) -> float:
        """The least time the machine needs for them."""
        return sum(s.roof_us for s in self.steps)

    @property
    def peak_share(self) -> float | None:
        """Share of the machine's multiply-accumulate peak, 0..1."""
        timed = [s for s in self.steps if s.compute_us is not None and s.macs]
        spent = self.microseconds
        return sum(s.compute_us or 0.0 for s in timed) / spent if timed and spent > 0 else None

    @property
    def bound(self) -> str:
        """What holds back most of its time."""
        return max(BOUNDS, key=lambda b: sum(s.microseconds for s in self.steps if s.bound == b))


def kinds(steps: Sequence[StepTime]) -> list[Kind]:
    """The steps by kernel, the one that takes longest first."""
    found: dict[str, Kind] = {}
    for step in steps:
        found.setdefault(step.kernel, Kind(step.kernel)).steps.append(step)
    return sorted(found.values(), key=lambda k: -k.microseconds)


def by_bound(steps: Sequence[StepTime]) -> dict[str, float]:
    """Share of the time (0..1) that each of BOUNDS holds back."""
    total = sum(s.microseconds for s in steps) or 1.0
    return {b: sum(s.microseconds for s in steps if s.bound == b) / total for b in BOUNDS}


def advice(
    steps: Sequence[StepTime], run_us: float, int8_gain: float | None = None, count: int = 4
) -> list[str]:
    """Sentences a user can act on, the largest possible gain first.

    `run_us` is the median of a whole run, `int8_gain` how many times the int8 peak is the float32
    peak here. A kind is named where its steps could gain at least 3 % of the run.
    """
    total = max(sum(s.microseconds for s in steps), 1e-9)
    said: list[tuple[float, str]] = []
    for kind in kinds(steps):
        for bound in BOUNDS:
            part = Kind(kind.kernel, [s for s in kind.steps if s.bound == bound])
            gain = _gain(part, bound)
            if gain >= 0.03 * total:
                text = _TEXT[bound](part, int8_gain)
                head = f"{part.name} ({_steps(part)}, {part.microseconds / total:.0%} of the time)"
                said.append((gain, f"{head} {text}"))
    outside = run_us - total
    if outside > 0.1 * run_us:
        text = f"{outside:.1f} us of a run ({outside / run_us:.0%}) pass outside its steps, in"
        text += " the call from Python and in waking threads. A larger model hides it; so does C."
        said.append((outside, text))
    said.sort(key=lambda pair: -pair[0])
    return [text for _, text in said[:count]] or ["Nothing stands out: no kind could gain 3 %."]


def _gain(kind: Kind, bound: str) -> float:
    """Time it could lose at most: down to its roof; at the roof, half by other arithmetic."""
    spent = kind.microseconds
    return max(spent - kind.roof_us, 0.5 * spent if bound in ("compute", "memory") else 0.0)


def _steps(kind: Kind) -> str:
    n = len(kind.steps)
    return "1 step" if n == 1 else f"{n} steps"


def _float(kind: Kind) -> bool:
    return any(s.dtype == "float32" for s in kind.steps)


def _compute(kind: Kind, int8_gain: float | None) -> str:
    share = kind.peak_share or 0.0
    text = f"is bound by arithmetic, at {share:.0%} of the peak: fewer channels, a smaller input"
    if _float(kind) and int8_gain:
        return f"{text}, or int8, whose peak is {int8_gain:.1f} times as high here."
    return f"{text}, or pruned weights would help, nothing else."


def _memory(kind: Kind, _: float | None) -> str:
    megabytes = sum(s.bytes for s in kind.steps) / 1e6
    text = f"is bound by memory: {megabytes:.2f} MB for {kind.macs / 1e6:.2f} MMAC."
    if _float(kind):
        text += " int8 moves a quarter of that."
    return text + " Fewer channels where the picture is large, or smaller weights, would help."


def _instructions(kind: Kind, _: float | None) -> str:
    reached = kind.roof_us / max(kind.microseconds, 1e-9)
    text = f"reaches {reached:.0%} of what arithmetic or memory would allow:"
    if kind.kernel.startswith("ref/"):
        return f"{text} it runs on the plain C definition, since this ISA has no vector form of it."
    if "depthwise" in kind.name:
        text += " a depthwise filter has few multiply-adds for each value it loads. Fewer expanded"
        return text + " channels help; early layers may be cheaper as full convolutions."
    if kind.name.startswith(_ACTIVATIONS):
        return f"{text} RELU or RELU6 instead would cost nothing: they fuse into the layer before."
    if kind.macs:
        return f"{text} its layers are too narrow or too small to fill the vectors."
    return f"{text} the operator only moves or converts values; drop it, or fuse it by its layout."


def _overhead(kind: Kind, _: float | None) -> str:
    return "is all overhead: steps of under a microsecond. Fewer, larger layers would help."


_TEXT: dict[str, Callable[[Kind, float | None], str]] = {
    "compute": _compute, "memory": _memory, "instructions": _instructions, "overhead": _overhead,
}  # fmt: skip
