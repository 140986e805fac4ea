"""What a stage's process tells its supervisor: through a pipe, and never waiting for it.

Where the pipe is full, entries wait in this process; where too many do, they are dropped and
counted: telling must not make a stage late.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import time
from collections import deque
from collections.abc import Iterator

_HEAD = struct.Struct("<IcBQq")  # bytes of content, kind, bytes of topic, number, time
_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031

READY, EVENT, MESSAGE, FAILED, DONE = b"R", b"E", b"M", b"F", b"D"


class Outbox:
    """The writing end. At most `limit` bytes wait."""

    def __init__(self, fd: int, limit: int = 64 << 20) -> None:
        self._fd, self._limit = fd, limit
        self._waiting: deque[bytes] = deque()
        self._bytes = self.dropped = 0
        os.set_blocking(fd, False)
        self._poll = select.poll()
        self._poll.register(fd, 0)  # errors alone: the other end was closed

    def alone(self) -> bool:
        """Whether nobody listens any more: the supervisor is gone."""
        return bool(self._poll.poll(0))

    def put(
        self, kind: bytes, data: bytes, topic: str = "", number: int = 0, time_ns: int = 0
    ) -> None:
        """Tell something; sent by `flush`."""
        name = topic.encode()
        entry = _HEAD.pack(len(data), kind, len(name), number, time_ns) + name + data
        if self._bytes + len(entry) > self._limit:
            self.dropped += 1
            return
        self._waiting.append(entry)
        self._bytes += len(entry)

    def flush(self) -> None:
        """Hand over as much as the pipe takes now."""
        while self._waiting:
            entry = self._waiting[0]
            try:
                n = os.write(self._fd, entry)
            except BlockingIOError:
                return
            except BrokenPipeError:  # nobody listens: the worker sees it and stops
                self._waiting.clear()
                self._bytes = 0
                return
            self._bytes -= n
            if n < len(entry):
                self._waiting[0] = entry[n:]
                return
            self._waiting.popleft()

    def flush_until(self, time_ns: int) -> None:
        """Hand over what waits, as the pipe takes it, until that time of CLOCK_MONOTONIC."""
        while self._waiting and (left := time_ns - time.monotonic_ns()) > 0:
            if not select.select([], [self._fd], [], left / 1e9)[1]:
                return
            self.flush()

    def drain(self, seconds: float = 5.0) -> None:
        """Hand over all that waits, for at most that long between two pieces."""
        self.flush()
        while self._waiting and select.select([], [self._fd], [], seconds)[1]:
            self.flush()


class Inbox:
    """The reading end: cuts what arrives into entries."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._data = bytearray()
        os.set_blocking(fd, False)
        with contextlib.suppress(OSError):  # a smaller pipe: more waits in the stage's process
            fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE_BYTES)

    def entries(self) -> Iterator[tuple[bytes, str, int, int, bytes]]:
        """(kind, topic, number, time, content) of all that has arrived whole."""
        self._fetch()
        at = 0
        while len(self._data) - at >= _HEAD.size:
            size, kind, topic, number, time_ns = _HEAD.unpack_from(self._data, at)
            start = at + _HEAD.size
            end = start + topic + size
            if len(self._data) < end:
                break
            name = self._data[start : start + topic].decode()
            yield kind, name, number, time_ns, bytes(self._data[start + topic : end])
            at = end
        del self._data[:at]

    def _fetch(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self.fd, _PIPE_BYTES):
                self._data += piece
