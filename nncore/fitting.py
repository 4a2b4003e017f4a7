"""Fit: one call of `model.fit`, from the first epoch to the last.

The loop over batches itself is compiled (`Loop.train`); Python comes up for air between stretches
of batches, for progress, callbacks and Ctrl-C. Below it: what `fit` was given, checked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import data
from nncore._names import rate, received
from nncore.batches import check_batches, is_batches, unpack_batch
from nncore.callbacks import Callback
from nncore.evaluation import MeanLoss, Measures, evaluate, try_metrics
from nncore.failures import explain
from nncore.history import History, Progress
from nncore.optimizers import LBFGS

if TYPE_CHECKING:
    from nncore.graph import Shapes
    from nncore.training import Training

AIR = 0.05  # seconds between two looks at Python's signals
RATES = 4096  # learning rates are computed for so many steps at once


class Fit:
    """What the epochs of one `fit` share. train, validation: Examples or an iterable of batches."""

    def __init__(
        self,
        model: Training,
        train: Any,
        validation: Any,
        *,
        batch: int,
        epochs: int,
        first_epoch: int,
        shuffle: bool,
        stateful: bool,
        callbacks: tuple[Callback, ...],
        progress: Progress,
        history: History,
    ) -> None:
        self.model, self.train, self.validation = model, train, validation
        self.batch, self.epochs, self.first_epoch = batch, epochs, first_epoch
        self.shuffle = shuffle
        self.stateful = stateful
        self.options = {"stateful": True} if stateful else {}
        self.callbacks, self.progress, self.history = callbacks, progress, history
        self.every_batch = [c for c in callbacks if _overrides(c, "on_batch_end")]
        self._before: Any = None

    def run(self) -> None:
        for epoch in range(self.first_epoch, self.epochs):
            self.begin_epoch(epoch)
            measures = Measures(self.model.metrics)
            if isinstance(self.train, data.Examples):
                rows = self.train.rows
                order = self.model._permutation(rows) if self.shuffle else None
                self._pass(self.train, self.batch, order, measures)
            else:
                self._pass_batches(epoch, measures)
            self.end_epoch(epoch, {"loss": self.loss.result(), **measures.results()})
            if self.model.stop_training:
                break

    def begin_epoch(self, epoch: int) -> None:
        self.number = self.rows = 0  # batches and rows in this epoch so far
        self.loss = MeanLoss()
        for callback in self.callbacks:
            callback.on_epoch_begin(self.model, epoch)
        self.progress.begin(epoch)
        self.started = time.perf_counter()

    def end_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """Validates, records and reports."""
        if self.validation is not None:
            try:
                scores = evaluate(self.model, self.validation, max(self.batch, 256))
            except (TypeError, ValueError) as error:
                error.add_note("This was validation_data.")
                raise
            logs.update({f"val_{name}": value for name, value in scores.items()})
        self.history.add(epoch, logs, time.perf_counter() - self.started)
        self.progress.end(logs)
        for callback in self.callbacks:
            callback.on_epoch_end(self.model, epoch, logs)

    def _pass(
        self, examples: data.Examples, batch: int, order: np.ndarray | None, measures: Measures
    ) -> None:
        """Once over the examples, or until a callback stops."""
        width = min(batch, examples.rows)
        plan = self.model._loss_plan("loss", examples, width, **self.options)
        if self.stateful:
            self._continue(plan, width)
        stretch = examples.stretch(width)
        try:
            for start in range(0, examples.rows, stretch):
                stop = min(examples.rows, start + stretch)
                examples.load(plan, start, stop, order)
                first = 0
                while first < stop - start:
                    end = min(stop - start, first + self._most_batches(width, measures) * width)
                    answers = examples.answers(plan, start + first, start + end, width, order)
                    reached, outputs = self._steps(plan, first, end, width, answers, measures)
                    if measures:
                        rows: Any = slice(start + first, start + reached)
                        chosen = rows if order is None else order[rows]
                        measures.update(examples, chosen, [y[: reached - first] for y in outputs])
                    self.rows += reached - first
                    first = reached
                    if self._report():
                        return
        finally:
            for gather in plan.gathers:
                gather.release()

    def _continue(self, plan: Any, width: int) -> None:
        """The states of the batch before are those of this plan's rows; of none, in an epoch's
        first batch."""
        if self.number == 0:
            plan.reset()
        elif width != self._before[1]:
            raise ValueError(
                "fit: received batches of different numbers of rows with stateful=True; expected "
                "as many in each, for a row goes on where the same row of the batch before ended"
            )
        elif plan != self._before[0]:
            raise ValueError(
                "fit: received lengths or sample_weight with some batches and not with others, and "
                "stateful=True; expected them with all batches, or with none"
            )
        self._before = plan, width

    def _most_batches(self, width: int, measures: Measures) -> int:
        """How many batches to run before Python looks again."""
        if self.every_batch:
            return 1
        if not measures:
            return RATES
        row = 8 * sum(int(np.prod(shape)) for shape in self.model._output_shapes)
        return max(1, min(RATES, data.CONVERTED_BYTES // (row * width)))

    def _steps(
        self,
        plan: Any,
        first: int,
        end: int,
        width: int,
        answers: np.ndarray,
        measures: Measures,
    ) -> tuple[int, list[np.ndarray]]:
        """Training steps on the plan's rows first..end, as many as fit into AIR seconds; returns
        where to go on, and the network's outputs for the metrics."""
        model = self.model
        rates = model.optimizer.rates(model._update.step, len(answers))
        outputs = [
            np.empty((end - first, *shape), model.dtype)
            for shape in (model._output_shapes if measures else ())
        ]
        sums = self.loss.sums_for(plan)
        reached, steps, status = plan.train(
            first, end, width, rates, answers.ravel(), model._passes, AIR, sums, outputs
        )
        model._passes += steps
        self.number += steps
        if status:
            raise explain(plan, status, model._update.step + 1)
        return reached, outputs

    def _report(self) -> bool:
        """Progress and callbacks after some batches; returns whether to stop at once."""
        logs = {"loss": self.loss.result()}
        self.progress.show(self.rows, logs)
        for callback in self.every_batch:
            callback.on_batch_end(self.model, self.number - 1, logs)
        return bool(self.every_batch) and self.model.stop_training

    def _pass_batches(self, epoch: int, measures: Measures) -> None:
        """Once over an iterable of batches."""
        model = self.model
        for batch in self.train:
            x, y, weight, lengths = unpack_batch(batch, "fit")
            examples = model._examples(x, y, weight, lengths=lengths)
            model._needs_shapes(x)
            model._needs_compile("fit")
            self._pass(examples, examples.rows, None, measures)
            if model.stop_training and self.every_batch:
                break
        if not self.rows:
            again = ": a generator gives its batches once; pass an object that can be iterated anew"
            hint = again if epoch > self.first_epoch else ""
            raise ValueError(f"fit: no batches in epoch {epoch + 1}{hint}")


