"""Planning: from the road ahead to a Trajectory.

The path is the one of least bending within the lane (an elastic band: Quinlan and Khatib 1993); the
speed along it is the largest that the lateral limit allows, then made reachable by a backward pass
with the braking limit (Lipp and Boyd 2014 solve the same problem exactly).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .messages import MAX_POINTS, Message, Objects, Road, Trajectory
from .stage import Stage, Timing
from .vehicle import Vehicle

_STEP_M = 2.0
_ROUNDS = 40


def resample(points: np.ndarray, step: float) -> np.ndarray:
    """Points [n, 2] at equal distances of about `step` along the polyline."""
    gaps = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate(([0.0], np.cumsum(gaps)))
    n = min(max(round(along[-1] / step), 2) + 1, MAX_POINTS)
    at = np.linspace(0.0, along[-1], n)
    return np.stack([np.interp(at, along, points[:, k]) for k in (0, 1)], 1)


def relax(centre: np.ndarray, start: np.ndarray, reach: float) -> np.ndarray:
    """Path [n, 2] of least bending from `start`, within `reach` metres of the centre line."""
    tangent = np.gradient(centre, axis=0)
    tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-6)[:, None]
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
    offset = np.zeros(len(centre))
    offset[0] = float((start - centre[0]) @ normal[0])
    for _ in range(_ROUNDS):
        path = centre + offset[:, None] * normal
        pull = np.zeros_like(path)
        pull[1:-1] = 0.5 * (path[:-2] + path[2:]) - path[1:-1]
        pull[-1] = pull[-2]
        moved = offset + np.einsum("ij,ij->i", pull, normal)
        offset[1:] = np.clip(moved[1:], -reach, reach)
    return centre + offset[:, None] * normal


def curvature(path: np.ndarray) -> np.ndarray:
    """Curvature (1/m, positive left) at each point: the circle through it and its neighbours."""
    a, b, c = path[:-2], path[1:-1], path[2:]
    ab, bc, ac = b - a, c - b, c - a
    cross = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    product = np.hypot(*ab.T) * np.hypot(*bc.T) * np.hypot(*ac.T)
    inner = 2.0 * cross / np.maximum(product, 1e-9)
    return np.concatenate((inner[:1], inner, inner[-1:]))


def speed_profile(path: np.ndarray, now: float, vehicle: Vehicle, end: float) -> np.ndarray:
    """Speeds (m/s) along the path: lateral limit, then braking backward."""
    bend = np.abs(curvature(path))
    speed = np.minimum(np.sqrt(vehicle.accel_lateral / np.maximum(bend, 1e-6)), vehicle.speed_max)
    speed[-1] = min(speed[-1], end)
    gaps = np.hypot(*np.diff(path, axis=0).T)
    for i in range(len(path) - 2, -1, -1):
        reachable = math.sqrt(speed[i + 1] ** 2 + 2 * vehicle.accel_brake * gaps[i])
        speed[i] = min(speed[i], reachable)
    return speed


def _from_here(line: np.ndarray) -> np.ndarray:
    """The line, led back to beside the vehicle where it begins ahead (a camera sees no nearer)."""
    along = line[1] - line[0]
    # A line across the vehicle's way leads nowhere near it.
    if line[0, 0] <= _STEP_M or along[0] < 0.5 * float(np.hypot(*along)):
        return line
    return np.vstack((line[0] - along * (line[0, 0] / along[0]), line))


def plan(road: Road, vehicle: Vehicle, speed: float) -> np.ndarray:
    """Trajectory points [m, 4] (t, x, y, v) along the road from the vehicle's own position."""
    centre = resample(_from_here(np.asarray(road.centre, np.float64)), _STEP_M)
    reach = max(road.width_m / 2 - vehicle.margin, 0.0)
    path = relax(centre, np.zeros(2), reach)
    # What lies beyond the last point is unknown: be able to take the sharpest curve of the road.
    end = math.sqrt(vehicle.accel_lateral * 25.0)
    v = speed_profile(path, speed, vehicle, end)
    gaps = np.hypot(*np.diff(path, axis=0).T)
    mean = np.maximum(0.5 * (v[1:] + v[:-1]), 0.1)
    t = np.concatenate(([0.0], np.cumsum(gaps / mean)))
    return np.column_stack((t, path, v)).astype(np.float32)


class PlanningStage(Stage):
    """Objects -> Trajectory. No trajectory where no road was found."""

    name = "planning"
    inputs = ("perception",)

    def __init__(self, timing: Timing, vehicle: Vehicle) -> None:
        self.timing, self.vehicle = timing, vehicle

    def step(self, inputs: Mapping[str, Message]) -> Trajectory | None:
        """The trajectory along the perceived road."""
        objects = inputs["perception"]
        assert isinstance(objects, Objects)
        road = objects.road
        if road is None or len(road.centre) < 3:
            return None
        speed = road.speed_mps if math.isfinite(road.speed_mps) else 0.0
        points = plan(road, self.vehicle, speed)
        return Trajectory(objects.seq, objects.stamp_ns, points, road.speed_mps)
