"""A trace that ui.perfetto.dev and chrome://tracing open: one track a stage, arrows along frames.

The format is the Trace Event Format (JSON); a path that ends in .gz is compressed.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .loop import WORKING, Event


def write(path: str | Path, events: Iterable[Event]) -> None:
    """Write the trace of a run's events."""
    data = json.dumps({"displayTimeUnit": "ms", "traceEvents": list(convert(events))}).encode()
    opener: Any = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "wb") as file:
        file.write(data)


class Trace:
    """Gathers events; `write` at the end. At most `limit` events are kept, the first ones."""

    def __init__(self, limit: int = 2_000_000) -> None:
        self._events: list[Event] = []
        self._limit = limit

    def add(self, event: Event) -> None:
        """Keep one event."""
        if len(self._events) < self._limit:
            self._events.append(event)

    def write(self, path: str | Path) -> None:
        """Write what was gathered."""
        write(path, self._events)


def convert(events: Iterable[Event]) -> Iterator[dict[str, Any]]:
    """Trace events (dicts) of the stages' events: slices, flows frame -> command, overruns."""
    tracks: dict[str, int] = {}
    seen: dict[int, str] = {}  # frame -> name of the last flow event's phase
    for event in sorted(events, key=lambda e: e.start_ns):
        if event.stage not in tracks:
            tracks[event.stage] = len(tracks) + 1
            yield _name(event.stage, tracks[event.stage])
        if event.stage in ("source", "guard") or event.mode in WORKING:
            yield from _slices(event, tracks[event.stage], seen)
    yield {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "edgeinfer"}}


def _name(stage: str, track: int) -> dict[str, Any]:
    return {"ph": "M", "pid": 1, "tid": track, "name": "thread_name", "args": {"name": stage}}


def _slices(event: Event, track: int, seen: dict[int, str]) -> Iterator[dict[str, Any]]:
    at = {"pid": 1, "tid": track, "ts": event.start_ns / 1e3}
    args = {"frame": event.seq, "mode": event.mode.value, "skipped": event.skipped}
    if event.text:
        args["state"] = event.text
    label = event.stage if event.mode.value == "run" else f"{event.stage} ({event.mode.value})"
    yield {**at, "ph": "X", "name": label, "dur": max(event.duration_ns, 1000) / 1e3, "args": args}
    if event.late:
        yield {**at, "ph": "i", "s": "t", "name": "over budget"}
    if event.seq >= 0 and event.output and seen.get(event.seq) != "closed":
        yield from _flow(event, at, seen)


def _flow(event: Event, at: dict[str, Any], seen: dict[int, str]) -> Iterator[dict[str, Any]]:
    """The arrow's start at the source, a step at each stage, its end at the guard."""
    last, begun = event.stage == "guard", event.seq in seen
    if last and not begun:
        return
    seen[event.seq] = "closed" if last else "open"
    phase = "f" if last else "t" if begun else "s"
    flow = {**at, "ph": phase, "id": event.seq, "name": "frame", "cat": "flow"}
    yield {**flow, "bp": "e"} if last else flow
