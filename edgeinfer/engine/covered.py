"""The part of a model that our kernels cover, for a runtime that keeps the rest."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UnsupportedError
from . import ops, passes
from .binding import part_of
from .graph import Graph, Node
from .plan import evaluate
from .tensor import RESOURCE


def parse_nodes(text: str) -> list[int]:
    """Indices of "3-40" or "0-4,7,9-12"; ValueError where it is neither."""
    found: list[int] = []
    for piece in text.split(","):
        first, _, last = piece.partition("-")
        if not first.isdigit() or not (last or first).isdigit():
            raise ValueError(f"nodes {text!r}: give indices as 3-40 or 0-4,7, or auto")
        found += range(int(first), int(last or first) + 1)
    return found


def largest_part(graph: Graph, rounding: str = "xnnpack") -> list[int]:
    """Indices of the nodes of the part with the most work among those that our kernels cover.

    A part is what TFLite's own partitioner makes one kernel of. UnsupportedError, with the first
    refusal, where nothing is covered.
    """
    refusals: list[str] = []
    wanted = {i for i in range(len(graph.nodes)) if _covered(graph, i, rounding, refusals)}
    while True:
        parts = partitions(graph, wanted)
        if not parts:
            raise UnsupportedError(f"our kernels cover no operator: {refusals[0]}")
        best = max(parts, key=lambda part: (_work(graph, part, rounding), len(part)))
        if len(parts) == 1:
            return best
        wanted = set(best)


def _covered(graph: Graph, i: int, rounding: str, refusals: list[str]) -> bool:
    """Whether the node can be lowered, by itself or with the constants before it."""
    node = graph.nodes[i]
    if any(t is not None and t.dtype == RESOURCE for t in (*node.inputs, *node.outputs)):
        refusals.append(f"{node.op} {node.name!r}: variables stay with the runtime")
        return False
    try:
        part = part_of(graph, [*_constants_before(graph, node), i])
        part = passes.prepare(part, evaluate, isa="ref", rounding=rounding, optimise=False)
        for prepared in part.nodes:
            ops.lower(prepared, ops.Context(rounding))
    except UnsupportedError as refusal:
        refusals.append(str(refusal))
        return False
    return True


def _constants_before(graph: Graph, node: Node) -> list[int]:
    """Nodes whose values are known at plan time and that this one reads, such as the float16
    weights of a layer made float32."""
    producers = {id(t): i for i, n in enumerate(graph.nodes) for t in n.outputs}
    before = [producers[id(t)] for t in node.inputs if id(t) in producers]
    return [i for i in before if all(t is None or t.constant for t in graph.nodes[i].inputs)]


def _work(graph: Graph, part: Sequence[int], rounding: str) -> int:
    """Multiply-accumulates of the nodes, as far as they are known."""
    total = 0
    for i in part:
        try:
            total += ops.lower(graph.nodes[i], ops.Context(rounding)).macs
        except UnsupportedError:
            continue
    return total


def partitions(graph: Graph, wanted: set[int]) -> list[list[int]]:
    """The parts that TFLite replaces by one kernel each when a delegate asks for these nodes.

    As its partitioner does (graph_info.cc): by turns all nodes of one sort that have their inputs
    are taken, until none is left. A set so made depends on nothing of the other sort that depends
    on it.
    """
    producers = {id(t): i for i, n in enumerate(graph.nodes) for t in n.outputs}
    done: set[int] = set()
    parts: list[list[int]] = []

    def ready(i: int) -> bool:
        reads = (producers.get(id(t)) for t in graph.nodes[i].inputs if t is not None)
        return all(p is None or p in done for p in reads)

    while len(done) < len(graph.nodes):
        left = [i for i in range(len(graph.nodes)) if i not in done]
        sort = next(i for i in left if ready(i)) in wanted
        taken: list[int] = []
        for i in left:  # in order of execution: what a node reads comes before it
            if (i in wanted) == sort and ready(i):
                done.add(i)
                taken.append(i)
        if sort:
            parts.append(taken)
    return parts
