"""Evaluation: the loss and the metrics on data, without training."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import data
from nncore._names import received
from nncore.batches import unpack_batch
from nncore.failures import explain
from nncore.metrics import named
from nncore.plan import FORWARD, Plan

if TYPE_CHECKING:
    from nncore.graph import Shapes
    from nncore.metrics import Metric
    from nncore.training import Training


TRIED = 1 << 20  # predictions that metrics are tried with


class MeanLoss:
    """The loss over many batches: the sum over the outputs of each one's mean over its answers."""

    def __init__(self) -> None:
        self.sums = np.zeros(0)  # of each output's losses, then how many answers these are

    def sums_for(self, plan: Plan) -> np.ndarray:
        """The sums so far, for a plan to add to."""
        if not self.sums.size:
            self.sums = np.zeros(2 * len(plan.predictions))
        return self.sums

    def result(self) -> float:
        losses, answers = self.sums.reshape(2, -1)
        return float((losses / answers).sum())


class Measures:
    """The metrics of one pass over data: copies, so that passes do not disturb one another.

    ``groups``: the metrics of each output.
    """

    def __init__(self, groups: list[list[Metric]]) -> None:
        self.groups = [[copy.deepcopy(metric) for metric in group] for group in groups]
        for group in self.groups:
            for metric in group:
                metric.reset()

    def __bool__(self) -> bool:
        return any(self.groups)

    def update(self, examples: data.Examples, chosen: Any, outputs: list[np.ndarray]) -> None:
        """Adds the examples ``chosen`` (a slice or row numbers) and the outputs for them."""
        found = zip(self.groups, examples.targets, outputs, strict=True)
        for i, (group, target, output) in enumerate(found):
            weight = examples.step_weight(chosen, i, output) if group else None
            for metric in group:
                metric.update(_lent(target[chosen]), _lent(output), _lent(weight))

    def results(self) -> dict[str, float]:
        """name -> value."""
        return {name: _number(name, metric.result()) for name, metric in named(self.groups)}


def _number(name: str, value: Any) -> float:
    """A metric's result; NaN and infinity are some, too."""
    try:
        if not isinstance(value, (str, bytes, bytearray)):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise TypeError(f"metric {name!r}: result() returned {received(value)}; expected a number")


def _lent(array: Any) -> Any:
    """A view that a metric of the user's cannot write to."""
    if array is not None:
        array = array.view()
        array.flags.writeable = False
    return array


def try_metrics(model: Training, examples: data.Examples, shapes: Shapes) -> None:
    """The targets through each metric, with zeros as predictions: what does not fit is told before
    anything is trained. Of many numbers only the first rows are tried."""
    measures = Measures(model.metrics)
    if measures:
        numbers = sum(int(np.prod(shape)) for shape in shapes.outputs)
        rows = min(examples.rows, max(1, TRIED // max(1, numbers)))
        zeros = [np.zeros((rows, *shape), model.dtype) for shape in shapes.outputs]
        measures.update(examples, slice(0, rows), zeros)


def evaluate(model: Training, source: Any, batch: int) -> dict[str, float]:
    """The loss and the metrics on Examples, or on an iterable of batches; see `Model.evaluate`."""
    parts = (source,) if isinstance(source, data.Examples) else _checked(model, source)
    measures = Measures(model.metrics)
    loss, rows = MeanLoss(), 0
    plan, shapes = None, None
    for examples in parts:
        width = min(batch, examples.rows)
        if plan is None or plan.capacity < width or shapes != _row_shapes(examples):
            plan, shapes = _plan(model, examples, width), _row_shapes(examples)
        for first in range(0, examples.rows, width):
            end = min(examples.rows, first + width)
            examples.load(plan, first, end)
            status = plan.execute(FORWARD, 0, end - first)
            if status:
                raise explain(plan, status)
            plan.add_losses(examples.answers(plan, first, end, width)[0], loss.sums_for(plan))
            if measures:  # copies: a metric may keep them, the plan will not
                outputs = [plan.array(y, end - first).copy() for y in plan.predictions]
                measures.update(examples, slice(first, end), outputs)
        rows += examples.rows
        for gather in plan.gathers:
            gather.release()
    if not rows:
        raise ValueError("evaluate: received no rows")
    return {"loss": loss.result(), **measures.results()}


def _checked(model: Training, batches: Iterable[Any]) -> Iterator[data.Examples]:
    for batch in batches:
        x, y, weight, lengths = unpack_batch(batch, "evaluate")
        examples = model._examples(x, y, weight, lengths=lengths)
        model._needs_shapes(x)
        yield examples


def _row_shapes(examples: data.Examples) -> tuple[Any, ...]:
    return examples.target_shapes, examples.weight_shape, examples.lengths is not None


def _plan(model: Training, examples: data.Examples, rows: int) -> Plan:
    """A plan of its own: evaluation may run while another thread trains."""
    return Plan(
        model._ready("evaluate"),
        model._parameters,
        "evaluation",
        rows,
        losses=model._losses,
        targets=examples.target_shapes,
        weights=examples.weight_shape,
        lengths=examples.lengths is not None,
    )
