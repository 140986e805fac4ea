"""Resource variables (VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE, CALL_ONCE) become states.

A variable is one Tensor with `state=True`: a read copies it out, an assignment copies into it (the
memory planner drops the copies it can). The initialisation subgraph of CALL_ONCE may only assign
constants, and those are the states' first values.
"""

from __future__ import annotations

from ...errors import UnsupportedError
from ..graph import Graph, Node
from ..tensor import Tensor


def resolve_variables(graph: Graph) -> None:
    """Rewrite the graph in place; UnsupportedError where a variable is used in another way."""
    states: dict[str, Tensor] = {}
    handles: dict[int, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op == "VAR_HANDLE":
            handles[id(node.outputs[0])] = _key(node)
        elif node.op == "CALL_ONCE":
            _initialise(node, states)
        elif node.op in ("READ_VARIABLE", "ASSIGN_VARIABLE"):
            nodes.append(_access(node, states, handles))
        else:
            nodes.append(node)
    graph.nodes[:] = nodes


def _key(node: Node) -> str:
    return f"{node.attrs.get('container', '')}/{node.attrs.get('shared_name', '')}"


def _initialise(call: Node, states: dict[str, Tensor]) -> None:
    handles: dict[int, str] = {}
    for node in call.attrs["init_subgraph"].nodes:
        if node.op == "VAR_HANDLE":
            handles[id(node.outputs[0])] = _key(node)
        elif node.op == "ASSIGN_VARIABLE" and node.input(1).constant:
            value = node.input(1)
            key = handles[id(node.input(0))]
            states[key] = _state(key, value)
            states[key].data = value.data
        else:
            raise UnsupportedError(
                f"CALL_ONCE: {node.op} in the initialisation subgraph; only the assignment of "
                "constants to variables is supported"
            )


def _state(key: str, like: Tensor) -> Tensor:
    return Tensor("state" + key, like.shape, like.dtype, like.quant, state=True)


def _access(node: Node, states: dict[str, Tensor], handles: dict[int, str]) -> Node:
    key = handles.get(id(node.input(0)))
    if key is None:
        raise UnsupportedError(f"{node.op} {node.name!r}: its handle is not made by a VAR_HANDLE")
    value = node.outputs[0] if node.op == "READ_VARIABLE" else node.input(1)
    state = states.setdefault(key, _state(key, value))
    if (state.shape, state.dtype) != (value.shape, value.dtype):
        raise UnsupportedError(
            f"variable {key!r} is {state.dtype}{list(state.shape)} but {node.op} uses it as "
            f"{value.dtype}{list(value.shape)}; variables of changing shape are not supported"
        )
    if node.op == "READ_VARIABLE":
        return Node("RESHAPE", [state], [value], name=node.name)
    return Node("RESHAPE", [value], [state], name=node.name)
