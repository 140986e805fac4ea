"""RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR of NHWC images to a constant size.

8-bit bilinear in "xnnpack" is XNNPACK's fixed point (weights of 11 bits); in "tflite" the reference
kernels', which differ between int8 (10-bit positions) and uint8 (floats, rounded half up).

8 bits are equal to LiteRT 2.3 to the bit (tests/kernels/test_exact.py).
"""

from __future__ import annotations

from ..graph import Node
from . import Context, Step, rule
from .checks import (
    EIGHT_BIT,
    MOVABLE,
    expect_rank,
    expect_same,
    expect_shape,
    expect_types,
    integers,
    refuse,
)


@rule("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def resize(node: Node, ctx: Context) -> Step:
    """Both resizings: size [height, width] in constant input 1, align_corners or
    half_pixel_centers from the attributes."""
    x, y = node.input(0), node.outputs[0]
    nearest = node.op == "RESIZE_NEAREST_NEIGHBOR"
    expect_types(node, x, MOVABLE if nearest else ("float32", "int16", *EIGHT_BIT))
    expect_rank(node, x, (4,))
    expect_same(node, x, y)
    size = integers(node, 1, "size")
    if len(size) != 2 or min(size) < 1 or max(*size, *x.shape[1:3]) > 1 << 20:
        raise refuse(node, f"size {size} of {x} must be two numbers in 1..2^20")
    expect_shape(node, y, (x.shape[0], *size, x.shape[3]))
    names = ("align_corners", "half_pixel_centers")
    values = {n: int(bool(node.attrs.get(n, False))) for n in names}
    if all(values.values()) and not nearest:
        raise refuse(node, "align_corners and half_pixel_centers exclude each other")
    if x.shape == y.shape:
        return Step("COPY", [x], [y], in_place=0)
    return Step("RESIZE_NEAREST" if nearest else node.op, [x], [y], "resize", values)
