"""Model: a graph of layers that owns its parameters.

What it does with them: see compiling.py, training.py, by_hand.py, inference.py, streaming.py.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from nncore import initializers
from nncore._kernels.entry import Entry
from nncore._names import boolean, integer
from nncore.by_hand import ByHand
from nncore.graph import Graph, Shapes
from nncore.inference import Inference
from nncore.inputs import input_arrays
from nncore.layers.base import Input, Symbol
from nncore.parameters import Parameters
from nncore.plan import Plan
from nncore.planner import stretch
from nncore.streaming import StatefulPlan, Streaming
from nncore.training import Training

# What a copy makes anew: plans, and what they are made for.
_PLANS = ("_plans", "_padded_plans", "_steppers", "_parameters", "_update", "_forward_plan",
          "_forward_lengths", "_node_shapes", "_shapes", "_output_shapes")  # fmt: skip


class Model(Training, ByHand, Inference, Streaming, Entry):
    """A network from ``inputs`` to ``outputs``, made by calling layers.

    seed: of the initial weights, of shuffling and of dropout (None: another each time).
    dtype: "float32" or "float64". Parameters are in ``params``, a dict of name to writable view.
    They are the model's: another model of the same layers or symbols has its own; to share weights,
    give one model several outputs or call a layer twice, to copy them, write to ``params``.

    >>> import nncore as nn
    >>> x = nn.Input((8,))
    >>> h = nn.Dense(8, "relu")(x)
    >>> model = nn.Model(x, nn.Dense(1)(nn.Add()([x, h])), seed=0)
    >>> list(model.params)
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(
        self,
        inputs: Input | Sequence[Input],
        outputs: Symbol | Sequence[Symbol],
        *,
        seed: int | None = None,
        dtype: str = "float32",
    ) -> None:
        self._start(seed, dtype)
        first, last = (v if isinstance(v, (tuple, list)) else (v,) for v in (inputs, outputs))
        self._build(Graph(first, last, type(self).__name__))

    def _start(self, seed: int | None, dtype: Any) -> None:
        """What does not depend on the layers."""
        try:
            self.dtype = np.dtype(object if dtype is None else dtype)
        except TypeError:
            self.dtype = np.dtype(object)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(
                f"{type(self).__name__}: received dtype {dtype!r}; expected 'float32' or 'float64'"
            )
        self.dtype = np.dtype(self.dtype.name)  # NumPy's own object for it, not an unpickled one
        if seed is not None:
            seed = integer(type(self).__name__, "seed", seed, at_least=0)
        entropy = np.random.SeedSequence(seed)
        self.seed = entropy.entropy
        first, second, third = entropy.spawn(3)
        self._initial = first
        self._shuffling = np.random.PCG64(second).state
        self._key = int(third.generate_state(1, np.uint64)[0])
        self.graph: Graph | None = None
        self._plans: dict[Any, Plan] = {}
        self._steppers: dict[int, list[Any]] = {}  # for `step`, by the bit length of rows
        self._padded_plans: dict[int, list[Plan]] = {}  # inference with lengths, not in use
        self._forward_plan: Plan | None = None
        self._forward_lengths: np.ndarray | None = None  # what that forward pass received
        self._forward_step = 0  # how many the optimizer had done then
        self._parameters = Parameters(self.dtype)
        self._reset_training()

    def _build(self, graph: Graph, check: Any = None) -> None:
        """Finds all shapes, then makes and initializes the parameters; ``check`` may refuse what
        was declared before memory is taken."""
        parameters = Parameters(self.dtype)
        declared = Plan(graph, parameters, "declare")
        if check is not None:
            check({**parameters.specs, **parameters.buffer_specs})
        for name, (shape, initializer) in parameters.specs.items():
            parameters.specs[name] = shape, initializers.checked(name, initializer)
        parameters.allocate()
        parameters.initialize(np.random.Generator(np.random.PCG64(self._initial)))
        self._parameters = parameters
        self._shapes = Shapes.of(graph, declared.outputs)
        self._output_shapes = self._shapes.outputs
        self._node_shapes = declared.node_shapes
        self.stretch = stretch(declared)
        self.graph = graph

    def _ready(self, what: str) -> Graph:
        if self.graph is None:
            raise ValueError(
                f"{what} needs the network's shapes: begin it with nn.Input(shape), or call the "
                "model on data first"
            )
        return self.graph

    # ---- parameters --------------------------------------------------------------------------

    @property
    def params(self) -> dict[str, np.ndarray]:
        """All parameters by name, in layer order: writable views of the model's memory.

        While somebody holds this dict or a view, predictions prepare the weights for the kernels
        anew each time, as they may have changed; else once. So hold one while you write through
        an address taken from it.
        """
        self._ready("params")
        return self._parameters.views

    @property
    def grads(self) -> dict[str, np.ndarray]:
        """Their gradients, as the last backward pass left them: views too."""
        self._ready("grads")
        return self._parameters.gradient_views

    @property
    def buffers(self) -> dict[str, np.ndarray]:
        """What layers keep besides parameters, such as running statistics: views too."""
        self._ready("buffers")
        return self._parameters.buffer_views

    def count_params(self) -> int:
        """How many numbers the parameters are."""
        return sum(view.size for view in self.params.values())

    @property
    def input_shape(self) -> Any:
        """The shape of one example: a tuple, or a list of them for several inputs."""
        shapes = [symbol.shape for symbol in self._ready("input_shape").inputs]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def output_shape(self) -> Any:
        """The shape of one example's output: a tuple, or a list of them."""
        self._ready("output_shape")
        shapes = self._output_shapes
        return shapes[0] if len(shapes) == 1 else list(shapes)

    def summary(self) -> None:
        """Prints a table of layers, output shapes and numbers of parameters."""
        from nncore.summary import table

        print(table(self._ready("summary"), self._node_shapes, self._parameters, self))

    def __repr__(self) -> str:
        if self.graph is None:
            return f"{type(self).__name__}(shapes not known yet)"
        return f"{type(self).__name__}({self.input_shape} -> {self.output_shape})"

    # ---- shapes and plans --------------------------------------------------------------------

    def _input_arrays(self, x: Any) -> list[np.ndarray]:
        self._needs_shapes(x)
        return input_arrays(x, self._shapes, type(self).__name__)

    def _needs_shapes(self, x: Any) -> None:
        """Builds a network that waits for its first data, x."""
        self._ready(type(self).__name__)

    def _shapes_for(self, x: Any) -> Shapes:
        """The network's shapes, or those that it would have if it were built for x."""
        self._ready(type(self).__name__)
        return self._shapes

    def _plan(self, purpose: str, rows: int, **options: Any) -> Plan:
        """The plan for a purpose, for at least so many rows; built when there is none."""
        key = (purpose, *options.items())
        plan = self._plans.get(key)
        if plan is None or plan.capacity < rows:
            kind: Any = Plan
            if options.pop("stateful", False):
                kind = StatefulPlan
            plan = kind(self._ready(purpose), self._parameters, purpose, rows, **options)
            plan.key = self._key
            if plan.training and self._update is not None:
                plan.set_update(self._update)
            self._plans[key] = plan
        return plan

    # ---- keeping -----------------------------------------------------------------------------

    def save(self, path: Any, training_state: bool = True) -> None:
        """Writes the model to one .safetensors file, atomically.

        The file has the architecture, the parameters and what `compile` was told; with
        ``training_state`` also the optimizer's moments, its step and the random generators, so
        that training goes on from the file to the bit as it would have without it (to rounding,
        where it had batches of more rows before: plans for those stay, and add up otherwise).
        OSError where it cannot be written: what was there before stays. RuntimeError if another
        thread is training the model; let none begin meanwhile.
        """
        from nncore import files

        self._between_steps("save")
        files.save(self, path, boolean("save", "training_state", training_state))

    def save_weights(self, path: Any) -> None:
        """Writes the parameters (and buffers) by name to a .safetensors file, atomically."""
        from nncore.interop import safetensors

        self._between_steps("save_weights")
        safetensors.save(path, {**self.params, **self.buffers}, {})

    def load_weights(self, path: Any) -> None:
        """Reads what `save_weights` or `save` wrote; ValueError, and no change, where names or
        shapes do not fit. Predictions of other threads see some weights of before and some of
        after it: for those, load another model and give them that one."""
        from nncore import files

        self._between_steps("load_weights")
        files.load_weights(self, path)
        self._forward_plan = None

    def __getstate__(self) -> dict[str, Any]:
        self._between_steps("copying and pickling")
        state = {k: v for k, v in self.__dict__.items() if k not in _PLANS}
        return {
            "fields": {**state, "optimizer": self.optimizer},
            "weights": self._parameters.everything(),
            "training": self._training_state(),
        }

    def __reduce__(self):
        return _rebuild, (type(self), self.__getstate__())

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        return _rebuild(type(self), copy.deepcopy(self.__getstate__(), memo))


def load(path: Any, *, custom: dict[str, type] | None = None) -> Model:
    """Reads a model that `Model.save` wrote.

    custom: name -> class, for layers, losses and metrics of your own. ValueError, naming the
    file, where it is damaged, of another kind, or from a newer version of nncore.
    """
    from nncore import files

    return files.load(path, {} if custom is None else custom)


def _rebuild(cls: type[Model], state: dict[str, Any]) -> Model:
    """A model from what `__getstate__` returned."""
    model = cls.__new__(cls)
    fields = dict(state["fields"])
    model._start(0, fields.pop("dtype"))
    model._set_optimizer(fields.pop("optimizer"))
    model.__dict__.update(fields)
    if model.graph is not None:
        model._build(model.graph)
        for name, value in state["weights"].items():
            model._parameters.array(name)[...] = value
    model._restore_training(state["training"])
    return model
