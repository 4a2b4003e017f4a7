"""Initializers: how the weights of a layer are drawn before training.

An initializer is called with a shape and a generator and returns a new float64 array. Shapes are
those of the weights: Dense (units, in), convolution (filters, kh, kw, in / groups), so with
n_in = the product of shape[1:] and n_out = shape[0] * the product of shape[1:-1]
the formulas are Keras's. An initializer never rounds to float32: the model does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, dataclass
from math import prod, sqrt
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ._names import real, resolve, settle

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "Zeros",
    "get",
]


class _Frozen:
    """Refuses assignment in subclasses without fields: @dataclass on each costs import time."""

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")


@dataclass(frozen=True)
class Initializer(_Frozen):
    """Base of all initializers: `init(shape, rng)` returns a new float64 array of that shape.

    >>> Zeros()((2, 3), np.random.default_rng(0)).shape
    (2, 3)
    """

    def __call__(self, shape: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(shape, rng)")


class Zeros(Initializer):
    """All zeros.

    >>> Zeros()((2,), np.random.default_rng(0))
    array([0., 0.])
    """

    def __call__(self, shape: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
        return np.zeros(shape)


class Ones(Initializer):
    """All ones.

    >>> Ones()((2,), np.random.default_rng(0))
    array([1., 1.])
    """

    def __call__(self, shape: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
        return np.ones(shape)


@dataclass(frozen=True)
class Constant(Initializer):
    """All `value`. Raises TypeError or ValueError unless that is a finite number.

    >>> Constant(0.5)((2,), np.random.default_rng(0))
    array([0.5, 0.5])
    """

    value: float = 0.0

    def __post_init__(self) -> None:
        settle(self, value=real("Constant", "value", self.value))

    def __call__(self, shape: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
        return np.full(shape, self.value)


@dataclass(frozen=True)
class RandomNormal(Initializer):
    """Normal distribution N(mean, stddev^2). Raises ValueError if stddev is negative.

    >>> RandomNormal(stddev=0.1)((4, 3), np.random.default_rng(0)).shape
    (4, 3)
    """

    mean: float = 0.0
    stddev: float = 0.05

    def __post_init__(self) -> None:
        settle(
            self,
            mean=real("RandomNormal", "mean", self.mean),
            stddev=real("RandomNormal", "stddev", self.stddev, "[0, inf)"),
        )

    def __call__(self, shape: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
        return rng.normal(self.mean, self.stddev, shape)


@dataclass(frozen=True)
class RandomUniform(Initializer):
    """Uniform distribution on [minval, maxval). Raises ValueError if minval > maxval.

    >>> bool(RandomUniform(2, 3)((4, 3), np.random.default_rng(0)).min() >= 2)
    True
    """

    minval: float = -0.05
    maxval: float = 0.05

    def __post_init__(self) -> None:
        settle(
            self,
            minval=real("RandomUniform", "minval", self.minval),
            maxval=real("RandomUniform", "maxval", self.maxval),
        )
        if self.minval > self.maxval:
            raise ValueError(
                "RandomUniform: minval must not be above maxval, "
                f"received minval={self.minval}, maxval={self.maxval}"
            )

    def __call__(self, shape: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
        return rng.uniform(self.minval, self.maxval, shape)


class _VarianceScaling(Initializer):
    """Zero mean and variance gain / n, so that signals keep their size from layer to layer."""

    gain: ClassVar[float]
    fan: ClassVar[str]  # n is n_in ("in") or (n_in + n_out) / 2 ("average")

    def variance(self, shape: Sequence[int]) -> float:
        """The variance of weights of this shape."""
        n_in, n_out = _fans(shape)
        return self.gain / max(1.0, n_in if self.fan == "in" else (n_in + n_out) / 2)


class _ScaledUniform(_VarianceScaling):
    def __call__(self, shape: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
        limit = sqrt(3 * self.variance(shape))
        return rng.uniform(-limit, limit, shape)


class _ScaledNormal(_VarianceScaling):
    def __call__(self, shape: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
        return _truncated_normal(sqrt(self.variance(shape)), shape, rng)


class GlorotUniform(_ScaledUniform):
    """Uniform on [-a, a], a = sqrt(6 / (n_in + n_out)): for tanh, sigmoid, linear. Keras's default.

    Source: Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward
    neural networks", equation 16.

    >>> weight = GlorotUniform()((4, 2), np.random.default_rng(0))
    >>> bool(abs(weight).max() <= 1)
    True
    """

    gain = 1.0
    fan = "average"


class GlorotNormal(_ScaledNormal):
    """Truncated normal of variance 2 / (n_in + n_out): as GlorotUniform, other distribution.

    As in Keras, values beyond two standard deviations of the parent are drawn again, and the
    parent is widened by 1 / 0.8796 so that the variance is exact.

    >>> GlorotNormal()((4, 2), np.random.default_rng(0)).shape
    (4, 2)
    """

    gain = 1.0
    fan = "average"


class HeUniform(_ScaledUniform):
    """Uniform on [-a, a], a = sqrt(6 / n_in): for relu and its relatives.

    Source: He et al. 2015, "Delving deep into rectifiers", equation 10.

    >>> HeUniform()((4, 6), np.random.default_rng(0)).shape
    (4, 6)
    """

    gain = 2.0
    fan = "in"


class HeNormal(_ScaledNormal):
    """Truncated normal (see GlorotNormal) of variance 2 / n_in: for relu and its relatives.

    Source: He et al. 2015, "Delving deep into rectifiers", equation 10.

    >>> HeNormal()((4, 6), np.random.default_rng(0)).shape
    (4, 6)
    """

    gain = 2.0
    fan = "in"


class LecunUniform(_ScaledUniform):
    """Uniform on [-a, a], a = sqrt(3 / n_in): for selu.

    Source: LeCun et al. 1998, "Efficient BackProp", equation 16.

    >>> LecunUniform()((4, 6), np.random.default_rng(0)).shape
    (4, 6)
    """

    gain = 1.0
    fan = "in"


class LecunNormal(_ScaledNormal):
    """Truncated normal (see GlorotNormal) of variance 1 / n_in: for selu.

    Source: LeCun et al. 1998, "Efficient BackProp", equation 16.

    >>> LecunNormal()((4, 6), np.random.default_rng(0)).shape
    (4, 6)
    """

    gain = 1.0
    fan = "in"


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """`gain` times a random matrix Q with Q^T Q = I (or Q Q^T = I if it is wider than tall).

    The shape is taken as one matrix (shape[0], product of the rest), so a recurrent weight
    (G * units, units) has orthonormal columns over all its gates together, as in Keras.
    Raises ValueError for a shape of fewer than two axes.
    Source: Saxe et al. 2014, "Exact solutions to the nonlinear dynamics of learning".

    >>> q = Orthogonal()((6, 3), np.random.default_rng(0))
    >>> np.allclose(q.T @ q, np.eye(3))
    True
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        settle(self, gain=real("Orthogonal", "gain", self.gain))

    def __call__(self, shape: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
        if len(shape) < 2:
            raise ValueError(f"Orthogonal: needs a shape of 2 or more axes, received {shape}")
        rows, columns = shape[0], prod(shape[1:])
        tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(tall)
        q *= np.where(np.diagonal(r) < 0, -self.gain, self.gain)  # makes Q uniformly distributed
        return np.ascontiguousarray(q if rows >= columns else q.T).reshape(shape)


_NAMES: dict[str, type[Initializer]] = {
    "constant": Constant,
    "glorot_normal": GlorotNormal,
    "glorot_uniform": GlorotUniform,
    "he_normal": HeNormal,
    "he_uniform": HeUniform,
    "lecun_normal": LecunNormal,
    "lecun_uniform": LecunUniform,
    "ones": Ones,
    "orthogonal": Orthogonal,
    "random_normal": RandomNormal,
    "random_uniform": RandomUniform,
    "zeros": Zeros,
}


def get(initializer: str | Initializer | Callable[..., Any], owner: str = "") -> Callable[..., Any]:
    """Return the initializer of a name; an object or a function `f(shape, rng)` stays itself.
    `owner` is whose argument it is, for the error.

    Raises ValueError for an unknown name, TypeError for what is neither.

    >>> get("he_normal")
    HeNormal()
    """
    if callable(initializer) and not isinstance(initializer, type):
        return initializer
    return resolve("initializer", initializer, _NAMES, Initializer, owner)


def checked(parameter: str, initializer: Callable[..., Any]) -> Callable[..., Any]:
    """The initializer, with its errors told as a ValueError that names the parameter."""
    owner = f"{parameter}: its initializer {initializer!r}"

    def draw(shape: Sequence[int], rng: np.random.Generator) -> NDArray[Any]:
        try:
            values = np.asarray(initializer(shape, rng))
        except MemoryError:
            raise
        except Exception as error:
            raise ValueError(f"{owner} failed for shape {shape}: {error!r}") from error
        if values.dtype.kind not in "fiub" or not np.isfinite(values).all():
            raise ValueError(f"{owner} returned {values.dtype} numbers that are not all finite")
        return values

    return draw


def _fans(shape: Sequence[int]) -> tuple[int, int]:
    """How many inputs one unit sums, and how many units one input feeds: (n_in, n_out)."""
    if len(shape) < 2:
        n = prod(shape)
        return n, n
    return prod(shape[1:]), shape[0] * prod(shape[1:-1])


def _truncated_normal(
    stddev: float, shape: Sequence[int], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Normal values cut at two standard deviations of the parent, with this stddev after the cut.

    0.8796... is the standard deviation of N(0, 1) cut to [-2, 2]: the parent is that much wider.
    """
    values = rng.standard_normal(shape)
    outside = np.abs(values) > 2
    while outside.any():
        values[outside] = rng.standard_normal(int(outside.sum()))
        outside = np.abs(values) > 2
    values *= stddev / 0.87962566103423978
    return values
