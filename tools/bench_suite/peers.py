"""The peers: what to install for each, in an environment of its own, and how its twins are made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import portable

HERE = Path(__file__).resolve().parent
#: Peer -> packages of its environment, with what makes its twins. LiteRT is a dependency of ours.
PACKAGES = {
    "onnxruntime": ["onnxruntime==1.32.0", "onnx"],
    "openvino": ["openvino==2026.4.1"],
    "ncnn": ["ncnn", "pnnx"],
    "mnn": ["MNN==3.6.1"],
    "executorch": ["executorch==1.4.1", "torch"],
    "tflite": ["tflite-runtime==2.14.0", "numpy<2"],
}


class Failed(Exception):
    """A step that did not work; the text is the last line the program printed."""


def _do(command: Sequence[object], folder: Path | None = None) -> None:
    done = subprocess.run(
        [str(c) for c in command], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
        errors = [line for line in lines if "error" in line.lower()] or lines
        raise Failed(f"{Path(str(command[0])).name}: {errors[-1].strip()[:200]}")


def python_of(envs: Path, peer: str) -> Path:
    """The interpreter of a peer's environment."""
    return envs / peer / "bin" / "python"


def setup(envs: Path, peers: Sequence[str]) -> dict[str, str]:
    """Make the environments that are missing; returns the reason for each that failed."""
    failed = {}
    for peer in [p for p in peers if p in PACKAGES]:
        wanted, stamp = " ".join(PACKAGES[peer]), envs / peer / "installed"
        if stamp.exists() and stamp.read_text() == wanted:
            continue
        print(f"setting up {peer}", flush=True)
        try:
            if not python_of(envs, peer).exists():
                _do([sys.executable, "-m", "venv", envs / peer])
            _do([python_of(envs, peer), "-m", "pip", "install", "-q", *PACKAGES[peer]])
            stamp.write_text(wanted)
        except Failed as exc:
            failed[peer] = str(exc)
    return failed


def _onnx(model: Path, envs: Path) -> None:
    _do([python_of(envs, "onnxruntime"), HERE / "twin_onnx.py", model.with_suffix(".npz"),
         model.with_suffix(".onnx")])  # fmt: skip


def _float_onnx(model: Path, peer: str) -> Path:
    if model.stem.endswith("int8"):
        raise Failed(f"{peer}: its package for Python has no static int8 quantiser")
    onnx = model.with_suffix(".onnx")
    if not onnx.exists():
        raise Failed(f"{peer}: needs {onnx.name}, which could not be made")
    return onnx


def _mnn(model: Path, envs: Path) -> None:
    """Its default form of an LSTM crashes the converter, the other does not."""
    onnx, target = _float_onnx(model, "mnn"), model.with_suffix(".mnn")
    convert = [envs / "mnn" / "bin" / "mnnconvert", "-f", "ONNX", "--modelFile", onnx,
               "--MNNModel", target, "--bizCode", "suite"]  # fmt: skip
    try:
        _do(convert)
    except Failed:
        _do([*convert, "--useOriginRNNImpl"])
    if not target.exists():
        raise Failed("mnnconvert: wrote nothing")


def _ncnn(model: Path, envs: Path) -> None:
    """pnnx writes many files beside its input: it works in a folder of its own."""
    onnx = _float_onnx(model, "ncnn")
    graph = portable.load(model.with_suffix(".npz"))
    shapes = [graph["tensors"][i]["shape"] for i in graph["inputs"]]
    shapes = [[s[0], s[3], s[1], s[2]] if len(s) == 4 else s for s in shapes]
    folder = model.with_suffix(".pnnx")
    folder.mkdir(exist_ok=True)
    link = folder / "m.onnx"
    link.unlink(missing_ok=True)
    os.link(onnx, link)
    text = ",".join(json.dumps(s).replace(" ", "") for s in shapes)
    _do([envs / "ncnn" / "bin" / "pnnx", "m.onnx", f"inputshape={text}", "fp16=0"], folder)
    for part in ("param", "bin"):
        made = folder / f"m.ncnn.{part}"
        if not made.exists():
            raise Failed("pnnx: wrote no ncnn files")
        made.replace(model.with_suffix(f".ncnn.{part}"))
    shapes = [s[1:] for s in shapes]  # ncnn has no batch
    model.with_suffix(".ncnn.json").write_text(json.dumps({"inputs": shapes}))


def _executorch(model: Path, envs: Path) -> None:
    kind = model.stem.rpartition("_")[2]
    source = model.with_name(model.stem.removesuffix(kind) + "fp32.npz")
    _do([python_of(envs, "executorch"), HERE / "twin_torch.py", source,
         model.with_suffix(".pte"), kind])  # fmt: skip


#: Peer -> suffix of its twin and what makes it. OpenVINO reads ONNX Runtime's.
TWINS: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    "onnxruntime": (".onnx", _onnx),
    "mnn": (".mnn", _mnn),
    "ncnn": (".ncnn.param", _ncnn),
    "executorch": (".pte", _executorch),
}


def convert(models: Sequence[Path], envs: Path, peers: Sequence[str]) -> None:
    """Make the twins that are missing. Where it fails, the reason stands in TWIN.why."""
    for peer, (suffix, make) in TWINS.items():
        if peer not in peers:
            continue
        for model in models:
            twin = model.with_suffix(suffix)
            why = twin.with_name(twin.name + ".why")
            if twin.exists() or why.exists():
                continue
            print(f"making {twin.name}", flush=True)
            try:
                make(model, envs)
            except (Failed, OSError) as exc:
                why.write_text(str(exc))
