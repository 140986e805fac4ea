from collections.abc import Callable

def bind(
    function: int,
    argument: int,
    fail: Callable[[int], None],
    keep: object,
    hold_gil: bool,
) -> Callable[[], None]: ...
