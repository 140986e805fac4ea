"""Tensor and its quantisation: what flows along the edges of a Graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Data types a tensor may have: the names numpy gives them.
DTYPES = ("float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool")

#: Type of the value of a variable handle; no data of its own.
RESOURCE = "resource"


@dataclass(eq=False)
class Quantisation:
    """Affine quantisation, real = scale * (q - zero), as in the TFLite 8-bit specification.

    `scale` float32 [1] or [channels], `zero` int32 of the same length, `axis` the channels'
    dimension (0 where per tensor).
    """

    scale: np.ndarray
    zero: np.ndarray
    axis: int = 0

    @property
    def per_channel(self) -> bool:
        """Whether there is more than one scale."""
        return self.scale.size > 1

    def __str__(self) -> str:
        if self.per_channel:
            return f"per channel x{self.scale.size} (axis {self.axis})"
        return f"scale {float(self.scale[0]):.6g} zero {int(self.zero[0])}"


@dataclass(eq=False)
class Tensor:
    """A typed, shaped value: an input, an output, a constant or a state.

    `shape` has no unknown dimension (a batch of -1 was set to 1 when the model was read).
    `data` holds the value of a constant (ndarray of `shape` and `dtype`), else None. `state` marks
    memory that lives from run to run; its first value is `data`, zeros where None.
    Identity, not value, makes two tensors equal.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    quant: Quantisation | None = None
    data: np.ndarray | None = None
    state: bool = False

    @property
    def constant(self) -> bool:
        """Whether the value is known before the first run."""
        return self.data is not None and not self.state

    @property
    def count(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        """Size in memory, bytes."""
        return self.count * np.dtype(self.dtype).itemsize

    @property
    def scale(self) -> float:
        """Scale of a per-tensor quantised tensor; 0.0 where there is none."""
        return float(self.quant.scale[0]) if self.quant is not None else 0.0

    @property
    def zero(self) -> int:
        """Zero point of a per-tensor quantised tensor; 0 where there is none."""
        return int(self.quant.zero[0]) if self.quant is not None else 0

    @property
    def quantised(self) -> bool:
        """Whether the integers stand for real values."""
        return self.quant is not None and self.dtype in ("int8", "uint8", "int16", "int32")

    def __str__(self) -> str:
        shape = "x".join(str(d) for d in self.shape) or "scalar"
        quant = f", {self.quant}" if self.quant is not None else ""
        return f"{self.name}: {self.dtype}[{shape}]{quant}"


def per_tensor(scale: float, zero: int = 0) -> Quantisation:
    """Quantisation with one scale and one zero point."""
    return Quantisation(np.array([scale], np.float32), np.array([zero], np.int32))
