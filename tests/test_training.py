"""What `fit`, `evaluate` and the calls of one's own training loop mean."""

import copy

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

import nncore as nn

RNG = np.random.default_rng(2)
X = RNG.normal(size=(70, 6)).astype(np.float32)
LABELS = RNG.integers(0, 3, 70)
Y = RNG.normal(size=(70, 2)).astype(np.float32)


def classifier(optimizer="adam", metrics=(), dropout=0.0, seed=0):
    layers = [nn.Input((6,)), nn.Dense(8, "tanh"), nn.Dropout(dropout), nn.Dense(3, "softmax")]
    model = nn.Sequential(layers, seed=seed)
    model.compile(optimizer, "cross_entropy", metrics=metrics)
    return model


def regressor(optimizer="sgd", loss="mse", **options):
    layers = [nn.Input((6,)), nn.Dense(5, "tanh"), nn.Dense(2)]
    model = nn.Sequential(layers, seed=0, **options)
    model.compile(optimizer, loss)
    return model


def assert_same(one, other, **tolerance):
    for name, view in one.params.items():
        np.testing.assert_allclose(view, other.params[name], **{"rtol": 0, **tolerance})


def log_loss(probabilities, labels):
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


# ---- fit -----------------------------------------------------------------------------------------


def test_fit_is_steps_over_batches_in_order():
    """Without shuffling, fit is train_on_batch on slices, the remainder as a smaller batch."""
    fitted, stepped = classifier(), classifier()
    history = fitted.fit(X, LABELS, batch_size=32, epochs=2, shuffle=False)
    for epoch in range(2):
        total = 0.0
        for first in range(0, 70, 32):
            x, y = X[first : first + 32], LABELS[first : first + 32]
            total += stepped.train_on_batch(x, y) * len(x)
        assert history.history["loss"][epoch] == pytest.approx(total / 70, rel=1e-6)
    assert_same(fitted, stepped)


def test_shuffling_is_another_order_each_epoch_and_the_same_for_the_same_seed():
    one, other, unshuffled = classifier(seed=5), classifier(seed=5), classifier(seed=5)
    for _ in range(2):
        assert one.fit(X, LABELS).history["loss"] == other.fit(X, LABELS).history["loss"]
        unshuffled.fit(X, LABELS, shuffle=False)
    assert_same(one, other)
    assert not np.array_equal(one.params["0.weight"], unshuffled.params["0.weight"])


def test_each_row_is_seen_once_in_each_epoch():
    seen = []

    class Spy(nn.Layer):
        def forward(self, x):
            seen.extend(x[:, 0].tolist())
            return x

        def backward(self, dy, y, x):
            return dy

    model = nn.Sequential([nn.Input((1,)), Spy(), nn.Dense(1)], seed=0)
    model.compile("sgd", "mse")
    rows = np.arange(10, 33.0)[:, None]
    model.train_on_batch(rows[:5], rows[:5])
    orders = []
    for _ in range(3):
        seen.clear()
        model.fit(rows, rows * 0, batch_size=5)
        orders.append([row for row in seen if row >= 10])  # 1 is the trial of the layer
        assert sorted(orders[-1]) == rows[:, 0].tolist()
    assert orders[0] != orders[1] != orders[2]


def test_history():
    model = classifier(metrics=["accuracy", nn.metrics.TopK(k=2)])
    history = model.fit(X, LABELS, epochs=3, validation_data=(X[:20], LABELS[:20]))
    assert set(history.history) == {
        "loss", "accuracy", "top_k", "val_loss", "val_accuracy", "val_top_k", "seconds"
    }  # fmt: skip
    assert all(len(values) == 3 for values in history.history.values())
    assert history.epoch == [0, 1, 2] and not history.interrupted and model.history is history
    assert all(isinstance(v, float) for values in history.history.values() for v in values)
    again = model.evaluate(X[:20], LABELS[:20])
    assert history.history["val_loss"][-1] == again["loss"]
    assert history.history["val_top_k"][-1] == again["top_k"]


