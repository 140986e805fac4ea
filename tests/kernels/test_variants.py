"""Every kernel of this machine's ISAs against `ref`: integers to the bit, floats within the case's
bound, and the same bytes from one, two and three threads."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from cases import CHAINS, PARTS, Case, cases

from edgeinfer import _native
from edgeinfer.engine.plan import Plan, build
from edgeinfer.engine.session import Session

ISAS = [isa for isa in _native.isas() if isa != "ref"]
TABLES = {isa: _native.kernels(isa) for isa in _native.ISAS}


def _lacking() -> set[str]:
    """Kernels that need more of the processor than their ISA."""
    info = Path("/proc/cpuinfo")
    vbmi = not info.exists() or "avx512_vbmi" in info.read_text()
    return set() if vbmi else {"avx512vnni/lookup"}


LACKING = _lacking()


def results(plan: Plan, case: Case, threads: int = 1) -> tuple[Session, list[np.ndarray]]:
    """The session and the outputs of every run, in order."""
    session, found = Session(plan, threads=threads), []
    for _ in range(case.runs):
        for name, value in case.feeds.items():
            session[name] = value
        session.run()
        found += [session[name].copy() for name in session.outputs]
    return session, found


@cache
def reference(group: str, dtype: str, rounding: str) -> list[list[np.ndarray]]:
    """What ref makes of the cases."""
    found = cases(group, dtype)
    return [results(build(c.graph, isa="ref", rounding=rounding), c)[1] for c in found]


def check(case: Case, want: list[np.ndarray], got: list[np.ndarray], note: str) -> None:
    """Equal integers, floats within the case's bound of the largest magnitude."""
    for w, g in zip(want, got, strict=True):
        if w.dtype == np.float32 and case.bound:
            atol = case.bound * float(np.abs(w).max(initial=1e-30))
            np.testing.assert_allclose(g, w, rtol=0, atol=atol, err_msg=note)
        else:
            np.testing.assert_array_equal(g, w, err_msg=note)


def _check_memory(session: Session, case: Case) -> None:
    """That the kernel's tensors lie as the case wants them, where no change of sign is between."""
    steps = list(session.plan.steps())
    if not case.memory or any(s.kernel.endswith("/flip_sign") for s in steps):
        return
    step = next(s for s in steps if s.name == case.node)
    if case.memory == "strided":
        copies = ("concatenation", "split")
        assert not any(s.kernel.endswith(copies) for s in steps), case.name
        return
    at = [_address(session, i) for i in (*step.inputs[:1], *step.outputs)]
    if case.memory == "in place":
        assert at[0] == at[1], case.name
    else:
        assert all(a % 64 for a in at), (case.name, at)


def _address(session: Session, index: int) -> int:
    pointer = _native.lib.ei_session_tensor(session._handle, index)
    return int(_native.ffi.cast("uintptr_t", pointer))


@pytest.mark.parametrize(("group", "dtype", "rounding"), PARTS)
@pytest.mark.parametrize("isa", ISAS)
def test_equal_to_ref(isa: str, group: str, dtype: str, rounding: str) -> None:
    """The cases that the ISA's own table runs; what it leaves to a lesser ISA is tried there."""
    found = zip(cases(group, dtype), reference(group, dtype, rounding), strict=True)
    own = [(c, want) for c, want in found if c.expected(TABLES, isa) in TABLES[isa]]
    for case, want in own:
        _try(case, want, isa, rounding)
    if not own:
        pytest.skip(f"{isa} adds no kernel for these")


def _try(case: Case, want: list[np.ndarray], isa: str, rounding: str) -> None:
    note = f"{isa} {rounding}: {case.name}"
    plan = build(case.graph, isa=isa, rounding=rounding)
    session, got = results(plan, case)
    kernel = case.expected(TABLES, isa)
    kernels = [p.kernel for p in session.placement()]
    assert kernel in kernels or kernel in LACKING, f"{note}: ran on {kernels}, not on {kernel}"
    check(case, want, got, note)
    for threads in (2, 3):
        for one, more in zip(got, results(plan, case, threads)[1], strict=True):
            assert one.tobytes() == more.tobytes(), f"{note}: {threads} threads"
    _check_memory(session, case)


@pytest.mark.parametrize("isa", ISAS)
def test_every_kernel_has_cases(isa: str) -> None:
    """A kernel in the library's table that no case expects needs a case in cases.py."""
    parts = {(group, dtype) for group, dtype, _ in PARTS}
    tried = {c.expected(TABLES, isa) for part in parts for c in cases(*part)}
    assert set(TABLES[isa]) <= tried, sorted(set(TABLES[isa]) - tried)


def test_every_isa_is_known() -> None:
    assert set(_native.ISAS) == {"ref", *CHAINS}
