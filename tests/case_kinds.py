"""What the entries of cases.py say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

import nncore as nn


@dataclasses.dataclass(frozen=True)
class ActivationCase:
    """An activation as PyTorch has it, ``torch(x)``, and as NumPy computes it in double, ``exact``.

    ``error``: the largest in float that the kernel's file states, of max(1, |x|), and of |y| where
    it promises that (else None); a dict where it depends on the instruction set. ``limits``: at
    -inf and inf. Both are () for what works row by row. ``kinks``: where the slope jumps.
    """

    torch: Callable[[Any], Any]
    exact: Callable[[np.ndarray], np.ndarray]
    error: tuple[Any, ...] = ()
    limits: tuple[float, ...] = ()
    kinks: tuple[float, ...] = ()


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


@dataclasses.dataclass(frozen=True)
class LossCase:
    """A loss, the output shapes to test it on (without the batch axis), and its targets.

    ``torch(x, t)`` -> the loss before the mean, (rows, ...), x being logits for classification.
    ``closing``: the activations that the loss takes in; each must give the same as logits.
    """

    loss: Any
    outputs: tuple[tuple[int, ...], ...]
    target: Callable[..., np.ndarray]
    torch: Callable[..., Any]
    closing: tuple[str, ...] = ("linear",)


@dataclasses.dataclass(frozen=True)
class OptimizerCase:
    """An optimizer, and the class of torch.optim with the options that make it the same; None:
    PyTorch has no such. Schedules and clipnorm are read from ``optimizer``."""

    optimizer: nn.optimizers.Optimizer
    torch: str | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
