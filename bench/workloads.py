"""The networks that are timed, said once for all libraries.

To add one: an entry in LISTED. A layer of a new kind: a class here, and its construction in each of
bench/peers (a library that does not know it reports so, and nothing fails). Shapes are those of one
row; images are (height, width, channels), sequences (steps, features).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

# What is timed: a training step, inference of the batch, inference of one row, and the loss with
# its gradients but no optimizer.
CELLS = ("train", "predict", "one", "gradient")
BATCH_EPSILON = 1e-3  # of every BatchNorm

Shape = tuple[int, ...]


def glorot(rng: np.random.Generator, shape: Shape, sources: int, targets: int) -> np.ndarray:
    limit = (6 / (sources + targets)) ** 0.5
    return rng.uniform(-limit, limit, shape).astype(np.float32)


@dataclass(frozen=True)
class Dense:
    units: int
    activation: str | None = None

    def weights(self, rng: np.random.Generator, shape: Shape) -> tuple:
        """Initial values for an input of this shape: weight (units, in) and bias (units,)."""
        weight = glorot(rng, (self.units, shape[-1]), shape[-1], self.units)
        return weight, np.zeros(self.units, np.float32)

    def output(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.units)


@dataclass(frozen=True)
class Conv2D:
    """``groups`` equal to the channels of the input: a depthwise convolution."""

    filters: int
    kernel: int | tuple[int, int]
    stride: int = 1
    activation: str | None = None
    use_bias: bool = True
    groups: int = 1
    padding: str = "same"  # TensorFlow's, or "valid"

    @property
    def window(self) -> tuple[int, int]:
        return self.kernel if isinstance(self.kernel, tuple) else (self.kernel, self.kernel)

    def weights(self, rng: np.random.Generator, shape: Shape) -> tuple:
        """weight (filters, kh, kw, in / groups) and, if it has one, bias (filters,)."""
        taps = math.prod(self.window)
        depth = shape[-1] // self.groups
        weight_shape = (self.filters, *self.window, depth)
        weight = glorot(rng, weight_shape, taps * depth, taps * self.filters // self.groups)
        if not self.use_bias:
            return (weight,)
        return weight, rng.normal(scale=0.1, size=self.filters).astype(np.float32)

    def pads(self, shape: Shape) -> list[tuple[int, int]]:
        """(zeros before, zeros after) of height and of width: the odd one is after."""
        if self.padding == "valid":
            return [(0, 0), (0, 0)]
        pads = []
        for n, k in zip(shape[:2], self.window, strict=True):
            pad = max((-(-n // self.stride) - 1) * self.stride + k - n, 0)
            pads.append((pad // 2, pad - pad // 2))
        return pads

    def output(self, shape: Shape) -> Shape:
        padded = [n + sum(pad) for n, pad in zip(shape[:2], self.pads(shape), strict=True)]
        windows = zip(padded, self.window, strict=True)
        return (*((n - k) // self.stride + 1 for n, k in windows), self.filters)


@dataclass(frozen=True)
class BatchNorm:
    """Training normalizes by the batch, inference by the running mean and variance."""

    activation: str | None = None

    def weights(self, rng: np.random.Generator, shape: Shape) -> tuple:
        """weight, bias, running mean and running variance, each (channels,)."""
        ranges = ((0.5, 1.5), (-0.2, 0.2), (-0.2, 0.2), (0.5, 1.5))
        return tuple(rng.uniform(*ends, shape[-1]).astype(np.float32) for ends in ranges)

    def output(self, shape: Shape) -> Shape:
        return shape


@dataclass(frozen=True)
class Recurrent:
    """The last step's h, or those of all ``sequences``; ``bidirectional``: both directions side by
    side, each with its own last step. Weights and the order of gates are PyTorch's."""

    cell: str  # rnn (tanh), lstm or gru
    units: int
    sequences: bool = False
    bidirectional: bool = False

    @property
    def gates(self) -> int:
        return {"rnn": 1, "lstm": 4, "gru": 3}[self.cell]

    def weights(self, rng: np.random.Generator, shape: Shape) -> tuple:
        """For each direction weight_ih, weight_hh, bias_ih and bias_hh."""
        rows, found = self.gates * self.units, []
        for _ in range(1 + self.bidirectional):
            found.append(glorot(rng, (rows, shape[-1]), shape[-1], self.units))
            found.append(glorot(rng, (rows, self.units), self.units, self.units))
            found += [rng.normal(scale=0.1, size=rows).astype(np.float32) for _ in range(2)]
        return tuple(found)

    def output(self, shape: Shape) -> Shape:
        width = self.units * (1 + self.bidirectional)
        return (shape[0], width) if self.sequences else (width,)


