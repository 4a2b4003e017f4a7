"""LayerCase: one row of the list of layers in cases.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

import nncore as nn


@dataclasses.dataclass(frozen=True)
class LayerCase:
    """A layer and the input shapes to test it on, each without the batch axis: a tuple, or a
    list of tuples for several inputs.

    ``torch(parameters, *inputs) -> output`` with parameters by name; None: PyTorch has no such.
    ``integers``: the inputs are whole numbers below this. ``kinks``: inputs keep off these.
    ``numbers(rng, shape)`` draws the inputs of layers that want other than normal ones.
    """

    layer: nn.Layer
    shapes: tuple[Any, ...]
    torch: Callable[..., Any] | None = None
    integers: int | None = None
    kinks: tuple[float, ...] = ()
    numbers: Callable[..., np.ndarray] | None = None

    def draw(self, rng: np.random.Generator, rows: int, shape: Any) -> list[np.ndarray]:
        """Random inputs, one array for each."""
        if self.integers:
            return [rng.integers(0, self.integers, (rows, *s)) for s in several(shape)]
        if self.numbers:
            return [self.numbers(rng, (rows, *s)) for s in several(shape)]
        xs = [rng.normal(size=(rows, *s)) for s in several(shape)]
        for kink in self.kinks:
            xs = [np.where(np.abs(x - kink) < 0.05, x + 0.1, x) for x in xs]
        return xs


def several(shape: Any) -> list[tuple[int, ...]]:
    """The shapes of all inputs of a LayerCase."""
    return shape if isinstance(shape, list) else [shape]
