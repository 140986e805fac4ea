"""Submitted runs: futures that can end the run they wait for, and the threads that serve them."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from . import scheduler
from .outcome import Outcome

if TYPE_CHECKING:
    from .session import Session

_MOST = 64  # sessions that are served at a time where the scheduler has them wait


class Run(Future[dict[str, np.ndarray]]):
    """A future of the outputs, by name. `outcome`: what came of its deadline, None without one."""

    def __init__(
        self,
        inputs: dict[str, np.ndarray],
        deadline: int | None,
        session: Callable[[], Session | None],
    ) -> None:
        super().__init__()
        self.inputs, self.deadline = inputs, deadline
        self.outcome: Outcome | None = None
        self._session = session

    def cancel(self) -> bool:
        """Cancel the run before it begins (True), or end it at its next boundary.

        False where it has begun: its result is then RunCancelledError, or came before.
        """
        if super().cancel():
            return True
        session = self._session()
        if session is not None and self.running():
            session.cancel_submitted(self)
        return False

    def finish(self, work: Callable[[], dict[str, np.ndarray]]) -> None:
        """Do the work; what comes of it is the future's."""
        try:
            self.set_result(work())
        except BaseException as exc:
            self.set_exception(exc)


def executor() -> Any:
    """The threads of submitted runs.

    As many as processors: more would only wait for these. Where the scheduler orders the runs,
    enough for every session to wait in its queue.
    """
    return _threads(_MOST if scheduler.cores() else len(os.sched_getaffinity(0)))


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "edgeinfer", initializer=scheduler.join)
