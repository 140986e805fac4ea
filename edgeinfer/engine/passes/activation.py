"""RELU and its kin into the float operator before them.

Only floats: a quantised activation node rescales between its own scales, and a pass must not
change a single output.
"""

from __future__ import annotations

from ..graph import Graph, Node

_ACTIVATIONS = {"RELU": "RELU", "RELU6": "RELU6", "RELU_N1_TO_1": "RELU_N1_TO_1"}
_HOSTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL")


def fuse_activations(graph: Graph) -> None:
    """Fold such nodes into attrs["fused_activation_function"] of their producer."""
    producers, consumers = graph.producers(), graph.consumers()
    outputs = {id(t) for t in graph.outputs.values()}
    for node in list(graph.nodes):
        host = producers.get(id(node.inputs[0])) if node.op in _ACTIVATIONS else None
        if host is None or not _can_host(host):
            continue
        middle = host.outputs[0]
        if len(consumers[id(middle)]) > 1 or id(middle) in outputs:
            continue
        host.attrs["fused_activation_function"] = _ACTIVATIONS[node.op]
        host.outputs[0] = node.outputs[0]
        producers[id(node.outputs[0])] = host
        graph.nodes.remove(node)


def _can_host(node: Node) -> bool:
    none = node.attrs.get("fused_activation_function", "NONE") == "NONE"
    return node.op in _HOSTS and none and node.outputs[0].dtype == "float32"
