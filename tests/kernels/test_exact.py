"""Millions of outputs near ties against LiteRT, where equality is easily lost in one of 10^6."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from oracle import ROUNDINGS, const, litert, single, tensor, values

from edgeinfer import _native
from edgeinfer.engine.graph import Graph
from edgeinfer.engine.plan import build
from edgeinfer.engine.session import Session
from edgeinfer.engine.tensor import Quantisation, per_tensor
from tests.models import Maker


def _equal(
    graph: Graph,
    feeds: dict[str, np.ndarray],
    rounding: str,
    want: np.ndarray | None = None,
    loose: float = 0,
) -> int:
    """Compares every ISA's kernels with LiteRT, or `want`; how many outputs there were.

    The share `loose` of them may be off by one.
    """
    want = litert(graph, feeds, rounding)[0] if want is None else want
    for isa in _native.isas():
        session = Session(build(graph, isa=isa, rounding=rounding))
        for name, value in feeds.items():
            session[name] = value
        session.run()
        got = session[next(iter(graph.outputs))]
        wrong = np.flatnonzero((want != got).reshape(-1))
        if wrong.size <= loose * want.size:
            assert np.abs(want.astype(int) - got.astype(int)).max() <= 1
            continue
        sample = [(want.flat[i].item(), got.flat[i].item()) for i in wrong[:8]]
        assert not wrong.size, f"{isa}: {wrong.size} of {want.size} differ, (LiteRT, ours) {sample}"
    return int(want.size)


def _trials(
    make: Callable[[np.random.Generator, str, int], Graph], dtype: str, rounding: str
) -> int:
    """Outputs compared of 24 graphs with the one input x."""
    rng = np.random.default_rng(len(dtype))
    outputs = 0
    for trial in range(24):
        graph = make(rng, dtype, trial)
        outputs += _equal(graph, {"x": values(rng, graph.inputs["x"])}, rounding)
    return outputs


def _fully_connected(rng: np.random.Generator, dtype: str, trial: int) -> Graph:
    """Many rows of small products whose scale is a power of two but for its last bits."""
    low = int(np.iinfo(dtype).min)
    rows, depth, units = 2048, 1 + trial % 5, int(rng.integers(1, 70))
    x = tensor("x", (rows, depth), dtype, (float(np.float32(2.0 ** rng.uniform(-6, 2))), low + 99))
    n = units if dtype == "int8" and trial % 2 else 1
    steps = (2.0 ** rng.uniform(-9, -7, n)).astype(np.float32)
    y_scale = float(np.float32(x.scale * float(steps[0]) * 2.0 ** rng.integers(1, 9)))
    w = tensor("w", (units, depth), dtype)
    w.quant = per_tensor(float(steps[0]), 0 if dtype == "int8" else int(rng.integers(256)))
    if n > 1:
        steps = np.float32(y_scale / 2.0 ** rng.integers(1, 9, n) / x.scale)
        w.quant = Quantisation(steps, np.zeros(n, np.int32), 0)
    w.data = values(rng, w)
    bias = const("b", rng.integers(-999, 999, units), "int32", (float(steps[0] * x.scale), 0))
    y = tensor("y", (rows, units), dtype, (y_scale, low + 127))
    return single("FULLY_CONNECTED", [x, w, bias], [y], fused_activation_function="NONE")


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_fully_connected(dtype: str, rounding: str) -> None:
    assert _trials(_fully_connected, dtype, rounding) > 10**6


def _unsigned_sum(graph: Graph, x: np.ndarray) -> np.ndarray:
    """LiteRT's reference SUM of the same real values in uint8, since it takes int8 for that."""
    node = graph.nodes[0]
    a, y = (
        tensor(t.name, t.shape, "uint8", (t.scale, t.zero + 128))
        for t in (node.input(0), node.outputs[0])
    )
    twin = single("SUM", [a, node.input(1)], [y], keep_dims=False)
    out = litert(twin, {"x": x.view(np.uint8) ^ 0x80}, "tflite")[0]
    return (out ^ 0x80).view(np.int8)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("op", ["MEAN", "SUM"])
def test_sums(op: str, dtype: str, rounding: str) -> None:
    rng = np.random.default_rng(len(dtype))
    low = int(np.iinfo(dtype).min)
    outputs = 0
    for trial in range(24):
        columns, reduced = 64 << 10, int(rng.integers(2, 20))
        shape, axis = ((reduced, columns), 0) if trial % 2 else ((columns, reduced), 1)
        x_scale = float(np.float32(2.0 ** rng.uniform(-6, 2)))
        ratio = 2.0 ** rng.uniform(-1, 3) if trial % 3 else 2.0 ** int(rng.integers(-1, 4))
        y_scale = float(np.float32(x_scale * ratio * (reduced**0.5 if op == "SUM" else 1)))
        x = tensor("x", shape, dtype, (x_scale, low + int(rng.integers(256))))
        y = tensor("y", (columns,), dtype, (y_scale, low + int(rng.integers(256))))
        graph = single(op, [x, const("axes", [axis])], [y], keep_dims=False)
        feeds = {"x": values(rng, x)}
        misread = (op, dtype, rounding) == ("SUM", "int8", "tflite")
        want = _unsigned_sum(graph, feeds["x"]) if misread else None
        outputs += _equal(graph, feeds, rounding, want)
    assert outputs > 10**6


