"""Compiles C programs of the tests together with the project's own sources."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgeinfer import _build

ROOT = _build.ROOT


def compiler(target: str = "x86_64") -> str:
    """The C compiler for a target machine; skips the test where there is none."""
    name = "gcc" if target == _build.machine() else f"{target}-linux-gnu-gcc"
    if shutil.which(name) is None:
        pytest.skip(
            f"{name} is not installed: apt-get install gcc-{target.replace('_', '-')}-linux-gnu"
        )
    return name


def build(
    folder: Path,
    program: str,
    *flags: str,
    target: str | None = None,
    optimise: str = "-O2",
    cc: str = "",
) -> Path:
    """Compile `program` (relative to tests/) with the engine's sources; returns the executable."""
    target = target or _build.machine()
    cc = cc or compiler(target)
    jobs = [(s, f) for s, f in _build.sources(target)]
    jobs.append((f"tests/{program}", _build.CFLAGS))

    def compile_one(job: tuple[str, tuple[str, ...]]) -> str:
        source, own = job
        out = folder / (source.replace("/", "_") + ".o")
        own = tuple(optimise if f == "-O3" else f for f in own)
        command = [cc, *own, "-Werror", *flags, "-Icsrc", "-c", source, "-o", str(out)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        return str(out)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, jobs))
    out = folder / Path(program).stem
    link = [cc, *flags, *objects, "-o", str(out), "-lm", "-lpthread", "-lrt"]
    subprocess.run(link, cwd=ROOT, check=True, capture_output=True)
    return out
