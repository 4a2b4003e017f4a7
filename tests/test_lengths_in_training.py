"""Sequences of unequal lengths: what losses, metrics, weights and `fit` count."""

import copy

import numpy as np
import pytest

import nncore as nn
from sequences import FEATURES, STEPS, near, network, padded, tagger, tags


@pytest.mark.parametrize("weight", [None, "rows", "steps"])
def test_a_loss_over_steps_is_the_mean_of_those_there_are(weight):
    x, y, lengths = tags(8)
    mask = np.arange(STEPS) < lengths[:, None]
    rng = np.random.default_rng(6)
    w = {"rows": rng.uniform(size=8), "steps": rng.uniform(size=(8, STEPS))}.get(weight)
    model = tagger()
    p = np.take_along_axis(model(x, lengths=lengths), y[..., None], -1)[..., 0]
    factor = 1 if w is None else w if w.ndim == 2 else w[:, None]
    expected = -(np.log(p) * mask * factor).sum() / mask.sum()
    loss, grads = model.gradients(x, y, w, lengths)
    assert loss == pytest.approx(expected, rel=1e-12)
    assert model.train_on_batch(x, y, w, lengths=lengths) == pytest.approx(expected, rel=1e-12)
    same = tagger()
    scaled = mask * np.broadcast_to(factor, mask.shape) * (mask.size / mask.sum())
    assert same.gradients(x, y, scaled)[0] == pytest.approx(expected, rel=1e-12)
    for name, grad in same.grads.items():
        near(grads[name], grad, 1e-10)


def test_metrics_count_the_steps_there_are():
    x, y, lengths = tags(30)
    model = tagger()
    mask = np.arange(STEPS) < lengths[:, None]
    right = model(x, lengths=lengths).argmax(-1) == y
    scores = model.evaluate(x, y, lengths=lengths)
    in_batches = model.evaluate(x, y, 7, lengths=lengths)
    assert in_batches["loss"] == pytest.approx(scores["loss"], rel=1e-12)
    assert scores["accuracy"] == pytest.approx(right[mask].mean())


@pytest.mark.parametrize(
    ("optimizer", "batches"), [(nn.SGD(0.0), False), (nn.SGD(0.0), True), (nn.LBFGS(), False)]
)
def test_the_loss_of_an_epoch_counts_steps_not_rows(optimizer, batches):
    x, y, lengths = tags(30)
    lengths[:15] = 1
    model = tagger()
    model.compile(optimizer, "cross_entropy")
    expected = model.evaluate(x, y, lengths=lengths)["loss"]
    options = {"batch_size": 7, "shuffle": False, "verbose": False}
    if isinstance(optimizer, nn.LBFGS):
        history = model.fit(x, y, lengths=lengths, epochs=3, **options)
        expected = model.evaluate(x, y, lengths=lengths)["loss"]
    elif batches:
        parts = [(x[i : i + 7], y[i : i + 7], None, lengths[i : i + 7]) for i in range(0, 30, 7)]
        history = model.fit(parts, verbose=False)
    else:
        history = model.fit(x, y, lengths=lengths, **options)
    assert history.history["loss"][-1] == pytest.approx(expected, rel=1e-6)


def tagger_and_regressor(optimizer):
    """Two outputs: one of the steps, one of the row."""
    x = nn.Input((STEPS, FEATURES))
    h = nn.GRU(4, return_sequences=True)(x)
    model = nn.Model(x, [nn.Dense(4)(h), nn.Dense(1)(nn.GRU(3)(h))], seed=0, dtype="float64")
    model.compile(optimizer, ["cross_entropy", "mse"])
    x, lengths = padded(30)
    long = lengths > 4
    rng = np.random.default_rng(1)
    tags = rng.integers(0, 4, (30, STEPS))
    numbers = np.where(long[:, None], 1.0, 10.0) * rng.normal(size=(30, 1))
    return model, x, [tags, numbers], lengths


@pytest.mark.parametrize("batch", [1, 7, 15, 30])
def test_each_output_of_an_epoch_counts_its_own_answers(batch):
    model, x, y, lengths = tagger_and_regressor(nn.SGD(0.0))
    expected = pytest.approx(model.train_on_batch(x, y, lengths=lengths), rel=1e-12)
    options = {"lengths": lengths, "batch_size": batch}
    assert model.evaluate(x, y, **options)["loss"] == expected
    assert model.fit(x, y, **options, verbose=False).history["loss"] == [expected]


