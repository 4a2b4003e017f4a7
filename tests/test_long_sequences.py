"""What recurrent networks learn over many steps, and what many steps cost."""

import numpy as np
import pytest

import nncore as nn


def adding_problem(rows, steps, seed):
    """Two numbers of a sequence are marked; the target is their sum (Hochreiter and Schmidhuber
    1997). Always answering 1 has a mean squared error of 1/6."""
    rng = np.random.default_rng(seed)
    x = np.zeros((rows, steps, 2), np.float32)
    x[..., 0] = rng.uniform(size=(rows, steps))
    row, half = np.arange(rows), steps // 2
    first, second = rng.integers(0, half, rows), rng.integers(half, steps, rows)
    x[row, first, 1] = x[row, second, 1] = 1
    return x, (x[row, first, 0] + x[row, second, 0])[:, None]


@pytest.mark.parametrize(
    "layer, rate, epochs, solves",
    [
        (nn.LSTM(32), 1e-2, 9, True),
        (nn.GRU(32), 1e-2, 6, True),
        (nn.RNN(32), 2e-3, 9, False),  # its gradients vanish on the way
    ],
    ids=["LSTM", "GRU", "RNN"],
)
def test_gates_remember_over_a_hundred_steps(layer, rate, epochs, solves):
    steps = 100
    model = nn.Sequential([nn.Input((steps, 2)), layer, nn.Dense(1)], seed=1)
    model.compile(nn.Adam(rate, clipnorm=1.0), "mse")
    x, y = adding_problem(8000, steps, 0)
    model.fit(x, y, batch_size=50, epochs=epochs, verbose=False)
    loss = model.evaluate(*adding_problem(1000, steps, 1))["loss"]
    assert loss < 0.01 if solves else loss > 0.1


@pytest.mark.parametrize("layer", [nn.LSTM(8), nn.Bidirectional(nn.GRU(8))], ids=repr)
def test_memory_grows_with_the_steps_no_faster(layer):
    def arena(steps):
        model = nn.Sequential([nn.Input((steps, 3)), layer, nn.Dense(2)])
        model.compile("adam", "cross_entropy")
        model.train_on_batch(np.zeros((4, steps, 3)), np.zeros(4, int))
        training = next(iter(model._plans.values())).arena_bytes
        return np.array([training, model._plan("inference", 4).arena_bytes])

    few, many, most = arena(64), arena(1024), arena(4096)
    assert ((most - few) / 4032 <= 1.1 * (many - few) / 960 + 64).all()


def test_inference_keeps_a_few_steps_only():
    """The arena has x and y, not the gates of all steps."""
    steps, units = 2000, 64
    model = nn.Sequential([nn.Input((steps, 3)), nn.LSTM(units)])
    model(np.zeros((2, steps, 3), np.float32))
    gates = steps * 4 * units * 4  # bytes a row
    assert model._plan("inference", 2).arena_bytes < gates


def test_a_sequence_of_one_step_and_one_of_thousands():
    for steps in (1, 5000):
        model = nn.Sequential([nn.Input((steps, 1)), nn.GRU(3), nn.Dense(2)], seed=0)
        model.compile("sgd", "cross_entropy")
        loss = model.train_on_batch(np.ones((2, steps, 1)), [0, 1])
        assert np.isfinite(loss)