def test_validation_split_keeps_the_last_rows_from_training():
    split, given = classifier(), classifier()
    one = split.fit(X, LABELS, epochs=2, validation_split=0.3)
    other = given.fit(X[:49], LABELS[:49], epochs=2, validation_data=(X[49:], LABELS[49:]))
    assert_same(split, given)
    assert one.history["val_loss"] == other.history["val_loss"]


def test_validation_split_of_few_rows_counts_rows_not_roundings():
    history = classifier().fit(X[:10], LABELS[:10], validation_split=0.9)  # 10 (1 - 0.9) < 1
    assert "val_loss" in history.history


def test_metrics_of_a_frozen_model_are_scikit_learns():
    names = ["accuracy", nn.metrics.Precision(), nn.metrics.Recall(), nn.metrics.F1()]
    model = classifier(nn.SGD(0.0), metrics=names)
    history = model.fit(X, LABELS, batch_size=16).history
    guess = model.predict(X).argmax(1)
    mean = {"average": "macro", "zero_division": 0}
    expected = {
        "loss": log_loss(model.predict(X), LABELS),
        "accuracy": sklearn_metrics.accuracy_score(LABELS, guess),
        "precision": sklearn_metrics.precision_score(LABELS, guess, **mean),
        "recall": sklearn_metrics.recall_score(LABELS, guess, **mean),
        "f1": sklearn_metrics.f1_score(LABELS, guess, **mean),
    }
    evaluated = model.evaluate(X, LABELS)
    for name, value in expected.items():
        assert history[name] == [pytest.approx(value, rel=1e-6)]
        assert evaluated[name] == pytest.approx(value, rel=1e-6)


def test_evaluate_is_in_inference_mode_and_independent_of_the_batch_size():
    model = classifier(dropout=0.5)
    expected = log_loss(model(X), LABELS)
    for batch_size in (1, 7, 70, 1000):
        assert model.evaluate(X, LABELS, batch_size) == {"loss": pytest.approx(expected, rel=1e-5)}


def test_dropout_acts_in_training_only():
    model = classifier(dropout=0.5)
    assert np.array_equal(model(X), model(X))
    assert np.array_equal(model(X), model.forward(X, training=False))
    assert not np.allclose(model(X), model.forward(X))
    assert not np.allclose(model.forward(X), model.forward(X))  # another mask each time
    other = classifier(dropout=0.5)
    assert np.array_equal(other.forward(X), classifier(dropout=0.5).forward(X))  # by the seed


# ---- weights of rows and classes -----------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_a_row_of_weight_two_counts_like_two_rows(loss):
    weight = RNG.integers(0, 3, 70)
    weighted, repeated = (regressor(loss=loss, dtype="float64") for _ in range(2))
    one, gradients = weighted.gradients(X, Y, sample_weight=weight)
    other, expected = repeated.gradients(X.repeat(weight, 0), Y.repeat(weight, 0))
    ratio = weight.sum() / 70  # a mean over rows either way, of which there are 70 here
    assert one == pytest.approx(other * ratio, rel=1e-12)
    for name in gradients:
        np.testing.assert_allclose(gradients[name], expected[name] * ratio, rtol=1e-9, atol=1e-14)


def test_class_weight_is_the_sample_weight_of_each_label():
    factors = {0: 0.5, 1: 2.0, 2: 0.0}
    by_class, by_row = classifier(metrics=["accuracy"]), classifier(metrics=["accuracy"])
    weight = np.array([factors[label] for label in LABELS])
    one = by_class.fit(X, LABELS, epochs=2, class_weight=factors)
    other = by_row.fit(X, LABELS, epochs=2, sample_weight=weight)
    assert_same(by_class, by_row)
    assert one.history["accuracy"] == other.history["accuracy"]
    one_hot = classifier()
    one_hot.fit(X, np.eye(3)[LABELS], epochs=2, class_weight=factors)
    assert_same(by_class, one_hot, atol=1e-6)


