"""The one list: every layer, activation, loss and optimizer, the shapes they are tested on, and
how PyTorch does the same.

The tests go through it. A new layer joins by one entry in LAYERS, an activation by one in
ACTIVATIONS, and so on; test_completeness.py says what is missing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

import nncore as nn
from cases_convolution import CONVOLUTIONS

try:
    import torch
    import torch.nn.functional as F
except ImportError:  # then no `torch` column is called
    torch = F = None

# ---- activations: name -> what PyTorch calls it, and where its slope jumps -----------------------

ACTIVATIONS = {
    "linear": (lambda x: x, ()),
    "relu": (lambda x: F.relu(x), (0,)),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.01), (0,)),
    "elu": (lambda x: F.elu(x), (0,)),  # its second derivative jumps
    "selu": (lambda x: F.selu(x), (0,)),
    "sigmoid": (lambda x: torch.sigmoid(x), ()),
    # F.hardsigmoid takes a float's 1/6 for its slope in double, too: off by 3e-8.
    "hard_sigmoid": (lambda x: F.relu6(x + 3) / 6, (-3, 3)),
    "tanh": (lambda x: torch.tanh(x), ()),
    "softplus": (lambda x: F.softplus(x), ()),
    "silu": (lambda x: F.silu(x), ()),
    "gelu": (lambda x: F.gelu(x), ()),
    "softmax": (lambda x: F.softmax(x, -1), ()),
    "log_softmax": (lambda x: F.log_softmax(x, -1), ()),
}


# ---- layers --------------------------------------------------------------------------------------


class Gate(nn.Layer):
    """A layer as a user writes one, with two inputs and two parameters: y = a sigmoid(s b) + t."""

    def parameters(self, a, b):
        return {"s": (b, "ones"), "t": (a, "zeros")}

    def forward(self, a, b, s, t):
        return a / (1 + np.exp(-s * b)) + t

    def backward(self, dy, y, a, b, s, t):
        g = 1 / (1 + np.exp(-s * b))
        slope = dy * a * g * (1 - g)
        return dy * g, slope * s, (slope * b).sum(0), dy.sum(0)


@dataclasses.dataclass(frozen=True, eq=False)
class Power(nn.Layer):
    """A layer as a user writes one, with a hyper-parameter and no parameters: y = x^exponent."""

    exponent: int

    def forward(self, x):
        return x**self.exponent

    def backward(self, dy, y, x):
        return dy * self.exponent * x ** (self.exponent - 1)


@dataclasses.dataclass(frozen=True)
class LayerCase:
    """A layer and the input shapes to test it on, each without the batch axis: a tuple, or a
    list of tuples for several inputs.

    ``torch(parameters, *inputs) -> output`` with parameters by name; None: PyTorch has no such.
    ``integers``: the inputs are whole numbers below this. ``kinks``: inputs keep off these.
    """

    layer: nn.Layer
    shapes: tuple[Any, ...]
    torch: Callable[..., Any] | None = None
    integers: int | None = None
    kinks: tuple[float, ...] = ()

    def draw(self, rng: np.random.Generator, rows: int, shape: Any) -> list[np.ndarray]:
        """Random inputs, one array for each."""
        if self.integers:
            return [rng.integers(0, self.integers, (rows, *s)) for s in several(shape)]
        xs = [rng.normal(size=(rows, *s)) for s in several(shape)]
        for kink in self.kinks:
            xs = [np.where(np.abs(x - kink) < 0.05, x + 0.1, x) for x in xs]
        return xs


def several(shape: Any) -> list[tuple[int, ...]]:
    """The shapes of all inputs of a LayerCase."""
    return shape if isinstance(shape, list) else [shape]


def torch_dense(activation: str = "linear") -> Callable[..., Any]:
    sigma, _ = ACTIVATIONS[activation]
    return lambda p, x: sigma(F.linear(x, p["weight"], p.get("bias")))


def then_activate(layer: nn.Layer, linear: Callable[..., Any]) -> Callable[..., Any]:
    """What the layer's activation makes of it."""
    sigma, _ = ACTIVATIONS[layer.activation or "linear"]
    return lambda p, *xs: sigma(linear(p, *xs))


