"""Board: a folder of data that says what a machine is: ISA, cores, delegates, buses, budgets."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from . import _native
from .errors import BoardError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_HERE = Path(__file__).resolve().parent
#: Where boards are looked for by name: inside the installed package, or beside it in a checkout.
FOLDERS = (_HERE / "boards", _HERE.parent / "boards")


@dataclass(frozen=True)
class StageBudget:
    """What one stage may cost on a board: rate Hz, budget and maximum input age, milliseconds.

    `core`: the core it is to run on, None for any; `priority`: of its real-time class, None: the
    board's; `deadline_ms`: from release to result, 0: the period; `segment_ms`: its longest part
    that nothing interrupts; `accelerator`, `accelerator_ms`: a device that it uses, and for how
    much of its budget.
    """

    rate_hz: float
    budget_ms: float
    max_age_ms: float
    core: int | None = None
    priority: int | None = None
    deadline_ms: float = 0.0
    segment_ms: float = 0.0
    accelerator: str = ""
    accelerator_ms: float = 0.0


def _budget(name: str, entry: dict[str, Any]) -> StageBudget:
    """An entry [stages.NAME]; ValueError where it has a key that does not exist."""
    known = {f.name: f for f in fields(StageBudget)}
    if unknown := sorted(entry.keys() - known.keys()):
        raise ValueError(f"[stages.{name}] has {unknown}; there are {sorted(known)}")
    times = {k: float(v) for k, v in entry.items() if str(known[k].type) == "float"}
    return StageBudget(**{**entry, **times})


@dataclass(frozen=True)
class Board:
    """A board's data. `isa` is "best" for whatever the machine has, or an ISA's name.

    `tuning` is its table of measured choices of kernels (tuning.json in its folder), None: none.
    """

    name: str
    description: str = ""
    isa: str = "best"
    cores: int = 1
    memory_mb: int = 0
    delegates: tuple[str, ...] = ("cpu",)
    buses: tuple[str, ...] = ()
    stages: dict[str, StageBudget] = field(default_factory=dict)
    tuning: Path | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def usable_isa(self) -> str:
        """The ISA to plan for on this machine; BoardError where it cannot run the board's."""
        if self.isa == "best":
            return _native.best_isa()
        if self.isa not in _native.isas():
            raise BoardError(
                f"board {self.name!r} needs ISA {self.isa!r}; this machine has "
                f"{', '.join(_native.isas())}: compile a plan for it instead of running it here"
            )
        return self.isa


def names() -> list[str]:
    """Names of the boards that come with the package."""
    return sorted({p.parent.name for f in FOLDERS for p in f.glob("*/board.toml")})


def load(name: str | Path) -> Board:
    """The board of that name, or of that folder or board.toml."""
    path = _find(name)
    try:
        data = tomllib.loads(path.read_text())
    except (OSError, ValueError) as exc:
        raise BoardError(f"{path}: not a readable board ({exc})") from exc
    return _parse(data, path)


def _find(name: str | Path) -> Path:
    given = Path(name)
    candidates = [f / str(name) / "board.toml" for f in FOLDERS]
    if given.is_dir():
        candidates.insert(0, given / "board.toml")
    elif given.suffix == ".toml":
        candidates.insert(0, given)
    for path in candidates:
        if path.is_file():
            return path
    raise BoardError(f"no board {str(name)!r}; there are: {', '.join(names())}, or give a folder")


def _parse(data: dict[str, Any], path: Path) -> Board:
    try:
        stages = {name: _budget(name, entry) for name, entry in data.pop("stages", {}).items()}
        board = data.pop("board")
        return Board(
            name=board["name"],
            description=board.get("description", ""),
            isa=board.get("isa", "best"),
            cores=int(board.get("cores", 1)),
            memory_mb=int(board.get("memory_mb", 0)),
            delegates=tuple(board.get("delegates", ("cpu",))),
            buses=tuple(board.get("buses", ())),
            stages=stages,
            tuning=tuning if (tuning := path.with_name("tuning.json")).is_file() else None,
            extra=data,
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise BoardError(f"{path}: incomplete board: {exc!r}") from exc
