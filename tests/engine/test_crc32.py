"""The checksum of plans is zlib's, on every machine and for every length and start."""

from __future__ import annotations

import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from edgeinfer import _build
from tests import native


@pytest.mark.parametrize("target", ["x86_64", "aarch64"])
@pytest.mark.parametrize("flags", [(), ("-fsanitize=undefined,address",)], ids=["", "sanitized"])
def test_checksum_is_zlibs(tmp_path: Path, target: str, flags: tuple[str, ...]) -> None:
    here = target == _build.machine()
    runner = [] if here else [shutil.which(f"qemu-{target}") or ""]
    if runner == [""] or (flags and not here):
        pytest.skip(f"needs qemu-{target}" if not flags else "sanitizers run on the machine itself")
    program = tmp_path / "crc32"
    sources = ["tests/engine/crc32.c", "csrc/engine/crc32.c"]
    more = flags or (() if here else ("-static",))
    command = [native.compiler(target), *_build.CFLAGS, "-Werror", *more, "-Icsrc", *sources]
    subprocess.run([*command, "-o", str(program)], check=True, cwd=_build.ROOT)
    data = np.random.default_rng(0).integers(0, 256, 400).astype(np.uint8).tobytes()
    done = subprocess.run([*runner, str(program)], input=data, capture_output=True, check=True)
    want = [
        f"{zlib.crc32(data[s : s + n])} {zlib.crc32(data[s : s + n], 77)}"
        for s in range(3)
        for n in range(len(data) - s + 1)
    ]
    assert done.stdout.decode().splitlines() == want
