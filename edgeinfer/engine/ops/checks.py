"""What the lowerings check alike, with errors that name the node, the value and the rule."""

from __future__ import annotations

import numpy as np

from ...errors import ShapeError, UnsupportedError
from ..graph import Node
from ..tensor import Quantisation, Tensor

EIGHT_BIT = ("int8", "uint8")
INTEGERS = ("int8", "uint8", "int16", "int32", "int64", "bool")
#: Types that kernels which only move bytes take.
MOVABLE = ("float32", "float16", *INTEGERS)


def refuse(node: Node, why: str) -> UnsupportedError:
    """The error for a node that no kernel of ours runs: `why` names rule, value and limit."""
    return UnsupportedError(f"{node.op} (node {node.name!r}): {why}")


def expect_types(node: Node, tensor: Tensor, allowed: tuple[str, ...]) -> None:
    """UnsupportedError unless the tensor has one of the types."""
    if tensor.dtype not in allowed:
        raise refuse(node, f"{tensor} has a type we do not take; ours are {', '.join(allowed)}")


def expect_shape(node: Node, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """ShapeError unless the tensor has the shape."""
    if tensor.shape != tuple(shape):
        raise ShapeError(
            f"{node.op} (node {node.name!r}): {tensor} should have shape {list(shape)}"
        )


def broadcast_shape(node: Node, a: Tensor, b: Tensor) -> tuple[int, ...]:
    """The shape two tensors broadcast to from the right; ShapeError where they do not."""
    try:
        return tuple(np.broadcast_shapes(a.shape, b.shape))
    except ValueError:
        raise ShapeError(f"{node.op} (node {node.name!r}): {a} and {b} do not broadcast") from None


def expect_rank(node: Node, tensor: Tensor, ranks: tuple[int, ...]) -> None:
    """UnsupportedError unless the tensor has one of the ranks."""
    if len(tensor.shape) not in ranks:
        raise refuse(node, f"{tensor} has {len(tensor.shape)} dimensions, not one of {ranks}")


def same_quantisation(a: Tensor, b: Tensor) -> bool:
    """Whether equal integers of the two stand for equal real values."""
    if a.quant is None or b.quant is None or a.dtype not in (*EIGHT_BIT, "int16"):
        return True
    return (
        np.array_equal(a.quant.scale, b.quant.scale)
        and np.array_equal(a.quant.zero, b.quant.zero)
        and (not a.quant.per_channel or a.quant.axis == b.quant.axis)
    )


def expect_same(node: Node, a: Tensor, b: Tensor) -> None:
    """UnsupportedError unless type and quantisation are equal: the node only moves data."""
    if a.dtype != b.dtype:
        raise refuse(node, f"{a} and {b} differ in type")
    if not same_quantisation(a, b):
        raise refuse(node, f"{a} and {b} are quantised differently, and it only moves data")


def scalar_quantisation(node: Node, tensor: Tensor) -> Quantisation:
    """The per-tensor quantisation of an 8- or 16-bit tensor; UnsupportedError where it has none."""
    quant = tensor.quant
    if quant is None or quant.per_channel:
        raise refuse(node, f"{tensor} needs one scale and one zero point")
    info = np.iinfo(tensor.dtype)
    if not float(quant.scale[0]) > 0 or not info.min <= int(quant.zero[0]) <= info.max:
        raise refuse(node, f"{tensor} has a scale that is not positive or a zero point off range")
    return quant


def constant(node: Node, i: int, what: str) -> np.ndarray:
    """The value of input i, which must be known at plan time."""
    tensor = node.input(i)
    if not tensor.constant or tensor.data is None:
        raise refuse(node, f"its {what} ({tensor}) is computed at run time; it must be a constant")
    return np.asarray(tensor.data)


def integers(node: Node, i: int, what: str) -> list[int]:
    """The integers of constant input i, flattened."""
    return [int(v) for v in constant(node, i, what).reshape(-1)]


def axis_of(node: Node, axis: int, rank: int) -> int:
    """A dimension number counted from the end where negative, made positive."""
    if not -rank <= axis < rank:
        raise ShapeError(f"{node.op} (node {node.name!r}): axis {axis} of {rank} dimensions")
    return axis % rank


def six(values: list[int], fill: int) -> list[int]:
    """`values` filled up to the six entries of a parameter struct."""
    return [*values, *[fill] * (6 - len(values))]


def made(name: str, data: np.ndarray) -> Tensor:
    """A constant made at plan time."""
    return Tensor(name, data.shape, str(data.dtype), data=np.ascontiguousarray(data))