def _far_scales(rng: np.random.Generator, op: str, trial: int, y: float) -> tuple[float, float]:
    """Scales of two operands that LiteRT's delegate refuses where the output's is y: small ones, or
    so large that steps of +-10 stay within 16 bits, beyond which LiteRT's own loops wrap."""
    large = bool(trial % 2)
    if op == "MUL":
        a = 2.0 ** rng.uniform(-4, 4)
        return a, y / a * 2.0 ** (rng.uniform(8, 8.3) if large else rng.uniform(-20, -16.1))
    near = y * 2.0 ** (rng.uniform(-4, 4) if trial % 3 else int(rng.integers(-2, 4)))
    far = y * 2.0 ** (rng.uniform(8, 11) if large else rng.uniform(-14, -10.01))
    return (near, far) if trial % 4 < 2 else (far, near)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL"])
def test_scales_that_the_delegate_refuses(op: str, dtype: str) -> None:
    """In the default rounding LiteRT runs its built-in kernels there."""
    loose = 1e-2 if (op, dtype) == ("ADD", "uint8") else 0  # see ops/math.py
    rng = np.random.default_rng(len(dtype))
    low, n = int(np.iinfo(dtype).min), 65536
    every = np.arange(256, dtype=np.uint8).view(dtype)
    outputs = 0
    for trial in range(24):
        step = 2.0 ** rng.uniform(-3, 3)
        scales = *_far_scales(rng, op, trial, step), step
        names = zip("aby", scales, rng.integers(low + 10, low + 246, 3), strict=True)
        a, b, y = (tensor(t, (n,), dtype, (float(np.float32(s)), int(z))) for t, s, z in names)
        feeds = {"a": np.repeat(every, 256), "b": np.tile(every, 256)}
        if trial % 2:
            for t in (a, b):
                feeds[t.name] = rng.integers(t.zero - 10, t.zero + 11, n).astype(dtype)
        activation = ("NONE", "RELU6")[trial % 2]
        graph = single(op, [a, b], [y], fused_activation_function=activation)
        outputs += _equal(graph, feeds, "xnnpack", loose=loose)
    assert outputs > 10**6


def _transposed(rng: np.random.Generator, dtype: str, trial: int) -> Graph:
    """TRANSPOSE_CONV whose stride is larger than its kernel, the sums near ties."""
    low = int(np.iinfo(dtype).min)
    kernel, stride, channels = ((1, 2, 8), (2, 3, 19), (1, 3, 5), (2, 4, 16))[trial % 4]
    x_scale, w_scale = (float(np.float32(2.0 ** rng.uniform(-6, 2))) for _ in range(2))
    x = tensor("x", (1, 31, 33, 6), dtype, (x_scale, low + int(rng.integers(256))))
    zero = 0 if dtype == "int8" else int(rng.integers(256))
    w = tensor("w", (channels, kernel, kernel, 6), dtype, (w_scale, zero))
    w.data = values(rng, w)
    bias = const("b", rng.integers(-999, 999, channels), "int32", (x_scale * w_scale, 0))
    shape = (1, 31 * stride, 33 * stride, channels)
    ratio = 2.0 ** rng.integers(4, 9) if trial % 2 else 2.0 ** rng.uniform(4, 9)
    y = tensor("y", shape, dtype, (float(np.float32(x_scale * w_scale * ratio)), low + 128))
    attrs = {"padding": "SAME", "stride_h": stride, "stride_w": stride}
    attrs["fused_activation_function"] = "NONE"
    return single("TRANSPOSE_CONV", [const("shape", shape), w, x, bias], [y], **attrs)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_transpose_conv_with_gaps(dtype: str, rounding: str) -> None:
    assert _trials(_transposed, dtype, rounding) > 10**6


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_resize_bilinear(dtype: str, rounding: str) -> None:
    rng = np.random.default_rng(len(dtype))
    outputs = 0
    for trial in range(24):
        h, w, oh, ow = rng.integers(2, 60, 4)
        x = tensor("x", (1, int(h), int(w), 64), dtype, (0.5, 3))
        y = tensor("y", (1, int(oh), int(ow), 64), dtype, (0.5, 3))
        attrs = {"align_corners": trial % 3 == 1, "half_pixel_centers": trial % 3 == 2}
        graph = single("RESIZE_BILINEAR", [x, const("size", [oh, ow])], [y], **attrs)
        outputs += _equal(graph, {"x": values(rng, x)}, rounding)
    assert outputs > 10**6


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(
    "types", [("float32", "int16"), ("int8", "uint8"), ("uint8", "int8"), ("int8", "int8")]
)
def test_quantize_in_vectors_and_beyond(types: tuple[str, str], rounding: str) -> None:
    """Ties, in whole vectors and in what is left of them."""
    rng = np.random.default_rng(7)
    for trial in range(48):
        scale = float(np.float32(2.0 ** rng.uniform(-8, 3)))
        ratio = 2.0 ** (rng.integers(-10, -8) if types[0] == types[1] else rng.integers(-4, 2))
        n, zeros = 33 + trial % 16, rng.integers(0, 100, 2)
        x = tensor("x", (n,), types[0], (scale * ratio, int(zeros[0])))
        y = tensor("y", (n,), types[1], (scale, int(zeros[1])))
        feeds = {"x": values(rng, x)}
        if types[0] == "float32":
            x.quant = None
            feeds = {"x": ((rng.integers(-999, 999, n) + 0.5) * scale).astype(np.float32)}
        _equal(single("QUANTIZE", [x], [y]), feeds, rounding)


