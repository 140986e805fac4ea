from collections.abc import Callable
from typing import Any

def bind(
    run: int,
    run_by: int,
    argument: int,
    fail: Callable[[int], None],
    outcome: Callable[[int, int, int, int], Any],
    keep: object,
    hold_gil: bool,
) -> Callable[..., Any]: ...
