"""edgeinfer check: whether a pipeline can keep its budgets on a board, with the numbers."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..pipeline.schedule import SOURCE
from ..pipeline.schedule.admission import Admission, Question, Row
from ..pipeline.schedule.sensitivity import changes, scale, slack_ms
from . import pipelines, text_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    pipelines.add_arguments(parser)
    parser.add_argument("--json", type=Path, help="write the analysis here, too")


def run(args: argparse.Namespace) -> int:
    """Print the analysis; 0 where the pipeline is admitted, 1 where not."""
    pipeline = pipelines.load(args)
    question = pipeline.question()
    found, slack = question.answer(), slack_ms(question)
    print(f"{args.pipeline} on {pipeline.board.name}: class {question.platform.policy}\n")
    print(text_table([_row(r, slack) for r in found.rows]))
    print()
    print(text_table(_cores(found, question)))
    print()
    print(text_table([_chain(c) for c in found.chains]))
    print()
    wanted = _advice(found, question)
    for line in [*wanted, *(f"note: {n}" for n in found.notes)]:
        print(line)
    if args.json:
        data = {**asdict(found), "slack_ms": slack, "advice": wanted, "admitted": found.admitted}
        args.json.write_text(json.dumps(_plain(data), indent=1) + "\n")
        print(f"written: {args.json}", file=sys.stderr)
    return 0 if found.admitted else 1


def _row(r: Row, slack: dict[str, float | None]) -> dict[str, object]:
    return {
        "ms": r.name,
        "core": r.core,
        "priority": r.priority,
        "period": _ms(r.period_ms),
        "budget": _ms(r.budget_ms),
        "blocked": _ms(r.blocking_ms),
        "waits": _ms(r.wait_ms),
        "response": _ms(r.response_ms),
        "deadline": _ms(r.deadline_ms),
        "slack": _ms(slack[r.name]) if r.name in slack else "-",
        "input age": "-" if r.name == SOURCE else _ms(r.age_ms),
        "at most": "-" if math.isinf(r.max_age_ms) else _ms(r.max_age_ms),
    }


def _cores(found: Admission, question: Question) -> list[dict[str, object]]:
    limit = f"{question.platform.limit:.0%}"
    rows: list[dict[str, object]] = [
        {"used": f"core {i}", "share": f"{u:.1%}", "at most": limit}
        for i, u in enumerate(found.cores)
    ]
    return rows + [
        {"used": name, "share": f"{u:.1%}", "at most": "100%"}
        for name, u in found.accelerators.items()
    ]


def _chain(c: Any) -> dict[str, object]:
    return {
        "chain, ms": str(c),
        "data age": _ms(c.age_ms),
        "at most": "-" if c.max_age_ms is None else _ms(c.max_age_ms),
        "reaction": _ms(c.reaction_ms),
        "at most ": "-" if c.max_reaction_ms is None else _ms(c.max_reaction_ms),
    }


def _advice(found: Admission, question: Question) -> list[str]:
    if found.admitted:
        s = scale(question)
        return [f"admitted: all budgets may grow by a factor of {s.factor:.2f}; then {s.first}"]
    lines = ["refused:", *(f"  {p}" for p in found.problems)]
    ways = changes(question)
    if ways:
        return [*lines, "any one of these would make it pass:", *(f"  {w}" for w in ways)]
    s = scale(question)
    if s.factor:
        return [*lines, f"no single change makes it pass; all budgets times {s.factor:.2f} do"]
    return [*lines, "neither a single change nor smaller budgets make it pass"]


def _ms(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _plain(value: Any) -> Any:
    """As JSON has it: no infinity."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and math.isinf(value) else value
