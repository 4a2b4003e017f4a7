"""Training by L-BFGS: scipy.optimize.minimize over the flat vector of parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.optimize

from nncore.evaluation import evaluate
from nncore.failures import NonFiniteError, explain
from nncore.plan import BACKWARD, FORWARD

if TYPE_CHECKING:
    from nncore.fitting import Fit


class _Stop(Exception):
    """A callback ended training."""


def minimize(fit: Fit) -> None:
    """Minimizes the loss over all examples; each epoch is one iteration."""
    model, examples = fit.model, fit.train
    optimizer: Any = model.optimizer
    p = model._parameters
    plan = model._loss_plan("loss", examples, min(fit.batch, examples.rows))
    best, epoch = p.values.copy(), fit.first_epoch
    answers = examples.answers(plan, 0, examples.rows, plan.capacity)
    shares = answers[:, 0] / answers[:, 0].sum()  # those of all outputs, or there is one batch

    def penalty(flat: np.ndarray) -> float:
        return 0.5 * optimizer.weight_decay * float(flat @ flat)

    def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        with np.errstate(over="ignore"):  # a trial beyond float32: then the loss is not finite
            p.assign(flat)
        loss, gradient = 0.0, np.zeros(p.values.size)
        for first, share in zip(range(0, examples.rows, plan.capacity), shares, strict=True):
            end = min(examples.rows, first + plan.capacity)
            examples.load(plan, first, end)
            # The same random numbers each time: the function must not change under the search.
            status = plan.execute(FORWARD | BACKWARD, 0, end - first, 0.0, model._passes)
            if status or not (np.isfinite(plan.loss) and np.isfinite(p.gradients).all()):
                raise explain(plan, status, epoch + 1)
            loss += plan.loss * share
            gradient += p.gradients * share
        if not np.isfinite(flat).all():
            raise NonFiniteError("a parameter is not finite", epoch + 1)
        return loss + penalty(flat), gradient + optimizer.weight_decay * flat

    def end_epoch(loss: float) -> None:
        logs = {"loss": loss}
        if any(model.metrics):
            scores = evaluate(model, examples, max(fit.batch, 256))
            logs.update({name: value for name, value in scores.items() if name != "loss"})
        fit.progress.show(examples.rows, logs)
        fit.end_epoch(epoch, logs)

    def on_iteration(intermediate_result: Any) -> None:
        # The parameter's name is what makes scipy pass the loss along.
        nonlocal epoch
        best[...] = intermediate_result.x
        p.assign(best)
        end_epoch(float(intermediate_result.fun) - penalty(intermediate_result.x))
        epoch += 1
        if model.stop_training:
            best[...] = p.values  # a callback may have restored others
            raise _Stop
        if epoch < fit.epochs:
            fit.begin_epoch(epoch)

    options = {
        "maxiter": fit.epochs - epoch,
        "maxcor": optimizer.history_size,
        "gtol": optimizer.tolerance,
        "ftol": 0,  # scipy's own ends the search where a step gains less than 2e-9
        "maxfun": 30 * (fit.epochs - epoch),
    }
    fit.begin_epoch(epoch)
    start = p.values.astype(np.float64)
    try:
        scipy.optimize.minimize(
            loss_and_gradient,
            start,
            method="L-BFGS-B",
            jac=True,
            callback=on_iteration,
            options=options,
        )
        if not fit.history.epoch:  # it was at a minimum already
            end_epoch(loss_and_gradient(start)[0] - penalty(start))
    except _Stop:
        pass
    finally:
        # The search may have stopped at a trial point: go back to the last accepted one.
        p.assign(best)
        model._passes += 1
        for gather in plan.gathers:
            gather.release()
