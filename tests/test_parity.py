"""Parity with PyTorch: outputs, every gradient, and 20 steps of each optimizer.

float64 agrees to 1e-12 (promised: 1e-9). float32 is compared with PyTorch in float64 on the same
float32 numbers, so that the difference is this library's rounding alone. Tolerances are of the
largest number of each array.
"""

import numpy as np
import pytest

import nncore as nn
from case_kinds import several
from cases import ACTIVATIONS, LAYERS, LOSSES, OPTIMIZERS
from nncore.inputs import as_list
from support import loss_variants, one_or_list, randomize, with_shapes

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # these networks are small

DTYPES = ("float64", "float32")
# float32: a sum of n numbers is off by about sqrt(n) 6e-8; the widest here are 333, a few in a row.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


def near(actual, expected, tolerance: float, what: str) -> None:
    """Off by at most so much of the largest number."""
    expected = expected.detach().numpy()
    assert actual.shape == expected.shape, what
    scale = max(abs(expected).max(), np.finfo(np.float32).tiny)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale, err_msg=what)


def tensors(model: nn.Model) -> dict[str, "torch.Tensor"]:
    """The parameters, in double, wanting gradients."""
    return {
        name: torch.tensor(value.astype(np.float64), requires_grad=True)
        for name, value in model.params.items()
    }


