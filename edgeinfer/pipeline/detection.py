"""Perception of a recorded or live road, Frame -> Objects: a detector and a lane finder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..board import Board
from ..engine.deadline import Substitute
from ..engine.model import Model, load
from ..engine.session import Session
from ..engine.tensor import Tensor
from ..errors import UnsupportedError
from ..image import Detections, ImageTransform, decode_fastestdet, decode_yolo5, nms
from .inference import calibrate, infer, substitutes
from .lane import LaneFinder
from .messages import MAX_BOXES, Box, Frame, Message, Objects
from .monitor import CameraMonitor
from .stage import Stage, Timing

_OVERLAP = 0.45  # IoU above which the weaker of two boxes of a class is dropped
DECODERS = ("ssd", "fastestdet", "yolo5")
#: The 80 classes of COCO in the order of YOLO-style detectors.
COCO80 = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,"
    "stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,"
    "backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,"
    "baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,"
    "banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,"
    "oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
).split(",")


def recognise(outputs: Mapping[str, Tensor]) -> str:
    """Which decoder the outputs call for: "ssd", "fastestdet" or "yolo5"; UnsupportedError else."""
    shapes = [t.shape for t in outputs.values()]
    if len(shapes) == 4 and any(len(s) == 3 and s[-1] == 4 for s in shapes):
        return "ssd"
    if len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][-1] > 5 and shapes[0][1] <= 64:
        return "fastestdet"
    if len(shapes) == 1 and len(shapes[0]) == 3 and 5 < 4 * shapes[0][-1] < shapes[0][1]:
        return "yolo5"
    raise UnsupportedError(
        f"outputs {[list(s) for s in shapes]} are of no detector known here; name one with "
        f"--decoder ({', '.join(DECODERS)})"
    )


def dequantised(session: Session, name: str) -> np.ndarray:
    """An output as float32 real values."""
    tensor, view = session.outputs[name], session[name]
    if not tensor.quantised:
        return view.astype(np.float32)
    return (tensor.scale * (view.astype(np.float32) - tensor.zero)).astype(np.float32)


class Detector:
    """A detection model bound to its session: image -> boxes as fractions of the image.

    `decoder` "ssd", "fastestdet", "yolo5" or "" to recognise it by the outputs. SSD models want
    pixels as their input is quantised; the others RGB, FastestDet BGR, all 0..1.
    """

    def __init__(
        self,
        model: str | Path,
        board: str | Board = "host",
        threads: int = 1,
        decoder: str = "",
        threshold: float = 0.4,
        labels: list[str] | None = None,
        substitutes: Sequence[Substitute] = (),
    ) -> None:
        source = load(model)
        self.session = Session(source, board, threads, substitutes=substitutes)
        self.decoder = decoder or recognise(self.session.outputs)
        self.threshold = threshold
        own = source.labels if isinstance(source, Model) else []
        self.labels = labels or own or (list(COCO80) if self.decoder != "ssd" else [])
        (self._name,) = self.session.inputs
        self._input = self.session.inputs[self._name]
        self._transform: ImageTransform | None = None

    def _prepare(self, shape: tuple[int, ...]) -> ImageTransform:
        tensor = self._input
        real = self.decoder != "ssd" or tensor.dtype == "float32"
        scale, mean = (1 / 255, 0.0) if self.decoder != "ssd" else (1 / 127.5, 127.5)
        quant = (tensor.scale or 1.0, tensor.zero) if real else (1.0, 0)
        return ImageTransform(
            shape, tensor.shape, tensor.dtype, "stretch",
            "rgb->bgr" if self.decoder == "fastestdet" else "rgb->rgb",
            mean if real else 0.0, scale if real else 1.0, quant,
        )  # fmt: skip

    def __call__(self, image: np.ndarray) -> tuple[Box, ...]:
        """Boxes of a uint8 [height, width, 3] RGB image, best first, at most MAX_BOXES."""
        self.prepare(image)
        self.session.run()
        return self.boxes()

    def prepare(self, image: np.ndarray) -> None:
        """Write the image into the session's input."""
        if self._transform is None or self._transform.source_shape != image.shape:
            self._transform = self._prepare(image.shape)
        self._transform(image, self.session[self._name])

    def boxes(self) -> tuple[Box, ...]:
        """The boxes in the session's outputs, best first."""
        decode: dict[str, Callable[[], tuple[Box, ...]]] = {
            "ssd": self._ssd,
            "fastestdet": lambda: self._decoded(decode_fastestdet, 1.0),
            "yolo5": lambda: self._decoded(decode_yolo5, float(self._input.shape[1])),
        }
        return decode[self.decoder]()

    def _ssd(self) -> tuple[Box, ...]:
        values = [self.session[n] for n in self.session.outputs]
        boxes = next(v for v in values if v.ndim == 3)[0]
        classes, scores = (v[0] for v in values if v.ndim == 2)
        count = int(next(v for v in values if v.ndim == 1)[0])
        rows = zip(boxes[:count], classes[:count], scores[:count], strict=True)
        found = [
            Box(int(c), float(s), float(x0), float(y0), float(x1), float(y1))
            for (y0, x0, y1, x1), c, s in rows
            if s >= self.threshold
        ]
        # The suppression inside such models (IoU 0.6) leaves several boxes on one vehicle.
        corners = np.array([(b.x0, b.y0, b.x1, b.y1) for b in found], np.float32).reshape(-1, 4)
        kept = nms(
            corners,
            np.array([b.score for b in found]),
            np.array([b.label for b in found]),
            _OVERLAP,
        )
        return tuple(found[i] for i in kept[:MAX_BOXES])

    def _decoded(self, decode: Callable[..., Detections], size: float) -> tuple[Box, ...]:
        (name,) = self.session.outputs
        found = decode(dequantised(self.session, name), self.threshold)
        keep = nms(found.boxes, found.scores, found.classes, _OVERLAP)[:MAX_BOXES]
        return tuple(
            Box(int(found.classes[i]), float(found.scores[i]), *map(float, found.boxes[i] / size))
            for i in keep
        )


