"""What planning and control must know of a vehicle: sizes and limits, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Vehicle:
    """Parameters of a vehicle and of the way it is to be driven. SI units.

    `steer_max` is the front wheels' angle (rad) at steer = 1. Accelerations are those the planner
    may ask for, below what the tyres give.
    """

    name: str
    wheelbase: float
    steer_max: float
    speed_max: float
    accel_lateral: float
    accel_forward: float
    accel_brake: float
    lookahead_min: float
    lookahead_gain: float  # seconds
    throttle_gain: float  # throttle per m/s of missing speed
    brake_gain: float  # brake per m/s of excess speed
    brake_max: float
    margin: float  # kept between path and the lane's edge
    steer_rate: float = 0.0  # low-pass of the steering, 0 none .. 1 frozen


#: The car of Gymnasium's CarRacing (units there are taken as metres): light and strong.
CAR_RACING = Vehicle(
    name="CarRacing-v3",
    wheelbase=3.24,
    steer_max=0.4,
    speed_max=100.0,
    accel_lateral=160.0,
    accel_forward=60.0,
    accel_brake=120.0,
    lookahead_min=5.0,
    lookahead_gain=0.12,
    throttle_gain=0.2,
    brake_gain=0.1,
    brake_max=0.3,
    margin=3.5,
)

#: A mid-size road car driven gently.
PASSENGER_CAR = Vehicle(
    name="passenger car",
    wheelbase=2.7,
    steer_max=0.5,
    speed_max=33.0,
    accel_lateral=2.5,
    accel_forward=1.5,
    accel_brake=3.0,
    lookahead_min=6.0,
    lookahead_gain=0.8,
    throttle_gain=0.1,
    brake_gain=0.1,
    brake_max=0.6,
    margin=1.2,
)
