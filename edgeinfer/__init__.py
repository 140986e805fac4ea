"""edgeinfer: inference for vehicles and devices.

import edgeinfer as ei
model = ei.load("detector.tflite")
session = ei.Session(model, board="host", threads=1)
session["image"][...] = frame
session.run()
boxes = session["boxes"]
"""

from .board import Board
from .engine.deadline import CpuPlan, LastResult, Outcome, SmallerModel, Times
from .engine.model import Model, load
from .engine.plan import Plan, build
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
    "load",
]
