"""Our kernels in other people's TFLite: the external delegate and the plans it takes.

path, options = edgeinfer.tflite_delegate("m.tflite", threads=2)
interpreter = Interpreter("m.tflite", experimental_delegates=[load_delegate(path, options)])
"""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .. import _native
from ..errors import ModelError, PlanError
from .model import Model, load

#: Beside the extension; setup.py links it (_build.PLUGIN_NAME).
_LIBRARY = "libedgeinfer_delegate.so"


def delegate_library() -> str:
    """Path of the shared library that any TFLite program loads as an external delegate.

    Its options are plan (a file made by `edgeinfer compile`), rounding, isa and threads. PlanError
    where this installation lacks it.
    """
    path = Path(_native.library()).with_name(_LIBRARY)
    if not path.exists():
        raise PlanError(f"{path} is not there: run 'pip install .' or setup.py build_ext --inplace")
    return str(path)


def tflite_delegate(
    model: str | Path,
    *,
    rounding: str = "xnnpack",
    threads: int | None = None,
    isa: str | None = None,
    nodes: str | Sequence[int] | None = None,
) -> tuple[str, dict[str, str]]:
    """Plan a .tflite model in place: (library, options) for a runtime's load_delegate.

    `nodes`: the operators to take (None: all), by index or "auto" for the largest part that our
    kernels cover. The plan is a temporary file that lives as long as this process. Raises
    UnsupportedError where our kernels lack an operator that was to be taken.
    """
    from .binding import bind
    from .covered import largest_part, parse_nodes
    from .plan import build

    found = load(model)
    if not isinstance(found, Model):
        raise ModelError(f"{model}: a plan; its model is needed here")
    if isinstance(nodes, str):
        nodes = largest_part(found.graph, rounding) if nodes == "auto" else parse_nodes(nodes)
    bound = bind(found, nodes)
    plan = build(
        bound.graph, isa=isa, rounding=rounding, threads=threads or 1, origin=bound.part
    )  # fmt: skip
    handle, path = tempfile.mkstemp(prefix="edgeinfer-", suffix=".plan")
    os.close(handle)
    atexit.register(Path(path).unlink, missing_ok=True)
    plan.save(path)
    options = {"plan": path, "rounding": rounding}
    return delegate_library(), options | ({"threads": str(threads)} if threads else {})
