"""Fuzzes the model reader with damaged copies of real models.

    nice python tools/fuzz_reader.py --minutes 10 --seeds FOLDER [--plan] [--atheris]

Every file under FOLDER (default: the shared models, else three small ones made here) is a seed.
An exception that is not one of ours, a case above 10 s or above 4 GB is a crash: its bytes go to
--out, with the traceback. `--plan` also plans what was read and runs it once (the case under way
is in OUT/current.tflite: look there where the process dies). `--atheris` lets libFuzzer guide the
mutations by coverage (pip install atheris). The exit status says whether crashes were found.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

_ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_ROOT), str(_ROOT / "tests" / "fuzz")]

_SECONDS = 10
_MEMORY = 4 << 30
_RUN_BYTES = 1 << 20
_ATHERIS_MAX = 1 << 14


def seeds(folder: Path | None) -> list[bytes]:
    """Bytes of every .tflite under the folder that is not too large to mutate often."""
    from edgeinfer.engine.tflite_writer import write_tflite
    from tests import models

    small = [models.network("int8"), models.network("float32"), models.variables()]
    found = [write_tflite(g) for g in small]
    if folder is not None and folder.is_dir():
        paths = sorted(folder.rglob("*.tflite"))
        found += [p.read_bytes() for p in paths if p.stat().st_size < 1 << 20]
    return found


def try_one(data: bytes, plan: bool) -> str:
    """Read (and plan) a file; the kind of outcome. Raises what is not an error of ours."""
    from edgeinfer.engine.model import from_tflite
    from edgeinfer.engine.plan import build
    from edgeinfer.engine.session import Session
    from edgeinfer.errors import EdgeInferError, ModelError, UnsupportedError

    try:
        graph = from_tflite(data).graph
    except (ModelError, UnsupportedError) as exc:
        return type(exc).__name__
    if not plan:
        return "read"
    try:
        planned = build(graph, isa="ref")
    except EdgeInferError as exc:
        return "plan: " + type(exc).__name__
    if planned.arena_bytes > _RUN_BYTES:
        return "planned"
    Session(planned).run()
    return "run"


def guarded(data: bytes, plan: bool, out: Path, outcomes: Counter[str]) -> None:
    """try_one under the limits of time and memory; a crash is saved and counted by its place."""
    if plan:
        (out / "current.tflite").write_bytes(data)
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    try:
        outcomes[try_one(data, plan)] += 1
    except Exception as exc:
        place = traceback.extract_tb(exc.__traceback__)[-1]
        key = f"CRASH {type(exc).__name__} {Path(place.filename).name}:{place.lineno}"
        outcomes[key] += 1
        if outcomes[key] == 1:
            name = out / f"crash-{hashlib.sha256(data).hexdigest()[:12]}"
            name.with_suffix(".tflite").write_bytes(data)
            name.with_suffix(".txt").write_text(key + "\n\n" + traceback.format_exc())
            print(key, exc, name, flush=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def own_loop(found: list[bytes], minutes: float, plan: bool, out: Path, seed: int) -> Counter[str]:
    """Random mutations of random seeds until the time is over."""
    import mutate

    rng = np.random.default_rng(seed)
    sources = [mutate.mutations(data, rng) for data in found]
    outcomes: Counter[str] = Counter()
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        source = sources[int(rng.integers(len(sources)))]
        for _ in range(20):
            guarded(next(source), plan, out, outcomes)
    return outcomes


def instrument() -> None:
    """Import our reader with counters of coverage: before anything else imports it."""
    import atheris

    with atheris.instrument_imports(include=["edgeinfer.engine"]):
        import edgeinfer.engine.metadata
        import edgeinfer.engine.model
        import edgeinfer.engine.tflite  # noqa: F401


def with_atheris(found: list[bytes], minutes: float, plan: bool, out: Path) -> None:
    """libFuzzer, guided by the coverage of our reader. Does not return."""
    import atheris

    corpus = out / "corpus"
    corpus.mkdir(exist_ok=True)
    for data in found:
        if len(data) <= _ATHERIS_MAX:
            (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)

    def one(data: bytes) -> None:
        try_one(data, plan)

    limits = [
        f"-max_total_time={int(60 * minutes)}",
        f"-max_len={_ATHERIS_MAX}",
        f"-timeout={_SECONDS}",
    ]
    limits += ["-rss_limit_mb=4096", f"-artifact_prefix={out}/"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], one)
    atheris.Fuzz()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    default = _ROOT.parent / "shared" / "models"
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=Path, default=default)
    parser.add_argument("--out", type=Path, default=Path("fuzz-crashes"))
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--atheris", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.atheris:
        instrument()
    found = seeds(args.seeds)
    if args.atheris:
        with_atheris(found, args.minutes, args.plan, args.out)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))

    def too_slow(*_: Any) -> None:
        raise TimeoutError(f"a case above {_SECONDS} s")

    signal.signal(signal.SIGALRM, too_slow)
    print(f"{len(found)} seeds, random seed {args.seed}", flush=True)
    outcomes = own_loop(found, args.minutes, args.plan, args.out, args.seed)
    print(f"{sum(outcomes.values())} cases")
    for kind, count in outcomes.most_common():
        print(f"{count:9d}  {kind}")
    return int(any(k.startswith("CRASH") for k in outcomes))


if __name__ == "__main__":
    sys.exit(main())
