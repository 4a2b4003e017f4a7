"""Training: the part of Model that learns: fit, evaluate, single steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import data, optimizers
from nncore._names import boolean, integer, positive_int
from nncore.batches import check_batches, is_batches
from nncore.compiling import Compiling
from nncore.evaluation import evaluate
from nncore.failures import explain
from nncore.history import History, Progress
from nncore.inputs import input_arrays
from nncore.lengths import lengths_of
from nncore.plan import BACKWARD, FORWARD, UPDATE, Plan

if TYPE_CHECKING:
    from nncore.callbacks import Callback
    from nncore.graph import Shapes


class Training(Compiling):
    """The part of Model that trains. See `Model`."""

    # What Model brings along.
    dtype: np.dtype
    _output_shapes: list[tuple[int, ...]]
    _needs_shapes: Callable[[Any], None]
    _shapes_for: Callable[[Any], Shapes]
    _plan: Callable[..., Plan]

    def _examples(
        self,
        x,
        y,
        sample_weight=None,
        finite=None,
        shapes=None,
        lengths=None,
    ) -> data.Examples:
        """Checked data; the model is not changed, not even built, by data that are refused here.
        finite: None, or the dtype in which all numbers must be: see `data.examples`."""
        shapes = shapes or self._shapes_for(x)
        outputs = len(shapes.outputs)
        if len(self._losses) != outputs:  # a network that had no shapes when it was compiled
            raise ValueError(f"compile: received {len(self._losses)} losses for {outputs} outputs")
        for loss, closing in zip(self._losses, shapes.closing, strict=True):
            loss.takes_in(*closing)
        owner = type(self).__name__
        if y is None and isinstance(x, tuple):  # fit((x, y))
            raise ValueError(f"{owner}: received no y, and a tuple as x; expected (x, y) apart")
        inputs = input_arrays(x, shapes, owner)
        return data.examples(
            inputs,
            y,
            sample_weight,
            owner=owner,
            shapes=shapes,
            losses=self._losses,
            finite=finite,
            lengths=lengths_of(owner, lengths, inputs, shapes),
        )

    def _weigh_classes(self, examples: data.Examples, class_weight: Any, shapes: Shapes) -> None:
        owner, outputs = type(self).__name__, shapes.outputs
        if len(outputs) > 1:
            raise ValueError(
                f"{owner}: class_weight is for one output; this model has {len(outputs)}"
            )
        examples.weigh_classes(class_weight, owner, self._losses[0], outputs[0], shapes.in_steps[0])

    def _loss_plan(self, purpose: str, examples: data.Examples, rows: int, **options: Any) -> Plan:
        return self._plan(
            purpose,
            rows,
            losses=tuple(self._losses),
            targets=examples.target_shapes,
            weights=examples.weight_shape,
            lengths=examples.lengths is not None,
            **options,
        )

    # ---- one batch ---------------------------------------------------------------------------

    def _one_batch(self, examples: data.Examples, phases: int, rate: float) -> float:
        """Runs phases of a training step on all rows at once; returns the loss."""
        plan = self._loss_plan("loss", examples, examples.rows)
        try:
            examples.load(plan, 0, examples.rows)
            status = plan.execute(phases, 0, examples.rows, rate, self._passes)
            if plan.bad or (status and phases & UPDATE):
                raise explain(plan, status, self._update and self._update.step + 1)
            self._passes += 1
        finally:
            for gather in plan.gathers:
                gather.release()
        if examples.weight is None and examples.lengths is None and not plan.alone:
            self.trainer = plan
        return plan.loss

    def _train_on_batch(
        self, x: Any, y: Any, sample_weight: Any, class_weight: Any, lengths: Any
    ) -> float:
        """`Entry.train_on_batch` for what the fast way does not take."""
        self._require_compile("train_on_batch")
        if isinstance(self.optimizer, optimizers.LBFGS):
            raise ValueError("train_on_batch: LBFGS needs the whole data set: use fit")
        with self._exclusive():
            examples = self._examples(x, y, sample_weight, lengths=lengths)
            if class_weight is not None:
                self._weigh_classes(examples, class_weight, self._shapes_for(x))
            self._needs_shapes(x)
            self._needs_compile("train_on_batch")
            rate = float(self.optimizer.rates(self._update.step, 1)[0])
            return self._one_batch(examples, FORWARD | BACKWARD | UPDATE, rate)

    def _gradients(self, x: Any, y: Any, sample_weight: Any, lengths: Any) -> float:
        """`Entry.gradients` for what the fast way does not take."""
        self._require_compile("gradients")
        with self._exclusive():
            examples = self._examples(x, y, sample_weight, lengths=lengths)
            self._needs_shapes(x)
            return self._one_batch(examples, FORWARD | BACKWARD, 0.0)

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
        lengths: Any = None,
        stateful: bool = False,
        initial_epoch: int = 0,
    ) -> History:
        """Trains for some epochs, passes over the data in batches; returns what it reports.

        x: (rows, *input shape), a list of such for several inputs; real numbers of any type or
            layout, memory-mapped files too. Or, with y None, an iterable of batches (x, y),
            (x, y, sample_weight) or (x, y, sample_weight, lengths) that gives them anew each
            epoch, which ends where they do.
        y: targets as the loss takes them, a list of such for several outputs.
        batch_size: rows in a training step; the last one of an epoch may have fewer.
        epochs: how many, those before initial_epoch counted.
        validation_data: a tuple like a batch, or an iterable of such, to evaluate after each epoch.
        validation_split: or the share of rows, the last ones, kept for that.
        shuffle: whether rows come in another order in each epoch.
        sample_weight: (rows,), or (rows, steps) for a loss over steps.
        class_weight: label -> weight, in the loss and the metrics of training, not of validation.
        callbacks: objects of `nn.callbacks`, or your own.
        verbose: True, False, or "auto": a progress bar in terminals and notebooks.
        lengths: of sequences x (rows, steps, ...) how many steps there are, (rows,) integers or a
            padding mask (rows, steps); the others change nothing, and a loss over steps is the
            mean of those there are. Of several inputs they are those of the first that a recurrent
            layer goes through, and of sequences of as many steps; others count whole, as a
            decoder's.
        stateful: recurrent layers begin a batch with the states that the rows of the one before
            left, zeros at the start of an epoch; for long sequences cut into batches, without
            shuffle.
        initial_epoch: where to go on counting.

        Ctrl-C ends training after the step under way: the history so far is returned, its
        ``interrupted`` is True. ValueError or TypeError, and nothing done, for wrong arguments;
        NonFiniteError, the parameters as before the step, where loss or gradient is not finite.
        """
        from nncore.callbacks import check_monitors, checked
        from nncore.fitting import Fit, check_full_batch, check_stateful, split
        from nncore.metrics import named

        run: Callable[[Fit], None] = Fit.run
        if isinstance(self.optimizer, optimizers.LBFGS):
            from nncore.lbfgs import minimize  # and scipy: here Ctrl-C is a KeyboardInterrupt

            run = minimize

        epochs = positive_int("fit", "epochs", epochs)
        first = integer("fit", "initial_epoch", initial_epoch, at_least=0)
        if first >= epochs:
            raise ValueError(
                f"fit: initial_epoch {first} leaves none of {epochs} epochs; expected epochs to "
                "count those of before, too"
            )
        batch = positive_int("fit", "batch_size", batch_size)
        shuffle = boolean("fit", "shuffle", shuffle)
        stateful = boolean("fit", "stateful", stateful)
        callbacks = checked(callbacks)
        self._require_compile("fit")
        with self._exclusive():
            train, validation = split(
                self, x, y, sample_weight, class_weight, validation_data, validation_split, lengths
            )
            if callbacks:
                columns = ["loss", *(name for name, _ in named(self.metrics))]
                check_monitors(callbacks, columns, validation is not None)
            if stateful:
                check_stateful(self, train, batch, shuffle)
            if isinstance(self.optimizer, optimizers.LBFGS):
                check_full_batch(train, batch)
            self._forward_plan = None
            progress = Progress(verbose, epochs, train)
            if isinstance(train, data.Examples):
                self._needs_shapes(x)
            if self.graph is not None:  # else the first of the batches builds it
                self._needs_compile("fit")
            history = self.history = History()
            self.stop_training = False
            fit = Fit(
                self,
                train,
                validation,
                batch=batch,
                epochs=epochs,
                first_epoch=first,
                shuffle=shuffle,
                stateful=stateful,
                callbacks=callbacks,
                progress=progress,
                history=history,
            )
            try:
                for callback in callbacks:
                    callback.on_train_begin(self)
                run(fit)
            except KeyboardInterrupt:
                history.interrupted = True
            finally:
                progress.close()
            for callback in callbacks:
                callback.on_train_end(self)
        return history

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 256,
        sample_weight: Any = None,
        lengths: Any = None,
    ) -> dict[str, float]:
        """The loss and the metrics on some data, in inference mode: {"loss": ..., name: ...}.

        x, y, lengths: as in `fit`, or an iterable of batches with y None. RuntimeError before
        `compile`; ValueError for data of another shape.
        """
        self._require_compile("evaluate")
        batch = positive_int("evaluate", "batch_size", batch_size)
        if is_batches(x, y):
            check_batches(x, "evaluate")
            return evaluate(self, x, batch)
        examples = self._examples(x, y, sample_weight, lengths=lengths)
        self._needs_shapes(x)
        return evaluate(self, examples, batch)
