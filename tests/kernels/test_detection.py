"""TFLite_Detection_PostProcess against LiteRT: fast and regular suppression, float and uint8."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flatbuffers import flexbuffers
from oracle import const, litert, ours, single, tensor

from edgeinfer.engine import ops
from edgeinfer.engine.graph import Graph
from edgeinfer.errors import PlanError, UnsupportedError

OPTIONS = {
    "max_detections": 10,
    "max_classes_per_detection": 1,
    "detections_per_class": 5,
    "use_regular_nms": False,
    "nms_score_threshold": 0.3,
    "nms_iou_threshold": 0.5,
    "num_classes": 6,
    "y_scale": 10.0,
    "x_scale": 10.0,
    "h_scale": 5.0,
    "w_scale": 5.0,
}
BOXES = 120


def _graph(rng: np.random.Generator, dtype: str, background: int = 1, **changes: Any) -> Graph:
    options = OPTIONS | changes
    classes = options["num_classes"] + background
    anchors = rng.uniform(0.1, 0.9, (BOXES, 4))
    anchors[:, 2:] = rng.uniform(0.1, 0.4, (BOXES, 2))
    quants = [(0.05, 128), (1 / 256, 0), (1 / 256, 0)] if dtype == "uint8" else [None] * 3
    stored = anchors if dtype == "float32" else np.rint(anchors * 256)
    inputs = [
        tensor("boxes", (1, BOXES, 4), dtype, quants[0]),
        tensor("scores", (1, BOXES, classes), dtype, quants[1]),
        const("anchors", stored, dtype, quants[2]),
    ]
    n = options["max_detections"] * options["max_classes_per_detection"]
    shapes = ((1, n, 4), (1, n), (1, n), (1,))
    outputs = [tensor(f"y{i}", s, "float32") for i, s in enumerate(shapes)]
    attrs = {"custom_options": options, "custom_bytes": bytes(flexbuffers.Dumps(options))}
    return single("TFLite_Detection_PostProcess", inputs, outputs, **attrs)


def _feeds(rng: np.random.Generator, graph: Graph) -> dict[str, np.ndarray]:
    scores = rng.permuted(np.linspace(0, 0.9, graph.inputs["scores"].count))  # no two are equal
    boxes = rng.normal(0, 1, graph.inputs["boxes"].shape)
    found = {"boxes": boxes, "scores": scores.reshape(graph.inputs["scores"].shape)}
    if graph.inputs["boxes"].dtype == "float32":
        return {k: v.astype(np.float32) for k, v in found.items()}
    return {
        k: np.rint(v / t.scale + t.zero).clip(0, 255).astype(np.uint8)
        for (k, v), t in zip(found.items(), graph.inputs.values(), strict=True)
    }


CASES: list[dict[str, Any]] = [
    {},
    {"background": 0},
    {"max_detections": 40, "nms_score_threshold": 0.01},
    {"nms_score_threshold": 0.89},
    {"use_regular_nms": True},
    {"use_regular_nms": True, "max_detections": 3, "detections_per_class": 50},
    {"use_regular_nms": True, "nms_iou_threshold": 0.1, "max_detections": 30, "background": 0},
    {"max_classes_per_detection": 3},
]


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_detections(case: int, dtype: str) -> None:
    rng = np.random.default_rng(case)
    graph = _graph(rng, dtype, **CASES[case])
    feeds = _feeds(rng, graph)
    want, got = litert(graph, feeds, "xnnpack"), ours(graph, feeds, "xnnpack")
    assert got[3] == want[3]
    n = int(want[3][0]) * (CASES[case].get("max_classes_per_detection", 1))
    np.testing.assert_allclose(got[2][0, :n], want[2][0, :n], rtol=1e-6)
    assert not got[2][0, n:].any()
    if dtype == "float32" or not CASES[case].get("max_classes_per_detection", 1) > 1:
        # uint8 scores repeat: which of a box's equal classes comes first is left open
        np.testing.assert_array_equal(got[1][0, :n], want[1][0, :n])
        np.testing.assert_allclose(got[0][0, :n], want[0][0, :n], rtol=1e-6, atol=1e-7)


def test_int8_equals_uint8() -> None:
    """LiteRT has no int8 form: ours gives what the uint8 one gives for the same real values."""
    rng = np.random.default_rng(1)
    graph = _graph(rng, "uint8")
    feeds = _feeds(rng, graph)
    want = ours(graph, feeds, "xnnpack")
    signed = _graph(np.random.default_rng(1), "uint8")
    for t in [*signed.inputs.values(), signed.nodes[0].input(2)]:
        twin = tensor(t.name, t.shape, "int8", (t.scale, t.zero - 128))
        t.dtype, t.quant = "int8", twin.quant
        t.data = None if t.data is None else (t.data ^ 0x80).view(np.int8)
    flipped = {k: (v ^ 0x80).view(np.int8) for k, v in feeds.items()}
    for a, b in zip(ours(signed, flipped, "xnnpack"), want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_shapes_left_out_of_the_file_are_filled_in() -> None:
    graph = _graph(np.random.default_rng(1), "float32")
    for y in graph.nodes[0].outputs:
        y.shape = ()
    ops.lower(graph.nodes[0], ops.Context())
    assert [y.shape for y in graph.nodes[0].outputs] == [(1, 10, 4), (1, 10), (1, 10), (1,)]


def test_inside_out_boxes_fail_the_run() -> None:
    rng = np.random.default_rng(1)
    graph = _graph(rng, "float32")
    anchors = graph.nodes[0].input(2)
    assert anchors.data is not None
    anchors.data[3, 2] = -1
    with pytest.raises(PlanError):
        ours(graph, _feeds(rng, graph), "xnnpack")


def test_refusals_name_the_option() -> None:
    rng = np.random.default_rng(0)
    node = _graph(rng, "float32").nodes[0]
    del node.attrs["custom_options"]["num_classes"]
    with pytest.raises(UnsupportedError, match="num_classes"):
        ops.lower(node, ops.Context())
    with pytest.raises(UnsupportedError, match="nms_iou_threshold"):
        ops.lower(_graph(rng, "float32", nms_iou_threshold=0.0).nodes[0], ops.Context())
