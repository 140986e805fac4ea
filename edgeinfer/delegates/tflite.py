"""The `tflite` delegate: a part of the graph on ai-edge-litert, or tflite-runtime where that is
what is installed. For what our kernels do not cover, when the user names it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from ..engine import tflite_schema
from ..engine.graph import Graph, Node
from ..engine.tflite_writer import write_tflite
from ..errors import DelegateError
from .base import Delegate, Executable, Refusal

_MISSING = "neither ai-edge-litert nor tflite-runtime is installed: pip install ai-edge-litert"


#: Sets of kernels: XNNPACK where it can, the reference ones, the optimised ones without XNNPACK
#: (for the few operators the reference set lacks).
_RESOLVERS = {"A": "AUTO", "R": "BUILTIN_REF", "B": "BUILTIN_WITHOUT_DEFAULT_DELEGATES"}


def runtime() -> Any:
    """The interpreter module of the runtime that is installed; DelegateError where none is."""
    for name in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        try:
            return import_module(name)
        except ImportError:
            continue
    raise DelegateError(_MISSING)


class _Bound:
    """An interpreter whose tensors are copied from and to the plan's arena."""

    def __init__(
        self,
        interpreter: Any,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
    ) -> None:
        self.interpreter = interpreter
        indices = [d["index"] for d in interpreter.get_input_details()]
        self.inputs = list(zip(indices, inputs, strict=True))
        indices = [d["index"] for d in interpreter.get_output_details()]
        self.outputs = list(zip(indices, outputs, strict=True))

    def run(self) -> None:
        """Copy in, invoke, copy out; DelegateError where the runtime fails."""
        # No view may be held over invoke(): the runtime refuses to run then.
        for index, view in self.inputs:
            np.copyto(self.interpreter.tensor(index)(), view, casting="no")
        try:
            self.interpreter.invoke()
        except RuntimeError as exc:
            raise DelegateError(f"tflite failed while running: {exc}") from exc
        for index, view in self.outputs:
            value = self.interpreter.tensor(index)()
            if value.shape != view.shape:
                raise DelegateError(
                    f"tflite gave an output of shape {value.shape} for {view.shape}: shapes that "
                    "depend on the data are not supported"
                )
            np.copyto(view, value, casting="no")


class TfliteDelegate(Delegate):
    """Takes the operators of the schema and LiteRT's own custom ones.

    The runtime has the last word when a part is compiled. `tolerance` is one unit of the integers:
    an operator that only the runtime's optimised kernels have may round in its own way.
    """

    name = "tflite"
    tolerance = 1.0

    def available(self) -> str | None:
        try:
            runtime()
        except DelegateError as exc:
            return str(exc)
        return None

    def supports(self, node: Node) -> Refusal | None:
        known = tflite_schema.carries_options(node.op) or node.op in tflite_schema.LITERT_CUSTOM
        if not known:
            return Refusal("operators of the runtime only", node.op, "the public TFLite schema")
        state = next((t for t in node.inputs if t is not None and t.state), None)
        if state is not None:
            return Refusal("no memory between runs", str(state), "state belongs to the arena")
        return None

    def compile(self, part: Graph, rounding: str = "xnnpack") -> bytes:
        """A letter for the runtime's set of kernels, then the .tflite bytes."""
        data = write_tflite(part)
        letters = "A" if rounding == "xnnpack" else "RB"
        for letter in letters:
            try:
                self._open(letter.encode() + data, 1)
                return letter.encode() + data
            except DelegateError:
                if letter == letters[-1]:
                    raise
        raise AssertionError("unreachable")

    def _open(self, compiled: bytes, threads: int) -> Any:
        module, resolver = runtime(), _RESOLVERS.get(compiled[:1].decode("latin-1"))
        if resolver is None:
            raise DelegateError("a part made by another version of this delegate: compile it again")
        kind = getattr(module.OpResolverType, resolver)
        try:
            interpreter = module.Interpreter(
                model_content=compiled[1:],
                num_threads=threads,
                experimental_op_resolver_type=kind,
            )
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as exc:
            raise DelegateError(f"tflite refuses this part of the graph: {exc}") from exc
        return interpreter

    def bind(
        self,
        compiled: bytes,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
        threads: int = 1,
    ) -> Executable:
        return _Bound(self._open(compiled, threads), inputs, outputs)


def create() -> Delegate:
    """The delegate, for the registry."""
    return TfliteDelegate()
