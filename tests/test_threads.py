"""However many members share the work, a forward pass gives the same bits; gradients, whose sums
may be cut differently, the same numbers; and a run can be repeated to the bit.

Where products are BLAS's (the baseline instruction set), its sums depend on the matrix's shape,
and so on the share: there a forward pass gives the same numbers."""

import threading
from functools import partial

import numpy as np
import pytest

import nncore as nn
from case_kinds import several
from cases import LAYERS
from nncore import planner
from nncore._kernels import simd
from nncore.plan import Plan
from support import layer_of, one_or_list, randomize, with_shapes

# More members than processors, than rows, than units; a prime number; a power of two.
MEMBERS = (1, 2, 3, 7, 16)
SMALL = (1, 2, 3)


def mlp(dtype="float32", dropout=0.0, units=200) -> nn.Model:
    """Wide layers are shared by columns, the narrow ones by rows; their weights by units and,
    where those are few, by columns."""
    layers = [
        nn.Input((300,)),
        nn.Dense(units, "tanh"),
        nn.Dropout(dropout),
        nn.Dense(50, "gelu"),
        nn.Dense(3, "softmax"),
    ]
    return randomize(nn.Sequential(layers, seed=5, dtype=dtype))


def data(rows, dtype="float32"):
    rng = np.random.default_rng(rows)
    return rng.normal(size=(rows, 300)).astype(dtype), rng.integers(0, 3, rows)


def same_bits(a, b, what=""):
    assert a.dtype == b.dtype and a.tobytes() == b.tobytes(), what


def same_forward(a, b, what=""):
    if simd.current() != "baseline":
        return same_bits(a, b, what)
    atol = 10 * np.finfo(a.dtype).eps * abs(b).max()
    return np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=what)


@pytest.mark.parametrize("case, shape", with_shapes(LAYERS))
def test_forward_of_each_layer_has_the_same_bits(case, shape, team):
    rng = np.random.default_rng(10)
    xs = [x.astype("float32") for x in case.draw(rng, 37, shape)]
    found = []
    for members in MEMBERS:
        team(members)
        inputs = [nn.Input(s) for s in several(shape)]
        model = randomize(nn.Model(inputs, case.layer(one_or_list(inputs)), seed=0))
        found.append((members, model(one_or_list(xs)), model.forward(one_or_list(xs))))
    for members, inference, training in found[1:]:
        same_forward(inference, found[0][1], f"inference, {members} members")
        same_forward(training, found[0][2], f"training, {members} members")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 2, 17, 49, 100])
def test_forward_of_a_network_has_the_same_bits(rows, dtype, team):
    x, _ = data(rows, dtype)
    outputs = []
    for members in MEMBERS:
        team(members)
        outputs.append(mlp(dtype)(x))
    for y in outputs[1:]:
        same_forward(y, outputs[0])


@pytest.mark.parametrize("units", [10, 64, 200], ids="{} units".format)
@pytest.mark.parametrize("rows", [1, 2, 17, 100])
def test_gradients_are_the_same_numbers(rows, units, team):
    x, y = data(rows, "float64")
    runs = []
    for members in MEMBERS:
        team(members)
        model = mlp("float64", dropout=0.3, units=units)
        model.compile("sgd", "cross_entropy")
        runs.append(model.gradients(x, y))
    for loss, grads in runs[1:]:
        assert loss == pytest.approx(runs[0][0], rel=1e-13)
        for name, grad in grads.items():
            scale = abs(runs[0][1][name]).max()
            np.testing.assert_allclose(grad, runs[0][1][name], rtol=0, atol=1e-13 * scale)


@pytest.mark.parametrize("members", SMALL)
def test_training_can_be_repeated_to_the_bit(members, team):
    team(members)
    x, y = data(230)
    runs = []
    for _ in range(2):
        model = mlp(dropout=0.2)
        model.compile(nn.Adam(1e-3, clipnorm=1.0), "cross_entropy")
        history = model.fit(x, y, batch_size=100, epochs=3, verbose=False).history
        runs.append((history["loss"], model.params))
    assert runs[0][0] == runs[1][0]
    for name, value in runs[0][1].items():
        same_bits(value, runs[1][1][name], name)


def test_dropout_is_the_same_for_all_teams_and_another_in_each_step(team):
    x = np.ones((10, 33))
    masks = []
    for members in MEMBERS:
        team(members)
        model = nn.Sequential([nn.Input((33,)), nn.Dropout(0.25)], seed=3, dtype="float64")
        first, second = model.forward(x), model.forward(x)
        assert (first != second).any()
        masks.append(first)
    for mask in masks[1:]:
        same_bits(mask, masks[0])


