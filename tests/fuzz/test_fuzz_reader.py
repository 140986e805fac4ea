"""Damaged model files are named errors: no other exception, no hang, no memory without bound."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from contextlib import suppress

import mutate
import numpy as np
import pytest

from edgeinfer.engine.flatbuffer import read_flexbuffer
from edgeinfer.engine.model import from_tflite
from edgeinfer.engine.plan import build
from edgeinfer.engine.tensor import per_tensor
from edgeinfer.engine.tflite_writer import write_tflite
from edgeinfer.errors import EdgeInferError, ModelError, UnsupportedError
from tests import models
from tests.conftest import shared_path

SEEDS = {
    "int8": lambda: write_tflite(models.network("int8")),
    "float32": lambda: write_tflite(models.network("float32")),
    "variables": lambda: write_tflite(models.variables()),
}


def attack(data: bytes, count: int, seed: int) -> tuple[int, int]:
    """(read, refused) of `count` mutations; any other exception fails the test."""
    read = refused = 0
    for mutant in itertools.islice(mutate.mutations(data, np.random.default_rng(seed)), count):
        try:
            from_tflite(mutant)
            read += 1
        except (ModelError, UnsupportedError):
            refused += 1
    return read, refused


@pytest.mark.parametrize("name", SEEDS)
def test_mutations_of_small_models(name: str) -> None:
    read, refused = attack(SEEDS[name](), 1000, 1)
    assert read > 20  # the mutations must get past the first check ...
    assert refused > 20  # ... and hit the others


@pytest.mark.parametrize("name", ["wakeword/okay_nabu.tflite", "edgetpu/split_concat.tflite"])
def test_mutations_of_real_models(name: str) -> None:
    read, refused = attack(shared_path("models/" + name).read_bytes(), 150, 2)
    assert read
    assert refused


def test_every_truncation() -> None:
    data = write_tflite(models.variables())
    for size in range(0, len(data), 3):
        with pytest.raises(ModelError):
            from_tflite(data[:size])


def test_memory_and_time_are_bounded() -> None:
    data = write_tflite(models.network("int8"))
    cases = list(itertools.islice(mutate.mutations(data, np.random.default_rng(3)), 200))
    tracemalloc.start()
    try:
        start = time.monotonic()
        for case in cases:
            with suppress(ModelError, UnsupportedError):
                from_tflite(case)
        slow = time.monotonic() - start
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20
    assert slow < 30


@pytest.mark.parametrize("name", SEEDS)
def test_what_was_read_plans_or_is_refused_by_name(name: str) -> None:
    planned = 0
    cases = mutate.mutations(SEEDS[name](), np.random.default_rng(4))
    for mutant in itertools.islice(cases, 400):
        with suppress(EdgeInferError):
            build(from_tflite(mutant).graph, isa="ref")
            planned += 1
    assert planned


def test_nonsense_that_fuzzing_found() -> None:
    tiny = models.network("int8")
    for tensor in tiny.nodes[0].outputs:
        tensor.quant = per_tensor(1e-45)
    no_channels = models.network("float32")
    kernel = no_channels.nodes[0].input(1)
    kernel.shape, kernel.data = (8, 3, 3, 5), np.zeros((8, 3, 3, 5), np.float32)
    unlike = models.network("float32")
    unlike.nodes[3].inputs[1] = unlike.inputs["x"]
    nothing = models.network("float32")
    nothing.nodes[3].inputs.pop()
    for graph in (tiny, no_channels, unlike, nothing):
        with pytest.raises(EdgeInferError):
            build(from_tflite(write_tflite(graph)).graph, isa="ref")


@pytest.mark.parametrize("seed", range(20))
def test_random_flexbuffers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(100):
        raw = rng.integers(0, 256, rng.integers(0, 60)).astype(np.uint8).tobytes()
        with suppress(ModelError):
            read_flexbuffer(raw, "options")