LAYERS = [
    *(
        LayerCase(layer, shapes, then_activate(layer, linear))
        for layer, shapes, linear in CONVOLUTIONS
    ),
    *(
        LayerCase(
            nn.Activation(name),
            shapes=((5,), (1,), (3, 4), (2, 1, 7), (37,)),
            torch=lambda p, x, sigma=sigma: sigma(x),
            kinks=kinks,
        )
        for name, (sigma, kinks) in ACTIVATIONS.items()
    ),
    LayerCase(nn.Dense(3), shapes=((5,), (1,), (130,)), torch=torch_dense()),
    LayerCase(nn.Dense(1), shapes=((4,), (1,)), torch=torch_dense()),
    LayerCase(nn.Dense(17, use_bias=False), shapes=((3,), (66,)), torch=torch_dense()),
    LayerCase(nn.Dense(70), shapes=((9,), (130,)), torch=torch_dense()),  # shared by columns
    LayerCase(nn.Dense(4, "tanh"), shapes=((6, 5), (2, 3, 1)), torch=torch_dense("tanh")),
    LayerCase(nn.Dense(5, "gelu"), shapes=((3,),), torch=torch_dense("gelu")),
    LayerCase(nn.Dense(5, "softmax"), shapes=((3, 2),), torch=torch_dense("softmax")),
    LayerCase(nn.Dropout(0.0), shapes=((6,),), torch=lambda p, x: x),
    LayerCase(nn.Dropout(0.3), shapes=((6,), (3, 5), (1,))),  # PyTorch's masks are others
    LayerCase(nn.Flatten(), shapes=((5,), (2, 3), (2, 1, 4)), torch=lambda p, x: x.flatten(1)),
    LayerCase(
        nn.Reshape((3, -1)),
        shapes=((6,), (2, 3), (1, 3, 1)),
        torch=lambda p, x: x.reshape(len(x), 3, -1),
    ),
    LayerCase(nn.Reshape(12), shapes=((3, 4),), torch=lambda p, x: x.reshape(-1, 12)),
    *(
        LayerCase(
            nn.Embedding(count, width),
            shapes=((4,), (1,), (2, 3)),
            torch=lambda p, x: F.embedding(x.long(), p["weight"]),
            integers=count,
        )
        for count, width in ((5, 3), (2, 1), (7, 33))
    ),
    LayerCase(
        nn.Add(),
        shapes=([(4,), (4,)], [(2, 3), (2, 3), (2, 3)], [(1,), (1,)]),
        torch=lambda p, *xs: sum(xs),
    ),
    LayerCase(
        nn.Multiply(),
        shapes=([(4,), (4,)], [(2, 3), (2, 3), (2, 3)], [(1,), (1,)]),
        torch=lambda p, *xs: torch.stack(xs).prod(0),
    ),
    LayerCase(
        nn.Concatenate(),
        shapes=([(4,), (1,)], [(2, 3), (2, 1), (2, 5)]),
        torch=lambda p, *xs: torch.cat(xs, -1),
    ),
    LayerCase(
        nn.Concatenate(axis=1),
        shapes=([(3,), (2,)], [(1, 3), (4, 3)], [(2, 2, 3), (1, 2, 3), (3, 2, 3)]),
        torch=lambda p, *xs: torch.cat(xs, 1),
    ),
    LayerCase(
        Gate(),
        shapes=([(4,), (4,)], [(2, 3), (2, 3)]),
        torch=lambda p, a, b: a * torch.sigmoid(p["s"] * b) + p["t"],
    ),
    LayerCase(Power(3), shapes=((4,), (2, 3)), torch=lambda p, x: x**3),
]


# ---- losses --------------------------------------------------------------------------------------


class Cube(nn.losses.Loss):
    """A loss as a user writes one: the mean over rows of sum |x - t|^3."""

    def forward(self, y_true, y_pred):
        return (np.abs(y_pred - y_true) ** 3).sum(axis=1)

    def backward(self, y_true, y_pred):
        return 3 * (y_pred - y_true) * np.abs(y_pred - y_true)


def labels(rng, rows, output):
    return rng.integers(0, output[-1], (rows, *output[:-1]))


def one_hot(rng, rows, output):
    return np.eye(output[-1])[labels(rng, rows, output)]


def probabilities(rng, rows, output):
    return rng.dirichlet(np.ones(output[-1]), (rows, *output[:-1]))


def zero_to_one(rng, rows, output):
    return rng.uniform(size=(rows, *output))


def numbers(rng, rows, output):
    return 2 * rng.normal(size=(rows, *output))


@dataclasses.dataclass(frozen=True)
class LossCase:
    """A loss, the output shapes to test it on (without the batch axis), and its targets.

    ``torch(x, t)`` -> the loss before the mean, (rows, ...), x being logits for classification.
    ``closing``: the activations that the loss takes in; each must give the same as logits.
    """

    loss: Any
    outputs: tuple[tuple[int, ...], ...]
    target: Callable[..., np.ndarray]
    torch: Callable[..., Any]
    closing: tuple[str, ...] = ("linear",)


def torch_cross_entropy(smoothing: float = 0.0) -> Callable[..., Any]:
    def loss(x, t):
        t = t if t.ndim == x.ndim else t.long()
        classes_second = [v.movedim(-1, 1) if v.ndim == x.ndim else v for v in (x, t)]
        return F.cross_entropy(*classes_second, reduction="none", label_smoothing=smoothing)

    return loss


def torch_binary(smoothing: float = 0.0) -> Callable[..., Any]:
    return lambda x, t: F.binary_cross_entropy_with_logits(
        x, (1 - smoothing) * t + smoothing / 2, reduction="none"
    )