def split(
    model: Training,
    x: Any,
    y: Any,
    sample_weight: Any,
    class_weight: dict[int, float] | None,
    validation_data: Any,
    validation_split: float,
    lengths: Any,
) -> tuple[Any, Any]:
    """Training and validation data: Examples, or an iterable of batches."""
    validation_split = rate("fit", "validation_split", validation_split)
    if is_batches(x, y):
        check_batches(x, "fit")
        given = sample_weight, class_weight, lengths
        if any(value is not None for value in given) or validation_split:
            raise ValueError(
                "fit: sample_weight, class_weight, lengths and validation_split are for arrays; "
                "let the iterable give (x, y, sample_weight) or (x, y, sample_weight, lengths), "
                "and pass validation_data"
            )
        if isinstance(model.optimizer, LBFGS):
            raise ValueError("fit: LBFGS needs the whole data set as arrays, not batches")
        return x, _validation(model, validation_data, None)
    shapes = model._shapes_for(x)
    train = model._examples(x, y, sample_weight, finite=model.dtype, shapes=shapes, lengths=lengths)
    three = isinstance(validation_data, tuple) and len(validation_data) == 3
    if lengths is not None and three and validation_data[2] is not None:
        raise ValueError(
            "fit: received lengths, and validation_data of (x, y, sample_weight); expected "
            "(x, y, sample_weight or None, lengths or None)"
        )
    validation = _validation(model, validation_data, shapes)
    if validation_split and validation is None:
        kept = int(train.rows * (1 - validation_split) + 1e-6)  # 10 rows (1 - 0.9) are one
        if kept < 1 or kept == train.rows:
            raise ValueError(
                f"fit: validation_split {validation_split} of {train.rows} rows leaves none"
            )
        validation = train.subset(slice(kept, None))
        train = train.subset(slice(0, kept))
    if class_weight is not None:  # of what is trained on: validation counts each row once
        model._weigh_classes(train, class_weight, shapes)
    for examples in (train, validation):
        if isinstance(examples, data.Examples):
            try_metrics(model, examples, shapes)
    return train, validation


