"""Delegates by name, imported on demand; a missing driver is a named error with its reason."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

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
        return module.create()
    for entry in entry_points(group="edgeinfer.delegates"):
        if entry.name == name:
            return _from(entry)
    raise DelegateError(f"no delegate {name!r}; there are: {', '.join(names())}")


def _from(entry: EntryPoint) -> Delegate:
    """The delegate an installed package offers: its entry point names a function that makes it."""
    try:
        made = entry.load()()
    except (ImportError, AttributeError, OSError) as exc:
        raise DelegateError(
            f"delegate {entry.name!r} ({entry.value}) cannot be loaded: {exc}"
        ) from exc
    if not isinstance(made, Delegate):
        raise DelegateError(f"delegate {entry.name!r}: {entry.value} made {made!r}, no Delegate")
    return made
