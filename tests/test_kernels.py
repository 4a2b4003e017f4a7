"""The compiled loops, on every instruction set that this CPU has: products against numpy and BLAS,
activations against scipy, special values, and the floating-point environment."""

import contextlib
import threading

import numpy as np
import pytest

import nncore as nn
from cases import ACTIVATIONS
from nncore._kernels import blas, dense, simd

DTYPES = (np.float32, np.float64)
TAILS = (1, 2, 3, 15, 16, 17, 31, 33, 48, 64, 100, 129)


def instruction_sets() -> list[str]:
    chosen, found = simd.current(), []
    for name in ("baseline", "avx2", "avx512"):
        with contextlib.suppress(ValueError):  # this CPU has not got it
            found.append(simd.select(name))
    simd.select(chosen)
    return found


@pytest.fixture(params=instruction_sets())
def isa(request):
    """Plans that are built in the test run on this instruction set."""
    chosen = simd.current()
    assert simd.select(request.param) == request.param
    yield request.param
    simd.select(chosen)


# ---- products ------------------------------------------------------------------------------------


def random_shapes() -> list[tuple[int, int, int]]:
    """(rows, inputs, units): tails of all lengths, sums longer than what is kept in cache, and
    fewer inputs and units than a vector has."""
    rng = np.random.default_rng(11)
    some = [tuple(int(n) for n in rng.choice(TAILS, 3)) for _ in range(40)]
    short = [(200, 8, 2), (21, 5, 7), (9, 3, 1), (7, 4, 3)]
    # the last four copy A: columns, far columns that share cache sets, rows that do
    copied = [(130, 300, 200), (70, 530, 40), (300, 140, 1024), (40, 1024, 140)]
    return [*some, *short, (1, 1, 1), (5, 700, 20), (49, 800, 129), (900, 33, 17), *copied]


def formulas(x, weight, bias, dy, add: bool):
    """y, dx, dW, db; with ``add`` of two layers that share weights, and of x passed on."""
    k = 2 if add else 1
    return x @ weight.T + bias, k * (dy @ weight) + add * x, k * (dy.T @ x), k * dy.sum(0)


def product(dtype, B, I, O, use_blas: bool, add: bool):
    """What `formulas` computes, by the compiled loops, and (x, weight, bias, dy)."""
    rng = np.random.default_rng(B * I * O)
    x = nn.Input((I,))
    dense = nn.Dense(O)
    outputs = [dense(x), dense(x), x] if add else [dense(x)]
    model = nn.Model(x, outputs, dtype=np.dtype(dtype).name)
    data = [rng.normal(size=s).astype(dtype) for s in ((B, I), (O, I), (O,), (B, O))]
    model.params["0.weight"][...], model.params["0.bias"][...] = data[1:3]
    model.forward(data[0])
    (plan,) = model._plans.values()
    blas.load()
    for op in plan.ops:
        op.uses_blas = use_blas
    plan.fill_arena(0xFF)
    y = model.forward(data[0])
    dx = model.backward([data[3], data[3], data[0]] if add else data[3])
    return [y[0] if add else y, dx, model.grads["0.weight"], model.grads["0.bias"]], data


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("use_blas", [False, True], ids=["own", "BLAS"])
def test_products(isa, use_blas, dtype):
    """y = x W^T + b, dx = dy W, dW = dy^T x, db = sum dy; errors within the bound that holds for
    any order of summation (Higham 2002, section 3.5): n eps/2 sum |a| |b|, n terms; in double
    twice that, since numpy's result is no more exact."""
    unit = np.finfo(dtype).eps * (0.5 if dtype is np.float32 else 1)
    for B, I, O in random_shapes():
        for add in (False, True):
            found, data = product(dtype, B, I, O, use_blas, add)
            exact = formulas(*(v.astype(np.float64) for v in data), add)
            sizes = formulas(*(abs(v.astype(np.float64)) for v in data), add)
            terms = (I + 1, 2 * O + 1, 2 * B, 2 * B)
            for i, what in enumerate(("y", "dx", "dW", "db")):
                excess = abs(found[i] - exact[i]) - terms[i] * unit * sizes[i]
                assert excess.max() <= 0, f"{what}: {B} rows, {I} inputs, {O} units, add={add}"


