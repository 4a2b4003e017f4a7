"""What the list of layers cannot show: ties and NaN in windows, sums that lose digits, and every
instruction set against plain NumPy."""

import numpy as np
import pytest

import nncore as nn
from test_kernels import instruction_sets, isa  # noqa: F401 (a fixture)

RNG = np.random.default_rng(0)
DTYPES = ("float32", "float64")
NAN, INF = np.nan, np.inf


def run(layer, x, dy=None, dtype="float32"):
    """y, or dx as well."""
    model = nn.Sequential([nn.Input(x.shape[1:]), layer], dtype=dtype)
    y = model.forward(x)
    return y if dy is None else (y, model.backward(dy))


# ---- windows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 5, 16, 33])
def test_of_equal_numbers_the_first_gets_the_gradient(channels):
    x = np.ones((1, 4, 4, channels))
    y, dx = run(nn.MaxPool2D(3, 1), x, np.ones((1, 2, 2, channels)))
    expected = np.zeros((4, 4))
    expected[:2, :2] = 1
    assert (dx[0] == expected[..., None]).all()
    y, dx = run(nn.MaxPool2D(3, 1, "same"), -x, np.ones((1, 4, 4, channels)))
    assert (y == -1).all() and dx[0, 0, 0, 0] == 4 and dx.sum() == 16 * channels


@pytest.mark.parametrize("values, most, at", [
    ([1, NAN, 3, 2], NAN, 1), ([NAN, 5, 6, 7], NAN, 0), ([1, 2, 3, NAN], NAN, 3),
    ([-INF, -INF, -INF, -INF], -INF, 0), ([-INF, 2, INF, INF], INF, 2), ([0.0, -0.0, 0, 0], 0, 0),
    ([NAN, 1, NAN, 2], NAN, 2),  # the last NaN, as in PyTorch
], ids=str)  # fmt: skip
@pytest.mark.parametrize("dtype", DTYPES)
def test_special_numbers_in_a_window(values, most, at, dtype):
    for channels in (1, 7, 40):
        x = np.repeat(np.reshape(values, (1, 2, 2, 1)), channels, axis=-1)
        for layer in (nn.MaxPool2D(), nn.GlobalMaxPool2D()):
            model = nn.Sequential([nn.Input(x.shape[1:]), layer], dtype=dtype)
            assert np.array_equal(model(x).ravel(), np.full(channels, most), equal_nan=True)
            y = model.forward(x)
            dx = model.backward(np.ones_like(y)).reshape(4, channels)
            assert (dx == (np.arange(4) == at)[:, None]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 8, 17, 33, 70])
@pytest.mark.parametrize("rows", [4, 7, 9])
def test_the_maximum_of_a_large_window(rows, channels, dtype):
    """Image i has NaN in its cell i, in one channel."""
    cells = np.arange(3 * rows)
    x = RNG.normal(size=(len(cells), rows, 3, channels)).astype(dtype)
    x[cells, cells // 3, cells % 3, cells % channels] = NAN
    for layer in (nn.GlobalMaxPool2D(), nn.MaxPool2D((rows, 3))):
        model = nn.Sequential([nn.Input(x.shape[1:]), nn.Activation("relu"), layer], dtype=dtype)
        expected = np.maximum(x.max((1, 2)), 0)
        for y in (model(x), model.forward(x)):
            assert np.array_equal(y.reshape(expected.shape), expected, equal_nan=True)


def test_nan_in_one_channel_stays_there():
    x = RNG.normal(size=(2, 5, 5, 20))
    x[0, 2, 2, 3] = NAN
    for layer in (nn.MaxPool2D(2, 1), nn.AvgPool2D(2, 1)):
        y = run(layer, x)
        bad = np.zeros_like(y, bool)
        bad[0, 1:3, 1:3, 3] = True
        assert (np.isnan(y) == bad).all()


def slow_pool(x, size, stride, before, shape, reduce):
    """By the definition, window by window."""
    y = np.empty((len(x), *shape, x.shape[-1]))
    for p in range(shape[0]):
        for q in range(shape[1]):
            h, w = p * stride - before, q * stride - before
            window = x[:, max(0, h) : h + size, max(0, w) : w + size]
            y[:, p, q] = reduce(window, axis=(1, 2))
    return y


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 64])
def test_pooling_on_every_instruction_set(isa, channels, dtype):  # noqa: F811
    x = RNG.normal(size=(2, 7, 9, channels)).astype(dtype)
    for size, stride, padding, before, shape in (
        (2, 2, "valid", 0, (3, 4)),
        (3, 2, "same", 1, (4, 5)),
        (3, 1, 2, 2, (9, 11)),
    ):
        y = run(nn.MaxPool2D(size, stride, padding), x, dtype=dtype)
        assert (y == slow_pool(x, size, stride, before, shape, np.max)).all()
        dy = RNG.normal(size=y.shape)
        _, dx = run(nn.MaxPool2D(size, stride, padding), x, dy, dtype)
        assert dx.sum() == pytest.approx(dy.sum(), abs=1e-4)
        assert (dx * x).sum() == pytest.approx((y * dy).sum(), abs=1e-3)
        y, dx = run(nn.AvgPool2D(size, stride, padding), x, dy, dtype)
        np.testing.assert_allclose(
            y, slow_pool(x, size, stride, before, shape, np.mean), rtol=1e-5, atol=1e-6
        )
        assert (dx * x).sum() == pytest.approx((y * dy).sum(), abs=1e-3)


