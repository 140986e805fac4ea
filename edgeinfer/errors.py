"""Errors: every one names the thing, the value and the fix."""

from __future__ import annotations


class EdgeInferError(Exception):
    """Base of every error this package raises on purpose."""


class ModelError(EdgeInferError):
    """A model file is damaged, truncated or not a model."""


class UnsupportedError(EdgeInferError):
    """A node, type or option that no kernel or named delegate here can run."""


class PlanError(EdgeInferError):
    """A plan cannot be made, loaded or run on this machine."""


class ShapeError(EdgeInferError):
    """A tensor has another shape or type than it must have."""


class BoardError(EdgeInferError):
    """A board is unknown or its data are incomplete."""


class DelegateError(EdgeInferError):
    """A delegate is missing, refused a node or failed while running."""


class DeviceError(EdgeInferError):
    """A camera, bus, file or simulator cannot be opened, read or written."""


class AdmissionError(EdgeInferError):
    """A pipeline cannot meet its budgets; the numbers that fail are in the text."""


class MessageError(EdgeInferError):
    """A message or a record is damaged or of another version."""


class RunCancelledError(EdgeInferError):
    """A run was ended by `cancel()` or `close()`: its outputs mean nothing."""


class SessionClosedError(EdgeInferError):
    """A session was used after `close()`."""


class MissingPackageError(EdgeInferError):
    """An optional package is not installed; the text says how to get it."""
