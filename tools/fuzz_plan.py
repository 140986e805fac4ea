"""Fuzzes the C plan loader and the kernels' checks under AddressSanitizer and UBSan.

    python tools/fuzz_plan.py --minutes 10 --keep crashes
    python tools/fuzz_plan.py --minutes 10 --keep crashes --libfuzzer

The first damages the plans where their structure is; the second is libFuzzer (needs clang), guided
by coverage. Seeds are small plans of every ISA here and, where they are, those of the real models
up to 300 KB. Every plan that crashes is kept in the folder with what the sanitizer said. The last
line of the first has the totals.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import edgeinfer as ei
from edgeinfer import _native
from edgeinfer.engine.plan import build
from tests import native, sanitized
from tests.fuzz.plan_seeds import seeds

_ROOT = Path(__file__).resolve().parents[1]
SLOW, BLOCK, REAL_BYTES, GUIDED_BYTES = 14, 2000, 300_000, 60_000
FUZZER = ("-g", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", "-Wno-error")
OPTIONS = {"ASAN_OPTIONS": "allocator_may_return_null=1:detect_leaks=1"}


def attack(
    driver: Path, plan: Path, seed: int, count: int, keep: Path, first: int = 0
) -> Counter[str]:
    """Run `count` mutations of a plan; mutants that crash the driver go to the folder `keep`."""
    totals: Counter[str] = Counter()
    end, progress = first + count, keep / "progress"
    while first < end:
        command = [driver, plan, seed, first, end - first, progress]
        done = _run(command)
        if done.returncode == 0:
            counts = map(int, done.stdout.split())
            totals.update(dict(zip(("mutants", "opened", "run"), counts, strict=True)))
            break
        at = int(progress.read_text().split()[0])
        name = f"{plan.stem}-{seed}-{at}"
        kind = "slow" if done.returncode == SLOW else "crashes"
        totals.update({"mutants": at + 1 - first, kind: 1})
        _run([driver, plan, seed, at, 1, progress, keep / f"{name}.{kind}"])
        (keep / f"{name}.txt").write_text(done.stderr)
        first = at + 1
    return totals


def _run(command: list[object]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | OPTIONS
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, env=environment)


def real_models() -> Iterator[tuple[str, bytes]]:
    """(name, plan) of the real models that are small, for every ISA here."""
    folder = Path(os.environ.get("EDGEINFER_SHARED", _ROOT.parent / "shared")) / "models"
    for path in sorted(folder.rglob("*.tflite")):
        if path.stat().st_size > REAL_BYTES:
            continue
        for isa in _native.isas():
            try:
                plan = build(ei.load(path).graph, isa=isa)
            except ei.EdgeInferError:
                continue  # made for an NPU, or with an operator that nobody has
            yield f"{path.stem}-{isa}", bytes(plan.bytes)


def libfuzzer(keep: Path, minutes: float) -> int:
    """Build and run libFuzzer on the folder; its status, 0 where nothing crashed."""
    corpus = keep / "corpus"
    corpus.mkdir(exist_ok=True)
    for plan in keep.glob("*.plan"):
        if plan.stat().st_size <= GUIDED_BYTES:  # more bytes, fewer tries
            (corpus / plan.name).write_bytes(plan.read_bytes())
    program = native.build(keep, "fuzz/plan_fuzzer.c", *FUZZER, optimise="-O1", cc="clang")
    limits = [f"-max_total_time={60 * minutes:.0f}", "-timeout=10", "-rss_limit_mb=4096"]
    limits += [f"-max_len={2 * GUIDED_BYTES}", f"-artifact_prefix={keep}/"]
    command = [program, corpus, *limits]
    return subprocess.run([str(c) for c in command], env=os.environ | OPTIONS).returncode


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-plan"), help="folder for crashes")
    parser.add_argument("--libfuzzer", action="store_true", help="guided by coverage; needs clang")
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    plans = []
    for name, data in itertools.chain(seeds(), real_models()):
        plans.append(options.keep / f"{name}.plan")
        plans[-1].write_bytes(data)
    if options.libfuzzer:
        sys.exit(libfuzzer(options.keep.resolve(), options.minutes))
    driver = sanitized.program("fuzz/plan_driver.c", sanitized.ASAN)
    totals: Counter[str] = Counter()
    end = time.monotonic() + 60 * options.minutes
    for seed in itertools.count(1):
        for plan in plans:
            if time.monotonic() > end:
                print(dict(totals))
                sys.exit(1 if totals["crashes"] else 0)
            totals += attack(driver, plan, seed, BLOCK, options.keep)


if __name__ == "__main__":
    main()
