"""The ceilings of this machine, measured: multiply-accumulates and bytes a second.

A short loop of the ISA's widest multiply-accumulate instruction on registers alone, and a loop
that reads a buffer; csrc/engine/peak.h says how. Each is measured once a process.
"""

from __future__ import annotations

from functools import cache

from .. import _native
from ..errors import UnsupportedError

ffi, lib = _native.ffi, _native.lib
_SECONDS = 0.03


@cache
def macs_per_second(isa: str, dtype: str, threads: int = 1) -> float | None:
    """Peak multiply-accumulates a second for dtype "float32" or "int8" (uint8 is the same).

    None where the ISA has no vector instructions ("ref"), or where this machine lacks it.
    """
    code = _native.DTYPES["int8" if dtype in ("int8", "uint8") else dtype]
    rate = ffi.new("double *")
    status = lib.ei_peak_macs(_native.ISAS.index(isa), code, threads, _SECONDS, rate)
    try:
        _native.check(status, what=f"peak of {isa}, {dtype}")
    except UnsupportedError:
        return None
    return float(rate[0])


@cache
def bytes_per_second(size: int, threads: int = 1) -> float:
    """Bytes read a second from `size` bytes (at most 4 GiB), each thread over its own share."""
    rate = ffi.new("double *")
    status = lib.ei_peak_read(min(size, 1 << 32), threads, _SECONDS, rate)
    _native.check(status, what=f"read bandwidth over {size} bytes, {threads} threads")
    return float(rate[0])
