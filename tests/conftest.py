"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]


def shared_path(relative: str) -> Path:
    """A file of the folder of real models and data (EDGEINFER_SHARED, else ../shared).

    Skips the test where that folder is absent: tests must pass without it.
    """
    folder = Path(os.environ.get("EDGEINFER_SHARED", _ROOT.parent / "shared"))
    path = folder / relative
    if not path.exists():
        pytest.skip(f"needs {relative} of the shared data folder (EDGEINFER_SHARED), absent here")
    return path


@pytest.fixture
def shared() -> object:
    """The function `shared_path`."""
    return shared_path