LOSSES = [
    *(
        LossCase(
            nn.losses.CrossEntropy(label_smoothing=smoothing),
            outputs=((4,), (2,), (3, 5)),
            target=target,
            torch=torch_cross_entropy(smoothing),
            closing=("linear", "softmax", "log_softmax"),
        )
        for target in (labels, one_hot, probabilities)
        for smoothing in (0.0, 0.1)
    ),
    *(
        LossCase(
            nn.losses.BinaryCrossEntropy(label_smoothing=smoothing),
            outputs=((1,), (3,), (2, 4)),
            target=zero_to_one,
            torch=torch_binary(smoothing),
            closing=("linear", "sigmoid"),
        )
        for smoothing in (0.0, 0.2)
    ),
    LossCase(
        nn.losses.MeanSquaredError(),
        outputs=((1,), (3,), (2, 4)),
        target=numbers,
        torch=lambda x, t: (x - t) ** 2,
        closing=("linear", "tanh", "softmax"),  # here they stay what they are
    ),
    LossCase(
        nn.losses.MeanAbsoluteError(),
        outputs=((1,), (3,), (2, 4)),
        target=numbers,
        torch=lambda x, t: (x - t).abs(),
    ),
    *(
        LossCase(
            nn.losses.Huber(delta),
            outputs=((1,), (3,), (2, 4)),
            target=numbers,
            torch=lambda x, t, delta=delta: F.huber_loss(x, t, reduction="none", delta=delta),
        )
        for delta in (1.0, 0.3)
    ),
    LossCase(
        Cube(),
        outputs=((1,), (3,)),
        target=numbers,
        torch=lambda x, t: ((x - t).abs() ** 3).sum(1),
    ),
]


# ---- optimizers ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class OptimizerCase:
    """An optimizer, and the class of torch.optim with the options that make it the same; None:
    PyTorch has no such. Schedules and clipnorm are read from ``optimizer``."""

    optimizer: nn.optimizers.Optimizer
    torch: str | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


COSINE = nn.schedules.WarmUp(4, nn.schedules.CosineDecay(0.1, 12))

OPTIMIZERS = [
    OptimizerCase(nn.SGD(0.1), "SGD"),
    OptimizerCase(nn.SGD(0.1, momentum=0.9), "SGD", {"momentum": 0.9}),
    OptimizerCase(
        nn.SGD(0.1, momentum=0.9, nesterov=True), "SGD", {"momentum": 0.9, "nesterov": True}
    ),
    OptimizerCase(nn.SGD(0.1, weight_decay=0.05), "SGD", {"weight_decay": 0.05}),
    OptimizerCase(
        nn.SGD(0.1, momentum=0.8, weight_decay=0.05, clipnorm=0.3),
        "SGD",
        {"momentum": 0.8, "weight_decay": 0.05},
    ),
    OptimizerCase(nn.SGD(COSINE, momentum=0.9), "SGD", {"momentum": 0.9}),
    OptimizerCase(nn.SGD(0.1, clipnorm=1e6), "SGD"),  # clips nothing
    OptimizerCase(nn.Adam(0.01), "Adam", {"eps": 1e-7}),
    OptimizerCase(
        nn.Adam(0.01, beta_1=0.7, beta_2=0.95, epsilon=1e-3),
        "Adam",
        {"betas": (0.7, 0.95), "eps": 1e-3},
    ),
    OptimizerCase(
        nn.Adam(COSINE, weight_decay=0.05, clipnorm=0.3),
        "Adam",
        {"eps": 1e-7, "weight_decay": 0.05},
    ),
    OptimizerCase(nn.AdamW(0.01), "AdamW", {"eps": 1e-7, "weight_decay": 0.004}),
    OptimizerCase(nn.AdamW(0.01, weight_decay=0.3), "AdamW", {"eps": 1e-7, "weight_decay": 0.3}),
    OptimizerCase(
        nn.AdamW(nn.schedules.ExponentialDecay(0.05, 0.5, 10), clipnorm=0.5),
        "AdamW",
        {"eps": 1e-7, "weight_decay": 0.004},
    ),
    OptimizerCase(nn.RMSprop(0.01), "RMSprop", {"alpha": 0.9, "eps": 1e-7}),
    OptimizerCase(
        nn.RMSprop(0.01, rho=0.8, momentum=0.5, epsilon=1e-4, weight_decay=0.05, clipnorm=0.3),
        "RMSprop",
        {"alpha": 0.8, "momentum": 0.5, "eps": 1e-4, "weight_decay": 0.05},
    ),
    OptimizerCase(nn.Adagrad(0.05), "Adagrad", {"eps": 1e-7}),
    OptimizerCase(
        nn.Adagrad(0.05, epsilon=1e-3, weight_decay=0.05, clipnorm=0.3),
        "Adagrad",
        {"eps": 1e-3, "weight_decay": 0.05},
    ),
    OptimizerCase(nn.LBFGS()),  # scipy's; test_parity.py has a test of its own
]
