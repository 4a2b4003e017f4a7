"""Gradients: every layer and loss of tests/cases.py against finite differences, in float64.

The cotangent dy is random, the arena holds NaN before the pass, and exactly 1, 2 and 3 members
share the work.
"""

import numpy as np
import pytest

import nncore as nn
from case_kinds import several
from cases import LAYERS
from nncore.inputs import as_list
from support import loss_variants, one_or_list, randomize, with_shapes

MEMBERS = (1, 2, 3)
BATCHES = (7, 3, 1)  # in this order: the smaller ones run in a plan made for more rows
STEP = 1e-4  # of the five-point formula, whose error is STEP^4: rounding (1e-12) dominates
MOST = 16  # entries of an array that are checked, random ones if it has more


def near(actual: np.ndarray, expected: dict[tuple, float], what: str) -> None:
    """Relative 1e-6, or where a gradient is small beside its neighbours, 1e-9 of the largest."""
    values = np.array(list(expected.values()))
    found = np.array([actual[index] for index in expected])
    np.testing.assert_allclose(
        found, values, rtol=1e-6, atol=1e-9 * max(1, abs(values).max()), err_msg=what
    )


def slopes(function, array: np.ndarray) -> dict[tuple, float]:
    """index -> d function / d array[index]. ``function()`` returns arrays f; its slope is the sum
    over dy of dy * df, the differences first, which keeps the rounding small."""
    rng = np.random.default_rng(array.size)
    chosen = rng.permutation(array.size)[:MOST]
    found = {}
    for index in zip(*np.unravel_index(chosen, array.shape), strict=True):
        value = array[index]
        f = {}
        for k in (-2, -1, 1, 2):
            array[index] = value + k * STEP
            f[k] = function()
        array[index] = value
        found[index] = sum(
            np.sum(dy * (8 * (f[1][i] - f[-1][i]) - (f[2][i] - f[-2][i]))) / (12 * STEP)
            for i, dy in enumerate(function.cotangents)
        )
    return found


class Pass:
    """forward and backward of a network on given inputs, always with the same dropout."""

    def __init__(self, model: nn.Model, xs: list[np.ndarray]) -> None:
        self.model, self.xs = model, xs
        rng = np.random.default_rng(2)
        self.cotangents = [rng.normal(size=y.shape) for y in self()]

    def __call__(self) -> list[np.ndarray]:
        self.model._passes = 0  # dropout's step
        y = self.model.forward(one_or_list(self.xs), training=True)
        return as_list("y", y, len(self.model.graph.outputs))

    def gradients(self) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        for plan in self.model._plans.values():
            plan.fill_arena(0xFF)
        for view in self.model.grads.values():
            view[...] = np.nan
        self()
        dxs = self.model.backward(one_or_list(self.cotangents))
        return as_list("dx", dxs, len(self.xs)), self.model.grads


# Networks around a layer. What each is for:


def alone(case, inputs):
    """The layer reads the inputs, and its output is the network's."""
    return [case.layer(one_or_list(inputs))]


def inside(case, inputs):
    """Between others, so that it may work in place."""
    before = inputs if case.integers else [nn.Activation("tanh")(x) for x in inputs]
    return [nn.Activation("sigmoid")(case.layer(one_or_list(before)))]


def repeated(case, inputs):
    """Its input is read twice, is an output too, and its weights are shared: every gradient is a
    sum of what several ops write."""
    before = inputs if case.integers else [nn.Multiply()([x, x]) for x in inputs]
    twice = [case.layer(one_or_list(before)), case.layer(one_or_list(before))]
    return [*twice, nn.Flatten()(twice[0]), *before, twice[1]]


def network(around, case, shape) -> nn.Model:
    inputs = [nn.Input(s) for s in several(shape)]
    return randomize(nn.Model(inputs, around(case, inputs), seed=3, dtype="float64"))


