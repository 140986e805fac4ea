"""TFLite metadata: what a model says of itself beyond its graph.

Source: the public schema tflite-support/metadata_schema.fbs (identifier M001) and its convention
that label files are appended to the model as a zip archive.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import Any

from .flatbuffer import Reader, Table

_MAX_LABELS = 1 << 20
_NORMALISATION = 1  # number of NormalizationOptions in the union of process units
_LABEL_FILES = (2, 3)  # types of associated file: labels of an axis, labels of values
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    RuntimeError,
    OverflowError,
)


@dataclass(frozen=True)
class Normalisation:
    """(x - mean) / std of pixel values 0..255, one entry or one per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass
class Metadata:
    """The parts of the metadata that are used here.

    `normalisation` by the position of the input; `labels` are the names of label files of outputs.
    """

    name: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    licence: str = ""
    normalisation: dict[int, Normalisation] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)


def read_metadata(raw: Any, what: str = "model") -> Metadata:
    """Metadata of a "TFLITE_METADATA" buffer; empty where it is of another version.

    ModelError where it is damaged.
    """
    reader = Reader(raw, f"{what} (metadata)")
    if len(reader.data) < 8 or bytes(reader.data[4:8]) != b"M001":
        return Metadata()
    root = reader.root()
    name, description, version, author, licence = (root.string(i) for i in (0, 1, 2, 4, 5))
    found = Metadata(name, description, version, author, licence)
    graphs = root.tables(3, "subgraph")
    if graphs:
        for i, tensor in enumerate(graphs[0].tables(2, "input")):
            _normalisation(tensor, i, found)
        for tensor in graphs[0].tables(3, "output"):
            found.labels += _label_files(tensor)
    return found


def _normalisation(tensor: Table, index: int, found: Metadata) -> None:
    for unit in tensor.tables(4, "process unit"):
        options = unit.table(1, "normalisation")
        if options is not None and unit.scalar(0, "u8") == _NORMALISATION:
            mean, std = options.numbers(0, "f32").tolist(), options.numbers(1, "f32").tolist()
            if mean and std and 0 not in std:
                found.normalisation[index] = Normalisation(tuple(mean), tuple(std))


def _label_files(tensor: Table) -> list[str]:
    files = tensor.tables(6, "associated file")
    return [f.string(0) for f in files if f.scalar(2, "i8") in _LABEL_FILES]


def read_labels(data: Any, wanted: list[str]) -> list[str]:
    """Lines of the label file in the zip archive at the end of a model; [] where there is none.

    `wanted` names the files that the metadata calls labels; else the first .txt is taken. A damaged
    archive counts as none: the model itself does not depend on it.
    """
    if bytes(data[-22:-18]) != b"PK\x05\x06":
        return []
    try:
        with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
            files = {i.filename: i for i in archive.infolist()}
            names = [n for n in wanted if n in files] or [n for n in files if n.endswith(".txt")]
            if not names or files[names[0]].file_size > _MAX_LABELS:
                return []
            text = archive.read(names[0]).decode("utf-8", "replace")
    except _DAMAGED:
        return []
    return [line.strip() for line in text.splitlines()]
