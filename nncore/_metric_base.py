"""What the metrics share: the base class, means, and the checks of what comes in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._names import boolean, lookup, real, received

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_AVERAGES = {"macro": "macro", "micro": "micro", "weighted": "weighted"}


class Metric:
    """Base of all metrics: a subclass defines `update`, `result`, `reset`, and perhaps `name`.

    >>> class LargestError(Metric):
    ...     name = "largest_error"
    ...     def reset(self):
    ...         self.largest = 0.0
    ...     def update(self, y_true, y_pred, sample_weight=None):
    ...         self.largest = max(self.largest, float(np.abs(y_pred - y_true).max()))
    ...     def result(self):
    ...         return self.largest
    >>> metric = LargestError()
    >>> metric.update(np.array([1.0, 2.0]), np.array([1.5, 2.0]))
    >>> metric.result()
    0.5
    """

    name: str = "metric"

    def __init__(self, name: str | None = None) -> None:
        if name is not None:
            if not isinstance(name, str) or not name:
                raise TypeError(
                    f"{type(self).__name__}: name must be a string, received {received(name)}"
                )
            self.name = name
        self.reset()

    def reset(self) -> None:
        """Forget all examples."""
        raise NotImplementedError(f"{type(self).__name__} must define reset()")

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Add examples."""
        raise NotImplementedError(f"{type(self).__name__} must define update(...)")

    def result(self) -> float:
        """The value over all examples since the last reset."""
        raise NotImplementedError(f"{type(self).__name__} must define result()")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"


