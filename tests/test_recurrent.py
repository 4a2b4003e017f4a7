"""Recurrent layers: what goes beyond one input and one output (those are rows of cases.py), the
formulas themselves, and errors."""

import pickle

import numpy as np
import pytest
import scipy.special as sp

import nncore as nn
from cases_recurrent import SEVERAL, reference
from support import one_or_list, randomize
from test_gradients import Pass, slopes
from test_gradients import near as near_slopes

try:
    import torch
except ImportError:
    torch = None

several = pytest.mark.parametrize(
    "layer, shapes", [pytest.param(*case, id=case[0].describe()) for case in SEVERAL]
)


def network(layer, shapes, chosen=slice(None), dtype="float64"):
    """A model of the layer alone, with some of its outputs."""
    inputs = [nn.Input(s) for s in shapes]
    return randomize(nn.Model(inputs, layer(inputs)[chosen], seed=0, dtype=dtype))


def draw(shapes, rows, seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(rows, *s)).astype(dtype) for s in shapes]


def near(actual, expected, tolerance=1e-12):
    scale = max(abs(expected).max(), 1e-30)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


# ---- several outputs -----------------------------------------------------------------------------


@pytest.mark.skipif(torch is None, reason="needs PyTorch")
@pytest.mark.parametrize("rows", [1, 7, 40])
@several
def test_outputs_and_gradients_are_pytorchs(layer, shapes, rows, team):
    for members in (1, 2, 3):
        team(members)
        model = network(layer, shapes)
        xs = draw(shapes, rows)
        txs = [torch.tensor(x, requires_grad=True) for x in xs]
        p = {k: torch.tensor(v, requires_grad=True) for k, v in model.params.items()}
        expected = reference(layer)({k.split(".", 1)[1]: v for k, v in p.items()}, *txs)
        for found, ty in zip(model(one_or_list(xs)), expected, strict=True):
            near(found, ty.detach().numpy())
        ys = model.forward(one_or_list(xs))
        dys = [np.random.default_rng(i).normal(size=y.shape) for i, y in enumerate(ys)]
        torch.autograd.backward(expected, [torch.tensor(dy) for dy in dys])
        dxs = model.backward(dys)
        for dx, tx in zip(dxs if len(xs) > 1 else [dxs], txs, strict=True):
            near(dx, tx.grad.numpy())
        for name, value in p.items():
            near(model.grads[name], value.grad.numpy())


@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("chosen", [slice(0, 1), slice(1, None)], ids=["first", "others"])
@several
def test_outputs_that_nobody_reads_have_no_gradient(layer, shapes, chosen, rows, team):
    xs = draw(shapes, rows)
    expected = None
    for members in (1, 2):
        team(members)
        model = network(layer, shapes, chosen)
        run = Pass(model, xs)
        if expected is None:
            expected = [slopes(run, x) for x in xs]
            weights = {name: slopes(run, p) for name, p in model.params.items()}
        dxs, grads = run.gradients()
        for dx, slope in zip(dxs, expected, strict=True):
            near_slopes(dx, slope, "dx")
        for name, slope in weights.items():
            if any(slope.values()):  # else no output depends on it, and nothing writes it
                near_slopes(grads[name], slope, name)


@several
def test_files_and_copies(layer, shapes, tmp_path):
    model = network(layer, shapes)
    xs = one_or_list(draw(shapes, 3))
    model.save(tmp_path / "model.safetensors")
    for copy in (nn.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(model))):
        assert list(copy.params) == list(model.params)
        for a, b in zip(copy(xs), model(xs), strict=True):
            assert a.tobytes() == b.tobytes()


def test_an_encoder_hands_its_state_to_a_decoder():
    source, target = nn.Input((6, 3)), nn.Input((4, 2))
    _, *state = nn.LSTM(5, return_state=True)(source)
    y = nn.LSTM(5, return_sequences=True)(target, initial_state=state)
    model = randomize(nn.Model([source, target], nn.Dense(2)(y), dtype="float64"))
    assert model.output_shape == (4, 2)
    xs = draw([(6, 3), (4, 2)], 3)
    run = Pass(model, xs)
    expected = [slopes(run, x) for x in xs]
    for dx, slope in zip(run.gradients()[0], expected, strict=True):
        near_slopes(dx, slope, "dx")
    model.summary()


