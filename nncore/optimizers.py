"""Optimizers: how parameters follow their gradients.

Names: sgd, adam, adamw, rmsprop, adagrad, lbfgs, each with its default rate.

Argument names are Keras's, update rules PyTorch's. ``learning_rate`` is a number or a schedule.
``weight_decay`` adds weight_decay * p to the gradient (L2), in AdamW it shrinks p itself.
``clipnorm`` scales all gradients together so that their joint norm is at most that.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from nncore._kernels.optimizer import Update
from nncore._names import (
    boolean,
    describe,
    lookup,
    positive_int,
    rate,
    real,
    received,
    resolve,
)  # fmt: skip


@dataclasses.dataclass(eq=False, repr=False)
class Optimizer:
    """What all optimizers share. ``learning_rate`` may be changed between steps."""

    learning_rate: Any = 0.01
    weight_decay: float = dataclasses.field(default=0.0, kw_only=True)
    clipnorm: float | None = dataclasses.field(default=None, kw_only=True)
    rule: ClassVar[str] = ""  # of simd/optimizer.h

    def __post_init__(self) -> None:
        self.rates(0, 2)
        name = type(self).__name__
        if self.clipnorm is not None:
            real(name, "clipnorm", self.clipnorm, "(0, inf)")
        for field in ("weight_decay", "epsilon"):
            real(name, field, getattr(self, field, 0), "[0, inf)")
        for field in ("momentum", "beta_1", "beta_2", "rho"):
            rate(name, field, getattr(self, field, 0))

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, np.floating):
            value = float(value)
        known = {field.name: None for field in dataclasses.fields(self)}
        if name not in known:
            lookup("setting", name, known, type(self).__name__)
        if name in self.__dict__ and name != "learning_rate":
            raise AttributeError(
                f"{type(self).__name__}: {name} is fixed, only learning_rate may change; compile "
                "the model with another optimizer"
            )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return describe(self)

    def rates(self, step: int, count: int) -> np.ndarray:
        """The learning rates of steps step..step+count, float64."""
        steps = np.arange(step, step + count)
        schedule, name = self.learning_rate, type(self).__name__
        if not callable(schedule) or isinstance(schedule, type):
            return np.full(count, real(name, "learning_rate", schedule, "[0, inf)"))
        try:
            given = schedule(steps)
        except (TypeError, ValueError, IndexError) as error:
            from nncore.schedules import Schedule

            if isinstance(schedule, Schedule):
                raise  # it says itself what is wrong
            raise ValueError(
                f"{name}: the learning_rate {received(schedule)} failed for an array of steps "
                f"({error}); expected a function of NumPy arrays, such as "
                "lambda steps: numpy.where(steps < 100, 0.1, 0.01)"
            ) from error
        rates = np.asarray(given)
        numbers = rates.dtype.kind in "fiu" and rates.shape in ((), (count,))
        if not numbers or not ((rates >= 0) & (rates < np.inf)).all():
            shown = received(given.tolist() if isinstance(given, np.ndarray) else given)
            raise ValueError(
                f"{name}: the learning_rate {received(schedule)} gave {shown} for steps "
                f"{step}..{step + count - 1}; expected a number >= 0 for each"
            )
        return np.array(np.broadcast_to(rates, (count,)), np.float64)

    def update(self) -> Update:
        """The compiled rule with these hyper-parameters."""
        shared = ("learning_rate", "clipnorm")
        options = {k: v for k, v in dataclasses.asdict(self).items() if k not in shared}
        return Update(self.rule, clipnorm=self.clipnorm or 0.0, **options)


@dataclasses.dataclass(eq=False, repr=False)
class SGD(Optimizer):
    """m = momentum m + g; p -= rate m, or with ``nesterov`` p -= rate (g + momentum m)
    (Sutskever et al. 2013).

    ValueError for nesterov without momentum, or a number out of range; TypeError for what is no
    number.

    >>> import nncore as nn
    >>> nn.SGD(0.1, momentum=0.9, nesterov=True).momentum
    0.9
    """

    momentum: float = 0.0
    nesterov: bool = False
    rule: ClassVar[str] = "sgd"

    def __post_init__(self) -> None:
        super().__post_init__()
        if boolean("SGD", "nesterov", self.nesterov) and self.momentum == 0:
            raise ValueError("SGD: nesterov=True needs momentum > 0, received momentum 0")


@dataclasses.dataclass(eq=False, repr=False)
class Adam(Optimizer):
    """m = beta_1 m + (1 - beta_1) g; v = beta_2 v + (1 - beta_2) g^2;
    p -= rate m' / (sqrt(v') + epsilon), m' and v' without their bias to zero (Kingma, Ba 2015).

    ValueError for a number out of range, TypeError for what is no number.

    >>> import nncore as nn
    >>> nn.Adam(nn.schedules.CosineDecay(1e-3, 1000), clipnorm=1.0).clipnorm
    1.0
    """

    learning_rate: Any = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    rule: ClassVar[str] = "adam"


@dataclasses.dataclass(eq=False, repr=False)
class AdamW(Adam):
    """Adam whose weight decay leaves the gradient alone: p -= rate weight_decay p
    (Loshchilov, Hutter 2019).

    ValueError for a number out of range, TypeError for what is no number.

    >>> import nncore as nn
    >>> nn.AdamW(1e-3, weight_decay=0.01).weight_decay
    0.01
    """

    weight_decay: float = dataclasses.field(default=0.004, kw_only=True)
    rule: ClassVar[str] = "adamw"


@dataclasses.dataclass(eq=False, repr=False)
class RMSprop(Optimizer):
    """v = rho v + (1 - rho) g^2; p -= rate g / (sqrt(v) + epsilon), through a momentum buffer
    if ``momentum`` > 0 (Hinton 2012).

    ValueError for a number out of range, TypeError for what is no number.

    >>> import nncore as nn
    >>> nn.RMSprop(1e-3, momentum=0.9).rho
    0.9
    """

    learning_rate: Any = 1e-3
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    rule: ClassVar[str] = "rmsprop"


@dataclasses.dataclass(eq=False, repr=False)
class Adagrad(Optimizer):
    """v += g^2; p -= rate g / (sqrt(v) + epsilon) (Duchi et al. 2011).

    ValueError for a number out of range, TypeError for what is no number.

    >>> import nncore as nn
    >>> nn.Adagrad(0.01).learning_rate
    0.01
    """

    learning_rate: Any = 1e-3
    epsilon: float = 1e-7
    rule: ClassVar[str] = "adagrad"


@dataclasses.dataclass(eq=False, repr=False)
class LBFGS(Optimizer):
    """L-BFGS on the whole data set at once, by `scipy.optimize.minimize`: for small networks and
    smooth losses. Each of `fit`'s epochs is one of its iterations; batch_size only bounds the
    memory of a pass. ``history_size``: vectors kept of the past. Its line search finds the
    length of each step, so there is no learning rate. `fit` ends before its last epoch where no
    element of the gradient is larger than ``tolerance`` in size, or no step makes the loss fall.
    Dropout leaves out the same units in all of a `fit`. (Liu, Nocedal 1989)

    ValueError for clipnorm, for a number out of range, and from the steps that see a batch only
    (`train_on_batch`, `apply_gradients`); TypeError for what is no number.

    >>> import nncore as nn
    >>> nn.LBFGS(history_size=20).history_size
    20
    """

    learning_rate: Any = dataclasses.field(default=None, init=False)
    history_size: int = 10
    tolerance: float = 1e-7

    def __post_init__(self) -> None:
        real("LBFGS", "weight_decay", self.weight_decay, "[0, inf)")
        size = positive_int("LBFGS", "history_size", self.history_size)
        object.__setattr__(self, "history_size", size)
        real("LBFGS", "tolerance", self.tolerance, "[0, inf)")
        if self.clipnorm is not None:
            raise ValueError("LBFGS: received clipnorm; its line search needs the true gradient")

    def update(self) -> Update:
        raise ValueError("LBFGS needs the whole data set at each step: use fit")


_NAMES = {
    "sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "adagrad": Adagrad,
    "lbfgs": LBFGS,
}  # fmt: skip


def get(optimizer: Any) -> Optimizer:
    """The optimizer itself, or the one of a name with its default rate."""
    name = optimizer.lower() if isinstance(optimizer, str) else optimizer
    return resolve("optimizer", name, _NAMES, Optimizer)


__all__ = ["LBFGS", "SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "get"]
