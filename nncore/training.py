"""Training: compile, fit, evaluate. The loop over batches itself is compiled (`Loop.train`);
Python comes up for air between stretches of them, for progress, callbacks and Ctrl-C."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import data, losses, optimizers
from nncore._names import positive_int, rate, received
from nncore.arena import address, aligned_zeros
from nncore.failures import NonFiniteError, explain
from nncore.history import History, Progress
from nncore.plan import BACKWARD, FORWARD, UPDATE, Plan

if TYPE_CHECKING:
    from nncore import metrics
    from nncore.callbacks import Callback
    from nncore.parameters import Parameters

AIR = 0.05  # seconds between two looks at Python's signals
RATES = 4096  # learning rates are computed for so many steps at once


class Training:
    """The part of Model that trains. See `Model`."""

    _parameters: Parameters

    def _reset_training(self) -> None:
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: Any = None
        self.metrics: list[list[metrics.Metric]] = []
        self.history: History | None = None
        self.stop_training = False
        self._losses: list[losses.Loss] = []
        self._update: Any = None
        self._moments = np.zeros((0, 0))

    def compile(self, optimizer: Any, loss: Any, metrics: Sequence[Any] = ()) -> None:
        """Chooses the optimizer, the loss and what to report; forgets the optimizer's state.

        optimizer: a name or an object of `nn`, such as nn.Adam(1e-3). loss: a name or an object of
        `nn.losses`; a list of them for several outputs. metrics: names or objects of
        `nn.metrics`; for several outputs a list of such lists. ValueError for unknown names.
        """
        from nncore import metrics as known

        several = self.graph is not None and len(self.graph.outputs) > 1
        if several and not isinstance(loss, (list, tuple)):
            loss = [loss] * len(self.graph.outputs)
        chosen = [losses.get(one) for one in (loss if isinstance(loss, (list, tuple)) else [loss])]
        if self.graph is not None and len(chosen) != len(self.graph.outputs):
            raise ValueError(
                f"compile: received {len(chosen)} losses for {len(self.graph.outputs)} outputs"
            )
        if metrics is None or isinstance(metrics, (str, known.Metric)):
            metrics = () if metrics is None else (metrics,)
        nested = bool(metrics) and all(isinstance(m, (list, tuple)) for m in metrics)
        groups = list(metrics) if nested else [metrics] + [()] * (len(chosen) - 1)
        found = [[known.get(metric) for metric in group] for group in groups]
        if len(found) != len(chosen):
            raise ValueError(f"compile: received metrics for {len(found)} of {len(chosen)} outputs")
        self.optimizer = optimizers.get(optimizer)
        self.loss, self._losses, self.metrics = loss, chosen, found
        self._update, self.trainer = None, None
        self._plans.clear()
        if self.graph is not None:
            self._bind_optimizer()

    def _needs_compile(self, what: str) -> None:
        if self.optimizer is None:
            raise RuntimeError(f"{what}: call compile(optimizer, loss) first")
        if self._update is None:
            self._ready(what)
            self._bind_optimizer()

    def _bind_optimizer(self) -> None:
        """Gives the optimizer its state vectors; LBFGS has its own."""
        p = self._parameters
        if isinstance(self.optimizer, optimizers.LBFGS):
            return
        update = self.optimizer.update()
        row = p.values.nbytes
        block = aligned_zeros(update.vectors * row)
        self._moments = block.view(p.dtype).reshape(update.vectors, p.values.size)
        states = [address(block) + i * row for i in range(update.vectors)]
        update.bind(
            address(p.values), address(p.gradients), states, p.values.size, p.dtype.itemsize == 8
        )
        self._update = update
        self._plans.clear()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One thread trains a model at a time."""
        self.begin_training()
        try:
            yield
        finally:
            self.training = False

    def _examples(self, x, y, sample_weight, class_weight, finite=False) -> data.Examples:
        graph = self._graph_for(x if not isinstance(x, data.Examples) else None)
        outputs = len(self._output_shapes)
        if len(self._losses) != outputs:  # a network that had no shapes when it was compiled
            raise ValueError(f"compile: received {len(self._losses)} losses for {outputs} outputs")
        return data.examples(
            x,
            y,
            sample_weight,
            class_weight,
            owner=type(self).__name__,
            input_shapes=[symbol.shape for symbol in graph.inputs],
            output_shapes=self._output_shapes,
            losses=self._losses,
            finite=finite,
        )

    def _loss_plan(self, purpose: str, examples: data.Examples, rows: int) -> Plan:
        return self._plan(
            purpose,
            rows,
            losses=tuple(self._losses),
            targets=examples.target_shapes,
            weights=examples.weight_shape,
        )

    # ---- one batch ---------------------------------------------------------------------------

    def _one_batch(self, examples: data.Examples, phases: int, rate: float) -> float:
        """Runs phases of a training step on all rows at once; returns the loss."""
        plan = self._loss_plan("loss", examples, examples.rows)
        try:
            examples.load(plan, 0, examples.rows)
            status = plan.execute(phases, 0, examples.rows, rate, self._passes)
            self._passes += 1
            if plan.bad or (status and phases & UPDATE):
                raise explain(plan, status, self._update.step + 1)
        finally:
            for gather in plan.gathers:
                gather.release()
        if examples.weight is None and not plan.alone:
            self.trainer = plan
        return plan.loss

    def _train_on_batch(self, x: Any, y: Any, sample_weight: Any, class_weight: Any) -> float:
        """`Entry.train_on_batch` for what the fast way does not take."""
        self._needs_shapes(x)
        self._needs_compile("train_on_batch")
        if self._update is None:
            raise ValueError("train_on_batch: LBFGS needs the whole data set: use fit")
        with self._exclusive():
            examples = self._examples(x, y, sample_weight, class_weight)
            rate = float(self.optimizer.rates(self._update.step, 1)[0])
            return self._one_batch(examples, FORWARD | BACKWARD | UPDATE, rate)

    def _gradients(self, x: Any, y: Any, sample_weight: Any) -> float:
        """`Entry.gradients` for what the fast way does not take."""
        self._needs_shapes(x)
        self._needs_compile("gradients") if self.optimizer is None else None
        with self._exclusive():
            examples = self._examples(x, y, sample_weight, None)
            return self._one_batch(examples, FORWARD | BACKWARD, 0.0)

    def _needs_shapes(self, x: Any) -> None:
        """Builds a Sequential without Input from the first data."""
        self._graph_for(x)

    # ---- fit ---------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        epochs: int = 1,
        validation_data: Any = None,
        validation_split: float = 0.0,
        shuffle: bool = True,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        callbacks: Sequence[Callback] = (),
        verbose: Any = "auto",
    ) -> History:
        """Trains for some epochs, passes over the data in batches.

        x: (rows, *input shape), real numbers of any type or layout, memory-mapped files too; or,
        with y None, an iterable of batches (x, y) or (x, y, sample_weight) that gives them anew
        each epoch. y: targets as the loss takes them. validation_data: (x, y), or
        validation_split: the share of rows, the last ones, kept for validation. class_weight:
        label -> weight. verbose: True, False, or "auto": a progress bar in terminals and
        notebooks. Ctrl-C ends training after the step under way: the history so far is returned,
        its ``interrupted`` is True. Raises NonFiniteError, the parameters as before the step,
        where loss or gradient is not finite.
        """
        epochs = positive_int("fit", "epochs", epochs)
        batch = positive_int("fit", "batch_size", batch_size)
        callbacks = _checked_callbacks(callbacks)
        self._require_compile("fit")
        with self._exclusive():
            history = self.history = History()
            train, validation = self._split(
                x, y, sample_weight, class_weight, validation_data, validation_split
            )
            self._needs_compile("fit")
            if isinstance(train, data.Examples):
                self._try_metrics(train)
            self.stop_training = False
            progress = Progress(verbose, epochs, train, batch)
            try:
                for callback in callbacks:
                    callback.on_train_begin(self)
                if isinstance(self.optimizer, optimizers.LBFGS):
                    from nncore.lbfgs import minimize

                    minimize(self, train, validation, batch, epochs, callbacks, progress, history)
                else:
                    self._epochs(
                        train, validation, batch, epochs, shuffle, callbacks, progress, history
                    )
            except KeyboardInterrupt:
                history.interrupted = True
            finally:
                progress.close()
            for callback in callbacks:
                callback.on_train_end(self)
        return history

    def _require_compile(self, what: str) -> None:
        if self.optimizer is None:
            raise RuntimeError(f"{what}: call compile(optimizer, loss) first")

    def _split(self, x, y, sample_weight, class_weight, validation_data, validation_split):
        """Training and validation data: Examples, or an iterable of batches."""
        validation = None
        if validation_data is not None:
            if isinstance(validation_data, (tuple, list)):
                if len(validation_data) not in (2, 3):
                    raise ValueError("fit: validation_data must be (x, y) or (x, y, sample_weight)")
                self._needs_shapes(validation_data[0])
                validation = self._examples(
                    *validation_data[:2], (*validation_data, None)[2], None, finite=True
                )
            else:
                validation = validation_data
        validation_split = rate("fit", "validation_split", validation_split)
        if data.is_batches(x, y):
            if sample_weight is not None or class_weight is not None or validation_split:
                raise ValueError(
                    "fit: sample_weight, class_weight and validation_split are for arrays; let "
                    "the iterable give (x, y, sample_weight), and pass validation_data"
                )
            return x, validation
        self._needs_shapes(x)
        train = self._examples(x, y, sample_weight, class_weight, finite=True)
        if validation_split and validation is None:
            kept = int(train.rows * (1 - validation_split))
            if kept < 1 or kept == train.rows:
                raise ValueError(
                    f"fit: validation_split {validation_split} of {train.rows} rows leaves none"
                )
            validation = train.subset(slice(kept, None))
            train = train.subset(slice(0, kept))
        return train, validation

    def _epochs(self, train, validation, batch, epochs, shuffle, callbacks, progress, history):
        every_batch = [c for c in callbacks if _overrides(c, "on_batch_end")]
        for epoch in range(epochs):
            for callback in callbacks:
                callback.on_epoch_begin(self, epoch)
            for metric in self._all_metrics():
                metric.reset()
            progress.begin(epoch)
            started = time.perf_counter()
            if isinstance(train, data.Examples):
                order = self._shuffling.permutation(train.rows) if shuffle else None
                total, rows = self._pass(train, batch, order, progress, every_batch)
            else:
                total, rows = self._pass_batches(train, progress, every_batch, epoch)
            logs = {"loss": total / rows, **self._results()}
            if validation is not None:
                scores = self._evaluate(validation, max(batch, 256))
                logs.update({f"val_{name}": value for name, value in scores.items()})
            history.add(epoch, logs, time.perf_counter() - started)
            progress.end(logs)
            for callback in callbacks:
                callback.on_epoch_end(self, epoch, logs)
            if self.stop_training:
                break

    def _pass(self, examples, batch, order, progress, every_batch, number=0):
        """Once over the examples; returns the sum over rows of the loss, and the rows."""
        plan = self._loss_plan("loss", examples, min(batch, examples.rows))
        width = min(batch, examples.rows)
        wanted = any(self._all_metrics())
        stretch = examples.stretch(width)
        total, done = 0.0, 0
        try:
            for start in range(0, examples.rows, stretch):
                stop = min(examples.rows, start + stretch)
                examples.load(plan, start, stop, order)
                first = 0
                while first < stop - start:
                    most = 1 if every_batch else RATES
                    if wanted:
                        most = min(most, max(1, data.STRETCH_BYTES // (4 * width * 64)))
                    end = min(stop - start, first + most * width)
                    steps = -(-(end - first) // width)
                    rates = self.optimizer.rates(self._update.step, steps)
                    outputs = self._room_for_outputs(end - first) if wanted else None
                    reached, loss, steps, status = plan.train(
                        first, end, width, rates, self._passes, AIR, outputs
                    )
                    self._passes += steps
                    total += loss
                    if wanted:
                        rows = slice(start + first, start + reached)
                        self._measure(examples, order, rows, outputs)
                    if status:
                        raise explain(plan, status, self._update.step + 1)
                    number += steps
                    done += reached - first
                    first = reached
                    logs = {"loss": total / done}
                    progress.show(done, logs)
                    for callback in every_batch:
                        callback.on_batch_end(self, number - 1, logs)
                    if self.stop_training and every_batch:
                        return total, done
        finally:
            for gather in plan.gathers:
                gather.release()
        return total, done

    def _pass_batches(self, batches: Iterable[Any], progress, every_batch, epoch: int):
        total, rows, number = 0.0, 0, 0
        for batch in batches:
            x, y, weight = data.unpack_batch(batch, "fit")
            self._needs_shapes(x)
            self._needs_compile("fit")
            examples = self._examples(x, y, weight, None)
            quiet = progress.quiet()
            loss, count = self._pass(examples, examples.rows, None, quiet, every_batch, number)
            number += 1
            total, rows = total + loss, rows + count
            progress.show(rows, {"loss": total / rows})
            if self.stop_training and every_batch:
                break
        if not rows:
            again = ": a generator gives its batches once; pass an object that can be iterated anew"
            raise ValueError(f"fit: no batches in epoch {epoch + 1}{again if epoch else ''}")
        return total, rows

    # ---- evaluate ----------------------------------------------------------------------------

    def evaluate(
        self, x: Any, y: Any = None, batch_size: int = 256, sample_weight: Any = None
    ) -> dict[str, float]:
        """The loss and the metrics on some data, in inference mode: {"loss": ..., name: ...}.

        x, y: as in `fit`, or an iterable of batches with y None.
        """
        self._require_compile("evaluate")
        batch = positive_int("evaluate", "batch_size", batch_size)
        if not data.is_batches(x, y):
            self._needs_shapes(x)
            x = self._examples(x, y, sample_weight, None)
        for metric in self._all_metrics():
            metric.reset()
        return self._evaluate(x, batch)

    def _evaluate(self, source: Any, batch: int) -> dict[str, float]:
        for metric in self._all_metrics():
            metric.reset()
        if isinstance(source, data.Examples):
            parts: Iterable[data.Examples] = (source,)
        else:
            triples = (data.unpack_batch(b, "evaluate") for b in source)
            parts = (self._examples(x, y, weight, None) for x, y, weight in triples)
        total, rows = 0.0, 0
        for examples in parts:
            width = min(batch, examples.rows)
            plan = Plan(
                self._ready("evaluate"),
                self._parameters,
                "evaluation",
                width,
                losses=self._losses,
                targets=examples.target_shapes,
                weights=examples.weight_shape,
            )
            for first in range(0, examples.rows, width):
                end = min(examples.rows, first + width)
                examples.load(plan, first, end)
                status = plan.execute(FORWARD, 0, end - first)
                if status:
                    raise explain(plan, status)
                total += plan.loss * (end - first)
                outputs = [plan.array(y, end - first) for y in plan.predictions]
                self._measure(examples, None, slice(first, end), outputs)
            rows += examples.rows
        if not rows:
            raise ValueError("evaluate: received no rows")
        return {"loss": total / rows, **self._results()}

    # ---- metrics -----------------------------------------------------------------------------

    def _all_metrics(self) -> list[metrics.Metric]:
        return [metric for group in self.metrics for metric in group]

    def _room_for_outputs(self, rows: int) -> list[np.ndarray]:
        return [np.empty((rows, *shape), self._parameters.dtype) for shape in self._output_shapes]

    def _measure(self, examples, order, rows: slice, outputs: list[np.ndarray]) -> None:
        chosen: Any = rows if order is None else order[rows]
        weight = None if examples.weight is None else examples.weight[chosen]
        count = rows.stop - rows.start
        for group, target, output in zip(self.metrics, examples.targets, outputs, strict=True):
            for metric in group:
                metric.update(target[chosen], output[:count], weight)

    def _try_metrics(self, examples: data.Examples) -> None:
        """One row through each metric: what does not fit is told before anything is trained."""
        if any(self._all_metrics()):
            zeros = [np.zeros((1, *shape), self.dtype) for shape in self._output_shapes]
            self._measure(examples, None, slice(0, 1), zeros)

    def _results(self) -> dict[str, float]:
        results = {}
        for i, group in enumerate(self.metrics):
            prefix = f"output_{i}_" if len(self.metrics) > 1 else ""
            results.update({prefix + metric.name: metric.result() for metric in group})
        return results

    # ---- the state of training ---------------------------------------------------------------

    def _training_state(self) -> dict[str, Any]:
        """Everything that training depends on besides the parameters."""
        return {
            "step": self._update.step if self._update is not None else 0,
            "passes": self._passes,
            "moments": self._moments.copy(),
            "shuffling": self._shuffling.bit_generator.state,
        }

    def _restore_training(self, state: dict[str, Any]) -> None:
        self._shuffling.bit_generator.state = state["shuffling"]
        self._passes = state["passes"]
        if self.optimizer is not None and self.graph is not None:
            self._needs_compile("training")
        if self._update is not None and len(state["moments"]):
            self._moments[...] = state["moments"]
            self._update.step = state["step"]


def _checked_callbacks(callbacks: Any) -> tuple[Callback, ...]:
    from nncore.callbacks import Callback

    found = (callbacks,) if isinstance(callbacks, (Callback, type)) else tuple(callbacks or ())
    for callback in found:
        if not isinstance(callback, Callback):
            raise TypeError(
                f"fit: received {received(callback)} in callbacks; expected objects of nn.callbacks"
            )
    return found


def _overrides(callback: Any, hook: str) -> bool:
    from nncore.callbacks import Callback

    if hook in vars(callback):
        return True
    return getattr(type(callback), hook, None) is not getattr(Callback, hook, None)


__all__ = ["NonFiniteError", "Training"]
