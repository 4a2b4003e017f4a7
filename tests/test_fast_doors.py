"""The calls that go straight to compiled code, `model(x)`, `train_on_batch` and `gradients`, take
any array that NumPy can make real numbers of: the result is that for a plain float32 copy."""

import array
import copy
import inspect

import numpy as np
import pytest

import nncore as nn

RNG = np.random.default_rng(1)
ROWS, WIDTH, CLASSES = 12, 5, 3
WHOLE = RNG.integers(0, 2, (ROWS, WIDTH))  # whole numbers 0 and 1: exact in every dtype
LABELS = RNG.integers(0, CLASSES, ROWS)


class Subclass(np.ndarray):
    """Another type of array."""


def misaligned(values):
    block = np.zeros(values.size * 4 + 1, np.uint8)
    copied = block[1:].view(np.float32).reshape(values.shape)
    copied[...] = values
    return copied


def read_only(values):
    copied = np.array(values, np.float32)
    copied.flags.writeable = False
    return copied


def negative_strides(values):
    return np.ascontiguousarray(np.array(values, np.float32)[::-1, ::-1])[::-1, ::-1]


def every_second(values):
    wide = np.full((2 * len(values), 2 * values.shape[1]), np.nan, np.float32)
    wide[::2, ::2] = values
    return wide[::2, ::2]


FORMS = {  # other forms of the same numbers
    "plain": lambda v: v.astype(np.float32),
    **{
        f"dtype {name}": lambda v, name=name: v.astype(name)
        for name in "? i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 g >f4 >f8 >i4 <f4 =f8 longlong".split()
    },
    "Fortran order": lambda v: np.asfortranarray(v, np.float32),
    "transposed": lambda v: np.ascontiguousarray(v.T.astype(np.float32)).T,
    "negative strides": negative_strides,
    "every second": every_second,
    "misaligned": misaligned,
    "read-only": read_only,
    "subclass": lambda v: v.astype(np.float32).view(Subclass),
    "masked": lambda v: np.ma.array(v, np.float32),
    "memoryview": lambda v: memoryview(v.astype(np.float32)),
    "list": lambda v: v.tolist(),
    "tuple of tuples": lambda v: tuple(map(tuple, v.tolist())),
    "list of arrays": lambda v: list(v.astype(np.float64)),
    "list of array.array": lambda v: [array.array("f", row) for row in v.tolist()],
    "anything with __array__": lambda v: Wrapper(v),
}


