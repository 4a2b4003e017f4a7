"""Layers and losses written in Python: what goes wrong in them reaches the caller, and the arrays
that they are given stay safe."""

import dataclasses
import gc

import numpy as np
import pytest

import nncore as nn

X = np.linspace(-1, 1, 24).reshape(6, 4)
Y = np.linspace(0, 1, 12).reshape(6, 2)


class Scale(nn.Layer):
    """y = w x, as a user writes it; the tests replace its methods."""

    def parameters(self, x):
        return {"w": (x, "ones")}

    def forward(self, x, w):
        return w * x

    def backward(self, dy, y, x, w):
        return dy * w, (dy * x).sum(0)


def network(layer, loss="mse"):
    model = nn.Sequential([nn.Input((4,)), nn.Dense(4, "tanh"), layer, nn.Dense(2)], seed=0)
    model.compile(nn.Adam(0.01), loss)
    return model


def parameters_of(model):
    return {name: view.copy() for name, view in model.params.items()}


def assert_trains(model):
    before = parameters_of(model)
    model.train_on_batch(X, Y)
    assert all(np.isfinite(view).all() for view in model.params.values())
    assert any(not np.array_equal(view, before[n]) for n, view in model.params.items())


def test_parameters_stay_writable():
    model = network(Scale())
    model(X), model.fit(X, Y), model.gradients(X, Y)
    model.params["1.w"][...] = 2
    assert model.params["1.w"].tolist() == [2, 2, 2, 2]


class Clumsy(Scale):
    """Goes wrong in one method where told to."""

    trouble = None

    def forward(self, x, w):
        if Clumsy.trouble and Clumsy.trouble[0] == "forward" and len(x) > 1:
            return Clumsy.trouble[1](x)
        return super().forward(x, w)

    def backward(self, dy, y, x, w):
        if Clumsy.trouble and Clumsy.trouble[0] == "backward":
            return Clumsy.trouble[1](x)
        return super().backward(dy, y, x, w)


def fail(error):
    def raising(x):
        raise error

    return raising


def overwrite(x):
    x[...] = 0
    return x


TROUBLES = [
    ("forward", fail(KeyError("the user's")), KeyError, "the user's"),
    ("backward", fail(ZeroDivisionError("the user's")), ZeroDivisionError, "the user's"),
    ("forward", lambda x: x[:, :2], ValueError, r"layer '1': forward returned.*\(6, 2\).*\(6, 4\)"),
    ("forward", lambda x: x[:3], ValueError, r"forward returned.*\(3, 4\)"),
    ("forward", lambda x: None, TypeError, r"forward returned None; .*\(6, 4\)"),
    ("forward", lambda x: np.full(x.shape, "a"), TypeError, "dtype <U1; expected real"),
    ("forward", overwrite, ValueError, "read-only"),
    ("backward", overwrite, ValueError, "read-only"),
    ("backward", lambda x: None, TypeError, r"\(.*\): backward returned None; expected"),
    ("backward", lambda x: x, ValueError, "1 gradients; expected 2"),
    ("backward", lambda x: (x, x), ValueError, r"backward returned.*\(6, 4\).*\(4,\)"),
    ("backward", lambda x: (x, x[0], x), ValueError, "3 gradients; expected 2"),
]


@pytest.mark.parametrize(("where", "what", "error", "words"), TROUBLES)
def test_trouble_in_a_layer_reaches_the_caller_and_changes_nothing(where, what, error, words):
    model = network(Clumsy())
    model.train_on_batch(X, Y)
    before = parameters_of(model)
    Clumsy.trouble = (where, what)
    try:
        for call in (model.train_on_batch, model.fit, model.gradients):
            with pytest.raises(error, match=words):
                call(X, Y)
        if where == "forward":
            for call in (model, model.predict, model.forward):
                with pytest.raises(error, match=words):
                    call(X)
    finally:
        Clumsy.trouble = None
    assert all(np.array_equal(view, before[name]) for name, view in model.params.items())
    assert_trains(model)