def test_class_weight_is_for_what_is_trained_on():
    weights = {0: 100, 1: 50, 2: 20}
    split, apart = classifier(nn.SGD(0.0)), classifier(nn.SGD(0.0))
    options = {"class_weight": weights, "shuffle": False}
    one = split.fit(X, LABELS, validation_split=0.5, **options).history
    two = apart.fit(X[:35], LABELS[:35], validation_data=(X[35:], LABELS[35:]), **options).history
    assert one["loss"] == two["loss"] and one["val_loss"] == two["val_loss"]
    assert one["val_loss"][0] < 3 < one["loss"][0]


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "mse"])
def test_class_weight_needs_a_class(loss):
    model, other = regressor(loss=loss), regressor(loss=loss)
    one_hot = np.eye(2)[LABELS % 2]
    model.fit(X, one_hot, class_weight={0: 1, 1: 2}, shuffle=False)
    other.fit(X, one_hot, sample_weight=1 + LABELS % 2, shuffle=False)
    assert_same(model, other)
    one_hot[-1] = 1
    with pytest.raises(ValueError, match="neither one class for each row nor is one-hot"):
        model.fit(X, one_hot, class_weight={0: 1, 1: 2})
    for shape in ((), (1,)):  # the class is the number
        layers = [nn.Input((6,)), nn.Dense(1), nn.Reshape(shape)]
        model, other = (nn.Sequential(layers, seed=0) for _ in range(2))
        for one in (model, other):
            one.compile("sgd", loss)
        y = LABELS % 2
        model.fit(X, y, class_weight={0: 1, 1: 2}, shuffle=False)
        other.fit(X, y, sample_weight=1 + y, shuffle=False)
        assert_same(model, other)


def test_sample_weights_in_validation():
    model, weight = classifier(nn.SGD(0.0), ["accuracy"]), RNG.uniform(size=70)
    history = model.fit(X, LABELS, validation_data=(X, LABELS, weight)).history
    right = model(X).argmax(1) == LABELS
    assert history["val_accuracy"][0] == pytest.approx((right * weight).sum() / weight.sum())
    losses = -np.log(model(X)[np.arange(70), LABELS])
    assert history["val_loss"][0] == pytest.approx((losses * weight).mean(), rel=1e-5)


# ---- one's own loop ------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", "adagrad", "adamw"])
def test_forward_backward_apply_is_train_on_batch(optimizer):
    own = regressor(optimizer, dtype="float64")
    whole = copy.deepcopy(own)
    for _ in range(5):
        y = own.forward(X)
        own.backward(2 * (y - Y) / Y.size)
        own.apply_gradients()
        assert whole.train_on_batch(X, Y) == pytest.approx(((y - Y) ** 2).mean(), rel=1e-12)
        assert_same(own, whole, rtol=1e-9)


def test_gradients_are_those_of_forward_and_backward():
    model = regressor(dtype="float64")
    before = {name: view.copy() for name, view in model.params.items()}
    loss, gradients = model.gradients(X, Y)
    assert list(gradients) == list(model.params)
    y = model.forward(X)
    assert loss == pytest.approx(((y - Y) ** 2).mean(), rel=1e-12)
    dx = model.backward(2 * (y - Y) / Y.size)
    assert dx.shape == X.shape
    for name, gradient in gradients.items():
        np.testing.assert_allclose(model.grads[name], gradient, rtol=1e-9, atol=1e-15)
        assert not np.shares_memory(gradient, model.grads[name])
        assert np.array_equal(model.params[name], before[name])


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_a_step_that_fails_draws_no_random_numbers():
    one, other = classifier(dropout=0.5), classifier(dropout=0.5)
    for model in (one, other):
        model.train_on_batch(X, LABELS)
        if model is other:
            with pytest.raises(ValueError, match="x: received NaN, infinite"):
                model.train_on_batch(X / 0, LABELS, sample_weight=LABELS)
            with pytest.raises(ValueError, match="received y"):
                model.train_on_batch(X, LABELS + 1)
        model.train_on_batch(X, LABELS)
    assert_same(one, other)


