"""Sequences of unequal lengths: padded steps change nothing, neither outputs nor gradients."""

import numpy as np
import pytest

import nncore as nn
from sequences import FEATURES, STEPS, near, network, padded
from support import randomize

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