@pytest.fixture(params=range(3), ids=["together", "in turn", "asked for"])
def order(request):
    """Dense layers read their matrix for one row in this order, whatever its size."""
    simd.read_rows(request.param)
    yield request.param
    simd.read_rows()


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
def test_one_row_in_every_order_of_the_weights(isa, order, dtype):
    """Bound as above."""
    unit = np.finfo(dtype).eps * (0.5 if dtype is np.float32 else 1)
    for I in (1, 7, 16, 63, 64, 65, 129, 600):  # up to four vectors and more, whole and with a tail
        for O in (1, 7, 8, 9, 30):
            (y, *_), data = product(dtype, 1, I, O, False, False)
            exact, sizes = (
                formulas(*(f(v.astype(np.float64)) for v in data), False)[0]
                for f in (np.asarray, abs)
            )
            assert (abs(y - exact) <= (I + 1) * unit * sizes).all(), f"{I} inputs, {O} units"


def test_the_order_of_the_weights_is_the_one_asked_for(isa):
    """Rows in turn are each summed in parts, which rounds otherwise than rows together."""
    bits = []
    for order in range(3):
        simd.read_rows(order)
        (y, *_), _ = product(np.float32, 1, 600, 40, False, False)
        bits.append(y.tobytes())
    simd.read_rows()
    assert bits[0] != bits[1] == bits[2]


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_form_of_a_dense_layer_is_the_plain_one(dtype, members, isa, team):
    team(members)
    for B, I, O in random_shapes():
        x = np.random.default_rng(B * I * O).normal(size=(B, I)).astype(dtype)
        inputs = nn.Input((I,))
        h = nn.Dense(O, "relu", bias_initializer="random_normal")(inputs)
        model = nn.Model(inputs, [h, nn.Dense(O, use_bias=False)(h)], seed=0, dtype=dtype)
        found = model(x)
        with contextlib.ExitStack() as undo:
            undo.callback(dense.force_plain, False)
            dense.force_plain(True)
            expected = model(x)
        for one, other in zip(found, expected, strict=True):
            tolerance = 100 * np.finfo(dtype).eps * max(1, abs(other).max())
            np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("inputs", "rows"),
    [(129, (2, 8)), (129, (2, 100)), (300, (2, 8)), (300, (9, 2000)), (1024, (9, 300))],
)
def test_rows_do_not_depend_on_their_neighbours(inputs, rows, isa, team):
    """A row of a batch has the bits that it has alone beside others: sums are in a fixed order.
    (Of many inputs, up to 8 rows, or from 9 rows on, where packed weights are kept and another
    loop does it: many rows in blocks, those that are a multiple of 4 KB apart in a copy.)"""
    if simd.current() == "baseline":
        pytest.skip("products are BLAS's there")
    team(1)  # a member's rows are as many as go through the network at a time
    rng = np.random.default_rng(12)
    model = nn.Sequential([nn.Input((inputs,)), nn.Dense(141)], seed=0)
    x = rng.normal(size=(rows[1], inputs)).astype(np.float32)
    weight, bias = (model.params[name].astype(np.float64) for name in ("0.weight", "0.bias"))
    y = model(x)
    assert y[: rows[0]].tobytes() == model(x[: rows[0]]).tobytes()
    np.testing.assert_allclose(y, x @ weight.T + bias, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("rows", "inputs"), [(32, 784), (7, 100), (40, 333)])
def test_bits_do_not_depend_on_where_x_begins(rows, inputs, isa):
    """Arrays of NumPy's begin 16 bytes into a cache line; the product for dW copies such an x."""
    if simd.current() == "baseline":
        pytest.skip("products are BLAS's there")
    rng = np.random.default_rng(13)
    model = nn.Sequential([nn.Input((inputs,)), nn.Dense(130, "tanh"), nn.Dense(3)], seed=0)
    model.compile("sgd", "cross_entropy")
    values, y = rng.normal(size=(rows, inputs)), rng.integers(0, 3, rows)
    found = []
    for shift in (0, 1, 4, 8, 13):
        block = np.zeros(values.size + 32, np.float32)
        first = -block.ctypes.data % 64 // 4 + shift
        x = block[first : first + values.size].reshape(values.shape)
        x[...] = values
        _, grads = model.gradients(x, y)
        found.append(b"".join(grad.tobytes() for grad in grads.values()))
    assert len(set(found)) == 1


# ---- activations ---------------------------------------------------------------------------------

ELEMENTWISE = [name for name, case in ACTIVATIONS.items() if case.limits]

# What is below the smallest normal number is flushed to 0, a factor of the result too.
TINY = float(np.finfo(np.float32).tiny)


