"""Can these stages keep their budgets on this board? The schedulability analysis.

`wiring`: who reads whom. `tasks`, `fixed`, `edf`, `chains`: the theory, on tasks and links alone.
`platform`: what a board says of itself. `admission`: both together; `sensitivity`: how much more
would pass, and what change would make it pass.
"""

from .wiring import GUARD, RESERVED, SOURCE, offsets, order

__all__ = ["GUARD", "RESERVED", "SOURCE", "offsets", "order"]
