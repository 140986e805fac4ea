"""Decoding and suppression against plain numpy and LiteRT."""

import numpy as np
import pytest

from edgeinfer import image
from tests.conftest import shared_path


def iou(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    common = max(w, np.float32(0)) * max(h, np.float32(0))
    if common <= 0:
        return 0
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def plain_nms(boxes, scores, classes, threshold, least):
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        same = (k for k in kept if classes is None or classes[k] == classes[i])
        if scores[i] > least and all(iou(boxes[k], boxes[i]) <= threshold for k in same):
            kept.append(i)
    return kept


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("per_class", [False, True])
def test_nms_equals_plain_numpy(seed, per_class):
    rng = np.random.default_rng(seed)
    n = [0, 1, 2, 60, 120, 300][seed]
    corner, size = rng.uniform(0, 60, (n, 2)), rng.uniform(0, 30, (n, 2))
    boxes = np.concatenate([corner, corner + size], 1).astype(np.float32)
    scores = (rng.integers(0, 40, n) / 40).astype(np.float32)  # many ties
    classes = rng.integers(0, 3, n).astype(np.int32) if per_class else None
    got = image.nms(boxes, scores, classes, 0.4, 0.1)
    want = plain_nms(boxes, scores, classes, 0.4, 0.1)
    assert got.tolist() == want
    assert image.nms(boxes, scores, classes, 0.4, 0.1, limit=5).tolist() == want[:5]


def test_nms_never_keeps_nan():
    boxes = np.array([[0, 0, 1, 1], [5, 5, 6, 6]], np.float32)
    assert image.nms(boxes, np.array([np.nan, 0.5], np.float32)).tolist() == [1]


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def test_fastestdet_equals_its_formula():
    rng = np.random.default_rng(1)
    head = rng.normal(0, 1, (4, 6, 85)).astype(np.float32)
    head[..., 0] = rng.uniform(0, 1, (4, 6))
    head[..., 5:] = rng.uniform(0, 1, (4, 6, 80))
    score = head[..., 0] ** 0.6 * head[..., 5:].max(-1) ** 0.4
    ys, xs = np.nonzero(score > 0.5)
    p = head[ys, xs]
    cx, cy = (xs + np.tanh(p[:, 1])) / 6, (ys + np.tanh(p[:, 2])) / 4
    w, h = sigmoid(p[:, 3]), sigmoid(p[:, 4])
    want = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 1)
    got = image.decode_fastestdet(head, 0.5)
    np.testing.assert_allclose(got.boxes, want, atol=1e-5)
    np.testing.assert_allclose(got.scores, score[ys, xs], rtol=1e-5)
    np.testing.assert_array_equal(got.classes, p[:, 5:].argmax(-1))


def test_yolo5_grid_and_decoded_forms_agree():
    rng = np.random.default_rng(2)
    head = rng.normal(0, 2, (3, 5, 3, 9)).astype(np.float32)
    anchors = np.array([[10, 13], [16, 30], [33, 23]], np.float32)
    s = sigmoid(head.astype(np.float64))
    cell = np.stack(np.meshgrid(np.arange(5), np.arange(3)), -1)[:, :, None]
    xy, wh = (2 * s[..., :2] - 0.5 + cell) * 8, (2 * s[..., 2:4]) ** 2 * anchors
    flat = np.concatenate([xy, wh, s[..., 4:]], -1).reshape(-1, 9).astype(np.float32)
    a = image.decode_yolo5_grid(head, 8, anchors, 0.4)
    b = image.decode_yolo5(flat, 0.4)
    assert len(a.scores) > 5
    np.testing.assert_allclose(a.boxes, b.boxes, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(a.scores, b.scores, rtol=1e-5)
    np.testing.assert_array_equal(a.classes, b.classes)
    corners = np.concatenate([flat[:, :2] - flat[:, 2:4] / 2, flat[:, :2] + flat[:, 2:4] / 2], 1)
    keep = flat[:, 4] * flat[:, 5:].max(-1) > 0.4
    np.testing.assert_allclose(b.boxes, corners[keep], rtol=1e-5)


def test_ssd_equals_litert_on_a_real_detector():
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    cv2 = pytest.importorskip("cv2")
    path = shared_path("models/detect/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite")
    models = path.parents[1]
    lite = interpreter.Interpreter(str(path), experimental_preserve_all_tensors=True)
    lite.allocate_tensors()
    op = next(o for o in lite._get_ops_details() if "PostProcess" in o["op_name"])
    for photo in sorted((models / "coco_val_ccby/images").glob("*.jpg"))[:4]:
        frame = cv2.resize(cv2.cvtColor(cv2.imread(str(photo)), cv2.COLOR_BGR2RGB), (300, 300))
        lite.set_tensor(lite.get_input_details()[0]["index"], frame[None])
        lite.invoke()
        values = []
        for index in op["inputs"]:
            scale, zero = lite._get_tensor_details(index, 0)["quantization"]
            q = lite.get_tensor(index).astype(np.float32)
            values.append((q - np.float32(zero)) * np.float32(scale) if scale else q)
        codes, scores, anchors = values
        got = image.decode_ssd(codes[0], scores[0], anchors, classes=90)
        boxes, classes, best = (lite.get_tensor(i)[0] for i in op["outputs"][:3])
        n = len(got.scores)
        assert n == int(lite.get_tensor(op["outputs"][3])[0])
        np.testing.assert_allclose(got.scores, best[:n], rtol=1e-6)
        np.testing.assert_allclose(got.boxes, boxes[:n], atol=1e-6)
        np.testing.assert_array_equal(got.classes, classes[:n])


def test_ssd_regular_suppresses_each_class_alone():
    anchors = np.array([[0.5, 0.5, 1, 1], [0.5, 0.5, 1, 1], [0.2, 0.2, 0.1, 0.1]], np.float32)
    scores = np.array([[0, 0.9, 0.3], [0, 0.8, 0.7], [0, 0.1, 0.6]], np.float32)
    codes = np.zeros((3, 4), np.float32)
    options = {"classes": 2, "iou_threshold": 0.5, "score_threshold": 0.2, "max_detections": 5}
    regular = image.decode_ssd(codes, scores, anchors, regular_nms=True, **options)
    np.testing.assert_allclose(regular.scores, [0.9, 0.7, 0.6], rtol=1e-6)
    assert regular.classes.tolist() == [0, 1, 1]
    fast = image.decode_ssd(codes, scores, anchors, **options)
    np.testing.assert_allclose(fast.scores, [0.9, 0.6], rtol=1e-6)
    np.testing.assert_allclose(fast.boxes[0], [0, 0, 1, 1], atol=1e-6)
    with pytest.raises(ValueError, match="out of range"):
        image.decode_ssd(codes, scores, anchors, **{**options, "max_detections": 0})
