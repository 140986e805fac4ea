"""Holds the floor plan: which way imports point. Reads the imports as text, at any depth."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "edgeinfer"

#: Part of the package -> the parts it may import (itself always). A part is the longest prefix that
#: matches. Order: lowest first.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "_call": set(),
    "_edgeinfer": set(),
    "_build": set(),
    "_native": {"errors", "_edgeinfer"},
    "engine.tensor": set(),
    "engine.graph": {"engine.tensor"},
    "engine.tflite_schema": set(),
    "engine.flatbuffer": {"errors"},
    "engine.arena": set(),
    "engine.ops": {"_native", "errors", "engine.tensor", "engine.graph", "engine.tflite_schema"},
    "engine.tflite": {
        "errors", "engine.tensor", "engine.graph", "engine.flatbuffer", "engine.tflite_schema",
    },
    "engine.tflite_writer": {
        "errors", "engine.tensor", "engine.graph", "engine.tflite_schema", "engine.flexbuffer",
    },
    "engine.passes": {"errors", "engine.tensor", "engine.graph", "engine.ops"},
    "engine.affine": set(),
    "engine.layouts": {"engine.tensor", "engine.ops", "engine.affine"},
    "engine.buffers": {"engine.tensor", "engine.ops"},
    "engine.strided": {"engine.tensor", "engine.ops", "engine.buffers"},
    "engine.memory": {
        "engine.tensor", "engine.ops", "engine.arena", "engine.buffers", "engine.strided",
    },
    "engine.planfile": {"_native", "engine.tensor", "engine.ops", "engine.memory"},
    "delegates": {"errors", "engine.tensor", "engine.graph", "engine.tflite_schema",
                  "engine.tflite_writer"},
    "image": {"_native", "errors"},
    "board": {"_native", "errors"},
}  # fmt: skip

_ENGINE = {"_call", "_native", "errors", "engine", "delegates", "board", "image"}
ALLOWED["engine"] = _ENGINE
ALLOWED["pipeline.messages"] = {"errors"}
ALLOWED["io"] = {"errors", "pipeline.messages"}
ALLOWED["pipeline"] = {*_ENGINE, "pipeline", "io"}
ALLOWED["draw"] = {"pipeline.messages"}
ALLOWED["report"] = set()
ALLOWED["bench.worker"] = {"__init__"}
ALLOWED["bench.figures"] = set()
ALLOWED["bench"] = {*_ENGINE, "report", "__init__"}
ALLOWED["audio"] = {"errors"}
ALLOWED["cli"] = {*_ENGINE, "pipeline", "io", "draw", "report", "audio", "bench",
                  "__init__"}  # fmt: skip
ALLOWED["__main__"] = {"cli"}
ALLOWED["__init__"] = {*_ENGINE, "image"}


def _modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found[name] = path
    return found


MODULES = _modules()


def _targets(name: str, path: Path) -> set[str]:
    """Modules of this package that the file imports, as dotted names inside the package."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    package = [p for p in package if p != "__init__"]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - node.level + 1] if node.level > 1 else package
            elif (node.module or "").split(".")[0] == "edgeinfer":
                base = []
            else:
                continue
            module = (node.module or "").split(".") if node.module else []
            module = module[1:] if not node.level else module
            dotted = ".".join([*base, *module])
            for alias in node.names:
                full = f"{dotted}.{alias.name}".strip(".")
                found.add(full if full in MODULES else dotted or "__init__")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "edgeinfer":
                    found.add(".".join(alias.name.split(".")[1:]) or "__init__")
    return found


def _part(name: str) -> str:
    """The longest key of ALLOWED that is the module or a package it lies in."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        if ".".join(parts[:n]) in ALLOWED:
            return ".".join(parts[:n])
    return ""


def _inside(target: str, allowed: str) -> bool:
    return target == allowed or target.startswith(allowed + ".")


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_the_drawn_way(name: str) -> None:
    part = _part(name)
    assert part, f"edgeinfer/{name}: a module that the floor plan does not have"
    allowed = {*ALLOWED[part], part, "errors"}
    wrong = [t for t in _targets(name, MODULES[name]) if not any(_inside(t, a) for a in allowed)]
    assert not wrong, f"{name} ({part}) may import {sorted(allowed)}, not {sorted(wrong)}"


def test_a_wrong_arrow_is_seen(tmp_path: Path) -> None:
    """The reader of imports finds an upward import in every form."""
    path = tmp_path / "tensor.py"
    path.write_text("from ..pipeline import stage\nimport edgeinfer.cli\nfrom . import session\n")
    assert {"cli", "engine.session"} <= _targets("engine.tensor", path)
    assert any(t.startswith("pipeline") for t in _targets("engine.tensor", path))


def test_every_public_name_is_there() -> None:
    import edgeinfer

    assert edgeinfer.__all__ == sorted(edgeinfer._HOMES)
    for name in edgeinfer.__all__:
        assert getattr(edgeinfer, name).__name__ == name
    assert set(edgeinfer.__all__) <= set(dir(edgeinfer))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = edgeinfer.nothing
