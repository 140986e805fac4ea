"""Speech features: properties, and the words that real models hear in them."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

import edgeinfer as ei
from edgeinfer import audio
from edgeinfer.errors import DeviceError
from tests.conftest import shared_path


def test_silence_is_zero_and_steps_are_counted() -> None:
    assert audio.features(np.zeros(16000, np.int16)).shape == (49, 40)
    assert not audio.features(np.zeros(16000, np.int16)).any()
    assert len(audio.features(np.zeros(16000, np.int16), 10)) == 98
    assert len(audio.features(np.zeros(479, np.int16))) == 0


@pytest.mark.parametrize("hertz", [300, 1000, 4000])
def test_a_tone_stands_in_its_mel_channel(hertz: float) -> None:
    t = np.arange(16000) / 16000
    tone = (8000 * np.sin(2 * np.pi * hertz * t)).astype(np.int16)
    loudest = int(audio.features(tone)[0].argmax())
    low, high = 1127 * np.log1p(125 / 700), 1127 * np.log1p(7500 / 700)
    expected = (1127 * np.log1p(hertz / 700) - low) / (high - low) * 41 - 1
    assert abs(loudest - expected) <= 1


def test_quantised_range() -> None:
    values = np.array([0.0, 333.0, 666.0, 900.0], np.float32)
    assert audio.quantised(values).tolist() == [-128, 0, 127, 127]


def write_wav(path: Path, rate: int, width: int = 2) -> None:
    """A short file of that rate and sample width."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(bytes(4 * width * 100))


def test_reading(tmp_path: Path) -> None:
    write_wav(tmp_path / "good.wav", 16000)
    assert audio.read_wav(tmp_path / "good.wav").shape == (200,)
    write_wav(tmp_path / "fast.wav", 44100)
    with pytest.raises(DeviceError, match="44100 Hz"):
        audio.read_wav(tmp_path / "fast.wav")
    (tmp_path / "bad.wav").write_bytes(b"RIFFnonsense")
    with pytest.raises(DeviceError, match="not a readable"):
        audio.read_wav(tmp_path / "bad.wav")


@pytest.mark.parametrize("word", ["okay_nabu", "hey_jarvis"])
def test_wake_words(word: str) -> None:
    """Stateful models, three steps of 10 ms a run: loud on their word alone."""
    session = ei.Session(ei.load(shared_path(f"models/wakeword/{word}.tflite")))
    (given,), (heard,) = session.inputs, session.outputs
    for path in sorted(shared_path("models/wakeword/wav").glob("*.wav")):
        steps = audio.quantised(audio.features(audio.read_wav(path), 10))
        session.reset()
        best = 0
        for k in range(0, len(steps) - 2, 3):
            session[given][...] = steps[None, k : k + 3]
            session.run()
            best = max(best, int(session[heard].max()))
        assert (best > 240) == path.name.startswith(word)
        assert best > 240 or best < 100
