"""The C engine as Python sees it: the extension, its constants, one `check`."""

from __future__ import annotations

from typing import Any

from . import errors

try:
    from ._edgeinfer import __file__ as _library
    from ._edgeinfer import ffi, lib
except ImportError as exc:  # pragma: no cover - only in a tree that was not built
    raise ImportError(
        f"the C engine is not built ({exc}): run 'pip install .' or "
        "'python setup.py build_ext --inplace' (needs gcc and the Python headers)"
    ) from exc

ISAS = tuple(ffi.string(lib.ei_isa_name(i)).decode() for i in range(lib.EI_ISAS))
DTYPES = {
    "float32": lib.EI_F32,
    "float16": lib.EI_F16,
    "int8": lib.EI_I8,
    "uint8": lib.EI_U8,
    "int16": lib.EI_I16,
    "int32": lib.EI_I32,
    "int64": lib.EI_I64,
    "bool": lib.EI_BOOL,
    "blob": lib.EI_BLOB,
    "float64": lib.EI_F64,
}
DTYPE_NAMES = {code: name for name, code in DTYPES.items()}
ROUNDINGS = {"xnnpack": lib.EI_ROUND_XNNPACK, "tflite": lib.EI_ROUND_TFLITE}

_RAISES = {
    lib.EI_E_ARGUMENT: ValueError,
    lib.EI_E_MEMORY: MemoryError,
    lib.EI_E_UNSUPPORTED: errors.UnsupportedError,
    lib.EI_E_DELEGATE: errors.DelegateError,
    lib.EI_E_CANCELLED: errors.RunCancelledError,
    lib.EI_E_CLOSED: errors.SessionClosedError,
}


def check(status: int, err: Any = None, what: str = "") -> None:
    """Raise the error that `status` stands for; nothing for 0 (success)."""
    if status == 0:
        return
    said = ffi.string(err.text).decode(errors="replace") if err is not None else ""
    text = said or ffi.string(lib.ei_status_text(status)).decode()
    raise _RAISES.get(status, errors.PlanError)(f"{what}: {text}" if what else text)


def library() -> str:
    """Path of the C engine's file."""
    return str(_library)


def best_isa() -> str:
    """Name of the best instruction set here; EDGEINFER_ISA forces a lesser one."""
    return ISAS[lib.ei_isa_best()]


def isas() -> tuple[str, ...]:
    """Names of the instruction sets whose kernels this machine can run, "ref" first."""
    return tuple(name for i, name in enumerate(ISAS) if lib.ei_isa_has(i))


def kernels(isa: str) -> tuple[str, ...]:
    """Names of the kernels that an ISA adds ("avx2/conv_2d_q8"); none for other machines' ISAs."""
    code = ISAS.index(isa)
    found: list[str] = []
    while (name := lib.ei_isa_kernel(code, len(found))) != ffi.NULL:
        found.append(ffi.string(name).decode())
    return tuple(found)


def pack_params(struct: str, values: dict[str, Any]) -> bytes:
    """Bytes of `ei_<struct>_params` with the fields given; b"" where `struct` is empty."""
    if not struct:
        return b""
    return bytes(ffi.buffer(ffi.new(f"ei_{struct}_params *", values)))
