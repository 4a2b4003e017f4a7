"""Layer: a frozen description. Calling it makes a node of a graph; a plan makes it run."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, dataclass_transform

import numpy as np

from nncore._kernels.python import PythonOp
from nncore._names import describe, positive_int, received

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.building import Building

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
        self.layer: Any = layer  # None: an Input's
        self.inputs = inputs
        self.order = next(_created)

    def __repr__(self) -> str:
        return f"<output of {self.layer}>"

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError(
            f"{self!r} has no numbers yet: build nn.Model(inputs, outputs) and call it on arrays"
        )


class Part(Symbol):
    """One of the values that a layer with several outputs returns."""

    def __init__(self, source: Symbol, index: int) -> None:
        super().__init__(None, (source,))
        self.source, self.index = source, index

    def __repr__(self) -> str:
        return f"<output {self.index} of {self.source.layer}>"


class Input(Symbol):
    """A network's input: the shape of one example, without the batch axis.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((4,)), nn.Dense(3)]).count_params()
    15
    """

    guessed = False  # whether a Sequential took the shape from its first data

    def __init__(self, shape: Sequence[int] | int, *, name: str | None = None) -> None:
        super().__init__(None, ())
        axes = shape if isinstance(shape, (tuple, list)) else (shape,)
        if not all(isinstance(n, (int, np.integer)) and n is not True and n > 0 for n in axes):
            raise ValueError(
                f"Input: received shape {shape!r}; expected positive integers, the shape of one "
                "example without the batch axis, as in Input((28, 28, 1))"
            )
        if name is not None and not isinstance(name, str):
            raise TypeError(f"Input: name must be a string, received {received(name)}")
        self.shape, self.name = tuple(int(n) for n in axes), name

    def __repr__(self) -> str:
        return (
            f"Input({self.shape})" if self.name is None else f"Input({self.shape}, {self.name!r})"
        )


class _Itself:
    """Equal only to itself, also where a plain `dataclass` would make equal fields share weights.
    (A base of its own, so that signatures are those of ``__init__``.)"""

    def __new__(cls, *_: Any, **__: Any) -> Self:
        if cls.__eq__ is not object.__eq__:
            cls.__eq__ = object.__eq__  # type: ignore[method-assign]
            cls.__hash__ = object.__hash__  # type: ignore[method-assign]
        return super().__new__(cls)


@layer
class Layer(_Itself):
    """What all layers share. A subclass is a frozen dataclass: its fields are hyper-parameters. Two
    are two layers, with weights of their own, even if all fields are equal.

    Built-in layers define `build`, which puts compiled ops on a plan. A layer of your own may
    instead define three methods with NumPy:

    - ``parameters(self, *shapes) -> dict`` of name to (shape, initializer), for input shapes
      without the batch axis; optional;
    - ``forward(self, *inputs, **parameters) -> y``, arrays (rows, ...);
    - ``backward(self, dy, y, *inputs, **parameters)`` -> the gradients of the inputs, then of
      the parameters, as one array or a tuple.

    Inputs and parameters are read-only there. A new batch size calls forward once more, on one
    row, for the shape of y.

    One that takes each step of a sequence by itself says so, ``knows_steps = True`` in the class:
    then it may stand between recurrent layers where ``lengths=`` or `Model.step` are used. One
    made of recurrent layers says ``goes_through_steps = True``, too: lengths are its input's.

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

    def __call__(self, inputs: Symbol | Sequence[Symbol]) -> Any:
        symbols = (inputs,) if isinstance(inputs, Symbol) else inputs
        if not isinstance(symbols, (tuple, list)) or not all(
            isinstance(s, Symbol) for s in symbols
        ):
            raise TypeError(
                f"{self.describe()} was called on {type(inputs).__name__}; expected nn.Input or "
                "what another layer returned. To run it on numbers put it into a network: "
                "nn.Sequential([...])(x)"
            )
        y = Symbol(self, tuple(symbols))
        return y if self.outputs == 1 else [Part(y, i) for i in range(self.outputs)]

    # Sequences of unequal lengths: may the layer's input be one (whose steps it takes each by
    # itself, or it knows of their number), and how many of its outputs, the first ones, are, too?
    knows_steps: ClassVar[bool] = False

    @property
    def step_outputs(self) -> int:
        return int(self.knows_steps)

    @property
    def goes_through_steps(self) -> bool:
        """Whether it takes the steps of its first input one after the other."""
        return False

    @property
    def outputs(self) -> int:
        """How many values it returns: one, or a list of so many."""
        return 1

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

    def _declared(self, place: str, shapes: list[tuple[int, ...]]) -> dict[str, Any]:
        """What `parameters` returned, if it is what it should be."""
        from nncore import initializers

        found = self.parameters(*shapes)
        if not isinstance(found, dict):
            raise TypeError(
                f"{place}: parameters returned {received(found)}; expected a dict of name to "
                "(shape, initializer)"
            )
        checked = {}
        for name, pair in found.items():
            known = isinstance(name, str) and name.isidentifier()
            if not known or not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise TypeError(
                    f"{place}: parameters returned {name!r}: {received(pair)}; expected a name and "
                    "(shape, initializer)"
                )
            if not isinstance(pair[0], (tuple, list)):
                raise TypeError(
                    f"{place}: parameters returned the shape {received(pair[0])} for {name!r}; "
                    "expected a tuple of integers"
                )
            shape = tuple(positive_int(place, f"each axis of {name!r}", n) for n in pair[0])
            try:
                checked[name] = shape, initializers.get(pair[1])
            except (TypeError, ValueError) as error:
                raise type(error)(f"{place}: {name!r}: {error}") from None
        return checked

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        """Puts this layer on a plan: declares parameters, adds ops, returns the output."""
        shapes = [x.shape for x in inputs]
        weights: dict[str, Tensor] = {
            name: plan.parameter(name, shape, initializer)
            for name, (shape, initializer) in self._declared(plan.where(self), shapes).items()
        }
        count = len(inputs)

        def forward(*arrays: np.ndarray) -> np.ndarray:
            named = dict(zip(weights, arrays[count:], strict=True))
            return self.forward(*arrays[:count], **named)

        def backward(dy: np.ndarray, y: np.ndarray, *arrays: np.ndarray):
            named = dict(zip(weights, arrays[count:], strict=True))
            gradients = self.backward(dy, y, *arrays[:count], **named)
            if gradients is None:
                raise TypeError(
                    f"{self.describe()}: backward returned None; expected the gradient of each "
                    "input and parameter"
                )
            return gradients

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