def _validation(model: Training, given: Any, shapes: Shapes | None) -> Any:
    """The validation data that `fit` was given: None, Examples, or an iterable of batches."""
    if given is None:
        return None
    batches = is_batches(given, None) and not isinstance(given, tuple)
    if batches and isinstance(given, list):  # [x, y] has lists in it, too
        several = model.graph is not None and len(model.graph.inputs) > 1
        x_type = (list, tuple) if several else object
        batches = all(isinstance(b, tuple) and isinstance(b[0], x_type) for b in given)
    if isinstance(given, (tuple, list)) and not batches:
        if len(given) not in (2, 3, 4):
            raise ValueError(
                "fit: validation_data must be (x, y), (x, y, sample_weight) or (x, y, "
                "sample_weight, lengths)"
            )
        x, y, weight, lengths = unpack_batch(given, "fit")
        try:
            return model._examples(x, y, weight, finite=model.dtype, shapes=shapes, lengths=lengths)
        except (TypeError, ValueError) as error:
            raise type(error)(f"validation_data: {error}") from None
    if not batches:
        raise TypeError(
            f"fit: received validation_data {received(given)}; expected (x, y), "
            "(x, y, sample_weight), or an iterable of such batches"
        )
    if isinstance(given, Iterator):
        raise ValueError(
            "fit: received a generator as validation_data, which gives its batches once; pass "
            "an object that can be iterated anew, or (x, y)"
        )
    return given


def check_full_batch(train: Any, batch: int) -> None:
    """Refuses batches for LBFGS that count differently for one output than for another: there is
    one gradient for all of them."""
    if not isinstance(train, data.Examples) or train.lengths is None or batch >= train.rows:
        return
    if any(train.in_steps) and not all(train.in_steps):
        raise ValueError(
            f"fit: received batch_size {batch} for LBFGS, lengths, and outputs of which only some "
            "have steps, so that a batch would count differently for these; expected one batch "
            f"of all {train.rows} rows"
        )


def check_stateful(model: Any, train: Any, batch: int, shuffle: bool) -> None:
    """Refuses what would tear a sequence apart."""
    if isinstance(model.optimizer, LBFGS):
        raise ValueError("fit: LBFGS needs the whole data set at once, not stateful=True")
    if not isinstance(train, data.Examples):
        return
    if shuffle:
        raise ValueError(
            "fit: received stateful=True with shuffle=True, which would mix up the parts of the "
            "sequences; pass shuffle=False"
        )
    if train.rows % min(batch, train.rows):
        raise ValueError(
            f"fit: received {train.rows} rows and batch_size {batch} with stateful=True; expected "
            "full batches only: row i of each goes on where row i of the one before ended"
        )


def _overrides(callback: Callback, hook: str) -> bool:
    if hook in vars(callback):
        return True
    return getattr(type(callback), hook, None) is not getattr(Callback, hook, None)