def test_lbfgs_refuses_batches_that_count_differently_for_its_outputs():
    model, x, y, lengths = tagger_and_regressor(nn.LBFGS())
    options = {"lengths": lengths, "epochs": 5, "verbose": False}
    history = model.fit(x, y, batch_size=30, **options).history
    assert history["loss"][-1] == pytest.approx(model.evaluate(x, y, lengths=lengths)["loss"])
    before = {name: view.copy() for name, view in model.params.items()}
    began = []
    hook = nn.callbacks.LambdaCallback(on_train_begin=began.append)
    with pytest.raises(ValueError, match="batch_size 29.*expected one batch of all 30 rows"):
        model.fit(x, y, batch_size=29, callbacks=[hook], **options)
    assert not began and model.history.history is history
    assert all(np.array_equal(view, before[name]) for name, view in model.params.items())


def test_batches_without_lengths_count_all_of_their_steps():
    model = network([nn.GRU(4, return_sequences=True), nn.Dense(1)], STEPS, dtype="float64")
    model.compile(nn.SGD(0.0), "mse", ["mse"])
    x = padded(8)[0]
    y = np.linspace(0, 5, 8)[:, None, None] * np.ones((8, STEPS, 1))
    full = np.full(3, STEPS)
    for parts in ([(x[:3], y[:3], None, full), (x[3:], y[3:])], [(x, y)]):
        scores = model.evaluate(parts)
        assert scores["loss"] == pytest.approx(scores["mse"], rel=1e-12)
        history = model.fit(parts, verbose=False).history
        assert history["loss"] == [pytest.approx(scores["mse"], rel=1e-12)]


def everything(model, x, y, lengths):
    """All that a model says of some data, then the parameters that training on it leads to."""
    options = {"lengths": lengths}
    said = [model.predict(x, **options), model(x, **options)]
    said += model.evaluate(x, y, **options).values()
    loss, gradients = model.gradients(x, y, **options)
    said += [loss, *gradients.values(), model.train_on_batch(x, y, **options)]
    history = model.fit(x, y, validation_data=(x, y, None, lengths), **options).history
    said += [v for name, values in history.items() if name != "seconds" for v in values]
    said += model.fit([(x, y, None, lengths)]).history["loss"]
    return [*said, *model.params.values()]


