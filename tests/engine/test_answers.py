"""Right answers: the real models on real data give the results their folder's README states."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edgeinfer as ei
from edgeinfer.image import Detections, ImageTransform, decode_fastestdet, nms
from tests.conftest import shared_path

Truth = list[tuple[int, np.ndarray]]
#: (mean, scale) of inputs with scale 1/128 and zero point 128: the pixels themselves.
_PIXELS = (128.0, 1 / 128)


def _session(model: str) -> ei.Session:
    return ei.Session(ei.load(shared_path(f"models/{model}.tflite")))


def _read(path: Path, mode: int = cv2.IMREAD_COLOR) -> np.ndarray:
    image = cv2.imread(str(path), mode)
    assert image is not None, path
    return np.asarray(image)


def _rgb(path: Path) -> np.ndarray:
    return np.ascontiguousarray(_read(path)[:, :, ::-1])


def _real(session: ei.Session, name: str) -> np.ndarray:
    tensor, view = session.outputs[name], session[name]
    if not tensor.quantised:
        return np.asarray(view, np.float32)
    return np.asarray((view.astype(np.float32) - tensor.zero) * tensor.scale, np.float32)


def _see(
    session: ei.Session, image: np.ndarray, mean: float, scale: float, colour: str = "rgb->rgb"
) -> list[np.ndarray]:
    """Real values of every output for an RGB image, stretched: (pixel - mean) * scale."""
    ((name, x),) = session.inputs.items()
    quant = (x.scale, x.zero) if x.quantised else (1.0, 0)
    transform = ImageTransform(
        image.shape, x.shape, x.dtype, "stretch", colour, mean, scale, quant=quant
    )
    transform(image, session[name])
    session.run()
    return [_real(session, name) for name in session.outputs]


@pytest.mark.parametrize(
    ("model", "scores"),
    [
        ("mobilenet_v1_0.25_224_1_metadata_1", (0.99, 0.49)),
        ("mobilenet_v1_0.25_224_quant", (0.97, 0.43)),
    ],
)
def test_classification(model: str, scores: tuple[float, float]) -> None:
    labels = shared_path("models/classify/imagenet_labels.txt").read_text().splitlines()
    session = _session(f"classify/{model}")
    wanted = {"burger.jpg": "cheeseburger", "cat.png": "Egyptian cat"}
    for (file, label), score in zip(wanted.items(), scores, strict=True):
        image = _rgb(shared_path(f"models/images/{file}"))
        (p,) = _see(session, image, 127.5, 1 / 127.5)
        best = int(p[0].argmax())
        shift = p.shape[1] - len(labels)
        assert label.lower() in labels[best - shift].lower(), (labels[best - shift], p[0].max())
        assert p[0, best] == pytest.approx(score, abs=0.05)


def _truth(labels: Path) -> Truth:
    """COCO class and box x0 y0 x1 y1 of every line of a YOLO label file."""
    found: Truth = []
    for line in labels.read_text().splitlines():
        c, x, y, w, h = map(float, line.split())
        found.append((int(c), np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])))
    return found


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    both = float(np.prod(np.clip(high - low, 0, None)))
    return both / (float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - both)


def _average_precision(hits: list[bool], positives: int) -> float:
    """Area under the precision-recall curve, precision made monotone (VOC 2010, all points)."""
    tp = np.cumsum(hits)
    precision = tp / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((envelope * np.array(hits)).sum() / positives)


def _map50(found: list[Detections], truth: list[Truth]) -> float:
    """Mean over the classes present of the average precision at IoU 0.5."""
    precisions = []
    for c in sorted({c for boxes in truth for c, _ in boxes}):
        rows = [
            (s, i, b) for i, d in enumerate(found) for b, s, k in zip(*d, strict=True) if k == c
        ]
        left = [[b for k, b in boxes if k == c] for boxes in truth]
        positives, hits = sum(map(len, left)), []
        for _, i, box in sorted(rows, key=lambda r: -r[0]):
            overlaps = [_iou(box, b) for b in left[i]]
            hits.append(bool(overlaps) and max(overlaps) >= 0.5)
            if hits[-1]:
                left[i].pop(int(np.argmax(overlaps)))
        precisions.append(_average_precision(hits, positives) if hits else 0.0)
    return float(np.mean(precisions))


def _photos() -> tuple[list[np.ndarray], list[Truth]]:
    folder = shared_path("models/coco_val_ccby")
    files = sorted((folder / "images").glob("*.jpg"))
    truth = [_truth(folder / "labels" / f"{f.stem}.txt") for f in files]
    assert (len(files), sum(map(len, truth))) == (17, 120)
    return [_rgb(f) for f in files], truth


def _fastestdet(session: ei.Session, threshold: float) -> Callable[[np.ndarray], Detections]:
    def detect(image: np.ndarray) -> Detections:
        (head,) = _see(session, image, 0.0, 1 / 255, "rgb->bgr")
        d = decode_fastestdet(head, threshold)
        keep = nms(d.boxes, d.scores, d.classes, 0.45)
        return Detections(d.boxes[keep], d.scores[keep], d.classes[keep])

    return detect


def _ssd(session: ei.Session) -> Callable[[np.ndarray], Detections]:
    """Boxes of the post-processing operator, y0 x0 y1 x1, its 90 classes told apart by name."""
    own = shared_path("models/detect/coco_labels.txt").read_text().splitlines()
    names = shared_path("models/detect/coco80_names.txt").read_text().splitlines()

    def detect(image: np.ndarray) -> Detections:
        boxes, classes, scores, count = _see(session, image, *_PIXELS)
        n = int(count[0])
        ids = [names.index(own[int(c)]) if own[int(c)] in names else -1 for c in classes[0, :n]]
        return Detections(boxes[0, :n][:, [1, 0, 3, 2]], scores[0, :n], np.array(ids, np.int32))

    return detect


FASTESTDET = "detect/FastestDet_{}.derived"
SSD = "detect/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29"


@pytest.mark.parametrize(("kind", "want"), [("float32", 0.432), ("full_integer_quant", 0.393)])
def test_fastestdet(kind: str, want: float) -> None:
    images, truth = _photos()
    detect = _fastestdet(_session(FASTESTDET.format(kind)), 0.01)
    assert _map50([detect(i) for i in images], truth) == pytest.approx(want, abs=0.02)


def test_ssd() -> None:
    images, truth = _photos()
    detect = _ssd(_session(SSD))
    assert _map50([detect(i) for i in images], truth) == pytest.approx(0.333, abs=0.02)


def test_vehicles_on_the_road() -> None:
    """A vehicle (car, bus, truck) in each of the 38 frames."""
    video = cv2.VideoCapture(str(shared_path("models/road/vd_test_video.mp4")))
    detect = _fastestdet(_session(FASTESTDET.format("full_integer_quant")), 0.3)
    seen = []
    while True:
        good, frame = video.read()
        if not good:
            break
        found = detect(np.ascontiguousarray(frame[:, :, ::-1]))
        seen.append(bool(np.isin(found.classes, (2, 5, 7)).any()))
    assert len(seen) == 38
    assert all(seen)


def test_segmentation() -> None:
    """Whatever is not background against the mask (1 and 2 edge of the bird, 3 bird)."""
    image = _rgb(shared_path("models/images/bird_segmentation.png"))
    mask = _read(shared_path("models/images/bird_segmentation_mask.png"), cv2.IMREAD_UNCHANGED)
    (classes,) = _see(_session("segment/deeplabv3_mnv2_dm05_pascal_quant"), image, *_PIXELS)
    seen, wanted = classes[0] > 0, mask > 0
    assert set(np.unique(classes[0][wanted])) >= {3}
    iou = np.count_nonzero(seen & wanted) / np.count_nonzero(seen | wanted)
    assert iou == pytest.approx(0.893, abs=0.001)


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_person(kind: str) -> None:
    images, truth = _photos()
    session = _session(f"person/vww_96_{kind}")
    right = 0
    for image, boxes in zip(images, truth, strict=True):
        (p,) = _see(session, image, 0.0, 1 / 255)
        right += bool(p[0, 1] > p[0, 0]) == any(c == 0 for c, _ in boxes)
    assert right == 15


@pytest.mark.parametrize("model", ["trained_lstm", "trained_lstm_int8", "keras_lstm_mnist_ptq"])
def test_handwritten_digits(model: str) -> None:
    """Each row of the picture is one step of the LSTM."""
    session = _session(f"mnist/{model}")
    ((name, x),) = session.inputs.items()
    (out,) = session.outputs
    quant = (x.scale, x.zero) if x.quantised else (1.0, 0)
    for digit in range(10):
        image = _read(shared_path(f"models/mnist/sample{digit}.png"), cv2.IMREAD_GRAYSCALE)
        transform = ImageTransform(
            image.shape, (28, 28, 1), x.dtype, "stretch", "grey", scale=1 / 255, quant=quant
        )
        session[name] = transform(image).reshape(x.shape)
        session.reset()
        session.run()
        assert int(_real(session, out)[0].argmax()) == digit


def _features(frontend: Any, clip: Path) -> np.ndarray:
    """Rows of 40 log-energies, one for 10 ms of 16 kHz mono sound, as the wake words take them."""
    with wave.open(str(clip)) as file:
        samples = file.readframes(file.getnframes())
    rows = []
    while len(samples) >= 320:
        found = frontend.process_samples(samples[:320])
        samples = samples[2 * found.samples_read :]
        if found.features:
            rows.append(found.features)
    return np.array(rows, np.float32)


@pytest.mark.parametrize("word", ["okay_nabu", "hey_jarvis"])
def test_wake_words(word: str) -> None:
    """The mean of five probabilities passes the cutoff on the word's own clips and on no other."""
    features = pytest.importorskip("pymicro_features", reason="needs pymicro-features")
    settings = json.loads(shared_path(f"models/wakeword/{word}.json").read_text())["micro"]
    session = _session(f"wakeword/{word}")
    ((name, x),) = session.inputs.items()
    (out,) = session.outputs
    clips = sorted(shared_path("models/wakeword/wav").glob("*.wav"))
    assert len(clips) == 6
    for clip in clips:
        session.reset()
        rows = _features(features.MicroFrontend(), clip)
        probabilities = []
        for i in range(0, len(rows) - 2, 3):
            steps = np.rint(rows[i : i + 3] / x.scale) + x.zero
            session[name][0] = np.clip(steps, -128, 127).astype(np.int8)
            session.run()
            probabilities.append(float(_real(session, out)[0, 0]))
        means = np.convolve(probabilities, np.full(5, 0.2), "valid")
        heard = bool(means.max() > settings["probability_cutoff"])
        assert heard == clip.name.startswith(word), (clip.name, means.max())


def test_keywords() -> None:
    """Silence, unknown, yes, no: the winner of each clip.

    The model's own preprocessor runs on TensorFlow Lite Micro alone. Here every second row of the
    same front end at 10 ms stands in for its rows of 20 ms (the noise estimate moves twice as
    often, so "no" scores 104 of 127 instead of 114), scaled as its examples scale them.
    """
    features = pytest.importorskip("pymicro_features", reason="needs pymicro-features")
    session = _session("kws/micro_speech_quantized")
    (name,), (out,) = session.inputs, session.outputs
    for clip, winner in {"yes": 2, "no": 3, "noise": 0, "silence": 0}.items():
        path = shared_path(f"models/kws/{clip}_1000ms.wav")
        rows = _features(features.MicroFrontend(), path)
        rows = np.pad(rows, ((0, max(0, 98 - len(rows))), (0, 0)), "edge")[:98:2]
        steps = np.floor((rows / 0.0390625 * 256 + 333) / 666) - 128
        session[name] = np.clip(steps, -128, 127).astype(np.int8).reshape(session[name].shape)
        session.run()
        assert int(session[out][0].argmax()) == winner, (clip, session[out])
