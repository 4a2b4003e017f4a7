"""Optimizers: how parameters follow their gradients.

Argument names are Keras's, update rules PyTorch's. ``learning_rate`` is a number or a schedule.
``weight_decay`` adds weight_decay * p to the gradient (L2), in AdamW it shrinks p itself.
``clipnorm`` scales all gradients together so that their joint norm is at most that.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from nncore import schedules
from nncore._kernels import optimizer as kernels
from nncore._names import lookup


@dataclasses.dataclass
class Optimizer:
    """What all optimizers share. ``learning_rate`` may be changed between steps."""

    learning_rate: Any = 0.01
    weight_decay: float = dataclasses.field(default=0.0, kw_only=True)
    clipnorm: float | None = dataclasses.field(default=None, kw_only=True)
    kernel: ClassVar[Any] = None

    def __post_init__(self) -> None:
        self.rates(0, 1)
        name = type(self).__name__
        if not self.weight_decay >= 0:
            raise ValueError(f"{name}: received weight_decay {self.weight_decay}; expected >= 0")
        if self.clipnorm is not None and not self.clipnorm > 0:
            raise ValueError(f"{name}: received clipnorm {self.clipnorm}; expected > 0 or None")
        for field, low, high in (
            ("momentum", 0, np.inf), ("beta_1", 0, 1), ("beta_2", 0, 1), ("rho", 0, 1),
            ("epsilon", 0, np.inf),
        ):  # fmt: skip
            value = getattr(self, field, low)
            if not (isinstance(value, (int, float, np.number)) and low <= value < high):
                raise ValueError(
                    f"{name}: received {field} {value!r}; expected {low} <= {field} < {high}"
                )

    def rates(self, step: int, count: int) -> np.ndarray:
        """The learning rates of steps step..step+count, float64."""
        steps = np.arange(step, step + count)
        rate = self.learning_rate
        rates = np.broadcast_to(
            np.asarray(rate(steps) if callable(rate) else rate, np.float64), (count,)
        )
        if not (np.isfinite(rates).all() and (rates >= 0).all()):
            raise ValueError(
                f"{type(self).__name__}: received learning_rate {rate!r}; expected a number >= 0, "
                "or a schedule of such"
            )
        return np.ascontiguousarray(rates)

    def update(self) -> kernels.Update:
        """The compiled rule with these hyper-parameters."""
        shared = ("learning_rate", "clipnorm")
        options = {k: v for k, v in dataclasses.asdict(self).items() if k not in shared}
        return self.kernel(clipnorm=self.clipnorm or 0.0, **options, **self._extra())

    def _extra(self) -> dict[str, Any]:
        return {}


@dataclasses.dataclass
class SGD(Optimizer):
    """m = momentum m + g; p -= rate m, or with ``nesterov`` p -= rate (g + momentum m)
    (Sutskever et al. 2013)."""

    momentum: float = 0.0
    nesterov: bool = False
    kernel: ClassVar[Any] = kernels.SGD


@dataclasses.dataclass
class Adam(Optimizer):
    """m = beta_1 m + (1 - beta_1) g; v = beta_2 v + (1 - beta_2) g^2;
    p -= rate m' / (sqrt(v') + epsilon), m' and v' without their bias to zero (Kingma, Ba 2015)."""

    learning_rate: Any = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    kernel: ClassVar[Any] = kernels.Adam
    decoupled: ClassVar[bool] = False

    def _extra(self) -> dict[str, Any]:
        return {"decoupled": self.decoupled}


@dataclasses.dataclass
class AdamW(Adam):
    """Adam whose weight decay leaves the gradient alone: p -= rate weight_decay p
    (Loshchilov, Hutter 2019)."""

    weight_decay: float = dataclasses.field(default=0.004, kw_only=True)
    decoupled: ClassVar[bool] = True


@dataclasses.dataclass
class RMSprop(Optimizer):
    """v = rho v + (1 - rho) g^2; p -= rate g / (sqrt(v) + epsilon), through a momentum buffer
    if ``momentum`` > 0 (Hinton 2012)."""

    learning_rate: Any = 1e-3
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    kernel: ClassVar[Any] = kernels.RMSprop


@dataclasses.dataclass
class Adagrad(Optimizer):
    """v += g^2; p -= rate g / (sqrt(v) + epsilon) (Duchi et al. 2011)."""

    learning_rate: Any = 1e-3
    epsilon: float = 1e-7
    kernel: ClassVar[Any] = kernels.Adagrad


@dataclasses.dataclass
class LBFGS(Optimizer):
    """L-BFGS on the whole data set at once, by `scipy.optimize.minimize`: for small networks and
    smooth losses. Each of `fit`'s epochs is one of its iterations; batch_size only bounds the
    memory of a pass. ``history_size``: vectors kept of the past. (Liu, Nocedal 1989)"""

    learning_rate: Any = 1.0
    history_size: int = 10
    tolerance: float = 1e-7

    def update(self) -> kernels.Update:
        raise ValueError("LBFGS needs the whole data set at each step: use fit")


_NAMES = {
    "sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "adagrad": Adagrad,
    "lbfgs": LBFGS,
}  # fmt: skip


def get(optimizer: Any) -> Optimizer:
    """The optimizer itself, or the one of a name with its default rate."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    name = optimizer.lower() if isinstance(optimizer, str) else optimizer
    return lookup("optimizer", name, _NAMES)()


__all__ = ["LBFGS", "SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "get", "schedules"]
