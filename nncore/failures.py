"""What a run that went wrong means, as an exception that says what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore._kernels.gather import Gather
from nncore._kernels.python import PythonOp

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.plan import Plan


class NonFiniteError(ArithmeticError):
    """A loss or a gradient became NaN or infinite. ``step`` counts training steps from 1,
    ``layer`` is the first bad layer; the parameters are as they were before that step."""

    def __init__(self, message: str, step: int | None = None, layer: str | None = None) -> None:
        super().__init__(message)
        self.step, self.layer = step, layer


def explain(plan: Plan, status: int, step: int | None = None) -> Exception:
    """The exception for a run's status; ``step`` is the training step."""
    if plan.bad:
        return _bad_data(plan, plan.ops[plan.bad - 1])
    layer, what = _first_bad(plan)
    when = "" if step is None else f" in step {step}"
    where = "" if layer is None else f": layer {layer!r} is the first that is not finite"
    return NonFiniteError(
        f"{what}{when}{where}. The parameters are as they were before the step. Try a smaller "
        "learning_rate, clipnorm, or scaled inputs",
        step,
        layer,
    )


def _bad_data(plan: Plan, op: Any) -> Exception:
    if isinstance(op, PythonOp):
        return op.error
    if isinstance(op, Gather):
        if op in plan.inputs:
            which = f"input {plan.inputs.index(op)}" if len(plan.inputs) > 1 else "x"
        else:
            which = "sample_weight" if op is plan.weight else "y"
        return ValueError(
            f"{which}: received NaN, infinite or too large numbers for {plan.dtype}; training "
            "needs finite ones: clean or scale the data"
        )
    return ValueError(op.refusal())


def _first_bad(plan: Plan) -> tuple[str | None, str]:
    """Runs the ops one by one and finds the first output or gradient that is not finite."""
    loss = 0.0
    for op in plan.ops:
        loss += plan.execute_one(op, False)
        for y in op.outputs:
            if not (isinstance(op, Gather) or _finite(plan, y, grad=False)):
                return op.layer, "an activation is not finite"
    if not np.isfinite(loss):
        return "loss", "the loss is not finite"
    for op in plan.backward_list:
        plan.execute_one(op, True)
        for x in op.inputs:
            if x.addresses[1] and not _finite(plan, x, grad=True):
                return op.layer, "a gradient is not finite"
    return None, "the joint norm of the gradients is not finite"


def _finite(plan: Plan, tensor: Tensor, grad: bool) -> bool:
    return bool(np.isfinite(plan.array(tensor, plan.batch_rows, grad)).all())
