"""Training: the part of Model that learns: compile, fit, evaluate, single steps."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import data, losses, optimizers
from nncore._names import boolean, integer, positive_int
from nncore.arena import aligned_zeros
from nncore.batches import is_batches
from nncore.evaluation import evaluate
from nncore.failures import explain
from nncore.history import History, Progress
from nncore.inputs import input_arrays
from nncore.lengths import lengths_of
from nncore.plan import BACKWARD, FORWARD, UPDATE, Plan

if TYPE_CHECKING:
    from nncore.callbacks import Callback
    from nncore.graph import Graph, Shapes
    from nncore.metrics import Metric
    from nncore.parameters import Parameters


class Training:
    """The part of Model that trains. See `Model`."""

    # What Model brings along.
    graph: Graph | None
    dtype: np.dtype
    optimizer: Any
    trainer: Any
    _parameters: Parameters
    _shapes: Shapes
    _output_shapes: list[tuple[int, ...]]
    _plans: dict[Any, Plan]
    _shuffling: np.random.Generator
    _process: int
    _passes: int
    _ready: Callable[[str], Graph]
    _needs_shapes: Callable[[Any], None]
    _shapes_for: Callable[[Any], Shapes]
    _plan: Callable[..., Plan]
    _begin_training: Callable[[], None]
    _end_training: Callable[[], None]
    _set_optimizer: Callable[[Any], None]
    _forward_plan: Plan | None

    def _reset_training(self) -> None:
        self._set_optimizer(None)  # an Optimizer, after `compile`
        self.loss: Any = None
        self.metrics: list[list[Metric]] = []
        self.history: History | None = None
        self.stop_training = False
        self._losses: list[losses.Loss] = []
        self._update: Any = None
        self._moments = np.zeros((0, 0))

    def compile(self, optimizer: Any, loss: Any, metrics: Sequence[Any] = ()) -> None:
        """Chooses the optimizer, the loss and what to report; forgets the optimizer's state.

        optimizer: a name or an object of `nn`, such as nn.Adam(1e-3). loss: a name or an object of
        `nn.losses`; a list of them for several outputs. metrics: names or objects of
        `nn.metrics`; for several outputs a list of such lists, or one list for all of them.
        ValueError for unknown names, and for a loss that does not go with the closing activation.
        """
        from nncore import metrics as known

        outputs = len(self.graph.outputs) if self.graph is not None else 1
        if outputs > 1 and not isinstance(loss, (list, tuple)):
            loss = [loss] * outputs
        chosen = [losses.get(one) for one in (loss if isinstance(loss, (list, tuple)) else [loss])]
        if self.graph is not None and len(chosen) != len(self.graph.outputs):
            raise ValueError(
                f"compile: received {len(chosen)} losses for {len(self.graph.outputs)} outputs"
            )
        if self.graph is not None:
            for one, closing in zip(chosen, self._shapes.closing, strict=True):
                one.takes_in(*closing)
        found = known.grouped(metrics, len(chosen))
        optimizer = optimizers.get(optimizer)
        self._check_optimizer(optimizer)
        with self._exclusive():
            self._set_optimizer(optimizer)
            self.loss, self._losses, self.metrics = loss, chosen, found
            self._update = self.trainer = self._forward_plan = None
            self._plans.clear()
            if self.graph is not None:
                self._bind_optimizer()

    def _require_compile(self, what: str) -> None:
        if self.optimizer is None:
            raise RuntimeError(f"{what}: call compile(optimizer, loss) first")

    def _needs_compile(self, what: str) -> None:
        self._require_compile(what)
        if self._update is None:
            self._ready(what)
            self._bind_optimizer()

    def _check_optimizer(self, optimizer: Any) -> None:
        """ValueError where the network has what the optimizer cannot train."""
        buffers = self._parameters.buffer_views if self.graph is not None else ()
        if buffers and isinstance(optimizer, optimizers.LBFGS):
            raise ValueError(
                f"LBFGS: received a network with {next(iter(buffers))}; running statistics follow "
                "training steps, which it does not take: use LayerNormalization, or another "
                "optimizer"
            )

    def _bind_optimizer(self) -> None:
        """Gives the optimizer its state vectors; LBFGS has its own."""
        p = self._parameters
        self._check_optimizer(self.optimizer)
        if isinstance(self.optimizer, optimizers.LBFGS):
            return
        update = self.optimizer.update()
        block = aligned_zeros(update.vectors * p.values.nbytes)
        self._moments = block.view(p.dtype).reshape(update.vectors, p.values.size)
        update.bind(p.values, p.gradients, self._moments)
        self._update = update
        self._plans.clear()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One thread trains a model at a time."""
        self._begin_training()
        try:
            yield
        finally:
            self._end_training()

    def _examples(
        self,
        x,
        y,
        sample_weight=None,
        finite=False,
        shapes=None,
        lengths=None,
    ) -> data.Examples:
        """Checked data; the model is not changed, not even built, by data that are refused."""
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
            lengths=lengths_of(owner, lengths, inputs[0]),
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
        """Trains for some epochs, passes over the data in batches.

        x: (rows, *input shape), real numbers of any type or layout, memory-mapped files too; or,
        with y None, an iterable of batches (x, y), (x, y, sample_weight) or (x, y, sample_weight,
        lengths) that gives them anew each epoch, which ends where they do. y: targets as the loss
        takes them. sample_weight: (rows,), or (rows, steps) for a loss over steps. lengths: for
        sequences x (rows, steps, ...) of unequal lengths, (rows,) integers, or a padding mask
        (rows, steps), True for the steps there are: the others change nothing, and a loss over
        steps is the mean of those there are. stateful: recurrent layers begin a batch with the
        states that the rows of the one before left, zeros at the start of an epoch; for long
        sequences cut into batches, without shuffle. validation_data: such a tuple or iterable;
        validation_split: the share of rows, the last ones, kept for validation. class_weight:
        label -> weight, in the loss and the metrics of training, not of validation.
        initial_epoch: where to go on counting, of ``epochs`` in all. verbose: True, False, or
        "auto": a progress bar in terminals and notebooks. Ctrl-C ends training after the step
        under way: the history so far is returned, its ``interrupted`` is True. Raises
        NonFiniteError, the parameters as before the step, where loss or gradient is not finite.
        """
        from nncore.callbacks import check_monitors, checked
        from nncore.fitting import Fit, check_stateful, split
        from nncore.metrics import named

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
                if isinstance(self.optimizer, optimizers.LBFGS):
                    from nncore.lbfgs import minimize

                    minimize(fit)
                else:
                    fit.run()
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
            return evaluate(self, x, batch)
        examples = self._examples(x, y, sample_weight, lengths=lengths)
        self._needs_shapes(x)
        return evaluate(self, examples, batch)

    # ---- the state of training ---------------------------------------------------------------

    def _permutation(self, rows: int) -> np.ndarray:
        """A random order of the rows. A child of fork draws from a generator of its own: a thread
        of the parent may have held the lock of this one."""
        if self._process != os.getpid():
            state = self._shuffling.bit_generator.state
            self._shuffling = np.random.Generator(np.random.PCG64())
            self._shuffling.bit_generator.state = state
            self._process = os.getpid()
        return self._shuffling.permutation(rows)

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
        if self._update is not None:
            for own, moment in zip(self._moments, state["moments"], strict=False):
                own[...] = moment  # none before the first step, or if the rule needs none
            self._update.step = state["step"]
