"""The affine form of fixed-point requantisation: where it is said to hold, it holds everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.engine import affine

F = np.float32


def ours(form: affine.Affine, acc: np.ndarray, centre: int, lo: int, hi: int) -> np.ndarray:
    """As the kernels compute it: one rounding to float32 of the exact product and sum."""
    offset = np.where(acc < 0, form.negative[:, None], form.positive[:, None]).astype(np.float64)
    v = acc.astype(F).astype(np.float64) * form.scale[:, None].astype(np.float64) + offset
    return np.clip(np.floor(v.astype(F)) + centre, lo, hi)


@pytest.mark.parametrize(
    ("zero", "lo", "hi", "centre"),
    [
        (-128, -128, 127, 0),
        (0, -128, 127, 0),
        (0, 0, 255, 128),
        (128, 0, 255, 128),
        (7, 20, 90, 128),
    ],
)
@pytest.mark.parametrize("kind", ["fixed", "real"])
def test_equal_for_dense_and_extreme_accumulators(
    kind: str, zero: int, lo: int, hi: int, centre: int
) -> None:
    rng = np.random.default_rng(abs(zero) + hi)
    scale = np.ldexp(rng.uniform(0.5, 1, 300), -rng.integers(0, 14, 300))
    multiplier = np.round(scale * 0 + rng.uniform(0.5, 1, 300) * 2**31).astype(np.int64)
    shift = -rng.integers(0, 14, 300)
    if kind == "fixed":
        scale = np.ldexp(multiplier.astype(np.float64), shift - 31)
        exact = affine.fixed_point(multiplier, shift)
    else:
        exact = affine.real(scale)
    form = affine.find(exact, scale, zero, lo, hi, centre)
    assert form.proved.mean() > 0.5
    near = np.arange(-3000, 3000)[None] + np.zeros((300, 1), np.int64)
    edges = np.round(np.arange(-300, 300)[None] / scale[:, None]).astype(np.int64)
    far = np.array([-(2**31), 2**31 - 1, 2**24 + 1, -(2**24) - 1])[None] + np.zeros(
        (300, 1), np.int64
    )
    for acc in (near, edges - 1, edges, edges + 1, far):
        acc = np.clip(acc, -(2**31), 2**31 - 1)
        want = np.clip(exact(acc) + zero, lo, hi)
        got = ours(form, acc, centre, lo, hi)
        wrong = (want != got).any(1) & form.proved
        assert not wrong.any(), np.flatnonzero(wrong)


def test_what_is_not_proved_is_marked() -> None:
    scale = np.array([0.01, 1.5, 0.02])
    form = affine.find(affine.real(scale), scale, 0, -128, 127, 0)
    assert form.proved.tolist() == [True, False, True]
    block = form.block(lambda v: np.repeat(v, 2), 2)
    assert block.shape == (3, 3, 2)
    assert np.isnan(block[1, 0]).all()
    assert not np.isnan(block[[0, 2]]).any()
