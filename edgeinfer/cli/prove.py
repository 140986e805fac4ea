"""edgeinfer prove: inject faults into every node of a pipeline and time the answer."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

from .. import __version__
from ..pipeline.certificate import Case, Contract, Result
from ..pipeline.prove import Prover, cases, contract
from . import pipelines, text_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    pipelines.add_arguments(parser)
    parser.add_argument(
        "--ftti", default="200ms", help="fault tolerant time interval: 200ms, 0.5s (default 200ms)"
    )
    parser.add_argument("--node", action="append", help="these nodes alone")
    parser.add_argument("--fault", action="append", help="these faults alone")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; the worst counts")
    parser.add_argument("--out", type=Path, default=Path("out/prove"), help="folder of the results")


def run(args: argparse.Namespace) -> int:
    """Run every case, print the table and the verdict, write the certificate."""
    pipeline = pipelines.load(args)
    terms = contract(pipeline, milliseconds(args.ftti))
    prover, wanted = Prover(pipeline, terms), _wanted(cases(pipeline), args)
    results = []
    for i, case in enumerate(wanted, 1):
        print(f"{i}/{len(wanted)}  {case.node}: {case.kind}", file=sys.stderr, flush=True)
        results.append(worst([prover.run(case) for _ in range(max(args.repeat, 1))]))
    print(text_table([_row(r) for r in results]))
    print()
    print(text_table(_by_kind(results)))
    failed = [r for r in results if not r.passed]
    print(f"\n{verdict(results, terms)}")
    args.out.mkdir(parents=True, exist_ok=True)
    _write_json(args.out / "certificate.json", args, terms, results)
    _write_junit(args.out / "junit.xml", args.pipeline, results)
    print(f"certificate: {args.out / 'certificate.json'}   for CI: {args.out / 'junit.xml'}")
    return 1 if failed else 0


def milliseconds(text: str) -> float:
    """ "200ms" or "0.2s" as milliseconds; ValueError else."""
    for unit, factor in (("ms", 1.0), ("s", 1e3)):
        if text.endswith(unit):
            try:
                value = float(text.removesuffix(unit)) * factor
            except ValueError:
                break
            if value > 0:
                return value
    raise ValueError(f"--ftti {text!r}: give a time such as 200ms or 0.5s")


def _wanted(every: Sequence[Case], args: argparse.Namespace) -> list[Case]:
    for option, have in (("node", {c.node for c in every}), ("fault", {c.kind for c in every})):
        for value in getattr(args, option) or ():
            if value not in have:
                raise ValueError(f"--{option} {value!r}: there are {', '.join(sorted(have))}")
    return [
        c
        for c in every
        if (not args.node or c.node in args.node) and (not args.fault or c.kind in args.fault)
    ]


def worst(results: Sequence[Result]) -> Result:
    """The one with the least margin."""
    return min(results, key=lambda r: -float("inf") if r.margin_ms is None else r.margin_ms)


def verdict(results: Sequence[Result], terms: Contract) -> str:
    """In words."""
    ftti, failed = terms.ftti_ns / 1e6, [r for r in results if not r.passed]
    if failed:
        names = ", ".join(f"{r.case.node}: {r.case.kind}" for r in failed)
        return f"NO: {len(failed)} of {len(results)} faults not handled within {ftti:g} ms: {names}"
    last = worst(results)
    return (
        f"YES: all {len(results)} faults handled within {ftti:g} ms; the slowest, "
        f"{last.case.node}: {last.case.kind}, after {last.handled_ms:.0f} ms"
    )


def _row(r: Result) -> dict[str, object]:
    return {
        "node": f"{r.case.node}{' (link)' if r.case.sort == 'link' else ''}",
        "fault": r.case.kind,
        "FDTI ms": _ms(r.detected_ms),
        "FRTI ms": _ms(r.reacted_ms),
        "FHTI ms": _ms(r.handled_ms),
        "margin ms": _ms(r.margin_ms),
        "hazard ms": _ms(r.hazard_ms),
        "at the end": r.reaction,
        "verdict": "yes" if r.passed else "NO",
    }


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _by_kind(results: Sequence[Result]) -> list[dict[str, object]]:
    """The worst of each fault over all nodes."""
    kinds: dict[str, list[Result]] = defaultdict(list)
    for r in results:
        kinds[r.case.kind].append(r)
    rows = [(kind, worst(found), len(found)) for kind, found in kinds.items()]
    return [
        {"worst of": k, "nodes": n, "at": r.case.node, "FHTI ms": _ms(r.handled_ms),
         "margin ms": _ms(r.margin_ms), "verdict": "yes" if r.passed else "NO"}
        for k, r, n in rows
    ]  # fmt: skip


def _write_json(
    path: Path, args: argparse.Namespace, terms: Contract, results: Sequence[Result]
) -> None:
    what: dict[str, Any] = {
        "format": 1,
        "pipeline": args.pipeline,
        "board": args.board,
        "edgeinfer": __version__,
        "machine": platform.platform(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "contract": {k.replace("_ns", "_ms"): v / 1e6 for k, v in asdict(terms).items()},
        "passed": all(r.passed for r in results),
        "results": [
            {**asdict(r), "reacted_ms": r.reacted_ms, "margin_ms": r.margin_ms, "passed": r.passed}
            for r in results
        ],
    }
    path.write_text(json.dumps(what, indent=1) + "\n")


def _write_junit(path: Path, name: str, results: Sequence[Result]) -> None:
    failed = sum(not r.passed for r in results)
    suite = xml.Element("testsuite", name=name, tests=str(len(results)), failures=str(failed))
    for r in results:
        at = {"classname": f"{r.case.sort}.{r.case.node}", "name": r.case.kind}
        test = xml.SubElement(suite, "testcase", at, time=f"{(r.handled_ms or 0) / 1e3:.3f}")
        if not r.passed:
            text = f"FHTI {_ms(r.handled_ms)} ms, FTTI {r.ftti_ms:g} ms; at the end: {r.reaction}"
            xml.SubElement(test, "failure", message=text).text = r.note
    xml.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
