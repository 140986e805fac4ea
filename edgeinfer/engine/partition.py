"""Which node runs where: our kernels first, then the delegates that the user named.

Nodes that our kernels refuse are grouped into parts, each a small graph that one delegate
compiles. Nothing falls back unless it was named; the first refusal is then the error.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import delegates
from ..errors import UnsupportedError
from . import ops
from .graph import Graph, Node
from .planfile import Part
from .tensor import Tensor


def lower_all(
    graph: Graph, ctx: ops.Context, fallback: str | Sequence[str] | None
) -> tuple[list[ops.Step], list[Part]]:
    """The steps of the graph and the parts compiled for delegates."""
    names = [fallback] if isinstance(fallback, str) else list(fallback or ())
    steps: list[ops.Step] = []
    parts: list[Part] = []
    group: list[Node] = []
    for node in graph.nodes:
        try:
            step = ops.lower(node, ctx)
        except UnsupportedError as refusal:
            if not names:
                raise
            _taker([node], names, refusal)
            group.append(node)
            continue
        _flush(graph, group, names, ctx.rounding, steps, parts)
        steps.append(step)
    _flush(graph, group, names, ctx.rounding, steps, parts)
    return steps, parts


def _taker(nodes: list[Node], names: Sequence[str], refusal: Exception) -> str:
    """The first delegate that takes all the nodes; else an error with every reason."""
    reasons = [str(refusal)]
    for name in names:
        delegate = delegates.get(name)
        absent = delegate.available()
        said = [absent] if absent else [delegate.supports(n) for n in nodes]
        if not any(said):
            return name
        reasons += [f"{name}: {reason}" for reason in said if reason]
    raise UnsupportedError("; ".join(reasons))


def _flush(
    graph: Graph,
    group: list[Node],
    names: Sequence[str],
    rounding: str,
    steps: list[ops.Step],
    parts: list[Part],
) -> None:
    if not group:
        return
    part = _subgraph(graph, group)
    name = _taker(group, names, UnsupportedError("no kernel of ours"))
    parts.append(Part(name, delegates.get(name).compile(part, rounding)))
    inputs: list[Tensor | None] = [*part.inputs.values()]
    label = "+".join(dict.fromkeys(n.op for n in group))
    values = {"part": len(parts) - 1}
    steps.append(ops.Step("DELEGATE", inputs, [*part.outputs.values()], values=values, name=label))
    group.clear()


def _subgraph(graph: Graph, group: list[Node]) -> Graph:
    mine = {id(n) for n in group}
    made = {id(t) for n in group for t in n.outputs}
    read = {id(t) for n in graph.nodes if id(n) not in mine for t in n.inputs if t is not None}
    read |= {id(t) for t in graph.outputs.values()}
    inputs = {
        f"in{id(t)}": t
        for n in group
        for t in n.inputs
        if t is not None and not t.constant and id(t) not in made
    }
    outputs = {f"out{id(t)}": t for n in group for t in n.outputs if id(t) in read}
    ins = {f"in{i}": t for i, t in enumerate(inputs.values())}
    outs = {f"out{i}": t for i, t in enumerate(outputs.values())}
    return Graph(graph.name, list(group), ins, outs)
