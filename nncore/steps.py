"""The steps of sequences in a plan: which tensors have them, and what a layer may do with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nncore._kernels.lengths import StepWeights

if TYPE_CHECKING:
    from nncore._kernels.gather import Gather
    from nncore._kernels.op import Op, Tensor
    from nncore.layers.base import Layer


class Steps:
    """The part of Plan that follows the steps of its inputs through the layers.

    ``lengths``: how many steps each row has, where they are not all.
    """

    # What Plan brings along.
    ops: list[Op]
    weight: Gather | None
    tensor: Any
    where: Any

    def _begin_steps(self) -> None:
        self.lengths: Gather | None = None
        self._steps = 0
        self._in_steps: set[Tensor] = set()  # whose first axis is the steps

    def _follow_steps(self, layer: Layer, result: Any) -> None:
        """With lengths, only what takes each step by itself or knows of them may have steps."""
        results = result if isinstance(result, tuple) else (result,)
        mixes = not layer.knows_steps
        for y in results[: layer.step_outputs]:
            mixes = mixes or len(y.shape) < 2 or y.shape[0] != self._steps
            self._in_steps.add(y)
        if mixes:
            raise ValueError(
                f"{self.where(layer)}: this layer mixes the steps of a sequence, those beyond its "
                "end or still to come, too; expected, for lengths= and step(), recurrent layers "
                "and layers that take each step by itself, up to one that returns no sequence"
            )

    def lengths_of(self, x: Tensor) -> Tensor | None:
        """The tensor of the lengths of x's sequences, if they are not all of x's."""
        return self.lengths.x if self.lengths is not None and x in self._in_steps else None

    def _loss_weight(self, y: Tensor) -> Tensor | None:
        """The weights of an output's rows or steps: those beyond a sequence's end have none."""
        weight = self.weight.x if self.weight else None
        if self.lengths is None or y not in self._in_steps:
            return weight
        steps = self.tensor(y.shape[:-1])
        self.ops.append(StepWeights(self.lengths.x, weight, steps))
        return steps

    def states_before(self, layer: Layer, given: Sequence[Tensor], count: int, units: int) -> Any:
        """The states that a recurrent layer begins with: those given, or none, for zeros."""
        return given

    def states_after(self, layer: Layer, last: Sequence[Tensor]) -> None:
        """Told the states after a recurrent layer's last step, if `states_before` asked for them
        by returning more than was given."""
