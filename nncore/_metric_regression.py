"""Metrics of regression: distances of numbers. `nncore.metrics` is where users find them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._metric_base import Mean, Metric, flat_weights, values

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class MeanAbsoluteError(Mean):
    """mean(|y_pred - y_true|), over all outputs of all examples.

    >>> metric = MeanAbsoluteError()
    >>> metric.update([[1.0], [2.0]], [[1.5], [2.0]])
    >>> metric.result()
    0.25
    """

    name = "mae"

    def each(self, y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[Any]:
        truth, guess = values(self.name, y_true, y_pred)
        return np.abs(guess - truth)


class MeanSquaredError(Mean):
    """mean((y_pred - y_true)^2), over all outputs of all examples.

    >>> metric = MeanSquaredError()
    >>> metric.update([[1.0], [2.0]], [[1.5], [2.0]])
    >>> metric.result()
    0.125
    """

    name = "mse"

    def each(self, y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[Any]:
        truth, guess = values(self.name, y_true, y_pred)
        return np.square(guess - truth)


class R2(Metric):
    """The coefficient of determination: 1 - sum((y_true - y_pred)^2) / sum((y_true - mean)^2).

    Each output (the last axis of (N, D)) has its own; the result is their plain mean. An output
    that never varies counts 1 if predicted exactly, else 0. NaN before the second example.

    >>> metric = R2()
    >>> metric.update([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    >>> metric.result()
    0.5
    """

    name = "r2"

    def reset(self) -> None:
        self._examples = 0
        self._weight = 0.0
        self._mean: Any = 0.0  # of y_true, and its squared deviations: updated together, so that
        self._spread: Any = 0.0  # a large mean does not cancel (Chan, Golub & LeVeque 1979)
        self._error: Any = 0.0
        self._first: Any = None  # the first y_true; which outputs have had another since:
        self._varies: Any = False

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        truth, guess = values(self.name, y_true, y_pred)
        leading = truth.shape[: max(1, truth.ndim - 1)]
        outputs = truth.shape[-1] if truth.ndim > 1 else 1
        if self._examples and outputs != len(self._mean):
            raise ValueError(
                f"{self.name}: received y_true of shape {truth.shape} and y_pred of shape "
                f"{guess.shape} after {len(self._mean)} outputs; reset() the metric first"
            )
        truth, guess = truth.reshape(-1, outputs), guess.reshape(-1, outputs)
        weights = np.ones(len(truth))
        if sample_weight is not None:
            weights = flat_weights(self.name, sample_weight, leading)
        added = weights.sum()
        if added == 0:
            return
        if not np.all(self._varies):
            counted = truth if sample_weight is None else truth[weights > 0]
            self._first = counted[0].copy() if self._first is None else self._first
            self._varies = self._varies | (counted != self._first).any(axis=0)
        mean = weights @ truth / added
        step = mean - self._mean
        total = self._weight + added
        self._spread += weights @ (truth - mean) ** 2 + step**2 * (self._weight * added / total)
        self._mean += step * (added / total)
        self._error += weights @ (truth - guess) ** 2
        self._weight = total
        self._examples += int((weights > 0).sum())

    def result(self) -> float:
        if self._examples < 2:
            return float("nan")
        flat = ~self._varies | (self._spread == 0)
        unexplained = np.where(flat, self._error > 0, self._error / np.where(flat, 1, self._spread))
        return float(np.mean(1 - unexplained))