class WithoutWeights:
    def weights(self, rng: np.random.Generator, shape: Shape) -> tuple:
        return ()


@dataclass(frozen=True)
class MaxPool(WithoutWeights):
    """Windows of size x size side by side; what is left over at the end is dropped."""

    size: int = 2

    def output(self, shape: Shape) -> Shape:
        return (shape[0] // self.size, shape[1] // self.size, shape[2])


@dataclass(frozen=True)
class GlobalAvgPool(WithoutWeights):
    def output(self, shape: Shape) -> Shape:
        return shape[-1:]


@dataclass(frozen=True)
class Flatten(WithoutWeights):
    """Row by row, the channels of a pixel together."""

    def output(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


@dataclass(frozen=True)
class Residual:
    """activation(body(x) + shortcut(x)); an empty shortcut is the identity."""

    body: tuple
    shortcut: tuple = ()
    activation: str | None = "relu"

    def weights(self, rng: np.random.Generator, shape: Shape) -> tuple:
        """The values of the body's layers and of the shortcut's."""
        return chain_weights(self.body, rng, shape), chain_weights(self.shortcut, rng, shape)

    def output(self, shape: Shape) -> Shape:
        return chain_output(self.body, shape)


def chain_weights(layers: tuple, rng: np.random.Generator, shape: Shape) -> list[tuple]:
    """The initial values of layers, one after the other."""
    found = []
    for layer, its_input in zip(layers, chain_inputs(layers, shape), strict=True):
        found.append(layer.weights(rng, its_input))
    return found


def chain_inputs(layers: tuple, shape: Shape) -> Iterator[Shape]:
    """The shape that each of the layers receives."""
    for layer in layers:
        yield shape
        shape = layer.output(shape)


def chain_output(layers: tuple, shape: Shape) -> Shape:
    for layer in layers:
        shape = layer.output(shape)
    return shape


@dataclass(frozen=True)
class Workload:
    """``targets``: cell -> the ratio best peer / nncore to reach; its keys are what is timed."""

    name: str
    input: Shape
    layers: tuple
    batch: int
    targets: dict[str, float]
    loss: str = "cross_entropy"  # or "mse"
    seed: int = field(default=0, compare=False)

    def weights(self) -> list[tuple]:
        """The same initial values for every library, layer by layer."""
        return chain_weights(self.layers, np.random.default_rng(self.seed), self.input)

    @property
    def output(self) -> Shape:
        return chain_output(self.layers, self.input)

    def data(self, cell: str) -> tuple[np.ndarray, np.ndarray]:
        """x float32 and y: int64 labels, or float32 values for mse."""
        rng = np.random.default_rng(self.seed + 1)
        rows = 1 if cell == "one" else self.batch
        x = rng.normal(size=(rows, *self.input)).astype(np.float32)
        if self.loss == "mse":
            return x, rng.normal(size=(rows, *self.output)).astype(np.float32)
        return x, rng.integers(0, self.output[-1], rows)


def targets(train: float = 1, predict: float = 1, one: float = 1) -> dict[str, float]:
    return {"train": train, "predict": predict, "one": one}


def mlp(name, widths, batch, *ratios) -> Workload:
    """A fully connected network with ReLU, cross-entropy and Adam."""
    layers = (*(Dense(n, "relu") for n in widths[1:-1]), Dense(widths[-1]))
    return Workload(name, (widths[0],), layers, batch, targets(*ratios))


def normalized(filters, kernel, stride=1, activation="relu", **options) -> tuple:
    """Convolution, BatchNorm, activation."""
    return Conv2D(filters, kernel, stride, **options), BatchNorm(activation)


def block(filters: int, stride: int, shortcut: tuple = (), use_bias: bool = False) -> Residual:
    """Two convolutions and the way around them (He et al. 2015)."""
    first = normalized(filters, 3, stride, use_bias=use_bias)
    second = normalized(filters, 3, activation=None, use_bias=use_bias)
    return Residual((*first, *second), shortcut)


def resnet20() -> tuple:
    layers = [*normalized(16, 3, use_bias=False)]
    for filters in (16, 32, 64):
        stride = 1 if filters == 16 else 2
        way = () if stride == 1 else normalized(filters, 1, 2, None, use_bias=False)
        layers += [block(filters, stride, way), block(filters, 1), block(filters, 1)]
    return (*layers, GlobalAvgPool(), Dense(10))


def resnet8() -> tuple:
    """MLPerf Tiny's, for images: biases, and shortcuts without BatchNorm."""
    layers = [*normalized(16, 3), block(16, 1, use_bias=True)]
    layers += [block(n, 2, (Conv2D(n, 1, 2),), use_bias=True) for n in (32, 64)]
    return (*layers, GlobalAvgPool(), Dense(10))


def separable(filters: int, channels: int, stride: int = 1) -> tuple:
    """Depthwise 3x3, then 1x1 (Howard et al. 2017)."""
    return (*normalized(channels, 3, stride, groups=channels), *normalized(filters, 1))


def keyword_spotting() -> tuple:
    """MLPerf Tiny's DS-CNN: 49 frames of 10 coefficients, 12 words."""
    layers = [*normalized(64, (10, 4), 2)]
    for _ in range(4):
        layers += separable(64, 64)
    return (*layers, GlobalAvgPool(), Dense(12))


def mobilenet() -> tuple:
    """MobileNetV1, a quarter of its width: MLPerf Tiny's for "is there a person?"."""
    layers = [*normalized(8, 3, 2)]
    channels = 8
    stages = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2)]
    for filters, stride in [*stages, (256, 1)]:
        layers += separable(filters, channels, stride)
        channels = filters
    return (*layers, GlobalAvgPool(), Dense(2))