def all_floats() -> np.ndarray:
    """Every 20011th float: all magnitudes, both signs."""
    x = np.arange(0, 2**32, 20011, dtype=np.uint64).astype(np.uint32).view(np.float32)
    return np.concatenate([x[np.isfinite(x)], np.linspace(-20, 20, 100003, dtype=np.float32)])


def activate(name: str, x: np.ndarray) -> np.ndarray:
    return nn.Sequential([nn.Input(x.shape), nn.Activation(name)], dtype=x.dtype.name)(x[None])[0]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activation_in_float_is_as_exact_as_stated(name, isa):
    x = all_floats()
    with np.errstate(all="ignore"):
        exact = ACTIVATIONS[name].exact(x.astype(np.float64))
    y = activate(name, x).astype(np.float64)
    normal = (abs(exact) > 2 * TINY) & (abs(exact) <= np.finfo(np.float32).max)
    assert (abs(y - exact)[abs(exact) <= 2 * TINY] <= 2 * TINY).all()
    x, y, exact = x[normal], y[normal], exact[normal]
    for bound, size in zip(
        ACTIVATIONS[name].error, (np.maximum(1, abs(x)), abs(exact)), strict=True
    ):
        if bound is not None:
            error = (abs(y - exact) - TINY) / size
            worst = error.argmax()
            limit = bound[isa] if isinstance(bound, dict) else bound
            assert error[worst] <= limit, f"{name}({x[worst]!r})"


def test_tanh_never_exceeds_1_and_is_1_from_8_on(isa):
    x = np.r_[all_floats(), np.linspace(7.9, 8, 10001, dtype=np.float32)]
    y = activate("tanh", x)
    assert (abs(y) <= 1).all() and (y[abs(x) >= 8] == np.sign(x[abs(x) >= 8])).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_where_a_number_stands_is_nothing_to_it(name, dtype, isa):
    x = np.linspace(-9, 9, 67).astype(dtype)
    y = activate(name, x)
    for start in range(17):
        assert (activate(name, x[start:]) == y[start:]).all()
        assert (activate(name, x[: 67 - start]) == y[: 67 - start]).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_where_a_gradient_stands_is_nothing_to_it(name, dtype, isa):
    x = np.linspace(-9, 9, 67).astype(dtype)

    def gradient(first):
        model = nn.Sequential([nn.Input((67 - first,)), nn.Activation(name)], dtype=x.dtype.name)
        model.forward(x[None, first:])
        return model.backward(x[None, first:])[0]

    whole = gradient(0)
    for first in range(1, 17):
        assert (gradient(first) == whole[first:]).all()


@pytest.mark.parametrize("n", [1, 2, 17, 1000, 1500])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name, n, isa):
    """Of rows far apart and far from 0. Its exponentials are off by 8.9e-8; the subtraction of the
    largest x, up to 100 here, by half an eps of the difference."""
    rng = np.random.default_rng(n)
    x = (30 * rng.normal(size=(9, n)) + [[v] for v in (0, 1e4, -1e4) * 3]).astype(np.float32)
    exact = ACTIVATIONS[name].exact(x.astype(np.float64))
    difference = x.max(-1, keepdims=True) - x
    if name == "softmax":
        bound = exact * (3e-7 + np.spacing(difference))
    else:
        bound = 3e-7 + np.spacing(abs(exact).astype(np.float32))
    np.testing.assert_array_less(abs(activate(name, x) - exact), bound + 2 * TINY)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_in_double(name, isa):
    x = np.linspace(-30, 30, 2003)
    np.testing.assert_allclose(
        activate(name, x), ACTIVATIONS[name].exact(x), rtol=1e-13, atol=3e-16 * 20
    )


# ---- special values ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_nan_and_infinity(name, dtype, isa):
    """Between ordinary numbers, in the vectors and in the tail."""
    at_minus_infinity, at_infinity = ACTIVATIONS[name].limits
    for n in (1, 5, 35):
        x = np.linspace(-1, 1, 3 * n).astype(dtype)
        ordinary = activate(name, x)
        x[0::3], x[1::3] = np.nan, -np.inf
        x[2::6] = np.inf
        y = activate(name, x)
        assert np.isnan(y[0::3]).all()
        np.testing.assert_allclose(y[1::3], at_minus_infinity, rtol=2e-7)
        np.testing.assert_allclose(y[2::6], at_infinity, rtol=2e-7)
        assert (y[5::6] == ordinary[5::6]).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
