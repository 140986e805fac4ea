"""Image path beside the OpenCV calls it replaces, one thread each, interleaved.

python tools/bench_image.py [--rounds 200]: medians in µs and the ratio, 1280x720 -> 320x320.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np

from edgeinfer.image import ImageTransform

FRAME = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
SIDE = 320


def opencv(dtype: str, letterbox: bool) -> Callable[[], None]:
    """resize + cvtColor + subtract/scale into preallocated arrays."""
    h = 180 if letterbox else SIDE
    small, rgb = (np.full((SIDE, SIDE, 3), 114, np.uint8) for _ in range(2))
    real = np.empty((SIDE, SIDE, 3), np.float32)
    top = (SIDE - h) // 2

    def run() -> None:
        cv2.resize(FRAME, (SIDE, h), dst=small[top : top + h])
        cv2.cvtColor(small, cv2.COLOR_BGR2RGB, dst=rgb)
        if dtype == "int8":
            np.bitwise_xor(rgb, 128, out=rgb)  # scale 1/255, zero -128: the cheapest there is
        elif dtype == "float32":
            np.subtract(rgb, np.float32(127.5), out=real)
            np.multiply(real, np.float32(1 / 127.5), out=real)

    return run


def ours(dtype: str, letterbox: bool) -> Callable[[], None]:
    """The same in one call."""
    mean, scale = (127.5, 1 / 127.5) if dtype == "float32" else (0.0, 1.0)
    quant = (1.0, -128) if dtype == "int8" else (1.0, 0)
    layout = "letterbox" if letterbox else "stretch"
    shape = (SIDE, SIDE, 3)
    t = ImageTransform(FRAME.shape, shape, dtype, layout, "bgr->rgb", mean, scale, quant)
    out = np.empty(shape, dtype)
    return lambda: void(t(FRAME, out))


def void(_: object) -> None:
    """Drop a result."""


def main() -> None:
    """Print one line per type and layout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    for letterbox in (False, True):
        for dtype in ("uint8", "int8", "float32"):
            calls = (ours(dtype, letterbox), opencv(dtype, letterbox))
            spent: tuple[list[float], list[float]] = ([], [])
            for _ in range(rounds):
                for call, list_ in zip(calls, spent, strict=True):
                    start = time.perf_counter()
                    call()
                    list_.append((time.perf_counter() - start) * 1e6)
            a, b = (float(np.median(s)) for s in spent)
            name = "letterbox" if letterbox else "stretch"
            print(f"{name:9} {dtype:7}  ours {a:7.1f} us  opencv {b:7.1f} us  {b / a:.2f}x")


if __name__ == "__main__":
    main()
