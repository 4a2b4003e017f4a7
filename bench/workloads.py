"""The networks that are timed, said once for all libraries.

To add one: an entry in LISTED. A layer of a new kind: a class here, and its construction in each of
bench/peers (a library that does not know it reports so, and nothing fails).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# What is timed: a training step, inference of the batch, inference of one row, and the loss with
# its gradients but no optimizer.
CELLS = ("train", "predict", "one", "gradient")


@dataclass(frozen=True)
class Dense:
    units: int
    activation: str | None = None

    def weights(self, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple:
        """Initial values for an input of this shape: weight (units, in) and bias (units,)."""
        limit = (6 / (shape[-1] + self.units)) ** 0.5
        weight = rng.uniform(-limit, limit, (self.units, shape[-1]))
        return weight.astype(np.float32), np.zeros(self.units, np.float32)

    def output(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], self.units)


@dataclass(frozen=True)
class Workload:
    """``targets``: cell -> the ratio best peer / nncore to reach; its keys are what is timed."""

    name: str
    input: tuple[int, ...]
    layers: tuple
    batch: int
    targets: dict[str, float]
    loss: str = "cross_entropy"  # or "mse"
    seed: int = field(default=0, compare=False)

    def weights(self) -> list[tuple]:
        """The same initial values for every library, layer by layer."""
        rng = np.random.default_rng(self.seed)
        shape, found = self.input, []
        for layer in self.layers:
            found.append(layer.weights(rng, shape))
            shape = layer.output(shape)
        return found

    @property
    def output(self) -> tuple[int, ...]:
        shape = self.input
        for layer in self.layers:
            shape = layer.output(shape)
        return shape

    def data(self, cell: str) -> tuple[np.ndarray, np.ndarray]:
        """x float32 and y: int64 labels, or float32 values for mse."""
        rng = np.random.default_rng(self.seed + 1)
        rows = 1 if cell == "one" else self.batch
        x = rng.normal(size=(rows, *self.input)).astype(np.float32)
        if self.loss == "mse":
            return x, rng.normal(size=(rows, *self.output)).astype(np.float32)
        return x, rng.integers(0, self.output[-1], rows)


def mlp(name, widths, batch, train, predict, one) -> Workload:
    """A fully connected network with ReLU, cross-entropy and Adam."""
    return Workload(
        name,
        (widths[0],),
        (*(Dense(n, "relu") for n in widths[1:-1]), Dense(widths[-1])),
        batch,
        {"train": train, "predict": predict, "one": one},
    )


LISTED = [
    mlp("mlp_tiny", (4, 16, 3), 16, train=10, predict=8, one=10),
    mlp("mlp_small", (784, 128, 10), 32, train=2, predict=1.1, one=2),
    mlp("mlp_mid", (784, 512, 512, 10), 128, train=1.2, predict=1.05, one=1.2),
    mlp("mlp_big", (1024, 2048, 2048, 1000), 256, train=1.15, predict=1.05, one=1.0),
    Workload(
        "simplechains",  # 5.7 us on one thread, its authors report
        (24,),
        (Dense(8, "tanh"), Dense(2)),
        200,
        {"gradient": 8},
        "mse",
    ),
]

# Other shapes, so that nothing is tuned to the listed ones: never slower than the best peer.
UNLISTED = [
    mlp("100-72-40-7 b7", (100, 72, 40, 7), 7, 1, 1, 1),
    mlp("333-100-10 b33", (333, 100, 10), 33, 1, 1, 1),
    mlp("784-128-10 b1", (784, 128, 10), 1, 1, 1, 1),
    mlp("24-8-2 b200", (24, 8, 2), 200, 1, 1, 1),
    mlp("1000-333-5 b100", (1000, 333, 5), 100, 1, 1, 1),
    mlp("300-300-300-300-20 b64", (300, 300, 300, 300, 20), 64, 1, 1, 1),
    Workload(
        "64-64-64-1 b256 mse",
        (64,),
        (Dense(64, "relu"), Dense(64, "relu"), Dense(1)),
        256,
        {"train": 1, "predict": 1, "one": 1},
        "mse",
    ),
]
