"""nncore's own kernels, each op alone on one thread: `python -m pytest bench/test_kernels.py`."""

import numpy as np
import pytest

pytest.importorskip("pytest_benchmark")

from nncore._kernels.activation import names

import nncore as nn

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
CONVOLUTIONS = [  # rows, height = width, in, filters, kernel, stride, groups
    (16, 28, 1, 32, 3, 1, 1),
    (16, 32, 16, 16, 3, 1, 1),
    (16, 16, 32, 32, 3, 1, 1),
    (16, 8, 64, 64, 3, 1, 1),
    (16, 14, 32, 64, 3, 1, 1),
    (16, 27, 24, 40, 3, 1, 1),
    (4, 14, 256, 256, 3, 1, 1),
    (16, 32, 16, 32, 3, 2, 1),
    (16, 12, 6, 16, 5, 1, 1),
    (1, 61, 3, 20, 7, 2, 1),
    (4, 56, 64, 256, 1, 1, 1),
    (16, 25, 64, 64, 3, 1, 64),
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
    plan = model._plan("training", rows)
    return plan, next(op for op in plan.ops if op.layer == "0")


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
@pytest.mark.parametrize(
    ("rows", "size", "inputs", "filters", "kernel", "stride", "groups"), CONVOLUTIONS
)
def test_convolution(benchmark, rows, size, inputs, filters, kernel, stride, groups, backward):
    """GFLOP/s of the definition's operations, which Winograd's algorithm has fewer of."""
    layer = nn.Conv2D(filters, kernel, stride, "same", groups=groups)
    plan, op = ready(layer, rows, (size, size, inputs), "float32")
    name = f"{kernel}x{kernel} {inputs}-{filters} @{size} b{rows}"
    name += f" stride {stride}" if stride > 1 else ""
    benchmark.group = "Conv2D " + name + (f" groups {groups}" if groups > 1 else "")
    benchmark(plan.execute_one, op, backward)
    if benchmark.stats:
        taps = kernel * kernel * inputs // groups
        operations = 2 * rows * (-(-size // stride)) ** 2 * taps * filters * (1 + backward)
        benchmark.extra_info["GFLOP/s"] = round(operations / benchmark.stats["median"] / 1e9, 1)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("name", [name for name in names() if name != "linear"])
def test_activation(benchmark, name, backward):
    """64 x 256 numbers, float32."""
    plan, op = ready(nn.Activation(name), ELEMENTS[0], ELEMENTS[1:], "float32")
    benchmark.group = "activation " + ("backward" if backward else "forward")
    benchmark(plan.execute_one, op, backward)
