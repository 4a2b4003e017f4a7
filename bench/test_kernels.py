"""nncore's own kernels, each op alone on one thread: `python -m pytest bench/test_kernels.py`."""

import numpy as np
import pytest

pytest.importorskip("pytest_benchmark")

from nncore._kernels.activation import names

import nncore as nn
from nncore.plan import BACKWARD, FORWARD

DENSE = [  # rows, in, units
    (1, 784, 128),
    (16, 4, 16),
    (32, 784, 128),
    (33, 333, 100),
    (128, 784, 512),
    (128, 512, 512),
    (128, 512, 10),
    (256, 1024, 2048),
]
CONVOLUTIONS = [  # rows, image, filters, kernel, stride
    (16, (32, 32, 16), 16, 3, 1),
    (16, (16, 16, 32), 32, 3, 1),
    (16, (8, 8, 64), 64, 3, 1),
    (4, (28, 28, 128), 128, 3, 1),
    (16, (32, 32, 16), 32, 3, 2),
    (16, (28, 28, 1), 32, 3, 1),
    (16, (27, 31, 24), 40, 3, 1),
    (4, (56, 56, 64), 256, 1, 1),
]
ELEMENTS = (64, 256)


@pytest.fixture(autouse=True)
def one_thread():
    before = nn.get_num_threads()
    nn.set_num_threads(1)
    yield
    nn.set_num_threads(before)


def ready(layer, rows, shape, dtype):
    """A plan of one layer that has run forward and backward once, and the layer's op."""
    model = nn.Sequential([nn.Input(shape), layer], seed=0, dtype=dtype)
    rng = np.random.default_rng(0)
    y = model.forward(rng.normal(size=(rows, *shape)))
    model.backward(rng.normal(size=y.shape))
    plan = model._forward_plan or model._plan("training", rows)
    op = next(op for op in plan.ops if op.layer == "0")
    plan.execute(FORWARD, 0, rows) if model._forward_plan else None
    return plan, op


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "inputs", "units"), DENSE)
def test_dense(benchmark, rows, inputs, units, dtype, backward):
    """2 B I O operations forward, twice that backward; extra_info has GFLOP/s."""
    plan, op = ready(nn.Dense(units), rows, (inputs,), dtype)
    benchmark.group = f"Dense {rows}x{inputs}x{units} {dtype}"
    benchmark(plan.execute_one, op, backward)
    if benchmark.stats:
        operations = 2 * rows * inputs * units * (1 + backward)
        benchmark.extra_info["GFLOP/s"] = round(operations / benchmark.stats["median"] / 1e9, 1)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize(("rows", "image", "filters", "kernel", "stride"), CONVOLUTIONS)
def test_convolution(benchmark, rows, image, filters, kernel, stride, backward):
    """float32, "same"; GFLOP/s counts the operations of the formula, twice that backward."""
    layer = nn.Conv2D(filters, kernel, stride, "same")
    plan, op = ready(layer, rows, image, "float32")
    benchmark.group = f"Conv2D {rows}x{image} {filters}x{kernel}x{kernel} stride {stride}"
    benchmark(plan.execute_one, op, backward)
    if benchmark.stats:
        operations = op.work * rows * (1 + backward)
        benchmark.extra_info["GFLOP/s"] = round(operations / benchmark.stats["median"] / 1e9, 1)
        benchmark.extra_info["algorithm"] = op.algorithm


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("name", [name for name in names() if name != "linear"])
def test_activation(benchmark, name, backward):
    """64 x 256 numbers, float32."""
    plan, op = ready(nn.Activation(name), ELEMENTS[0], ELEMENTS[1:], "float32")
    benchmark.group = "activation " + ("backward" if backward else "forward")
    benchmark(plan.execute_one, op, backward)


def test_phases_are_numbers_of_the_plan():
    """This file runs plans by hand: it must notice when that changes."""
    assert FORWARD == 1
    assert BACKWARD == 2