def test_the_mean_of_many_numbers_is_accurate():
    x = (1 + RNG.uniform(size=(1, 100, 200, 3))).astype(np.float32)
    exact = x.astype(np.float64).mean((1, 2))
    np.testing.assert_allclose(run(nn.GlobalAvgPool2D(), x), exact, rtol=3e-6)


# ---- layer normalization -------------------------------------------------------------------------


def exact_norm(x, epsilon=1e-3):
    x = x.astype(np.longdouble)
    d = x - x.mean(-1, keepdims=True)
    return d / np.sqrt((d * d).mean(-1, keepdims=True) + epsilon)


@pytest.mark.parametrize("offset", [0, 1e2, 1e4, 1e6, -1e6])
@pytest.mark.parametrize("channels", [2, 7, 16, 33, 128, 1000])
def test_a_large_offset_costs_no_digits(isa, channels, offset):  # noqa: F811
    """What the numbers themselves, rounded to float32, have left is normalized to rounding."""
    x = (RNG.normal(size=(5, channels)) + offset).astype(np.float32)
    np.testing.assert_allclose(run(nn.LayerNormalization(), x), exact_norm(x), rtol=0, atol=4e-6)


@pytest.mark.parametrize("offset", [0, 1e4])
def test_gradients_with_a_large_offset(isa, offset):  # noqa: F811
    """As those of the same numbers in double."""
    x = (RNG.normal(size=(50, 40)) + offset).astype(np.float32)
    dy = RNG.normal(size=x.shape).astype(np.float32)
    found, exact = [], []
    for dtype, results in (("float32", found), ("float64", exact)):
        model = nn.Sequential([nn.Input((40,)), nn.LayerNormalization()], dtype=dtype)
        model.forward(x)
        results += [model.backward(dy), *model.grads.values()]
    for one, other in zip(found, exact, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5)


@pytest.mark.parametrize("channels", [1, 8, 17, 100])
@pytest.mark.parametrize("first", [True, False], ids=["first layer", "inner"])
def test_gradients_of_a_norm_have_the_same_bits_in_any_team(channels, first, team):
    """Each column is summed in the order of the rows, whoever does it."""
    x = RNG.normal(size=(23, 3, channels)).astype(np.float32)
    y = RNG.normal(size=x.shape).astype(np.float32)
    runs = []
    for members in (1, 2, 3, 7):
        team(members)
        before = [] if first else [nn.Activation("tanh")]
        layers = [nn.Input(x.shape[1:]), *before, nn.LayerNormalization()]
        model = nn.Sequential(layers)
        model.forward(x)
        dx = model.backward(y)
        runs.append(b"".join(a.tobytes() for a in (dx, *model.grads.values())))
    assert len(set(runs)) == 1


def test_the_norm_of_constant_rows_is_the_bias():
    model = nn.Sequential([nn.Input((6,)), nn.LayerNormalization()])
    model.params["0.bias"][...] = np.arange(6)
    x = np.full((3, 6), [[0], [1e30], [-7.3]])
    assert (model(x) == np.arange(6)).all()
    model.forward(x)
    assert np.isfinite(model.backward(np.ones((3, 6)))).all()
