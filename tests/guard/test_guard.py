"""Guard: the C driver with full coverage, the rules of its source, and any sequence of calls."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.pipeline.guard import Guard, GuardLimits, Reason, State
from edgeinfer.pipeline.messages import Command, Origin

ROOT = Path(__file__).resolve().parents[2]
GUARD = ROOT / "csrc" / "guard" / "guard.c"
DRIVER = ROOT / "tests" / "guard" / "driver.c"
MS = 1_000_000


def needs(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"needs {program}, not installed here")
    return path


def compile_driver(tmp_path: Path, *flags: str) -> Path:
    program = tmp_path / "driver"
    command = [needs("gcc"), "-std=c11", "-Wall", "-Wextra", "-Werror", *flags, "-I", ROOT / "csrc"]
    subprocess.run([*command, DRIVER, GUARD, "-o", program, "-lm"], check=True, cwd=tmp_path)
    return program


def test_driver_under_sanitizers(tmp_path: Path) -> None:
    program = compile_driver(tmp_path, "-O1", "-g", "-fsanitize=address,undefined")
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("flags", [("-O3",), ("-O2", "-ffast-math")])
def test_driver_optimised(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Also under -ffast-math, where a comparison with NaN means nothing."""
    fast = "-ffast-math" in flags
    program = tmp_path / "driver"
    objects = []
    # Only the guard is compiled so: the driver itself makes NaNs and infinities.
    for source, extra in ((GUARD, flags), (DRIVER, ("-O1",))):
        objects.append(tmp_path / f"{source.stem}.o")
        command = [needs("gcc"), "-std=c11", *extra, "-I", ROOT / "csrc", "-c", source]
        subprocess.run([*command, "-o", objects[-1]], check=True)
    subprocess.run([needs("gcc"), *objects, "-o", program, "-lm"], check=True)
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, f"fast={fast}\n{done.stdout}"


def test_every_line_and_branch_is_covered(tmp_path: Path) -> None:
    gcov = needs("gcov")
    program = compile_driver(tmp_path, "-O0", "--coverage")
    subprocess.run([program], check=True, cwd=tmp_path)
    notes = next(tmp_path.glob("*guard*.gcda"))
    said = subprocess.run(
        [gcov, "-b", notes.name], check=True, cwd=tmp_path, capture_output=True, text=True
    ).stdout
    part = said[said.index(f"File '{GUARD}'") :].split("\n\n")[0]
    assert "Lines executed:100.00%" in part, part
    assert "Taken at least once:100.00%" in part, part


def test_includes_stdint_alone() -> None:
    text = GUARD.read_text() + GUARD.with_suffix(".h").read_text()
    assert re.findall(r"#include\s*(\S+)", text) == ['"guard.h"', "<stdint.h>"]


def test_compiles_for_a_microcontroller(tmp_path: Path) -> None:
    gcc = needs("arm-none-eabi-gcc")
    out = tmp_path / "guard.o"
    flags = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]
    base = ["-std=c11", "-Os", "-ffreestanding", "-Wall", "-Wextra", "-Werror", "-c"]
    subprocess.run([gcc, *flags, *base, GUARD, "-o", out], check=True)


def test_commands_pass_and_are_limited() -> None:
    guard = Guard(GuardLimits(steer_max=0.5, steer_rate=100.0))
    assert guard.output(0) is None
    command = Command(7, 3, 1.0, 0.25, 0.0)
    assert guard.offer(command, 1, 1000 * MS) is Reason.OK
    sent = guard.output(1000 * MS)
    assert sent == Command(7, 3, 0.5, 0.25, 0.0)
    assert guard.counters["limited"] == 1


def test_silence_after_the_sender_died() -> None:
    guard = Guard(GuardLimits(heartbeat_ms=100, safe_ms=500, throttle_rate=100))
    guard.offer(Command(1, 1, 0.1, 1.0, 0.0), 1, 0)
    sent = [guard.output(t * MS) for t in range(0, 1000, 20)]
    assert sent[5] is not None
    assert sent[5].throttle == 1.0  # 100 ms: still fresh
    assert sent[6] is not None
    assert (sent[6].throttle, sent[6].origin) == (0.0, Origin.SAFE)
    assert sent[29] is not None
    assert math.isclose(sent[29].brake, 0.2, rel_tol=1e-6)
    assert sent[32:] == [None] * 18
    assert (guard.state, guard.reason) == (State.SILENT, Reason.TIMEOUT)
    guard.arm()
    assert guard.offer(Command(2, 2, 0.0, 0.0, 0.0), 2, 1000 * MS) is Reason.OK


@pytest.mark.parametrize("bad", [{"steer_max": 1.5}, {"heartbeat_ms": 0}, {"brake_rate": -1}])
def test_bad_limits_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="guard limits out of range"):
        Guard(GuardLimits(**bad))


VALUES = st.one_of(
    st.floats(-1.5, 1.5, width=32),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1.0, -1.0]),
)
CALLS = st.lists(
    st.tuples(st.integers(-30, 300), st.booleans(), VALUES, VALUES, VALUES), max_size=60
)


@settings(max_examples=300, deadline=None)
@given(CALLS)
def test_no_sequence_gets_past_the_limits(
    calls: list[tuple[int, bool, float, float, float]],
) -> None:
    limits = GuardLimits(0.8, 0.9, 0.7, 2.0, 1.0, 5.0, step_ms=40.0, safe_brake=0.3, recover=2)
    guard, now, last = Guard(limits), 1000, Command(0, 0, 0.0, 0.0, 0.0)
    for number, (step, offered, *values) in enumerate(calls, 1):
        now = max(now + step, 0)
        if offered:
            guard.offer(Command(number, 0, *values), number, now * MS)
        sent = guard.output(now * MS)
        if sent is None:
            continue
        most = 0.04 * (1 + 1e-4)
        assert abs(sent.steer) <= 0.8000001
        assert 0 <= sent.throttle <= 0.9000001
        assert 0 <= sent.brake <= 0.7000001
        assert abs(sent.steer - last.steer) <= 2.0 * most
        assert sent.throttle - last.throttle <= 1.0 * most
        assert sent.brake - last.brake <= 5.0 * most
        assert not (sent.throttle and guard.state is State.SAFE)
        last = sent


def test_changes_to_the_guard_are_found() -> None:
    """A twelfth of the mutants of tools/mutate_guard.py; the tool itself tries all."""
    needs("objcopy")
    needs("gcc")
    command = [sys.executable, ROOT / "tools" / "mutate_guard.py", "--every", "12"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    killed = int(done.stdout.split()[0])
    assert killed > 15
