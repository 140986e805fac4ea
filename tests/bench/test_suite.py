"""The benchmark suite: its networks are the published ones, its int8 is right, its tables count."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import edgeinfer as ei
from edgeinfer.engine.graph import Graph
from edgeinfer.engine.model import Model
from edgeinfer.engine.plan import build
from edgeinfer.engine.tflite_writer import write_tflite
from tests.conftest import shared_path
from tests.models import litert

FOLDER = Path(__file__).resolve().parents[2] / "tools" / "bench_suite"
NAMES = (
    "mobilenetv1_224", "mobilenetv2_224", "efficientnet_lite0_224", "mobilenetv3_small_224",
    "ssdlite_mobilenetv2_320", "yolov5n_320", "unet16_160", "resnet8_cifar", "kws_dscnn_49x10",
    "vww_mbv1_025_96", "autoencoder_640", "tiny_fc_16x4", "kws_lstm_49x40", "encoder_64x128",
)  # fmt: skip
SMALL = ("resnet8_cifar", "kws_dscnn_49x10", "autoencoder_640", "tiny_fc_16x4", "kws_lstm_49x40")


@pytest.fixture(scope="module")
def suite() -> Iterator[Any]:
    """The suite's modules by name; they import each other as top-level modules."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    try:
        yield _Modules()
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - before:
            if str(FOLDER) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


class _Modules:
    def __getattr__(self, name: str) -> ModuleType:
        return import_module(name)


def _signature(graph: Graph) -> list[tuple[Any, ...]]:
    """What makes two architectures the same: operators, shapes, strides, activations, in order."""
    return [
        (
            n.op,
            [t.shape for t in n.inputs if t is not None],
            [t.shape for t in n.outputs],
            n.attrs.get("fused_activation_function", "NONE"),
            n.attrs.get("stride_w", 1),
        )
        for n in graph.nodes
    ]


@pytest.mark.parametrize("name", NAMES)
def test_networks_have_the_stated_work(suite: Any, name: str) -> None:
    make, millions = suite.nets.NETS[name]
    graph = make()
    assert graph.name == name
    macs = sum(Model(graph, "", "", "").macs.values())
    assert macs / 1e6 == pytest.approx(millions, rel=0.005)


