"""Model: opening files, what their metadata say, labels, flexbuffer options."""

from __future__ import annotations

import hashlib
import io
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import flatbuffers
import numpy as np
import pytest
from flatbuffers import flexbuffers

from edgeinfer.engine.flatbuffer import read_flexbuffer
from edgeinfer.engine.graph import Graph, Node
from edgeinfer.engine.metadata import Normalisation, read_labels, read_metadata
from edgeinfer.engine.model import Model, load
from edgeinfer.engine.plan import build
from edgeinfer.engine.session import Session
from edgeinfer.engine.tensor import Tensor
from edgeinfer.engine.tflite import read_tflite
from edgeinfer.engine.tflite_writer import write_tflite
from edgeinfer.errors import ModelError, UnsupportedError
from tests import models
from tests.conftest import shared_path


@pytest.fixture(scope="module")
def small() -> bytes:
    return write_tflite(models.network("uint8"))


def zipped(**files: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("_", "."), text)
    return out.getvalue()


def opened(path: Path, data: bytes) -> Model:
    path.write_bytes(data)
    model = load(path)
    assert isinstance(model, Model)
    return model


def test_load(tmp_path: Path, small: bytes) -> None:
    model = opened(tmp_path / "m.tflite", small)
    assert model.hash == hashlib.sha256(small).hexdigest()
    assert model.format == "tflite"
    assert model.inputs["x"].shape == (1, 16, 16, 3)
    assert model.labels == []
    assert model.path.endswith("m.tflite")


def test_labels_are_appended_as_a_zip(tmp_path: Path, small: bytes) -> None:
    data = small + zipped(labels_txt="cat\ndog \n\nowl\n")
    assert opened(tmp_path / "m.tflite", data).labels == ["cat", "dog", "", "owl"]


def test_metadata_says_which_file_holds_labels() -> None:
    data = b"model" + zipped(vocabulary_txt="wrong", names_txt="right")
    assert read_labels(data, ["names.txt"]) == ["right"]


def test_damaged_archive_counts_as_none() -> None:
    good = zipped(labels_txt="cat\n" * 100)
    rng = np.random.default_rng(0)
    for _ in range(300):
        bad = bytearray(good)
        for at in rng.integers(0, len(bad) - 22, 3):
            bad[at] = rng.integers(0, 256)
        assert isinstance(read_labels(bytes(bad), []), list)


def metadata(mean: list[float], std: list[float]) -> bytes:
    """A minimal metadata buffer: one input with normalisation, one output with a label file."""
    b = flatbuffers.Builder(256)

    def table(slots: dict[int, int], kind: tuple[int, int] | None = None) -> int:
        b.StartObject(8)
        if kind is not None:
            b.PrependUint8Slot(*kind, 0)
        for slot, offset in slots.items():
            b.PrependUOffsetTRelativeSlot(slot, offset, 0)
        return int(b.EndObject())

    def vector(*offsets: int) -> int:
        b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            b.PrependUOffsetTRelative(offset)
        return int(b.EndVector())

    values = {i: b.CreateNumpyVector(np.float32(v)) for i, v in enumerate((mean, std))}
    unit = table({1: table(values)}, (0, 1))
    image = table({4: vector(unit)})
    file = table({0: b.CreateString("names.txt")}, (2, 2))
    graph = table({2: vector(image), 3: vector(table({6: vector(file)}))})
    texts = {i: b.CreateString(t) for i, t in ((0, "a name"), (1, "a text"), (5, "Apache-2.0"))}
    b.Finish(table(texts | {3: vector(graph)}), b"M001")
    return bytes(b.Output())


def test_metadata_is_read() -> None:
    said = read_metadata(metadata([127.5], [128.0]))
    assert (said.name, said.description, said.licence) == ("a name", "a text", "Apache-2.0")
    assert said.normalisation == {0: Normalisation((127.5,), (128.0,))}
    assert said.labels == ["names.txt"]
    assert read_metadata(metadata([1.0], [0.0])).normalisation == {}
    assert read_metadata(b"").labels == []


def test_damaged_metadata_is_an_error() -> None:
    data = metadata([1.0], [2.0])
    for size in range(8, len(data) - 16, 4):
        with pytest.raises(ModelError, match=r"m \(metadata\): damaged"):
            read_metadata(data[:size], "m")
    rng = np.random.default_rng(0)
    for _ in range(1000):
        bad = bytearray(data)
        for at in rng.integers(0, len(bad), 2):
            bad[at] = rng.integers(0, 256)
        with suppress(ModelError):
            read_metadata(bytes(bad))


