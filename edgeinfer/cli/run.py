"""edgeinfer run: a model on images, audio or .npy files; labels, boxes or a mask as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from .. import audio, draw
from ..engine.model import Model, load
from ..engine.session import Session
from ..engine.tensor import Tensor
from ..errors import DeviceError, ShapeError, UnsupportedError
from ..image import ImageTransform
from ..pipeline.detection import DECODERS, Detector, dequantised, recognise
from . import text_table

_IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("model", type=Path)
    parser.add_argument("inputs", nargs="+", type=Path, help="images, .wav or .npy files")
    parser.add_argument("--labels", type=Path, help="file of class names, one a line")
    parser.add_argument("--board", default="host")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fallback", help="delegate for what our kernels do not cover")
    parser.add_argument("--decoder", default="", choices=("", *DECODERS))
    parser.add_argument("--threshold", type=float, default=0.4, help="least score of a box")
    parser.add_argument("--top", type=int, default=5, help="classes to print")
    parser.add_argument("--mean", type=float, help="pixel value that means 0 (float models)")
    parser.add_argument("--std", type=float, help="pixel values that make 1 (float models)")
    parser.add_argument("--out", type=Path, default=Path("out/run"), help="folder for pictures")


def run(args: argparse.Namespace) -> int:
    """Run the model on every input."""
    model = load(args.model)
    options = {"fallback": args.fallback} if isinstance(model, Model) else {}
    session = Session(model, args.board, args.threads, **options)
    labels = args.labels.read_text().splitlines() if args.labels else getattr(model, "labels", [])
    detector = _detector(args, session, labels)
    for path in args.inputs:
        print(path)
        if detector is not None and path.suffix.lower() in _IMAGES:
            _detect(detector, path, args.out)
            continue
        _fill(session, model, path, args)
        session.reset()
        session.run()
        _show(session, labels, path, args)
    return 0


def _detector(args: argparse.Namespace, session: Session, labels: list[str]) -> Detector | None:
    """A detector, where the outputs are those of one."""
    try:
        decoder = args.decoder or recognise(session.outputs)
    except UnsupportedError:
        return None
    out = next(iter(session.outputs.values()))
    if not args.decoder and decoder != "ssd" and (out.shape[-1] < 80 or out.shape[-1] > 1024):
        return None
    return Detector(args.model, args.board, args.threads, decoder, args.threshold, labels or None)


def _detect(detector: Detector, path: Path, out: Path) -> None:
    from ..io.file import read_image

    image = read_image(path)
    found = detector(image)
    rows: list[dict[str, object]] = []
    for b in found:
        name = detector.labels[b.label] if b.label < len(detector.labels) else str(b.label)
        corners = " ".join(f"{v:.3f}" for v in (b.x0, b.y0, b.x1, b.y1))
        rows.append({"object": name, "score": round(b.score, 3), "x0 y0 x1 y1": corners})
    print(text_table(rows) or "  nothing found")
    picture = image.copy()
    draw.boxes(picture, found, detector.labels)
    _save(out / f"{path.stem}_boxes.png", picture)


def _save(path: Path, image: np.ndarray) -> None:
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image[:, :, ::-1] if image.ndim == 3 else image):
        raise DeviceError(f"{path}: cannot be written; give another --out")
    print(f"  picture: {path}")


def _fill(session: Session, model: object, path: Path, args: argparse.Namespace) -> None:
    (name, tensor), *rest = session.inputs.items()
    if rest:
        raise ShapeError(f"the model has {1 + len(rest)} inputs; run it from Python")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        session[name] = np.load(path, allow_pickle=False)
    elif suffix in _IMAGES:
        _image(session, name, path, _normalisation(model, name, tensor, args))
    elif suffix == ".wav":
        _audio(session, name, path)
    else:
        raise DeviceError(f"{path}: not an image, .wav or .npy file")


def _normalisation(
    model: object, name: str, tensor: Tensor, args: argparse.Namespace
) -> tuple[float, float]:
    """(mean, std) of pixels: the user's, the file's metadata, or [-1, 1] for floats."""
    known = getattr(model, "normalisation", {}).get(name)
    if known is not None:
        mean, std = float(known.mean[0]), float(known.std[0])
    else:
        mean, std = (127.5, 127.5) if tensor.dtype == "float32" else (0.0, 1.0)
    return (mean if args.mean is None else args.mean), (std if args.std is None else args.std)


def _image(session: Session, name: str, path: Path, norm: tuple[float, float]) -> None:
    from ..io.file import read_image

    tensor = session.inputs[name]
    shape = tensor.shape if len(tensor.shape) == 4 else (*tensor.shape, 1)  # grey [1, h, w] too
    if len(shape) != 4 or shape[3] not in (1, 3):
        raise ShapeError(f"{name!r} {list(tensor.shape)} is no image input; give a .npy file")
    image = read_image(path)
    colour = "rgb->rgb" if shape[3] == 3 else "rgb->grey"
    mean, std = norm
    floats = tensor.dtype == "float32"
    # 8-bit image inputs hold the pixels themselves, int8 less 128.
    transform = ImageTransform(
        image.shape,
        shape,
        tensor.dtype,
        "stretch",
        colour,
        mean=mean if floats else 0.0,
        scale=1.0 / std if floats else 1.0,
        quant=(1.0, -128 if tensor.dtype == "int8" else 0),
    )
    transform(image, session[name].reshape(shape))


def _audio(session: Session, name: str, path: Path) -> None:
    """A model that takes a waveform gets -1..1, cut or filled up; one of features gets those."""
    tensor, samples = session.inputs[name], audio.read_wav(path)
    steps = tensor.count // audio.CHANNELS
    if tensor.dtype == "float32" and tensor.count % audio.CHANNELS:
        wave = np.zeros(tensor.count, np.float32)
        wave[: len(samples)] = samples[: tensor.count] / 32768.0
        session[name][...] = wave.reshape(tensor.shape)
    elif tensor.dtype == "int8" and steps * audio.CHANNELS == tensor.count:
        values = np.zeros((steps, audio.CHANNELS), np.float32)
        found = audio.features(samples)[:steps]
        values[: len(found)] = found
        session[name][...] = audio.quantised(values).reshape(tensor.shape)
    else:
        raise ShapeError(f"{name!r} ({tensor}) takes other features; compute them into a .npy file")


def _show(session: Session, labels: list[str], path: Path, args: argparse.Namespace) -> None:
    for name, tensor in session.outputs.items():
        values = dequantised(session, name)
        if values.size == max(values.shape, default=0) and values.size > 1:
            _classes(values.reshape(-1), labels, args.top)
        elif len(tensor.shape) in (3, 4) and min(tensor.shape[1:3]) > 8:
            _mask(values, path, args.out, labels)
        else:
            flat = " ".join(f"{v:.4g}" for v in values.reshape(-1)[:8])
            print(f"  {name} {list(tensor.shape)}: {flat}{' ...' if values.size > 8 else ''}")


def _classes(values: np.ndarray, labels: list[str], top: int) -> None:
    order = np.argsort(-values, kind="stable")[:top]
    rows: list[dict[str, object]] = [
        {
            "class": labels[i] if i < len(labels) else str(i),
            "index": int(i),
            "score": round(float(values[i]), 4),
        }
        for i in order
    ]
    print(text_table(rows))


def _mask(values: np.ndarray, path: Path, out: Path, labels: list[str]) -> None:
    """A picture of a mask: classes in fixed colours, one channel as grey."""
    image = values[0] if values.shape[0] == 1 else values
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim == 3:
        image = image.argmax(2).astype(np.float32)
    if image.max() <= 1.0 and image.min() >= 0.0 and len(np.unique(image)) > 2:
        _save(out / f"{path.stem}_mask.png", (image * 255).astype(np.uint8))
        return
    classes = image.astype(np.int64)
    rows: list[dict[str, object]] = [
        {
            "class": labels[c] if 0 <= c < len(labels) else str(c),
            "share": f"{np.mean(classes == c):.1%}",
        }
        for c in np.unique(classes)
    ]
    print(text_table(rows))
    colours = np.array([[(37 * k) % 256, (97 * k) % 256, (157 * k) % 256] for k in range(256)])
    _save(out / f"{path.stem}_mask.png", colours[classes % 256].astype(np.uint8))
