"""Plans to damage: small ones of many operators, for every ISA of this machine."""

from __future__ import annotations

from collections.abc import Iterator

from edgeinfer import _native
from edgeinfer.engine.graph import Graph
from edgeinfer.engine.plan import build
from tests import models


def operators(dtype: str) -> Graph:
    """A graph with the operators that `models.network` lacks."""
    make = models.Maker(dtype, 3)
    x = make.input("x", (1, 8, 8, 5))
    a = make.conv(x, 20, 5, dilation=2, activation="RELU")
    b = make.dw(make.pad(x, [(0, 0), (1, 1), (1, 0), (0, 0)]), 3, 2, "VALID", multiplier=2)
    c = make.pool(make.unary(a, "LOGISTIC"), "AVERAGE_POOL_2D", 3, 2, "SAME")
    d = make.unary(make.pool(make.unary(a, "TANH")), "HARD_SWISH")
    e = make.add(b, make.mean(b, keep=True), "MUL")
    f = make.concat([c, c])
    g = make.add(make.reshape(f, (16, 40)), make.reshape(f, (16, 40)), "SUB")
    return make.graph(make.fc(g, 9, "RELU6", bias=False), d, make.unary(e, "RELU"))


def seeds() -> Iterator[tuple[str, bytes]]:
    """(name, bytes of the plan) of every seed."""
    yield "variables", bytes(build(models.variables(), isa="ref").bytes)
    for isa in _native.isas():
        narrow = models.hybrid(models.network("float32"))
        yield f"hybrid-{isa}", bytes(build(narrow, isa=isa).bytes)
        for dtype in ("float32", "int8", "uint8"):
            yield f"network-{dtype}-{isa}", bytes(build(models.network(dtype), isa=isa).bytes)
            yield f"joined-{dtype}-{isa}", bytes(build(models.joined(dtype), isa=isa).bytes)
            yield f"operators-{dtype}-{isa}", bytes(build(operators(dtype), isa=isa).bytes)
