"""Control: from a Trajectory to a Command.

Steering is pure pursuit (Coulter 1992, CMU-RI-TR-92-01) with a lookahead that grows with speed;
speed is proportional control, with the drive cut back while the tyres are needed for cornering.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .messages import Command, Message, Trajectory
from .stage import Stage, Timing
from .vehicle import Vehicle


def pursue(points: np.ndarray, speed: float, vehicle: Vehicle) -> float:
    """Front wheel angle (rad, positive left) towards the point at the lookahead distance."""
    ahead = vehicle.lookahead_min + vehicle.lookahead_gain * speed
    distance = np.hypot(points[:, 1], points[:, 2])
    along = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(points[:, 1:3], axis=0).T))))
    x = float(np.interp(ahead, along, points[:, 1]))
    y = float(np.interp(ahead, along, points[:, 2]))
    reach = max(math.hypot(x, y), 0.5, float(distance[0]))
    return math.atan2(2.0 * vehicle.wheelbase * y / reach, reach)


def wanted_speed(points: np.ndarray, speed: float, delay: float = 0.06) -> float:
    """Speed to drive at now: that of the point where a command takes effect, `delay` s ahead."""
    along = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(points[:, 1:3], axis=0).T))))
    return float(np.interp(speed * delay, along, points[:, 3]))


class ControlStage(Stage):
    """Trajectory -> Command."""

    name = "control"
    inputs = ("planning",)

    def __init__(self, timing: Timing, vehicle: Vehicle) -> None:
        self.timing, self.vehicle = timing, vehicle

    def step(self, inputs: Mapping[str, Message]) -> Command:
        """Steering along the trajectory and drive or brake towards its speed."""
        trajectory = inputs["planning"]
        assert isinstance(trajectory, Trajectory)
        points = np.asarray(trajectory.points, np.float64)
        now = trajectory.speed_mps
        speed = now if math.isfinite(now) else float(points[0, 3])
        steer = pursue(points, speed, self.vehicle) / self.vehicle.steer_max
        steer = min(max(steer, -1.0), 1.0)
        throttle, brake = self._drive(wanted_speed(points, speed) - speed, steer)
        return Command(trajectory.seq, trajectory.stamp_ns, steer, throttle, brake)

    def _drive(self, missing: float, steer: float) -> tuple[float, float]:
        v = self.vehicle
        if missing >= 0:
            # The driven wheels share one grip between driving and cornering.
            room = max(1.0 - abs(steer), 0.1)
            return min(v.throttle_gain * missing, 1.0) * room, 0.0
        return 0.0, min(-v.brake_gain * missing, v.brake_max)