def recurrent(name, shape, layers, classes, batch, *ratios) -> Workload:
    return Workload(name, shape, (*layers, Dense(classes)), batch, targets(*ratios))


CNN = (
    Conv2D(32, 3, activation="relu"),
    MaxPool(2),
    Conv2D(64, 3, activation="relu"),
    MaxPool(2),
    Flatten(),
    Dense(128, "relu"),
    Dense(10),
)
LENET_5 = (
    Conv2D(6, 5, activation="relu", padding="valid"),
    MaxPool(2),
    Conv2D(16, 5, activation="relu", padding="valid"),
    MaxPool(2),
    Flatten(),
    Dense(120, "relu"),
    Dense(84, "relu"),
    Dense(10),
)
SMALL_IMAGES = (
    *normalized(24, 3, use_bias=False),
    block(24, 1),
    *normalized(40, 3, use_bias=False),
    block(40, 1),
    *normalized(72, 3, 2),
    GlobalAvgPool(),
    Dense(10),
)
ODD_WIDTHS = (
    *normalized(24, 3, use_bias=False),
    block(24, 1),
    *normalized(40, 3, 2),
    MaxPool(2),
    Conv2D(72, 3, activation="relu"),
    GlobalAvgPool(),
    Dense(10),
)
LARGE_KERNELS = (
    Conv2D(20, 7, 2, "relu"),
    Conv2D(40, 5, 2, "relu"),
    Conv2D(40, 5, activation="relu"),
    GlobalAvgPool(),
    Dense(10),
)

