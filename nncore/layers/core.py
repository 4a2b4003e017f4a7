"""The fully connected layer and the layers around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nncore import initializers
from nncore._kernels.dense import Dense as DenseOp
from nncore._kernels.dropout import Dropout as DropoutOp
from nncore._kernels.embedding import Embedding as EmbeddingOp
from nncore._names import boolean, integer, lookup, positive_int, rate
from nncore.layers.base import Layer, layer

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.building import Building


def check_activation(owner: str, name: Any) -> str:
    """The activation's name; None stands for linear."""
    from nncore._kernels.activation import names

    if name is None:
        return "linear"
    return lookup("activation", name, {known: known for known in names()}, owner)


@layer
class Dense(Layer):
    """The fully connected layer: h = sigma(W x + b).

    x (..., in) gives h (..., units); axes before the last are treated alike. Parameters:
    ``weight`` (units, in) and ``bias`` (units,). ValueError for units < 1, an unknown activation
    or initializer; when built, for inputs without an axis of features.

    >>> import nncore as nn
    >>> model = nn.Sequential([nn.Input((4,)), nn.Dense(3, "relu")])
    >>> {name: view.shape for name, view in model.params.items()}
    {'0.weight': (3, 4), '0.bias': (3,)}
    """

    knows_steps: ClassVar[bool] = True

    units: int
    activation: str | None = None
    use_bias: bool = True
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", positive_int("Dense", "units", self.units))
        check_activation("Dense", self.activation)
        object.__setattr__(self, "use_bias", boolean("Dense", "use_bias", self.use_bias))
        initializers.get(self.kernel_initializer, "Dense: kernel_initializer")
        initializers.get(self.bias_initializer, "Dense: bias_initializer")

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        (x,) = plan.expect(self, inputs, count=1, least_axes=1)
        weight = plan.parameter(
            "weight", (self.units, x.shape[-1]), initializers.get(self.kernel_initializer)
        )
        bias = None
        if self.use_bias:
            bias = plan.parameter("bias", (self.units,), initializers.get(self.bias_initializer))
        h = plan.tensor((*x.shape[:-1], self.units))
        plan.add(DenseOp(x, weight, bias, h, plan.most_rows, plan.keeps))
        return plan.activation(check_activation("Dense", self.activation), h)


@layer
class Activation(Layer):
    """y = sigma(x) for a sigma given by name, PyTorch's: relu, leaky_relu (0.01 x below 0), elu,
    selu, gelu (the exact one), silu, softplus, sigmoid, hard_sigmoid (min(max(x + 3, 0), 6) / 6),
    tanh, softmax and log_softmax over the last axis, linear. Shapes stay. ValueError for others.
    The formulas are in ``nncore/_kernels/simd/activation.h``.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((3,)), nn.Activation("relu")])([[-1.0, 0.0, 2.0]]).tolist()
    [[0.0, 0.0, 2.0]]
    """

    knows_steps: ClassVar[bool] = True

    activation: str

    def __post_init__(self) -> None:
        if self.activation is None:
            raise TypeError("Activation: received None; expected a name, 'linear' for none")
        check_activation("Activation", self.activation)

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        (x,) = plan.expect(self, inputs, count=1)
        return plan.activation(check_activation("Activation", self.activation), x)


@layer
class Dropout(Layer):
    """In training, zeroes each number with probability ``rate`` and scales the rest by
    1 / (1 - rate); in inference, passes everything through (Srivastava et al. 2014).

    ValueError for a rate outside [0, 1).

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((2,)), nn.Dropout(0.5)])([[1.0, 2.0]]).tolist()
    [[1.0, 2.0]]
    """

    knows_steps: ClassVar[bool] = True

    rate: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", rate("Dropout", "rate", self.rate))

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        (x,) = plan.expect(self, inputs, count=1)
        return dropped(plan, x, self.rate)


def dropped(plan: Building, x: Tensor, rate: float) -> Tensor:
    """x after a dropout of this rate, which is x itself in inference."""
    if not plan.training or rate == 0:
        return x
    keep, y = plan.tensor(x.shape, itemsize=1), plan.tensor(x.shape)
    plan.add(DropoutOp(x, keep, y, rate, plan.next_stream()))
    return y


@layer
class Flatten(Layer):
    """Makes one axis of all: (a, b, c) becomes (a * b * c,), row-major. Nothing is copied.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((2, 3)), nn.Flatten()]).output_shape
    (6,)
    """

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        (x,) = plan.expect(self, inputs, count=1)
        return plan.view(x, (x.size,))


@layer
class Reshape(Layer):
    """Gives each example another shape of as many numbers; one axis may be -1. No copy.

    ValueError, when built, for a shape of another size.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((6,)), nn.Reshape((2, -1))]).output_shape
    (2, 3)
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        given = self.shape if isinstance(self.shape, (tuple, list)) else (self.shape,)
        shape = tuple(integer("Reshape", "each axis of shape", n) for n in given)
        object.__setattr__(self, "shape", shape)
        if shape.count(-1) > 1 or any(n < 1 for n in shape if n != -1):
            raise ValueError(
                f"Reshape: received shape {shape}; expected positive integers, at most one -1, "
                "without the batch axis"
            )

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        (x,) = plan.expect(self, inputs, count=1)
        known = 1
        for n in self.shape:
            known *= n if n != -1 else 1
        rest = x.size // known
        shape = tuple(rest if n == -1 else n for n in self.shape)
        if known * (rest if -1 in self.shape else 1) != x.size:
            raise ValueError(
                f"{plan.where(self)}: received an input of shape {x.shape}, {x.size} numbers; "
                f"they do not fit {self.shape}"
            )
        return plan.view(x, shape)


@layer
class Embedding(Layer):
    """Looks up rows of a table: y[..., :] = weight[x[...]] for integers 0 <= x < input_dim.

    x (...) gives y (..., output_dim). Parameter: ``weight`` (input_dim, output_dim). Numbers
    that are no rows of the table are refused with a ValueError when the network runs.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((7,)), nn.Embedding(100, 8)]).output_shape
    (7, 8)
    """

    knows_steps: ClassVar[bool] = True

    input_dim: int
    output_dim: int
    embeddings_initializer: Any = "random_uniform"

    def __post_init__(self) -> None:
        for field in ("input_dim", "output_dim"):
            object.__setattr__(self, field, positive_int("Embedding", field, getattr(self, field)))
        initializers.get(self.embeddings_initializer, "Embedding: embeddings_initializer")

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        (x,) = plan.expect(self, inputs, count=1)
        if self.input_dim > plan.largest_integer:
            raise ValueError(
                f"{plan.where(self)}: received input_dim {self.input_dim}; {plan.dtype} numbers "
                f"count only to {plan.largest_integer}: use dtype='float64'"
            )
        weight = plan.parameter(
            "weight",
            (self.input_dim, self.output_dim),
            initializers.get(self.embeddings_initializer),
        )
        y = plan.tensor((*x.shape, self.output_dim))
        plan.add(EmbeddingOp(x, weight, y))
        return y
