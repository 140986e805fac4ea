"""The C engine built with a checker, once for all tests of a session that want the same build."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests import native

ASAN = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wno-error")
TSAN = ("-g", "-fsanitize=thread", "-Wno-error")
DEBUG = ("-g",)


@functools.cache
def _engine(flags: tuple[str, ...]) -> Path:
    """A folder with the engine's objects, removed at exit; `run_plan` is in it, too."""
    folder = Path(tempfile.mkdtemp(prefix="edgeinfer-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    native.build(folder, "engine/run_plan.c", *flags, optimise="-O1")
    return folder


@functools.cache
def program(source: str, flags: tuple[str, ...], more: tuple[str, ...] = ()) -> Path:
    """The executable of tests/`source` linked with the engine and `more` of the repository's C
    files, all compiled with the flags.
    """
    folder = _engine(flags)
    out = folder / Path(source).stem
    if not out.exists():
        objects = sorted(folder.glob("csrc_*.o"))
        command = [native.compiler(), "-std=c11", "-O1", *flags, "-Icsrc", f"tests/{source}", *more]
        libraries = ["-o", out, "-lm", "-lpthread", "-lrt"]
        subprocess.run([*command, *objects, *libraries], cwd=native.ROOT, check=True)
    return out
