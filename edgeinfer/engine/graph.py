"""Graph: nodes and tensors of one model, in execution order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..errors import ModelError
from .tensor import Tensor


@dataclass(eq=False)
class Node:
    """One operator.

    `op` is the TFLite operator name ("CONV_2D"; custom operators by their own name). `inputs` may
    hold None for an absent optional input. `attrs` holds the operator's options under the names of
    the public TFLite schema (stride_h, padding="SAME", fused_activation_function="RELU6", ...).
    """

    op: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    attrs: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    def input(self, i: int) -> Tensor:
        """The i-th input, which must be there."""
        tensor = self.inputs[i] if i < len(self.inputs) else None
        if tensor is None:
            raise ModelError(f"{self.op} {self.name!r} has no input {i}; get the model again")
        return tensor

    def optional(self, i: int) -> Tensor | None:
        """The i-th input, or None where it is absent."""
        return self.inputs[i] if i < len(self.inputs) else None

    def __str__(self) -> str:
        outs = ", ".join(str(t) for t in self.outputs)
        return f"{self.op} -> {outs}"


@dataclass(eq=False)
class Graph:
    """Nodes in execution order, with named inputs and outputs."""

    name: str
    nodes: list[Node]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor once, in order of first use."""
        seen: set[int] = set()
        for tensor in self._uses():
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield tensor

    def _uses(self) -> Iterator[Tensor]:
        yield from self.inputs.values()
        for node in self.nodes:
            yield from (t for t in node.inputs if t is not None)
            yield from node.outputs
        yield from self.outputs.values()

    def consumers(self) -> dict[int, list[Node]]:
        """id(tensor) -> the nodes that read it."""
        readers: dict[int, list[Node]] = {}
        for node in self.nodes:
            for tensor in node.inputs:
                if tensor is not None:
                    readers.setdefault(id(tensor), []).append(node)
        return readers

    def producers(self) -> dict[int, Node]:
        """id(tensor) -> the node that writes it."""
        return {id(t): node for node in self.nodes for t in node.outputs}