#: Functions of one 8-bit tensor that LiteRT has for both types.
TABLES = ["LOGISTIC", "GELU", "HARD_SWISH", "LEAKY_RELU", "RELU", "RELU6"]


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("op", TABLES)
def test_tables(op: str, dtype: str, rounding: str) -> None:
    """Every entry of tables for scales of all sizes."""
    rng = np.random.default_rng(len(op))
    low = int(np.iinfo(dtype).min)
    every = np.arange(256, dtype=np.uint8).view(dtype)
    for trial in range(30):
        x_scale = float(np.float32(2.0 ** rng.uniform(-8, 1)))
        y_scale = float(np.float32(x_scale * 2.0 ** rng.uniform(-6, 14)))
        quant = (1 / 256, low) if op == "LOGISTIC" else (y_scale, low + int(rng.integers(256)))
        x = tensor("x", (256,), dtype, (x_scale, low + int(rng.integers(256))))
        y = tensor("y", (256,), dtype, quant)
        attrs = {"alpha": float(np.float32(rng.uniform(-2, 2)))} if op == "LEAKY_RELU" else {}
        attrs |= {"approximate": bool(trial % 2)} if op == "GELU" else {}
        _equal(single(op, [x], [y], **attrs), {"x": every}, rounding)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_softmax(dtype: str) -> None:
    """Rows of all lengths; the default rounding, whose sums are floats."""
    rng = np.random.default_rng(1)
    low = int(np.iinfo(dtype).min)
    outputs = 0
    for trial in range(16):
        depth = int(rng.integers(1, 700))
        x_scale = float(np.float32(2.0 ** rng.uniform(-7, 0)))
        x = tensor("x", (1 + 80000 // depth, depth), dtype, (x_scale, low))
        y = tensor("y", x.shape, dtype, (1 / 256, low))
        graph = single("SOFTMAX", [x], [y], beta=(1.0, 0.5)[trial % 2])
        outputs += _equal(graph, {"x": values(rng, x)}, "xnnpack")
    assert outputs > 10**6


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_product_with_itself(dtype: str, rounding: str) -> None:
    """XNNPACK makes a square of it; between convolutions, so that passes see it too."""
    for seed in range(40):
        make = Maker(dtype, seed)
        x = make.conv(make.input("x", (2, 8, 8, 3)), 24, kernel=1)
        y = make.add(x, x, "MUL", ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")[seed % 4])
        graph = make.graph(make.conv(y, 8, kernel=1)) if seed % 3 == 2 else make.graph(y)
        _equal(graph, {"x": values(make.rng, graph.inputs["x"])}, rounding)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_product_with_itself_in_a_chain(dtype: str) -> None:
    """XNNPACK makes one table of functions of one tensor, and no square within it."""
    for seed in range(24):
        make = Maker(dtype, seed)
        x = make.input("x", (2, 8, 8, 24))
        kind = seed % 6
        if kind < 2:  # in a chain, then not in one, since another reads the same
            y = make.unary(x, "LEAKY_RELU", alpha=0.25)
        elif kind < 4:  # the clamp of the sum begins one
            y = make.add(x, make.conv(x, 24, kernel=1), "ADD", ("RELU6", "NONE")[kind % 2])
        else:  # a square whose clamp begins one
            y = make.add(x, x, "MUL", ("RELU", "NONE")[kind % 2])
        z = make.add(y, y, "MUL", ("NONE", "RELU")[seed // 6 % 2])
        if kind == 1:
            z = make.add(z, y)
        graph = make.graph(make.unary(z, "LOGISTIC") if seed > 11 else z)
        _equal(graph, {"x": values(make.rng, x)}, "xnnpack")