class Wrapper:
    """What data frames and tensors of other libraries are, to NumPy."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


@pytest.fixture(scope="module")
def trained():
    """A model whose fast ways are open, and which is copied by each test."""
    model = nn.Sequential([nn.Input((WIDTH,)), nn.Dense(7, "tanh"), nn.Dense(CLASSES)], seed=3)
    model.compile(nn.Adam(0.01), "cross_entropy")
    return model


def opened(trained):
    model = copy.deepcopy(trained)
    plain = WHOLE.astype(np.float32)
    for _ in range(3):
        model.train_on_batch(plain, LABELS)
        model(plain)
    return model


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_x_gives_the_same_bits(trained, form):
    one, other = opened(trained), opened(trained)
    plain, x = WHOLE.astype(np.float32), FORMS[form](WHOLE)
    for _ in range(2):
        assert np.array_equal(one(plain), other(x))
        assert one.gradients(plain, LABELS)[0] == other.gradients(x, LABELS)[0]
        assert one.train_on_batch(plain, LABELS) == other.train_on_batch(x, LABELS)
    for name in one.params:
        assert np.array_equal(one.params[name], other.params[name])


@pytest.mark.parametrize("form", ["dtype u1", "Fortran order", "read-only", "plain"])
def test_inputs_are_never_written_to(trained, form):
    model, x = opened(trained), FORMS[form](WHOLE)
    x = x.astype(np.float32) if form == "plain" else x
    model(x), model.train_on_batch(x, LABELS), model.fit(x, LABELS), model.forward(x)
    assert np.array_equal(x, WHOLE)


LABEL_FORMS = {
    **{f"dtype {n}": lambda v, n=n: v.astype(n) for n in "i1 i2 i4 i8 u1 u8 f2 f4 f8 >i4".split()},
    "column": lambda v: v[:, None],
    "float column": lambda v: v[:, None].astype(float),
    "list": lambda v: v.tolist(),
    "strided": lambda v: v.repeat(2)[::2],
    "array.array": lambda v: array.array("q", v.tolist()),
    "one-hot": lambda v: np.eye(CLASSES)[v],
    "one-hot uint8": lambda v: np.eye(CLASSES, dtype=np.uint8)[v],
}


@pytest.mark.parametrize("form", LABEL_FORMS)
def test_every_form_of_labels_gives_the_same_step(trained, form):
    one, other = opened(trained), opened(trained)
    plain, y = WHOLE.astype(np.float32), LABEL_FORMS[form](LABELS)
    for _ in range(2):
        assert one.train_on_batch(plain, LABELS) == pytest.approx(
            other.train_on_batch(plain, y), rel=1e-6
        )


def test_broadcast_arrays_with_zero_strides(trained):
    model = opened(trained)
    row = WHOLE[0].astype(np.float32)
    x = np.broadcast_to(row, (ROWS, WIDTH))
    assert np.array_equal(model(x), model(x.copy()))
    y = np.broadcast_to(np.int64(1), (ROWS,))
    assert model.gradients(x, y)[0] == model.gradients(x.copy(), y.copy())[0]


@pytest.mark.parametrize("rows", [1, 2, 3, 15, 16, 17, 1023, 1024, 1025, 5000])
def test_any_number_of_rows(trained, rows):
    model = opened(trained)
    x = RNG.normal(size=(rows, WIDTH)).astype(np.float32)
    one_by_one = np.concatenate([model(x[i : i + 1]) for i in range(min(rows, 40))])
    assert model(x).shape == (rows, CLASSES)
    np.testing.assert_allclose(model(x)[:40], one_by_one, rtol=1e-5, atol=1e-6)
    y = RNG.integers(0, CLASSES, rows)
    assert np.isfinite(model.train_on_batch(x, y))


@pytest.mark.parametrize("at", [(0, 0), (5, 3), (ROWS - 1, WIDTH - 1)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_prediction_passes_nan_on_in_its_row_only(trained, at, bad):
    model, x = opened(trained), WHOLE.astype(np.float32)
    expected = model(x)
    x[at] = bad
    y = model(x)
    others = np.arange(ROWS) != at[0]
    assert np.array_equal(y[others], expected[others])
    if np.isnan(bad):
        assert np.isnan(y[at[0]]).all()
    assert np.array_equal(model.predict(x)[others], expected[others])


@pytest.mark.parametrize("width", [1, 3, 4, 7, 8, 15, 16, 17, 31, 33, 64, 65])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_finds_a_nan_at_every_place_of_a_batch(width, dtype):
    rows = 3
    model = nn.Sequential([nn.Input((width,)), nn.Dense(2)], seed=0, dtype=dtype)
    model.compile("sgd", "mse")
    x, y = np.ones((rows, width), dtype), np.zeros((rows, 2), dtype)
    model.train_on_batch(x, y)
    before = model.params["0.weight"].copy()
    for place in range(x.size):
        for bad in (np.nan, -np.inf):
            x.flat[place] = bad
            with pytest.raises(ValueError, match="x: received NaN"):
                model.train_on_batch(x, y)
            x.flat[place] = 1
    for place in range(y.size):
        y.flat[place] = np.inf
        with pytest.raises(ValueError, match="y: received NaN"):
            model.train_on_batch(x, y)
        y.flat[place] = 0
    assert np.array_equal(model.params["0.weight"], before)
    model.train_on_batch(x, y)
    assert not np.array_equal(model.params["0.weight"], before)


@pytest.mark.parametrize(
    "y",
    [np.full(ROWS, 3), np.full(ROWS, -1), np.full(ROWS, 0.5), np.full(ROWS, 2**62),
     np.full(ROWS, np.nan), LABELS[:5], np.tile(LABELS, 2), np.zeros((ROWS, 2)),
     np.zeros((ROWS, 4)), np.full((ROWS, CLASSES), 2.0 / CLASSES), np.zeros((ROWS, CLASSES)),
     np.array(1), LABELS.astype(str), np.full((ROWS, CLASSES), -1.0), None],
)  # fmt: skip
def test_targets_that_do_not_fit_are_refused(trained, y):
    model, x = opened(trained), WHOLE.astype(np.float32)
    before = model.params["0.weight"].copy()
    for _ in range(2):
        with pytest.raises((ValueError, TypeError), match="y"):
            model.train_on_batch(x, y)
        with pytest.raises((ValueError, TypeError), match="y"):
            model.gradients(x, y)
    assert np.array_equal(model.params["0.weight"], before)


def test_probabilities_are_as_close_to_one_as_they_say():
    model = nn.Sequential([nn.Input((4,)), nn.Dense(3, "softmax")], seed=0)
    model.compile("sgd", "cross_entropy")
    for y in ([0.3, 0.35, 0.36], [0.3, 0.3, 0.39], [0.31, 0.34, 0.34]):
        for _ in range(2):
            model.train_on_batch(np.ones((1, 4)), np.array([y]))


@pytest.mark.parametrize("total", [0.0, 0.9, 2.0])
def test_probabilities_that_do_not_sum_to_one_are_refused(total):
    model = nn.Sequential([nn.Input((4,)), nn.Dense(3, "softmax")], seed=0)
    model.compile("sgd", "cross_entropy")
    x, y = np.ones((6, 4), np.float32), np.full((6, 3), 1 / 3, np.float32)
    model.train_on_batch(x, y)
    before = model.params["0.weight"].copy()
    y[3] *= total
    for call in (model.train_on_batch, model.gradients):
        with pytest.raises(ValueError, match=f"probabilities that sum to {total:.4g}; expected 1"):
            call(x, y)
    assert np.array_equal(model.params["0.weight"], before)


def test_targets_must_have_the_shape_and_not_only_the_size_of_the_output():
    model = nn.Sequential([nn.Input((6,)), nn.Dense(6), nn.Reshape((2, 3))], seed=0)
    model.compile("sgd", "mse")
    x, y = np.ones((4, 6), np.float32), np.ones((4, 2, 3), np.float32)
    model.train_on_batch(x, y)
    for wrong in (y.reshape(4, 3, 2), y.reshape(4, 6), y.reshape(4, 1, 2, 3)):
        with pytest.raises(ValueError, match=r"\(rows, 2, 3\)"):
            model.train_on_batch(x, wrong)
    model.train_on_batch(x, y[..., None])


@pytest.mark.parametrize("value", [-0.1, 1.1, 7])
def test_binary_targets_outside_zero_to_one_are_refused(value):
    model = nn.Sequential([nn.Input((4,)), nn.Dense(1, "sigmoid")], seed=0)
    model.compile("sgd", "binary_cross_entropy")
    x, y = np.ones((6, 4), np.float32), np.zeros((6, 1), np.float32)
    model.train_on_batch(x, y)
    before = model.params["0.weight"].copy()
    y[3] = value
    for call in (model.train_on_batch, model.gradients, model.fit):
        with pytest.raises(ValueError, match="expected 0 to 1"):
            call(x, y)
    assert np.array_equal(model.params["0.weight"], before)


@pytest.mark.parametrize("bad", [-1, 7, 0.5, np.nan, np.inf, 1e9, -1e30])
def test_an_embedding_refuses_what_is_no_row_of_its_table(bad):
    layers = [nn.Input((3,)), nn.Embedding(7, 2), nn.Flatten(), nn.Dense(1)]
    model = nn.Sequential(layers, seed=0)
    model.compile("sgd", "mse")
    x, y = np.ones((5, 3)), np.zeros((5, 1))
    model.train_on_batch(x, y), model(x), model.forward(x)
    before = model.params["0.weight"].copy()
    x[4, 2] = bad
    for call in (model, model.predict, model.forward):
        with pytest.raises(ValueError, match=r"layer '0'.*0 <= x < 7"):
            call(x)
    for call in (model.train_on_batch, model.gradients, model.fit, model.evaluate):
        with pytest.raises(ValueError, match="NaN|0 <= x < 7"):
            call(x, y)
    assert np.array_equal(model.params["0.weight"], before)


def test_lbfgs_has_no_single_steps():
    model = nn.Sequential([nn.Input((2,)), nn.Dense(1)], seed=0)
    model.compile("lbfgs", "mse")
    x, y = np.ones((3, 2), np.float32), np.zeros((3, 1), np.float32)
    model.gradients(x, y)  # opens the fast way
    for call in (lambda: model.train_on_batch(x, y), model.apply_gradients):
        with pytest.raises(ValueError, match="LBFGS needs the whole data set"):
            call()


def test_outputs_are_fresh_arrays(trained):
    model, x = opened(trained), WHOLE.astype(np.float32)
    first = model(x)
    kept = first.copy()
    for _ in range(3):
        model(x * 2)
    assert np.array_equal(first, kept) and first.flags.owndata and first.flags.writeable
    assert model(x) is not first


def test_compiled_methods_have_signatures():
    found = {name: str(inspect.signature(getattr(nn.Model, name)))
             for name in ("train_on_batch", "gradients", "__call__")}  # fmt: skip
    assert found == {
        "train_on_batch": "(self, /, x, y, sample_weight=None, class_weight=None, lengths=None)",
        "gradients": "(self, /, x, y, sample_weight=None, lengths=None)",
        "__call__": "(self, /, x, lengths=None)",
    }