def test_softmax_of_nan_and_infinity(dtype, isa):
    x = np.zeros((4, 19), dtype)
    x[0, 7], x[1, 7], x[2] = -np.inf, np.nan, -np.inf
    y = activate("softmax", x)
    np.testing.assert_allclose(y[0], np.where(np.arange(19) == 7, 0, 1 / 18), rtol=3e-7)
    np.testing.assert_allclose(y[3], 1 / 19, rtol=3e-7)
    assert np.isnan(y[1]).all() and np.isnan(y[2]).all()  # as PyTorch has it
    y = activate("log_softmax", x)
    assert y[0, 7] == -np.inf and np.isnan(y[1]).all()


# ---- optimizers ----------------------------------------------------------------------------------


ADAMS = {
    "plain": nn.Adam(1e-3),
    "large epsilon": nn.Adam(1e-3, epsilon=0.3),
    "decay": nn.Adam(1e-3, weight_decay=0.1),
    "decoupled": nn.AdamW(1e-3, weight_decay=0.1),
}


@pytest.mark.parametrize("units", [1, 7, 16, 37])
@pytest.mark.parametrize("kind", ADAMS)
def test_adam_in_float(kind, units, isa):
    """Gradients of all sizes: none, tiny, and so large that their squares overflow."""
    rng = np.random.default_rng(units)
    model = nn.Sequential([nn.Input((5,)), nn.Dense(units, use_bias=False)], seed=0)
    model.compile(ADAMS[kind], "mse")
    given = rng.normal(size=(units, 5)) * 10.0 ** rng.integers(-20, 10, (units, 5))
    given[0, :3] = 0, 1e21, -1e-30
    w = model.params["0.weight"].astype(float)
    m, v = np.zeros_like(w), np.zeros_like(w)
    for step in (1, 2, 3):
        model.forward(np.zeros((2, 5), "float32"), training=True)
        model.backward(np.zeros((2, units), "float32"))
        model.grads["0.weight"][...] = given
        model.apply_gradients()
        g = given + 0.1 * w if kind == "decay" else given
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        v[v > np.finfo("f").max] = np.inf
        w *= 1 - 1e-4 if kind == "decoupled" else 1
        epsilon = 0.3 if kind == "large epsilon" else 1e-7
        w -= 1e-3 / (1 - 0.9**step) * m / (np.sqrt(v / (1 - 0.999**step)) + epsilon)
    np.testing.assert_allclose(model.params["0.weight"], w, rtol=0, atol=4e-7)


@pytest.mark.parametrize("beta_2", [0.9, 0.9999999])
def test_adam_takes_no_step_where_a_square_overflows(beta_2, isa):
    model = nn.Sequential([nn.Input((4,)), nn.Dense(16)], seed=0)
    model.compile(nn.Adam(0.01, beta_2=beta_2), "mae")
    before = model.params["0.weight"].copy()
    for _ in range(2):
        model.train_on_batch(np.full((8, 4), 1e30, np.float32), np.zeros((8, 16), np.float32))
    assert np.array_equal(model.params["0.weight"], before)


# ---- the floating-point environment --------------------------------------------------------------


def computes_denormals() -> bool:
    tiny = np.full(67, 1e-40, np.float32)
    return bool(((tiny * np.float32(0.5)).view(np.uint32) != 0).all())


@pytest.mark.parametrize("members", [1, 2, 3])
def test_a_plan_flushes_denormals_and_restores_what_was(members, team):
    team(members)
    a, b = nn.Input((33,)), nn.Input((33,))
    model = nn.Model([a, b], nn.Multiply()([a, b]))
    tiny, half = np.full((3, 33), 1e-40, np.float32), np.full((3, 33), 0.5, np.float32)
    seen = {}

    def run(where):
        before = computes_denormals()
        y = model([tiny, half])  # operands
        z = model([np.full((3, 33), 1e-30, np.float32), np.full((3, 33), 1e-10, np.float32)])
        dx, _ = model.forward([tiny, half]), model.backward(half)
        seen[where] = before, not y.any(), not z.any(), not dx.any(), computes_denormals()

    run("the main thread")
    thread = threading.Thread(target=run, args=("another thread",))
    thread.start()
    thread.join()
    assert seen == dict.fromkeys(("the main thread", "another thread"), (True,) * 5)


def test_a_run_that_fails_restores_it_too():
    class Fails(nn.Layer):
        def forward(self, x):
            if len(x) > 1:
                raise ZeroDivisionError
            return x

    model = nn.Sequential([nn.Input((2,)), Fails()])
    with pytest.raises(ZeroDivisionError):
        model(np.ones((3, 2), np.float32))
    assert computes_denormals()