LISTED = [
    mlp("mlp_tiny", (4, 16, 3), 16, 10, 8, 10),
    mlp("mlp_small", (784, 128, 10), 32, 2, 1.1, 2),
    mlp("mlp_mid", (784, 512, 512, 10), 128, 1.2, 1.05, 1.2),
    mlp("mlp_big", (1024, 2048, 2048, 1000), 256, 1.15, 1.05, 1.0),
    Workload(
        "simplechains",  # 5.7 us on one thread, its authors report
        (24,),
        (Dense(8, "tanh"), Dense(2)),
        200,
        {"gradient": 8},
        "mse",
    ),
    Workload("cnn", (28, 28, 1), CNN, 64, targets(2, 1.3, 1.3)),
    Workload("resnet20", (32, 32, 3), resnet20(), 32, targets(1.8, 1.8, 1.5)),
    recurrent("rnn", (50, 64), [Recurrent("rnn", 128)], 10, 32, 3.5, 2.3, 2.5),
    recurrent("lstm", (50, 64), [Recurrent("lstm", 128)], 10, 32, 1.5, 1.1, 1.1),
    recurrent("gru", (50, 64), [Recurrent("gru", 128)], 10, 32, 3, 1.4, 1.3),
    recurrent("lstm_big", (64, 256), [Recurrent("lstm", 512)], 64, 64, 1.2, 1.0, 1.05),
]

# Other shapes, so that nothing is tuned to the listed ones: never slower than the best peer.
UNLISTED = [
    mlp("100-72-40-7 b7", (100, 72, 40, 7), 7),
    mlp("333-100-10 b33", (333, 100, 10), 33),
    mlp("784-128-10 b1", (784, 128, 10), 1),
    mlp("24-8-2 b200", (24, 8, 2), 200),
    mlp("1000-333-5 b100", (1000, 333, 5), 100),
    mlp("300-300-300-300-20 b64", (300, 300, 300, 300, 20), 64),
    Workload(
        "64-64-64-1 b256 mse",
        (64,),
        (Dense(64, "relu"), Dense(64, "relu"), Dense(1)),
        256,
        targets(),
        "mse",
    ),
    Workload("lenet5 b2048", (28, 28, 1), LENET_5, 2048, targets()),
    Workload("resnet8 b16", (32, 32, 3), resnet8(), 16, targets()),
    Workload("keyword spotting b32", (49, 10, 1), keyword_spotting(), 32, targets()),
    Workload("mobilenet x0.25 b8", (96, 96, 3), mobilenet(), 8, targets()),
    Workload("27x31 24/40/72 b7", (27, 31, 3), ODD_WIDTHS, 7, targets()),
    Workload("8x8 24/40/72 b7", (8, 8, 3), SMALL_IMAGES, 7, targets()),
    Workload("7x7 5x5 strides b1", (61, 64, 3), LARGE_KERNELS, 1, targets()),
    *(
        recurrent(f"{cell} 37 steps 100 units b7", (37, 10), [Recurrent(cell, 100)], 5, 7)
        for cell in ("rnn", "lstm", "gru")
    ),
    recurrent("lstm 50 steps b1", (50, 64), [Recurrent("lstm", 128)], 10, 1),
    recurrent("gru 50 steps b1", (50, 64), [Recurrent("gru", 128)], 10, 1),
    recurrent(
        "bidirectional lstm b32", (50, 64), [Recurrent("lstm", 100, bidirectional=True)], 10, 32
    ),
    recurrent(
        "two grus b16", (37, 30), [Recurrent("gru", 100, True), Recurrent("gru", 64)], 10, 16
    ),
    recurrent("rnn 13 steps 20 units b200", (13, 5), [Recurrent("rnn", 20)], 3, 200),
]
