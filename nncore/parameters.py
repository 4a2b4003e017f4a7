"""The parameters of a model: flat vectors, and named views into them.

One vector holds all weights and biases, a second their gradients: the optimizer, clipping and
L-BFGS are each one pass over one vector. ``model.params`` are views of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore.arena import ALIGNMENT, address, aligned_zeros

if TYPE_CHECKING:  # numpy.random is a third of numpy's import time, and comes when first used
    from numpy.typing import ArrayLike

    Initializer = Callable[[tuple[int, ...], np.random.Generator], np.ndarray]


class Views(dict[str, np.ndarray]):
    """Name -> view of a model's memory. Assigning an array to a name copies its numbers there;
    names come and go with the layers alone."""

    def __setitem__(self, name: str, value: ArrayLike) -> None:
        if name not in self:
            raise KeyError(f"{name!r} is no parameter here; there are {', '.join(self)}")
        array = np.asarray(value)
        if array.shape != self[name].shape:
            raise ValueError(
                f"{name}: received an array of shape {array.shape}; expected {self[name].shape}"
            )
        self[name][...] = array

    def update(self, *others: Any, **named: Any) -> None:
        for name, value in dict(*others, **named).items():
            self[name] = value

    def __reduce__(self) -> Any:  # a copy is an ordinary dict of arrays
        return dict, ({name: view.copy() for name, view in self.items()},)

    def __copy__(self) -> dict[str, np.ndarray]:
        return dict(self)

    def _fixed(self, *_: Any) -> Any:
        raise TypeError("the parameters of a model cannot be removed or added by hand")

    __delitem__ = pop = popitem = clear = setdefault = __ior__ = _fixed  # type: ignore[assignment]


class Parameters:
    """Declared by the layers when a model is built, then allocated once.

    ``values`` and ``gradients`` are the flat vectors; each parameter starts on a cache line, and
    the gap before the next one holds zeros. ``views`` and ``gradient_views`` have the shapes.
    """

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.specs: dict[str, tuple[tuple[int, ...], Initializer]] = {}
        self.views = self.gradient_views = Views()
        self.values = self.gradients = np.zeros(0, dtype)
        self._places: list[tuple[str, tuple[int, ...], int]] = []  # name, shape, byte offset

    def declare(self, name: str, shape: tuple[int, ...], initializer: Initializer) -> None:
        known = self.specs.setdefault(name, (shape, initializer))
        if known[0] != shape:
            raise ValueError(
                f"{name}: a layer used twice must see inputs of one width: its weights have "
                f"shape {known[0]} for the first input and would need {shape} for the second"
            )

    def allocate(self) -> None:
        """Makes the vectors (zeros) and the views."""
        line = ALIGNMENT // self.dtype.itemsize
        sizes = {name: math.prod(shape) for name, (shape, _) in self.specs.items()}
        total = sum(-(-size // line) * line for size in sizes.values())
        self.values = aligned_zeros(total * self.dtype.itemsize).view(self.dtype)
        self.gradients = aligned_zeros(total * self.dtype.itemsize).view(self.dtype)
        start, views, gradient_views = 0, {}, {}
        for name, (shape, _) in self.specs.items():
            part = slice(start, start + sizes[name])
            self._places.append((name, shape, start * self.dtype.itemsize))
            views[name] = self.values[part].reshape(shape)
            gradient_views[name] = self.gradients[part].reshape(shape)
            start += -(-sizes[name] // line) * line
        self.views, self.gradient_views = Views(views), Views(gradient_views)

    def initialize(self, rng: np.random.Generator) -> None:
        """Draws all values, in the order of declaration."""
        for name, (shape, initializer) in self.specs.items():
            value = np.asarray(initializer(shape, rng))
            if value.shape != shape:
                raise ValueError(
                    f"{name}: its initializer returned shape {value.shape}; expected {shape}"
                )
            self.views[name][...] = value

    def addresses(self, name: str) -> tuple[int, int]:
        """Where the value and the gradient of a parameter lie."""
        return address(self.views[name]), address(self.gradient_views[name])

    def split(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Views with the parameters' shapes into a vector laid out like ``values``."""
        return {
            name: np.ndarray(shape, flat.dtype, flat, offset)
            for name, shape, offset in self._places
        }