def test_dropout_keeps_the_mean_and_the_rate():
    x = np.full((1000, 100), 3.0, np.float32)
    model = nn.Sequential([nn.Input((100,)), nn.Dropout(0.25)], seed=3)
    y = model.forward(x)
    assert set(np.unique(y)) == {0.0, 4.0}
    # 100000 coins: the share's standard deviation is 0.0014; four of them
    assert abs((y == 0).mean() - 0.25) < 4 * 0.0014
    same_bits(model(x), x, "inference passes everything through")


def test_two_dropouts_of_a_network_draw_apart():
    x = nn.Input((1000,))
    model = nn.Model(x, [nn.Dropout(0.5)(x), nn.Dropout(0.5)(x)], seed=0)
    a, b = model.forward(np.ones((1, 1000), np.float32))
    assert 400 < (a != b).sum() < 600


@pytest.mark.parametrize("members", SMALL)
def test_a_smaller_batch_in_a_larger_plan(members, team):
    """Nothing of the rows beyond the batch enters a result."""
    team(members)
    large = mlp("float64")
    large.compile("sgd", "cross_entropy")
    large.gradients(*data(100, "float64"))
    for rows in (99, 17, 2, 1):
        x, y = data(rows, "float64")
        small = mlp("float64")
        small.compile("sgd", "cross_entropy")
        loss, grads = large.gradients(x, y)
        expected_loss, expected = small.gradients(x, y)
        assert loss == pytest.approx(expected_loss, rel=1e-13)
        for name, grad in grads.items():
            scale = abs(expected[name]).max()
            np.testing.assert_allclose(grad, expected[name], rtol=0, atol=1e-13 * scale)


@pytest.mark.parametrize("members", SMALL)
def test_many_threads_predict_alike(members, team):
    team(members)
    model = mlp()
    x, _ = data(64)
    expected = model(x)
    outputs = []

    def predict():
        outputs.extend(model(x) for _ in range(20))

    threads = [threading.Thread(target=predict) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outputs) == 80
    for y in outputs:
        same_forward(y, expected)


def test_the_forced_team_is_really_that_large(team, outsider):
    """Otherwise all tests here would compare one thread with itself."""
    x = np.ones((1, 2), np.float32)
    for asked, come in ((1, 1), (3, 3), (19, 19), (3, 2), (19, 1)):
        team(asked, come)
        model = nn.Sequential([nn.Input((2,)), layer_of(outsider.Twice)])
        assert outsider.members(partial(model, x)) == come
        assert outsider.members(partial(model.forward, x)) == come


@pytest.mark.parametrize("units, rows, shared", [(64, 1, False), (512, 1, True), (64, 2, True)])
def test_steps_that_are_left_to_one_member_bring_no_other(units, rows, shared):
    """A step of one row of few units is shorter than the way to a barrier. The others would only be
    waited for."""
    model = nn.Sequential([nn.Input((50, 16)), nn.GRU(units)], seed=0)
    plan = Plan(model.graph, model._parameters, "inference", rows)
    assert plan.divided == (plan.work if shared else 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 17, 100, 128])
@pytest.mark.parametrize("asked", [3, 7])
def test_training_has_the_same_bits_however_many_members_come(asked, rows, dtype, team):
    """Who has no processor is not waited for: a share that depended on it could not be repeated."""
    x, y = data(3 * rows, dtype)
    expected = None
    for come in (asked, 1, 2, asked - 1):
        team(asked, come)
        model = mlp(dtype, dropout=0.2)
        model.compile(nn.Adam(1e-3, clipnorm=1.0), "cross_entropy")
        model.fit(x, y, batch_size=rows, epochs=1, verbose=False)
        loss, grads = model.gradients(x[:rows], y[:rows])
        found = {**model.params, **{f"grad {n}": g for n, g in grads.items()}, "y": model(x)}
        found["loss"] = np.asarray(loss)
        expected = expected or found
        for name, value in found.items():
            same_bits(value, expected[name], f"{name}, {come} of {asked} members")


# ---- ops that stand side by side are dealt out to the members ------------------------------------


