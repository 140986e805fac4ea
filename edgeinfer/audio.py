"""Speech features for small models: 40 channels a step, as the TensorFlow audio microfrontend.

Window, spectrum, mel channels, noise reduction, per-channel amplitude normalisation (PCAN, Wang et
al. 2017, "Trainable frontend for robust and far-field keyword spotting"), logarithm. Computed in
floating point where the microfrontend uses fixed point: values differ by a few units of 670.
"""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from .errors import DeviceError

RATE_HZ = 16000
CHANNELS = 40
_WINDOW, _FFT = 480, 512  # 30 ms
_LOW_HZ, _HIGH_HZ = 125.0, 7500.0
_SMOOTHING = np.where(np.arange(CHANNELS) % 2, 0.06, 0.025)
_REMAINING = 0.05
_STRENGTH, _OFFSET = 0.95, 80.0
_UNIT = 8.0  # the fixed-point spectrum counts in eighths: what is below is silence


def read_wav(path: str | Path) -> np.ndarray:
    """Samples int16 [n] of a 16-bit, 16 kHz .wav file, channels averaged; DeviceError else."""
    try:
        with wave.open(str(path)) as file:
            if file.getsampwidth() != 2 or file.getframerate() != RATE_HZ:
                raise DeviceError(
                    f"{path}: {8 * file.getsampwidth()} bits at {file.getframerate()} Hz; "
                    f"convert it to 16 bits at {RATE_HZ} Hz"
                )
            raw = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            return np.asarray(raw.reshape(-1, file.getnchannels()).mean(1), np.int16)
    except (wave.Error, EOFError, OSError) as exc:
        raise DeviceError(f"{path}: not a readable .wav file ({exc})") from exc


def _mel(hertz: np.ndarray | float) -> np.ndarray:
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


def _filters() -> np.ndarray:
    """Weights [channels, bins]: triangles with equal steps on the mel scale."""
    edges = np.linspace(_mel(_LOW_HZ), _mel(_HIGH_HZ), CHANNELS + 2)
    bins = _mel(np.arange(_FFT // 2 + 1) * RATE_HZ / _FFT)
    rise = (bins[None] - edges[:-2, None]) / np.diff(edges)[0]
    return np.clip(np.minimum(rise, 2.0 - rise), 0.0, None)


def features(samples: np.ndarray, step_ms: int = 20) -> np.ndarray:
    """float32 [steps, 40], 0..about 670, of int16 samples at 16 kHz; a step every `step_ms`."""
    step = RATE_HZ * step_ms // 1000
    count = max((len(samples) - _WINDOW) // step + 1, 0)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(_WINDOW) + 0.5) / _WINDOW)
    filters = _filters()
    estimate, out = np.zeros(CHANNELS), np.zeros((count, CHANNELS), np.float32)
    for i in range(count):
        part = np.asarray(samples[i * step : i * step + _WINDOW], np.float64) * window
        signal = np.floor(np.sqrt(filters @ np.abs(np.fft.rfft(part, _FFT)) ** 2) / _UNIT)
        estimate = estimate + _SMOOTHING * (signal - estimate)
        cleaned = np.floor(np.maximum(signal - estimate, _REMAINING * signal))
        gain = np.minimum((_UNIT * estimate + _OFFSET) ** -_STRENGTH, 0x7FFF / 2.0**21)
        ratio = _UNIT * cleaned * gain
        shrunk = np.where(ratio < 2.0, ratio**2 / 4.0, ratio - 1.0)
        out[i] = 64.0 * np.log(np.maximum(np.floor(64.0 * shrunk) * 8.0, 1.0))
    return out


def quantised(values: np.ndarray) -> np.ndarray:
    """Features as int8, the way keyword and wake-word models were trained: 0..670 to -128..127."""
    return np.clip((values * 256 + 333) // 666 - 128, -128, 127).astype(np.int8)
