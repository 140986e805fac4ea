"""The `tflite` delegate: a part of the graph on ai-edge-litert, or tflite-runtime where that is
what is installed. For what our kernels do not cover, when the user names it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine import tflite_schema
from ..engine.graph import Graph, Node
from ..engine.tflite_writer import write_tflite
from ..errors import DelegateError
from .base import Delegate, Executable, Refusal

_MISSING = "neither ai-edge-litert nor tflite-runtime is installed: pip install ai-edge-litert"


def interpreter_class() -> Any:
    """The Interpreter class of the runtime that is installed; DelegateError where none is."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError as exc:
            raise DelegateError(_MISSING) from exc
    return Interpreter


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

    The runtime has the last word when a part is compiled. `tolerance` stands for no bound: where it runs, no
    kernel of ours defines the right answer.
    """

    name = "tflite"
    tolerance = 1.0

    def available(self) -> str | None:
        try:
            interpreter_class()
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

    def compile(self, part: Graph) -> bytes:
        data = write_tflite(part)
        self._open(data, 1)  # a part the runtime refuses must fail now, not on the road
        return data

    def _open(self, data: bytes, threads: int) -> Any:
        try:
            interpreter = interpreter_class()(model_content=data, num_threads=threads)
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