@pytest.mark.parametrize("padding", [-1, 99, np.nan, np.inf])
@pytest.mark.parametrize("targets", ["labels", "one-hot", "yes or no", "numbers"])
def test_padding_may_be_anything(targets, padding):
    """In x, for tables of words too, and in y."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, STEPS + 1, 12)
    beyond = np.arange(STEPS) >= lengths[:, None]
    x, y = rng.integers(0, 9, (12, STEPS)).astype(float), rng.integers(0, 2, (12, STEPS))
    loss, closing, metric = {
        "labels": ("cross_entropy", nn.Dense(2), "accuracy"),
        "one-hot": ("cross_entropy", nn.Dense(2, "softmax"), "f1"),
        "yes or no": ("binary_cross_entropy", nn.Dense(1), "accuracy"),
        "numbers": ("mse", nn.Dense(1), "mae"),
    }[targets]
    y = np.eye(2)[y] if targets == "one-hot" else y.astype(float)
    results = []
    for fill in (0, padding):
        given = [np.where(beyond, fill, x)]
        given.append(np.where(beyond[..., None] if y.ndim == 3 else beyond, fill, y))
        before = [a.copy() for a in given]
        layers = [nn.Embedding(9, 3), nn.GRU(4, return_sequences=True), closing]
        model = nn.Sequential([nn.Input((STEPS,)), *layers], seed=0)
        model.compile("sgd", loss, metrics=[metric])
        results.append(everything(model, *given, lengths))
        assert all(
            np.array_equal(*pair, equal_nan=True) for pair in zip(given, before, strict=True)
        )
    for one, other in zip(*results, strict=True):
        assert np.array_equal(one, other)
        assert np.isfinite(one).all()


def test_steps_before_the_end_are_no_padding():
    """A step without a class there is told, not taken for one of class 0."""
    x, y, lengths = tags(12)
    y = np.eye(tagger().output_shape[-1])[y]
    y[3, lengths[3] - 1] = 0
    with pytest.raises(ValueError, match="probabilities that sum to 0"):
        tagger().fit(x, y, lengths=lengths)


def of_one(x):
    return nn.GRU(4, return_sequences=True)(x)


def of_a_list(x):
    return nn.GRU(4, return_sequences=True, return_state=True)(x)[0]


def of_two_directions(x):
    return nn.Add()(nn.Bidirectional(nn.GRU(4, return_sequences=True), merge_mode=None)(x))


def of_the_second_direction(x):
    return nn.Bidirectional(nn.GRU(4, return_sequences=True), merge_mode=None)(x)[1]


@pytest.mark.parametrize("hidden", [of_one, of_a_list, of_two_directions, of_the_second_direction])
def test_padding_of_numbers_may_be_nan(hidden):
    _, y, lengths = tags(12)
    x = np.random.default_rng(0).normal(size=(12, STEPS, 3))
    beyond = np.arange(STEPS) >= lengths[:, None]
    results = []
    for fill in (0, np.nan):
        first = nn.Input((STEPS, 3))
        model = nn.Model(first, nn.Dense(3)(hidden(first)), seed=0)
        model.compile("sgd", "mse", metrics=["mae"])
        targets = np.where(beyond[..., None], fill, np.eye(3)[y % 3])
        results.append(everything(model, np.where(beyond[..., None], fill, x), targets, lengths))
    for one, other in zip(*results, strict=True):
        assert np.array_equal(one, other)


def test_what_looks_like_steps_but_is_none_is_not_padding():
    """An output (steps, features) that was made of the last state."""
    _, _, lengths = tags(12)
    x = np.random.default_rng(0).normal(size=(12, STEPS, 3))
    layers = [nn.LSTM(5), nn.Dense(2 * STEPS), nn.Reshape((STEPS, 2))]
    model = nn.Sequential([nn.Input((STEPS, 3)), *layers], seed=0)
    model.compile("sgd", "mse")
    y = np.ones((12, STEPS, 2))
    guess = model(x, lengths=lengths)
    assert model.evaluate(x, y, lengths=lengths)["loss"] == pytest.approx(((guess - y) ** 2).mean())


@pytest.mark.parametrize("shuffle", [False, True])
def test_fit_takes_lengths_along(shuffle):
    x, y, lengths = tags(40)
    by_lengths, by_mask, by_hand = tagger(seed=1), tagger(seed=1), tagger(seed=1)
    mask = np.arange(STEPS) < lengths[:, None]
    options = {"batch_size": 8, "epochs": 2, "verbose": False, "shuffle": shuffle}
    history = by_lengths.fit(x, y, lengths=lengths, validation_split=0.2, **options)
    by_mask.fit(x[:32], y[:32], lengths=mask[:32], **options)
    assert history.history["val_loss"][-1] == pytest.approx(
        by_lengths.evaluate(x[32:], y[32:], lengths=lengths[32:])["loss"]
    )
    batches = [(x[i : i + 8], y[i : i + 8], None, lengths[i : i + 8]) for i in range(0, 32, 8)]
    by_hand.fit(batches, epochs=2, verbose=False, validation_data=(x, y, None, lengths))
    for name, value in by_lengths.params.items():
        near(by_mask.params[name], value)
        if not shuffle:
            near(by_hand.params[name], value)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "mse", "mae", "huber"])
def test_class_weight_of_one_hot_targets_looks_at_no_padding(loss):
    model = network([nn.GRU(4, return_sequences=True), nn.Dense(4)], STEPS)
    x, lengths = padded(12, dtype="float32")
    labels = np.random.default_rng(3).integers(0, 4, (12, STEPS))
    factors = np.array([1.0, 2.0, 0.5, 0.0])
    model.compile(nn.SGD(0.1), loss)
    other = copy.deepcopy(model)
    y = np.eye(4)[labels]
    model.train_on_batch(x, y, class_weight=dict(enumerate(factors)), lengths=lengths)
    other.train_on_batch(x, y, sample_weight=factors[labels], lengths=lengths)
    for name, value in model.params.items():
        assert np.array_equal(value, other.params[name])


def test_class_weight_asks_for_no_label_of_the_padding():
    x, y, lengths = tags(12)
    one, other = tagger(seed=1), tagger(seed=1)
    y[y == 0] = 1
    for model, weight in (
        (one, {1: 2.0, 2: 1.0, 3: 0.5}),
        (other, {0: 9.0, 1: 2.0, 2: 1.0, 3: 0.5}),
    ):
        model.fit(x, y, lengths=lengths, class_weight=weight, verbose=False)
    for name, value in one.params.items():
        assert np.array_equal(value, other.params[name])


@pytest.mark.parametrize("k", [3, STEPS])
def test_weights_of_steps_that_have_several_positions(k):
    """Output (STEPS, k, 2): the loss is the mean over the steps there are, k positions each."""
    model = nn.Sequential([nn.Input((STEPS, k, 4)), nn.Dense(2)], seed=0, dtype="float64")
    model.compile(nn.SGD(0.1), "cross_entropy")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, STEPS, k, 4)), rng.integers(0, 2, (6, STEPS, k))
    lengths = rng.integers(1, STEPS + 1, 6)
    there = np.arange(STEPS) < lengths[:, None]
    logits = model(x)
    losses = np.logaddexp.reduce(logits, -1) - np.take_along_axis(logits, y[..., None], -1)[..., 0]
    near(model.gradients(x, y, lengths=lengths)[0], losses[there].mean())
    one = nn.Sequential([nn.Input((STEPS, k, 4)), nn.Dense(2)], seed=0, dtype="float64")
    one.compile(nn.SGD(0.1), "cross_entropy")
    weight = np.array([1.0, 5.0])[y]
    scale = losses.size / losses[there].size  # the weighted losses of the steps there are
    expected = one.gradients(x, y, sample_weight=None)[0]
    assert expected == pytest.approx(losses.mean())
    model.fit(x, y, lengths=lengths, class_weight={0: 1.0, 1: 5.0}, verbose=False, batch_size=6)
    found = model.history.history["loss"][0]
    assert found == pytest.approx((losses * weight)[there].sum() * scale / losses.size)


def test_class_weight_counts_no_steps_where_the_output_has_none():
    def fitted(**options):
        layers = [nn.LSTM(6), nn.Reshape((3, 2))]
        model = network(layers, STEPS, seed=0, dtype="float64")
        model.compile(nn.SGD(0.1), "cross_entropy")
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(6, STEPS, FEATURES)), rng.integers(0, 2, (6, 3))
        lengths = np.ones(6, int)
        if options.pop("by_hand", False):
            options["sample_weight"] = np.array([1.0, 5.0])[y]
        model.fit(x, y, lengths=lengths, verbose=False, **options)
        return model.params

    by_class, by_hand = fitted(class_weight={0: 1, 1: 5}), fitted(by_hand=True)
    for name, value in by_class.items():
        near(value, by_hand[name])


def test_lengths_that_are_written_over_during_fit_change_nothing():
    x, y, lengths = tags(40)
    given = lengths.astype(np.int64)

    class Overwrite(nn.callbacks.Callback):
        def on_epoch_end(self, model, epoch, logs):
            given[...] = 10**9

    models = tagger(seed=1), tagger(seed=1)
    models[0].fit(x, y, lengths=lengths, epochs=2, verbose=False)
    models[1].fit(x, y, lengths=given, epochs=2, verbose=False, callbacks=[Overwrite()])
    for name, value in models[0].params.items():
        assert np.array_equal(models[1].params[name], value)


def test_lengths_in_validation_data_are_not_taken_for_weights():
    model = network([nn.LSTM(4), nn.Dense(2)], STEPS)
    model.compile("sgd", "cross_entropy")
    x, y, lengths = padded(3)[0], np.zeros(3, int), [1, 2, 3]
    with pytest.raises(ValueError, match="sample_weight or None, lengths or None"):
        model.fit(x, y, lengths=lengths, validation_data=(x, y, lengths))
    history = model.fit(x, y, lengths=lengths, validation_data=(x, y, None, lengths))
    expected = model.evaluate(x, y, lengths=lengths)["loss"]
    assert history.history["val_loss"] == pytest.approx([expected])


def test_lengths_of_the_second_input_reach_loss_and_metrics_of_the_right_output():
    """One output has steps, the other is as wide by chance."""
    vector, sequence = nn.Input((4,)), nn.Input((STEPS, FEATURES))
    wide = nn.Dense(STEPS)(vector)
    tagged = nn.Dense(1)(nn.GRU(4, return_sequences=True)(sequence))
    model = nn.Model([vector, sequence], [wide, tagged], seed=0, dtype="float64")
    model.compile("sgd", "mse", metrics=["mae"])
    x, lengths = padded(5)
    given = [np.random.default_rng(1).normal(size=(5, 4)), x]
    one, other = model(given, lengths=lengths)
    there = np.arange(STEPS) < lengths[:, None]
    targets = [np.zeros((5, STEPS)), np.where(there[..., None], 0.0, 100.0)]
    scores = model.evaluate(given, targets, lengths=lengths)
    expected = (one**2).mean() + (other[there] ** 2).mean()
    assert scores["loss"] == pytest.approx(expected, rel=1e-12)
    found = sorted(value for name, value in scores.items() if "mae" in name)
    assert found == pytest.approx(sorted([abs(one).mean(), abs(other[there]).mean()]), rel=1e-12)


def test_a_decoder_of_other_steps_counts_whole():
    a, b = nn.Input((STEPS, FEATURES)), nn.Input((STEPS + 1, 2))
    _, last = nn.GRU(4, return_state=True)(a)
    y = nn.GRU(4, return_sequences=True)(b, initial_state=last)
    model = nn.Model([a, b], y, seed=0, dtype="float64")
    x, lengths = padded(3)
    decoded = np.random.default_rng(1).normal(size=(3, STEPS + 1, 2))
    found = model([x, decoded], lengths=lengths)
    for r, n in enumerate(lengths):
        whole = x[r : r + 1].copy()
        whole[:, n:] = 99
        one = model([whole, decoded[r : r + 1]], lengths=[n])
        np.testing.assert_allclose(found[r], one[0], rtol=1e-12)
    decoded[:, -1] = 99
    changed = model([x, decoded], lengths=lengths)
    assert (changed[:, -1] != found[:, -1]).all()
    np.testing.assert_array_equal(changed[:, :-1], found[:, :-1])
