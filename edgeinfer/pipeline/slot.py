"""Newest-value slot in shared memory (csrc/rt/slot.c): one writer, many readers, no waiting.

The memory is an anonymous file (memfd): it has no name, so nothing is left behind whatever dies.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import Any, NamedTuple

from .._native import ffi, lib
from ..errors import MessageError
from .messages import Message, parse


def _unused() -> int:
    """References that `_free_room` sees to a buffer in its list that nobody else refers to."""
    rooms = [bytearray(1)]
    for room in rooms:
        return sys.getrefcount(room)
    return 0


_UNUSED = _unused()


class Published(NamedTuple):
    """A message with its number (from 1) at its publisher and the time it was published."""

    number: int
    message: Message
    time_ns: int


class Slot:
    """One value of up to `capacity` bytes, replaced by every write.

    Pickled while a process is started (spawn or forkserver), it opens the same memory there.
    """

    def __init__(self, capacity: int, *, name: str = "slot", fd: int = -1) -> None:
        self.capacity, self.name = capacity, name
        size = int(lib.ei_slot_bytes(capacity))
        if not size:
            raise ValueError(f"slot {name}: capacity {capacity} is out of range")
        create = fd < 0
        self._fd = os.memfd_create(f"edgeinfer-{name}") if create else fd
        if create:
            os.ftruncate(self._fd, size)
        self._map = mmap.mmap(self._fd, size)
        self._memory: Any = ffi.from_buffer(self._map)
        self._slot: Any = ffi.new("ei_slot *")
        if create:
            lib.ei_slot_create(self._slot, self._memory, size, capacity)
        elif lib.ei_slot_open(self._slot, self._memory, size):
            raise MessageError(f"slot {name}: the shared memory is damaged")
        self._rooms: list[bytearray] = []
        self._count: Any = ffi.new("uint64_t *")
        self._time: Any = ffi.new("int64_t *")

    def __reduce__(self) -> tuple[Any, ...]:
        from multiprocessing.reduction import DupFd

        return _reopen, (self.capacity, self.name, DupFd(self._fd))

    def write(self, data: bytes, time_ns: int) -> int:
        """Publish `data`; its number. MessageError where it is larger than the slot."""
        return self._write(b"", data, time_ns)

    def publish(self, message: Message, time_ns: int) -> int:
        """Publish a message, an image straight from its array; its number."""
        head, rest = message.to_parts()
        return self._write(head, rest, time_ns) if len(rest) else self._write(b"", head, time_ns)

    def _write(self, head: bytes, data: Any, time_ns: int) -> int:
        parts = ffi.from_buffer(head), len(head), ffi.from_buffer(data), len(data)
        if lib.ei_slot_write_parts(self._slot, *parts, time_ns):
            size = len(head) + len(data)
            raise MessageError(
                f"slot {self.name}: a value of {size} bytes, room for {self.capacity}"
            )
        return self.count

    @property
    def count(self) -> int:
        """Number of the newest value; 0 where nothing was written yet."""
        return int(lib.ei_slot_count(self._slot))

    def read(self) -> tuple[int, memoryview, int] | None:
        """(number, bytes, time written) of the newest value, or None.

        The bytes stay as they are for as long as anyone refers to them.
        """
        room = self._free_room()
        n = lib.ei_slot_read(
            self._slot, ffi.from_buffer(room), self.capacity, self._count, self._time
        )
        if n == lib.EI_SLOT_SMALL:
            raise MessageError(f"slot {self.name}: a value larger than {self.capacity} bytes")
        if n <= 0:
            return None
        return int(self._count[0]), memoryview(room)[:n].toreadonly(), int(self._time[0])

    def _free_room(self) -> bytearray:
        """A buffer that nobody refers to: memory is taken once, not with every read."""
        for room in self._rooms:
            if sys.getrefcount(room) == _UNUSED:
                return room
        self._rooms.append(bytearray(self.capacity))
        return self._rooms[-1]

    def newest(self) -> Published | None:
        """The newest message, or None where there is none."""
        found = self.read()
        return Published(found[0], parse(found[1]), found[2]) if found else None

    def close(self) -> None:
        """Release the memory in this process."""
        if self._fd >= 0:
            self._slot = None
            ffi.release(self._memory)
            self._map.close()
            os.close(self._fd)
            self._fd = -1


def _reopen(capacity: int, name: str, duplicate: Any) -> Slot:
    return Slot(capacity, name=name, fd=duplicate.detach())
