"""Bidirectional: a recurrent layer that goes over a sequence in both directions."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from nncore._kernels import merging
from nncore._names import lookup, received, settle
from nncore.layers.base import Layer, layer
from nncore.layers.recurrent import Recurrence, one_or_tuple, with_states

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.building import Building

MERGES: dict[str, Any] = {
    "concat": merging.Concatenate,
    "sum": merging.Add,
    "mul": merging.Multiply,
    "ave": merging.Average,
}


@layer
class Bidirectional(Layer):
    """y = merge(forward(x), backward(x)): the recurrent ``layer``, and a second one with weights of
    its own that takes the steps from the last to the first (Schuster and Paliwal 1997).

    With the layer's ``return_sequences`` both have their steps in the order of x. merge_mode:
    "concat" (side by side), "sum", "mul", "ave", or None: both, as a list. With ``return_state``
    the list goes on with the states of the forward, then of the backward layer; an
    ``initial_state`` has them in this order, too. Parameters: ``forward.weight_ih``...,
    ``backward.weight_ih``... TypeError for a layer that is not recurrent.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((7, 3)), nn.Bidirectional(nn.GRU(5))]).output_shape
    (10,)
    """

    knows_steps: ClassVar[bool] = True

    layer: Any
    merge_mode: str | None = "concat"

    def __post_init__(self) -> None:
        if not isinstance(self.layer, Recurrence):
            raise TypeError(
                f"Bidirectional: received {received(self.layer)}; expected a recurrent layer: "
                "nn.RNN, nn.LSTM or nn.GRU"
            )
        if self.merge_mode is not None:
            lookup("merge_mode", self.merge_mode, MERGES, "Bidirectional")
        other = dataclasses.replace(self.layer, go_backwards=not self.layer.go_backwards)
        settle(self, _both=(("forward", self.layer), ("backward", other)))

    @property
    def step_outputs(self) -> int:
        return (1 if self.merge_mode else 2) * self.layer.step_outputs

    @property
    def goes_through_steps(self) -> bool:
        return True

    @property
    def outputs(self) -> int:
        states = 2 * self.layer.states if self.layer.return_state else 0
        return (1 if self.merge_mode else 2) + states

    def __call__(self, inputs: Any, initial_state: Any = None) -> Any:
        """As for the layer; the states of both directions one after the other."""
        return super().__call__(with_states(self, inputs, initial_state))

    def build(self, plan: Building, *inputs: Tensor) -> Any:
        count = self.layer.states
        x, given = self.layer.take(plan, self, inputs, 2 * count)
        ys, states = [], []
        for i, (name, direction) in enumerate(self._both):  # type: ignore[attr-defined]
            with plan.inside(name):
                found = direction.unroll(plan, x, given[count * i : count * (i + 1)], aligned=True)
            ys.append(found[0])
            states += found[1:]
        if self.merge_mode:
            ys = [self._merged(plan, *ys)]
        return one_or_tuple([*ys, *states])

    def _merged(self, plan: Building, a: Tensor, b: Tensor) -> Tensor:
        if self.merge_mode == "concat":
            y = plan.tensor((*a.shape[:-1], 2 * a.shape[-1]))
            plan.add(merging.Concatenate(a, b, y, len(a.shape) - 1))
            return y
        y = plan.tensor(a.shape)
        plan.add(MERGES[str(self.merge_mode)](a, b, y))
        return y
