"""Training by hand: the part of Model for a training loop of your own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import data
from nncore._names import boolean
from nncore.inputs import as_list, real_array
from nncore.lengths import lengths_of
from nncore.plan import BACKWARD, FORWARD, UPDATE, Plan

if TYPE_CHECKING:
    from nncore.graph import Shapes


class ByHand:
    """`forward`, `backward` and `apply_gradients`, one at a time. See `Model`."""

    # What Model brings along.
    dtype: np.dtype
    optimizer: Any
    _update: Any
    _passes: int
    _shapes: Shapes
    _forward_plan: Plan | None
    _forward_lengths: np.ndarray | None
    _input_arrays: Callable[[Any], list[np.ndarray]]
    _needs_compile: Callable[[str], None]
    _plan: Callable[..., Plan]
    _exclusive: Any
    __call__: Callable[..., Any]

    def forward(self, x: Any, training: bool = True, lengths: Any = None) -> Any:
        """The output for x; if ``training`` with dropout and the statistics of this batch, which
        running statistics follow, and remembered for `backward`.

        x: (rows, *input shape), or a list of such; lengths: as in `fit`. Returns (rows, *output
        shape), or a list of such. ValueError for another shape, TypeError for what are no numbers.
        """
        if not boolean("forward", "training", training):
            return self(x, lengths)
        arrays = self._input_arrays(x)
        rows = len(arrays[0])
        counts = lengths_of("forward", lengths, arrays, self._shapes)
        if counts is not None:
            arrays = [data.clean_input(x, i, self._shapes, counts) for i, x in enumerate(arrays)]
        with self._exclusive():
            self._forward_plan = None
            plan = self._plan("training", rows, **({} if counts is None else {"lengths": True}))
            gathers = list(plan.inputs)
            if plan.lengths is not None and counts is not None:
                gathers.append(plan.lengths)
                arrays.append(counts)
            try:
                for gather, array in zip(gathers, arrays, strict=True):
                    data.read(gather, array, 0, rows, None, self.dtype)
                status = plan.execute(FORWARD, 0, rows, 0.0, self._passes)
            finally:
                for gather in gathers:
                    gather.release()
            self._passes += 1
            if status:
                plan.fail(status)
            plan.commit()
            self._forward_plan, self._forward_step = plan, self._steps_done()
            self._forward_lengths = counts
            outputs = [plan.array(y, rows).copy() for y in plan.outputs]
        return outputs[0] if len(outputs) == 1 else outputs

    def backward(self, dy: Any) -> Any:
        """From the gradient of a loss with respect to the last `forward`'s output, fills
        ``grads`` and returns the gradient with respect to its input.

        dy: (rows, *output shape), or a list of such, which beyond the lengths that forward
        received counts as zero; dx: (rows, *input shape), or a list.
        RuntimeError without a forward(x, training=True) since the last backward, or after a step
        of the optimizer; ValueError for another shape.
        """
        plan = self._forward_plan
        if plan is None:
            raise RuntimeError("backward: call forward(x, training=True) before each backward(dy)")
        if self._forward_step != self._steps_done():
            raise RuntimeError(
                "backward: the parameters took a step since forward; call forward(x) again"
            )
        rows = plan.batch_rows
        dys = as_list("dy", dy, len(plan.outputs))
        for i, (y, value) in enumerate(zip(plan.outputs, dys, strict=True)):
            dys[i] = real_array("dy", value)
            if dys[i].shape != (rows, *y.shape):
                raise ValueError(
                    f"backward: received dy of shape {dys[i].shape} for output {i}; expected "
                    f"{(rows, *y.shape)}"
                )
        if self._forward_lengths is not None:
            pairs = zip(dys, self._shapes.in_steps, strict=True)
            dys = [
                data.without_padding(value, self._forward_lengths) if cut else value
                for value, cut in pairs
            ]
        with self._exclusive():
            self._forward_plan = None
            given = set()
            for y, value in zip(plan.outputs, dys, strict=True):
                place = y.addresses[1]
                if place in given:  # the same output, or a view of it, once more
                    plan.array(y, rows, grad=True)[...] += value
                elif place:
                    plan.array(y, rows, grad=True)[...] = value
                given.add(place)
            status = plan.execute(BACKWARD, 0, rows)  # what dropout kept, forward noted
            if status:
                plan.fail(status)
            dxs = [
                plan.array(x, rows, grad=True).copy()
                if x.addresses[1]
                else np.zeros((rows, *x.shape), self.dtype)  # no output depends on it
                for x in (gather.x for gather in plan.inputs)
            ]
        return dxs[0] if len(dxs) == 1 else dxs

    def _steps_done(self) -> int:
        return 0 if self._update is None else self._update.step

    def apply_gradients(self) -> None:
        """One step of the compiled optimizer with the gradients in ``grads``.

        RuntimeError before `compile`; NonFiniteError, and no change, where a gradient is NaN or
        infinite; ValueError for LBFGS.
        """
        self._needs_compile("apply_gradients")
        if self._update is None:
            raise ValueError("apply_gradients: LBFGS needs the whole data set: use fit")
        with self._exclusive():
            plan = self._plan("training", 1)
            rate = float(self.optimizer.rates(self._update.step, 1)[0])
            status = plan.execute(UPDATE, 0, 1, rate)
            if status:
                from nncore.failures import NonFiniteError

                raise NonFiniteError(
                    "apply_gradients: a gradient, or their joint norm, is NaN or infinite; the "
                    "parameters stay as they were",
                    self._update.step + 1,
                )
