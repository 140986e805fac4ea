"""How a stage runs its network: by its deadline, with a substitute; in a replay as it came then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..engine.deadline import LastResult, SmallerModel, Substitute
from ..engine.model import load
from ..engine.outcome import Outcome
from ..engine.session import Session
from .messages import Road
from .stage import Stage, Timing

#: Part of the budget that is kept for the stage's work after the network's.
RESERVE = 0.05
_RUNS = 20  # of the calibration: its median is a matter of milliseconds, and stands up to noise


def substitutes(
    timing: Timing, smaller: str | Path | None, hold_ms: float | None
) -> Sequence[Substitute]:
    """A smaller model, where there is one; then the last result, for at most `hold_ms`.

    By default as long as the stage takes inputs, `timing.max_age_ms`.
    """
    found: list[Substitute] = [] if smaller is None else [SmallerModel(load(smaller))]
    hold_s = (timing.max_age_ms if hold_ms is None else hold_ms) / 1e3
    return [*found, LastResult(hold_s)] if hold_s > 0 else found


def calibrate(session: Session) -> None:
    """Let the session know how long its steps take."""
    session.calibrate(_RUNS, 0.5)


def infer(stage: Stage, session: Session) -> Outcome:
    """Run the session for the stage; what came of it is `stage.outcome`, too ("": all is well)."""
    if stage.repeats is not None:
        outcome = session.repeat(stage.repeats or "ok")
    elif stage.deadline_ns is not None:
        reserve = round(RESERVE * stage.timing.budget_ns)
        outcome = session.run(deadline=stage.deadline_ns - reserve)
    else:
        session.run()
        outcome = Outcome("ok")
    stage.outcome = "" if outcome.kind == "ok" else outcome.name
    return outcome


def moved(road: Road, seconds: float) -> Road:
    """The road as seen from where its own speed and yaw rate took the vehicle in the meantime.

    On a circular arc (constant turn rate and velocity); as it was where they are not known. Points
    behind the vehicle are dropped, but for the last three.
    """
    if not (math.isfinite(road.speed_mps) and math.isfinite(road.yaw_rate)) or seconds <= 0:
        return road
    turn = road.yaw_rate * seconds
    chord = road.speed_mps * seconds * float(np.sinc(turn / (2 * math.pi)))
    here = chord * np.array([math.cos(turn / 2), math.sin(turn / 2)])
    cos, sin = math.cos(turn), math.sin(turn)
    centre = (np.asarray(road.centre, np.float64) - here) @ np.array([[cos, -sin], [sin, cos]])
    ahead = np.flatnonzero(centre[:, 0] >= 0)
    first = min(int(ahead[0]) if len(ahead) else len(centre), max(len(centre) - 3, 0))
    return replace(road, centre=centre[first:].astype(np.float32))
