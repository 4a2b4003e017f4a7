"""Losses: what training makes small. Each is the mean over the batch.

Names: cross_entropy, binary_cross_entropy, mse, mae, huber.

Classification losses work on logits: a closing softmax (for cross-entropy) or sigmoid (for binary
cross-entropy) of the network is taken in by the loss, which is exact where the probability itself
would be 0 or 1 in floating point. A closing sigmoid or softmax of the other kind is refused; what
any other activation puts out are logits. Metrics are given the probabilities in either case.

With sample weights w, or those of classes, a loss over rows is sum(w loss) / rows, and a metric
that is a mean is sum(w value) / sum(w).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nncore._kernels import loss as kernels
from nncore._kernels.activation import Activation
from nncore._kernels.python import PythonLoss
from nncore._kernels.regression import Regression
from nncore._names import describe, real, resolve, rows_of
from nncore.layers.base import layer
from nncore.planner import root

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.building import Building


# Activations that turn logits into probabilities, and the loss that goes with each.
_LOSS_OF = {
    "softmax": "cross_entropy", "log_softmax": "cross_entropy", "sigmoid": "binary_cross_entropy",
    "hard_sigmoid": None,
}  # fmt: skip


def closing(x: Tensor) -> tuple[str, bool]:
    """The activation that a network's output closes with, "" for none, and whether the output
    still has its last axis: only views, of Reshape or Flatten, may stand between."""
    y = root(x)
    if not isinstance(y.producer, Activation):
        return "", True
    return y.producer.name, x.shape[-1:] == y.shape[-1:]


def check_smoothing(owner: str, value: float) -> None:
    real(owner, "label_smoothing", value, "[0, 1]")


@layer
class Loss:
    """The base of losses, and of your own.

    Your own defines, with NumPy, ``forward(self, y_true, y_pred)`` -> one loss for each row,
    shape (rows,), and ``backward(self, y_true, y_pred)`` -> its gradient with respect to y_pred,
    row by row, y_pred's shape. The mean over rows and sample weights are taken care of.

    >>> import numpy as np, nncore as nn
    >>> class Cube(nn.losses.Loss):
    ...     def forward(self, y_true, y_pred):
    ...         return (np.abs(y_pred - y_true) ** 3).sum(axis=1)
    ...     def backward(self, y_true, y_pred):
    ...         d = y_pred - y_true
    ...         return 3 * d * np.abs(d)
    >>> model = nn.Sequential([nn.Input((2,)), nn.Dense(1)], seed=0)
    >>> model.compile("sgd", Cube())
    """

    def __repr__(self) -> str:
        return describe(self)

    of_classes: ClassVar[bool] = False  # whether the output's last axis is one class or another

    @property
    def folds(self) -> tuple[str, ...]:
        """Closing activations that this loss takes in."""
        return ()

    def takes_in(self, activation: str, whole: bool) -> bool:
        """Whether this loss works on what the network's closing activation was applied to.

        ``whole``: no Reshape changed the last axis since. ValueError where the loss would squash
        what is squashed already.
        """
        if not self.folds or activation not in _LOSS_OF:
            return False
        if activation in self.folds and (whole or activation == "sigmoid"):
            return True
        name, own = describe(self), self.folds[0]
        other = _LOSS_OF.get(activation)
        if activation in self.folds:
            raise ValueError(
                f"{name}: received a network that applies {activation} and then changes the last "
                "axis; apply it after the Reshape, or leave it out: this loss works on logits"
            )
        raise ValueError(
            f"{name}: received a network that closes with {activation}; this loss works on logits "
            f"and takes in {own}: close with {own} or no activation"
            + (f", or use the loss {other!r}" if other else "")
        )

    def target_shape(self, output: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one row of the targets; ValueError where ``target`` does not fit."""
        if int(np.prod(target)) == int(np.prod(output)) and (
            target == output or output == (*target, 1) or target == (*output, 1)
        ):
            return output
        raise ValueError(f"expected {rows_of(output)}, one number for each of the output")

    def check(self, target: np.ndarray, output: tuple[int, ...]) -> None:
        """ValueError for targets whose values this loss does not take."""

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        raise TypeError(f"{type(self).__name__} defines no forward")

    def backward(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        raise TypeError(f"{type(self).__name__} defines no backward")

    def build(self, plan: Building, x: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        """Puts the loss on a plan; returns what metrics compare with the targets: x, or, of a
        classification loss, the probabilities."""
        plan.add(PythonLoss(x, target, weight, self.forward, self.backward, plan.array))
        return x


@layer
class CrossEntropy(Loss):
    """-sum_c t_c log p_c for classes c, p = softmax(x) of the network's logits x.

    Targets: class labels, integers 0 <= label < C, shape (rows,), or probabilities (one-hot,
    say), shape (rows, C); time axes may stand between. With ``label_smoothing`` s the targets
    are (1 - s) t + s / C (Szegedy et al. 2016). ValueError for labels out of range.

    >>> import nncore as nn
    >>> model = nn.Sequential([nn.Input((1,)), nn.Dense(2, kernel_initializer="ones")])
    >>> model.compile("sgd", "cross_entropy")
    >>> round(model.gradients([[5.0]], [1])[0], 4)
    0.6931
    """

    of_classes: ClassVar[bool] = True
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_smoothing("CrossEntropy", self.label_smoothing)

    @property
    def folds(self) -> tuple[str, ...]:
        return ("softmax", "log_softmax")

    def target_shape(self, output: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, ...]:
        if len(output) < 1 or output[-1] < 2:
            raise ValueError(
                f"cross_entropy needs an output of at least two classes, not {output}; for one "
                "number between two classes use 'binary_cross_entropy'"
            )
        if target == output:
            return output
        if target in (output[:-1], (*output[:-1], 1)):
            return output[:-1]
        raise ValueError(
            f"expected labels of shape {rows_of(output[:-1])} or probabilities of shape "
            f"{rows_of(output)}"
        )

    def check(self, target: np.ndarray, output: tuple[int, ...]) -> None:
        if target.size == 0:
            return
        if target.shape[1:] == output:
            if not target.min() >= 0:
                raise ValueError("probabilities below 0, or NaN")
            sums = target.sum(axis=-1, dtype=np.float64)
            wrong = np.abs(sums - 1) > kernels.SUM_TOLERANCE
            if wrong.any():
                raise ValueError(
                    f"probabilities that sum to {sums[wrong][0]:.4g}; expected 1 for each example"
                )
            return
        classes = output[-1]
        low, high = target.min(), target.max()
        if not 0 <= low <= high < classes:
            wrong = low if not low >= 0 else high
            raise ValueError(f"label {wrong}; expected 0..{classes - 1} for {classes} classes")
        if target.dtype.kind == "f" and not (target == np.floor(target)).all():
            raise ValueError("labels that are no integers")

    def build(self, plan: Building, x: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        prediction, sums = plan.tensor(x.shape), plan.tensor((), itemsize=8)
        log_sum = plan.tensor((*x.shape[:-1], 2))
        plan.add(
            kernels.CrossEntropy(
                x, target, weight, sums, prediction, smoothing=self.label_smoothing, log_sum=log_sum
            )
        )
        return prediction


@layer
class BinaryCrossEntropy(Loss):
    """-t log p - (1 - t) log(1 - p), p = sigmoid(x) of the logits x; mean over all numbers.

    Targets: 0..1 of the output's shape; (rows,) for an output (rows, 1). With
    ``label_smoothing`` s the targets are (1 - s) t + s / 2.

    ValueError for targets below 0 or above 1, or of another shape.

    >>> import nncore as nn
    >>> model = nn.Sequential([nn.Input((1,)), nn.Dense(1, kernel_initializer="ones")])
    >>> model.compile("sgd", "binary_cross_entropy")
    >>> round(model.gradients([[0.0]], [1])[0], 4)
    0.6931
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_smoothing("BinaryCrossEntropy", self.label_smoothing)

    @property
    def folds(self) -> tuple[str, ...]:
        return ("sigmoid",)

    def check(self, target: np.ndarray, output: tuple[int, ...]) -> None:
        if target.size and not 0 <= target.min() <= target.max() <= 1:
            raise ValueError(f"targets from {target.min()} to {target.max()}; expected 0 to 1")

    def build(self, plan: Building, x: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        prediction, logs = plan.tensor(x.shape), plan.tensor(x.shape)
        sums = plan.tensor((), itemsize=8)
        plan.add(
            kernels.BinaryCrossEntropy(
                x,
                target,
                weight,
                sums,
                prediction,
                smoothing=self.label_smoothing,
                logs=logs,
            )
        )
        return prediction


class _Regression(Loss):
    """A distance of prediction and target, mean over all numbers."""

    distance: ClassVar[str]

    def build(self, plan: Building, x: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        sums = plan.tensor((), itemsize=8)
        options = {"delta": self.delta} if isinstance(self, Huber) else {}
        plan.add(Regression(x, target, weight, sums, distance=self.distance, **options))
        return x


@layer
class MeanSquaredError(_Regression):
    """(x - t)^2, mean over all numbers. Targets have the output's shape.

    ValueError for targets of another shape.

    >>> import nncore as nn
    >>> model = nn.Sequential([nn.Input((1,)), nn.Dense(1, kernel_initializer="ones")])
    >>> model.compile("sgd", "mse")
    >>> round(model.gradients([[1.0], [2.0]], [1.0, 4.0])[0], 4)
    2.0
    """

    distance: ClassVar[str] = "mse"


@layer
class MeanAbsoluteError(_Regression):
    """|x - t|, mean over all numbers. Targets have the output's shape.

    ValueError for targets of another shape.

    >>> import nncore as nn
    >>> model = nn.Sequential([nn.Input((1,)), nn.Dense(1, kernel_initializer="ones")])
    >>> model.compile("sgd", "mae")
    >>> round(model.gradients([[1.0], [2.0]], [1.0, 4.0])[0], 4)
    1.0
    """

    distance: ClassVar[str] = "mae"


@layer
class Huber(_Regression):
    """(x - t)^2 / 2 where |x - t| <= delta, delta (|x - t| - delta / 2) beyond (Huber 1964).

    Targets have the output's shape. ValueError for another one, or delta <= 0.

    >>> import nncore as nn
    >>> model = nn.Sequential([nn.Input((1,)), nn.Dense(1, kernel_initializer="ones")])
    >>> model.compile("sgd", nn.losses.Huber(delta=1.0))
    >>> round(model.gradients([[1.0], [2.0]], [1.0, 4.0])[0], 4)
    0.75
    """

    distance: ClassVar[str] = "huber"
    delta: float = 1.0

    def __post_init__(self) -> None:
        real("Huber", "delta", self.delta, "(0, inf)")


_NAMES = {
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "huber": Huber,
}


def get(loss: Any) -> Loss:
    """The loss itself, or the one of a name.

    >>> get("mse")
    MeanSquaredError()
    """
    return resolve("loss", loss, _NAMES, Loss)