def test_ctrl_c_in_a_layer_ends_fit():
    model = network(Clumsy())
    Clumsy.trouble = ("backward", fail(KeyboardInterrupt()))
    try:
        assert model.fit(X, Y, epochs=3).interrupted
    finally:
        Clumsy.trouble = None
    assert_trains(model)


def test_the_first_failure_is_the_one_that_is_told():
    class Second(Scale):
        def forward(self, x, w):
            if Clumsy.trouble:
                raise RuntimeError("a consequence")
            return super().forward(x, w)

    model = nn.Sequential([nn.Input((4,)), Clumsy(), Second()], seed=0)
    model(X)
    Clumsy.trouble = ("forward", fail(LookupError("the cause")))
    try:
        with pytest.raises(LookupError, match="the cause"):
            model(X)
    finally:
        Clumsy.trouble = None


def test_a_layer_without_backward_can_only_predict():
    class Half(nn.Layer):
        def forward(self, x):
            return x / 2

    model = network(Half())
    assert model(X).shape == (6, 2)
    with pytest.raises(TypeError, match="Half defines no backward: it can only predict"):
        model.train_on_batch(X, Y)


def test_a_layer_with_neither_build_nor_forward():
    class Empty(nn.Layer):
        pass

    with pytest.raises(TypeError, match="Empty defines neither build nor forward"):
        network(Empty())


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (5, r"parameters returned 5 \(int\); expected a dict"),
        (None, "parameters returned None; expected a dict"),
        ({"w": 5}, r"'w': 5 \(int\); expected a name and"),
        ({5: ((2,), "zeros")}, "5: .*expected a name and"),
        ({"a.b": ((2,), "zeros")}, r"'a\.b': .*expected a name and"),
        ({"w": ((2,), "zeros", 1)}, "expected a name and"),
        ({"w": (5, "zeros")}, r"shape 5 \(int\) for 'w'; expected a tuple"),
        ({"w": ((2.5,), "zeros")}, "each axis of 'w' must be an integer >= 1, received 2.5"),
        ({"w": ((0,), "zeros")}, "each axis of 'w' must be an integer >= 1, received 0"),
        ({"w": ((2,), 7)}, "initializer must be one of"),
    ],
)
def test_parameters_that_are_none(declared, words):
    class Junk(nn.Layer):
        def parameters(self, shape):
            return declared

    with pytest.raises((TypeError, ValueError), match=words) as caught:
        nn.Sequential([nn.Input((4,)), nn.Dense(2), Junk(name="mine")])
    assert "layer 'mine', Junk(" in str(caught.value)


def test_a_forward_that_drops_the_batch_axis():
    class Flat(nn.Layer):
        def forward(self, x):
            return x.sum()

    with pytest.raises(ValueError, match=r"Flat\(\): forward returned shape \(\).*\(1, \.\.\.\)"):
        network(Flat())


def test_arrays_that_a_layer_keeps_outlive_the_model():
    kept = []

    class Keeper(Scale):
        def forward(self, x, w):
            kept.extend((x, w))
            return super().forward(x, w)

        def backward(self, dy, y, x, w):
            kept.extend((dy, y, x, w))
            return super().backward(dy, y, x, w)

    model = network(Keeper())
    model.fit(X.copy(), Y.copy(), epochs=2)
    model(X.copy()), model.forward(X.copy()), model.backward(Y)
    del model
    gc.collect()
    junk = [np.full(1000, 7.0) for _ in range(100)]
    assert all(np.isfinite(array.sum()) for array in kept) and junk
    assert {array.shape for array in kept} >= {(6, 4), (4,)}


