"""Sequences of unequal lengths, and networks that take them: what test_lengths*.py share."""

import numpy as np

import nncore as nn
from support import randomize

STEPS, FEATURES = 9, 3


def network(layers, steps, **options):
    return randomize(nn.Sequential([nn.Input((steps, FEATURES)), *layers], **options))


def padded(rows, seed=0, garbage=1.0, dtype="float64"):
    """x, and lengths from 1 to STEPS; beyond them garbage."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, STEPS + 1, rows)
    x = rng.normal(size=(rows, STEPS, FEATURES))
    x[np.arange(STEPS) >= lengths[:, None]] *= garbage
    return x.astype(dtype), lengths


def near(actual, expected, tolerance=1e-12):
    scale = max(abs(np.asarray(expected)).max(), 1e-30)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


def tagger(**options):
    layers = [nn.Embedding(11, 6), nn.GRU(5, return_sequences=True), nn.Dense(4, "softmax")]
    model = randomize(nn.Sequential([nn.Input((STEPS,)), *layers], dtype="float64", **options))
    model.compile(nn.SGD(0.5), "cross_entropy", metrics=["accuracy"])
    return model


def tags(rows):
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 11, (rows, STEPS)), rng.integers(0, 4, (rows, STEPS))
    return x, y, rng.integers(1, STEPS + 1, rows)
