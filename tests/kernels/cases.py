"""What every kernel variant is tried on: one list, walked for every ISA and compared with `ref`.

Sizes lie at, below and above the widths of vectors and tiles. A case names the kernels that may run
it (`Case.kernels`); of an ISA's tables, best first, the first that has one of them must run it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import conv_cases
import numpy as np
from conv_cases import ACTIVATIONS, SIZES, Edge
from memory_cases import in_place, strided, unaligned
from oracle import const, single, tensor, values
from recurrent import lstm

from edgeinfer.engine.graph import Graph
from edgeinfer.engine.tensor import per_tensor

#: ISA -> the tables its plans choose from, best first, without "ref".
CHAINS = {
    "avx2": ("avx2",),
    "avx512vnni": ("avx512vnni", "avx2"),
    "avxvnni": ("avxvnni", "avx2"),
    "neon": ("neon",),
    "dotprod": ("dotprod", "neon"),
    "i8mm": ("i8mm", "dotprod", "neon"),
}
EIGHT_BIT = ("int8", "uint8")


@dataclass(frozen=True)
class Case:
    """One graph and its inputs.

    `kernels`: names without their folder, a special one before the general one. `bound`: largest
    error of floats, of the largest magnitude (0: the same bits). `memory`: "unaligned", "in place"
    or "strided", how the tensors of the node `node` must lie. `runs`: how often, for states.
    """

    name: str
    kernels: tuple[str, ...]
    graph: Graph
    feeds: dict[str, np.ndarray]
    bound: float = 0.0
    memory: str = ""
    node: str = ""
    runs: int = 1

    def expected(self, tables: dict[str, tuple[str, ...]], isa: str) -> str:
        """The kernel that must run the case: "avx2/add"; "ref/..." where the ISA has none."""
        for table in CHAINS[isa]:
            for kernel in self.kernels:
                if f"{table}/{kernel}" in tables[table]:
                    return f"{table}/{kernel}"
        return f"ref/{self.kernels[-1]}"


Cases = Callable[[str], Iterator[Case]]


def _feeds(graph: Graph, seed: int, ends: bool = False) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    if not ends:
        return {name: values(rng, t) for name, t in graph.inputs.items()}
    found = {}
    for name, t in graph.inputs.items():
        info = np.iinfo(t.dtype)
        found[name] = rng.choice([info.min, info.max, t.zero], t.shape).astype(t.dtype)
    return found


def _case(name: str, kernel: str | tuple[str, ...], graph: Graph, **more: Any) -> Case:
    kernels = (kernel,) if isinstance(kernel, str) else kernel
    return Case(name, kernels, graph, _feeds(graph, len(name)), **more)


# Layers with weights: sums in another order and fused multiply-adds, where floats.

_FLOAT_BOUND = 1e-5
Layers = Callable[[str], Iterator[conv_cases.Layer]]


def _layers(base: str, layers: Layers, dtype: str, *special: str) -> Iterator[Case]:
    suffix = "f32" if dtype == "float32" else "q8"
    kernels = tuple(f"{base}_{suffix}{s}" for s in (*special, ""))
    for i, (name, graph, make) in enumerate(layers(dtype)):
        feeds = _feeds(graph, i, make.ends and bool(i % 2))
        if dtype == "float32":  # sums of about one size, so that the bound holds after clamping
            feeds = {n: np.sign(v) * np.minimum(np.abs(v), 2) for n, v in feeds.items()}
        yield Case(name, kernels, graph, feeds, _FLOAT_BOUND)


def _conv(dtype: str) -> Iterator[Case]:
    yield from _layers("conv_2d", conv_cases.conv, dtype)
    yield from _layers("conv_2d", conv_cases.multiplied, dtype)
    yield from _layers("conv_2d", lambda d: conv_cases.full(d, "CONV_2D"), dtype, "_full")
    for case in _layers("conv_2d", conv_cases.padded, dtype):
        if case.name.startswith("CONV"):
            yield case


def _depthwise(dtype: str) -> Iterator[Case]:
    base = "depthwise_conv_2d"
    yield from _layers(base, conv_cases.depthwise, dtype)
    yield from _layers(base, lambda d: conv_cases.full(d, "DEPTHWISE_CONV_2D"), dtype, "_full")
    for case in _layers(base, conv_cases.padded, dtype):
        if case.name.startswith("DEPTHWISE"):
            yield case


def _dense(dtype: str) -> Iterator[Case]:
    base = "fully_connected"
    yield from _layers(base, conv_cases.dense, dtype)
    yield from _layers(base, lambda d: conv_cases.full(d, "FULLY_CONNECTED"), dtype, "_full")


def _hybrid(dtype: str) -> Iterator[Case]:
    kinds = {"CONV_2D": "q8", "FULLY_CONNECTED": "q8", "DEPTHWISE_CONV_2D": "f32"}
    for op, kind in kinds.items():
        for i, (name, graph, _) in enumerate(conv_cases.hybrid(op)):
            yield Case(name, (f"{op.lower()}_{kind}",), graph, _feeds(graph, i))


# Elementwise operators and those without weights: the same bits in floats too.

_COUNTS = (*SIZES, 127, 128, 129, 191)
_SHAPES = (
    ((3, 33), (33,)), ((3, 17), (3, 1)), ((2, 3, 16), (1,)), ((1,), (2, 40)), ((4, 1, 9), (5, 9)),
    ((1, 4, 5, 8), (1, 1, 1, 8)), ((1, 4, 5, 8), (1, 4, 5, 1)), ((2, 1, 65), (1, 3, 65)),
    ((16,), (3, 30, 16)), ((70, 24), (1, 24)), ((2, 600), (600,)),
)  # fmt: skip
_BINARY = {
    "ADD": ("float32", "int32", *EIGHT_BIT), "SUB": ("float32", "int32", *EIGHT_BIT),
    "MUL": ("float32", "int32", *EIGHT_BIT), "MAXIMUM": ("float32", "int32", *EIGHT_BIT),
    "MINIMUM": ("float32", "int32", *EIGHT_BIT), "DIV": ("float32",),
    "SQUARED_DIFFERENCE": ("float32", "int32", *EIGHT_BIT),
}  # fmt: skip


def _quant(rng: np.random.Generator, dtype: str, scale: float) -> Any:
    if dtype not in EIGHT_BIT:
        return None
    zero = int(rng.choice([0, 1, 77, 128, 254, 255])) + int(np.iinfo(dtype).min)
    return per_tensor(float(np.float32(scale)), zero)


def _binary_graph(op: str, dtype: str, shapes: Any, seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    # Ratios to the output's scale between 2^-9 and 2^7, both operands alike or far apart.
    scales = 2.0 ** rng.uniform(-9, 7, 2) if seed % 2 else 2.0 ** rng.uniform(-3, 1, 2)
    if op == "MUL":
        scales[1] = float(rng.choice([0.01, 1.0, 90.0]))
    a, b = (
        tensor(n, s, dtype, _quant(rng, dtype, v))
        for n, s, v in zip("ab", shapes, scales, strict=True)
    )
    y = tensor("y", np.broadcast_shapes(*shapes), dtype, _quant(rng, dtype, 1.0))
    if op in ("MAXIMUM", "MINIMUM"):
        b.quant = y.quant = a.quant
    activation = "NONE" if dtype == "int32" else ACTIVATIONS[seed % 4]
    return single(op, [a, b], [y], fused_activation_function=activation)


def _binary(dtype: str) -> Iterator[Case]:
    for op, types in _BINARY.items():
        shapes = [((n,), (n,)) for n in _COUNTS] + [((2, n), (2, n)) for n in (5, 40)]
        for seed, pair in enumerate([*shapes, *_SHAPES] if dtype in types else []):
            kernels = (f"{op.lower()}_q8", op.lower())[dtype not in EIGHT_BIT :]
            yield _case(f"{op} {pair}", kernels, _binary_graph(op, dtype, pair, seed))


def _pool(dtype: str) -> Iterator[Case]:
    for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        for i, c in enumerate((*SIZES, 48, 100)):
            for size, stride, padding in ((2, 2, "VALID"), (3, 1, "SAME"), (3, 2, "SAME")):
                make = Edge(dtype, i, ends=dtype != "float32")
                activation = ACTIVATIONS[i % 4]
                x = make.input("x", (1 + i % 2, 5, 6, c))
                y = make.pool(x, op, size, stride, padding, activation)
                general, eight = op.lower(), dtype in EIGHT_BIT and c >= 16 and op[0] == "M"
                kernels = ("max_pool_q8", general) if eight else general
                yield _case(f"{op} {c} {size} {stride}", kernels, make.graph(y))


def _reduce(dtype: str) -> Iterator[Case]:
    ops = ["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"]
    for op in ops if dtype in EIGHT_BIT else [*ops, "REDUCE_PROD"]:
        for i, n in enumerate((*SIZES, 200)):
            for shape, axes in (((2, 3, 4, n), (1, 2)), ((3, n), (1,)), ((2, n, 3), (1,))):
                rng = np.random.default_rng(i)
                x = tensor("x", shape, dtype, _quant(rng, dtype, 0.1))
                kept = tuple(d for k, d in enumerate(shape) if k not in axes)
                y = tensor("y", kept, dtype, x.quant)
                if op in ("MEAN", "SUM") and x.quant is not None:
                    y.quant = _quant(rng, dtype, float(rng.choice([0.003, 0.1, 4.0])))
                yield _case(
                    f"{op} {shape} {axes}",
                    op.lower(),
                    single(op, [x, const("axes", axes)], [y], keep_dims=False),
                )


def _softmax(dtype: str) -> Iterator[Case]:
    low = 0 if dtype == "float32" else int(np.iinfo(dtype).min)
    for op, scale, zero in (("SOFTMAX", 1 / 256, low), ("LOG_SOFTMAX", 16 / 256, low + 255)):
        for i, n in enumerate((*SIZES, 129, 300)):
            rng = np.random.default_rng(i)
            x = tensor("x", (3, n), dtype, _quant(rng, dtype, 2.0 ** rng.uniform(-6, 1)))
            y = tensor("y", (3, n), dtype, (scale, zero) if x.quant else None)
            graph = single(op, [x], [y], **({"beta": (1.0, 0.5)[i % 2]} if scale < 0.01 else {}))
            special = ("softmax_f32",) if dtype == "float32" and op == "SOFTMAX" else ()
            yield _case(f"{op} {n}", (*special, op.lower()), graph, bound=1e-6)


_FUNCTIONS = (
    "ABS", "NEG", "SQUARE", "SIGN", "SQRT", "RSQRT", "EXP", "LOG", "SIN", "COS", "FLOOR", "CEIL",
    "ROUND", "LOGISTIC", "TANH", "ELU", "GELU",
)  # fmt: skip


def _unary(dtype: str) -> Iterator[Case]:
    for n in (*_COUNTS, 1000):  # beyond both ends of the range where the results are normal
        x, y = tensor("x", (n,), dtype), tensor("y", (n,), dtype)
        case = _case(
            f"LOGISTIC {n}", ("logistic", "unary"), single("LOGISTIC", [x], [y]), bound=1e-6
        )
        case.feeds["x"] *= 40
        case.feeds["x"][: min(n, 4)] = [0.0, -0.0, 300.0, -300.0][:n]
        yield case
        make = Edge(dtype, n)
        z = make.input("x", (n,))
        graph = make.graph(make.add(z, make.unary(z, "LOGISTIC"), op="MUL"))
        yield _case(f"swish {n}", ("logistic", "unary"), graph, bound=1e-6)
    for op in ("HARD_SWISH", "LEAKY_RELU", *_FUNCTIONS):
        if op == "LOGISTIC":
            continue
        kernel = "unary" if op in _FUNCTIONS else op.lower()
        for n in _COUNTS if op in ("HARD_SWISH", "LEAKY_RELU", "TANH") else (1, 9, 33, 129):
            x, y = tensor("x", (n,), dtype), tensor("y", (n,), dtype)
            graph = single(op, [x], [y], **({"alpha": 0.1} if op == "LEAKY_RELU" else {}))
            yield _case(f"{op} {n}", kernel, graph)


def _lookup(dtype: str) -> Iterator[Case]:
    for op in ("LOGISTIC", "TANH", "LEAKY_RELU"):
        for i, n in enumerate((*_COUNTS, 1000)):
            make = Edge(dtype, i)
            y = make.unary(make.input("x", (n,)), op, **({"alpha": 0.2} if op[1] == "E" else {}))
            yield _case(f"{op} {n}", "lookup", make.graph(y))


def _quantize(dtype: str) -> Iterator[Case]:
    outputs = {"float32": (*EIGHT_BIT, "int16"), "int16": EIGHT_BIT, "int8": ("int16", "int32")}
    for out in outputs[dtype]:
        for i, n in enumerate(_COUNTS):
            zero = 0 if out in ("int16", "int32") else (-128, -1, 100)[i % 3]
            zero += 128 * (out == "uint8")
            x = tensor("x", (n,), dtype, None if dtype == "float32" else (0.05, 0))
            y = tensor("y", (n,), out, ((0.5, 0.07, 2.0**-9)[i % 3], zero))
            case = _case(f"{dtype} to {out} {n}", "quantize", single("QUANTIZE", [x], [y]))
            if dtype == "float32":  # ties, and what lies far outside
                ties = [1.25, -0.25, 3e9, -3e9, np.inf, -np.inf, np.nan, 0.75]
                case.feeds["x"][: min(n, 8)] = ties[:n]
            yield case


def _dynamic(dtype: str) -> Iterator[Case]:
    for method in ("XNNPACK", "ASYMMETRIC", "SYMMETRIC"):
        for n in _COUNTS:
            x, y = tensor("x", (3, n), "float32"), tensor("y", (3, n), dtype)
            found = [y, tensor("scale", (3,), "float32"), tensor("zero", (3,), "int32")]
            outputs = [y] if dtype == "float32" else found
            graph = single("DYNAMIC_QUANTIZE", [x], outputs, batches=3, method=method)
            case = _case(f"{method} {n}", "dynamic_quantize", graph)
            case.feeds["x"][2] = np.nan if n == 3 else 0
            yield case


_SIZES_2D = (((3, 4), (6, 8)), ((5, 7), (3, 3)), ((1, 1), (4, 5)), ((4, 4), (7, 9)))


def _resize(dtype: str) -> Iterator[Case]:
    for kind in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        for i, c in enumerate(SIZES):
            (h, w), size = _SIZES_2D[i % 4]
            modes = {"align_corners": i % 3 == 1, "half_pixel_centers": i % 3 == 2}
            quant = _quant(np.random.default_rng(i), dtype, 0.1)
            x = tensor("x", (1 + i % 2, h, w, c), dtype, quant)
            y = tensor("y", (x.shape[0], *size, c), dtype, quant)
            graph = single(kind, [x, const("size", size)], [y], **modes)
            kernel = "resize_bilinear" if kind[7] == "B" else "resize_nearest"
            yield _case(f"{kind} {c} {size}", kernel, graph)


def _concatenation(dtype: str) -> Iterator[Case]:
    for i, n in enumerate(SIZES):
        axis = 3 if i % 3 else 1
        shapes = [[2, 3, 2, 4] for _ in range(1 + i % 4)]
        for k, shape in enumerate(shapes):
            shape[axis] = n + k
        rng = np.random.default_rng(i)
        quant = _quant(rng, dtype, 0.1)
        parts = [tensor(f"x{k}", tuple(s), dtype, quant) for k, s in enumerate(shapes)]
        if dtype == "uint8" and i % 2:  # through a table
            parts[0].quant = _quant(rng, dtype, 0.17)
        whole = list(shapes[0])
        whole[axis] = sum(s[axis] for s in shapes)
        y = tensor("y", tuple(whole), dtype, quant)
        attrs = {"axis": axis, "fused_activation_function": "NONE"}
        yield _case(
            f"{shapes} along {axis}", "concatenation", single("CONCATENATION", parts, [y], **attrs)
        )


def _matmul(dtype: str) -> Iterator[Case]:
    rng, suffix = np.random.default_rng(5), "f32" if dtype == "float32" else "q8"
    sizes = [
        (1, 1, 1),
        (5, 3, 7),
        (13, 17, 16),
        (64, 32, 64),
        (15, 33, 31),
        (6, 65, 33),
        (29, 4, 100),
    ]
    batches: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((), ()),
        ((2, 3), (2, 3)),
        ((3,), ()),
    ]
    batches += [((1, 2), (2, 1))]
    for i, ((m, k, n), (left, right)) in enumerate(product(sizes, batches)):
        x, y = bool(i & 1), bool(i & 2)
        quants = [_quant(rng, dtype, s) for s in (0.05, 0.03, 0.0008 * k**0.5)]
        a = tensor("a", (*left, *((k, m) if x else (m, k))), dtype, quants[0])
        b = tensor("b", (*right, *((n, k) if y else (k, n))), dtype, quants[1])
        out = tensor("y", (*np.broadcast_shapes(left, right), m, n), dtype, quants[2])
        graph = single("BATCH_MATMUL", [a, b], [out], adj_x=x, adj_y=y)
        kernels = (f"batch_matmul_{suffix}", "batch_matmul")
        yield _case(f"{i}: {m}x{k}x{n}", kernels, graph, bound=_FLOAT_BOUND)


_LSTM_BOUND = 1e-5  # fused products, other exponentials; the state carries errors along


def _lstm(dtype: str) -> Iterator[Case]:
    kernels = ("lstm_f32" if dtype == "float32" else "lstm_q8", "lstm")
    options: list[dict[str, Any]] = [{}, {"batch": 2}, {"batch": 3, "time_major": True}]
    options += [{"cell_bits": bits} for bits in (9, 10, 12, 13, 14, 15) if dtype == "int8"]
    options += [{"cell_clip": 0.3, "batch": 2, "time_major": True, "size": (19, 9, 10)}]
    options += [{"size": size} for size in ((8, 4, 16), (9, 40, 17), (17, 3, 33), (5, 33, 128))]
    for seed, more in enumerate(options):
        graph = lstm(dtype, seed, **more)
        yield _case(f"{more}", kernels, graph, runs=3, bound=_LSTM_BOUND)


# The same kernels on tensors that lie otherwise in memory.


def _moved(groups: tuple[str, ...], move: Callable[[Graph], Graph]) -> Cases:
    def cases(dtype: str) -> Iterator[Case]:
        for name in groups:
            if dtype not in GROUPS[name][1]:
                continue
            alone = [c for c in GROUPS[name][0](dtype) if _movable(c, move)]
            for case in alone[:: max(1, len(alone) // 24)]:
                graph, node = move(case.graph), case.graph.nodes[0].name
                given = {k: v for k, v in case.feeds.items() if k in graph.inputs}
                feeds = _feeds(graph, 7) | given
                yield replace(case, graph=graph, feeds=feeds, memory=graph.name, node=node)

    return cases


def _movable(case: Case, move: Callable[[Graph], Graph]) -> bool:
    """One node, of odd sizes; of one shape where it shall work in place."""
    graph = case.graph
    tensors = [*graph.inputs.values(), *graph.outputs.values()]
    if len(graph.nodes) != 1 or any(t.shape[-1] == 1 for t in tensors):
        return False
    if move is strided:
        return graph.nodes[0].op not in ("RESIZE_BILINEAR", "HARD_SWISH", "LEAKY_RELU")
    if move is in_place:
        return len({t.shape for t in tensors}) == 1
    return all(t.bytes % 64 for t in tensors)


_ALL = ("float32", *EIGHT_BIT)
_WEIGHTED = ("conv", "depthwise", "dense")
_ELEMENTWISE = ("binary", "softmax", "unary", "lookup")

#: Group -> its cases and the types it has them for.
GROUPS: dict[str, tuple[Cases, tuple[str, ...]]] = {
    "conv": (_conv, _ALL),
    "depthwise": (_depthwise, _ALL),
    "dense": (_dense, _ALL),
    "hybrid": (_hybrid, ("float32",)),
    "dynamic": (_dynamic, _ALL),
    "binary": (_binary, (*_ALL, "int32")),
    "pool": (_pool, _ALL),
    "reduce": (_reduce, (*_ALL, "int32")),
    "softmax": (_softmax, _ALL),
    "unary": (_unary, ("float32",)),
    "lookup": (_lookup, EIGHT_BIT),
    "quantize": (_quantize, ("float32", "int16", "int8")),
    "resize": (_resize, (*_ALL, "int16")),
    "concatenation": (_concatenation, (*_ALL, "int16", "int64", "bool")),
    "matmul": (_matmul, _ALL),
    "lstm": (_lstm, ("float32", "int8")),
}
GROUPS["in place"] = (_moved(_ELEMENTWISE, in_place), _ALL)
GROUPS["unaligned"] = (_moved((*_WEIGHTED, *_ELEMENTWISE, "pool", "resize"), unaligned), _ALL)
GROUPS["strided"] = (_moved(("conv", "pool", "unary", "lookup", "resize"), strided), _ALL)
#: (group, type, rounding): every group's, in both roundings where integers are requantised.
PARTS = [
    (group, dtype, rounding)
    for group, (_, types) in GROUPS.items()
    for dtype in types
    for rounding in ("xnnpack", "tflite")
    if rounding == "xnnpack" or dtype in EIGHT_BIT or group in ("quantize", "hybrid")
]


@cache
def cases(group: str, dtype: str) -> tuple[Case, ...]:
    """The cases of a group for a type."""
    return tuple(GROUPS[group][0](dtype))
