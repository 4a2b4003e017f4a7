"""Step by step, and batch by batch: the same as the whole sequence at once."""

import tracemalloc

import numpy as np
import pytest

import nncore as nn
from support import randomize

STEPS, FEATURES = 12, 3
LAYERS = [
    [nn.RNN(5, "relu")],
    [nn.LSTM(5, return_sequences=True)],
    [nn.GRU(40)],
    [nn.RNN(330)],  # members share its units
    [nn.GRU(5, reset_after=False, return_sequences=True)],
    [nn.LSTM(4, return_sequences=True, dropout=0.2, recurrent_dropout=0.3), nn.Dropout(0.5)],
    [
        nn.Dense(4, "tanh"),
        nn.GRU(6, return_sequences=True),
        nn.LayerNormalization(),
        nn.Residual(nn.LSTM(6, return_sequences=True)),
        nn.Dense(2, "softmax"),
    ],
    [nn.GRU(7, return_sequences=True), nn.LSTM(6), nn.Dense(3)],
]
each = pytest.mark.parametrize("layers", LAYERS, ids=lambda v: "-".join(map(repr, v))[:60])


def network(layers, steps=STEPS, **options):
    return randomize(nn.Sequential([nn.Input((steps, FEATURES)), *layers], **options))


def sequences(rows, dtype="float64", steps=STEPS):
    return np.random.default_rng(0).normal(size=(rows, steps, FEATURES)).astype(dtype)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-13), ("float32", 1e-6)])
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("rows", [1, 5, 70])
@each
def test_step_by_step_is_the_whole_sequence(layers, rows, members, dtype, tolerance, team):
    team(members)
    x = sequences(rows, dtype)
    model = network(layers, dtype=dtype)
    whole, state = model(x), None
    for t in range(STEPS):
        y, state = model.step(x[:, t], state)
        expected = whole[:, t] if whole.ndim == 3 else network(layers, t + 1, dtype=dtype)(
            x[:, : t + 1]
        )  # fmt: skip
        np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance * abs(whole).max())
    assert y.dtype == dtype


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("rows", [2, 5, 13])
@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_steps_of_several_rows_add_up_as_the_whole_sequence_does(layer, rows, members, team):
    """Bit by bit: both read the weights packed, in the same order of sums."""
    team(members)
    x = sequences(rows, "float32", steps=16)
    model = network([layer(90, return_sequences=True)], steps=16)
    whole, state = model(x), None
    for t in range(16):
        y, state = model.step(x[:, t], state)
        assert y.tobytes() == whole[:, t].tobytes(), t


def test_integers_through_an_embedding_and_lists_of_numbers():
    layers = [nn.Embedding(7, 4), nn.GRU(5, return_sequences=True), nn.Dense(7)]
    model = randomize(nn.Sequential([nn.Input((STEPS,)), *layers]))
    x = np.random.default_rng(0).integers(0, 7, (2, STEPS))
    whole, state = model(x), None
    for t in range(STEPS):
        y, state = model.step(x[:, t].tolist(), state)
        np.testing.assert_allclose(y, whole[:, t], atol=1e-6)


def test_a_step_changes_neither_state_nor_weights_and_can_be_taken_again():
    model = network([nn.LSTM(5), nn.Dense(2)])
    x = sequences(2, "float32")
    _, before = model.step(x[:, 0])
    copies = [s.copy() for s in before]
    first, second = model.step(x[:, 1], before), model.step(x[:, 1], before)
    assert first[0].tobytes() == second[0].tobytes()
    assert all((s == c).all() for s, c in zip(before, copies, strict=True))
    assert first[1][0] is not second[1][0]


def test_steps_of_several_models_and_rows_may_alternate():
    models = [network([nn.GRU(5)]), network([nn.LSTM(6)])]
    for rows in (1, 3, 8, 1):
        for model in models:
            state = None
            for x in np.moveaxis(sequences(rows, "float32"), 1, 0):
                y, state = model.step(x, state)
            np.testing.assert_allclose(y, model(sequences(rows, "float32")), atol=1e-6)


def test_a_step_keeps_nothing():
    model = network([nn.LSTM(5), nn.Dense(2)])
    x = sequences(1, "float32")[:, 0]
    y, state = model.step(x)

    def steps(count):
        nonlocal y, state
        for _ in range(count):
            y, state = model.step(x, state)

    steps(100)
    tracemalloc.start()
    steps(10)
    before = tracemalloc.get_traced_memory()[0]
    steps(1000)
    assert tracemalloc.get_traced_memory()[0] - before < 8000  # an object a step would be more
    tracemalloc.stop()


