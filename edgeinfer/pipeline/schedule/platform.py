"""What a board says of its cores, as far as the analysis needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...board import Board
from ...errors import BoardError
from .chains import Chain
from .tasks import Task
from .wiring import GUARD, SOURCE

#: Scheduling classes that stages can run in, as in a board's [realtime] policy.
POLICIES = ("fifo", "deadline", "normal")
_KERNEL = 1 << 30  # its priority: above everything


@dataclass(frozen=True)
class Platform:
    """Cores and what is known of them; nanoseconds.

    `limit`: utilisation that is admitted on each core; `policy`, `priority`: what stages run in;
    `jitter_ns`: longest from a release to the wake-up; `kernel_ns` of every `kernel_period_ns` go
    to interrupts and the kernel on each core; `source_ns`, `guard_ns`: a frame's and a command's
    time in the processes at the ends.
    """

    cores: int = 1
    limit: float = 0.9
    policy: str = "fifo"
    priority: int = 0
    jitter_ns: int = 0
    kernel_ns: int = 0
    kernel_period_ns: int = 1_000_000
    source_ns: int = 0
    guard_ns: int = 0

    @classmethod
    def of(cls, board: Board) -> Platform:
        """From board.toml: [board] cores, [realtime], [kernel], [ends]; BoardError else."""
        realtime, kernel = _table(board, "realtime"), _table(board, "kernel")
        ends = _table(board, "ends")
        priority = int(_number(board, realtime, "priority", 0))
        policy = realtime.get("policy", "fifo" if priority else "normal")
        if policy not in POLICIES:
            raise BoardError(f"board {board.name!r}: policy {policy!r} is none of {POLICIES}")
        return cls(
            max(board.cores, 1),
            _number(board, realtime, "utilisation_limit", 0.9),
            policy,
            priority,
            round(1e3 * _number(board, kernel, "jitter_us", 0)),
            round(1e3 * _number(board, kernel, "work_us", 0)),
            round(1e3 * _number(board, kernel, "period_us", 1000)) or 1,
            round(1e6 * _number(board, ends, "source_ms", 0)),
            round(1e6 * _number(board, ends, "guard_ms", 0)),
        )

    def kernel(self) -> list[Task]:
        """What the kernel takes of each core, as a task before all others."""
        if not self.kernel_ns:
            return []
        period = self.kernel_period_ns
        return [Task("kernel", period, self.kernel_ns, period, priority=_KERNEL)]


def limits(board: Board) -> list[Chain]:
    """What a board's [[chains]] must not exceed: `stages`, `max_age_ms`, `max_reaction_ms`."""
    found = []
    entries = board.extra.get("chains", [])
    for entry in entries if isinstance(entries, list) else [entries]:
        names = entry.get("stages") if isinstance(entry, Mapping) else None
        if not isinstance(names, list) or not names:
            raise BoardError(f"board {board.name!r}: [[chains]] {entry!r} has no list of stages")
        most = [_number(board, entry, key, 0) or None for key in ("max_age_ms", "max_reaction_ms")]
        inner = tuple(n for n in names if n not in (SOURCE, GUARD))
        found.append(Chain((SOURCE, *inner, GUARD), *most))
    return found


def _table(board: Board, name: str) -> Mapping[str, Any]:
    found = board.extra.get(name, {})
    if not isinstance(found, Mapping):
        raise BoardError(f"board {board.name!r}: {name} = {found!r} is no table: write [{name}]")
    return found


def _number(board: Board, table: Mapping[str, Any], key: str, default: float) -> float:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e12:
        raise BoardError(f"board {board.name!r}: {key} = {value!r}: a number from 0 on is needed")
    return float(value)