class Mean(Metric):
    """A weighted mean over answers, NaN before the first: a subclass defines `each`."""

    def reset(self) -> None:
        self._total = 0.0
        self._weight = 0.0

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        each = self.each(y_true, y_pred)
        if sample_weight is None:
            self._total += float(each.sum(dtype=np.float64))
            self._weight += each.size
        else:
            weights = flat_weights(self.name, sample_weight, each.shape)
            self._total += float(weights @ each.ravel())
            self._weight += float(weights.sum())

    def each(self, y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[Any]:
        """The value of every answer."""
        raise NotImplementedError

    def result(self) -> float:
        return self._total / self._weight if self._weight else float("nan")


class PerClass(Metric):
    """Counts per class of hits, predictions and examples; what to make of them is a subclass's.

    Yes or no: the value of class "yes". Classes: `average` of the values of the classes seen:
    "macro" (the plain mean), "weighted" (by examples), "micro" (all counts taken together).
    Many yes: the same averages over all labels, each with its own value of "yes".
    """

    def __init__(
        self,
        average: str = "macro",
        threshold: float = 0.5,
        multi_label: bool = False,
        name: str | None = None,
    ) -> None:
        owner = type(self).__name__
        self.average = lookup("average", average, _AVERAGES, owner)
        self.threshold = real(owner, "threshold", threshold)
        self.multi_label = boolean(owner, "multi_label", multi_label)
        super().__init__(name)

    def reset(self) -> None:
        self._counts: NDArray[np.float64] | None = None  # (3, C): hits, predicted, actual
        self._classes = 0  # C, the number of labels, or 1 for yes or no

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        labels, chosen, classes = answers(
            self.name, y_true, y_pred, self.threshold, self.multi_label
        )
        if self.multi_label and labels.ndim > 1:
            classes = labels.shape[-1]
        weights = None
        if sample_weight is not None:
            weights = flat_weights(self.name, sample_weight, labels.shape)
        if self._counts is None:
            self._classes = classes
            self._counts = np.zeros((3, max(2, classes)))
        elif classes != self._classes:
            raise ValueError(
                f"{self.name}: received predictions of {classes} classes after predictions of "
                f"{self._classes}; reset() the metric first"
            )
        if self.multi_label and classes > 1:
            self._counts += _label_counts(labels, chosen, weights)
        else:
            self._counts += _class_counts(labels, chosen, weights, self._counts.shape[1])

    def result(self) -> float:
        if self._counts is None:
            return 0.0
        counts = self._counts
        if self._classes == 1:
            return float(_ratio(*self.fraction(*counts[:, 1])))
        if self.average == "micro":
            return float(_ratio(*self.fraction(*counts.sum(axis=1))))
        each = _ratio(*self.fraction(*counts))
        seen = counts[1] + counts[2] > 0
        weight = counts[2] if self.average == "weighted" else seen | self.multi_label
        return float(_ratio(weight @ each, weight.sum()))

    def fraction(self, hits: Any, predicted: Any, actual: Any) -> tuple[Any, Any]:
        """Numerator and denominator of the value of a class."""
        raise NotImplementedError


def _class_counts(
    labels: NDArray[np.intp],
    chosen: NDArray[np.intp],
    weights: NDArray[np.float64] | None,
    classes: int,
) -> NDArray[np.float64]:
    """(3, classes): hits, predicted and actual of each class."""
    labels, chosen = labels.ravel(), chosen.ravel()
    hits = np.where(labels == chosen, labels, classes)  # a class more for the misses
    counts = [np.bincount(found, weights, classes + 1) for found in (hits, chosen, labels)]
    return np.array(counts, np.float64)[:, :classes]


def _label_counts(
    labels: NDArray[np.intp], chosen: NDArray[np.intp], weights: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """(3, L): hits, predicted and actual "yes" of each of the L labels of the last axis."""
    yes = (chosen == 1).astype(np.intp)
    answers = np.stack([labels & yes, yes, labels]).reshape(3, -1, labels.shape[-1])
    if weights is None:
        return answers.sum(axis=1, dtype=np.float64)
    return (answers * weights.reshape(answers.shape[1:])).sum(axis=1)


def answers(
    metric: str, y_true: ArrayLike, y_pred: ArrayLike, threshold: float, multi_label: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """The true and the predicted class of every answer, and the number of classes.

    The number is 1 for yes or no, where the classes are 0 and 1. Scores with NaN choose none: a
    class beyond the last.
    """
    scores = numbers(metric, "y_pred", y_pred)
    if multi_label or scores.ndim == 1 or scores.shape[-1] == 1:
        labels = _labels(metric, match(metric, numbers(metric, "y_true", y_true), scores), 2)
        chosen, classes = (scores > threshold).astype(np.intp), 1
        if _has_nan(scores):
            chosen[np.isnan(scores)] = 2
        return labels, chosen, classes
    labels, classes = class_labels(metric, y_true, scores)
    chosen = scores.argmax(axis=-1)
    if _has_nan(scores):
        chosen[np.isnan(scores).any(axis=-1)] = classes
    return labels, chosen, classes


def _has_nan(scores: NDArray[Any]) -> bool:
    largest = scores.max(initial=0)  # NaN if there is one
    return bool(largest != largest)


def class_labels(
    metric: str, y_true: ArrayLike, scores: NDArray[Any]
) -> tuple[NDArray[np.intp], int]:
    """The true class of every example of scores (N, C), and C."""
    truth = numbers(metric, "y_true", y_true)
    leading, classes = scores.shape[:-1], scores.shape[-1]
    if not leading or classes < 2:
        raise ValueError(
            f"{metric}: needs scores of 2 or more classes, received y_pred of shape "
            f"{scores.shape} with y_true of shape {truth.shape}"
        )
    if truth.shape == scores.shape:  # one-hot or probabilities
        sums = truth.sum(axis=-1, dtype=np.float64)
        bad = ~(np.abs(sums - 1) < 0.5)
        if bad.any():
            raise ValueError(
                f"{metric}: y_true of shape {truth.shape} has a row with the sum "
                f"{sums[bad][0]:.4g}, which is no class; for several labels in a row: "
                "nn.metrics.Accuracy(multi_label=True), and so Precision, Recall and F1"
            )
        return truth.argmax(axis=-1), classes
    if truth.shape in (leading, (*leading, 1)):
        return _labels(metric, truth, classes).reshape(leading), classes
    raise ValueError(
        f"{metric}: y_true of shape {truth.shape} does not fit y_pred of shape {scores.shape}; "
        f"expected labels of shape {leading} or one-hot of shape {scores.shape}"
    )


def values(
    metric: str, y_true: ArrayLike, y_pred: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True and predicted numbers, float64, of one shape."""
    guess = numbers(metric, "y_pred", y_pred).astype(np.float64, copy=False)
    truth = match(metric, numbers(metric, "y_true", y_true), guess)
    return truth.astype(np.float64, copy=False), guess


def numbers(metric: str, argument: str, array: ArrayLike) -> NDArray[Any]:
    """An array of real numbers with at least one axis."""
    array = np.asarray(array)
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        raise ValueError(
            f"{metric}: {argument} must be an array of real numbers, "
            f"received dtype {array.dtype}, shape {array.shape}"
        )
    return array


def match(metric: str, truth: NDArray[Any], guess: NDArray[Any]) -> NDArray[Any]:
    """`truth` in the shape of `guess`; either may lack the other's last axis of size 1."""
    if truth.shape == guess.shape:
        return truth
    if (*truth.shape, 1) == guess.shape or truth.shape == (*guess.shape, 1):
        return truth.reshape(guess.shape)
    raise ValueError(
        f"{metric}: y_true of shape {truth.shape} does not fit y_pred of shape {guess.shape}; "
        "expected equal shapes"
    )


def flat_weights(
    metric: str, sample_weight: ArrayLike, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """One weight per answer, flat, from weights over the leading axes of `shape`."""
    weights = numbers(metric, "sample_weight", sample_weight).astype(np.float64, copy=False)
    if weights.shape != shape[: weights.ndim]:
        raise ValueError(
            f"{metric}: sample_weight of shape {weights.shape} does not fit answers of shape "
            f"{shape}; expected {shape[:1]} or more of its leading axes"
        )
    weights = weights.reshape(weights.shape + (1,) * (len(shape) - weights.ndim))
    return np.broadcast_to(weights, shape).ravel()


def _labels(metric: str, truth: NDArray[Any], classes: int) -> NDArray[np.intp]:
    """Labels as integers in 0 .. classes - 1; floats only where they are integral."""
    with np.errstate(invalid="ignore"):  # NaN is refused below
        labels = truth.astype(np.intp, copy=False)
    if truth.dtype.kind == "f" and not np.array_equal(labels, truth):
        wrong = truth[labels != truth].flat[0]
        raise ValueError(f"{metric}: labels must be integers, received {wrong}")
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(f"{metric}: labels must be in 0..{classes - 1}, received {wrong}")
    return labels


def _ratio(numerator: Any, denominator: Any) -> Any:
    """numerator / denominator, and 0 where the denominator is 0."""
    empty = denominator == 0
    return np.where(empty, 0.0, numerator / np.where(empty, 1.0, denominator))
