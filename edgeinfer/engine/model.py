"""Model: a file opened and checked, with its signature, labels and hash."""

from __future__ import annotations

import mmap
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, UnsupportedError
from .saved import Plan

if TYPE_CHECKING:
    from .graph import Graph
    from .metadata import Normalisation
    from .tensor import Tensor


@dataclass(eq=False)
class Model:
    """A model file.

    `inputs` and `outputs` map names (of the file's signature, else of its tensors) to Tensor;
    `labels` are the class names the file carries (empty where none), `normalisation` how an input's
    pixels are to be scaled, by input name, where the file says so; `metadata` are the named
    buffers; `hash` is the SHA-256 of the file, hexadecimal; `data` the file's bytes.
    """

    graph: Graph
    path: str
    hash: str
    format: str
    description: str = ""
    signature: str = ""
    labels: list[str] = field(default_factory=list)
    normalisation: dict[str, Normalisation] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    data: Any = field(default=None, repr=False)

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Input tensors by name."""
        return self.graph.inputs

    @property
    def outputs(self) -> dict[str, Tensor]:
        """Output tensors by name."""
        return self.graph.outputs

    @property
    def macs(self) -> dict[str, int]:
        """Multiply-accumulates of one run by the type they take in: {"int8": 300774272}.

        Counted are convolutions, dense layers and LSTM, of the operators our kernels know.
        """
        from .ops import Context, lower

        found: Counter[str] = Counter()
        for node in self.graph.nodes:
            try:
                step = lower(node, Context())
            except UnsupportedError:
                continue
            if step.macs:
                found[node.input(0).dtype] += step.macs
        return dict(found)


def load(path: str | Path) -> Model | Plan:
    """Open a model (.tflite) or a saved plan, recognised by content.

    Raises ModelError where the file is absent, damaged or of no known kind.
    """
    data = _map(path)
    if data[:8] == b"EIPLAN\r\n":
        return Plan.load(path)
    if data[4:8] == b"TFL3":
        return from_tflite(data, str(path))
    if data[:1] == b"\x08" and str(path).endswith(".onnx"):
        raise UnsupportedError(
            f"{path}: ONNX models are not read yet; convert it to .tflite (onnx2tf) first"
        )
    raise ModelError(f"{path}: neither a .tflite model nor a saved plan ({len(data)} bytes)")


def from_tflite(data: Any, path: str = "model") -> Model:
    """A Model from the bytes of a .tflite file; `path` names it in errors."""
    # Imported here: who opens a saved plan needs none of it, and starts the sooner.
    import hashlib

    from .metadata import read_labels, read_metadata
    from .tflite import read_tflite

    found = read_tflite(data, path)
    digest = hashlib.sha256(data).hexdigest()
    model = Model(found.graph, path, digest, "tflite", found.description, found.signature)
    model.metadata, model.data = dict(found.metadata), data
    said = read_metadata(found.metadata.get("TFLITE_METADATA", b""), path)
    model.description = said.description or found.description
    model.labels = read_labels(data, said.labels)
    names = list(model.inputs)
    model.normalisation = {names[i]: n for i, n in said.normalisation.items() if i < len(names)}
    return model


def _map(path: str | Path) -> Any:
    try:
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError as exc:
        raise ModelError(f"{path}: the file is empty; get it again") from exc
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read ({exc.strerror}); check the path") from exc
