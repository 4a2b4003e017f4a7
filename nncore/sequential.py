"""Sequential: a model whose layers follow one another."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from nncore._names import received
from nncore.graph import Graph, Shapes
from nncore.inputs import real_array
from nncore.layers.base import Input, Layer, Symbol
from nncore.model import Model
from nncore.parameters import Parameters
from nncore.plan import Plan

_building = threading.RLock()  # held while the shapes of a model are found from its first data


def _renew_lock() -> None:
    """In a child of fork: a thread of the parent may have held the lock there was."""
    global _building
    _building = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class Sequential(Model):
    """A network whose layers follow one another; shapes come from a first `nn.Input`, or from
    the first data.

    >>> import nncore as nn
    >>> model = nn.Sequential([nn.Input((4,)), nn.Dense(16, "tanh"), nn.Dense(3)], seed=0)
    >>> model([[0.1, 0.2, 0.3, 0.4]]).shape
    (1, 3)
    """

    def __init__(
        self,
        layers: Sequence[Input | Layer],
        *,
        seed: int | None = None,
        dtype: str = "float32",
    ) -> None:
        self._start(seed, dtype)
        if isinstance(layers, (Layer, Symbol, type)) or not isinstance(layers, Iterable):
            raise TypeError(f"Sequential: received {received(layers)}; expected a list of layers")
        self.layers = tuple(layers)
        for i, item in enumerate(self.layers):
            if not isinstance(item, Layer) and not (i == 0 and isinstance(item, Input)):
                hint = " (Input comes first)" if isinstance(item, Input) else ""
                raise TypeError(
                    f"Sequential: received {received(item)} at place {i}; expected a layer{hint}"
                )
        if not any(isinstance(item, Layer) for item in self.layers):
            raise ValueError("Sequential: received no layers; expected at least one")
        if isinstance(self.layers[0], Input):
            self._build(_chain(self.layers[0], self.layers[1:]))

    def _graph_for(self, x: Any) -> Graph:
        """The graph that fits x, while the model has none yet."""
        array = real_array("x", x)
        if array.ndim < 2 or 0 in array.shape:
            raise ValueError(
                f"Sequential: received x of shape {array.shape}; expected (rows, ...), to find "
                "the network's input shape"
            )
        first = Input(array.shape[1:])
        first.guessed = True
        return _chain(first, self.layers)

    def _needs_shapes(self, x: Any) -> None:
        if self.graph is None:
            graph = self._graph_for(x)
            with _building:  # by one thread, should many predict at once
                if self.graph is None:
                    self._build(graph)

    def _shapes_for(self, x: Any) -> Shapes:
        if self.graph is not None:
            return self._shapes
        graph = self._graph_for(x)
        return Shapes.of(graph, Plan(graph, Parameters(self.dtype), "declare").outputs)


def _chain(x: Input, layers: Sequence[Any]) -> Graph:
    y: Symbol = x
    for item in layers:
        if item.outputs != 1:
            raise ValueError(
                f"Sequential: received {item.describe()}, which returns {item.outputs} values; "
                "expected layers that return one: call it on symbols and build nn.Model"
            )
        y = item(y)
    return Graph([x], [y], "Sequential")