def test_every_network_is_tested(suite: Any) -> None:
    assert tuple(suite.nets.NETS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_networks_equal_the_real_files(suite: Any, name: str) -> None:
    real = ei.load(shared_path(f"models/speed/{name}_fp32.tflite"))
    assert isinstance(real, Model)
    assert _signature(suite.nets.NETS[name][0]()) == _signature(real.graph)


def _run(graph: Graph, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = ei.Session(build(graph))
    for name, value in feeds.items():
        session[name] = value
    session.run()
    return {name: session[name].copy() for name in session.outputs}


@pytest.mark.parametrize("name", SMALL)
def test_int8_is_exact_and_near_the_float(suite: Any, name: str) -> None:
    graph = suite.nets.NETS[name][0]()
    integer = suite.quantise.quantise(graph, suite.quantise.calibrate(graph))
    ((key, x),) = integer.inputs.items()
    real = np.random.default_rng(3).uniform(-1, 1, x.shape).astype(np.float32)
    feeds = {key: np.clip(np.round(real / x.scale + x.zero), -128, 127).astype(np.int8)}
    ours, theirs = _run(integer, feeds), litert(write_tflite(integer), feeds)
    want = _run(graph, {key: real})
    for out, tensor in integer.outputs.items():
        np.testing.assert_array_equal(ours[out], theirs[out])
        got = (ours[out].astype(np.float32) - tensor.zero) * tensor.scale
        span = max(float(np.ptp(want[out])), 0.1)
        assert np.abs(got - want[out]).max() < 0.15 * span


def test_scales_of_known_values(suite: Any) -> None:
    quant = suite.quantise.affine(-1.0, 1.55)
    assert quant.scale[0] == pytest.approx(0.01)
    assert quant.zero[0] == -28
    assert suite.quantise.affine(0.5, 2.55).zero[0] == -128  # 0 must be exact
    weights = np.array([[1.27, -0.5], [0.0, 25.4]])
    values, quant = suite.quantise.symmetric(weights, 0)
    np.testing.assert_array_equal(values, [[127, -50], [0, 127]])
    np.testing.assert_allclose(quant.scale, [0.01, 0.2], rtol=1e-6)


def test_moved_values_share_their_scale(suite: Any) -> None:
    graph = suite.nets.unet16()
    ranges = {id(t): (-1.0 - i, 1.0) for i, t in enumerate(graph.tensors())}
    integer = suite.quantise.quantise(graph, ranges)
    for node in integer.nodes:
        if node.op in ("CONCATENATION", "MAX_POOL_2D", "RESIZE_NEAREST_NEIGHBOR"):
            scales = {t.scale for t in (*node.inputs, *node.outputs) if t is not None and t.quant}
            assert len(scales) == 1


@pytest.mark.parametrize("name", ["kws_dscnn_49x10", "kws_lstm_49x40", "encoder_64x128"])
@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_the_onnx_twin_computes_the_same(suite: Any, name: str, kind: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    graph = suite.nets.NETS[name][0]()
    if kind == "int8":
        graph = suite.quantise.quantise(graph, suite.quantise.calibrate(graph))
    suite.portable.save(graph, tmp_path / "g.npz")
    command = [sys.executable, FOLDER / "twin_onnx.py", tmp_path / "g.npz", tmp_path / "m.onnx"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if name == "kws_lstm_49x40" and kind == "int8":
        assert "no int8 LSTM" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    ((key, x),) = graph.inputs.items()
    real = np.random.default_rng(4).uniform(-1, 1, x.shape).astype(np.float32)
    feed = real if kind == "fp32" else (real * 100).astype(np.int8)
    want = litert(write_tflite(graph), {key: feed})
    twin = feed.transpose(0, 3, 1, 2) if feed.ndim == 4 else feed
    twin = twin if kind == "fp32" else (twin.view(np.uint8) ^ 0x80)
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    (got,) = session.run(None, {key: twin})
    (expected,) = want.values()
    if kind == "fp32":
        np.testing.assert_allclose(got, expected, atol=1e-4)
    else:
        assert np.abs(got.astype(int) - (expected.astype(int) + 128)).max() <= 3


def _result(model: str, threads: int, ratio: float) -> dict[str, Any]:
    rows = [
        {
            "kind": kind,
            "name": kind,
            "summary": {"median": ms, "p99": 1.5 * ms},
            "ratio": {"value": ms, "low": ms - 0.1, "high": ms + 0.1},
            "peak_share": 0.5,
        }
        for kind, ms in (("edgeinfer", 1.0), ("litert", ratio), ("openvino", 9.0))
    ]
    why = {"mnn": f"no {model} twin"}
    return {"model": model, "threads": threads, "macs": 2e6, "rows": rows, "left_out": why}


def test_tables_of_known_results(suite: Any) -> None:
    results = [_result("a_int8.tflite", n, r) for n, r in ((1, 2.0), (2, 8.0))]
    results += [_result("b_int8.tflite", 1, 0.5), _result("c_fp32.tflite", 1, 3.0)]
    lines = suite.tables.markdown(results, "int8").splitlines()
    assert lines[0].startswith("| model (MMAC) | ours | % of peak | litert | openvino | best peer")
    assert lines[2] == (
        "| a (2) | 1 / 1 | 50 / 50 | 2 / 8 | 9 / 9 | 2.00 [1.90, 2.10] | 8.00 [7.90, 8.10] "
        "| 1.5, 1.5 / 1.5, 1.5 |"
    )
    assert lines[3].startswith("| b (2) | 1 / - | 50 / - | 0.5 / - | 9 / - | 0.50")
    assert lines[4].endswith("| 1.00x | 8.00x |  |")  # of 2.0 and 0.5; of 8.0
    assert suite.tables.left_out(results).count("* mnn: no MODEL.tflite twin") == 1
