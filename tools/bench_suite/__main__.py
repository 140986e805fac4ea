"""The benchmark suite: python tools/bench_suite [--only mobilenet] [--threads 1,2] [--runs 20]

Makes the networks (float32 and int8, random weights), sets up every peer in an environment of its
own, makes the twins the peers need, runs everything in turn, and writes results.json, results.html
and tables.md into the folder --out. What was made before is kept; `--again` measures anew.
Downloads about 3 GB of packages at the first run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import make
import peers
import tables
from nets import NETS

from edgeinfer.bench import page
from edgeinfer.bench.compare import PEERS, Comparison, compare
from edgeinfer.bench.turns import EngineFailed, Job
from edgeinfer.cli.bench import describe


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="bench_suite")
    parser.add_argument("--out", type=Path, default=Path("out/bench_suite"))
    parser.add_argument("--envs", type=Path, help="folder of the environments (OUT/envs)")
    parser.add_argument("--only", default="", help="list: networks or files that contain one")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--runs", type=int, default=20, help="turns of about 20 ms each takes")
    parser.add_argument("--realtime", action="store_true", help="as in edgeinfer bench")
    parser.add_argument("--again", action="store_true", help="measure what was measured before too")
    parser.add_argument("--files-only", action="store_true", help="make the files, run nothing")
    return parser.parse_args()


def _chosen(text: str, name: str) -> bool:
    return not text or any(part in name for part in text.split(","))


def main() -> None:
    """Make, set up, convert, run, write."""
    args = _arguments()
    wanted, envs = args.peers.split(","), (args.envs or args.out / "envs").absolute()
    part = [n for n in NETS if any(_chosen(args.only, f"{n}_{k}") for k in ("fp32", "int8"))]
    models = [m for m in make.tflite(args.out.absolute(), part) if _chosen(args.only, m.stem)]
    for peer, why in peers.setup(envs, wanted).items():
        print(f"{peer} cannot be set up: {why}")
    peers.convert(models, envs, wanted)
    if not args.files_only:
        pythons = {p: str(peers.python_of(envs, p)) for p in peers.PACKAGES}
        _measure(args, models, wanted, pythons)


def _measure(args: Any, models: list[Path], wanted: list[str], pythons: dict[str, str]) -> None:
    file = args.out / "results.json"
    results = json.loads(file.read_text())["results"] if file.exists() else []
    pages: list[Comparison] = []
    for model in models:
        for threads in map(int, args.threads.split(",")):
            key = (model.name, threads)
            old = [r for r in results if (r["model"], r["threads"]) == key]
            if old and not args.again:
                continue
            results = [r for r in results if r not in old]
            results.append(
                _one(Job(model, threads, realtime=args.realtime), wanted, args.runs, pythons, pages)
            )
            results.sort(key=lambda r: (_order(r["model"]), r["threads"]))
            data = {"machine": page.machine(), "results": results}
            file.write_text(json.dumps(data, indent=1) + "\n")
    parts = [tables.markdown(results, p) for p in ("int8", "fp32")]
    (args.out / "tables.md").write_text("\n\n".join([*parts, tables.left_out(results)]) + "\n")
    page.write(args.out / "results.html", pages)
    print((args.out / "tables.md").read_text())


def _order(model: str) -> int:
    return list(NETS).index(model.rpartition("_")[0])


def _one(
    job: Job, wanted: list[str], runs: int, pythons: dict[str, str], pages: list[Comparison]
) -> dict[str, Any]:
    try:
        found = compare(job, wanted, runs, pythons)
    except EngineFailed as exc:
        print(f"{job.path.name}, {job.threads} thread(s): ours failed: {exc}\n", flush=True)
        return {"model": job.path.name, "threads": job.threads, "failed": str(exc)}
    print(describe(found) + "\n", flush=True)
    pages.append(found)
    return found.to_json()


if __name__ == "__main__":
    main()