@pytest.mark.parametrize("around", [alone, inside, repeated], ids=lambda f: f.__name__)
@pytest.mark.parametrize("case, shape", with_shapes(LAYERS))
def test_layer(case, shape, around, team):
    rng = np.random.default_rng(4)
    batches = [case.draw(rng, rows, shape) for rows in BATCHES]
    team(1)
    model = network(around, case, shape)
    expected = []
    for xs in batches:
        run = Pass(model, xs)
        dxs = [{} if case.integers else slopes(run, x) for x in xs]
        expected.append((dxs, {name: slopes(run, p) for name, p in model.params.items()}))
    for members in MEMBERS:
        team(members)
        model = network(around, case, shape)
        for xs, (dxs, grads) in zip(batches, expected, strict=True):
            found_dxs, found_grads = Pass(model, xs).gradients()
            for i, (found, dx) in enumerate(zip(found_dxs, dxs, strict=True)):
                assert np.isfinite(found).all()
                if dx:
                    near(found, dx, f"dx[{i}], {members} members, {len(xs[0])} rows")
            for name, grad in grads.items():
                assert np.isfinite(found_grads[name]).all()
                near(found_grads[name], grad, f"{name}, {members} members, {len(xs[0])} rows")


def test_integers_have_no_gradient(team):
    """dx of an embedding is 0, and what others contribute to it stays."""
    x = nn.Input((3,))
    model = nn.Model(x, [nn.Embedding(5, 2)(x), nn.Activation("tanh")(x)], dtype="float64")
    ids, dy = np.array([[0.0, 1.0, 4.0]]), np.ones((1, 3))
    model.forward(ids)
    dx = model.backward([np.ones((1, 3, 2)), dy])
    np.testing.assert_allclose(dx, 1 - np.tanh(ids) ** 2, rtol=1e-9)


def test_backward_needs_nothing_of_the_array_that_forward_read():
    """The caller may overwrite or free x in between."""
    model = randomize(nn.Sequential([nn.Input((3,)), nn.Dense(2)], dtype="float64"))
    x, dy = np.arange(12.0).reshape(4, 3), np.ones((4, 2))
    kept = x.copy()
    model.forward(x)
    x[...] = np.nan
    model.backward(dy)
    np.testing.assert_allclose(model.grads["0.weight"], dy.T @ kept, rtol=1e-12)


def test_an_input_that_nothing_depends_on_has_gradient_zero():
    a, b = nn.Input((2,)), nn.Input((3,))
    model = nn.Model([a, b], nn.Dense(2)(a))
    model.forward([np.ones((4, 2)), np.ones((4, 3))])
    assert not model.backward(np.ones((4, 2)))[1].any()


# ---- losses --------------------------------------------------------------------------------------


class LossPass:
    """The loss of a network as a function of its parameters."""

    cotangents = (1.0,)

    def __init__(self, model, x, y, weight) -> None:
        self.model, self.data = model, (x, y, weight)

    def __call__(self) -> tuple[float]:
        return (self.model.gradients(*self.data)[0],)

    def gradients(self) -> dict[str, np.ndarray]:
        for plan in self.model._plans.values():
            plan.fill_arena(0xFF)
        return self.model.gradients(*self.data)[1]


def classifier(case, output, closing, heads) -> nn.Model:
    """``heads`` outputs, all the same tensor; one loss each."""
    x = nn.Input((*output[:-1], 3))
    y = nn.Activation(closing)(nn.Dense(output[-1])(x))
    model = randomize(nn.Model(x, [y] * heads, dtype="float64"))
    model.compile("sgd", [case.loss] * heads)
    return model


@pytest.mark.parametrize("heads", [1, 2], ids=["one", "two on one output"])
@pytest.mark.parametrize("case, output, closing, weight", loss_variants())
def test_loss(case, output, closing, weight, heads, team):
    rng = np.random.default_rng(5)
    for rows in (5, 1):
        x = rng.normal(size=(rows, *output[:-1], 3))
        y = one_or_list([case.target(rng, rows, output) for _ in range(heads)])
        w = None if weight is None else rng.uniform(0, 2, size=(rows, *weight))
        team(1)
        run = LossPass(classifier(case, output, closing, heads), x, y, w)
        expected = {name: slopes(run, p) for name, p in run.model.params.items()}
        for members in MEMBERS:
            team(members)
            run = LossPass(classifier(case, output, closing, heads), x, y, w)
            run()
            for name, found in run.gradients().items():
                near(found, expected[name], f"{name}, {members} members, {rows} rows")