def test_a_refused_compile_changes_nothing():
    layers = [nn.Input((6,)), nn.BatchNormalization(), nn.Dense(3)]
    one, other = (nn.Sequential(layers, seed=0) for _ in range(2))
    for model in (one, other):
        model.compile("adam", "cross_entropy")
        model.train_on_batch(X, LABELS)
        if model is other:
            with pytest.raises(ValueError, match="LBFGS: received a network with 0.running_mean"):
                model.compile("lbfgs", "cross_entropy")
        model.train_on_batch(X, LABELS)
    assert_same(one, other)


def test_backward_belongs_to_the_data_of_its_forward():
    model = regressor()
    x = X.copy()
    y = model.forward(x)
    x[...] = 1e6  # what was given may be used again
    del x
    model.backward(2 * (y - Y) / Y.size)
    found = {name: view.copy() for name, view in model.grads.items()}
    _, expected = model.gradients(X, Y)
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 1e-60, 1e-320])
@pytest.mark.parametrize("optimizer", [nn.Adam, nn.AdamW, nn.RMSprop, nn.Adagrad])
def test_no_gradient_and_no_epsilon_is_no_step(optimizer, epsilon):
    model = nn.Sequential([nn.Input((3,)), nn.Dense(2)], seed=0)
    model.compile(optimizer(0.1, epsilon=epsilon, weight_decay=0.0), "mse")
    before = model.params["0.weight"][:, 1].copy()
    model.train_on_batch([[1.0, 0.0, 2.0]], [[3.0, 4.0]])
    assert np.isfinite(model.params["0.weight"]).all()
    assert np.array_equal(model.params["0.weight"][:, 1], before)


def test_a_forward_that_is_refused_leaves_nothing_to_go_backward_from():
    ids = nn.Input((2,))
    model = nn.Model(ids, nn.Embedding(5, 3)(ids))
    dy = np.ones_like(model.forward([[0, 4]]))
    with pytest.raises(ValueError, match="received 5, which is no row of the table"):
        model.forward([[0, 5]])
    with pytest.raises(RuntimeError, match="call forward"):
        model.backward(dy)


def test_a_forward_that_never_ran_leaves_the_one_before():
    model = regressor()
    dy = np.ones_like(model.forward(X))
    expected = model.backward(dy)
    model.forward(X)
    with pytest.raises(ValueError, match="shape"):
        model.forward(X[:, 1:])
    with pytest.raises(TypeError, match="training"):
        model.forward(X, training="yes")
    model.forward(2 * X, training=False)
    assert np.array_equal(model.backward(dy), expected)


# ---- learning rates ------------------------------------------------------------------------------


def test_a_learning_rate_that_is_changed_takes_effect_at_once():
    model = regressor(nn.SGD(0.1))
    for rate in (0.1, 0.0, 0.5):
        model.optimizer.learning_rate = rate
        before = {name: view.copy() for name, view in model.params.items()}
        _, gradients = model.gradients(X, Y)
        model.train_on_batch(X, Y)
        for name, view in model.params.items():
            np.testing.assert_allclose(view, before[name] - rate * gradients[name], atol=1e-7)
        stepped = copy.deepcopy(model)
        model.fit(X, Y, batch_size=70, shuffle=False)
        stepped.train_on_batch(X, Y)
        assert_same(model, stepped)


def test_a_learning_rate_may_be_numpys_and_a_schedule_must_take_arrays():
    optimizer = nn.Adam(np.float32(0.25))
    optimizer.learning_rate = np.float32(0.5)
    assert type(optimizer.learning_rate) is float
    with pytest.raises(ValueError, match=r"failed for an array of steps.*numpy\.where"):
        nn.SGD(lambda step: 0.1 if step < 10 else 0.01)


