"""Compiling: what training needs besides data: the optimizer and its state, losses, metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import losses, optimizers
from nncore.arena import aligned_zeros

if TYPE_CHECKING:
    from nncore.graph import Graph, Shapes
    from nncore.history import History
    from nncore.metrics import Metric
    from nncore.parameters import Parameters
    from nncore.plan import Plan


class Compiling:
    """`compile`, and the state that training has. See `Model`."""

    # What Model brings along.
    graph: Graph | None
    optimizer: Any
    trainer: Any
    _parameters: Parameters
    _shapes: Shapes
    _plans: dict[Any, Plan]
    _shuffling: Any  # the state of a generator
    _passes: int
    _ready: Callable[[str], Graph]
    _exclusive: Any
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
        """ValueError for a rule that is unknown, and where the network has what the optimizer
        cannot train."""
        if not isinstance(optimizer, optimizers.LBFGS):
            optimizer.update()
            return
        buffers = self._parameters.buffer_views if self.graph is not None else ()
        if buffers:
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

    # ---- the state of training ---------------------------------------------------------------

    def _permutation(self, rows: int) -> np.ndarray:
        """A random order of the rows. Its generator is not kept: it has a lock, which a thread of
        the parent may hold when a child is forked."""
        bits = _generator(self._shuffling)
        order = np.random.Generator(bits).permutation(rows)
        self._shuffling = bits.state
        return order

    def _training_state(self) -> dict[str, Any]:
        """Everything that training depends on besides the parameters."""
        return {
            "step": self._update.step if self._update is not None else 0,
            "passes": self._passes,
            "moments": self._moments.copy(),
            "shuffling": self._shuffling,
        }

    def _restore_training(self, state: dict[str, Any]) -> None:
        self._shuffling = _generator(state["shuffling"]).state
        self._passes = state["passes"]
        if self.optimizer is not None and self.graph is not None:
            self._needs_compile("training")
        if self._update is not None:
            for own, moment in zip(self._moments, state["moments"], strict=False):
                own[...] = moment  # none before the first step, or if the rule needs none
            self._update.step = state["step"]


def _generator(state: Any) -> np.random.PCG64:
    """A generator that goes on from there."""
    bits = np.random.PCG64(0)
    bits.state = state
    return bits
