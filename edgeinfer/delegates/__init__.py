"""Delegates by name, imported on demand; a missing driver is a named error with its reason."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from ..errors import DelegateError
from .base import Delegate

_MODULES = {"tflite": "tflite"}
_known: dict[str, Delegate] = {}


def names() -> list[str]:
    """Names of the delegates: ours, and those that installed packages offer."""
    return sorted({*_MODULES, *(e.name for e in entry_points(group="edgeinfer.delegates"))})


def get(name: str) -> Delegate:
    """The delegate of that name; DelegateError where there is none."""
    if name not in _known:
        _known[name] = _load(name)
    return _known[name]


def _load(name: str) -> Delegate:
    if name in _MODULES:
        module = import_module(f"{__name__}.{_MODULES[name]}")
        return module.create()  # type: ignore[no-any-return]
    for entry in entry_points(group="edgeinfer.delegates"):
        if entry.name == name:
            return entry.load()()  # type: ignore[no-any-return]
    raise DelegateError(f"no delegate {name!r}; there are: {', '.join(names())}")
