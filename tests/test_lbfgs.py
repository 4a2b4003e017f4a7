"""LBFGS: the minimum that scipy finds, and what it refuses."""

import numpy as np
import pytest

import nncore as nn
from test_training import LABELS, X, Y, regressor


def test_lbfgs_finds_the_minimum_that_scipy_finds():
    from scipy.optimize import minimize

    model = nn.Sequential([nn.Input((6,)), nn.Dense(3)], seed=0, dtype="float64")
    model.compile(nn.LBFGS(weight_decay=0.01), "cross_entropy")
    x, one_hot = X.astype(float), np.eye(3)[LABELS]

    def loss(flat):
        z = x @ flat[:18].reshape(3, 6).T + flat[18:]
        log_sum = np.log(np.exp(z).sum(1))
        return (log_sum - (z * one_hot).sum(1)).mean() + 0.005 * flat @ flat

    best = minimize(loss, np.zeros(21), method="BFGS", options={"gtol": 1e-7})
    history = model.fit(x, LABELS, batch_size=13, epochs=200)
    decay = 0.005 * best.x @ best.x  # no part of the loss in reports, as with other optimizers
    assert history.history["loss"][-1] == pytest.approx(best.fun - decay, rel=1e-6)
    found = np.concatenate([model.params["0.weight"].ravel(), model.params["0.bias"]])
    np.testing.assert_allclose(found, best.x, atol=1e-3)
    assert len(history.epoch) < 200


def test_lbfgs_goes_on_until_the_tolerance_is_reached():
    """Small steps of a small loss are no reason to stop."""
    x = np.linspace(-3, 3, 50)[:, None]
    y = 1e-4 * np.sin(x)
    model = nn.Sequential(
        [nn.Input((1,)), nn.Dense(4, "tanh"), nn.Dense(1)], seed=0, dtype="float64"
    )
    model.compile(nn.LBFGS(tolerance=1e-9), "mse")
    model.fit(x, y, epochs=1000)
    _, gradients = model.gradients(x, y)
    assert max(abs(g).max() for g in gradients.values()) <= 1e-9


class SpoiltLater(nn.losses.Loss):
    """The mean squared error, NaN once ``spoilt`` has something."""

    spoilt: list = []  # noqa: RUF012

    def forward(self, y_true, y_pred):
        return ((y_pred - y_true) ** 2).mean(1) + (np.nan if self.spoilt else 0.0)

    def backward(self, y_true, y_pred):
        return 2 * (y_pred - y_true) / y_pred.shape[1]


@pytest.mark.parametrize("step", [1, 2])
def test_lbfgs_stops_at_a_loss_that_is_not_finite(step):
    model, before = regressor(nn.LBFGS(), SpoiltLater(), dtype="float64"), {}
    SpoiltLater.spoilt.clear()

    def spoil(model, epoch):
        before.update({name: view.copy() for name, view in model.params.items()})
        SpoiltLater.spoilt.extend([True] * (epoch == step - 1))

    hook = nn.callbacks.LambdaCallback(on_epoch_begin=spoil)
    with pytest.raises(nn.NonFiniteError, match="loss is not finite in step") as caught:
        model.fit(X, Y, epochs=5, callbacks=[hook])
    assert caught.value.step == step
    for name, view in model.params.items():
        assert np.array_equal(view, before[name])


def test_lbfgs_refuses_batches_before_anything_begins():
    model, began = regressor(nn.LBFGS()), []
    history = model.fit(X, Y)
    hook = nn.callbacks.LambdaCallback(on_train_begin=began.append)
    with pytest.raises(ValueError, match="LBFGS needs the whole data set"):
        model.fit([(X, Y)], callbacks=[hook])
    assert not began and model.history is history


def test_lbfgs_names_the_layer_whose_numbers_are_not_finite():
    model = regressor(nn.LBFGS())
    model.params["1.weight"][1, 2] = np.inf
    before = model.params["1.weight"].copy()
    with pytest.raises(nn.NonFiniteError, match="layer '1' is the first") as caught:
        model.fit(X, Y, batch_size=16)
    assert (caught.value.step, caught.value.layer) == (1, "1")
    assert np.array_equal(model.params["1.weight"], before)
    model.params["1.weight"][1, 2], model.params["0.weight"][0, 0] = 0, np.inf
    with pytest.raises(nn.NonFiniteError, match="parameter is not finite"):  # tanh hides it
        model.fit(X, Y)
