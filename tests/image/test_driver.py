"""The C driver: clean under sanitizers here, and NEON equal to ref under qemu."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from edgeinfer import _build

HERE = Path(__file__).resolve().parent


def build(compiler, machine, folder, extra):
    """Compile the driver with the image path and isa.c, each with the flags of its folder."""
    objects = []
    files = [(f, flags) for f, flags in _build.sources(machine)
             if f.startswith("csrc/image/") and not f.endswith("ssd.c")]  # fmt: skip
    files += [("csrc/engine/isa.c", _build.CFLAGS), (str(HERE / "driver.c"), _build.CFLAGS)]
    for i, (source, flags) in enumerate(files):
        out = folder / f"{i}.o"
        subprocess.run(
            [compiler, *flags, *extra, "-c", _build.ROOT / source, "-o", out], check=True
        )
        objects.append(out)
    program = folder / "driver"
    subprocess.run([compiler, *extra, *objects, "-lm", "-o", program], check=True)
    return program


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_clean_under_sanitizers(tmp_path):
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    extra = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    program = build("gcc", platform.machine(), tmp_path, extra)
    assert ", 0 wrong" in run([program, "1500"])


def test_neon_equals_ref_under_qemu(tmp_path):
    for tool in ("aarch64-linux-gnu-gcc", "qemu-aarch64-static"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    program = build("aarch64-linux-gnu-gcc", "aarch64", tmp_path, [])
    out = run(["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu", program, "800"])
    assert ", 0 wrong" in out
    assert "isa ref" not in out