@pytest.mark.parametrize(
    "layers, words",
    [
        ([nn.Dense(3)], "no recurrent layer"),
        ([nn.Flatten(), nn.Dense(3)], "no recurrent layer"),
        ([nn.Conv1D(2, 2), nn.RNN(3)], "step: this network does not go step by step: .*Conv1D"),
        ([nn.GRU(3, go_backwards=True)], "it goes backwards"),
        ([nn.Bidirectional(nn.GRU(3))], "it goes backwards"),
        ([nn.GRU(3, return_sequences=True), nn.Flatten()], "mixes the steps"),
        ([nn.Conv1D(3, 2, padding="same"), nn.GRU(3)], "mixes the steps"),
    ],
)
def test_networks_that_need_the_whole_sequence_are_refused(layers, words):
    with pytest.raises(ValueError, match=words):
        network(layers).step(np.zeros((1, FEATURES)))


@pytest.mark.parametrize(
    "x, state, error, words",
    [
        (np.zeros((2, STEPS, FEATURES)), None, ValueError, r"expected one step of each sequence"),
        (np.zeros(FEATURES), None, ValueError, r"received x of shape \(3,\)"),
        (
            np.zeros((2, FEATURES)),
            (np.zeros((2, 5)),),
            ValueError,
            "a tuple of 1 as .*tuple of 2 a",
        ),
        (np.zeros((2, FEATURES)), np.zeros((2, 5)), ValueError, "tuple of 2 arrays"),
        (
            np.zeros((2, FEATURES)),
            (np.zeros((2, 5)), np.zeros((2, 4))),
            ValueError,
            r"state\[1\] of shape \(2, 4\); expected \(2, 5\), 2 rows of layer '0', LSTM",
        ),
        (
            np.zeros((2, FEATURES)),
            (np.zeros((3, 5)), np.zeros((3, 5))),
            ValueError,
            r"state\[0\] of shape \(3, 5\)",
        ),
        ("abc", None, TypeError, "x: received"),
    ],
)
def test_a_wrong_step_is_refused(x, state, error, words):
    with pytest.raises(error, match=words):
        network([nn.LSTM(5)]).step(x, state)


def test_a_step_of_two_inputs_needs_two():
    a, b = nn.Input((STEPS, 2)), nn.Input((STEPS, 2))
    model = nn.Model([a, b], nn.GRU(2)(nn.Concatenate()([a, b])))
    for x in ((), [], np.zeros((1, 2))):
        with pytest.raises(ValueError, match="expected a list of 2 arrays"):
            model.step(x)
    with pytest.raises(ValueError, match=r"inputs of \[1, 2\] rows"):
        model.step([np.zeros((1, 2)), np.zeros((2, 2))])
    with pytest.raises(ValueError, match=r"inputs of \[0, 0\] rows"):
        model.step([np.zeros((0, 2)), np.zeros((0, 2))])


# ---- from batch to batch -------------------------------------------------------------------------


def copy_task(rows, steps, seed=0):
    """y says what x was one step before."""
    x = np.random.default_rng(seed).integers(0, 2, (rows, steps))
    y = np.roll(x, 1, 1)
    y[:, 0] = 0
    return x, y


def recaller(steps, **options):
    layers = [nn.Embedding(2, 3), nn.GRU(6, return_sequences=True), nn.Dense(2)]
    return randomize(nn.Sequential([nn.Input((steps,)), *layers], dtype="float64", **options))


def test_states_go_from_batch_to_batch_and_begin_anew_with_each_epoch():
    """At learning rate 0 the loss over the pieces is that of whole sequences."""
    x, y = copy_task(4, 20)
    pieces = [(x[:, i : i + 5], y[:, i : i + 5]) for i in range(0, 20, 5)]
    stacked = [np.concatenate(part) for part in zip(*pieces, strict=True)]
    whole, cut = recaller(20), recaller(5)
    for model in (whole, cut):
        model.compile(nn.SGD(0.0), "cross_entropy")
    expected = whole.evaluate(x, y)["loss"]
    options = {"epochs": 3, "verbose": False, "shuffle": False}
    as_arrays = cut.fit(*stacked, batch_size=4, stateful=True, **options).history["loss"]
    as_batches = cut.fit(pieces, stateful=True, **options).history["loss"]
    forgetful = cut.fit(*stacked, batch_size=4, **options).history["loss"]
    np.testing.assert_allclose(as_arrays, expected, rtol=1e-12)
    np.testing.assert_allclose(as_batches, expected, rtol=1e-12)
    assert abs(forgetful[0] - expected) > 1e-4


