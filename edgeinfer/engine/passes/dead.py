"""What computes results that nobody reads is removed: nodes of a graph, steps of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from ..graph import Graph
from ..tensor import Tensor


class _Worker(Protocol):
    @property
    def inputs(self) -> Sequence[Tensor | None]: ...

    @property
    def outputs(self) -> Sequence[Tensor]: ...


_W = TypeVar("_W", bound=_Worker)


def needed(workers: Sequence[_W], outputs: Iterable[Tensor]) -> list[_W]:
    """Those nodes or steps that lead to `outputs` or write a state, in their order."""
    read = {id(t) for t in outputs}
    kept: list[_W] = []
    for worker in reversed(workers):
        if any(id(t) in read or t.state for t in worker.outputs):
            kept.append(worker)
            read.update(id(t) for t in worker.inputs if t is not None)
    return kept[::-1]


def remove_dead(graph: Graph) -> None:
    """Keep what leads to an output or writes a state."""
    graph.nodes[:] = needed(graph.nodes, graph.outputs.values())
