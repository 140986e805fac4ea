"""edgeinfer: inference for vehicles and devices.

import edgeinfer as ei
model = ei.load("detector.tflite")
session = ei.Session(model, board="host", threads=1)
session["image"][...] = frame
session.run()
boxes = session["boxes"]
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .board import Board
    from .engine.deadline import CpuPlan, LastResult, SmallerModel, Times
    from .engine.external import delegate_library, tflite_delegate
    from .engine.model import Model, load
    from .engine.outcome import Outcome
    from .engine.plan import build
    from .engine.saved import Plan
    from .engine.session import Session
    from .engine.tensor import Quantisation, Tensor
    from .errors import EdgeInferError

__version__ = "0.1.0"

__all__ = [
    "Board",
    "CpuPlan",
    "EdgeInferError",
    "LastResult",
    "Model",
    "Outcome",
    "Plan",
    "Quantisation",
    "Session",
    "SmallerModel",
    "Tensor",
    "Times",
    "build",
    "delegate_library",
    "load",
    "tflite_delegate",
]

#: Public name -> its module, imported when the name is first used: a program that runs a saved plan
#: starts without the readers, the planner and what they need.
_HOMES = {
    "Board": "board",
    "CpuPlan": "engine.deadline",
    "EdgeInferError": "errors",
    "LastResult": "engine.deadline",
    "Model": "engine.model",
    "Outcome": "engine.outcome",
    "Plan": "engine.saved",
    "Quantisation": "engine.tensor",
    "Session": "engine.session",
    "SmallerModel": "engine.deadline",
    "Tensor": "engine.tensor",
    "Times": "engine.deadline",
    "build": "engine.plan",
    "delegate_library": "engine.external",
    "load": "engine.model",
    "tflite_delegate": "engine.external",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
