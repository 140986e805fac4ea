"""Engines in processes of their own, taking turns.

A round is a block of calls of every engine, some tens of milliseconds each, in an order that
rotates; only one process runs at a time. The first calls of a block are not timed (another engine
had the caches), and a pause before it lets the threads of the one before go to sleep.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import errors

_WORKER = Path(__file__).with_name("worker.py")
_BLOCK_S, _BLOCK_CALLS, _PAUSE_S, _PATIENCE_S = 0.02, 4000, 0.003, 120


class EngineFailed(errors.EdgeInferError):
    """An engine that did not do what it was asked; the text is the reason."""

    engine: Engine | None = None


@dataclass
class Job:
    """What every engine is to run: a model file, with how many threads; `options` for ours.

    `isa`: keep to this instruction set ("avx2"); ours and oneDNN (OpenVINO) can be told, a peer
    that cannot is left out. None: the best there is. `realtime`: opening and every block of calls
    run in the round-robin real-time class, so that nothing interrupts them (a privilege).
    """

    path: Path
    threads: int
    isa: str | None = None
    realtime: bool = False
    options: dict[str, Any] = field(default_factory=lambda: {"session": {}})


class Engine:
    """A worker process with one model open; a context manager. EngineFailed where it fails.

    `name` is the engine's with its version, `file` what it read, `outputs` their types and shapes,
    `rounds` the nanoseconds of every call, round by round, `cpu_ns` the processor time it took.
    """

    def __init__(self, kind: str, job: Job, python: str | None = None) -> None:
        env = dict(os.environ)
        if kind == "edgeinfer":  # the one this file belongs to, wherever that lies
            env["PYTHONPATH"] = str(_WORKER.parents[2])
        if job.isa is not None:
            env |= _limited(kind, job.isa)
        self._realtime = job.realtime
        self.kind, self.rounds, self.cpu_ns = kind, list[np.ndarray](), 0
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the engine
        python = python or sys.executable
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                [python, str(_WORKER)], stdin=pipe, stdout=pipe, stderr=self._said, env=env
            )
        except OSError as exc:
            raise EngineFailed(f"{python}: cannot be started ({exc.strerror})") from exc
        try:
            asked = {"path": str(job.path), "threads": job.threads, "options": job.options}
            answer = self._ask({"open": kind, **asked})
            self.block, self.skip = self._block()
        except EngineFailed:
            self.close()
            raise
        self.name: str = answer["name"]
        self.file: str = answer["file"]
        self.outputs: list[str] = answer["outputs"]

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            question = {**question, "realtime": self._realtime}
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise EngineFailed(self._last_words()) from None
        if not select.select([process.stdout], [], [], _PATIENCE_S)[0]:
            raise EngineFailed(f"gave no answer within {_PATIENCE_S} s")
        line = process.stdout.readline()
        if not line:
            raise EngineFailed(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EngineFailed(_one_line(f"{answer['kind']}: {answer['error']}"))
        self.cpu_ns = answer["cpu_ns"]
        return answer

    def _last_words(self) -> str:
        """Why the process ended: its exit status and the last line it printed."""
        status = self._process.wait(_PATIENCE_S)
        self._said.seek(0)
        lines = [line for line in self._said.read().splitlines() if line.strip()]
        return _one_line(f"its process ended with status {status}: {(lines or [''])[-1]}")

    def _time(self, count: int, skip: int) -> np.ndarray:
        return np.array(self._ask({"run": count, "skip": skip})["ns"], np.float64)

    def _block(self) -> tuple[int, int]:
        """Calls of a block and how many go untimed before them, from the time a call takes."""
        call = float(np.median(self._time(3, 2))) / 1e9
        call = float(np.median(self._time(max(3, int(0.005 / call)), 1))) / 1e9
        count = min(_BLOCK_CALLS, max(1, int(_BLOCK_S / call)))
        return count, min(5, max(1, int(0.002 / call)))

    def round(self) -> None:
        """Take one block of calls."""
        self.rounds.append(self._time(self.block, self.skip))


def _limited(kind: str, isa: str) -> dict[str, str]:
    """What to set in the environment so that the engine keeps to an instruction set."""
    if kind == "edgeinfer":
        return {"EDGEINFER_ISA": isa}
    if kind == "openvino" and isa == "avx2":  # AVX2 without VNNI
        return {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    raise EngineFailed(f"cannot be told to keep to {isa}")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def take(engines: Sequence[Engine], rounds: int) -> float:
    """Take `rounds` rounds of all; returns the share of the machine's time others used, 0..1.

    EngineFailed where one breaks off, with that engine as `engine`.
    """
    (busy, whole), own = _busy(), sum(e.cpu_ns for e in engines)
    for i in range(rounds):
        for k in range(len(engines)):
            time.sleep(_PAUSE_S)
            engine = engines[(i + k) % len(engines)]
            try:
                engine.round()
            except EngineFailed as exc:
                exc.engine = engine
                raise
    after = _busy()
    own = sum(e.cpu_ns for e in engines) - own
    spent, total = after[0] - busy, after[1] - whole
    return min(max((spent - own / 1e9) / total, 0.0), 1.0) if total > 0 else 0.0


def _busy() -> tuple[float, float]:
    """Seconds all processors were busy since the start of the machine, and those there were."""
    try:
        first = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return 0.0, 0.0
    ticks = [int(t) / os.sysconf("SC_CLK_TCK") for t in first]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
