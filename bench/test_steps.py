"""Whole steps of nncore, as a user calls them: `python -m pytest bench/test_steps.py`."""

import numpy as np
import pytest

pytest.importorskip("pytest_benchmark")

import nncore as nn
from bench import workloads
from bench.peers.nncore_ import network

ALL = [*workloads.LISTED, *workloads.UNLISTED]
OPTIMIZERS = [
    nn.SGD(1e-8),
    nn.SGD(1e-8, momentum=0.9, nesterov=True),
    nn.Adam(1e-8),
    nn.AdamW(1e-8, weight_decay=0.01),
    nn.RMSprop(1e-8),
    nn.Adagrad(1e-8),
    nn.Adam(1e-8, clipnorm=1.0),
]


@pytest.mark.parametrize("workload", ALL, ids=lambda workload: workload.name)
def test_train_on_batch(benchmark, workload):
    model = network(workload)
    benchmark(model.train_on_batch, *workload.data("train"))


@pytest.mark.parametrize("cell", ["predict", "one"])
@pytest.mark.parametrize("workload", ALL, ids=lambda workload: workload.name)
def test_predict(benchmark, workload, cell):
    x, _ = workload.data(cell)
    benchmark(network(workload), x)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_optimizer(benchmark, optimizer):
    """One pass over a million parameters."""
    model = nn.Sequential([nn.Input((1000,)), nn.Dense(1000, use_bias=False)], seed=0)
    model.compile(optimizer, "mse")
    x, y = np.ones((2, 1, 1000), np.float32)
    model.train_on_batch(x, y)
    benchmark(model.apply_gradients)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_fit_an_epoch(benchmark, dtype):
    """4096 shuffled rows of 784 numbers of a type: what gathering and converting them costs."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (4096, 784)).astype(dtype)
    y = rng.integers(0, 10, 4096)
    model = nn.Sequential([nn.Input((784,)), nn.Dense(16, "relu"), nn.Dense(10)], seed=0)
    model.compile(nn.SGD(1e-8), "cross_entropy")
    benchmark(model.fit, x, y, batch_size=64, verbose=False)