def plain(parameters: dict[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """Without the layer's name."""
    return {name.split(".", 1)[1]: value for name, value in parameters.items()}


def double(x: np.ndarray) -> "torch.Tensor":
    return torch.tensor(np.asarray(x, np.float64), requires_grad=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case, shape", with_shapes([c for c in LAYERS if c.torch]))
def test_layer(case, shape, dtype):
    rng = np.random.default_rng(6)
    inputs = [nn.Input(s) for s in several(shape)]
    model = randomize(nn.Model(inputs, case.layer(one_or_list(inputs)), dtype=dtype))
    for rows in (1, 7, 64):
        xs = [x.astype(dtype) for x in case.draw(rng, rows, shape)]
        parameters, txs = tensors(model), [double(x) for x in xs]
        expected = case.torch(plain(parameters), *txs)
        near(model(one_or_list(xs)), expected, TOLERANCE[dtype], "inference")
        near(model.forward(one_or_list(xs)), expected, TOLERANCE[dtype], "forward")
        dy = rng.normal(size=expected.shape).astype(dtype)
        dxs = as_list("dx", model.backward(dy), len(xs))
        expected.backward(torch.tensor(dy, dtype=torch.float64))
        for i, (dx, tx) in enumerate(zip(dxs, txs, strict=True)):
            if not case.integers:
                near(dx, tx.grad, TOLERANCE[dtype], f"dx[{i}], {rows} rows")
        for name, value in parameters.items():
            near(model.grads[name], value.grad, TOLERANCE[dtype], f"{name}, {rows} rows")


def mean_loss(case, x, t, w=None) -> "torch.Tensor":
    """PyTorch's loss before the mean, weighted row by row (or position by position)."""
    loss = case.torch(x, torch.tensor(t))
    if w is not None:
        loss = loss * torch.tensor(w, dtype=torch.float64).reshape(
            w.shape + (1,) * (loss.ndim - w.ndim)
        )
    return loss.mean()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case, output, closing, weight", loss_variants())
def test_loss(case, output, closing, weight, dtype):
    """Also with two losses on one output, and whether a closing activation is taken in or not."""
    folds = case.loss.folds
    rng = np.random.default_rng(7)
    for heads, rows in ((1, 33), (2, 1)):
        x = nn.Input((*output[:-1], 6))
        y = nn.Activation(closing)(nn.Dense(output[-1])(x))
        model = randomize(nn.Model(x, [y] * heads, dtype=dtype))
        model.compile("sgd", [case.loss] * heads)
        xs = rng.normal(size=(rows, *output[:-1], 6)).astype(dtype)
        ts = [case.target(rng, rows, output) for _ in range(heads)]
        ts = [t if t.dtype.kind == "i" else t.astype(dtype).astype(np.float64) for t in ts]
        w = None if weight is None else rng.uniform(0, 2, size=(rows, *weight)).astype(dtype)
        loss, grads = model.gradients(xs, one_or_list(ts), w)
        parameters = tensors(model)
        h = torch.nn.functional.linear(double(xs), parameters["0.weight"], parameters["0.bias"])
        h = h if closing in folds else ACTIVATIONS[closing].torch(h)
        expected = sum(mean_loss(case, h, t, w) for t in ts)
        expected.backward()
        near(np.asarray(loss), expected, TOLERANCE[dtype], "loss")
        for name, value in parameters.items():
            near(grads[name], value.grad, TOLERANCE[dtype], name)


# ---- random networks -----------------------------------------------------------------------------

WIDTHS = (1, 3, 24, 40, 100, 333)
ELEMENTWISE = [name for name, case in ACTIVATIONS.items() if case.limits]
# In float32 a number next to a kink may fall on its other side, where the slope is another.
SMOOTH = [name for name in ELEMENTWISE if not ACTIVATIONS[name].kinks]


def random_network(rng, dtype):
    """(model, layers as (name of parameters, activation), loss case, inputs, targets)"""
    case = [c for c in LOSSES if len(c.outputs) > 1 and c.loss.folds][rng.integers(8)]
    depth, rows = rng.integers(1, 5), int(rng.integers(1, 101))
    widths = [int(n) for n in rng.choice(WIDTHS, depth)]
    sigmas = [str(s) for s in rng.choice(SMOOTH if dtype == "float32" else ELEMENTWISE, depth)]
    output = (int(rng.integers(2, 12)),)
    dense = [nn.Dense(n, sigma) for n, sigma in zip(widths[1:], sigmas[1:], strict=True)]
    layers = [nn.Input((widths[0],)), *dense, nn.Dense(output[0])]
    model = randomize(nn.Sequential(layers, dtype=dtype), int(rng.integers(1000)))
    model.compile("sgd", case.loss)
    x = rng.normal(size=(rows, widths[0])).astype(dtype)
    y = case.target(rng, rows, output)
    return model, [*sigmas[1:], "linear"], case, x, y


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(20))
def test_random_network(seed, dtype):
    model, sigmas, case, x, y = random_network(np.random.default_rng(seed), dtype)
    if y.dtype.kind == "f":
        y = y.astype(dtype).astype(np.float64)
    parameters, tx = tensors(model), double(x)
    h = tx
    for i, sigma in enumerate(sigmas):
        h = torch.nn.functional.linear(h, parameters[f"{i}.weight"], parameters[f"{i}.bias"])
        h = ACTIVATIONS[sigma].torch(h)
    near(model(x), h, TOLERANCE[dtype], "output")
    expected = mean_loss(case, h, y)
    expected.backward()
    loss, grads = model.gradients(x, y)
    near(np.asarray(loss), expected, TOLERANCE[dtype], "loss")
    for name, value in parameters.items():
        near(grads[name], value.grad, TOLERANCE[dtype], name)


# ---- optimizers ----------------------------------------------------------------------------------

STEPS = 20


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "case", [pytest.param(case, id=repr(case.optimizer)) for case in OPTIMIZERS if case.torch]
)
def test_optimizer(case, dtype):
    """20 steps on changing batches; parameters compared after each."""
    rng = np.random.default_rng(8)
    layers = [nn.Input((5,)), nn.Dense(19, "tanh"), nn.Dense(3, "softmax")]
    model = randomize(nn.Sequential(layers, dtype=dtype))
    model.compile(case.optimizer, "cross_entropy")
    parameters = tensors(model)
    rate = case.optimizer.learning_rate
    theirs = getattr(torch.optim, case.torch)(parameters.values(), lr=0.1, **case.options)
    for step in range(STEPS):
        x, y = rng.normal(size=(16, 5)).astype(dtype), rng.integers(0, 3, 16)
        theirs.param_groups[0]["lr"] = rate(step) if callable(rate) else rate
        theirs.zero_grad()
        h = torch.tanh(double(x) @ parameters["0.weight"].T + parameters["0.bias"])
        logits = h @ parameters["1.weight"].T + parameters["1.bias"]
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(y))
        loss.backward()
        if case.optimizer.clipnorm is not None:
            torch.nn.utils.clip_grad_norm_(parameters.values(), case.optimizer.clipnorm)
        theirs.step()
        ours = model.train_on_batch(x, y)
        near(np.asarray(ours), loss, TOLERANCE[dtype], f"loss of step {step}")
        for name, value in parameters.items():
            near(model.params[name], value, TOLERANCE[dtype], f"{name} after step {step}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_lbfgs_finds_the_least_squares(dtype):
    """PyTorch's LBFGS searches differently; where both end, numpy knows."""
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(60, 4)).astype(dtype), rng.normal(size=(60, 2)).astype(dtype)
    model = nn.Sequential([nn.Input((4,)), nn.Dense(2)], seed=0, dtype=dtype)
    model.compile(nn.LBFGS(tolerance=1e-10), "mse")
    model.fit(x, y, epochs=100, batch_size=17, verbose=False)
    best, *_ = np.linalg.lstsq(np.c_[x, np.ones(60)].astype(np.float64), y, rcond=None)
    # At a minimum the loss is flat: its last digits (eps) are the parameters' first half.
    tolerance = {"float64": 1e-7, "float32": 2e-3}[dtype]
    np.testing.assert_allclose(model.params["0.weight"], best[:4].T, atol=tolerance)
    np.testing.assert_allclose(model.params["0.bias"], best[4], atol=tolerance)
