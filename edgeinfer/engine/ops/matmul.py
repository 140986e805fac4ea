"""BATCH_MATMUL: products of the last two dimensions, the leading ones broadcast.

8 bits: fixed point with double rounding, ties away from zero, under both roundings, equal to
LiteRT 2.3 to the bit (kernels/batch_matmul.cc; XNNPACK does not take it). Floats lie within 1e-5 of
the largest magnitude.
"""

from __future__ import annotations

import numpy as np

from ..graph import Node
from . import Context, Step, rule
from .checks import EIGHT_BIT, expect_shape, expect_types, refuse
from .tables import quantize_multiplier

_MOST_PRODUCTS = 1 << 15


@rule("BATCH_MATMUL")
def batch_matmul(node: Node, ctx: Context) -> Step:
    """a [..., m, k] (adj_x: [..., k, m]), b [..., k, n] (adj_y: [..., n, k]) -> [..., m, n]."""
    a, b, out = node.input(0), node.input(1), node.outputs[0]
    expect_types(node, a, ("float32", *EIGHT_BIT))
    if not a.dtype == b.dtype == out.dtype:
        raise refuse(node, f"{a}, {b} and {out} differ in type")
    if min(len(a.shape), len(b.shape)) < 2 or 0 in (*a.shape, *b.shape):
        raise refuse(node, f"{a} and {b} are no matrices")
    adj_x, adj_y = (bool(node.attrs.get(key, False)) for key in ("adj_x", "adj_y"))
    m, k = a.shape[-2:][:: -1 if adj_x else 1]
    depth, n = b.shape[-2:][:: -1 if adj_y else 1]
    if k != depth:
        raise refuse(node, f"{a} and {b} do not fit ({k} and {depth} products a sum)")
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    expect_shape(node, out, (*batch, m, n))
    values = {"adj_x": int(adj_x), "adj_y": int(adj_y), "multiplier": 0, "shift": 0}
    if out.dtype in EIGHT_BIT:
        if any(t.quant is None or t.quant.per_channel or t.scale <= 0 for t in (a, b, out)):
            raise refuse(node, f"{a}, {b} and {out} need one positive scale each")
        if k > _MOST_PRODUCTS:
            raise refuse(node, f"{k} products a sum; at most {_MOST_PRODUCTS} fit 32 bits")
        real = float(a.scale) * float(b.scale) / float(out.scale)
        values["multiplier"], values["shift"] = quantize_multiplier(real)
    return Step("BATCH_MATMUL", [a, b], [out], "matmul", values, macs=out.count * k)