def both_directions(layer, merge_mode="concat"):
    """Two recurrences of one x, then two of two inputs, then one that needs the one before it."""
    x = nn.Input((12, 20))
    both = nn.Bidirectional(layer, merge_mode=merge_mode)(x)
    a, b = nn.GRU(17, return_sequences=True)(x), nn.RNN(33)(x)
    deep = nn.LSTM(9)(nn.GRU(21, return_sequences=True)(a))
    return randomize(nn.Model(x, nn.Concatenate()([both, b, deep]), seed=3))


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("merge_mode", ["concat", "sum"])
@pytest.mark.parametrize(
    "layer", [nn.RNN(16), nn.LSTM(19), nn.GRU(40), nn.GRU(24, reset_after=False)], ids=repr
)
def test_recurrences_side_by_side_have_the_same_bits(layer, merge_mode, rows, team):
    x = np.random.default_rng(rows).normal(size=(rows, 12, 20)).astype(np.float32)
    lengths = [12, 5, 1][:rows]
    found = []
    for members in MEMBERS:
        team(members)
        model = both_directions(layer, merge_mode)
        found.append([model(x), model.predict(x, lengths=lengths)])
        plan = Plan(model.graph, model._parameters, "inference", rows)
        plan.fill_arena(0xFF)  # NaN
        found[-1].append(plan.infer(x))
    for got in found:
        for y, expected in zip(got, found[0], strict=True):
            same_forward(y, expected)
        same_forward(got[2], got[0])


def test_only_what_needs_nothing_of_the_other_is_dealt_out(team):
    team(2)
    model = both_directions(nn.LSTM(16))
    plan = Plan(model.graph, model._parameters, "inference", 1)
    dealt = [section[0] for section in planner.Planner(plan).sections()[0] if section[3]]
    assert dealt == [2, 2]


def test_only_what_takes_about_as_long_is_dealt_out(team):
    """Else one member would wait for the other; it had better help."""
    team(2)
    x = nn.Input((12, 20))
    model = nn.Model(x, nn.Concatenate()([nn.GRU(64)(x), nn.RNN(8)(x)]), seed=0)
    plan = Plan(model.graph, model._parameters, "inference", 1)
    assert not any(section[3] for section in planner.Planner(plan).sections()[0])


# ---- sections: a few rows of a member go through several ops before the next ones ---------------


def passes(case, shape, xs):
    """Output, dx and gradients of the layer with activations after it, in training."""
    inputs = [nn.Input(s) for s in several(shape)]
    h = case.layer(one_or_list(inputs))
    h = nn.Activation("relu")(nn.Activation("tanh")(h))
    model = randomize(nn.Model(inputs, h, seed=0))
    y = model.forward(one_or_list(xs), training=True)
    dy = np.random.default_rng(1).normal(size=y.shape).astype(y.dtype)
    dx = model.backward(dy)
    dxs = dx if isinstance(dx, list) else [dx]
    return [y, *[d for d in dxs if d is not None], *[g.copy() for g in model.grads.values()]]


@pytest.mark.parametrize("case, shape", with_shapes(LAYERS))
def test_a_section_gives_the_same_bits_however_few_rows_it_takes(case, shape, team, monkeypatch):
    rng = np.random.default_rng(10)
    xs = [x.astype("float32") for x in case.draw(rng, 13, shape)]
    team(3)
    whole = passes(case, shape, xs)
    monkeypatch.setattr(planner, "STRETCH_BYTES", 1)
    for a, b in zip(passes(case, shape, xs), whole, strict=True):
        same_forward(a, b)


def test_the_rows_of_a_section_are_those_that_a_cache_holds(team):
    team(1)
    layers = [nn.Conv2D(16, 3, padding="same"), nn.Activation("tanh"), nn.MaxPool2D(2)]
    inputs = nn.Input((32, 32, 3))
    h = inputs
    for layer in layers:
        h = layer(h)
    model = nn.Model(inputs, nn.Dense(10)(nn.Flatten()(h)), seed=0)
    model.compile("adam", "cross_entropy")
    model.train_on_batch(np.zeros((64, 32, 32, 3), "float32"), np.zeros(64, int))
    (plan,) = model._plans.values()
    forward, backward = planner.Planner(plan).sections()
    assert forward[0] == (4, False, planner.STRETCH_BYTES // (2 * 4 * 32 * 32 * 16), False)
    assert (2, True) in [section[:2] for section in backward]  # pooling and activation


def test_threads_may_be_set_between_forward_and_backward():
    """The batch is cut up as it was in the forward pass."""
    before = nn.get_num_threads()
    model = nn.Sequential(
        [nn.Input((30, 16)), nn.LSTM(32, return_sequences=True)], seed=0, dtype="float64"
    )
    x = np.random.default_rng(0).normal(size=(8, 30, 16))
    dy = np.random.default_rng(1).normal(size=(8, 30, 32))
    results = []
    try:
        for forward, backward in ((1, 1), (2, 1), (1, 2)):
            nn.set_num_threads(forward)
            model.forward(x)
            nn.set_num_threads(backward)
            dx = model.backward(dy)
            results.append([dx, *(grad.copy() for grad in model.grads.values())])
    finally:
        nn.set_num_threads(before)
    for found in results[1:]:
        for a, b in zip(found, results[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
