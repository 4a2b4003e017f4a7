"""The one list: every layer, activation, loss and optimizer, the shapes they are tested on, and
how PyTorch does the same.

The tests go through it. A new layer joins by one entry in LAYERS, an activation by one in
ACTIVATIONS, and so on; test_completeness.py says what is missing. case_kinds.py has what an entry
says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special as sp

import nncore as nn
from case_kinds import ActivationCase, LayerCase, LossCase, OptimizerCase
from cases_convolution import CONVOLUTIONS
from cases_image import IMAGE_LAYERS
from cases_recurrent import RECURRENT
from own_layers import Cube, Gate, Power

try:
    import torch
    import torch.nn.functional as F
except ImportError:  # then no `torch` column is called
    torch = F = None

# ---- activations ---------------------------------------------------------------------------------


SELU = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
INF = np.inf
TANH = {"baseline": 3.9e-7, "avx2": 2.9e-7, "avx512": 2.9e-7}


def expm1(x):  # of what is below 0
    return np.expm1(np.minimum(x, 0))


ACTIVATIONS = {
    "linear": ActivationCase(lambda x: x, lambda x: x, (0, 0), (-INF, INF)),
    "relu": ActivationCase(
        lambda x: F.relu(x), lambda x: np.maximum(x, 0), (0, 0), (0, INF), kinks=(0,)
    ),
    "leaky_relu": ActivationCase(
        lambda x: F.leaky_relu(x, 0.01),
        lambda x: np.where(x > 0, x, 0.01 * x),
        (1e-9, 1e-7),  # 0.01 and the product, both rounded
        (-INF, INF),
        kinks=(0,),
    ),
    "elu": ActivationCase(
        lambda x: F.elu(x),
        lambda x: np.where(x > 0, x, expm1(x)),
        (8.9e-8, 8.9e-8),
        (-1, INF),
        kinks=(0,),  # of its second derivative
    ),
    "selu": ActivationCase(
        lambda x: F.selu(x),
        lambda x: SELU[0] * np.where(x > 0, x, SELU[1] * expm1(x)),
        (1.4e-7, None),
        (-SELU[0] * SELU[1], INF),
        kinks=(0,),
    ),
    "sigmoid": ActivationCase(lambda x: torch.sigmoid(x), sp.expit, (8.9e-8, 1.8e-7), (0, 1)),
    "hard_sigmoid": ActivationCase(
        # F.hardsigmoid takes a float's 1/6 for its slope in double, too: off by 3e-8.
        lambda x: F.relu6(x + 3) / 6,
        lambda x: np.clip(x + 3, 0, 6) / 6,
        (1.2e-7, None),  # two roundings
        (0, 1),
        kinks=(-3, 3),
    ),
    "tanh": ActivationCase(lambda x: torch.tanh(x), np.tanh, (TANH, TANH), (-1, 1)),
    "softplus": ActivationCase(
        lambda x: F.softplus(x),
        lambda x: np.where(x > 20, x, np.logaddexp(0, x)),  # as PyTorch has it
        (1.5e-7, None),
        (0, INF),
    ),
    "silu": ActivationCase(
        lambda x: F.silu(x), lambda x: x * sp.expit(x), (1.5e-7, None), (0, INF)
    ),
    "gelu": ActivationCase(lambda x: F.gelu(x), lambda x: x * sp.ndtr(x), (1.5e-7, None), (0, INF)),
    "softmax": ActivationCase(lambda x: F.softmax(x, -1), lambda x: sp.softmax(x, -1)),
    "log_softmax": ActivationCase(lambda x: F.log_softmax(x, -1), lambda x: sp.log_softmax(x, -1)),
}


# ---- layers --------------------------------------------------------------------------------------


def torch_dense(activation: str = "linear") -> Callable[..., Any]:
    sigma = ACTIVATIONS[activation].torch
    return lambda p, x: sigma(F.linear(x, p["weight"], p.get("bias")))


def torch_nested_residual(p, x):
    h = torch.tanh(F.linear(x, p["body.0.weight"], p["body.0.bias"]))
    h = F.linear(h, p["body.1.body.0.weight"], p["body.1.body.0.bias"]) + h
    return h + F.linear(x, p["shortcut.way.weight"], p["shortcut.way.bias"])


def then_activate(layer: nn.Layer, linear: Callable[..., Any]) -> Callable[..., Any]:
    """What the layer's activation makes of it."""
    sigma = ACTIVATIONS[layer.activation or "linear"].torch
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
            torch=lambda p, x, sigma=case.torch: sigma(x),
            kinks=case.kinks,
        )
        for name, case in ACTIVATIONS.items()
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
    # its parity with PyTorch is in test_batch_normalization.py: training and inference differ
    LayerCase(nn.BatchNormalization(), shapes=((5,), (1,), (2, 3, 17), (1, 40))),
    LayerCase(
        nn.Residual(nn.Dense(5, "tanh"), activation="sigmoid"),
        shapes=((5,), (3, 5)),
        torch=lambda p, x: torch.sigmoid(
            torch.tanh(F.linear(x, p["body.0.weight"], p["body.0.bias"])) + x
        ),
    ),
    LayerCase(
        nn.Residual([nn.Dense(6, "tanh"), nn.Residual(nn.Dense(6))], [nn.Dense(6, name="way")]),
        shapes=((4,), (2, 1)),
        torch=torch_nested_residual,
    ),
    LayerCase(
        Gate(),
        shapes=([(4,), (4,)], [(2, 3), (2, 3)]),
        torch=lambda p, a, b: a * torch.sigmoid(p["s"] * b) + p["t"],
    ),
    LayerCase(Power(3), shapes=((4,), (2, 3)), torch=lambda p, x: x**3),
    *IMAGE_LAYERS,
    *(LayerCase(layer, shapes, reference) for layer, shapes, reference in RECURRENT),
    LayerCase(nn.LSTM(5, dropout=0.3), shapes=((3, 4),)),  # PyTorch's masks are others
    LayerCase(nn.GRU(5, dropout=0.2, recurrent_dropout=0.3), shapes=((4, 3),)),
    LayerCase(nn.RNN(40, recurrent_dropout=0.3, return_sequences=True), shapes=((11, 3),)),
    LayerCase(
        nn.GRU(102, recurrent_dropout=0.3, reset_after=False), shapes=((5, 3), [(2, 3), (102,)])
    ),
    LayerCase(nn.LSTM(190, recurrent_dropout=0.3), shapes=((3, 2),)),
]


# ---- losses --------------------------------------------------------------------------------------


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
