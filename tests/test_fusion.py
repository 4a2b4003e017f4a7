"""Plans fuse ops, which nobody sees from outside: results are those of the plain plan."""

import numpy as np
import pytest

import nncore as nn
from nncore._kernels import convolution_choice
from nncore.plan import Plan

IMAGE = (9, 12, 3)
CONVOLUTIONS = {
    "3x3": lambda: nn.Conv2D(8, 3, padding="same"),
    "one filter": lambda: nn.Conv2D(1, (2, 3), padding="same"),
    "stride 2": lambda: nn.Conv2D(4, 3, 2),
    "1x1": lambda: nn.Conv2D(5, 1, use_bias=False),
    "groups": lambda: nn.Conv2D(6, 3, groups=3),
    "depthwise": lambda: nn.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
    "transposed": lambda: nn.Conv2DTranspose(4, 3, 2),
    "dense": lambda: nn.Dense(7),
}
FOLLOWERS = {
    "relu": lambda: [nn.Activation("relu")],
    "gelu": lambda: [nn.Activation("gelu")],
    "softmax": lambda: [nn.Activation("softmax")],
    "normalized": lambda: [nn.BatchNormalization()],
    "normalized, tanh": lambda: [nn.BatchNormalization(), nn.Activation("tanh")],
    "twice": lambda: [nn.BatchNormalization(), nn.BatchNormalization(), nn.Activation("relu")],
    "tanh, normalized": lambda: [nn.Activation("tanh"), nn.BatchNormalization()],
    "flat": lambda: [nn.Flatten(), nn.Activation("relu")],
}


def randomized(model: nn.Model) -> nn.Model:
    """With biases, scales and running statistics that are not what they begin with."""
    rng = np.random.default_rng(3)
    for view in [*model.params.values(), *model.buffers.values()]:
        view[...] = rng.uniform(0.2, 0.9, view.shape) * rng.choice([-1, 1], view.shape)
    for name, view in model.buffers.items():
        if name.endswith("var"):
            view[...] = abs(view)
    return model


def ops(model: nn.Model, rows: int = 1, purpose: str = "inference") -> list[str]:
    found = Plan(model.graph, model._parameters, purpose, rows).ops
    return [type(op).__name__ for op in found if type(op).__name__ != "Gather"]


@pytest.mark.parametrize("members", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("follower", FOLLOWERS)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_fused_is_what_plain_is(plain, team, name, follower, dtype, members):
    team(members)
    layers = [nn.Input(IMAGE), CONVOLUTIONS[name](), *FOLLOWERS[follower]()]
    model = randomized(nn.Sequential(layers, seed=0, dtype=dtype))
    for rows in (1, 5):
        x = np.random.default_rng(rows).standard_normal((rows, *IMAGE)).astype(dtype)
        expected = plain(model, x)
        tolerance = 1e-12 if dtype == "float64" else 2e-5
        np.testing.assert_allclose(model(x), expected, tolerance, tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("algorithm", [*convolution_choice.ALGORITHMS, None])
@pytest.mark.parametrize("members", [1, 2])
def test_residual_additions_are_fused(plain, team, algorithm, members, dtype):
    """Identity, projection, and a shortcut that is not there yet when the body ends; images and
    filters that are no multiple of a tile and a vector."""
    team(members)
    convolution_choice.force(algorithm)
    try:
        body = lambda: [nn.Conv2D(11, 3, padding="same"), nn.BatchNormalization()]  # noqa: E731
        model = nn.Sequential(
            [
                nn.Input((9, 10, 3)),
                nn.Conv2D(11, 3, padding="same", activation="relu"),
                nn.Residual([*body(), nn.Activation("relu"), *body()], activation="relu"),
                nn.Residual(body(), [nn.Conv2D(11, 1)], activation="tanh"),
                nn.Residual([nn.Residual(body()), *body()]),
            ],
            seed=1,
            dtype=dtype,
        )
        randomized(model)
        for rows in (1, 7):
            x = np.random.default_rng(rows).standard_normal((rows, 9, 10, 3)).astype(dtype)
            expected = plain(model, x)
            rtol, atol = 1e-10, 1e-10
            if dtype == "float32":  # six in a row, each as exact as set_convolution_precision says
                rtol, atol = 0, 6 * 4e-6 * abs(expected).max()
            np.testing.assert_allclose(model(x), expected, rtol, atol)
    finally:
        convolution_choice.force(None)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("members", [1, 2])
def test_products_are_finished_piece_by_piece(plain, team, members, dtype):
    """1x1 convolutions of more pixels than stay in a cache until they are finished."""
    team(members)
    x = np.random.default_rng(0).standard_normal((3, 31, 33, 70)).astype(dtype)
    body = [nn.Conv2D(70, 1), nn.BatchNormalization()]
    layers = [nn.Input(x.shape[1:]), nn.Residual(body, activation="relu")]
    model = randomized(nn.Sequential(layers, dtype=dtype))
    assert ops(model) == ["Convolution"]
    for _ in range(2):
        for rows in (1, 3):
            tolerance = 1e-12 if dtype == "float64" else 2e-5
            np.testing.assert_allclose(
                model(x[:rows]), plain(model, x[:rows]), tolerance, tolerance
            )
        model.params["0.body.0.weight"][...] *= 2  # what was packed is no longer true


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_relu_waits_for_sums_that_are_made_in_parts(plain, dtype):
    """Column by column of windows that reach over the border of the image."""
    layers = [nn.Input((8, 8, 16)), nn.Conv2D(11, 7, padding="same", activation="relu")]
    model = randomized(nn.Sequential(layers, dtype=dtype))
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 16)).astype(dtype)
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    np.testing.assert_allclose(model(x), plain(model, x), tolerance, tolerance)


