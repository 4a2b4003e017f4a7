"""BatchNormalization: both its modes, its running statistics, and what it leaves alone."""

import numpy as np
import pytest

import nncore as nn
from support import randomize

SHAPES = [(shape, n) for shape in [(5,), (1,), (4, 3, 17), (2, 2, 40)] for n in (2, 7, 50)]
SHAPES += [((300,), 7), ((300,), 400)]  # of 300 channels some have two rows too alike for float32
TOLERANCE = {"float64": 1e-12, "float32": 2e-6}


def network(shape, dtype="float64", **options):
    return randomize(
        nn.Sequential([nn.Input(shape), nn.BatchNormalization(**options)], dtype=dtype)
    )


def draw(shape, rows, dtype="float64"):
    """Channels far from zero beside their spread, where careless sums cancel."""
    rng = np.random.default_rng(3)
    return (rng.normal(size=(rows, *shape)) + 30 * rng.normal(size=shape[-1])).astype(dtype)


def statistics(x):
    axes = tuple(range(x.ndim - 1))
    return x.mean(axes, dtype=float), x.var(axes, dtype=float)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("shape", "rows"), SHAPES)
def test_both_modes_are_pytorchs(shape, dtype, rows):
    torch = pytest.importorskip("torch")
    model, x = network(shape, dtype), draw(shape, rows, dtype)
    model.buffers["0.running_mean"][...] = x.mean(tuple(range(x.ndim - 1)))
    model.buffers["0.running_var"][...] = 0.7
    dy = np.random.default_rng(4).normal(size=x.shape).astype(dtype)
    for training in (False, True):
        leaves = {
            name: torch.tensor(value.astype(float), requires_grad=True)
            for name, value in (("x", x), *model.params.items())
        }
        y = torch.nn.functional.batch_norm(
            leaves["x"].movedim(-1, 1),
            *(torch.tensor(b.astype(float)) for b in model.buffers.values()),
            leaves["0.weight"],
            leaves["0.bias"],
            training=training,
            eps=1e-3,
        ).movedim(1, -1)
        found = {"y": model.forward(x, training=training)}
        expected = {"y": y}
        if training:
            found |= {"x": model.backward(dy), **model.grads}
            y.backward(torch.tensor(dy.astype(float)))
            expected |= {name: leaf.grad for name, leaf in leaves.items()}
        for name, value in found.items():
            exact = expected[name].detach().numpy()
            error = abs(value - exact).max() / max(1e-2, abs(exact).max())
            assert error < 10 * TOLERANCE[dtype], f"{name}, training={training}: {error}"


def test_running_statistics_follow_each_step():
    model = network((2, 5), momentum=0.75)
    model.compile("sgd", "mse")
    mean, var = np.zeros(5), np.ones(5)
    for rows in (6, 3):
        x = draw((2, 5), rows)
        model.train_on_batch(x, np.zeros_like(x))
        batch = statistics(x)
        mean, var = 0.75 * mean + 0.25 * batch[0], 0.75 * var + 0.25 * batch[1]
    np.testing.assert_allclose(model.buffers["0.running_mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(model.buffers["0.running_var"], var, rtol=1e-12)


def test_only_steps_and_forward_move_them():
    x = draw((5,), 8)
    model = network((5,))
    model.compile("sgd", "mse")

    def kept():
        return {name: value.copy() for name, value in model.buffers.items()}

    before = kept()
    model(x)
    model.gradients(x, x)
    model.evaluate(x, x)
    assert all((before[name] == value).all() for name, value in kept().items())
    model.forward(x)
    moved = kept()
    assert all((before[name] != value).any() for name, value in moved.items())
    model.params["0.weight"][0] = 1e200
    with pytest.raises(nn.NonFiniteError):
        model.train_on_batch(x, 1e200 * x)
    assert all((moved[name] == value).all() for name, value in kept().items())


@pytest.mark.parametrize("shape", [(3, 3, 21), (300,)], ids=str)
@pytest.mark.parametrize("rows", [1, 2, 50, 400])
def test_statistics_do_not_depend_on_the_team(rows, shape, team):
    x = draw(shape, rows, "float32")
    found = []
    for members in (1, 2, 3):
        team(members)
        model = network(shape, "float32")
        y, dx = model.forward(x), model.backward(x)
        found.append([y, dx, *model.grads.values(), *model.buffers.values()])
    for other in found[1:]:
        assert all(a.tobytes() == b.tobytes() for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(4,), (1, 4), (1, 1, 37)], ids=str)
@pytest.mark.parametrize("epsilon", [1e-3, 1e-30])
def test_a_batch_of_one_value_is_finite(shape, dtype, epsilon, team):
    """y = bias and no gradients but the bias's; statistics follow, with variance 0."""
    for members in (1, 2):
        team(members)
        model, x = network(shape, dtype, epsilon=epsilon, momentum=0.75), draw(shape, 1, dtype)
        dy = np.random.default_rng(5).normal(size=x.shape).astype(dtype)
        assert (model.forward(x) == model.params["0.bias"]).all()
        assert not model.backward(dy).any() and not model.grads["0.weight"].any()
        assert (model.grads["0.bias"] == dy.ravel()).all()
        mean, var = model.buffers.values()
        np.testing.assert_allclose(mean, 0.25 * x.ravel(), rtol=1e-6)
        assert (var == 0.75).all()


def test_training_goes_on_after_a_batch_of_one():
    """The last batch of an epoch has one row, of one pixel behind the pooling."""
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(17, 4, 4, 3)), rng.integers(0, 3, 17)
    layers = [
        nn.Input((4, 4, 3)), nn.Conv2D(8, 3), nn.BatchNormalization(), nn.Activation("relu"),
        nn.MaxPool2D(2), nn.Conv2D(5, 1, use_bias=False), nn.BatchNormalization(momentum=0.5),
        nn.Flatten(), nn.Dense(3, "softmax"),
    ]  # fmt: skip
    model = nn.Sequential(layers, seed=0)
    model.compile("adam", "cross_entropy")
    losses = model.fit(x, y, batch_size=8, epochs=30, verbose=False).history["loss"]
    losses += [model.train_on_batch(x[:1], y[:1]) for _ in range(30)]
    assert np.isfinite(losses).all() and losses[29] < 0.8 * losses[0]
    assert np.isfinite(model(x)).all() and np.isfinite([*model.buffers["5.running_var"]]).all()


def test_training_goes_on_from_a_file_to_the_bit(tmp_path):
    x = draw((4,), 40, "float32")
    model = nn.Sequential(
        [nn.Input((4,)), nn.Dense(8), nn.BatchNormalization(), nn.Dense(4)], seed=1
    )
    model.compile("adam", "mse")
    model.fit(x, x, epochs=2, verbose=False)
    model.save(tmp_path / "m.safetensors")
    other = nn.load(tmp_path / "m.safetensors")
    for one in (model, other):
        one.fit(x, x, epochs=2, verbose=False)
    for name, value in {**model.params, **model.buffers}.items():
        assert value.tobytes() == {**other.params, **other.buffers}[name].tobytes(), name


def test_what_is_not_finite_is_not_kept():
    model = network((2,), "float32")
    model.forward([[np.nan, 1.0], [2.0, 3.0]])
    model.forward([[1e30, 1.0], [-1e30, 3.0]])
    assert all(np.isfinite(value).all() for value in model.buffers.values())


def test_lbfgs_refuses_running_statistics():
    model = network((2,))
    with pytest.raises(ValueError, match="LBFGS: received a network with 0.running_mean"):
        model.compile("lbfgs", "mse")
