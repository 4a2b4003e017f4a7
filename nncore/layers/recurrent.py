"""Recurrent layers: the same weights at each step of a sequence."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nncore import initializers
from nncore._kernels.recurrent import Recurrent as RecurrentOp
from nncore._names import boolean, lookup, positive_int, rate, received, settle
from nncore.layers.base import Layer, Symbol, layer
from nncore.layers.core import dropped

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.building import Building


@dataclass(frozen=True)
class ForgetBias(initializers.Initializer):
    """Another initializer's values, but 1 for the forget gate, so that cells remember at first
    (Jozefowicz et al. 2015)."""

    others: Any

    def __call__(self, shape: Any, rng: np.random.Generator) -> np.ndarray:
        values = np.array(initializers.get(self.others)(shape, rng), np.float64)
        units = shape[0] // 4
        values[units : 2 * units] = 1
        return values


@layer
class Recurrence(Layer):
    """What RNN, LSTM and GRU share; they say what a cell is.

    x (steps, in) gives the last step's h (units,), or with ``return_sequences`` each step's,
    (steps, units); with ``return_state`` also the last states: see `__call__`. ``go_backwards``:
    the last step of x comes first, and y has the order in which the steps were taken.
    ``dropout``: of x, in training, each number by itself (as `Dropout`). ``recurrent_dropout``: of
    h on its way into the products with weight_hh, in training, the same units at all steps of a
    sequence (Gal and Ghahramani 2016).
    """

    gates: ClassVar[int]
    knows_steps: ClassVar[bool] = True

    units: int
    _: KW_ONLY
    return_sequences: bool = False
    return_state: bool = False
    go_backwards: bool = False
    use_bias: bool = True
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    kernel_initializer: Any = "glorot_uniform"
    recurrent_initializer: Any = "orthogonal"
    bias_initializer: Any = "zeros"

    def __post_init__(self) -> None:
        owner = type(self).__name__
        settle(self, units=positive_int(owner, "units", self.units))
        for name in ("return_sequences", "return_state", "go_backwards", "use_bias"):
            settle(self, **{name: boolean(owner, name, getattr(self, name))})
        for name in ("dropout", "recurrent_dropout"):
            settle(self, **{name: rate(owner, name, getattr(self, name))})
        for name in ("kernel_initializer", "recurrent_initializer", "bias_initializer"):
            initializers.get(getattr(self, name), f"{owner}: {name}")

    @property
    def cell(self) -> str:
        """The name of what the op computes at each step."""
        raise NotImplementedError

    def _weights(self, plan: Building, width: int) -> list[Tensor]:
        rows = self.gates * self.units
        weights = [
            plan.parameter("weight_ih", (rows, width), initializers.get(self.kernel_initializer)),
            plan.parameter(
                "weight_hh", (rows, self.units), initializers.get(self.recurrent_initializer)
            ),
        ]
        if self.use_bias:
            first, second = self._bias_initializers()
            weights.append(plan.parameter("bias_ih", (rows,), first))
            weights.append(plan.parameter("bias_hh", (rows,), second))
        return weights

    def _bias_initializers(self) -> tuple[Any, Any]:
        initializer = initializers.get(self.bias_initializer)
        return initializer, initializer

    @property
    def step_outputs(self) -> int:
        return int(self.return_sequences)

    @property
    def goes_through_steps(self) -> bool:
        return True

    @property
    def states(self) -> int:
        """How many states it carries from step to step."""
        return 2 if self.cell == "lstm" else 1

    @property
    def outputs(self) -> int:
        return 1 + self.states if self.return_state else 1

    def __call__(self, inputs: Any, initial_state: Any = None) -> Any:
        """A symbol, or with ``return_state`` a list of them: y, the last h and, of an LSTM, c.

        initial_state: the state before the first step (None: zeros), a symbol or a list of them,
        each (units,); ``layer([x, h, c])`` is the same.
        """
        return super().__call__(with_states(self, inputs, initial_state))

    def build(self, plan: Building, *inputs: Tensor) -> Any:
        x, states = self.take(plan, self, inputs, self.states)
        return one_or_tuple(self.unroll(plan, x, states))

    def take(self, plan: Building, owner: Layer, inputs: Any, count: int) -> Any:
        """x and the initial states among the inputs, checked; ``owner`` received them."""
        if len(inputs) not in (1, 1 + count):
            raise ValueError(
                f"{plan.where(owner)}: received {len(inputs)} inputs; expected x alone, or x and "
                f"{self._initial(count)}"
            )
        x, states = inputs[0], inputs[1:]
        if len(x.shape) != 2:
            hint = "; a recurrent layer gives all of its steps with return_sequences=True"
            raise ValueError(
                f"{plan.where(owner)}: received an input of shape {x.shape} (without the batch "
                f"axis); expected (steps, features){hint if len(x.shape) == 1 else ''}"
            )
        for state in states:
            if state.shape != (self.units,):
                raise ValueError(
                    f"{plan.where(owner)}: received an initial state of shape {state.shape}; "
                    f"expected ({self.units},), a state of a layer of {self.units} units"
                )
        return x, states

    def _initial(self, count: int) -> str:
        """The initial states that a call may come with, for messages."""
        one = "an initial h and c" if self.states == 2 else "an initial h (an LSTM's c is none)"
        return f"{one} for each direction" if count > self.states else one

    def unroll(self, plan: Building, x: Tensor, states: Any, aligned: bool = False) -> list[Tensor]:
        """Puts the op on the plan; returns y and, if asked for, the last states.

        aligned: y has its steps in the order of x, even if they are taken backwards."""
        lengths = plan.lengths_of(x)
        before = plan.states_before(self, states, self.states, self.units)
        carries = len(before) > len(states)
        weights = self._weights(plan, x.shape[1])
        x = dropped(plan, x, self.dropout)
        y = last = cell = None
        if self.return_sequences:
            y = plan.tensor((x.shape[0], self.units))
        if self.return_state or carries or not self.return_sequences:
            last = plan.tensor((self.units,))
        if (self.return_state or carries) and self.states == 2:
            cell = plan.tensor((self.units,))
        plan.add(
            RecurrentOp(
                plan,
                self.cell,
                x,
                weights,
                before,
                lengths,
                (y, last, cell),
                self.go_backwards,
                aligned,
                self.recurrent_dropout,
            )
        )
        if carries:
            plan.states_after(self, [t for t in (last, cell) if t is not None])
        found = [y if y is not None else last, last, cell]
        return [t for t in found[: self.outputs] if t is not None]


def with_states(layer: Layer, inputs: Any, initial_state: Any) -> Any:
    """The inputs of a call, states behind x."""
    if initial_state is None:
        return inputs
    if isinstance(inputs, (list, tuple)) and len(inputs) != 1:
        raise ValueError(
            f"{layer.describe()}: received initial_state and {len(inputs)} inputs; expected x "
            "alone with it"
        )
    states = initial_state if isinstance(initial_state, (list, tuple)) else [initial_state]
    for state in states:
        if not isinstance(state, Symbol):
            raise TypeError(
                f"{layer.describe()}: received {received(state)} as an initial state; expected "
                "another nn.Input of the network, or what another layer returned"
            )
    return [*(inputs if isinstance(inputs, (list, tuple)) else [inputs]), *states]


def one_or_tuple(values: list[Tensor]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


@layer
class RNN(Recurrence):
    """The simple recurrent layer (Elman 1990): h_t = sigma(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh).

    sigma is tanh or relu. Shapes and options: help(nn.layers.recurrent.Recurrence). Parameters:
    ``weight_ih`` (units, in), ``weight_hh`` (units, units), ``bias_ih`` and ``bias_hh`` (units,).
    ValueError for units < 1, a rate outside [0, 1), an unknown activation or initializer; when
    built, for inputs that are no sequences.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((7, 3)), nn.RNN(5, return_sequences=True)]).output_shape
    (7, 5)
    """

    gates: ClassVar[int] = 1
    activation: str = "tanh"

    def __post_init__(self) -> None:
        super().__post_init__()
        lookup("activation", self.activation, {"tanh": None, "relu": None}, "RNN")

    @property
    def cell(self) -> str:
        return f"rnn_{self.activation}"


@layer
class LSTM(Recurrence):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000):

    [i f g o] = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh, c_t = sigmoid(f) c_{t-1} + sigmoid(i)
    tanh(g), h_t = sigmoid(o) tanh(c_t).

    Shapes and options: help(nn.layers.recurrent.Recurrence). Parameters, the gates i, f, g, o in
    PyTorch's order: ``weight_ih`` (4 units, in), ``weight_hh`` (4 units, units), ``bias_ih`` and
    ``bias_hh`` (4 units,). ``unit_forget_bias``: the forget gate's bias in ``bias_ih`` begins as
    1. ValueError as for `RNN`.

    >>> import nncore as nn
    >>> model = nn.Sequential([nn.Input((7, 3)), nn.LSTM(5)])
    >>> {name: view.shape for name, view in model.params.items()}
    {'0.weight_ih': (20, 3), '0.weight_hh': (20, 5), '0.bias_ih': (20,), '0.bias_hh': (20,)}
    """

    gates: ClassVar[int] = 4
    _: KW_ONLY
    unit_forget_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, unit_forget_bias=boolean("LSTM", "unit_forget_bias", self.unit_forget_bias))

    @property
    def cell(self) -> str:
        return "lstm"

    def _bias_initializers(self) -> tuple[Any, Any]:
        first, second = super()._bias_initializers()
        return (ForgetBias(self.bias_initializer) if self.unit_forget_bias else first), second


@layer
class GRU(Recurrence):
    """The gated recurrent unit (Cho et al. 2014):

    r, z = sigmoid(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), n = tanh(W_in x_t + b_in + r (W_hn
    h_{t-1} + b_hn)), h_t = (1 - z) n + z h_{t-1}.

    ``reset_after=False``: n = tanh(W_in x_t + b_in + W_hn (r h_{t-1}) + b_hn), the reset before
    the product, as in the first paper, in ONNX (linear_before_reset=0) and in Keras under this
    name. Shapes and options: help(nn.layers.recurrent.Recurrence). Parameters, the gates r, z, n
    in PyTorch's order: ``weight_ih`` (3 units, in), ``weight_hh`` (3 units, units), ``bias_ih``
    and ``bias_hh`` (3 units,). ValueError as for `RNN`.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((7, 3)), nn.GRU(5)]).count_params()
    150
    """

    gates: ClassVar[int] = 3
    _: KW_ONLY
    reset_after: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, reset_after=boolean("GRU", "reset_after", self.reset_after))

    @property
    def cell(self) -> str:
        return "gru" if self.reset_after else "gru_before"
