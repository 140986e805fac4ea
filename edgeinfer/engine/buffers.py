"""Buffers: stretches of the arena, and which tensors live where in them while a plan is made."""

from __future__ import annotations

from dataclasses import dataclass, field

from .ops import Step
from .tensor import Tensor


@dataclass(eq=False)
class Buffer:
    """A stretch of the arena that one or more tensors live in."""

    size: int
    members: list[Tensor] = field(default_factory=list)


class Layout:
    """Working state of `plan_memory`: the steps that are left, and where every tensor lies."""

    def __init__(self, steps: list[Step], inputs: list[Tensor], outputs: list[Tensor]) -> None:
        self.steps = list(steps)
        self.inputs = {id(t) for t in inputs}
        self.outputs = {id(t) for t in outputs}
        self.where: dict[int, tuple[Buffer, int]] = {}
        self.strides: dict[int, int] = {}
        for tensor in [*inputs, *outputs, *(t for s in steps for t in s.tensors)]:
            self.own(tensor)

    def own(self, tensor: Tensor) -> None:
        """Give the tensor memory of its own, if it has none yet."""
        if not tensor.constant and id(tensor) not in self.where:
            self.where[id(tensor)] = (Buffer(tensor.bytes, [tensor]), 0)

    def alone(self, tensor: Tensor) -> bool:
        """Whether nothing else lives in the tensor's buffer."""
        return id(tensor) in self.where and len(self.where[id(tensor)][0].members) == 1

    def stride(self, tensor: Tensor) -> int:
        """Elements from a row of the tensor's last dimension to the next."""
        return self.strides.get(id(tensor), tensor.shape[-1])

    def movable(self, tensor: Tensor) -> bool:
        """Whether the tensor is the plan's own: not an input, output, constant or state."""
        mine = id(tensor) in self.where and not tensor.state
        return mine and id(tensor) not in self.inputs and id(tensor) not in self.outputs

    def same_values(self, tensor: Tensor, other: Tensor) -> bool:
        """Whether the bytes of both mean the same."""
        return (tensor.dtype, tensor.zero, tensor.scale) == (other.dtype, other.zero, other.scale)

    def merge(self, tensor: Tensor, into: Tensor, shift: int = 0) -> None:
        """Put the tensor's whole buffer at `shift` bytes inside `into`."""
        buffer, base = self.where[id(tensor)]
        target, offset = self.where[id(into)]
        for member in buffer.members:
            self.where[id(member)] = (target, self.where[id(member)][1] - base + offset + shift)
        target.members.extend(buffer.members)

    def uses(self, tensor: Tensor) -> list[int]:
        """Indices of the steps that read or write the tensor."""
        return [i for i, s in enumerate(self.steps) if any(t is tensor for t in s.tensors)]
