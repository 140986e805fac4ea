"""Live metrics of a run as Prometheus text (exposition format 0.0.4), over HTTP or as a file.

    metrics = Metrics()
    metrics.declare(pipeline.timings)
    with metrics.serve(":9090"):                       # GET http://127.0.0.1:9090/metrics
        pipeline.run_processes(on_event=metrics.add)

Seconds and totals, as Prometheus names them. Durations and ages are histograms. The events of a run
arrive at its supervisor, so that nothing of this happens in a stage's time. Needs prometheus-client
(`pip install edgeinfer[metrics]`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import EdgeInferError
from .guard import State
from .loop import Event, Words
from .loop import Mode as Did
from .modes import MODES, Mode, Status
from .schedule import GUARD, SOURCE
from .stage import Timing

_BUCKETS = (
    1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0
)  # fmt: skip


def _library() -> Any:
    try:
        import prometheus_client
    except ImportError as exc:
        raise EdgeInferError(
            f"metrics need prometheus-client ({exc}): pip install edgeinfer[metrics]"
        ) from exc
    return prometheus_client


class Metrics:
    """Takes events (`add`, as `on_event` of pipelines) and keeps the metrics of their stages.

    EdgeInferError where prometheus-client is missing.
    """

    def __init__(self) -> None:
        p = self._p = _library()
        self.registry = r = p.CollectorRegistry()
        stage = ["stage"]
        self._frames = p.Counter("edgeinfer_frames", "Frames from the source", registry=r)
        self._commands = p.Counter("edgeinfer_commands", "Commands sent", registry=r)
        self._lost = p.Counter("edgeinfer_commands_lost", "Commands not handed over", registry=r)
        self._releases = p.Counter(
            "edgeinfer_stage_releases", "Releases by what came of them", [*stage, "did"], registry=r
        )
        self._late = p.Counter("edgeinfer_stage_overruns", "Runs over budget", stage, registry=r)
        self._missed = p.Counter(
            "edgeinfer_stage_missed_releases", "Releases passed over", stage, registry=r
        )
        self._skipped = p.Counter(
            "edgeinfer_stage_skipped_inputs", "Inputs passed over", stage, registry=r
        )
        self._substitutes = p.Counter(
            "edgeinfer_stage_substitutes", "Results that stood in", [*stage, "kind"], registry=r
        )
        self._took = p.Histogram(
            "edgeinfer_stage_duration_seconds", "A run", stage, registry=r, buckets=_BUCKETS
        )
        self._woke = p.Histogram(
            "edgeinfer_stage_lateness_seconds", "Of the wake-up", stage, registry=r,
            buckets=_BUCKETS,
        )  # fmt: skip
        self._age = p.Histogram(
            "edgeinfer_command_age_seconds", "Of the data behind a command", registry=r,
            buckets=_BUCKETS,
        )  # fmt: skip
        self._refused = p.Counter(
            "edgeinfer_guard_offers", "Commands offered to the guard", ["verdict"], registry=r
        )
        self._guard = p.Enum(
            "edgeinfer_guard_state", "Of the guard", registry=r,
            states=[s.name.lower() for s in State],
        )  # fmt: skip
        self._mode = p.Enum(
            "edgeinfer_mode", "Of the vehicle", registry=r, states=[m.value for m in Mode]
        )
        self._changes = p.Counter("edgeinfer_mode_transitions", "Changes of mode", registry=r)
        self._budget = p.Gauge("edgeinfer_stage_budget_seconds", "Declared", stage, registry=r)

    def declare(self, timings: Sequence[tuple[str, Timing]]) -> None:
        """Names and timings of the stages to come (`Pipeline.timings`)."""
        for name, timing in timings:
            self._budget.labels(name).set(timing.budget_ns / 1e9)
            for counter in (self._late, self._missed, self._skipped):
                counter.labels(name)  # there from the start: a rate needs the zero

    def add(self, event: Event) -> None:
        """Count one event of a run."""
        if event.stage == SOURCE:
            self._frames.inc()
        elif event.stage == GUARD:
            self._add_guard(event)
        elif event.stage == MODES:
            self._changes.inc()
        else:
            self._add_stage(event)

    def _add_guard(self, event: Event) -> None:
        if event.mode is Did.STALE:
            return
        words = Words.parse(event.text)
        self._guard.state(words.state)
        self._mode.state(Status.parse(words.status).mode.value)
        if words.offered != "-":
            self._refused.labels(words.offered).inc()
        if event.mode is Did.LOST:
            self._lost.inc()
        elif event.output:
            self._commands.inc()
            self._age.observe(event.age_ns / 1e9)

    def _add_stage(self, event: Event) -> None:
        name = event.stage
        self._releases.labels(name, event.mode.value).inc()
        self._late.labels(name).inc(event.late)
        self._missed.labels(name).inc(event.missed)
        self._skipped.labels(name).inc(event.skipped)
        if event.mode in (Did.RUN, Did.HELD):
            self._took.labels(name).observe(event.duration_ns / 1e9)
            self._woke.labels(name).observe(event.lateness_ns / 1e9)
            if event.text:
                self._substitutes.labels(name, event.text).inc()

    def text(self) -> str:
        """The metrics as they are now, in Prometheus' text format."""
        return str(self._p.generate_latest(self.registry).decode())

    def write(self, path: str | Path) -> None:
        """As a file, in one step: for the textfile collector of node_exporter."""
        self._p.write_to_textfile(str(path), self.registry)

    @contextmanager
    def serve(self, address: str) -> Iterator[int]:
        """Answer GET /metrics at "HOST:PORT", HOST 127.0.0.1 where it is left out, until the end of
        the block; gives the port (0 asks for any). ValueError for another address, OSError where
        it is taken.
        """
        host, colon, port = address.rpartition(":")
        if not colon or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"metrics address {address!r}: give HOST:PORT or :PORT")
        server, thread = self._p.start_http_server(
            int(port), host or "127.0.0.1", registry=self.registry
        )
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
