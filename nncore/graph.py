"""Graph: which layer feeds which, and under what names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from nncore.layers.base import Input, Layer, Part, Symbol
from nncore.layers.core import Embedding
from nncore.losses import closing

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor


class Graph:
    """Layers in the order in which they were called, from inputs to outputs.

    ``nodes``: (name, symbol) of each call. A layer's name is its own, or its place in the order;
    a layer called twice keeps the name of its first call.
    """

    def __init__(self, inputs: Sequence[Any], outputs: Sequence[Any], owner: str) -> None:
        for what, expected, values in (("inputs", Input, inputs), ("outputs", Symbol, outputs)):
            for value in values:
                if not isinstance(value, expected):
                    wanted = "nn.Input(...)" if expected is Input else "what a layer returned"
                    raise TypeError(f"{owner}: received {value!r} in {what}; expected {wanted}")
        self.inputs: tuple[Input, ...] = tuple(inputs)
        self.outputs: tuple[Symbol, ...] = tuple(outputs)
        if not self.inputs or not self.outputs:
            raise ValueError(f"{owner}: needs at least one input and one output")
        if len(set(self.inputs)) < len(self.inputs):
            raise ValueError(
                f"{owner}: received one Input more than once in inputs; make an nn.Input for each"
            )
        found: set[Symbol] = set()
        waiting = list(self.outputs)
        while waiting:
            symbol = waiting.pop()
            if symbol not in found:
                found.add(symbol)
                waiting.extend(symbol.inputs)
        loose = [s for s in found if isinstance(s, Input) and s not in self.inputs]
        if loose:
            raise ValueError(f"{owner}: the outputs need {loose}, which is not among the inputs")
        calls = sorted((s for s in found if s.layer is not None), key=lambda s: s.order)
        for layer in (symbol.layer for symbol in calls):
            if layer.name is not None and (not isinstance(layer.name, str) or "." in layer.name):
                raise ValueError(
                    f"{owner}: received {layer!r}; expected a name that is a string without dots, "
                    "which stand between the name of a layer and that of its parameter"
                )
        names: dict[Layer, str] = {}
        for place, symbol in enumerate(calls):
            names.setdefault(symbol.layer, symbol.layer.name or str(place))
        if len(set(names.values())) < len(names):
            raise ValueError(f"{owner}: two layers have one name among {sorted(names.values())}")
        self.nodes = [(names[symbol.layer], symbol) for symbol in calls]

    def flat(self) -> tuple[list[Input], list[Layer], list[tuple[int, list[Any]]], list[Any]]:
        """The same without references from symbol to symbol: inputs, layers once each, calls as
        (layer, inputs) and outputs; values are numbered, inputs first, then calls, and one of
        several that a call returns is [its number, which of them]."""
        layers: dict[Layer, int] = {}
        for _, symbol in self.nodes:
            layers.setdefault(symbol.layer, len(layers))
        numbers = {s: i for i, s in enumerate([*self.inputs, *(s for _, s in self.nodes)])}

        def number(s: Symbol) -> Any:
            return [numbers[s.source], s.index] if isinstance(s, Part) else numbers[s]

        calls = [(layers[s.layer], [number(i) for i in s.inputs]) for _, s in self.nodes]
        return list(self.inputs), list(layers), calls, [number(s) for s in self.outputs]

    @classmethod
    def from_flat(cls, inputs, layers, calls, outputs, owner: str) -> Graph:
        """What `flat` took apart."""
        values: list[Any] = list(inputs)

        def value(number: Any) -> Symbol:
            return values[number[0]][number[1]] if isinstance(number, list) else values[number]

        for layer, sources in calls:
            values.append(layers[layer]([value(number) for number in sources]))
        return cls(inputs, [value(number) for number in outputs], owner)

    def sequence(self) -> int:
        """The place of the input whose steps lengths count: the first that a recurrent layer goes
        through, or the first of all."""
        begun: dict[Any, set[int]] = {(x, 0): {i} for i, x in enumerate(self.inputs)}
        found: set[int] = set()
        for _, symbol in self.nodes:
            layer = symbol.layer
            sources = symbol.inputs[:1] if layer.goes_through_steps else symbol.inputs
            steps = {i for s in sources for i in begun.get(_value(s), ())}
            if layer.goes_through_steps:
                found |= steps
            begun.update({(symbol, i): steps for i in range(layer.step_outputs)})
        return min(found, default=0)

    def sequences(self) -> list[bool]:
        """Whether each input is a sequence of as many steps as that one: of vectors, or of
        integers that an Embedding looks up. One of another kind is as wide by chance."""
        first = self.sequence()
        steps = self.inputs[first].shape[:1]
        looked_up = {x for _, s in self.nodes if isinstance(s.layer, Embedding) for x in s.inputs}
        return [
            x.shape[:1] == steps and (i == first or len(x.shape) > 1 or x in looked_up)
            for i, x in enumerate(self.inputs)
        ]

    def outputs_in_steps(self) -> list[bool]:
        """Whether each output still has the steps that lengths count, one answer for each."""
        pairs = zip(self.inputs, self.sequences(), strict=True)
        found: set[Any] = {(x, 0) for x, is_sequence in pairs if is_sequence}
        for _, symbol in self.nodes:
            if not found.isdisjoint(map(_value, symbol.inputs)):
                found |= {(symbol, i) for i in range(symbol.layer.step_outputs)}
        return [_value(y) in found for y in self.outputs]

    def __reduce__(self) -> Any:  # symbols refer to one another as deeply as the network is
        return Graph.from_flat, (*self.flat(), "Graph")


class Shapes(NamedTuple):
    """What a network takes and gives: the shape of one row of each input and output; for each
    output what it closes with (see `losses.closing`), and whether it has the steps that lengths
    count; for each input the name and the number of rows of the Embedding that looks it up, if one
    does; for messages, the layer that takes x; for each input whether it is a sequence whose steps
    lengths count, and the place of the first that is."""

    inputs: list[tuple[int, ...]]
    outputs: list[tuple[int, ...]]
    closing: list[tuple[str, bool]]
    in_steps: list[bool]
    tables: list[tuple[str, int] | None]
    first: str
    sequences: list[bool]
    sequence: int

    @classmethod
    def of(cls, graph: Graph, outputs: Sequence[Tensor]) -> Shapes:
        """Of a graph and the outputs that its layers declared."""
        takers = [(name, s.layer) for name, s in graph.nodes if graph.inputs[0] in s.inputs]
        tables = {
            x: (name, s.layer.input_dim)
            for name, s in sorted(graph.nodes, key=_rows_of_table, reverse=True)
            for x in s.inputs
            if isinstance(s.layer, Embedding)
        }  # of several the smallest, the last one here
        first = ""
        if len(graph.inputs) == len(takers) == 1:
            first = f" for layer {takers[0][0]!r}, {takers[0][1].describe()}"
        return cls(
            [symbol.shape for symbol in graph.inputs],
            [y.shape for y in outputs],
            [closing(y) for y in outputs],
            graph.outputs_in_steps(),
            [tables.get(symbol) for symbol in graph.inputs],
            first,
            graph.sequences(),
            graph.sequence(),
        )


def _value(s: Symbol) -> tuple[Symbol, int]:
    """The call that it is a value of, and which of those it returns."""
    return (s.source, s.index) if isinstance(s, Part) else (s, 0)


def _rows_of_table(node: tuple[str, Symbol]) -> int:
    layer = node[1].layer
    return layer.input_dim if isinstance(layer, Embedding) else 0
