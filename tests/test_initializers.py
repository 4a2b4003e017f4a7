"""Initializers: Keras's formulas on PyTorch's shapes."""

import pickle

import numpy as np
import pytest

import nncore as nn
from nncore import initializers

DENSE = (300, 200)  # (units, in): n_in 200, n_out 300
CONV = (60, 3, 5, 40)  # (filters, kh, kw, in): n_in 3 * 5 * 40, n_out 60 * 3 * 5
EVERY = sorted(initializers._NAMES)


def draw(name_or_object, shape, seed=0):
    return initializers.get(name_or_object)(shape, np.random.default_rng(seed))


@pytest.mark.parametrize("name", EVERY)
def test_a_name_gives_float64_of_the_shape_and_the_same_numbers_for_the_same_seed(name):
    values = draw(name, (6, 4, 3))
    assert values.shape == (6, 4, 3)
    assert values.dtype == np.float64
    assert values.flags.c_contiguous and values.flags.writeable
    assert np.array_equal(values, draw(name, (6, 4, 3)))


@pytest.mark.parametrize("name", EVERY)
def test_an_initializer_is_a_value(name):
    one, other = initializers.get(name), initializers.get(name)
    assert one == other == pickle.loads(pickle.dumps(one)) and hash(one) == hash(other)
    with pytest.raises(AttributeError):  # frozen
        one.value = 3


def test_constants():
    assert np.array_equal(draw("zeros", (2, 3)), np.zeros((2, 3)))
    assert np.array_equal(draw("ones", (2, 3)), np.ones((2, 3)))
    assert np.array_equal(draw(initializers.Constant(-2), (2,)), [-2.0, -2.0])


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_uniform", lambda n_in, n_out: 2 / (n_in + n_out)),
        ("glorot_normal", lambda n_in, n_out: 2 / (n_in + n_out)),
        ("he_uniform", lambda n_in, n_out: 2 / n_in),
        ("he_normal", lambda n_in, n_out: 2 / n_in),
        ("lecun_uniform", lambda n_in, n_out: 1 / n_in),
        ("lecun_normal", lambda n_in, n_out: 1 / n_in),
    ],
)
@pytest.mark.parametrize(("shape", "n_in", "n_out"), [(DENSE, 200, 300), (CONV, 600, 900)])
def test_scaled_ones_have_mean_0_and_the_variance_of_their_fans(name, variance, shape, n_in, n_out):
    values = draw(name, shape)
    expected = np.sqrt(variance(n_in, n_out))
    assert values.std() == pytest.approx(expected, rel=0.02)
    assert abs(values.mean()) < 0.02 * expected
    edge = 3**0.5 if name.endswith("uniform") else 2 / 0.87962566103423978
    assert 0.98 * edge * expected < abs(values).max() <= edge * expected  # truncated at 2 parents'


def test_normal_and_uniform_take_their_parameters():
    normal = draw(initializers.RandomNormal(mean=1.0, stddev=0.5), (200, 300))
    assert normal.mean() == pytest.approx(1.0, abs=0.01)
    assert normal.std() == pytest.approx(0.5, rel=0.02)
    uniform = draw(initializers.RandomUniform(1.0, 3.0), (200, 300))
    assert 1.0 <= uniform.min() < 1.01 and 2.99 < uniform.max() < 3.0


@pytest.mark.parametrize("shape", [(8, 3), (3, 8), (5, 5), (12, 3), (6, 3, 3, 2), (1, 4)])
def test_orthogonal_has_orthonormal_columns_or_rows(shape):
    matrix = draw("orthogonal", shape).reshape(shape[0], -1)
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T
    assert np.allclose(matrix.T @ matrix, np.eye(matrix.shape[1]), atol=1e-12)


def test_orthogonal_takes_a_gain_and_has_no_preferred_sign():
    matrix = draw(initializers.Orthogonal(gain=-2.0), (6, 6))
    assert np.allclose(matrix.T @ matrix, 4 * np.eye(6))
    corners = [draw("orthogonal", (2, 2), seed)[0, 0] > 0 for seed in range(200)]
    assert 70 < sum(corners) < 130  # a plain QR gives one sign only


def test_get_passes_objects_and_functions_through():
    he = initializers.HeNormal()
    assert initializers.get(he) is he

    def ramp(shape, rng):
        return np.arange(np.prod(shape), dtype=float).reshape(shape)

    assert initializers.get(ramp) is ramp


def test_memory_that_runs_out_is_no_fault_of_the_initializer():
    def greedy(shape, rng):
        raise MemoryError

    with pytest.raises(MemoryError):
        nn.Sequential([nn.Input((2,)), nn.Dense(3, kernel_initializer=greedy)])


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: initializers.get("he_norml"), ValueError, "did you mean 'he_normal'"),
        (lambda: initializers.get("HeNormal"), ValueError, "did you mean 'he_normal'"),
        (lambda: initializers.get("xyzzy"), ValueError, "Known names: constant, glorot_normal"),
        (lambda: initializers.get(3), TypeError, r"received 3 \(int\)"),
        (lambda: initializers.get(initializers.HeNormal), TypeError, r"call it: HeNormal\(\)"),
        (lambda: initializers.RandomNormal(stddev=-1), ValueError, "stddev must be in"),
        (lambda: initializers.RandomUniform(2, 1), ValueError, "minval=2.0, maxval=1.0"),
        (lambda: initializers.Constant(float("nan")), ValueError, "value must be finite"),
        (lambda: initializers.Constant("1"), TypeError, r"received '1' \(str\)"),
        (lambda: draw("orthogonal", (3,)), ValueError, "2 or more axes"),
    ],
)
def test_bad_input_is_told(make, error, says):
    with pytest.raises(error, match=says):
        make()
