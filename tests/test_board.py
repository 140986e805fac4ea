"""Boards: found by name, folder or file; what is wrong is named."""

from __future__ import annotations

import pytest

from edgeinfer import _native
from edgeinfer import board as boards
from edgeinfer.errors import BoardError


@pytest.mark.parametrize("name", boards.names())
def test_boards_are_complete(name):
    board = boards.load(name)
    assert board.name == name
    assert board.description
    assert board.isa in ("best", *_native.ISAS)
    assert board.cores >= 1
    assert board.memory_mb >= 512
    assert board.delegates[0] == "cpu"
    assert board.buses
    assert all(0 < s.budget_ms < 1e3 / s.rate_hz for s in board.stages.values())
    folder = next(f / name for f in boards.FOLDERS if (f / name).is_dir())
    assert (folder / "README.md").read_text().startswith(f"# {name}")


def test_by_folder_and_by_file(tmp_path):
    text = '[board]\nname = "mine"\ncores = 3\n[stages.a]\nrate_hz = 10\nbudget_ms = 2\n'
    text += "max_age_ms = 5\ncore = 2\n[realtime]\npriority = 7\n"
    (tmp_path / "board.toml").write_text(text)
    for given in (tmp_path, str(tmp_path), tmp_path / "board.toml"):
        board = boards.load(given)
        assert (board.name, board.cores, board.extra) == ("mine", 3, {"realtime": {"priority": 7}})
        assert board.stages == {"a": boards.StageBudget(10.0, 2.0, 5.0, 2)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[board", "not a readable board"),
        ("[stages.a]\nrate_hz = 1\n", "incomplete board.*budget_ms"),
        ("", "incomplete board.*board"),
    ],
)
def test_broken_boards(tmp_path, text, said):
    (tmp_path / "board.toml").write_text(text)
    with pytest.raises(BoardError, match=said):
        boards.load(tmp_path)


def test_unknown_board_lists_the_known():
    with pytest.raises(BoardError, match=r"no board 'nowhere'; there are: .*host"):
        boards.load("nowhere")


def test_isa_of_another_machine_is_refused():
    assert boards.load("host").usable_isa() == _native.best_isa()
    other = next(isa for isa in _native.ISAS if isa not in _native.isas())
    with pytest.raises(BoardError, match="compile a plan for it"):
        boards.Board("x", isa=other).usable_isa()
