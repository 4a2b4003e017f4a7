"""Training by L-BFGS: scipy.optimize.minimize over the flat vector of parameters."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from nncore import data
from nncore.failures import NonFiniteError, explain
from nncore.plan import BACKWARD, FORWARD


class _Stop(Exception):
    """A callback ended training."""


def minimize(
    model: Any,
    examples: Any,
    validation: Any,
    batch: int,
    epochs: int,
    callbacks: Any,
    progress: Any,
    history: Any,
) -> None:
    """Minimizes the loss over all examples; each epoch is one iteration."""
    import scipy.optimize

    if not isinstance(examples, data.Examples):
        raise ValueError("fit: LBFGS needs the whole data set as arrays, not batches")
    optimizer, p = model.optimizer, model._parameters
    plan = model._loss_plan("loss", examples, min(batch, examples.rows))
    state = {"epoch": 0, "started": time.perf_counter(), "best": p.values.copy()}

    def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        p.values[...] = flat
        loss, gradient = 0.0, np.zeros(p.values.size)
        for first in range(0, examples.rows, plan.capacity):
            end = min(examples.rows, first + plan.capacity)
            examples.load(plan, first, end)
            # The same random numbers each time: the function must not change under the search.
            status = plan.execute(FORWARD | BACKWARD, 0, end - first, 0.0, model._passes)
            if status:
                raise explain(plan, status)
            share = (end - first) / examples.rows
            loss += plan.loss * share
            gradient += p.gradients * share
        decay = optimizer.weight_decay
        loss += 0.5 * decay * float(flat @ flat)
        return loss, gradient + decay * flat

    def on_iteration(intermediate_result: Any) -> None:
        # The parameter's name is what makes scipy pass the loss along.
        if not np.isfinite(intermediate_result.fun):
            raise NonFiniteError("the loss is not finite", state["epoch"] + 1)
        state["best"][...] = intermediate_result.x
        p.values[...] = intermediate_result.x
        logs = {"loss": float(intermediate_result.fun)}
        if any(model._all_metrics()):
            scores = model._evaluate(examples, max(batch, 256))
            logs.update({k: v for k, v in scores.items() if k != "loss"})
        if validation is not None:
            scores = model._evaluate(validation, max(batch, 256))
            logs.update({f"val_{name}": value for name, value in scores.items()})
        epoch, now = state["epoch"], time.perf_counter()
        history.add(epoch, logs, now - state["started"])
        progress.show(examples.rows, logs)
        progress.end(logs)
        state["epoch"], state["started"] = epoch + 1, now
        for callback in callbacks:
            callback.on_epoch_end(model, epoch, logs)
        if model.stop_training:
            raise _Stop
        if epoch + 1 < epochs:
            begin(epoch + 1)

    def begin(epoch: int) -> None:
        for callback in callbacks:
            callback.on_epoch_begin(model, epoch)
        progress.begin(epoch)

    options = {
        "maxiter": epochs,
        "maxcor": optimizer.history_size,
        "gtol": optimizer.tolerance,
        "maxfun": 30 * epochs,
    }
    try:
        begin(0)
        scipy.optimize.minimize(
            loss_and_gradient,
            p.values.astype(np.float64),
            method="L-BFGS-B",
            jac=True,
            callback=on_iteration,
            options=options,
        )
    except _Stop:
        pass
    finally:
        # The search may have stopped at a trial point: go back to the last accepted one.
        if not model.stop_training:
            p.values[...] = state["best"]
        model._passes += 1
        for gather in plan.gathers:
            gather.release()
    if not history.epoch:  # already at a minimum
        loss, _ = loss_and_gradient(p.values.astype(np.float64))
        history.add(0, {"loss": loss}, time.perf_counter() - state["started"])
