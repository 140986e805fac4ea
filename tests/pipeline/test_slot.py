"""Newest-value slot: whole values only, across threads and processes, whoever dies."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.errors import MessageError
from edgeinfer.pipeline.messages import Command, Frame
from edgeinfer.pipeline.slot import Slot

ROOT = Path(__file__).resolve().parents[2]
BYTES = 300_000


@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_threads_under_sanitizers(tmp_path: Path, sanitizer: str) -> None:
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("needs gcc, not installed here")
    rt = ROOT / "csrc" / "rt"
    flags = ["-std=c11", "-O1", "-g", f"-fsanitize={sanitizer}", "-I", ROOT / "csrc"]
    # GCC says that it does not see fences; every access is atomic, so none can race.
    flags += ["-Wno-tsan"] if sanitizer == "thread" else []
    sources = [ROOT / "tests/pipeline/slot_driver.c", rt / "slot.c", rt / "time.c"]
    program = tmp_path / "driver"
    subprocess.run([gcc, *flags, *sources, "-o", program, "-lpthread"], check=True)
    done = subprocess.run([program], capture_output=True, text=True, timeout=60)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("ThreadSanitizer cannot run on this kernel's memory layout")
    assert done.returncode == 0, done.stdout + done.stderr


def test_newest_value_and_its_number() -> None:
    slot = Slot(8)
    assert slot.read() is None
    assert slot.newest() is None
    for n in range(1, 11):
        assert slot.write(b"v%d" % n, 100 + n) == n
    assert slot.read() == (10, b"v10", 110)
    assert slot.read() == (10, b"v10", 110)
    slot.close()
    slot.close()


def test_messages() -> None:
    slot, command = Slot(100), Command(3, 4, 0.5, 0.25, 0.0)
    slot.write(command.to_bytes(), 9)
    newest = slot.newest()
    assert newest is not None
    assert (newest.number, newest.message, newest.time_ns) == (1, command, 9)


def frame(n: int) -> Frame:
    return Frame(n, n, np.full((20, 30, 3), n, np.uint8))


def test_frames_kept_by_a_reader_stay_as_they_are() -> None:
    """Buffers are used again, but not while a message lies in them."""
    slot, kept = Slot(2000), []
    for n in range(10):
        assert slot.publish(frame(n), n) == n + 1
        newest = slot.newest()
        assert newest is not None
        kept.append(newest.message)
    assert all(message == frame(n) for n, message in enumerate(kept))
    some = kept[3].image[5:7]  # a view of a view holds it too
    kept.clear()
    for n in range(100, 150):
        slot.publish(frame(n), n)
        newest = slot.newest()
        assert newest is not None
        assert newest.message == frame(n)
    assert (some == 3).all()
    assert len(slot._rooms) <= 11  # memory does not grow with the number of reads


def test_image_parts_are_the_wire_form() -> None:
    image = np.arange(5 * 14 * 3, dtype=np.uint8).reshape(5, 14, 3)[:, ::2]  # not contiguous
    message, slot = Frame(1, 2, image), Slot(200)
    head, rest = message.to_parts()
    assert len(head) % 8 == 0
    assert head + bytes(rest) == message.to_bytes()
    slot.publish(message, 3)
    found = slot.read()
    assert found is not None
    assert bytes(found[1]) == message.to_bytes()


def test_too_large_is_refused_and_changes_nothing() -> None:
    slot = Slot(8, name="small")
    slot.write(b"12345678", 1)
    with pytest.raises(MessageError, match="small: a value of 9 bytes, room for 8"):
        slot.write(b"123456789", 2)
    with pytest.raises(MessageError, match="small: a value of 1832 bytes, room for 8"):
        slot.publish(frame(1), 2)
    assert slot.read() == (1, b"12345678", 1)
    with pytest.raises(ValueError, match="out of range"):
        Slot(0)


def _write(slot: Slot) -> None:
    n = slot.count
    while True:
        n += 1
        slot.write(bytes([n % 256]) * BYTES, n)


def test_writers_killed_in_the_middle() -> None:
    """Ten writers in turn, each killed at some instant: values stay whole, numbers go on."""
    context, slot, last = multiprocessing.get_context("fork"), Slot(BYTES), 0
    for i in range(10):
        writer = context.Process(target=_write, args=(slot,), daemon=True)
        writer.start()
        end = time.monotonic() + 0.05 + 0.003 * i
        while time.monotonic() < end or slot.count == last:
            check(slot)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        number = check(slot)
        assert number > last
        last = number
    slot.close()


def check(slot: Slot) -> int:
    found = slot.read()
    if found is None:
        return 0
    number, data, at = found
    assert at == number
    assert data == bytes([number % 256]) * BYTES
    return number


def _answer(request: Slot, answer: Slot) -> None:
    while request.count == 0:
        time.sleep(0.001)
    found = request.read()
    assert found is not None
    answer.write(bytes(found[1])[::-1], 1)


def test_pickled_into_a_spawned_process() -> None:
    request, answer = Slot(16), Slot(16)
    process = multiprocessing.get_context("spawn").Process(target=_answer, args=(request, answer))
    process.start()
    request.write(b"abc", 1)
    process.join(60)
    assert process.exitcode == 0
    assert answer.read() == (1, b"cba", 1)


def test_damaged_memory_is_refused() -> None:
    slot = Slot(64, name="s")
    os.pwrite(slot._fd, b"\xff" * 8, 0)
    with pytest.raises(MessageError, match="damaged"):
        Slot(64, name="s", fd=os.dup(slot._fd))
