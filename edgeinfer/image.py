"""Pictures to tensors in one pass, and detectors' numbers to boxes: the image path in C.

The arithmetic is defined in csrc/image/image.h; every instruction set gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._native import DTYPES, ISAS, check, ffi, lib
from .errors import ShapeError

Array = npt.NDArray[Any]

_LAYOUTS = {"stretch": 0, "letterbox": 1, "crop": 2}
_FILTERS = {"bilinear": 0, "nearest": 1, "area": 2}
_CHANNELS = {"rgb": "rgb", "bgr": "bgr", "rgba": "rgba", "bgra": "bgra", "grey": "y"}


def _choose(table: dict[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise ValueError(f"{what} {name!r} is unknown: use one of {', '.join(table)}")
    return table[name]


def _colour(colour: str) -> tuple[int, int, list[int], bool]:
    """(source channels, tensor channels, source channel of each, to grey) of "rgb->bgr"."""
    source, _, dest = colour.partition("->")
    have = _choose(_CHANNELS, source, "colour")
    want = _choose(_CHANNELS, dest or source, "colour")
    if want == "y" and have != "y":
        return len(have), 1, [have.index(c) for c in "rgb"], True
    order = [0 if have == "y" else have.find(c) for c in want]
    if min(order) < 0 or (have == "y" and "a" in want):
        raise ValueError(f"colour {colour!r}: the source has no alpha channel")
    return len(have), len(want), order, False


def _spread(values: float | Sequence[float], n: int, what: str) -> list[float]:
    found = np.asarray(values, np.float32).ravel()
    if len(found) not in (1, n):
        raise ValueError(f"{what} has {len(found)} values for {n} channels")
    return [float(v) for v in np.broadcast_to(found, (n,))]


@dataclass(frozen=True)
class Placement:
    """Where the picture lies in the tensor: tensor = source * scale + offset, in pixels."""

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float

    def to_source(self, boxes: Array) -> Array:
        """Boxes (n, 4) x0 y0 x1 y1 in tensor pixels, in source pixels (float32)."""
        offset = np.array([self.offset_x, self.offset_y] * 2, np.float32)
        return (np.asarray(boxes, np.float32) - offset) / np.array(
            [self.scale_x, self.scale_y] * 2, np.float32
        )


class ImageTransform:
    """Resize, crop or letterbox, colour, normalise and quantise, straight into a tensor.

    `source_shape` (H, W) or (H, W, C) of uint8 frames; `tensor_shape` (H, W, C) or (1, H, W, C) of
    `dtype` uint8, int8 or float32. real = (pixel - mean) * scale; 8-bit: q = real / quant[0] +
    quant[1], nearest even, saturated. `crop` (y, x, height, width) uses that part of the source.
    `pad` is the letterbox colour in pixel values. Half-pixel centres, as OpenCV and TFLite's
    half_pixel_centers. Raises ValueError or ShapeError where options or sizes do not fit.
    """

    def __init__(
        self,
        source_shape: Sequence[int],
        tensor_shape: Sequence[int],
        dtype: Any = "uint8",
        layout: str = "letterbox",
        colour: str = "rgb->rgb",
        mean: float | Sequence[float] = 0.0,
        scale: float | Sequence[float] = 1.0,
        quant: tuple[float, int] = (1.0, 0),
        filter: str = "bilinear",
        crop: Sequence[int] = (0, 0, 0, 0),
        pad: float | Sequence[float] = 114.0,
        isa: str | None = None,
    ) -> None:
        channels, depth, order, grey = _colour(colour)
        self.dtype = np.dtype(dtype)
        self.source_shape = (int(source_shape[0]), int(source_shape[1]), channels)
        self.tensor_shape = tuple(int(d) for d in tensor_shape)
        self._check_shapes(source_shape, depth, colour)
        crop_y, crop_x, crop_height, crop_width = crop
        options = {
            "source_height": self.source_shape[0],
            "source_width": self.source_shape[1],
            "source_channels": channels,
            "crop_y": crop_y,
            "crop_x": crop_x,
            "crop_height": crop_height,
            "crop_width": crop_width,
            "height": self.tensor_shape[-3],
            "width": self.tensor_shape[-2],
            "channels": depth,
            "layout": _choose(_LAYOUTS, layout, "layout"),
            "filter": _choose(_FILTERS, filter, "filter"),
            "grey": int(grey),
            "order": order,
            "dtype": _choose(DTYPES, self.dtype.name, "dtype"),
            "isa": -1 if isa is None else _choose({n: i for i, n in enumerate(ISAS)}, isa, "isa"),
            "mean": _spread(mean, depth, "mean"),
            "scale": _spread(scale, depth, "scale"),
            "quant_scale": quant[0],
            "quant_zero": quant[1],
            "pad": _spread(pad, depth, "pad"),
        }
        self._plan(ffi.new("ei_image_options *", options))

    def _check_shapes(self, source: Sequence[int], depth: int, colour: str) -> None:
        if len(source) == 3 and source[2] != self.source_shape[2]:
            raise ShapeError(f"source shape {tuple(source)} does not suit colour {colour!r}")
        shape = self.tensor_shape
        if len(shape) not in (3, 4) or shape[-1] != depth or (len(shape) == 4 and shape[0] != 1):
            raise ShapeError(f"tensor shape {shape} is not (1, H, W, {depth}) of {colour!r}")

    def _plan(self, options: Any) -> None:
        size = lib.ei_image_plan_bytes(options)
        if not size:
            raise ValueError("image sizes or crop are out of range (sides 1..16384, crop inside)")
        self._memory = ffi.new("char[]", size)
        self._ptr = ffi.cast("ei_image_plan *", self._memory)
        check(lib.ei_image_plan_init(options, self._ptr, size), what="image transform")
        self._work = ffi.new("char[]", lib.ei_image_workspace_bytes(self._ptr))
        self.isa: str = ISAS[lib.ei_image_plan_isa(self._ptr)]
        t = ffi.new("ei_image_transform *")
        check(lib.ei_image_plan_transform(self._ptr, t))
        self.placement = Placement(t.scale_x, t.scale_y, t.offset_x, t.offset_y)

    def __call__(self, frame: Array, out: Array | None = None) -> Array:
        """Fill `out` (a view into the arena; new where absent) from uint8 `frame`; returns it."""
        if out is None:
            out = np.empty(self.tensor_shape, self.dtype)
        h, w, c = self.source_shape
        shape = (h, w) if frame.ndim == 2 and c == 1 else (h, w, c)
        if frame.dtype != np.uint8 or frame.shape != shape:
            raise ShapeError(f"frame {frame.dtype}{frame.shape} is not uint8{shape}")
        if frame.strides[1:] != (c, 1)[: frame.ndim - 1] or frame.strides[0] < w * c:
            frame = np.ascontiguousarray(frame)
        if out.dtype != self.dtype or out.shape != self.tensor_shape or not out.flags.c_contiguous:
            raise ShapeError(
                f"out {out.dtype}{out.shape} is not contiguous {self.dtype}{self.tensor_shape}"
            )
        if not out.flags.writeable:
            raise ShapeError("out is read-only")
        stride = frame.strides[0]
        status = lib.ei_image_run(
            self._ptr, ffi.cast("uint8_t *", frame.ctypes.data), stride * (h - 1) + w * c, stride,
            ffi.cast("void *", out.ctypes.data), out.nbytes, self._work,
        )  # fmt: skip
        check(status, what="image transform")
        return out


class Detections(NamedTuple):
    """Boxes (n, 4) float32, scores (n,) float32, class ids (n,) int32."""

    boxes: Array
    scores: Array
    classes: Array


def _floats(values: Array, what: str, *tail: int) -> Array:
    a = np.ascontiguousarray(values, np.float32)
    if a.ndim < len(tail) or a.shape[a.ndim - len(tail) :] != tail:
        raise ShapeError(f"{what} of shape {a.shape} does not end in {tail}")
    return a


def _p(array: Array, kind: str = "float *") -> Any:
    return ffi.cast(kind, array.ctypes.data)


def nms(
    boxes: Array,
    scores: Array,
    classes: Array | None = None,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
    limit: int | None = None,
) -> Array:
    """Indices (int32) kept by greedy suppression, best first, ties by index; `classes` apart."""
    b, s = _floats(boxes, "boxes", 4).reshape(-1, 4), _floats(scores, "scores").ravel()
    c = None if classes is None else np.ascontiguousarray(classes, np.int32).ravel()
    if len(b) != len(s) or (c is not None and len(c) != len(s)):
        raise ShapeError(f"{len(b)} boxes, {len(s)} scores: the counts differ")
    n = len(s)
    kept = np.empty(n if limit is None else min(limit, n), np.int32)
    work, count = np.empty(2 * n, np.int32), ffi.new("int32_t *")
    ids = ffi.NULL if c is None else _p(c, "int32_t *")
    status = lib.ei_box_nms(
        _p(b), _p(s), ids, n, score_threshold, iou_threshold,
        _p(kept, "int32_t *"), len(kept), count, _p(work, "int32_t *"),
    )  # fmt: skip
    check(status, what="nms")
    return kept[: count[0]]


def _collect(capacity: int, what: str, call: Any) -> Detections:
    boxes, scores = np.empty((capacity, 4), np.float32), np.empty(capacity, np.float32)
    ids, count = np.empty(capacity, np.int32), ffi.new("int32_t *")
    check(call(_p(boxes), _p(scores), _p(ids, "int32_t *"), capacity, count), what=what)
    n = count[0]
    return Detections(boxes[:n], scores[:n], ids[:n])


def decode_yolo5(predictions: Array, score_threshold: float = 0.25) -> Detections:
    """YOLOv5 output (..., 5 + classes), x y w h objectness classes: x0 y0 x1 y1, before NMS."""
    p = _floats(predictions, "predictions")
    columns = p.shape[-1]
    n = p.size // max(columns, 1)
    return _collect(
        n, "yolov5", lambda *to: lib.ei_yolo5_decode(_p(p), n, columns - 5, score_threshold, *to)
    )


def decode_yolo5_grid(
    head: Array, stride: float, anchors: Array, score_threshold: float = 0.25
) -> Detections:
    """One raw YOLOv5 head (height, width, anchors, 5 + classes), anchors (n, 2) in pixels."""
    p, sizes = _floats(head, "head"), _floats(anchors, "anchors", 2)
    if p.ndim != 4 or p.shape[2] != len(sizes):
        raise ShapeError(f"head {p.shape} is not (height, width, {len(sizes)}, 5 + classes)")
    h, w, a, columns = p.shape
    return _collect(
        h * w * a, "yolov5",
        lambda *to: lib.ei_yolo5_decode_grid(
            _p(p), h, w, a, columns - 5, stride, _p(sizes), score_threshold, *to
        ),
    )  # fmt: skip


def decode_fastestdet(head: Array, score_threshold: float = 0.3) -> Detections:
    """FastestDet head ([1,] height, width, 5 + classes): boxes x0 y0 x1 y1 in 0..1, before NMS."""
    p = _floats(head, "head")
    p = p[0] if p.ndim == 4 and p.shape[0] == 1 else p
    if p.ndim != 3:
        raise ShapeError(f"head {p.shape} is not (height, width, 5 + classes)")
    h, w, columns = p.shape
    return _collect(
        h * w, "fastestdet",
        lambda *to: lib.ei_fastestdet_decode(_p(p), h, w, columns - 5, score_threshold, *to),
    )  # fmt: skip


def decode_ssd(
    codes: Array,
    scores: Array,
    anchors: Array,
    *,
    classes: int,
    max_detections: int = 10,
    classes_per_detection: int = 1,
    detections_per_class: int = 100,
    regular_nms: bool = False,
    score_threshold: float = 1e-8,
    iou_threshold: float = 0.6,
    scales: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0),
) -> Detections:
    """TFLite_Detection_PostProcess over dequantised floats; `scales` are those of y, x, h, w.

    codes (n, 4), scores (n, classes or 1 + classes), anchors (n, 4): boxes y0 x0 y1 x1 in 0..1.
    """
    b, s, a = (
        _floats(v, w) for v, w in ((codes, "codes"), (scores, "scores"), (anchors, "anchors"))
    )
    n, columns = a.shape[0], s.shape[-1]
    if b.size != 4 * n or s.size != n * columns or a.size != 4 * n:
        raise ShapeError(f"codes {b.shape}, scores {s.shape}, anchors {a.shape} do not agree")
    fields = (
        n, classes, columns, max_detections, classes_per_detection, detections_per_class,
        int(regular_nms), score_threshold, iou_threshold, *scales,
    )  # fmt: skip
    options = ffi.new("ei_ssd_options *", fields)
    size = lib.ei_ssd_decode_bytes(options)
    if not size:
        raise ValueError(f"SSD options are out of range: {fields}")
    per_box = 1 if regular_nms else classes_per_detection
    out = np.empty((max_detections * per_box, 6), np.float32)
    boxes, ids, best = out[:, :4].copy(), out[:, 4].copy(), out[:, 5].copy()
    count, room = ffi.new("int32_t *"), ffi.new("char[]", size)
    to = (_p(boxes), _p(ids), _p(best), count, room)
    check(lib.ei_ssd_decode(options, _p(b), _p(s), _p(a), *to), what="SSD")
    found = count[0] * per_box
    return Detections(boxes[:found], best[:found], ids[:found].astype(np.int32))
