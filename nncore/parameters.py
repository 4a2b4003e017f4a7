"""The parameters of a model: flat vectors, and named views into them.

One vector holds all weights and biases, a second their gradients: the optimizer, clipping and
L-BFGS are each one pass over one vector. ``model.params`` are views of it. A third holds the
buffers, such as running statistics, which no optimizer sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore._kernels.weights import Changes, Memory
from nncore.arena import address, aligned_zeros, round_up

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

# Any is a np.random.Generator: a third of numpy's import time, it comes when first used.
Initializer = Callable[[tuple[int, ...], Any], np.ndarray]


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
    the gap before the next one holds zeros. ``views``, ``gradient_views`` and ``buffer_views``
    have the shapes. ``changes`` knows when values or buffers may have changed.
    """

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.specs: dict[str, tuple[tuple[int, ...], Initializer]] = {}
        self.buffer_specs: dict[str, tuple[tuple[int, ...], Initializer]] = {}
        self.gradient_views = Views()
        nothing = np.zeros(0, dtype)
        self.changes = Changes([Views(), Views()], [Memory(nothing), Memory(nothing)])
        self.kept = 0  # bytes of packed copies that plans may keep
        self.values = self.gradients = np.zeros(0, dtype)
        self._places: list[tuple[str, tuple[int, ...], int]] = []  # name, shape, byte offset
        self._addresses: dict[str, tuple[int, int]] = {}

    def declare(
        self, name: str, shape: tuple[int, ...], initializer: Initializer, trainable: bool = True
    ) -> None:
        specs = self.specs if trainable else self.buffer_specs
        known = specs.setdefault(name, (shape, initializer))
        if known[0] != shape:
            raise ValueError(
                f"{name}: a layer used twice must see inputs of one width: its weights have "
                f"shape {known[0]} for the first input and would need {shape} for the second"
            )

    def shape_of(self, name: str, trainable: bool) -> tuple[int, ...] | None:
        """The shape that was declared, None if none was."""
        found = (self.specs if trainable else self.buffer_specs).get(name)
        return found and found[0]

    def allocate(self) -> None:
        """Makes the vectors (zeros) and the views."""
        self._places, size = self._lay_out(self.specs)
        self.values, self.gradients = self._vector(size), self._vector(size)
        self.gradient_views = Views(self.split(self.gradients))
        places, size = self._lay_out(self.buffer_specs)
        buffers = self._vector(size)
        memories = Memory(self.values), Memory(buffers)
        views = zip(memories, (self._places, places), strict=True)
        self.changes = Changes([Views(_views(m, self.dtype, p)) for m, p in views], memories)
        starts = address(self.values), address(self.gradients)
        self._addresses = {name: (address(buffers) + at, 0) for name, _, at in places}
        self._addresses |= {n: (starts[0] + at, starts[1] + at) for n, _, at in self._places}

    @property
    def views(self) -> Views:
        return self.changes.lend(0)

    @property
    def buffer_views(self) -> Views:
        return self.changes.lend(1)

    def _lay_out(self, specs: Any) -> tuple[list[tuple[str, tuple[int, ...], int]], int]:
        """Where each lies in a vector of its own, in bytes, and that vector's bytes."""
        places, at = [], 0
        for name, (shape, _) in specs.items():
            places.append((name, shape, at))
            at += round_up(math.prod(shape) * self.dtype.itemsize)
        return places, at

    def _vector(self, size: int) -> np.ndarray:
        return aligned_zeros(size).view(self.dtype)

    def initialize(self, rng: np.random.Generator) -> None:
        """Draws all values, in the order of declaration; then those of the buffers."""
        for specs, views in ((self.specs, self.views), (self.buffer_specs, self.buffer_views)):
            for name, (shape, initializer) in specs.items():
                value = np.asarray(initializer(shape, rng))
                if value.shape != shape:
                    raise ValueError(
                        f"{name}: its initializer returned shape {value.shape}; expected {shape}"
                    )
                views[name][...] = value

    def assign(self, flat: np.ndarray) -> None:
        """Overwrites all values."""
        self.values[...] = flat
        self.changes.change()

    def everything(self) -> dict[str, np.ndarray]:
        """Parameters and buffers: what a model is besides its layers. To read, not to keep."""
        return {**self.changes.peek(0), **self.changes.peek(1)}

    def array(self, name: str, grad: bool = False) -> np.ndarray:
        """The view of a parameter, of its gradient, or of a buffer. To read, not to keep."""
        if grad:
            return self.gradient_views[name]
        values, buffers = self.changes.peek(0), self.changes.peek(1)
        return values[name] if name in values else buffers[name]

    def addresses(self, name: str) -> tuple[int, int]:
        """Where the value and the gradient of a parameter lie; a buffer has none."""
        return self._addresses[name]

    def split(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Views with the parameters' shapes into a vector laid out like ``values``."""
        return _views(flat, flat.dtype, self._places)


def _views(flat: Any, dtype: np.dtype, places: Any) -> dict[str, np.ndarray]:
    return {name: np.ndarray(shape, dtype, flat, offset) for name, shape, offset in places}