def test_an_optimizer_has_no_other_settings():
    with pytest.raises(ValueError, match="Adam: unknown setting 'lr'.*learning_rate"):
        nn.Adam().lr = 0.1


@pytest.mark.parametrize("verbose", [np.True_, np.False_])
def test_verbose_may_be_numpys(verbose, capsys):
    regressor().fit(X, Y, verbose=verbose)
    assert bool(capsys.readouterr().err) == bool(verbose)


def test_a_schedule_gives_each_step_its_rate():
    schedule = nn.schedules.WarmUp(3, after=nn.schedules.StepDecay(0.3, factor=0.5, every=2))
    scheduled, by_hand = regressor(nn.SGD(schedule)), regressor(nn.SGD(0.0))
    scheduled.fit(X, Y, batch_size=10, epochs=2, shuffle=False)
    for step in range(14):
        by_hand.optimizer.learning_rate = schedule(step)
        part = slice(step % 7 * 10, step % 7 * 10 + 10)
        by_hand.train_on_batch(X[part], Y[part])
    assert_same(scheduled, by_hand)
    scheduled.train_on_batch(X, Y)
    by_hand.optimizer.learning_rate = schedule(14)
    by_hand.train_on_batch(X, Y)
    assert_same(scheduled, by_hand)


# ---- several inputs and outputs ------------------------------------------------------------------


def test_several_inputs_and_outputs_with_a_loss_each():
    a, b = nn.Input((4,)), nn.Input((2,))
    h = nn.Dense(6, "tanh")(nn.Concatenate()([a, b]))
    model = nn.Model([a, b], [nn.Dense(3, "softmax")(h), nn.Dense(2)(h)], seed=0)
    model.compile("adam", ["cross_entropy", "mse"], metrics=[["accuracy"], ["mae"]])
    xs, ys = [X[:, :4], X[:, 4:]], [LABELS, Y]
    scores = model.evaluate(xs, ys)
    classes, values = model(xs)
    assert scores == {
        "loss": pytest.approx(log_loss(classes, LABELS) + ((values - Y) ** 2).mean(), rel=1e-5),
        "output_0_accuracy": pytest.approx((classes.argmax(1) == LABELS).mean()),
        "output_1_mae": pytest.approx(np.abs(values - Y).mean(), rel=1e-5),
    }
    history = model.fit(xs, ys, epochs=30, validation_split=0.2)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert "val_output_1_mae" in history.history
    with pytest.raises(ValueError, match="expected a list of 2"):
        model.fit(X, ys)
    with pytest.raises(ValueError, match=r"rows; expected as many"):
        model([X[:, :4], X[:5, 4:]])


def test_one_metric_object_for_two_outputs_counts_each_alone():
    x, r2 = nn.Input((6,)), nn.metrics.R2()
    model = nn.Model(x, [nn.Dense(2)(x), nn.Dense(2)(x)], seed=0)
    model.compile("sgd", "mse", metrics=[[r2], [r2]])
    scores, targets = model.evaluate(X, [Y, 9 * Y]), [Y, 9 * Y]
    for i, y in enumerate(model.predict(X)):
        expected = sklearn_metrics.r2_score(targets[i], y)
        assert scores[f"output_{i}_r2"] == pytest.approx(expected, rel=1e-5)


def test_a_flat_list_of_metrics_is_for_all_outputs():
    x = nn.Input((6,))
    model = nn.Model(x, [nn.Dense(2)(x), nn.Dense(2)(x)], seed=0)
    model.compile("sgd", "mse", metrics=["mae", nn.metrics.R2()])
    scores = model.evaluate(X, [Y, 2 * Y])
    for i, y in enumerate(model.predict(X)):
        assert scores[f"output_{i}_mae"] == pytest.approx(np.abs(y - (1 + i) * Y).mean(), rel=1e-5)
    assert set(scores) == {"loss", *(f"output_{i}_{n}" for i in (0, 1) for n in ("mae", "r2"))}
