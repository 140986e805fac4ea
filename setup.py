"""Builds `edgeinfer._edgeinfer`: every C file with the flags of its folder, in one extension.

The same object files, linked without Python, are the external delegate for TFLite.
"""

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
        self._link_plugin(temp, Path(self.get_ext_fullpath(ext.name)).parent)

    def _link_plugin(self, temp, folder):
        mine = [s for s, _ in _build.sources() if _build.in_plugin(s)]
        objects = [str(temp / (s[:-2] + ".o")) for s in mine]
        objects += self._compile(temp, _build.plugin_sources())
        self.compiler.link_shared_object(
            objects, str(folder / _build.PLUGIN_NAME), libraries=["m", "pthread", "rt"],
            extra_postargs=list(_build.PLUGIN_LDFLAGS),
        )  # fmt: skip

    def copy_extensions_to_source(self):
        super().copy_extensions_to_source()
        made = Path(self.build_lib) / "edgeinfer" / _build.PLUGIN_NAME
        self.copy_file(str(made), str(ROOT / "edgeinfer" / _build.PLUGIN_NAME))

    def get_outputs(self):
        """What is installed: the delegate lies beside the extension."""
        made = super().get_outputs()
        return [*made, str(Path(made[0]).parent / _build.PLUGIN_NAME)]

    def _objects(self, temp):
        return self._compile(temp, _build.sources())

    def _compile(self, temp, sources):
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
            return list(pool.map(compile_one, sources))


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
