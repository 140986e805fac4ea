"""Plan: a graph placed on kernels, laid out in one arena, packed for one ISA; frozen and saved.

What running a saved plan needs, and no more: how plans are made stands in plan.py.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import _native
from ..errors import PlanError
from .tensor import Quantisation, Tensor

ffi, lib = _native.ffi, _native.lib


@dataclass(eq=False)
class StepInfo:
    """One step of a plan: name of its node, kernel ("avx2/conv_2d_q8") or "" and its delegate.

    `inputs` and `outputs` are tensor indices (-1: absent); `macs` the multiply-accumulates of a
    run, 0 where there are none or the plan does not say (floating point: 24 bits of it).
    """

    index: int
    name: str
    kernel: str
    delegate: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    macs: int


class Plan:
    """A plan in memory. Make one with `plan.build` or `Plan.load`; `save` writes it to one file.

    `inputs` and `outputs` map names to Tensor (shape, dtype, quantisation); `isa`, `rounding`,
    `arena_bytes` say what it was made for. Raises PlanError where the bytes are damaged, of another
    version, or need an ISA this machine lacks.
    """

    def __init__(self, data: Any, what: str = "plan") -> None:
        self._data = data
        self._buffer = ffi.from_buffer(data)
        handle, err = ffi.new("ei_plan **"), ffi.new("ei_error *")
        _native.check(lib.ei_plan_open(self._buffer, len(data), handle, err), err, what)
        self.handle = ffi.gc(handle[0], lib.ei_plan_close)
        self.isa = _native.ISAS[lib.ei_plan_isa(self.handle)]
        self.rounding = {v: k for k, v in _native.ROUNDINGS.items()}[
            lib.ei_plan_rounding(self.handle)
        ]
        self.arena_bytes: int = lib.ei_plan_arena_bytes(self.handle)
        self.input_ids = [lib.ei_plan_input(self.handle, i) for i in range(self._count("inputs"))]
        self.output_ids = [
            lib.ei_plan_output(self.handle, i) for i in range(self._count("outputs"))
        ]
        self.inputs = self._named(self.input_ids)
        self.outputs = self._named(self.output_ids)

    def _count(self, what: str) -> int:
        return int(getattr(lib, "ei_plan_" + what)(self.handle))

    def _named(self, ids: Sequence[int]) -> dict[str, Tensor]:
        return {t.name: t for t in map(self.tensor, ids)}

    def tensor(self, index: int) -> Tensor:
        """Name, shape, type and per-tensor quantisation of a tensor by its index."""
        info = ffi.new("ei_tensor_info *")
        _native.check(lib.ei_plan_tensor(self.handle, index, info), what=f"tensor {index}")
        quant = None
        if info.scale != 0:
            scale, zero = np.array([info.scale], np.float32), np.array([info.zero], np.int32)
            quant = Quantisation(scale, zero)
        shape = tuple(info.dims[0 : info.rank])
        name = ffi.string(info.name).decode(errors="replace")
        return Tensor(name, shape, _native.DTYPE_NAMES[info.dtype], quant)

    @property
    def delegated(self) -> bool:
        """Whether some of its steps belong to a delegate."""
        part = lib.ei_plan_step_delegate
        return any(part(self.handle, i) for i in range(self._count("steps")))

    def steps(self) -> Iterator[StepInfo]:
        """The steps in the order they run."""
        for i in range(self._count("steps")):
            name = ffi.string(lib.ei_plan_step_name(self.handle, i)).decode(errors="replace")
            kernel = lib.ei_plan_step_kernel(self.handle, i)
            part = lib.ei_plan_step_delegate(self.handle, i)
            ins, outs = self._step_tensors(i)
            text = ffi.string(kernel).decode() if kernel != ffi.NULL else ""
            macs = lib.ei_plan_step_macs(self.handle, i)
            count = round(macs) if 0 < macs < 1e18 else 0  # the field is not trusted
            yield StepInfo(i, name, text, self.part(part)[0] if part else "", ins, outs, count)

    def _step_tensors(self, i: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        counts = lib.ei_plan_step_tensors(self.handle, i, ffi.NULL, 0)
        n_in, n_out = counts >> 16, counts & 0xFFFF
        ids = ffi.new("int[]", n_in + n_out)
        lib.ei_plan_step_tensors(self.handle, i, ids, n_in + n_out)
        return tuple(ids[0:n_in]), tuple(ids[n_in : n_in + n_out])

    def part(self, part: int) -> tuple[str, bytes]:
        """Delegate part 1..: the delegate's name and what it compiled."""
        name, data = ffi.new("char **"), ffi.new("void **")
        size = ffi.new("uint64_t *")
        args = ffi.cast("const char **", name), ffi.cast("const void **", data), size
        _native.check(lib.ei_plan_delegate(self.handle, part, *args), what=f"part {part}")
        return ffi.string(name[0]).decode(), bytes(ffi.buffer(data[0], size[0]))

    @property
    def macs(self) -> dict[str, int]:
        """Multiply-accumulates of one run by the type they take in; delegates' are not known."""
        found: dict[str, int] = {}
        for step in self.steps():
            if step.macs and step.inputs[0] >= 0:
                dtype = self.tensor(step.inputs[0]).dtype
                found[dtype] = found.get(dtype, 0) + step.macs
        return found

    @property
    def bytes(self) -> memoryview:
        """The file's content."""
        return memoryview(self._data).cast("B")

    def save(self, path: str | Path) -> None:
        """Write the plan to one file."""
        Path(path).write_bytes(self.bytes)

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Map a saved plan into memory: weights are not copied."""
        try:
            with open(path, "rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as exc:
            raise PlanError(f"{path}: cannot be read as a plan ({exc})") from exc
        return cls(data, str(path))


def fail(handle: Any, plan: Plan, status: int) -> None:
    """Raise what a run's status says, with the step's name."""
    step = lib.ei_session_failed_step(handle)
    name = lib.ei_plan_step_name(plan.handle, step)
    text = ffi.string(name).decode(errors="replace") if name != ffi.NULL else "?"
    _native.check(status, what=f"step {step} ({text})")


def stored_bytes(tensor: Tensor) -> int:
    """Size of a tensor of a plan, bytes, packed constants too."""
    return tensor.count if tensor.dtype == "blob" else tensor.bytes