# ---- stacks --------------------------------------------------------------------------------------

STACKS = {
    "embedding, two layers, dense at each step": (
        (6,),
        [
            nn.Embedding(9, 4), nn.GRU(5, return_sequences=True), nn.LayerNormalization(),
            nn.LSTM(4, return_sequences=True), nn.Dense(3, "tanh"),
        ],
    ),
    "convolution in front": (
        (9, 2),
        [nn.Conv1D(4, 3, activation="tanh"), nn.MaxPool1D(2), nn.Bidirectional(nn.RNN(5))],
    ),
    "residual": ((5, 4), [nn.Residual(nn.GRU(4, return_sequences=True)), nn.Flatten()]),
    "pooled": ((5, 4), [nn.LSTM(6, return_sequences=True), nn.GlobalAvgPool1D(), nn.Dense(2)]),
}  # fmt: skip


@pytest.mark.parametrize("name", STACKS)
def test_gradients_of_stacks(name, team):
    shape, layers = STACKS[name]
    rng = np.random.default_rng(0)
    integers = isinstance(layers[0], nn.Embedding)
    for rows in (1, 7):
        x = rng.integers(0, 9, (rows, *shape)) if integers else rng.normal(size=(rows, *shape))
        for members in (1, 2):
            team(members)
            model = randomize(nn.Sequential([nn.Input(shape), *layers], dtype="float64"))
            run = Pass(model, [x])
            expected = {n: slopes(run, p) for n, p in model.params.items()}
            dx = {} if integers else slopes(run, x)
            (found,), grads = run.gradients()
            for n, slope in expected.items():
                near_slopes(grads[n], slope, n)
            if dx:
                near_slopes(found, dx, "dx")


# ---- the formulas --------------------------------------------------------------------------------


def formula(layer, p, x):
    """h of each step, in NumPy, as the documentation writes it."""
    h = c = np.zeros((len(x), layer.units))
    ys = []
    for t in range(x.shape[1]):
        a = x[:, t] @ p["weight_ih"].T + p["bias_ih"]
        b = h @ p["weight_hh"].T + p["bias_hh"]
        if isinstance(layer, nn.RNN):
            h = np.tanh(a + b)
        elif isinstance(layer, nn.LSTM):
            i, f, g, o = np.split(a + b, 4, 1)
            c = sp.expit(f) * c + sp.expit(i) * np.tanh(g)
            h = sp.expit(o) * np.tanh(c)
        else:
            (ar, az, an), (br, bz, bn) = np.split(a, 3, 1), np.split(b, 3, 1)
            r, z = sp.expit(ar + br), sp.expit(az + bz)
            n = np.tanh(an + r * bn)
            h = (1 - z) * n + z * h
        ys.append(h)
    return np.stack(ys, 1)


@pytest.mark.parametrize("units", [1, 16, 21])
def test_an_inactive_unit_passes_on_no_gradient_however_large(units):
    model = nn.Sequential([nn.Input((1, 2)), nn.RNN(units, "relu")])
    model.params["0.weight_ih"][...] = -1
    assert not model.forward(np.ones((3, 1, 2), np.float32)).any()
    assert not model.backward(np.full((3, units), np.inf, np.float32)).any()


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-13), ("float32", 2e-6)])
@pytest.mark.parametrize("rows, steps", [(1, 7), (2, 300), (3, 5), (33, 7), (300, 2)])
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU], ids=lambda k: k.__name__)
def test_steps_follow_the_formulas(kind, rows, steps, dtype, tolerance, team):
    """Rows and steps so many that each form of the products is used: weights packed or not, x in
    chunks of several steps, one, or all."""
    layer = kind(37, return_sequences=True)
    x = draw([(steps, 5)], rows)[0]
    for members in (1, 2, 3):
        team(members)
        model = randomize(nn.Sequential([nn.Input((steps, 5)), layer], dtype=dtype))
        p = {k.split(".")[1]: v.astype(float) for k, v in model.params.items()}
        near(model(x), formula(layer, p, x.astype(dtype).astype(float)), tolerance)
        near(model.forward(x), model(x), tolerance)


