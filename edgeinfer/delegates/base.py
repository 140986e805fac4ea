"""The contract of a delegate: who runs a part of a plan."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..engine.graph import Graph, Node


@dataclass(frozen=True)
class Refusal:
    """Why a delegate does not take a node: the rule, the node's value, the limit, a way out."""

    rule: str
    value: str
    limit: str
    rewrite: str = ""

    def __str__(self) -> str:
        way = f"; {self.rewrite}" if self.rewrite else ""
        return f"{self.rule}: {self.value}, limit {self.limit}{way}"


class Executable(Protocol):
    """A compiled part bound to its memory."""

    def run(self) -> None:
        """Read the inputs, compute, write the outputs."""


class Delegate(ABC):
    """Runs parts of graphs. `tolerance` 0 means: integers bit-exact with our kernels."""

    name: str
    tolerance: float = 0.0

    @abstractmethod
    def available(self) -> str | None:
        """None where it can run here, else the reason why not and the fix."""

    @abstractmethod
    def supports(self, node: Node) -> Refusal | None:
        """None where it takes the node."""

    @abstractmethod
    def compile(self, part: Graph, rounding: str = "xnnpack") -> bytes:
        """What is stored in the plan for this part; `rounding` as in `engine.plan.build`.

        DelegateError where the part cannot be compiled: better now than on the road.
        """

    @abstractmethod
    def bind(
        self,
        compiled: bytes,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
        threads: int = 1,
    ) -> Executable:
        """The compiled part on the memory given: views of the plan's arena, in the order of the
        part's inputs and outputs. DelegateError where it cannot run here.
        """
