"""Sequences of unequal lengths: padded steps change nothing, neither outputs nor gradients."""

import copy

import numpy as np
import pytest

import nncore as nn
from support import randomize

STEPS, FEATURES = 9, 3
LAYERS = [
    [nn.RNN(5)],
    [nn.RNN(5, "relu", return_sequences=True)],
    [nn.LSTM(5, return_sequences=True)],
    [nn.LSTM(40)],
    [nn.LSTM(190)],  # members share its units
    [nn.LSTM(4, go_backwards=True, return_sequences=True)],
    [nn.GRU(5, return_sequences=True)],
    [nn.GRU(33, go_backwards=True)],
    [nn.GRU(5, reset_after=False, return_sequences=True)],
    [nn.Bidirectional(nn.LSTM(4, return_sequences=True))],
    [nn.Bidirectional(nn.GRU(4))],
    [
        nn.Dense(4, "tanh"),
        nn.LayerNormalization(),
        nn.Bidirectional(nn.GRU(4, return_sequences=True), "sum"),
        nn.Residual(nn.LSTM(4, return_sequences=True)),
        nn.Dropout(0.0),
        nn.LSTM(3),
        nn.Dense(2),
    ],
]
each = pytest.mark.parametrize("layers", LAYERS, ids=lambda v: "-".join(map(repr, v))[:60])


def network(layers, steps, **options):
    return randomize(nn.Sequential([nn.Input((steps, FEATURES)), *layers], **options))