class DashcamPerception(Stage):
    """Objects of a forward camera: what the detector finds, and the lane.

    Against the clock the detector has the stage's budget. Where it cannot keep it, `smaller` stands
    in, a model of the same inputs and outputs; else the last boxes, for at most `hold_ms` (by
    default `timing.max_age_ms`), with the stamp of the frame they were seen in.
    """

    name = "perception"
    inputs = ("source",)

    def __init__(
        self,
        timing: Timing,
        model: str | Path,
        board: str | Board = "host",
        decoder: str = "",
        threshold: float = 0.4,
        labels: list[str] | None = None,
        smaller: str | Path | None = None,
        hold_ms: float | None = None,
        threads: int = 1,
    ) -> None:
        self.timing, self.model, self.board, self.threads = timing, model, board, threads
        self.smaller, self.hold_ms = smaller, hold_ms
        self.decoder, self.threshold, self.labels = decoder, threshold, labels

    def open(self) -> None:
        """Load the detector."""
        self.detector = Detector(
            self.model, self.board, self.threads, self.decoder, self.threshold, self.labels,
            substitutes(self.timing, self.smaller, self.hold_ms),
        )  # fmt: skip
        calibrate(self.detector.session)
        self._seen = (0, 0)  # number and stamp of the frame that the last boxes were seen in
        self.lane = LaneFinder()
        self._monitor = CameraMonitor()

    def step(self, inputs: Mapping[str, Message]) -> Objects | None:
        """Detect and find the lane in the newest frame; nothing where the camera is at fault."""
        frame = inputs["source"]
        assert isinstance(frame, Frame)
        if self._monitor.fault(frame.image):
            return None
        self.detector.prepare(frame.image)
        outcome = infer(self, self.detector.session)
        if not outcome.valid:
            return None
        if outcome.substitute != "last":
            self._seen = (frame.seq, frame.stamp_ns)
        boxes = self.detector.boxes()
        return Objects(*self._seen, self.lane(frame.image, boxes), boxes)
