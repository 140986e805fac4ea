"""Builds the C engine: which files, which flags, which declarations Python sees.

`setup.py` uses it for the extension `edgeinfer._edgeinfer` (cffi, API mode, stable ABI); tests and
tools use it to compile the same sources into programs of their own.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

import cffi

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"

#: Headers whose marked blocks make up the declarations, in order of inclusion.
HEADERS = (
    "edgeinfer.h",
    "engine/peak.h",
    "kernels/ops.h",
    "kernels/ops_math.h",
    "kernels/ops_shape.h",
    "image/image.h",
    "rt/rt.h",
    "guard/guard.h",
)

#: Flags for every file. No contraction: a fused multiply-add rounds once where the definition of
#: the arithmetic rounds twice. Vector kernels name their fused operations themselves.
CFLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-ffp-contract=off", "-fvisibility=hidden")

#: Loops that gain by being multiplied into variants; everywhere else that only makes it large.
HOT = ("binary.c", "dw_q8.c", "dw_tiles_q8.c", "rows.c")
HOT_CFLAGS = ("-O3",)

#: After those for reference kernels: loops become vectors, but are not multiplied into variants for
#: every case. Where the machine's own folders have a file of that name, which then runs instead,
#: they are the definition and no more. Together that is a sixth of the library.
REF_CFLAGS = ("-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic")
REPLACED_CFLAGS = ("-Os",)

#: gcc moves the loads and products of a tile ahead of the sums before it gives out registers, of
#: which there are then not enough: the inner loops spill. It orders them again afterwards.
NEON_CFLAGS = ("-fno-schedule-insns",)

#: Folder name -> flags of the files in it, by machine. A folder for another machine is left out.
ISA_FLAGS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {
        "avx2": ("-mavx2", "-mfma", "-mf16c"),
        "avxvnni": ("-mavxvnni", "-mavx2", "-mfma", "-mf16c"),
        "avx512vnni": (
            "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni",
            "-mavx2", "-mfma", "-mf16c",
        ),
    },
    "aarch64": {
        "neon": NEON_CFLAGS,
        "dotprod": ("-march=armv8.2-a+dotprod",),
        "i8mm": ("-march=armv8.2-a+dotprod+i8mm",),
    },
}  # fmt: skip
ISA_FOLDERS = {isa for flags in ISA_FLAGS.values() for isa in flags}

_BLOCK = re.compile(r"/\* cffi:begin \*/(.*?)/\* cffi:end \*/", re.S)


def machine() -> str:
    """The machine compiled for: x86_64, aarch64, ...; _PYTHON_HOST_PLATFORM when crossing."""
    host = os.environ.get("_PYTHON_HOST_PLATFORM", "")
    return host.rsplit("-", 1)[-1] if host else platform.machine()


def sources(target: str | None = None) -> list[tuple[str, tuple[str, ...]]]:
    """(file relative to the repository, flags) of every C file for the target machine."""
    flags = ISA_FLAGS.get(target or machine(), {})
    found = []
    for path in sorted(CSRC.rglob("*.c")):
        folders = ISA_FOLDERS.intersection(path.relative_to(CSRC).parts)
        if folders <= flags.keys() and "delegates" not in path.relative_to(CSRC).parts:
            extra = tuple(f for isa in folders for f in flags[isa])
            if path.parent.name == "ref":
                extra = _reference_flags(path, flags)
            elif path.name in HOT:
                extra += HOT_CFLAGS
            found.append((str(path.relative_to(ROOT)), CFLAGS + extra))
    return found


def plugin_sources() -> list[tuple[str, tuple[str, ...]]]:
    """The same of the external delegate for TFLite, which is linked with the engine's files."""
    paths = sorted((CSRC / "delegates" / "tflite").glob("*.c"))
    return [(str(p.relative_to(ROOT)), (*CFLAGS, "-Os")) for p in paths]


def in_plugin(source: str) -> bool:
    """Whether a file of `sources` is part of that library: the engine and its kernels are."""
    return Path(source).parts[1] in ("engine", "kernels") and Path(source).stem != "peak"


#: How it is linked: nothing is visible but the entry points, nothing of TensorFlow is needed.
PLUGIN_NAME = "libedgeinfer_delegate.so"
PLUGIN_LDFLAGS = (
    "-s", "-Wl,-z,defs", "-Wl,-Bsymbolic",
    f"-Wl,--version-script={CSRC / 'delegates' / 'tflite' / 'exports.map'}",
)  # fmt: skip


def _reference_flags(path: Path, isas: Iterable[str]) -> tuple[str, ...]:
    replaced = any((path.parents[1] / isa / path.name).exists() for isa in isas)
    return REPLACED_CFLAGS if replaced else REF_CFLAGS


def declarations() -> str:
    """What Python sees of the C side: the marked blocks of the headers."""
    paths = [CSRC / name for name in HEADERS]
    blocks = [b for p in paths if p.exists() for b in _BLOCK.findall(p.read_text())]
    lines = "\n".join(blocks).splitlines()
    return "\n".join(line for line in lines if not line.startswith("#if"))


def builder() -> cffi.FFI:
    """The cffi builder of `edgeinfer._edgeinfer`; its C files are compiled by setup.py."""
    ffi = cffi.FFI()
    ffi.cdef(declarations())
    includes = "\n".join(f'#include "{h}"' for h in HEADERS if (CSRC / h).exists())
    ffi.set_source("edgeinfer._edgeinfer", includes, py_limited_api=True)
    return ffi