def test_what_works_in_place_on_an_output_leaves_the_state_alone():
    x = np.random.default_rng(0).standard_normal((8, 3, 2))
    layers = [nn.Input((3, 2)), nn.RNN(4), nn.Activation("relu")]
    model = randomize(nn.Sequential(layers, dtype="float64"))
    model.compile(nn.SGD(0.0), "mse")
    history = model.fit(
        x, np.ones((8, 4)), batch_size=2, shuffle=False, stateful=True, verbose=False
    )

    p = model.params
    h, losses = np.zeros((2, 4)), []
    for batch in x.reshape(4, 2, 3, 2):
        for t in range(3):
            z = batch[:, t] @ p["0.weight_ih"].T + h @ p["0.weight_hh"].T
            h = np.tanh(z + p["0.bias_ih"] + p["0.bias_hh"])
        losses.append(np.mean((np.maximum(h, 0) - 1) ** 2))
    np.testing.assert_allclose(history.history["loss"], [np.mean(losses)], rtol=1e-12)


def test_gradients_end_with_the_batch_and_training_works():
    """Truncated: a step of the second piece is that of a network given the first one's state."""
    x, y = copy_task(3, 10)
    cut = recaller(5)
    cut.compile(nn.SGD(0.3), "cross_entropy")
    before = {name: value.copy() for name, value in cut.params.items()}
    pieces = [(x[:, :5], y[:, :5]), (x[:, 5:], y[:, 5:])]
    cut.fit(pieces, stateful=True, epochs=1, verbose=False)

    ids, h0 = nn.Input((5,)), nn.Input((6,))
    ys = nn.GRU(6, return_sequences=True, return_state=True)(nn.Embedding(2, 3)(ids), h0)
    model = nn.Model([ids, h0], [nn.Dense(2)(ys[0]), ys[1]], dtype="float64")
    for name, value in before.items():
        model.params[name][...] = value
    h = np.zeros((3, 6))
    for ids_part, target in pieces:
        logits, after = model.forward([ids_part, h])
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        model.backward([(p - np.eye(2)[target]) / target.size, np.zeros_like(after)])
        for name, grad in model.grads.items():
            model.params[name][...] -= 0.3 * grad
        h = after
    for name, value in cut.params.items():
        np.testing.assert_allclose(value, model.params[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "pass shuffle=False"),
        ({"shuffle": False, "batch_size": 3}, "expected full batches only"),
    ],
)
def test_what_would_tear_sequences_apart_is_refused(options, words):
    x, y = copy_task(4, 5)
    model = recaller(5)
    model.compile("sgd", "cross_entropy")
    with pytest.raises(ValueError, match=words):
        model.fit(x, y, stateful=True, verbose=False, **options)


def test_batches_of_unequal_rows_are_refused():
    x, y = copy_task(4, 5)
    model = recaller(5)
    model.compile("sgd", "cross_entropy")
    with pytest.raises(ValueError, match="expected as many in each"):
        model.fit([(x, y), (x[:2], y[:2])], stateful=True, verbose=False)


@pytest.mark.parametrize("more", [(None, [5, 5, 2, 5]), (np.ones(4),)], ids=["lengths", "weights"])
def test_batches_of_other_kinds_are_refused(more):
    x, y = copy_task(4, 5)
    model = recaller(5)
    model.compile("sgd", "cross_entropy")
    with pytest.raises(ValueError, match="with some batches and not with others"):
        model.fit([(x, y, *more), (x, y)], stateful=True, verbose=False)


@pytest.mark.parametrize("layer", [nn.GRU(3, go_backwards=True), nn.Bidirectional(nn.LSTM(3))])
def test_no_state_is_carried_to_what_goes_backwards(layer):
    model = nn.Sequential([nn.Input((5, 4)), layer, nn.Dense(2)], seed=0)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="layer '0.*it goes backwards.*stateful=True"):
        model.fit(np.ones((4, 5, 4)), np.ones((4, 2)), batch_size=4, stateful=True, shuffle=False,
                  verbose=False)  # fmt: skip


def test_nan_passes_through_a_step():
    model = nn.Sequential([nn.Input((5, 3)), nn.GRU(4), nn.Dense(2)])
    x = np.ones((2, 3))
    x[1] = np.nan
    y, state = model.step(x)
    assert np.isfinite(y[0]).all() and np.isnan(y[1]).all()
    y, _ = model.step(np.ones((2, 3)), state)
    assert np.isfinite(y[0]).all() and np.isnan(y[1]).all()


def test_what_has_no_steps_is_refused():
    series, static = nn.Input((5, 4)), nn.Input((5,))
    model = nn.Model([series, static], nn.Concatenate()([nn.GRU(3)(series), nn.Dense(3)(static)]))
    with pytest.raises(ValueError, match=r"step: Input\(\(5,\)\) has no steps"):
        model.step([np.ones((1, 4)), np.ones((1, 5))])
    plain = nn.Sequential([nn.Input((4,)), nn.Dense(2)])
    plain.compile("sgd", "mse")
    with pytest.raises(ValueError, match="a network that carries no state"):
        plain.fit(np.ones((4, 4)), np.ones((4, 2)), stateful=True, shuffle=False, verbose=False)
