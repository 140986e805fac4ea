"""Builds `edgeinfer._edgeinfer`: every C file with the flags of its folder, in one extension."""

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("_build", ROOT / "edgeinfer" / "_build.py")
_build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(_build)


class BuildEngine(build_ext):
    """Compiles the sources group by group, since setuptools knows one set of flags only."""

    def build_extension(self, ext):
        if ext.sources:  # not the engine: one file for Python alone
            ext.extra_compile_args = ["-std=c11", "-Wall", "-Wextra"]
            super().build_extension(ext)
            return
        temp = Path(self.build_temp)
        temp.mkdir(parents=True, exist_ok=True)
        wrapper = temp / "_edgeinfer.c"
        _build.builder().emit_c_code(str(wrapper))
        ext.extra_objects = self._objects(temp)
        ext.depends = list(ext.extra_objects)  # else a changed object would not be linked again
        ext.sources = [str(wrapper)]
        ext.extra_compile_args = ["-Os"]  # calls into C and nothing else: small, not fast
        ext.include_dirs = [str(_build.CSRC)]
        super().build_extension(ext)

    def _objects(self, temp):
        headers = max(p.stat().st_mtime for p in _build.CSRC.rglob("*.h"))

        def compile_one(item):
            source, flags = item
            target = temp / (source[:-2] + ".o")
            # A file of an ISA's folder may include the reference file of its name.
            twin = _build.CSRC / "kernels" / "ref" / Path(source).name
            parts = [Path(source), *([twin] if twin.exists() else [])]
            newest = max(headers, *(p.stat().st_mtime for p in parts))
            if self.force or not target.exists() or target.stat().st_mtime < newest:
                target.parent.mkdir(parents=True, exist_ok=True)
                # Nothing is thrown through C: a tenth of the library would be tables for that.
                flags = (*flags, "-fno-asynchronous-unwind-tables")
                command = [*self.compiler.compiler_so, *flags, "-c", source, "-o", str(target)]
                self.spawn(command)
            return str(target)

        with ThreadPoolExecutor(cpu_count() or 1) as pool:
            return list(pool.map(compile_one, _build.sources()))


setup(
    ext_modules=[
        Extension(
            "edgeinfer._edgeinfer",
            sources=[],
            libraries=["m", "pthread", "rt"],
            py_limited_api=True,
            define_macros=[("Py_LIMITED_API", "0x030A0000")],
        ),
        Extension(
            "edgeinfer._call",
            sources=["edgeinfer/_call.c"],
            py_limited_api=True,
            define_macros=[("Py_LIMITED_API", "0x030A0000")],
        ),
    ],
    cmdclass={"build_ext": BuildEngine},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
