"""Weights packed for one ISA: which layout a step's kernel wants, and the packing itself.

Packing runs once, at plan time, in numpy, so that a plan for a board can be made on any host.
A layout is documented at the kernel that reads it.
"""

from __future__ import annotations

from collections.abc import Callable

from .ops import Step

Packer = Callable[[Step, str], bool]

#: ISA -> packers to try, best first; each packs the step and returns True, or leaves it alone.
PACKERS: dict[str, tuple[Packer, ...]] = {}


def pack(step: Step, isa: str, rounding: str) -> None:
    """Give the step the layout of the best kernel of `isa`; leave it natural where none fits."""
    for packer in PACKERS.get(isa, ()):
        if packer(step, rounding):
            return
