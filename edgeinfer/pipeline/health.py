"""What the system says of its heat and power: thermal zones, and clocks that are held down.

Read from sysfs (Documentation/ABI/testing/sysfs-class-thermal, sysfs-devices-system-cpu); where a
machine has none of it (most virtual ones), there is nothing to read and nothing is invented.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_HELD_SHARE = 0.9  # of the highest clock: below it something limits the processor


@dataclass(frozen=True)
class Heat:
    """A sensor: degrees Celsius, and its trip points "hot" and "critical" where it has them."""

    sensor: str
    celsius: float
    hot: float | None = None
    critical: float | None = None


def heat(root: Path = Path("/sys")) -> list[Heat]:
    """Every thermal zone that can be read."""
    found = []
    for zone in sorted(root.glob("class/thermal/thermal_zone*")):
        now = _number(zone / "temp")
        if now is None:
            continue
        trips = {_text(p): _number(Path(str(p).replace("_type", "_temp"))) for p in _trips(zone)}
        hot, critical = (trips.get(kind) for kind in ("hot", "critical"))
        name = _text(zone / "type") or zone.name
        found.append(Heat(name, now / 1e3, _celsius(hot), _celsius(critical)))
    return found


def held_down(root: Path = Path("/sys")) -> str:
    """What holds the processors' clocks below their own highest, in words; "" for nothing."""
    for policy in sorted(root.glob("devices/system/cpu/cpufreq/policy*")):
        allowed, highest = (
            _number(policy / name) for name in ("scaling_max_freq", "cpuinfo_max_freq")
        )
        if allowed and highest and allowed < _HELD_SHARE * highest:
            return f"{policy.name} is held to {allowed / highest:.0%} of its clock"
    return ""


def _trips(zone: Path) -> list[Path]:
    return sorted(zone.glob("trip_point_*_type"))


def _celsius(milli: float | None) -> float | None:
    return milli / 1e3 if milli is not None and milli > 0 else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> float | None:
    try:
        return float(_text(path))
    except ValueError:
        return None