def padded(rows, seed=0, garbage=1.0, dtype="float64"):
    """x, and lengths from 1 to STEPS; beyond them garbage."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, STEPS + 1, rows)
    x = rng.normal(size=(rows, STEPS, FEATURES))
    x[np.arange(STEPS) >= lengths[:, None]] *= garbage
    return x.astype(dtype), lengths


def near(actual, expected, tolerance=1e-12):
    scale = max(abs(np.asarray(expected)).max(), 1e-30)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("members", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 6, 40])
@each
def test_a_batch_is_its_sequences_one_by_one(layers, rows, members, team):
    team(members)
    model = network(layers, STEPS, dtype="float64")
    x, lengths = padded(rows)
    y = model.forward(x, lengths=lengths)
    near(model(x, lengths=lengths), y)
    near(model.predict(x, 4, lengths), y)
    rng = np.random.default_rng(3)
    dy = rng.normal(size=y.shape)
    model._plans[("training", ("lengths", True))].fill_arena(0xFF)
    model.forward(x, lengths=lengths)
    dx = model.backward(dy)
    grads = {name: 0.0 for name in model.params}
    alone = {n: network(layers, n, dtype="float64") for n in set(lengths.tolist())}
    for row, n in enumerate(lengths):
        one = alone[n]
        part = one.forward(x[row : row + 1, :n])
        is_sequence = y.ndim == 3
        valid = slice(0, n) if is_sequence else slice(None)
        near(y[row, valid], part[0])
        if is_sequence and len(layers) == 1:
            assert not y[row, n:].any(), "beyond the end there is 0"
        near(dx[row, :n], one.backward(dy[row : row + 1, valid])[0], 1e-11)
        assert not dx[row, n:].any()
        for name, grad in one.grads.items():
            grads[name] = grads[name] + grad
    for name, grad in model.grads.items():
        near(grad, grads[name], 1e-11)


@each
def test_what_is_in_the_padding_changes_no_bit(layers):
    found = []
    for garbage in (1.0, -1e3):
        model = network(layers, STEPS)
        x, lengths = padded(20, garbage=garbage, dtype="float32")
        y = model.forward(x, lengths=lengths)
        mask = np.arange(STEPS) < lengths[:, None]
        dy = np.ones_like(y) * (mask[..., None] if y.ndim == 3 else 1)
        model.backward(dy)
        found.append([y * mask[..., None] if y.ndim == 3 else y, *model.grads.values()])
    for a, b in zip(*found, strict=True):
        assert a.tobytes() == b.tobytes()


def test_final_states_are_those_of_the_last_valid_step():
    x = nn.Input((STEPS, FEATURES))
    model = randomize(nn.Model(x, nn.LSTM(5, return_state=True)(x), dtype="float64"))
    data, lengths = padded(7)
    _, h, c = model(data, lengths=lengths)
    for row, n in enumerate(lengths):
        short = nn.Input((int(n), FEATURES))
        alone = randomize(nn.Model(short, nn.LSTM(5, return_state=True)(short), dtype="float64"))
        _, h1, c1 = alone(data[row : row + 1, :n])
        near(h[row], h1[0])
        near(c[row], c1[0])


# ---- losses and metrics --------------------------------------------------------------------------


def tagger(**options):
    layers = [nn.Embedding(11, 6), nn.GRU(5, return_sequences=True), nn.Dense(4, "softmax")]
    model = randomize(nn.Sequential([nn.Input((STEPS,)), *layers], dtype="float64", **options))
    model.compile(nn.SGD(0.5), "cross_entropy", metrics=["accuracy"])
    return model


def tags(rows):
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 11, (rows, STEPS)), rng.integers(0, 4, (rows, STEPS))
    return x, y, rng.integers(1, STEPS + 1, rows)


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
    before = {name: view.copy() for name, view in model.params.items()}
    with pytest.raises(ValueError, match="batch_size 29.*expected one batch of all 30 rows"):
        model.fit(x, y, lengths=lengths, batch_size=29, verbose=False)
    assert all(np.array_equal(view, before[name]) for name, view in model.params.items())
    history = model.fit(x, y, lengths=lengths, batch_size=30, epochs=5, verbose=False).history
    assert history["loss"][-1] == pytest.approx(model.evaluate(x, y, lengths=lengths)["loss"])
    same = lengths * 0 + 3  # then one gradient serves both outputs
    history = model.fit(x, y, lengths=same, batch_size=7, epochs=5, verbose=False).history
    assert history["loss"][-1] == pytest.approx(model.evaluate(x, y, lengths=same)["loss"])


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


@pytest.mark.parametrize("padding", [np.nan, np.inf, np.finfo(np.float32).min, 1e300])
@pytest.mark.parametrize(
    "before",
    [nn.Dense(5), nn.LayerNormalization(), nn.Residual(nn.Dense(FEATURES)), nn.Dense(4, "softmax")],
    ids=repr,
)
def test_padding_before_a_recurrent_layer_reaches_no_gradient(before, padding):
    model = network([before, nn.LSTM(4)], STEPS)
    model.compile(nn.SGD(0.0), "mse")
    x, lengths = padded(6)
    y = np.random.default_rng(0).normal(size=(6, 4))
    found = []
    for value in (0.0, padding):
        x[np.arange(STEPS) >= lengths[:, None]] = value
        given = x.copy()
        loss, grads = model.gradients(x, y, lengths=lengths)
        model.fit(x, y, lengths=lengths, epochs=1, verbose=False)
        model.forward(x, lengths=lengths)
        dx = model.backward(y)
        assert x.tobytes() == given.tobytes()
        found.append([loss, dx, *grads.values(), *(g.copy() for g in model.grads.values())])
    for zeros, other in zip(*found, strict=True):
        assert np.array_equal(zeros, other)


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


def test_an_input_that_is_as_wide_as_there_are_steps_is_no_sequence():
    series, static = nn.Input((STEPS, 2)), nn.Input((STEPS,))
    h = nn.Concatenate()([nn.LSTM(3)(series), nn.Dense(3)(static)])
    model = nn.Model([series, static], nn.Dense(2)(h), seed=0)
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    x, s, y = rng.normal(size=(4, STEPS, 2)), rng.normal(size=(4, STEPS)), np.zeros((4, 2))
    lengths = np.arange(4) % STEPS + 1
    _, grads = model.gradients([x, s], y, lengths=lengths)
    _, changed = model.gradients([x, np.where(np.arange(STEPS) < 1, s, 0)], y, lengths=lengths)
    assert not np.array_equal(grads["1.weight"], changed["1.weight"])


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


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lengths, error, words",
    [
        (
            [1, 2, STEPS + 1],
            ValueError,
            f"received lengths with {STEPS + 1} steps in row 2; expected 1 to",
        ),
        ([1, 0, 2], ValueError, "received lengths with 0 steps in row 1"),
        ([1, 2, -3], ValueError, "received lengths with -3 steps in row 2"),
        ([1, 2], ValueError, r"lengths of shape \(2,\) for 3 rows"),
        ([[1], [2], [3]], ValueError, r"lengths of shape \(3, 1\)"),
        ([1.0, 2.0, 3.0], TypeError, "lengths of dtype float64; expected integers"),
        (np.ones((3, STEPS), int), TypeError, r"mask.astype\(bool\)"),
        (np.ones((3, STEPS)), TypeError, r"mask.astype\(bool\)"),
        (["a", "b", "c"], TypeError, "lengths: received an array of dtype"),
        (np.ones((3, 2), bool), ValueError, r"a mask .* of shape \(3, 2\)"),
        (np.eye(3, STEPS, 1, dtype=bool), ValueError, "a mask with a gap in row 0.*numpy.roll"),
        (np.zeros((3, STEPS), bool), ValueError, "received a mask with 0 steps in row 0"),
    ],
)
def test_wrong_lengths_are_refused(lengths, error, words):
    model = network([nn.LSTM(4), nn.Dense(2)], STEPS)
    model.compile("sgd", "cross_entropy")
    x, y = padded(3)[0], np.zeros(3, int)
    for call in (
        lambda: model(x, lengths=lengths),
        lambda: model.predict(x, lengths=lengths),
        lambda: model.forward(x, lengths=lengths),
        lambda: model.evaluate(x, y, lengths=lengths),
        lambda: model.train_on_batch(x, y, lengths=lengths),
        lambda: model.gradients(x, y, lengths=lengths),
        lambda: model.fit(x, y, lengths=lengths, verbose=False),
    ):
        with pytest.raises(error, match=words):
            call()


def test_lengths_in_validation_data_are_not_taken_for_weights():
    model = network([nn.LSTM(4), nn.Dense(2)], STEPS)
    model.compile("sgd", "cross_entropy")
    x, y, lengths = padded(3)[0], np.zeros(3, int), [1, 2, 3]
    with pytest.raises(ValueError, match="sample_weight or None, lengths or None"):
        model.fit(x, y, lengths=lengths, validation_data=(x, y, lengths))
    history = model.fit(x, y, lengths=lengths, validation_data=(x, y, None, lengths))
    expected = model.evaluate(x, y, lengths=lengths)["loss"]
    assert history.history["val_loss"] == pytest.approx([expected])


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Flatten()],
        [nn.Conv1D(4, 3, padding="same"), nn.LSTM(3)],
        [nn.LSTM(4, return_sequences=True), nn.GlobalAvgPool1D()],
        [nn.BatchNormalization(), nn.LSTM(3)],
        [nn.Residual(nn.Conv1D(FEATURES, 3, padding="same")), nn.LSTM(3)],
    ],
    ids=lambda v: "-".join(map(repr, v)),
)
def test_layers_that_mix_steps_are_refused(layers):
    x, lengths = padded(3)
    model = network(layers, STEPS, dtype="float64")
    model(x)
    with pytest.raises(ValueError, match="mixes the steps of a sequence"):
        model(x, lengths=lengths)


@pytest.mark.parametrize("order", ["sequence first", "sequence last"])
@pytest.mark.parametrize("kind", ["state", "vector", "image"])
def test_lengths_are_those_of_the_input_that_a_recurrent_layer_goes_through(order, kind):
    """Wherever it is among the inputs, and whatever shapes the others have."""
    x, lengths = padded(3)
    sequence = nn.Input((STEPS, FEATURES))
    other = nn.Input({"state": (STEPS,), "vector": (4,), "image": (STEPS + 1, 3, 2)}[kind])
    if kind == "state":
        y = nn.GRU(STEPS)(sequence, initial_state=other)
    else:
        flat = nn.Flatten()(other) if kind == "image" else other
        y = nn.Dense(2)(nn.Concatenate()([nn.GRU(5)(sequence), flat]))
    inputs = [sequence, other] if order == "sequence first" else [other, sequence]
    model = nn.Model(inputs, y, seed=0, dtype="float64")
    model.compile("sgd", "mse")

    def given(x, more):
        return [x, more] if order == "sequence first" else [more, x]

    more = np.random.default_rng(1).normal(size=(len(x), *other.shape))
    alone = [
        model(given(x[r : r + 1, :n], more[r : r + 1]))[0]
        if n == STEPS
        else model(given(x[r : r + 1], more[r : r + 1]), lengths=[n])[0]
        for r, n in enumerate(lengths)
    ]
    found = model(given(x, more), lengths=lengths)
    np.testing.assert_allclose(found, alone, rtol=1e-12)
    for r, n in enumerate(lengths):
        x[r, n:] = 99
    np.testing.assert_array_equal(model(given(x, more), lengths=lengths), found)
    np.testing.assert_array_equal(model.predict(given(x, more), lengths=lengths), found)
    np.testing.assert_array_equal(model.forward(given(x, more), lengths=lengths), found)
    loss = model.evaluate(given(x, more), found, lengths=lengths)["loss"]
    assert loss < 1e-20
    with pytest.raises(ValueError, match=f"expected 1 to {STEPS}, which x.[01]. is"):
        model(given(x, more), lengths=[STEPS + 1] * len(x))


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


class Wrapped(nn.Layer):
    """A recurrent layer in one of the user's."""

    goes_through_steps = knows_steps = True
    step_outputs = 0
    inner = nn.GRU(3)

    def build(self, plan, x):
        return plan.call(self.inner, "inner", x)


