"""Modes: what leads into each and out of it, with hysteresis, causes, and the same in a replay."""

from __future__ import annotations

import pytest
from pipeline_stages import Frames, Sink, stages

from edgeinfer.pipeline.health import Heat, heat, held_down
from edgeinfer.pipeline.loop import Event, Words
from edgeinfer.pipeline.loop import Mode as Did
from edgeinfer.pipeline.messages import Command
from edgeinfer.pipeline.modes import Behaviour, Mode, ModeLimits, Modes, Status, shape
from edgeinfer.pipeline.pipeline import Pipeline
from edgeinfer.pipeline.record import replay

MS = 1_000_000
LIMITS = ModeLimits(window=10, recover_s=1.0, stop_s=5.0)


class Drive:
    """Feeds Modes with periods of 20 ms."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.modes, self.now = Modes(LIMITS, self.told.append), 0

    def run(
        self, periods: int, late: bool = False, origin: str = "nominal", state: str = "active",
        confidence: float = 0.9, speed: float = 10.0,
    ) -> Status:  # fmt: skip
        for _ in range(periods):
            self.now += 20 * MS
            text = f"confidence {confidence} speed {speed}"
            self.modes.take(Event("perception", Did.RUN, self.now, late=late, remark=text))
            words = Words(state, "ok", origin)
            self.modes.take(Event("guard", Did.RUN, self.now, output=1, text=str(words)))
            status = self.modes.step(self.now)
        return status


def test_nominal_stays() -> None:
    drive = Drive()
    assert drive.run(100).mode is Mode.NOMINAL
    assert drive.told == []


def test_overruns_degrade_then_stop_comfortably_and_recover_step_by_step() -> None:
    drive = Drive()
    drive.run(20)
    assert drive.run(4, late=True).mode is Mode.NOMINAL
    status = drive.run(1, late=True)
    assert (status.mode, status.fault) == (Mode.DEGRADED, True)
    assert "perception over budget in 50% of 10 releases" in status.cause
    status = drive.run(3, late=True)
    assert (status.mode, status.behaviour) == (Mode.MINIMAL_RISK, Behaviour.COMFORTABLE_STOP)
    assert drive.run(20).mode is Mode.MINIMAL_RISK, "not before it was well for a second"
    assert drive.run(50).mode is Mode.DEGRADED
    assert drive.run(20).mode is Mode.DEGRADED
    assert drive.run(40).mode is Mode.NOMINAL
    assert [e.text.split(":")[0] for e in drive.told] == [
        "nominal/none -> degraded/none",
        "degraded/none -> minimal-risk/comfortable_stop",
        "minimal-risk/comfortable_stop -> degraded/none",
        "degraded/none -> nominal/none",
    ]


def test_no_valid_command_is_an_emergency_until_the_vehicle_stands() -> None:
    drive = Drive()
    drive.run(10)
    assert drive.run(24, origin="safe", state="safe").mode is Mode.NOMINAL
    status = drive.run(3, origin="safe", state="safe")
    assert (status.mode, status.behaviour) == (Mode.MINIMAL_RISK, Behaviour.EMERGENCY_STOP)
    assert drive.run(5, origin="safe", state="safe", speed=0.1).mode is Mode.SAFE_STOP
    assert drive.run(500).mode is Mode.SAFE_STOP, "only somebody in charge may release it"
    drive.modes.release()
    assert drive.run(1).mode is Mode.NOMINAL


def test_the_manoeuvre_ends_in_time_and_silence_is_a_safe_stop() -> None:
    drive = Drive()
    drive.run(60, origin="safe", state="safe")
    assert drive.run(300, origin="safe", state="safe").mode is Mode.SAFE_STOP
    drive = Drive()
    drive.run(5)
    assert drive.run(1, origin="-", state="silent").mode is Mode.SAFE_STOP
    drive.modes.release()
    assert drive.run(1, origin="-", state="silent").mode is Mode.SAFE_STOP, "silent still"


def test_low_confidence_is_not_a_fault() -> None:
    drive = Drive()
    status = drive.run(200, confidence=0.1)
    assert (status.mode, status.fault) == (Mode.DEGRADED, False)
    assert "(not a fault)" in drive.told[0].text


def test_heat_and_delegates() -> None:
    drive = Drive()
    drive.run(5)
    drive.modes.temperature(Heat("soc", 90))
    assert drive.run(1).mode is Mode.DEGRADED
    drive.modes.temperature(Heat("soc", 84))
    assert drive.run(80).mode is Mode.DEGRADED, "not cool enough yet"
    drive.modes.temperature(Heat("soc", 96))
    assert drive.run(1).mode is Mode.MINIMAL_RISK
    drive.modes.temperature(Heat("soc", 60))
    drive.run(130)
    drive.modes.fault("delegate gpu demoted")
    assert "gpu" in drive.run(1).cause
    drive.modes.fault("delegate gpu demoted", present=False)
    assert drive.run(60).mode is Mode.NOMINAL


@pytest.mark.parametrize(
    ("status", "throttle", "brake"),
    [
        (Status(), 0.9, 0.0),
        (Status(Mode.DEGRADED), 0.5, 0.0),
        (Status(Mode.MINIMAL_RISK, Behaviour.COMFORTABLE_STOP), 0.0, 0.2),
        (Status(Mode.MINIMAL_RISK, Behaviour.EMERGENCY_STOP), 0.0, 0.6),
        (Status(Mode.SAFE_STOP), 0.0, 0.6),
    ],
)
def test_what_becomes_of_a_command(status: Status, throttle: float, brake: float) -> None:
    out = shape(Command(3, 4, 0.25, 0.9, 0.0), status, LIMITS)
    assert out == Command(3, 4, 0.25, throttle, brake)
    assert Status.parse(str(status)) == status


def test_a_run_degrades_and_replays_to_the_same_commands(tmp_path) -> None:
    """Perception over budget now and then, on simulated time."""
    pipeline = Pipeline(stages(max_age_ms=200), Frames(300), Sink(), modes=LIMITS)

    def durations(stage: str, release: int) -> int | None:
        slow = stage == "perception" and 100 <= release < 160 and release % 5 < 3
        return 12 * MS if slow else MS

    path = tmp_path / "run.mcap"
    report = pipeline.run_inline(deadlines=True, durations=durations, record=path)
    told = [e.text.split(":")[0] for e in report.transitions]
    assert told == ["nominal/none -> degraded/none", "degraded/none -> nominal/none"]
    assert "perception over budget" in report.transitions[0].text
    again = replay(path, stages(max_age_ms=200))
    assert again.same
    assert len(again.commands) > 250


def test_a_sensor_s_own_trip_points_count() -> None:
    drive = Drive()
    drive.run(5)
    drive.modes.temperature(Heat("soc", 72, hot=70, critical=105))
    assert "soc at 72" in drive.run(1).cause


def test_heat_and_clocks_are_read_from_sysfs(tmp_path) -> None:
    assert (heat(tmp_path), held_down(tmp_path)) == ([], "")
    zone = tmp_path / "class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    values = {"type": "cpu-thermal", "temp": "61500", "trip_point_0_type": "hot"}
    values |= {"trip_point_0_temp": "80000", "trip_point_1_type": "critical"}
    for name, value in values.items():
        (zone / name).write_text(value + "\n")
    (zone.parent / "thermal_zone1").mkdir()  # one that cannot be read
    assert heat(tmp_path) == [Heat("cpu-thermal", 61.5, 80.0, None)]
    policy = tmp_path / "devices/system/cpu/cpufreq/policy0"
    policy.mkdir(parents=True)
    (policy / "cpuinfo_max_freq").write_text("2400000")
    (policy / "scaling_max_freq").write_text("2400000")
    assert held_down(tmp_path) == ""
    (policy / "scaling_max_freq").write_text("1200000")
    assert held_down(tmp_path) == "policy0 is held to 50% of its clock"
