"""What a layer puts on a plan: tensors, parameters, ops. A layer's `build` calls this."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore._kernels import blas
from nncore._kernels.activation import Activation
from nncore._kernels.op import Op, Tensor
from nncore.steps import Steps

if TYPE_CHECKING:
    from nncore._kernels.gather import Gather
    from nncore.layers.base import Layer
    from nncore.parameters import Initializer, Parameters

MOST_NUMBERS = 2**45  # of one tensor: beyond it sizes would not even count right
KEPT_BYTES = 64 << 20  # of packed weights, in all inference plans, but for recurrent layers'


class Building(Steps):
    """The part of Plan that layers know."""

    # What Plan brings along.
    parameters: Parameters
    purpose: str
    most_rows: int
    dtype: np.dtype
    training: bool
    inputs: list[Gather]
    guessed: set[tuple[int, ...]]  # shapes of inputs that the first data had, not the user
    array: Callable[..., np.ndarray]

    def _begin_building(self) -> None:
        self.ops: list[Op] = []
        self._tensors: list[Tensor] = []
        self._parameters: dict[str, Tensor] = {}
        self._path: list[str] = []
        self._paths: dict[Layer, list[str]] = {}
        self._streams = 0
        self._begin_steps()

    def parameter(self, name: str, shape: tuple[int, ...], initializer: Initializer) -> Tensor:
        """A parameter of the layer under construction; the same one for the same name."""
        tensor = self._kept(name, shape, initializer, True)
        tensor.wants_grad = self.training
        return tensor

    def buffer(self, name: str, shape: tuple[int, ...], initializer: Initializer) -> Tensor:
        """The same for what a layer keeps besides: no gradient, no optimizer."""
        return self._kept(name, shape, initializer, False)

    def _kept(self, name, shape, initializer, trainable) -> Tensor:
        path = ".".join([*self._path, name])
        if self.purpose == "declare":  # refuses another shape
            self.parameters.declare(path, shape, initializer, trainable)
        elif self.parameters.shape_of(path, trainable) != tuple(shape):
            raise ValueError(
                f"layer {'.'.join(self._path)!r}: its parameter {name!r} was declared as "
                f"{self.parameters.shape_of(path, trainable)} and is {tuple(shape)} now; layers do "
                "not change: build a new model"
            )
        if path not in self._parameters:
            tensor = Tensor(self._possible(shape), self.dtype.itemsize, path)
            if self.purpose != "declare":
                tensor.bind(*self.parameters.addresses(path))
            self._parameters[path] = tensor
        return self._parameters[path]

    def tensor(self, shape: Sequence[int], itemsize: int | None = None) -> Tensor:
        """Room for an op's output, or for what it saves: (rows, *shape)."""
        shape = self._possible(tuple(int(n) for n in shape))
        tensor = Tensor(shape, itemsize or self.dtype.itemsize)
        self._tensors.append(tensor)
        return tensor

    def workspace(self, shape: Sequence[int], itemsize: int | None = None) -> Tensor:
        """Room for what an op works out for the whole batch: (*shape), whatever the rows."""
        tensor = Tensor(
            self._possible(tuple(shape)), itemsize or self.dtype.itemsize, has_rows=False
        )
        self._tensors.append(tensor)
        return tensor

    def keeps(self, size: int) -> bool:
        """Whether an op may keep a packed copy of its weights, of so many bytes: not where training
        changes them each run, nor beyond a bound for all of a model's plans, of which there may be
        one for each size of batch and thread.
        """
        if self.training or self.purpose == "declare":
            return False
        if self.purpose == "evaluation":  # gone when it is done
            return True
        if self.parameters.kept + size > KEPT_BYTES:
            return False
        self.parameters.kept += size
        return True

    def _possible(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape, unless no machine has room for it."""
        if math.prod(shape) >= MOST_NUMBERS:
            where = f"layer {'.'.join(self._path)!r}" if self._path else "Input"
            raise ValueError(f"{where}: shape {shape} is too large: {math.prod(shape)} numbers")
        return shape

    def view(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """x's memory with another shape, as many numbers to a row."""
        tensor = Tensor(tuple(shape), x.itemsize, None, x)
        self._tensors.append(tensor)
        return tensor

    def call(self, layer: Layer, name: str, *inputs: Tensor) -> Any:
        """Puts a layer on the plan under a name, within that of the layer that calls it. One that
        was called before, anywhere, keeps its first name: so its weights are shared. Returns what
        it returns: a tensor, or a tuple of them."""
        outside = self._path
        self._path = self._paths.setdefault(layer, [*outside, name])
        try:
            result = layer.build(self, *inputs)
            if not self._in_steps.isdisjoint(inputs):
                self._follow_steps(layer, result)
            return result
        finally:
            self._path = outside

    def add(self, op: Op) -> None:
        """Puts an op on the plan; it runs after those before it."""
        op.layer = ".".join(self._path)
        if op.uses_blas:
            blas.load()
        self.ops.append(op)

    def activation(self, name: str, x: Tensor) -> Tensor:
        """sigma(x); x itself for linear."""
        if name == "linear":
            return x
        y = self.tensor(x.shape)
        self.add(Activation(name, x, y))
        return y

    def next_stream(self) -> int:
        """A number for an op that draws random numbers, unlike any other's in this plan."""
        self._streams += 1
        return self._streams

    @contextlib.contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Within it, parameters are named ``name.``..."""
        self._path.append(name)
        try:
            yield
        finally:
            self._path.pop()

    def where(self, layer: Layer) -> str:
        """The layer's place and constructor call, for messages."""
        return f"layer {'.'.join(self._path)!r}, {layer.describe()}"

    def expect(
        self,
        layer: Layer,
        inputs: tuple[Tensor, ...],
        *,
        count: int | None = None,
        least_count: int = 1,
        least_axes: int = 0,
    ) -> tuple[Tensor, ...]:
        """Refuses inputs of another number, or with too few axes."""
        if (count is not None and len(inputs) != count) or len(inputs) < least_count:
            wanted = count if count is not None else f"at least {least_count}"
            several = count == 1 and len(inputs) > 1
            hint = "; of what a layer returns as a list, pass one: y[0]" if several else ""
            raise ValueError(
                f"{self.where(layer)}: received {len(inputs)} inputs; takes {wanted}{hint}"
            )
        for x in inputs:
            if len(x.shape) < least_axes:
                raise ValueError(
                    f"{self.where(layer)}: received an input of shape {x.shape} (without the "
                    f"batch axis); expected at least {least_axes} axes"
                )
        return inputs

    def above_zero(self, epsilon: float) -> float:
        """An epsilon that is not 0 among the plan's numbers."""
        return max(epsilon, float(np.finfo(self.dtype).tiny))

    @property
    def largest_integer(self) -> int:
        """Up to which integer the plan's numbers count without gaps."""
        return 2 ** (np.finfo(self.dtype).nmant + 1)
