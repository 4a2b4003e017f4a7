"""Plans of recurrent networks whose state outlives a run.

`StepPlan` takes one step of a sequence, its states being inputs and outputs: `Model.step`.
`StatefulPlan` trains on a sequence cut into batches, each beginning with the state that the one
before left (truncated backpropagation through time): `fit(stateful=True)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore._kernels.gather import Gather
from nncore._kernels.streaming import Carried, Stepper
from nncore._names import received, rows_of
from nncore.inputs import as_list, real_array
from nncore.plan import Plan

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.layers.base import Layer


_NO_STATES = "step: this network has no recurrent layer; call the model"


class StepPlan(Plan):
    """The network on sequences of one step. ``states``: the shape of one row of each state, and
    for messages whose it is."""

    def __init__(self, graph: Any, parameters: Any, rows: int) -> None:
        self.states: list[tuple[tuple[int, ...], str]] = []
        self._last: list[Tensor] = []
        for x, is_sequence in zip(graph.inputs, graph.sequences(), strict=True):
            if not is_sequence and len(x.shape) == 1:
                raise ValueError(f"step: {x!r} has no steps; expected sequences in all inputs")
        super().__init__(graph, parameters, "inference", rows, steps=1)

    def _input(self, shape: tuple[int, ...]) -> Tensor:
        """x has no axis for the one step."""
        if not shape:
            raise ValueError("step: this network's input has no steps; call the model")
        gather = Gather(self.tensor(shape[1:]), True, False)  # NaN passes through
        self.inputs.append(gather)
        self.ops.append(gather)
        return self.view(gather.x, (1, *shape[1:]))

    def states_before(self, layer: Layer, given: Sequence[Tensor], count: int, units: int) -> Any:
        if getattr(layer, "go_backwards", False):
            raise ValueError(
                f"{self.where(layer)}: it goes backwards, from the end of the sequence; expected "
                "for step layers that take the steps as they come"
            )
        if given:
            raise ValueError(
                f"{self.where(layer)}: its initial state comes from another layer; expected for "
                "step a layer that begins with zeros, as states are passed to step itself"
            )
        found = []
        for _ in range(count):
            gather = Gather(self.tensor((units,)), True, False)
            self.ops.append(gather)
            self.states.append(((units,), self.where(layer)))
            found.append(gather.x)
        return found

    def states_after(self, layer: Layer, last: Sequence[Tensor]) -> None:
        self._last += last

    def _own_outputs(self) -> None:
        """The stepper copies them; states are outputs, too."""
        if not self.states:
            raise ValueError(_NO_STATES)
        self.shapes = [y.shape[1:] if y in self._in_steps else y.shape for y in self.outputs]
        self.outputs += self._last
        self.shapes += [y.shape for y in self._last]

    def stepper(self) -> Stepper:
        return Stepper(self, self.outputs, self.shapes)


class Stepping:
    """What `Model.step` needs for some number of rows: a plan, and checks."""

    def __init__(self, graph: Any, parameters: Any, rows: int) -> None:
        try:
            self.plan = StepPlan(graph, parameters, rows)
        except ValueError as error:
            told = str(error)
            if not any(symbol.layer.goes_through_steps for _, symbol in graph.nodes):
                told = _NO_STATES
            raise ValueError(
                told
                if told.startswith("step: ")
                else f"step: this network does not go step by step: {told}"
            ) from error
        self.stepper = self.plan.stepper()
        self.count = len(self.plan.inputs)
        self.outputs = len(self.plan.outputs) - len(self.plan.states)
        self.dtype = self.plan.dtype

    def run(self, x: Any, state: Any) -> Any:
        arrays = tuple(x) if self.count > 1 and isinstance(x, (list, tuple)) else (x,)
        found = None
        if type(state) is tuple:
            found = self.stepper.run(arrays + state)
        if found is None:
            found = self.stepper.run(self._checked(x, state))
        y = found[0] if self.outputs == 1 else found[: self.outputs]
        return y, tuple(found[self.outputs :])

    def _checked(self, x: Any, state: Any) -> tuple[np.ndarray, ...]:
        """x and the states as arrays that can be read as they are."""
        arrays = []
        for i, (value, gather) in enumerate(
            zip(as_list("x", x, self.count), self.plan.inputs, strict=True)
        ):
            what = "x" if self.count == 1 else f"x[{i}]"
            array = real_array(what, value)
            if array.ndim < 1 or array.shape[1:] != gather.x.shape:
                raise ValueError(
                    f"step: received {what} of shape {array.shape}; expected one step of each "
                    f"sequence, {rows_of(gather.x.shape)}"
                )
            arrays.append(array)
        rows = len(arrays[0])
        if any(len(array) != rows for array in arrays) or not rows:
            raise ValueError(
                f"step: received inputs of {[len(array) for array in arrays]} rows; expected as "
                "many in each, at least one"
            )
        states = self.plan.states
        if state is None:
            state = tuple(np.zeros((rows, *shape), self.dtype) for shape, _ in states)
        if not isinstance(state, (tuple, list)) or len(state) != len(states):
            raise ValueError(
                f"step: received {_count(state)} as state; expected None, or the tuple of "
                f"{len(states)} arrays that the step before returned: those of "
                f"{', '.join(owner for _, owner in states)}"
            )
        for i, (value, (shape, owner)) in enumerate(zip(state, states, strict=True)):
            array = real_array("state", value)
            if array.shape != (rows, *shape):
                raise ValueError(
                    f"step: received state[{i}] of shape {array.shape}; expected "
                    f"{(rows, *shape)}, {rows} rows of {owner}"
                )
            arrays.append(array)
        return tuple(np.require(array, self.dtype, ("C", "A")) for array in arrays)


def _count(state: Any) -> str:
    """What was received in place of the states, for messages."""
    if isinstance(state, (tuple, list)):
        return f"a {type(state).__name__} of {len(state)}"
    return received(state)


class StatefulPlan(Plan):
    """A plan whose recurrent layers begin with the state that the run before left."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._carried: list[Carried] = []
        super().__init__(*arguments, **options)
        if not self._carried:
            raise ValueError(
                "fit: received stateful=True for a network that carries no state; expected a "
                "recurrent layer without an initial state of its own"
            )

    def states_before(self, layer: Layer, given: Sequence[Tensor], count: int, units: int) -> Any:
        if given:
            return given
        if getattr(layer, "go_backwards", False):
            raise ValueError(
                f"{self.where(layer)}: it goes backwards, so that the batch before does not end "
                "where it begins; expected for stateful=True layers that take the steps as they "
                "come"
            )
        found = []
        for _ in range(count):
            y = self.tensor((units,))
            carried = Carried(y, self.most_rows)
            self.ops.append(carried)
            self._carried.append(carried)
            found.append(y)
        return found

    def states_after(self, layer: Layer, last: Sequence[Tensor]) -> None:
        waiting = [carried for carried in self._carried if not carried.saved]
        for carried, tensor in zip(waiting, last, strict=False):
            carried.keep(tensor)

    def reset(self) -> None:
        """Begins anew, with states of zeros."""
        for carried in self._carried:
            carried.reset()


