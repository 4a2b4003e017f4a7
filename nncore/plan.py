"""Plan: a model compiled for one number of rows, one dtype and one purpose.

Building one is the only time Python sees a network: the layers put ops on the plan, the planner
finds which gradients are needed and who writes them first, when each tensor lives, where the team
must meet, and where everything lies in memory. From then on the compiled loop runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore._kernels import threads
from nncore._kernels.gather import Gather
from nncore._kernels.merging import Copy
from nncore._kernels.op import Tensor
from nncore._kernels.plan import PHASES, Loop
from nncore.arena import address, aligned_zeros, assign_offsets, round_up
from nncore.building import Building
from nncore.fusion import fuse
from nncore.layers.base import Part
from nncore.losses import closing
from nncore.parameters import Parameters
from nncore.planner import Planner, root

if TYPE_CHECKING:
    from nncore.graph import Graph
    from nncore.layers.base import Symbol
    from nncore.losses import Loss

FORWARD, BACKWARD, UPDATE = PHASES  # of a run

# What a plan is for. "declare" only finds shapes and parameters; "training" is the forward and
# the backward pass by hand; "loss" is a training step; "evaluation" is its forward half.
PURPOSES = ("declare", "inference", "training", "loss", "evaluation")


class Plan(Building, Loop):
    """Ops in order and the memory they work in; see the module.

    ``targets``: the shapes of one row of the targets, one per loss. ``weights``: the shape of
    one row's sample weight, None for none. ``lengths``: whether rows are sequences of unequal
    lengths, padded to those of the inputs. ``steps``: that they have so many, whatever the graph
    says, and that no layer may mix them.
    """

    def __init__(
        self,
        graph: Graph,
        parameters: Parameters,
        purpose: str,
        rows: int = 1,
        *,
        losses: Sequence[Loss] = (),
        targets: Sequence[tuple[int, ...]] = (),
        weights: tuple[int, ...] | None = None,
        lengths: bool = False,
        steps: int | None = None,
    ) -> None:
        assert purpose in PURPOSES
        self.parameters, self.purpose, self.most_rows = parameters, purpose, rows
        self.dtype = parameters.dtype
        self.training = purpose in ("training", "loss")
        self.inputs: list[Gather] = []
        self.targets: list[Gather] = []
        self.weight: Gather | None = None
        self.predictions = []
        self.guessed = {symbol.shape for symbol in graph.inputs if symbol.guessed}
        self._arena = np.zeros(0, np.uint8)
        self._begin_building()

        values: dict[Symbol, Any] = {symbol: self._input(symbol.shape) for symbol in graph.inputs}

        def value(symbol: Symbol) -> Tensor:
            if isinstance(symbol, Part):
                return values[symbol.source][symbol.index]
            return values[symbol]

        if lengths:
            self.lengths = self._extra_input(())
        if lengths or steps is not None:
            self._steps = steps or graph.inputs[graph.sequence()].shape[0]
            pairs = zip(values.values(), graph.sequences(), strict=True)
            self._in_steps = {
                x for x, is_sequence in pairs if is_sequence or (steps and x.shape[:1] == (steps,))
            }
        self.node_shapes = []  # (name, symbol, output shape) of each call of a layer
        for name, symbol in graph.nodes:
            result = self.call(symbol.layer, name, *map(value, symbol.inputs))
            values[symbol] = result
            first = result[0] if isinstance(result, tuple) else result
            self.node_shapes.append((name, symbol, first.shape))
        self.outputs = [value(symbol) for symbol in graph.outputs]
        if losses:
            self._add_losses(losses, targets, weights)
        elif purpose == "inference":
            self._own_outputs()
        if purpose != "declare":
            self._compile()

    # ---- building ----------------------------------------------------------------------------

    def _input(self, shape: tuple[int, ...]) -> Tensor:
        x = self.tensor(shape)
        x.wants_grad = self.purpose == "training"
        gather = Gather(x, True, self.purpose == "loss")
        self.inputs.append(gather)
        self.ops.append(gather)
        return x

    def _extra_input(self, shape: tuple[int, ...]) -> Gather:
        gather = Gather(self.tensor(shape), False, self.purpose == "loss")
        self.ops.append(gather)
        return gather

    def _add_losses(self, losses, targets, weights) -> None:
        self.targets = [self._extra_input(shape) for shape in targets]
        if weights is not None:
            self.weight = self._extra_input(weights)
        for i, (loss, target) in enumerate(zip(losses, self.targets, strict=True)):
            weight = self._loss_weight(self.outputs[i])
            with self.inside(f"loss of output {i}" if len(losses) > 1 else "loss"):
                x = self._logits(self.outputs[i], loss)
                prediction = loss.build(self, x, target.x, weight)
            self.predictions.append(prediction)
        self.outputs = self.predictions

    def _logits(self, x: Tensor, loss: Loss) -> Tensor:
        """What a closing activation was applied to, if the loss takes that one in."""
        if not loss.takes_in(*closing(x)):
            return x
        y = root(x)
        op = y.producer
        logits = op.inputs[0]
        views = [t for t in self._tensors if root(t) is y]
        read = any(t in other.inputs for t in views for other in self.ops)
        if not read and sum(root(output) is y for output in self.outputs) == 1:
            self.ops.remove(op)
        return logits if logits.shape == x.shape else self.view(logits, x.shape)

    def _own_outputs(self) -> None:
        """An output that is an input, or another output, gets memory of its own."""
        taken = [root(gather.x) for gather in self.inputs]
        for i, y in enumerate(self.outputs):
            if root(y) in taken:
                copy = self.tensor(y.shape)
                self.ops.append(Copy(y, copy))
                self.outputs[i] = copy
            taken.append(root(self.outputs[i]))

    def _compile(self) -> None:
        fuse(self.ops, self.outputs, self.training)
        planner = Planner(self)
        self._tensors += [tensor for op in self.ops for tensor in op.kept]
        storages = planner.place(self.most_rows)
        most = threads.largest()
        scratch = round_up(max([op.scratch_size for op in self.ops], default=0)) + 64
        arena_size = assign_offsets(storages)
        self._arena = aligned_zeros(arena_size + scratch * most)
        planner.bind(address(self._arena))
        sections = planner.sections()
        self.set_ops(self.ops, planner.backward, *sections, self.parameters.changes)
        self.set_memory(self.most_rows, most, address(self._arena) + arena_size, scratch)
        shown = [root(y) for y in self.outputs]
        for gather in self.gathers:
            gather.settle(planner.sharing(gather.x))
            # Arrays for Python must not outlive what they show, nor may the user's array change
            # or go between `forward` and `backward`.
            gather.copy = self.alone or self.purpose == "training" or gather.x in shown
        if self.purpose == "inference" and len(self.outputs) == 1 and not self.alone:
            y = self.outputs[0]
            self.set_output(planner.sharing(y), y.shape)

    # ---- looking into the memory -------------------------------------------------------------

    @property
    def gathers(self) -> list[Gather]:
        return [op for op in self.ops if isinstance(op, Gather)]

    @property
    def arena_bytes(self) -> int:
        return self._arena.nbytes

    def fill_arena(self, byte: int) -> None:
        """Overwrites all working memory: a run must not depend on what it finds there."""
        self._arena[:] = byte
        self.prepared = 0

    def array(self, tensor: Tensor, rows: int, grad: bool = False) -> np.ndarray:
        """A tensor's values or gradient, as an array that keeps the memory alive."""
        if tensor.parameter:
            return self.parameters.array(tensor.parameter, grad)
        start = tensor.addresses[grad] - address(self._arena)
        assert 0 <= start < self.arena_bytes, "a tensor outside of the plan's memory"
        count = rows * tensor.size * tensor.itemsize
        dtype = self.dtype if tensor.itemsize == self.dtype.itemsize else np.uint8
        return self._arena[start : start + count].view(dtype).reshape(rows, *tensor.shape)

    def fail(self, status: int) -> None:
        """Raises what a run that went wrong means."""
        from nncore.failures import explain

        raise explain(self, status)
