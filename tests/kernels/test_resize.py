"""Resizing against LiteRT: all coordinate conventions, growing, shrinking, odd ratios."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import ROUNDINGS, compare, const, feeds_of, single, tensor

from edgeinfer.engine import ops
from edgeinfer.errors import UnsupportedError

MODES = [(False, False), (True, False), (False, True)]
SIZES = [
    ((4, 5), (9, 12)),
    ((17, 13), (5, 6)),
    ((1, 7), (3, 7)),
    ((8, 8), (16, 16)),
    ((6, 3), (1, 1)),
]


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int16"])
@pytest.mark.parametrize("mode", MODES)
def test_bilinear(mode: tuple[bool, bool], dtype: str, rounding: str) -> None:
    rng = np.random.default_rng(len(dtype))
    quant = {"int8": (0.1, -3), "uint8": (0.1, 7), "int16": (0.1, 0)}.get(dtype)
    for (h, w), out in SIZES:
        x = tensor("x", (2, h, w, 19), dtype, quant)
        y = tensor("y", (2, *out, 19), dtype, quant)
        attrs = dict(zip(("align_corners", "half_pixel_centers"), mode, strict=True))
        graph = single("RESIZE_BILINEAR", [x, const("size", out)], [y], **attrs)
        compare(graph, feeds_of(rng, graph), rounding, ((h, w), out, mode))


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int16"])
@pytest.mark.parametrize("mode", [*MODES, (True, True)])
def test_nearest(mode: tuple[bool, bool], dtype: str) -> None:
    rng = np.random.default_rng(len(dtype))
    quant = {"int8": (0.1, -3), "uint8": (0.1, 7), "int16": (0.1, 0)}.get(dtype)
    for (h, w), out in SIZES:
        x, y = tensor("x", (2, h, w, 3), dtype, quant), tensor("y", (2, *out, 3), dtype, quant)
        attrs = dict(zip(("align_corners", "half_pixel_centers"), mode, strict=True))
        graph = single("RESIZE_NEAREST_NEIGHBOR", [x, const("size", out)], [y], **attrs)
        compare(graph, feeds_of(rng, graph), "xnnpack", ((h, w), out, mode))


def test_refuses_contradicting_options() -> None:
    x, y = tensor("x", (1, 4, 4, 1), "float32"), tensor("y", (1, 8, 8, 1), "float32")
    attrs = {"align_corners": True, "half_pixel_centers": True}
    node = single("RESIZE_BILINEAR", [x, const("size", [8, 8])], [y], **attrs).nodes[0]
    with pytest.raises(UnsupportedError, match="exclude each other"):
        ops.lower(node, ops.Context())