def test_a_layer_may_use_its_own_network_but_not_train_it():
    found = []

    class Inward(Scale):
        def forward(self, x, w):
            if len(x) == 6 and len(found) < 2:
                found.append(None)
                found[0] = outer(np.zeros((2, 4)))
                with pytest.raises(RuntimeError, match="trained"):
                    outer.train_on_batch(X, Y)
            return super().forward(x, w)

    outer = network(Inward())
    outer.train_on_batch(X, Y)
    assert np.isfinite(found[0]).all()


class Absolute(nn.losses.Loss):
    """mean |x - t| by hand; the tests replace its methods."""

    def forward(self, y_true, y_pred):
        return np.abs(y_pred - y_true).mean(axis=1)

    def backward(self, y_true, y_pred):
        return np.sign(y_pred - y_true) / y_pred.shape[1]


def test_a_loss_in_python_is_the_built_in_one():
    mine, theirs = network(Scale(), Absolute()), network(Scale(), "mae")
    weight = np.linspace(0, 2, 6)
    for _ in range(5):
        losses = [m.train_on_batch(X, Y, sample_weight=weight) for m in (mine, theirs)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert mine.evaluate(X, Y)["loss"] == pytest.approx(theirs.evaluate(X, Y)["loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("method", "result", "words"),
    [
        ("forward", lambda t, p: np.abs(p - t), r"loss: forward returned.*\(6, 2\).*\(6,\)"),
        ("forward", lambda t, p: 0.0, r"loss: forward returned.*\(\)"),
        ("backward", lambda t, p: p[:, 0], r"loss: backward returned.*\(6,\).*\(6, 2\)"),
        ("forward", lambda t, p: overwrite(p), "read-only"),
        ("backward", lambda t, p: overwrite(t), "read-only"),
    ],
)
def test_trouble_in_a_loss_reaches_the_caller_and_changes_nothing(method, result, words):
    wrong = type("Wrong", (Absolute,), {method: lambda self, t, p: result(t, p)})
    model = network(Scale(), wrong())
    before = parameters_of(model)
    for call in (model.train_on_batch, model.fit, model.gradients):
        with pytest.raises(ValueError, match=words):
            call(X, Y)
    assert all(np.array_equal(view, before[name]) for name, view in model.params.items())


def test_layers_of_a_plain_dataclass_are_two_even_if_they_are_equal():
    """The decorator gives it an equality by fields, with which they would share weights."""

    @dataclasses.dataclass(frozen=True)
    class Plain(Scale):
        factor: float = 1.0
        table: object = dataclasses.field(default_factory=lambda: np.ones(3))  # has no hash

    model = nn.Sequential([nn.Input((4,)), Plain(), nn.Dense(4), Plain()])
    assert [name for name in model.params if name.endswith("w")] == ["0.w", "2.w"]


@pytest.mark.parametrize("value", [np.full((6, 4), 1j), np.full((6, 4), "1.0")], ids=["1j", "'1'"])
def test_what_is_no_real_number_is_refused(value):
    class Strange(nn.Layer):
        def forward(self, x):
            return value if len(x) == 6 else x

    model = nn.Sequential([nn.Input((4,)), Strange()])
    with pytest.raises(TypeError, match="layer '0': forward returned an array of dtype"):
        model(X)


def test_a_layer_that_changes_its_parameters_is_refused():
    class Growing(Scale):
        def parameters(self, x):
            return {"w": ((4,) if Growing.small else (8,), "ones")}

    Growing.small = True
    model = network(Growing())
    Growing.small = False
    with pytest.raises(ValueError, match=r"'w' was declared as \(4,\) and is \(8,\) now"):
        model(X)


def test_a_metric_cannot_write_to_the_targets():
    class Centred(nn.metrics.Metric):
        name = "centred"

        def reset(self):
            pass

        def update(self, y_true, y_pred, sample_weight=None):
            y_true -= y_true.mean()

        def result(self):
            return 0.0

    model = network(Scale())
    model.compile("sgd", "mse", [Centred()])
    with pytest.raises(ValueError, match="read-only"):
        model.fit(X, Y, verbose=False)