def test_initial_values_are_kerass():
    model = nn.Sequential([nn.Input((5, 30)), nn.LSTM(20)], seed=0, dtype="float64")
    w_ih, w_hh, b_ih, b_hh = model.params.values()
    assert abs(w_ih).max() <= np.sqrt(6 / (30 + 80)) and w_ih.std() > 0.1
    np.testing.assert_allclose(w_hh.T @ w_hh, np.eye(20), atol=1e-12)
    assert (b_ih == np.repeat([0, 1, 0, 0], 20)).all() and not b_hh.any()
    off = nn.Sequential([nn.Input((5, 30)), nn.LSTM(20, unit_forget_bias=False)])
    assert not off.params["0.bias_ih"].any()


def test_recurrent_dropout_drops_the_same_units_at_all_steps():
    """With weight_hh = 1 a kept unit doubles at each step, for the rate is a half."""
    x, h0 = nn.Input((3, 1)), nn.Input((200,))
    layer = nn.RNN(200, "relu", recurrent_dropout=0.5)
    model = nn.Model([x, h0], layer(x, initial_state=h0), seed=0)
    for name, value in model.params.items():
        value[...] = np.eye(200) if name == "0.weight_hh" else 0
    given = [np.zeros((50, 3, 1), np.float32), np.ones((50, 200), np.float32)]
    y = model.forward(given)
    assert set(np.unique(y)) == {0, 8}
    assert abs((y == 0).mean() - 0.5) < 0.02
    assert (y[0] != y[1]).any() and (model.forward(given) != y).any()
    assert (model(given) == 1).all(), "inference drops nothing"


@pytest.mark.parametrize("reset_after", [True, False])
def test_recurrent_dropout_reaches_all_products_of_a_gru(reset_after):
    """With weight_hh = 1 for each gate; z h, which is no product, has all of h."""
    x, h0 = nn.Input((3, 1)), nn.Input((200,))
    layer = nn.GRU(200, recurrent_dropout=0.5, reset_after=reset_after)
    model = nn.Model([x, h0], layer(x, initial_state=h0), seed=0, dtype="float64")
    for name, value in model.params.items():
        value[...] = np.tile(np.eye(200), (3, 1)) if name == "0.weight_hh" else 0
    y = model.forward([np.zeros((5, 3, 1)), np.ones((5, 200))])
    kept = dropped = 1.0
    for _ in range(3):
        r = z = sp.expit(2 * kept)  # the rate is a half
        kept = (1 - z) * np.tanh(r * 2 * kept) + z * kept
        dropped = 0.5 * dropped
    off, on = abs(y - dropped), abs(y - kept)
    assert np.minimum(off, on).max() < 1e-12
    assert 400 < (off < on).sum() < 600