def test_what_is_fused_runs_as_one_op():
    def after(*layers):
        return ops(nn.Sequential([nn.Input((8, 8, 4)), nn.Conv2D(4, 3, padding="same"), *layers]))

    conv = "Convolution"
    assert after(nn.BatchNormalization(), nn.Activation("relu")) == [conv]
    assert after(nn.Activation("softmax")) == [conv, "Activation"]
    assert after(nn.Activation("relu"), nn.BatchNormalization()) == [conv, "RunningNormalization"]
    dense = nn.Sequential([nn.Input((4,)), nn.Dense(3), nn.BatchNormalization()])
    assert ops(dense) == ["Dense", "RunningNormalization"]  # its weights are more than its output
    block = nn.Residual([nn.Conv2D(4, 1), nn.BatchNormalization()], activation="relu")
    assert after(block) == [conv, conv]
    # Read twice: what the convolution gives must be there for both.
    assert after(nn.Residual([nn.Activation("relu")])) == [conv, "Activation", "Add"]


POOLS = {
    "tiles": nn.MaxPool2D(2),
    "overlapping": nn.MaxPool2D(3, 1, padding="same"),
    "apart": nn.MaxPool2D(2, 3),
    "global": nn.GlobalMaxPool2D(),
    "one axis": nn.MaxPool1D(3),
}


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("channels", [3, 20])
@pytest.mark.parametrize("pool", POOLS)
def test_a_maximum_takes_the_relu_before_it(monkeypatch, team, pool, channels, members):
    """Also where windows have ties, nothing above 0, or NaN."""
    team(members)
    x = np.random.default_rng(0).integers(-3, 2, (5, 7, 9, channels)).astype(np.float32)
    x[0, :4, :4] = -1
    x[1, 2, 3] = np.nan
    if pool == "one axis":
        x = x.reshape(5, 63, channels)
    layers = [nn.Input(x.shape[1:]), nn.Activation("relu"), POOLS[pool]]
    results = []
    for fusing in (True, False):
        if not fusing:
            monkeypatch.setattr("nncore.plan.fuse", lambda *_: None)
        model = nn.Sequential(layers)
        y = model.forward(x)
        dy = 1.0 + np.arange(y.size).reshape(y.shape)
        results.append((y, model.backward(dy), model(x)))
    for fused, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(fused, expected)


def test_a_relu_that_something_else_reads_stays():
    def after(*layers):
        return ops(nn.Sequential([nn.Input((4, 4, 1)), *layers]), purpose="training")

    relu, pool = nn.Activation("relu"), nn.MaxPool2D(3, 1, "same")
    assert after(relu, pool) == ["MaxPool"]
    assert after(nn.Activation("gelu"), pool) == ["Activation", "MaxPool"]
    assert after(relu, nn.Residual([pool])) == ["Activation", "MaxPool", "Add"]
    x = nn.Input((4, 4, 1))
    h = relu(x)
    model = nn.Model(x, [h, pool(h)])
    first, second = model(np.full((1, 4, 4, 1), -1.0))
    assert not first.any() and not second.any()


def test_an_output_of_the_network_stays_what_it_is():
    x = nn.Input((4,))
    h = nn.Dense(3)(x)
    model = nn.Model(x, [h, nn.Activation("relu")(h)], seed=0)
    first, second = model(np.random.default_rng(0).standard_normal((9, 4)))
    assert (first < 0).any()
    np.testing.assert_array_equal(second, np.maximum(first, 0))
