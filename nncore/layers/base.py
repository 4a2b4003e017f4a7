"""Layer: a frozen description. Calling it makes a node of a graph; a plan makes it run."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

import numpy as np

from nncore._kernels.python import PythonOp
from nncore._names import describe

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.parameters import Initializer
    from nncore.plan import Plan

_created = itertools.count()
T = TypeVar("T")


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(dataclasses.field,))
def layer(cls: type[T]) -> type[T]:
    """Makes a class a frozen dataclass that is equal only to itself: one object, one set of
    weights."""
    return dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)


class Symbol:
    """A value that a network will have: what a layer called on symbols returns."""

    def __init__(self, layer: Layer | None, inputs: tuple[Symbol, ...]) -> None:
        self.layer, self.inputs = layer, inputs
        self.order = next(_created)

    def __repr__(self) -> str:
        return f"<output of {self.layer}>"

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError(
            f"{self!r} has no numbers yet: build nn.Model(inputs, outputs) and call it on arrays"
        )


class Input(Symbol):
    """A network's input: the shape of one example, without the batch axis.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((4,)), nn.Dense(3)]).count_params()
    15
    """

    def __init__(self, shape: Sequence[int] | int, *, name: str | None = None) -> None:
        super().__init__(None, ())
        try:
            shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
            whole = all(isinstance(n, (int, np.integer)) and n is not True for n in shape)
            self.shape = tuple(int(n) for n in shape) if whole else ()
        except TypeError:
            whole = False
        if not whole or any(n < 1 for n in self.shape):
            raise ValueError(
                f"Input: received shape {shape!r}; expected positive integers, the shape of one "
                "example without the batch axis, as in Input((28, 28, 1))"
            )
        self.name = name

    def __repr__(self) -> str:
        return f"Input({self.shape})"


@layer
class Layer:
    """What all layers share. A subclass is a frozen dataclass: its fields are hyper-parameters.

    Built-in layers define `build`, which puts compiled ops on a plan. A layer of your own may
    instead define three methods with NumPy:

    - ``parameters(self, *shapes) -> dict`` of name to (shape, initializer), for input shapes
      without the batch axis; optional;
    - ``forward(self, *inputs, **parameters) -> y``, arrays (rows, ...);
    - ``backward(self, dy, y, *inputs, **parameters)`` -> the gradients of the inputs, then of
      the parameters, as one array or a tuple.

    >>> import nncore as nn
    >>> class Square(nn.Layer):
    ...     def forward(self, x):
    ...         return x * x
    ...     def backward(self, dy, y, x):
    ...         return 2 * x * dy
    >>> nn.Sequential([nn.Input((2,)), Square()])([[3.0, -2.0]]).tolist()
    [[9.0, 4.0]]
    """

    name: str | None = dataclasses.field(default=None, kw_only=True)

    def __call__(self, inputs: Symbol | Sequence[Symbol]) -> Symbol:
        symbols = (inputs,) if isinstance(inputs, Symbol) else inputs
        if not isinstance(symbols, (tuple, list)) or not all(
            isinstance(s, Symbol) for s in symbols
        ):
            raise TypeError(
                f"{self.describe()} was called on {type(inputs).__name__}; expected nn.Input or "
                "what another layer returned. To run it on numbers put it into a network: "
                "nn.Sequential([...])(x)"
            )
        return Symbol(self, tuple(symbols))

    def describe(self) -> str:
        """The layer as its constructor call, defaults left out."""
        return describe(self)

    __repr__ = describe

    # The three methods of a layer written in Python.

    def parameters(self, *shapes: tuple[int, ...]) -> dict[str, tuple[tuple[int, ...], Any]]:
        return {}

    def forward(self, *inputs: np.ndarray, **parameters: np.ndarray) -> np.ndarray:
        raise TypeError(f"{type(self).__name__} defines neither build nor forward")

    def backward(self, dy: np.ndarray, y: np.ndarray, *inputs: np.ndarray, **parameters: Any):
        raise TypeError(f"{type(self).__name__} defines no backward: it can only predict")

    def build(self, plan: Plan, *inputs: Tensor) -> Tensor:
        """Puts this layer on a plan: declares parameters, adds ops, returns the output."""
        from nncore import initializers

        shapes = [x.shape for x in inputs]
        weights: dict[str, Initializer] = {
            name: plan.parameter(name, tuple(shape), initializers.get(initializer))
            for name, (shape, initializer) in self.parameters(*shapes).items()
        }
        count = len(inputs)

        def forward(*arrays: np.ndarray) -> np.ndarray:
            named = dict(zip(weights, arrays[count:], strict=True))
            return self.forward(*arrays[:count], **named)

        def backward(dy: np.ndarray, y: np.ndarray, *arrays: np.ndarray):
            named = dict(zip(weights, arrays[count:], strict=True))
            return self.backward(dy, y, *arrays[:count], **named)

        # One trial on ones tells the shape of the output.
        trial = [np.ones((1, *shape), plan.dtype) for shape in shapes]
        trial += [np.ones(weight.shape, plan.dtype) for weight in weights.values()]
        shape = np.shape(forward(*trial))
        if len(shape) < 1 or shape[0] != 1:
            raise ValueError(
                f"{self.describe()}: forward returned shape {shape} for a batch of one example; "
                "expected (1, ...), the batch axis first"
            )
        y = plan.tensor(shape[1:])
        plan.add(PythonOp([*inputs, *weights.values()], y, forward, backward, plan.array))
        return y
