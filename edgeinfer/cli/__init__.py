"""The command line: edgeinfer COMMAND, see COMMANDS."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from .. import __version__
from ..errors import EdgeInferError

COMMANDS = {
    "drive": "drive a scene or a recorded road, and report",
    "replay": "run a record again and compare the commands, bit for bit",
    "run": "run a model on images, audio or .npy files",
    "inspect": "what a model is and who runs each part of it",
    "bench": "latency of a model beside the installed peers",
    "profile": "where the time of a model goes, what bounds it, what to change",
    "compile": "plan a model and save the plan",
    "check": "whether a pipeline can keep its budgets on a board, with the numbers",
    "prove": "inject faults into a pipeline and time the answer at its actuator",
}


def parser() -> argparse.ArgumentParser:
    """The parser with every command's options; a command's code is imported when it runs."""
    top = argparse.ArgumentParser(prog="edgeinfer", description=__doc__)
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in COMMANDS.items():
        sub = commands.add_parser(name, help=what, description=what)
        import_module(f"{__name__}.{name}").add_arguments(sub)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; errors are one line on standard error and exit status 2."""
    args = parser().parse_args(argv)
    try:
        return int(import_module(f"{__name__}.{args.command}").run(args) or 0)
    except (EdgeInferError, ValueError, OSError) as exc:
        print(f"edgeinfer: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("edgeinfer: stopped", file=sys.stderr)
        return 130


def text_table(rows: Sequence[dict[str, object]]) -> str:
    """Rows as aligned text, first column left, the rest right."""
    if not rows:
        return ""
    keys = list(rows[0])
    cells = [[str(k) for k in keys], *[[_cell(r[k]) for k in keys] for r in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(keys))]
    lines = []
    for row in cells:
        first, rest = row[0].ljust(widths[0]), zip(row[1:], widths[1:], strict=True)
        lines.append("  ".join([first, *(c.rjust(w) for c, w in rest)]).rstrip())
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