def test_a_layer_made_of_recurrent_ones_knows_lengths_and_steps():
    context, sequence = nn.Input((4,)), nn.Input((STEPS, FEATURES))
    y = nn.Concatenate()([context, Wrapped()(sequence)])
    model = nn.Model([context, sequence], y, seed=0, dtype="float64")
    x, lengths = padded(3)
    beyond = np.arange(STEPS) >= lengths[:, None]
    given = np.ones((3, 4))
    found = model([given, x], lengths=lengths)
    x[beyond] = 99
    np.testing.assert_array_equal(model([given, x], lengths=lengths), found)
    alone, state = nn.Sequential([nn.Input((STEPS, FEATURES)), Wrapped()]), None
    x, _ = padded(2, dtype="float32")
    for t in range(STEPS):
        y, state = alone.step(x[:, t], state)
    np.testing.assert_allclose(y, alone(x), atol=1e-6)


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


@pytest.mark.parametrize("last", [nn.Dense(2), nn.LayerNormalization()], ids=repr)
def test_a_gradient_beyond_the_end_of_a_sequence_is_none(last):
    """Though the layer, which takes each step by itself, has outputs there."""
    x, lengths = padded(3)
    model = network([nn.GRU(2, return_sequences=True), last], STEPS, dtype="float64")
    found = []
    for beyond in (0.0, 7.0, np.nan):
        dy = np.ones((len(x), STEPS, 2))
        for r, n in enumerate(lengths):
            dy[r, n:] = beyond
        model.forward(x, lengths=lengths)
        dx = model.backward(dy)
        found.append([dx, *(g.copy() for g in model.grads.values())])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    model.forward(x)  # all steps count again
    model.backward(np.ones((len(x), STEPS, 2)))
    assert not np.array_equal(model.grads["1.bias"], found[0][-1])


def test_x_without_steps_has_no_lengths():
    with pytest.raises(ValueError, match="which has no steps"):
        nn.Sequential([nn.Input(()), nn.Reshape((1,)), nn.Dense(2)])(np.ones(3), lengths=[1, 1, 1])
