"""One scheduler for the models of a process: so many cores, the earliest deadline first.

A board file reserves cores for inference:

    [inference]
    cores = [2, 3]

Runs of all sessions then use at most so many cores at a time. A run with a deadline goes before one
with a later deadline, and before those without any; what computes already gives way between its
steps and their shares (`Session.calibrate` cuts the long ones). Runs without a deadline go in the
order they came. Without reserved cores nothing is ordered and nothing waits.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from .. import _native
from ..board import Board
from ..errors import BoardError

lib = _native.lib

_cores: tuple[int, ...] = ()  # that threads of the library run on; empty: any


def reserve(board: Board) -> None:
    """Reserve the board's cores for inference, where it names any."""
    table = board.extra.get("inference", {})
    cores = table.get("cores", ())
    if not cores:
        return
    there = os.sched_getaffinity(0) | set(_cores)
    if not isinstance(cores, Sequence) or not set(cores) <= there:
        raise BoardError(
            f"board {board.name!r}: [inference] cores = {cores!r}; this process may run on "
            f"{sorted(there)}"
        )
    set_cores(len(cores), cores)


def set_cores(count: int, pinned: Sequence[int] = ()) -> None:
    """Let runs use `count` cores at a time (0: no limit, no order).

    Threads of the library (of the pool, and those that begin to serve submitted runs after this)
    are pinned to the cores in `pinned`; the threads that call `run()` are their owner's to pin.
    """
    global _cores
    _native.check(lib.ei_scheduler_set_cores(count), what=f"cores {count}")
    _native.check(lib.ei_scheduler_pin(list(pinned), len(pinned)), what=f"cores {pinned}")
    _cores = tuple(pinned)


def cores() -> int:
    """Cores that runs may use at a time; 0: no limit."""
    return int(lib.ei_scheduler_cores())


def waiting() -> int:
    """How many runs wait for their turn."""
    return int(lib.ei_scheduler_waiting())


def join() -> None:
    """Pin the calling thread to the reserved cores, if there are any."""
    if _cores:
        os.sched_setaffinity(0, _cores)
