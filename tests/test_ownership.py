"""What outlives what: plans, optimizers, copies and children never reach memory that is gone."""

import copy
import importlib
import inspect
import os
import pickle
import pkgutil

import numpy as np
import pytest

import nncore as nn
from nncore import _kernels

X = np.random.default_rng(0).normal(size=(60, 20)).astype(np.float32)
Y = np.arange(60) % 3


def network(optimizer="adam"):
    model = nn.Sequential([nn.Input((20,)), nn.Dense(30, "relu"), nn.Dense(3)], seed=0)
    model.compile(optimizer, "cross_entropy")
    return model


class During(nn.callbacks.Callback):
    """Does something once, in the middle of `fit`."""

    def __init__(self, act):
        self.act = act

    def on_batch_end(self, model, batch, logs):
        if batch == 1:
            self.act(model)


def test_compile_is_refused_while_the_model_trains():
    model = network()
    with pytest.raises(RuntimeError, match="being trained"):
        act = During(lambda model: model.compile("sgd", "cross_entropy"))
        model.fit(X, Y, batch_size=10, callbacks=[act], verbose=False)
    assert isinstance(model.optimizer, nn.Adam)
    model.fit(X, Y, verbose=False)


def test_compile_forgets_the_forward_pass_before():
    model = network()
    model.forward(X)
    model.compile("sgd", "cross_entropy")
    model.apply_gradients()
    with pytest.raises(RuntimeError, match="call forward"):
        model.backward(np.zeros((60, 3)))


def test_an_update_between_forward_and_backward_is_refused():
    """The gradient would be one of neither the old parameters nor the new ones."""
    model = network("sgd")
    for step in (model.apply_gradients, lambda: model.train_on_batch(X, Y)):
        model.forward(X)
        step()
        with pytest.raises(RuntimeError, match="took a step since forward"):
            model.backward(np.ones((60, 3)))


def test_an_optimizer_is_fixed_but_for_its_rate():
    model = network()
    with pytest.raises(AttributeError, match="not writable"):
        model.optimizer = nn.SGD(1.0)
    with pytest.raises(AttributeError, match="beta_1 is fixed, only learning_rate may change"):
        model.optimizer.beta_1 = 0.5
    before = {name: view.copy() for name, view in model.params.items()}
    model.optimizer.learning_rate = 0
    model.train_on_batch(X, Y)
    assert all((before[name] == view).all() for name, view in model.params.items())


def test_parameters_can_be_copied():
    model = network()
    copies = [f(model.params) for f in (copy.copy, copy.deepcopy)]
    copies.append(pickle.loads(pickle.dumps(model.params)))
    assert [type(c) for c in copies] == [dict] * 3
    assert all((c["0.weight"] == model.params["0.weight"]).all() for c in copies)
    assert copies[0]["0.weight"] is model.params["0.weight"]  # shallow: the same views
    for deep in copies[1:]:
        assert not np.shares_memory(deep["0.weight"], model.params["0.weight"])


def test_what_holds_addresses_is_not_copied():
    """A copy of an op would reach its plan's memory when the plan is gone."""
    modules = pkgutil.iter_modules(_kernels.__path__, "nncore._kernels.")
    classes = {
        member
        for name in [module.name for module in modules]
        for _, member in inspect.getmembers(importlib.import_module(name), inspect.isclass)
        if member.__module__ == name and not issubclass(member, BaseException)
    }
    assert len(classes) > 40
    for kind in classes:
        try:
            compiled = kind.__new__(kind)
        except TypeError:  # its memory needs a size
            continue
        for copied in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot pickle"):
                copied(compiled)


def test_a_deep_network_can_be_copied():
    model = nn.Sequential([nn.Input((2,)), *[nn.Dense(2) for _ in range(600)]], seed=0)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert (other([[1.0, 2.0]]) == model([[1.0, 2.0]])).all()


@pytest.mark.parametrize("layer", [nn.Flatten(), nn.Dropout(0.5), nn.Activation("linear")])
def test_an_output_may_be_the_input(layer):
    model = nn.Sequential([nn.Input((20,)), layer])
    x = nn.Input((20,))
    for network in (model, nn.Model(x, [x, layer(x), nn.Activation("tanh")(layer(x))])):
        found = network(X)
        for y in [found] if network is model else found[:2]:
            assert np.array_equal(y, X) and not np.shares_memory(y, X)
        if network is not model:
            assert not np.shares_memory(*found[:2])
            np.testing.assert_allclose(found[2], np.tanh(X), atol=1e-6)
    model.compile("sgd", "mse", metrics=["mse"])
    scores = model.evaluate(X, np.zeros_like(X))
    assert scores["mse"] == pytest.approx((X.astype(float) ** 2).mean(), rel=1e-6)


def test_weights_of_steps_must_fit_every_output():
    x = nn.Input((5, 2))
    model = nn.Model(x, [nn.Dense(3)(x), nn.Reshape((5000, 1))(nn.Dense(5000)(nn.Flatten()(x)))])
    model.compile("sgd", "mse")
    data = np.zeros((4, 5, 2)), [np.zeros((4, 5, 3)), np.zeros((4, 5000, 1))]
    with pytest.raises(ValueError, match=r"sample_weight of shape \(4, 5\); expected \(4,\)"):
        model.evaluate(*data, sample_weight=np.ones((4, 5)))
    model.evaluate(*data, sample_weight=np.ones(4))
    model = nn.Model(x, [nn.Dense(3)(x), nn.Dense(1)(x)])
    model.compile("sgd", "mse")
    data = np.zeros((4, 5, 2)), [np.ones((4, 5, 3)), np.ones((4, 5, 1))]
    whole = model.evaluate(*data)["loss"]
    early = np.tile(np.arange(5) < 2, (4, 1))
    halves = [model.evaluate(*data, sample_weight=half)["loss"] for half in (early, ~early)]
    assert min(halves) > 0 and sum(halves) == pytest.approx(whole, rel=1e-6)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_may_train_what_its_parent_was_training():
    def fork(model):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                model.train_on_batch(X, Y)
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0

    network().fit(X, Y, batch_size=10, callbacks=[During(fork)], verbose=False)


def test_denormals_are_the_users_in_layers_of_their_own():
    class Tiny(nn.Layer):
        def forward(self, x):
            return x * np.float32(1e-40) * np.float32(1e38)

    model = nn.Sequential([nn.Input((1,)), Tiny()])
    assert model([[1.0]])[0, 0] == pytest.approx(0.01, rel=1e-3)


def test_a_layer_takes_sixty_four_inputs():
    inputs = [nn.Input((1,)) for _ in range(65)]

    class Sum(nn.Layer):
        def forward(self, *x):
            return sum(x)

        def backward(self, dy, y, *x):
            return [dy] * len(x)

    model = nn.Model(inputs[:64], Sum()(inputs[:64]))
    model.forward([np.ones((1, 1))] * 64)
    assert [g.item() for g in model.backward([[2.0]])] == [2.0] * 64
    with pytest.raises(ValueError, match="65 inputs and parameters; a layer takes 64"):
        nn.Model(inputs, Sum()(inputs))([np.ones((1, 1))] * 65)