class Streaming:
    """The part of Model that takes sequences step by step. See `Model`."""

    # What Model brings along.
    _ready: Any
    _parameters: Any
    _steppers: dict[int, list[Stepping]]

    def step(self, x: Any, state: Any = None) -> tuple[Any, tuple[np.ndarray, ...]]:
        """One step of sequences as they come: (y, state), those of the whole sequence up to
        rounding.

        x: (rows, *shape of one step). state: None before the first step, then what the step
        before returned: a tuple of arrays (rows, units), for each recurrent layer its h and, of an
        LSTM, c. y: the output for this step, (rows, *shape of one step), or what the network would
        return for a sequence that ended here. ValueError for networks that need a whole sequence
        at once (go_backwards, Bidirectional, layers that mix steps), and for a state of another
        shape.

        >>> import numpy as np, nncore as nn
        >>> model = nn.Sequential([nn.Input((10, 3)), nn.GRU(8), nn.Dense(2)])
        >>> state = None
        >>> for x in np.zeros((10, 1, 3)):
        ...     y, state = model.step(x, state)
        >>> y.shape
        (1, 2)
        """
        graph = self._ready("step")
        first = x[0] if len(graph.inputs) > 1 and isinstance(x, (list, tuple)) and x else x
        rows = len(first) if hasattr(first, "__len__") and getattr(first, "ndim", True) else 0
        size = max(0, rows - 1).bit_length()
        idle = self._steppers.setdefault(size, [])
        try:
            stepping = idle.pop()
        except IndexError:
            stepping = Stepping(graph, self._parameters, 1 << size)
        try:
            return stepping.run(x, state)
        finally:
            idle.append(stepping)
