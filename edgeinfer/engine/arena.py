"""Arena: one block of memory in which tensors whose lifetimes do not meet share bytes.

Greedy by size (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference",
2020): the largest buffer first, each at the lowest offset free during its life.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ALIGN = 64


@dataclass(frozen=True)
class Life:
    """A buffer of `size` bytes that is needed from step `first` to step `last`, both included."""

    size: int
    first: int
    last: int

    def meets(self, other: Life) -> bool:
        """Whether both are needed at one step."""
        return self.first <= other.last and other.first <= self.last


def place(lives: Sequence[Life]) -> tuple[list[int], int]:
    """Offsets of the buffers, each a multiple of its alignment, and the arena's size in bytes."""
    offsets = [0] * len(lives)
    placed: list[tuple[int, int, Life]] = []
    for i in sorted(range(len(lives)), key=lambda k: (-lives[k].size, lives[k].first, k)):
        offsets[i] = _lowest_gap(lives[i], placed)
        placed.append((offsets[i], offsets[i] + lives[i].size, lives[i]))
        placed.sort(key=lambda p: p[0])
    return offsets, max((end for _, end, _ in placed), default=0)


def _lowest_gap(life: Life, placed: Sequence[tuple[int, int, Life]]) -> int:
    offset, align = 0, _alignment(life.size)
    for start, end, other in placed:
        if not life.meets(other):
            continue
        if offset + life.size <= start:
            break
        offset = max(offset, -(-end // align) * align)
    return offset


def _alignment(size: int) -> int:
    """ALIGN, or the least power of two that holds a smaller buffer: those share a cache line."""
    return min(ALIGN, max(8, 1 << max(size - 1, 0).bit_length()))
