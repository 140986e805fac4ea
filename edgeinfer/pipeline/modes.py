"""Modes: how the vehicle behaves when not all is well, and what made it so.

| mode | what the command becomes | entered when |
|---|---|---|
| nominal | as it is | |
| degraded | throttle limited | a share of a stage's runs is over budget, of commands held, of |
| | | frames of low confidence; a device is warm; a delegate was demoted |
| minimal-risk | comfortable_stop: steering on, gentle | most runs are over budget; a device is |
| | brake; emergency_stop: firm brake | hot; no valid command for `mrm_ms` |
| safe-stop | brake held | the vehicle stands in minimal-risk, `stop_s` are over, or the |
| | | guard is silent; left by `release()` alone |

The manoeuvres have the names of Autoware's minimal-risk-manoeuvre states (autoware_adapi_v1_msgs,
MrmState); pull_over is not offered: it needs a map. Worse modes are entered at once, better ones
only after `recover_s` without a cause (hysteresis). Low confidence is not a fault (ISO 21448, the
safety of the intended functionality): it may degrade, it never starts a manoeuvre, and transitions
say so. Nothing here looks at a clock: times are those of the events, so that runs can be repeated.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from .health import Heat
from .loop import Event, Words
from .loop import Mode as Did
from .messages import Command

MODES = "modes"  # the stage name of transitions among the events


class Mode(Enum):
    """From the best to the worst."""

    NOMINAL = "nominal"
    DEGRADED = "degraded"
    MINIMAL_RISK = "minimal-risk"
    SAFE_STOP = "safe-stop"

    @property
    def level(self) -> int:
        """0..3."""
        return list(Mode).index(self)


class Behaviour(Enum):
    """The manoeuvre of minimal-risk (Autoware's names)."""

    NONE = "none"
    COMFORTABLE_STOP = "comfortable_stop"
    EMERGENCY_STOP = "emergency_stop"


@dataclass(frozen=True)
class ModeLimits:
    """When modes change. Shares 0..1 over the last `window` releases of a stage; times as named.

    `degraded_throttle`: most throttle in degraded; `comfortable_brake`, `emergency_brake`: least
    brake of the manoeuvres; `confidence`: below it a frame counts as of low confidence.
    """

    window: int = 50
    degraded_late: float = 0.5
    mrm_late: float = 0.8
    degraded_held: float = 0.6
    low_confidence: float = 0.8
    confidence: float = 0.25
    mrm_ms: float = 500.0
    stop_s: float = 10.0
    recover_s: float = 3.0
    standing_mps: float = 0.2
    degraded_throttle: float = 0.5
    comfortable_brake: float = 0.2
    emergency_brake: float = 0.6
    warm_c: float = 85.0
    hot_c: float = 95.0


@dataclass(frozen=True)
class Status:
    """A mode with its manoeuvre; `cause` of its being so, `fault` whether that is a fault."""

    mode: Mode = Mode.NOMINAL
    behaviour: Behaviour = Behaviour.NONE
    cause: str = ""
    fault: bool = False

    def __str__(self) -> str:
        """ "minimal-risk/comfortable_stop"."""
        return f"{self.mode.value}/{self.behaviour.value}"

    @classmethod
    def parse(cls, text: str) -> Status:
        """From `str`; ValueError where it is none."""
        mode, _, behaviour = text.partition("/")
        return cls(Mode(mode), Behaviour(behaviour))


def shape(command: Command, status: Status, limits: ModeLimits) -> Command:
    """The command as a mode lets it through, before the guard looks at it."""
    if status.mode is Mode.NOMINAL:
        return command
    if status.mode is Mode.DEGRADED:
        return replace(command, throttle=min(command.throttle, limits.degraded_throttle))
    gentle = status.behaviour is Behaviour.COMFORTABLE_STOP and status.mode is Mode.MINIMAL_RISK
    brake = limits.comfortable_brake if gentle else limits.emergency_brake
    return replace(command, throttle=0.0, brake=max(command.brake, brake))


class Modes:
    """Takes the events of a run and says in which mode it is.

    `told` gets each transition as an Event of stage MODES: its text is "from -> to: cause".
    """

    def __init__(
        self, limits: ModeLimits | None = None, told: Callable[[Event], None] = lambda e: None
    ) -> None:
        self.limits = limits or ModeLimits()
        self.status = Status()
        self._told = told
        window = self.limits.window
        self._late: dict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=window))
        self._held: deque[bool] = deque(maxlen=window)
        self._unsure: deque[bool] = deque(maxlen=window)
        self._invalid_ns: int | None = None  # since when there is no valid command
        self._entered_ns = self._worse_ns = 0
        self._silent = self._standing = self._released = False
        self._lasting: dict[str, Status] = {}  # by what causes them

    def take(self, event: Event) -> None:
        """What a stage or the guard did."""
        if event.stage == "guard":
            if event.mode is not Did.STALE:
                self._guard(event)
        elif event.stage != MODES and event.mode in (Did.RUN, Did.HELD):
            self._late[event.stage].append(event.late or bool(event.text))  # text: substituted
            words = event.remark.split()
            if words[::2] == ["confidence", "speed"]:
                self.confidence(float(words[1]))
                self.speed(float(words[3]))

    def confidence(self, value: float) -> None:
        """How sure perception was of a frame, 0..1."""
        self._unsure.append(value < self.limits.confidence)

    def speed(self, mps: float) -> None:
        """The vehicle's speed, where it is known."""
        self._standing = mps <= self.limits.standing_mps

    def temperature(self, reading: Heat) -> None:
        """Of the device. Its own trip points count where they are lower than the limits."""
        warm = min(self.limits.warm_c, reading.hot or math.inf)
        hot = min(self.limits.hot_c, (reading.critical or math.inf) - 5)
        cause = f"{reading.sensor} at {reading.celsius:.0f} °C"
        if reading.celsius >= hot:
            self._lasting[reading.sensor] = Status(Mode.MINIMAL_RISK, cause=cause, fault=True)
        elif reading.celsius >= warm:
            self._lasting[reading.sensor] = Status(Mode.DEGRADED, cause=cause, fault=True)
        elif reading.celsius < warm - 5:
            self._lasting.pop(reading.sensor, None)

    def fault(self, what: str, present: bool = True, cause: str = "") -> None:
        """A part that works no more but has a substitute (a delegate demoted); or works again."""
        if present:
            self._lasting[what] = Status(Mode.DEGRADED, cause=cause or what, fault=True)
        else:
            self._lasting.pop(what, None)

    def release(self) -> None:
        """Somebody in charge lets the vehicle leave its safe stop."""
        self._released = True

    def _guard(self, event: Event) -> None:
        words = Words.parse(event.text)
        self._silent = words.state == "silent"
        if words.state == "waiting":
            return
        self._held.append(words.origin == "held")
        if words.origin in ("nominal", "held"):
            self._invalid_ns = None
        elif self._invalid_ns is None:
            self._invalid_ns = event.release_ns

    def step(self, now_ns: int) -> Status:
        """The mode from now on."""
        wanted = self._wanted(now_ns)
        now, then = self.status, wanted.mode.level
        if then >= now.mode.level:
            self._worse_ns = now_ns
        if then > now.mode.level or (then == now.mode.level and self._harder(wanted)):
            self._enter(wanted, now_ns)
        elif now.mode is Mode.SAFE_STOP:
            if self._released and not self._silent:
                self._enter(replace(wanted, cause="released"), now_ns)
        elif then < now.mode.level and now_ns - self._worse_ns >= self.limits.recover_s * 1e9:
            better = list(Mode)[now.mode.level - 1] if then < now.mode.level - 1 else wanted.mode
            self._enter(Status(better, cause="recovered"), now_ns)
        return self.status

    def _harder(self, wanted: Status) -> bool:
        """A manoeuvre may turn into the harder one, not back."""
        order = list(Behaviour)
        return order.index(wanted.behaviour) > order.index(self.status.behaviour)

    def _enter(self, status: Status, now_ns: int) -> None:
        kind = "" if status.fault or not status.cause else " (not a fault)"
        text = f"{self.status} -> {status}: {status.cause}{kind}"
        self.status, self._entered_ns, self._worse_ns = status, now_ns, now_ns
        self._released = False
        event = Event(MODES, Did.RUN, now_ns, now_ns, text=text)
        self._told(event)

    def _wanted(self, now_ns: int) -> Status:
        """The worst of what the causes ask for."""
        found = [Status(), *self._lasting.values(), *self._statistics(now_ns)]
        worst = max(found, key=lambda s: s.mode.level)
        if worst.mode is Mode.MINIMAL_RISK:
            lost = self._invalid_ns is not None
            how = Behaviour.EMERGENCY_STOP if lost else Behaviour.COMFORTABLE_STOP
            worst = replace(worst, behaviour=how)
        cause = self._stop_cause(now_ns)
        return Status(Mode.SAFE_STOP, cause=cause, fault=self._silent) if cause else worst

    def _stop_cause(self, now_ns: int) -> str:
        """Why the vehicle is to stay where it is; "": it is not."""
        if self._silent:
            return "the guard is silent"
        if self.status.mode is not Mode.MINIMAL_RISK:
            return ""
        if self._standing:
            return "the vehicle stands"
        over = now_ns - self._entered_ns > self.limits.stop_s * 1e9
        return "the manoeuvre's time is over" if over else ""

    def _statistics(self, now_ns: int) -> list[Status]:
        limits, found = self.limits, []
        for stage, late in self._late.items():
            share = _share(late, limits.window)
            text = f"{stage} over budget in {share:.0%} of {limits.window} releases"
            if share >= limits.mrm_late:
                found.append(Status(Mode.MINIMAL_RISK, cause=text, fault=True))
            elif share >= limits.degraded_late:
                found.append(Status(Mode.DEGRADED, cause=text, fault=True))
        held = _share(self._held, limits.window)
        if held >= limits.degraded_held:
            found.append(Status(Mode.DEGRADED, cause=f"{held:.0%} of commands held", fault=True))
        unsure = _share(self._unsure, limits.window)
        if unsure >= limits.low_confidence:
            found.append(Status(Mode.DEGRADED, cause=f"low confidence in {unsure:.0%} of frames"))
        since = self._invalid_ns
        if since is not None and now_ns - since > limits.mrm_ms * 1e6:
            text = f"no valid command for {(now_ns - since) / 1e6:.0f} ms"
            found.append(Status(Mode.MINIMAL_RISK, cause=text, fault=True))
        return found


def _share(values: deque[bool], window: int) -> float:
    """Of the window, also while it is not full yet: a start is not a statistic."""
    return sum(values) / window
