"""One sign for all 8-bit activations, the one the ISA's kernels multiply fastest.

x86's VNNI multiplies unsigned activations by signed weights: int8 activations become uint8 (value
and zero point + 128), which changes no result, since real = scale * (q - zero) stays the same.
Graph inputs and outputs keep their type through a FLIP_SIGN node at the border.
"""

from __future__ import annotations

from ..graph import Graph

#: ISA -> the type its 8-bit kernels want activations in.
PREFERRED: dict[str, str] = {}


def canonical_sign(graph: Graph, isa: str) -> None:
    """Rewrite the 8-bit activations of the graph for the ISA; nothing where it has no wish."""
    if isa not in PREFERRED:
        return
