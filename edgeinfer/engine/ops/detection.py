"""TFLite_Detection_PostProcess: the SSD detectors' box decoding and non-maximum suppression.

Exceptions
    Outputs past the number of detections are zeros; LiteRT's fast form leaves what was there.
    Scores exactly equal: the first box, and the lower class, comes first; LiteRT's fast form with
        several classes per box leaves their order open.
"""

from __future__ import annotations

from typing import Any

from ..graph import Node
from . import Context, Step, rule
from .checks import EIGHT_BIT, expect_shape, expect_types, refuse


@rule("TFLite_Detection_PostProcess")
def detection_postprocess(node: Node, ctx: Context) -> Step:
    """Inputs: box encodings [1, n, 4+], class scores [1, n, classes (+1)], anchors [n, 4]; outputs
    boxes [1, m, 4] (ymin, xmin, ymax, xmax), classes [1, m], scores [1, m], count [1], float32.
    Options come from the node's custom options."""
    boxes, scores, anchors = (node.input(i) for i in range(3))
    for t in (boxes, scores, anchors):
        expect_types(node, t, ("float32", *EIGHT_BIT))
    values = _options(node)
    n = boxes.shape[1] if len(boxes.shape) == 3 else 0
    if len(scores.shape) != 3 or scores.shape[2] - values["classes"] not in (0, 1):
        raise refuse(node, f"{scores} does not hold {values['classes']} classes")
    expect_shape(node, boxes, (1, n, max(4, boxes.shape[-1])))
    expect_shape(node, scores, (1, n, scores.shape[2]))
    expect_shape(node, anchors, (n, 4))
    places = values["max_detections"] * values["classes_per_detection"]
    for y, shape in zip(
        node.outputs, ((1, places, 4), (1, places), (1, places), (1,)), strict=True
    ):
        expect_types(node, y, ("float32",))
        if y.shape == ():  # converters leave it out, since the options determine it
            y.shape = shape
        expect_shape(node, y, shape)
    return Step(
        "DETECTION_POSTPROCESS", [boxes, scores, anchors], list(node.outputs), "detection", values
    )


def _options(node: Node) -> dict[str, Any]:
    given = node.attrs.get("custom_options")
    options = given if isinstance(given, dict) else node.attrs
    needed = ("max_detections", "max_classes_per_detection", "num_classes")
    missing = [name for name in needed if name not in options]
    if missing:
        raise refuse(node, f"its options lack {', '.join(missing)}")
    values = {
        "max_detections": int(options["max_detections"]),
        "classes_per_detection": int(options["max_classes_per_detection"]),
        "detections_per_class": int(options.get("detections_per_class", 100)),
        "classes": int(options["num_classes"]),
        "regular_nms": int(bool(options.get("use_regular_nms", False))),
        "score_threshold": float(options.get("nms_score_threshold", 0.0)),
        "iou_threshold": float(options.get("nms_iou_threshold", 0.0)),
    }
    values |= {f"{k}_scale": float(options.get(f"{k}_scale", 0.0)) for k in "yxhw"}
    if not 0 < values["iou_threshold"] <= 1 or 0 in [values[f"{k}_scale"] for k in "yxhw"]:
        raise refuse(node, "its nms_iou_threshold must lie in (0, 1] and its box scales not be 0")
    return values
