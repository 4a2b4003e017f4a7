"""Schedules: the learning rate as a function of the number of optimizer steps made so far.

The first step is step 0. A schedule is called with one integer (returns a float) or with an
integer array (returns a float64 array, equal to the single calls bit for bit).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ._names import positive_int, real, received, settle

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Constant",
    "CosineDecay",
    "ExponentialDecay",
    "Schedule",
    "StepDecay",
    "WarmUp",
    "get",
]

_RATE = "[0, inf)"  # a learning rate; 0 freezes the parameters


@dataclass(frozen=True)
class Schedule:
    """Base of all schedules: a subclass defines `rates(steps)` on float64 steps, with ufuncs.

    Raises TypeError for steps that are not integers, ValueError for negative ones.

    >>> class InverseSqrt(Schedule):
    ...     def rates(self, steps):
    ...         return 0.1 / np.sqrt(steps + 1)
    >>> InverseSqrt()(3)
    0.05
    """

    @overload
    def __call__(self, step: int | np.integer[Any]) -> float: ...
    @overload
    def __call__(self, step: NDArray[np.integer[Any]]) -> NDArray[np.float64]: ...
    def __call__(self, step: Any) -> Any:
        """The learning rate of one step, or of an array of steps."""
        if type(step) is int and step >= 0:  # one call per step of `train_on_batch`
            return float(self.rates(np.array(step, dtype=np.float64)))
        steps = np.asarray(step)
        if steps.dtype.kind not in "iu":
            raise TypeError(
                f"{type(self).__name__}: steps must be integers, received {received(step)}"
            )
        if steps.size and steps.min() < 0:
            raise ValueError(
                f"{type(self).__name__}: steps count from 0, received {int(steps.min())}"
            )
        rates = np.asarray(self.rates(steps.astype(np.float64)))
        if rates.dtype.kind not in "fiu":
            raise TypeError(
                f"{type(self).__name__}: rates(steps) gave {received(rates.tolist())}; expected "
                "a number for each step"
            )
        return rates.astype(np.float64, copy=False) if steps.ndim else float(rates)

    def rates(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """The learning rates of steps that are already checked: a new array of the same shape."""
        raise NotImplementedError(f"{type(self).__name__} must define rates(steps)")


@dataclass(frozen=True)
class Constant(Schedule):
    """The same learning rate at every step.

    >>> Constant(0.01)(1000)
    0.01
    """

    value: float

    def __post_init__(self) -> None:
        settle(self, value=real("Constant", "value", self.value, _RATE))

    def rates(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.full(steps.shape, self.value)


@dataclass(frozen=True)
class StepDecay(Schedule):
    """The rate is multiplied by `factor` every `every` steps.

    rate(step) = initial * factor ** floor(step / every)

    >>> StepDecay(0.1, factor=0.5, every=10)(np.array([0, 9, 10, 20]))
    array([0.1  , 0.1  , 0.05 , 0.025])
    """

    initial: float
    factor: float
    every: int

    def __post_init__(self) -> None:
        settle(
            self,
            initial=real("StepDecay", "initial", self.initial, _RATE),
            factor=real("StepDecay", "factor", self.factor, "(0, 1]"),
            every=positive_int("StepDecay", "every", self.every),
        )

    def rates(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.initial * np.power(self.factor, np.floor_divide(steps, self.every))


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """The rate falls smoothly, by the factor `rate` in each `steps` steps.

    rate(step) = initial * rate ** (step / steps)

    >>> ExponentialDecay(0.1, rate=0.5, steps=10)(np.array([0, 10, 20]))
    array([0.1  , 0.05 , 0.025])
    """

    initial: float
    rate: float
    steps: int

    def __post_init__(self) -> None:
        settle(
            self,
            initial=real("ExponentialDecay", "initial", self.initial, _RATE),
            rate=real("ExponentialDecay", "rate", self.rate, "(0, 1]"),
            steps=positive_int("ExponentialDecay", "steps", self.steps),
        )

    def rates(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.initial * np.power(self.rate, np.divide(steps, self.steps))


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """The rate falls from `initial` to `final` along half a cosine, then stays there.

    rate(step) = final + (initial - final) * (1 + cos(pi * min(step / steps, 1))) / 2

    Source: Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts",
    equation 5, without restarts.

    >>> CosineDecay(0.2, steps=100)(np.array([0, 50, 100, 500]))
    array([0.2, 0.1, 0. , 0. ])
    """

    initial: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        settle(
            self,
            initial=real("CosineDecay", "initial", self.initial, _RATE),
            steps=positive_int("CosineDecay", "steps", self.steps),
            final=real("CosineDecay", "final", self.final, _RATE),
        )

    def rates(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        done = np.minimum(np.divide(steps, self.steps), 1.0)
        return self.final + (self.initial - self.final) * ((1 + np.cos(np.pi * done)) / 2)


@dataclass(frozen=True)
class WarmUp(Schedule):
    """A linear climb over `steps` steps in front of another schedule, or of a constant rate.

    rate(step) = after(0) * (step + 1) / steps   while step < steps,
                 after(step - steps)             from then on

    No step is wasted at rate 0. `after` counts its own steps from the end of the climb.
    Source: Goyal et al. 2017, "Accurate, large minibatch SGD", section 2.2.

    >>> WarmUp(4, after=0.1)(np.array([0, 1, 3, 4]))
    array([0.025, 0.05 , 0.1  , 0.1  ])
    """

    steps: int
    after: Schedule | float

    def __post_init__(self) -> None:
        settle(self, steps=positive_int("WarmUp", "steps", self.steps), after=get(self.after))

    def rates(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        after = get(self.after)
        climb = after.rates(np.zeros(())) * (np.add(steps, 1) / self.steps)
        return np.where(steps < self.steps, climb, after.rates(np.maximum(steps - self.steps, 0)))


def get(schedule: float | Schedule) -> Schedule:
    """Return a schedule as itself, and a number as the constant schedule of that rate.

    Raises TypeError for anything else, ValueError for a rate that is negative or not finite.

    >>> get(0.01)
    Constant(value=0.01)
    """
    if isinstance(schedule, Schedule):
        return schedule
    if isinstance(schedule, (int, float, np.integer, np.floating)):
        return Constant(real("learning rate", "value", schedule, _RATE))
    raise TypeError(
        "learning rate must be a number or an object of nncore.schedules, "
        f"received {received(schedule)}"
    )