# ---- threads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [65, 66, 71])
@pytest.mark.parametrize("members", [2, 3])
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU], ids=lambda k: k.__name__)
def test_few_rows_in_a_plan_for_many(kind, members, rows, team):
    """Its weights are packed for members with all units of some rows each."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((rows, 7, 5)), rng.standard_normal((rows, 210))
    losses = []
    for come in (1, members):
        team(come)
        model = randomize(nn.Sequential([nn.Input((7, 5)), kind(210)], seed=0, dtype="float64"))
        model.compile("sgd", "mse")
        losses.append(model.evaluate(x, y, batch_size=64)["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-12)


@pytest.mark.parametrize("rows", [1, 5, 24, 40])
@pytest.mark.parametrize("asked", [2, 3])
def test_training_has_the_same_bits_however_many_members_come(asked, rows, team):
    layers = [nn.Input((6, 3)), nn.GRU(190, return_sequences=True), nn.Bidirectional(nn.LSTM(33))]
    x, y = draw([(6, 3)], 2 * rows, dtype="float32")[0], np.arange(2 * rows) % 4
    expected = None
    for come in (asked, 1, asked - 1):
        team(asked, come)
        model = randomize(nn.Sequential([*layers, nn.Dense(4)], seed=1))
        model.compile(nn.Adam(1e-2), "cross_entropy")
        model.fit(x, y, batch_size=rows, epochs=2, verbose=False)
        found = {**model.params, "y": model(x)}
        expected = expected or found
        for name, value in found.items():
            assert value.tobytes() == expected[name].tobytes(), f"{name}, {come} of {asked}"


# ---- errors --------------------------------------------------------------------------------------


def built(layer, *shapes, **options):
    inputs = [nn.Input(s) for s in shapes]
    return nn.Model(inputs, layer(one_or_list(inputs), **options))


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: nn.LSTM(0), ValueError, "LSTM: units must be an integer >= 1, received 0"),
        (lambda: nn.RNN(3, "gelu"), ValueError, "RNN: unknown activation 'gelu'"),
        (lambda: nn.GRU(3, dropout=1.0), ValueError, "GRU: dropout must be in"),
        (lambda: nn.GRU(3, return_state=1), TypeError, "GRU: return_state must be True or False"),
        (lambda: built(nn.LSTM(3), (4,)), ValueError, r"received an input of shape \(4,\).*steps"),
        (
            lambda: built(nn.LSTM(3), (4, 2), (3,)),
            ValueError,
            "received 2 inputs.*an initial h and c",
        ),
        (
            lambda: built(nn.GRU(3), (4, 2), (5,)),
            ValueError,
            r"initial state of shape \(5,\); expected \(3,\)",
        ),
        (
            lambda: nn.Sequential([nn.Input((4, 2)), nn.LSTM(3, return_state=True)]),
            ValueError,
            "returns 3 values",
        ),
        (
            lambda: nn.Residual(nn.LSTM(3, return_state=True)),
            ValueError,
            "Residual: received LSTM.*returns 3 values",
        ),
        (lambda: nn.Bidirectional(nn.Dense(3)), TypeError, "Bidirectional: received Dense"),
        (lambda: nn.Bidirectional(nn.GRU(3), "max"), ValueError, "unknown merge_mode 'max'"),
        (
            lambda: nn.GRU(3)([nn.Input((4, 2)), nn.Input((3,))], nn.Input((3,))),
            ValueError,
            "initial_state and 2 inputs",
        ),
        (
            lambda: nn.GRU(7)(nn.Input((4, 2)), np.zeros(7)),
            TypeError,
            r"GRU\(units=7\): received an array of shape \(7,\) as an initial state.*nn.Input",
        ),
        (
            lambda: built(nn.GRU(3), (4, 2), (3,), (3,)),
            ValueError,
            "received 3 inputs.*an initial h .an LSTM's c is none",
        ),
        (
            lambda: built(nn.Bidirectional(nn.LSTM(3)), (4, 2), (3,), (3,)),
            ValueError,
            "received 3 inputs.*an initial h and c for each direction",
        ),
        (lambda: nn.Input((0, 3)), ValueError, "positive integers"),
    ],
)
def test_errors_say_what_to_change(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("members", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("layer", [nn.RNN(6), nn.LSTM(6), nn.Bidirectional(nn.GRU(3))],
                         ids=lambda layer: type(layer).__name__)  # fmt: skip
def test_the_state_may_be_the_sequence(layer, rows, members, team):
    """In the same memory, seen in another shape."""
    team(members)
    x = nn.Input((6,))
    steps = nn.Reshape((3, 2))(x)
    states = {"RNN": [x], "LSTM": [x, x]}.get(type(layer).__name__)
    if states is None:
        x = nn.Input((3,))
        steps, states = nn.Reshape((3, 1))(x), [x, x]
    model = randomize(nn.Model(x, layer(steps, initial_state=states), seed=0, dtype="float64"))
    values, dy = draw([x.shape, model.output_shape], rows)
    model.forward(values)
    dx, change, e = model.backward(dy), draw([x.shape], rows, seed=1)[0], 1e-6
    slope = ((model(values + e * change) - model(values - e * change)) * dy).sum() / (2 * e)
    assert (dx * change).sum() == pytest.approx(slope, rel=1e-7)
