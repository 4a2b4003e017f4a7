"""Metrics: how good the predictions are, gathered batch by batch.

Names: accuracy, top_k (of 5), precision, recall, f1, auc, mae, mse, r2.

`update(y_true, y_pred, sample_weight)` adds a stretch of examples, `result()` is the value over all
of them (however they were split), `reset()` forgets. In `fit` and `evaluate` y_pred is what the
network puts out, but with a classification loss it is always the probabilities, whether the
network closes with softmax or sigmoid or puts out logits: "mae" and "mse" then are distances of
probabilities. Those of a classifier come in one of three forms, N being any leading axes (batch, or
batch, time):

    classes     y_pred (N, C), scores of C >= 2 classes; y_true (N,) or (N, 1) integer labels,
                or (N, C) one-hot or probabilities. The class of an example is its largest score.
    yes or no   y_pred (N,) or (N, 1); y_true of either shape, 0 or 1. Yes is y_pred > threshold:
                0.5 fits probabilities; 0 is for logits that you hand to `update` yourself.
    many yes    `multi_label=True`: y_pred and y_true (N, L), L separate questions of yes or no.
                Precision, Recall and F1 average over the L labels as they do over classes.

`sample_weight` has the leading axes of the answers: (N,), or (batch,) for all their time steps.
Shapes that do not fit, and labels that are no classes, raise ValueError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._metric_base import (
    Mean,
    Metric,
    PerClass,
    answers,
    class_labels,
    flat_weights,
    numbers,
)
from ._metric_regression import R2, MeanAbsoluteError, MeanSquaredError
from ._names import boolean, positive_int, real, received, resolve

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "AUC",
    "F1",
    "R2",
    "Accuracy",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Precision",
    "Recall",
    "TopK",
    "get",
]


class Accuracy(Mean):
    """The share of answers that are right: mean(argmax(y_pred) == y_true).

    >>> metric = Accuracy()
    >>> metric.update([2, 0], [[0.1, 0.2, 0.7], [0.3, 0.4, 0.3]])
    >>> metric.result()
    0.5
    """

    name = "accuracy"

    def __init__(
        self, threshold: float = 0.5, multi_label: bool = False, name: str | None = None
    ) -> None:
        self.threshold = real("Accuracy", "threshold", threshold)
        self.multi_label = boolean("Accuracy", "multi_label", multi_label)
        super().__init__(name)

    def each(self, y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[Any]:
        labels, chosen, _ = answers(self.name, y_true, y_pred, self.threshold, self.multi_label)
        right: NDArray[np.bool] = labels == chosen
        return right


class TopK(Mean):
    """The share of examples whose class is among the `k` largest scores.

    Equal scores rank in the order of the classes, so k=1 is exactly Accuracy.
    Raises ValueError for yes-or-no predictions, or for fewer than k classes.

    >>> metric = TopK(k=2)
    >>> metric.update([2, 0, 1], [[0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.5, 0.1, 0.4]])
    >>> round(metric.result(), 3)
    0.667
    """

    name = "top_k"

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        self.k = positive_int("TopK", "k", k)
        super().__init__(name)

    def each(self, y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[Any]:
        scores = numbers(self.name, "y_pred", y_pred)
        labels, classes = class_labels(self.name, y_true, scores)
        if classes < self.k:
            raise ValueError(
                f"{self.name}: k={self.k} needs predictions of at least {self.k} classes, "
                f"received y_pred of shape {scores.shape}"
            )
        own = np.take_along_axis(scores, labels[..., None], axis=-1)
        earlier = np.arange(classes) < labels[..., None]
        ahead = ~(scores <= own) | ((scores == own) & earlier)  # a NaN score is never a success
        among: NDArray[np.bool] = np.count_nonzero(ahead, axis=-1) < self.k
        return among


class Precision(PerClass):
    """Of the answers "this class", the share that is right: hits / predicted, 0 if never given.

    >>> metric = Precision()
    >>> metric.update([1, 0, 1, 1], [0.9, 0.8, 0.7, 0.2])
    >>> round(metric.result(), 3)
    0.667
    """

    name = "precision"

    def fraction(self, hits: Any, predicted: Any, actual: Any) -> tuple[Any, Any]:
        return hits, predicted


class Recall(PerClass):
    """Of the examples of this class, the share that is found: hits / actual, 0 without examples.

    >>> metric = Recall()
    >>> metric.update([1, 0, 1, 1], [0.9, 0.8, 0.2, 0.1])
    >>> round(metric.result(), 3)
    0.333
    """

    name = "recall"

    def fraction(self, hits: Any, predicted: Any, actual: Any) -> tuple[Any, Any]:
        return hits, actual


class F1(PerClass):
    """The harmonic mean of precision and recall: 2 * hits / (predicted + actual), 0 for 0 / 0.

    >>> metric = F1()
    >>> metric.update([1, 0, 1, 1], [0.9, 0.8, 0.7, 0.2])
    >>> round(metric.result(), 3)
    0.667
    """

    name = "f1"

    def fraction(self, hits: Any, predicted: Any, actual: Any) -> tuple[Any, Any]:
        return 2 * hits, predicted + actual


class AUC(Metric):
    """The area under the ROC curve: P(score of a yes > score of a no), equal scores count half.

    Exact: it keeps every score (4 to 24 bytes each) and sorts them in `result`. For yes-or-no
    predictions; scores of many labels (N, L) are taken together. NaN when one class is missing
    or a score is NaN. Source: Fawcett 2006, "An introduction to ROC analysis".

    >>> metric = AUC()
    >>> metric.update([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> metric.result()
    0.75
    """

    name = "auc"

    def reset(self) -> None:
        self._chunks: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]] = []

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        scores = numbers(self.name, "y_pred", y_pred)
        if scores.ndim > np.ndim(y_true) and scores.shape[-1] > 1:
            raise ValueError(
                f"{self.name}: received y_true of shape {np.shape(y_true)}, classes, for y_pred of "
                f"shape {scores.shape}; it takes answers of yes or no: close the network with "
                "Dense(1, 'sigmoid'), or give y_true as one-hot"
            )
        labels, _, _ = answers(self.name, y_true, scores, 0.5, multi_label=True)
        weights = None
        if sample_weight is not None:
            weights = flat_weights(self.name, sample_weight, labels.shape).copy()
        self._chunks.append((labels.ravel().astype(bool), scores.flatten(), weights))

    def result(self) -> float:
        if not self._chunks:
            return float("nan")
        yes = np.concatenate([labels for labels, _, _ in self._chunks])
        scores = np.concatenate([scores for _, scores, _ in self._chunks])
        weights = np.concatenate([np.ones(len(y)) if w is None else w for y, _, w in self._chunks])
        if np.isnan(scores).any():
            return float("nan")
        order = np.argsort(scores)
        scores, yes, weights = scores[order], yes[order], weights[order]
        starts = np.flatnonzero(np.concatenate([[True], scores[1:] != scores[:-1]]))[: len(scores)]
        yes_here = np.add.reduceat(weights * yes, starts)  # weights of each distinct score
        no_here = np.add.reduceat(weights * ~yes, starts)
        no_below = np.cumsum(no_here) - no_here
        pairs = yes_here.sum() * no_here.sum()
        return float(yes_here @ (no_below + no_here / 2) / pairs) if pairs else float("nan")


_NAMES: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "auc": AUC,
    "f1": F1,
    "mae": MeanAbsoluteError,
    "mse": MeanSquaredError,
    "precision": Precision,
    "r2": R2,
    "recall": Recall,
    "top_k": TopK,
}


def grouped(metrics: Any, outputs: int) -> list[list[Metric]]:
    """What `compile` was given, as metrics for each output.

    A list of lists is one list for each output; a flat list is for all of them.
    Raises TypeError for what is no list, ValueError for another number of lists, unknown names,
    names of the history's own, or two metrics of one name for an output.
    """
    if metrics is None or isinstance(metrics, (str, Metric)):
        metrics = [] if metrics is None else [metrics]
    if not isinstance(metrics, (list, tuple)):
        raise TypeError(f"compile: received metrics {received(metrics)}; expected a list of them")
    nested = bool(metrics) and all(isinstance(m, (list, tuple)) for m in metrics)
    groups = list(metrics) if nested else [metrics] * outputs
    if len(groups) != outputs:
        raise ValueError(f"compile: received metrics for {len(groups)} of {outputs} outputs")
    found = [[get(metric) for metric in group] for group in groups]
    for group in found:
        names = [metric.name for metric in group]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(
                f"compile: received two metrics with the name {twice[0]!r}; give one another "
                f"name, as in {type(group[names.index(twice[0])]).__name__}(name='other')"
            )
    columns = ["loss", *(name for name, _ in named(found))]
    others = ["epoch", "seconds", *(f"val_{name}" for name in columns)]
    for name in columns[1:]:
        if name == "loss" or name in others:
            raise ValueError(
                f"compile: received a metric with the name {name!r}, which the history uses for "
                "something else; give it another name"
            )
    return found


def named(groups: list[list[Metric]]) -> list[tuple[str, Metric]]:
    """The metrics of each output with their names in the logs: those of several outputs have a
    prefix."""
    return [
        (f"output_{i}_{metric.name}" if len(groups) > 1 else metric.name, metric)
        for i, group in enumerate(groups)
        for metric in group
    ]


def get(metric: str | Metric) -> Metric:
    """Return a new metric for a name; a metric stays itself.

    Raises ValueError for an unknown name, TypeError for what is neither.

    >>> get("accuracy")
    Accuracy(name='accuracy')
    """
    return resolve("metric", metric, _NAMES, Metric)