def test_real_labels_and_normalisation() -> None:
    model = load(shared_path("models/classify/mobilenet_v1_0.25_224_1_metadata_1.tflite"))
    assert isinstance(model, Model)
    assert len(model.labels) == 1001
    assert model.labels[934] == "cheeseburger"
    assert model.normalisation["input"] == Normalisation((127.5,), (127.5,))
    ssd = load(shared_path("models/detect/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"))
    assert isinstance(ssd, Model)
    assert "car" in ssd.labels


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"hello, this is not a model", "neither"), (b"\0\0\0\0TFL3", "TFL3")],
)
def test_what_is_no_model(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=words) as error:
        load(path)
    assert str(path) in str(error.value)


def test_absent_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.tflite", tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            load(path)


def test_onnx_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x08\x12\x07pytorch" + b"\0" * 20)
    with pytest.raises(UnsupportedError, match="ONNX"):
        load(path)


VALUES: list[Any] = [
    {"max_detections": 10, "nms_iou_threshold": 0.6, "use_regular_nms": False, "y_scale": 10.0},
    {"deep": {"list": [1, -2, 3.5, "text", None], "blob": b"\0\1\2"}, "long": 1 << 40},
    [1, 2, 300, 70000],
    ["a", "b"],
    "text",
    -7,
]


@pytest.mark.parametrize("value", VALUES)
def test_flexbuffers_read_as_they_were_written(value: Any) -> None:
    assert read_flexbuffer(flexbuffers.Dumps(value), "options") == value


def test_options_of_custom_operators() -> None:
    options = VALUES[0]
    x, y = Tensor("x", (1, 4), "float32"), Tensor("y", (1, 4), "float32")
    attrs = {"custom_bytes": bytes(flexbuffers.Dumps(options))}
    graph = Graph("g", [Node("MINE", [x], [y], attrs)], {"x": x}, {"y": y})
    node = read_tflite(write_tflite(graph)).graph.nodes[0]
    assert node.op == "MINE"
    assert node.attrs["custom_options"] == options
    attrs["custom_bytes"] = b"no flexbuffer"
    node = read_tflite(write_tflite(graph)).graph.nodes[0]
    assert bytes(node.attrs["custom_bytes"]) == b"no flexbuffer"
    assert node.attrs["custom_options"] is None


@pytest.mark.parametrize(("rounding", "scores"), [("xnnpack", (113, -60)), ("tflite", (113, -57))])
def test_person_detector_of_the_old_form(rounding: str, scores: tuple[int, int]) -> None:
    """LiteRT refuses its scales' axis; with the axis repaired, it and we agree to the bit."""
    path = shared_path("models/person/person_detect.tflite")
    graph = read_tflite(path.read_bytes()).graph
    repaired = write_tflite(graph)
    for image, score in zip(("person", "no_person"), scores, strict=True):
        file = str(path.with_name(image + ".bmp"))
        pixels = cv2.imread(file, cv2.IMREAD_GRAYSCALE).view(np.int8).reshape(1, 96, 96, 1)
        session = Session(build(graph, rounding=rounding))
        session["input"] = pixels
        session.run()
        (output,) = session.outputs
        feeds = {"input": pixels}
        want = models.litert(repaired, feeds, reference=rounding == "tflite")[output]
        np.testing.assert_array_equal(session[output], want)
        assert int(want[0, 1]) == score


def test_signatures_of_every_shared_model() -> None:
    table = shared_path("models/SIGNATURES.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in table[1:] if line.split("\t")[0].endswith(".tflite")]
    assert len(rows) > 20
    for row in rows:
        graph = read_tflite(shared_path("models/" + row[0]).read_bytes()).graph
        for column, tensors in ((row[3], graph.inputs), (row[4], graph.outputs)):
            for text, tensor in zip(column.split(", "), tensors.values(), strict=True):
                name, _, form = text.split(" s=")[0].rpartition(":")
                dtype, _, shape = form.split("(")[0].rstrip("]").partition("[")
                assert dtype == tensor.dtype, row[0]
                # The post-processing operator's outputs have no shape in the file.
                assert tensor.shape == () or shape == "x".join(map(str, tensor.shape)), row[0]
                assert name == tensor.name or not name or tensor.name.startswith("tensor "), row[0]
