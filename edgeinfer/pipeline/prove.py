"""Make every fault happen to every node of a pipeline, in real time, and judge what it did."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .certificate import Case, Contract, Result, judge
from .faults import (
    BEGIN,
    LINK_FAULTS,
    MACHINE_FAULTS,
    SINK_FAULTS,
    SOURCE_FAULTS,
    STAGE_FAULTS,
    TOGETHER,
    FaultyStage,
    Journal,
    Opener,
    damage,
)
from .inline import is_plant
from .loop import Event
from .pipeline import Log, Pipeline
from .process import ORDERS, Supervisor
from .realtime import RealTime, now_ns
from .schedule import SOURCE
from .slot import Slot
from .stage import Stage

_WARM_S = 0.8  # before a fault begins
_MEMORY_MB = 512
_HOG = "while True: pass"
_WALK = f"b = bytearray({_MEMORY_MB} << 20)\nwhile True: b[::4096] = b[::4096]"


def contract(pipeline: Pipeline, ftti_ms: float) -> Contract:
    """What must hold: data as old as the guard lets pass; the actuator waits as long as it does."""
    limits = pipeline.limits
    values = (ftti_ms, limits.age_ms, limits.heartbeat_ms)
    return Contract(*(round(ms * 1e6) for ms in values))


def cases(pipeline: Pipeline) -> list[Case]:
    """Every fault of every node and link of this pipeline."""
    stages = [s.name for s in pipeline.stages]
    found = [Case(SOURCE, "source", kind) for kind in SOURCE_FAULTS]
    found += [Case(name, "stage", kind) for name in stages for kind in STAGE_FAULTS]
    found += [Case(name, "link", kind) for name in (SOURCE, *stages) for kind in LINK_FAULTS]
    if not is_plant(pipeline.source, pipeline.sink):
        found += [Case("actuator", "sink", kind) for kind in SINK_FAULTS]
    found += [Case("machine", "machine", kind) for kind in MACHINE_FAULTS]
    return found + [Case("stages", "together", kind) for kind in TOGETHER]


class _Saboteur(Supervisor):
    """A supervisor whose links and machine can be spoilt while it runs."""

    spoil: Callable[[dict[str, Slot]], None] | None = None
    ended_ns = 0

    def _stop(self, seconds: float = 2.0) -> None:
        self.ended_ns = now_ns()
        super()._stop(seconds)

    def _go(self) -> None:
        super()._go()
        if self.spoil is not None:
            threading.Thread(target=self.spoil, args=(self._slots,), daemon=True).start()


class Prover:
    """Runs the cases of a pipeline whose source and sink are functions that open them."""

    def __init__(
        self,
        pipeline: Pipeline,
        contract: Contract,
        realtime: dict[str, RealTime] | None = None,
        max_frame: tuple[int, int] = (1080, 1920),
    ) -> None:
        for end in (pipeline.source, pipeline.sink):
            if end is not None and (hasattr(end, "read") or hasattr(end, "write")):
                raise ValueError(
                    "prove runs the pipeline many times: give functions that open its source and "
                    "sink (functools.partial(open_source, url)), not opened ones"
                )
        self.pipeline, self.contract = pipeline, contract
        self._realtime, self._max_frame = realtime, max_frame

    def run(self, case: Case) -> Result:
        """One case: run, break, watch, judge."""
        with tempfile.TemporaryDirectory() as folder:
            journal, events = Journal(Path(folder) / "journal"), list[Event]()
            log = Log(None, None, events.append)
            with contextlib.ExitStack() as after:
                recorder = None
                if case.kind == "disk full":
                    recorder = self.pipeline.recorder(Path(folder) / "r.mcap")
                    log = Log(recorder, None, events.append)
                supervisor = _Saboteur(
                    self._broken(case, journal), log, recorder is not None, self._realtime,
                    self._max_frame, "forkserver",
                )  # fmt: skip
                supervisor.spoil = self._spoiler(case, journal, after)
                planned = _WARM_S + max(3e-9 * self.contract.ftti_ns, 0.8)
                report = supervisor.run(planned)
                end = supervisor.ended_ns
                if report.wall_seconds < planned:
                    end += 2 * self.contract.timeout_ns  # it ended the run itself, and is silent
                if recorder is not None:
                    recorder.close()
            crashed = "; ".join(f"{k}: {v}" for k, v in report.crashed.items())
            return judge(case, journal.read(), events, end, self.contract, crashed)

    def _broken(self, case: Case, journal: Journal) -> Pipeline:
        """The pipeline with one part wrapped in its fault, the rest in what only notes."""
        p = self.pipeline
        stages = [self._stage(s, case, journal) for s in p.stages]
        kind = case.kind if case.sort in ("source", "sink") else ""
        side = case.sort if kind else "source"
        rate = max(s.timing.rate_hz for s in p.stages)
        open_ = partial(Opener, side=side, kind=kind, at=round(_WARM_S * rate), journal=journal)
        source = open_(p.source)
        sink = source if is_plant(p.source, p.sink) else open_(p.sink)
        return Pipeline(
            stages, source, sink, guard=p.limits, board=p.board, commands=p.commands,
            notes=p.notes, modes=p.modes,
        )  # fmt: skip

    def _stage(self, stage: Stage, case: Case, journal: Journal) -> Stage:
        at = max(round(_WARM_S * stage.timing.rate_hz), 1)
        if case.sort == "together":
            return FaultyStage(stage, "kill", at, journal)
        if case.sort == "stage" and case.node == stage.name:
            return FaultyStage(stage, case.kind, at, journal)
        return stage

    def _spoiler(
        self, case: Case, journal: Journal, after: contextlib.ExitStack
    ) -> Callable[[dict[str, Slot]], None] | None:
        if case.sort == "link":
            return partial(_bit_errors, case.node, journal)
        if case.sort != "machine":
            return None
        processes: list[subprocess.Popen[bytes]] = []
        after.callback(_end_all, processes)
        if case.kind == "disk full":
            after.enter_context(_file_size())
        return partial(_load, case.kind, journal, processes)


def _bit_errors(name: str, journal: Journal, slots: dict[str, Slot]) -> None:
    """Turn bits of what lies in the slot, again and again, until the run ends."""
    time.sleep(_WARM_S)
    slot, rng = slots[name], np.random.default_rng(1)
    journal.add(BEGIN)
    reach = 32 if name == SOURCE else 200  # of a frame only its head is protected
    with contextlib.suppress(ValueError, TypeError):  # closed: the run has ended
        while slots[ORDERS].count == 1:
            damage(slot, rng, reach)
            time.sleep(0.0005)


@contextlib.contextmanager
def _file_size() -> Iterator[None]:
    """Give the limit on file sizes back."""
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)


def _load(
    kind: str, journal: Journal, processes: list[subprocess.Popen[bytes]], slots: dict[str, Slot]
) -> None:
    """Busy or greedy processes beside the run, or no more room for files of this process."""
    time.sleep(_WARM_S)
    journal.add(BEGIN)
    if kind == "disk full":
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        return
    count = len(os.sched_getaffinity(0)) if kind == "processor" else 1
    code = _HOG if kind == "processor" else _WALK
    for _ in range(count):
        processes.append(subprocess.Popen([sys.executable, "-c", code]))


def _end_all(processes: Sequence[Any]) -> None:
    for process in processes:
        process.kill()
        process.wait()
