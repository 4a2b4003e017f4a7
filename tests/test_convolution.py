"""Convolutions: every algorithm on every case and instruction set against the plain formula, and
what is refused."""

import numpy as np
import pytest

import nncore as nn
from cases import LAYERS
from nncore._kernels import convolution, convolution_choice, simd
from support import randomize, with_shapes
from test_bad_input import cases
from test_kernels import isa  # noqa: F401  (a fixture)

KINDS = (nn.Conv1D, nn.Conv2D, nn.DepthwiseConv2D, nn.Conv2DTranspose)
CASES = [case for case in LAYERS if isinstance(case.layer, KINDS)]
ALGORITHMS = [name for name in convolution_choice.ALGORITHMS if name != "plain"]
LARGER = [  # several units of work, panels, tiles; sums longer than in the list
    (nn.Conv2D(70, 3, padding="same"), (33, 47, 20)),
    (nn.Conv2D(40, 5, strides=2, padding="same"), (41, 63, 24)),
    (nn.Conv2D(100, 3, padding=((0, 1), (2, 1))), (18, 23, 200)),  # wide ones of winograd
    (nn.Conv2D(48, 3, padding=1, groups=4), (20, 30, 80)),
    (nn.Conv2D(40, 3, padding=1, groups=10), (9, 21, 40)),
    (nn.Conv2D(36, (3, 2), strides=(1, 2), groups=12), (8, 19, 36)),
    (nn.Conv2D(3, (2, 5), padding="same"), (17, 20, 9)),  # several pixels' filters to a vector
    (nn.Conv2D(2, 3, strides=2, padding="same"), (19, 24, 4)),
    (nn.Conv2D(7, 5), (20, 23, 16)),  # few filters, windows of whole vectors
    (nn.DepthwiseConv2D(3, padding=2), (31, 40, 70)),
    (nn.DepthwiseConv2D(3, strides=2, padding="same"), (31, 40, 70)),
    (nn.DepthwiseConv2D(3, strides=2, padding=2), (2, 3, 16)),  # most windows reach outside
    (nn.DepthwiseConv2D(3, padding=((4, 0), (3, 1))), (1, 2, 19)),
    (nn.DepthwiseConv2D(3, strides=(2, 1), padding=1), (9, 8, 20)),
    (nn.DepthwiseConv2D(6, strides=2, padding=2), (23, 20, 40)),
    (nn.DepthwiseConv2D((5, 3), padding="same"), (21, 30, 8)),
    (nn.DepthwiseConv2D(5, padding="same"), (12, 14, 2)),
    (nn.DepthwiseConv2D((1, 33), padding="same"), (3, 40, 8)),
    (nn.Conv2D(64, 1), (19, 23, 300)),
    (nn.Conv1D(20, 9, padding="same"), (5000, 12)),
    (nn.DepthwiseConv2D(3, padding="same", depth_multiplier=2), (31, 40, 70)),
    (nn.Conv2DTranspose(24, 4, 2, 1), (17, 21, 40)),
]


def numbers(layer, shape, dtype, algorithm, rows=3):
    """The prediction, y, dx, dW (twice: added to another's) of plans with this algorithm, and its
    name."""
    rng = np.random.default_rng(3)
    convolution_choice.force(algorithm)
    try:
        x = nn.Input(shape)
        model = randomize(nn.Model(x, [layer(x), layer(x), x], seed=0, dtype=dtype))
        data = rng.normal(size=(rows, *shape)).astype(dtype)
        y = model.forward(data)
        prediction = model(data)[0]
        (plan,) = model._plans.values()
    finally:
        convolution_choice.force(None)
    plan.fill_arena(0xFF)
    y = model.forward(data)
    dy = [rng.normal(size=v.shape).astype(dtype) for v in y]
    dx = model.backward(dy)
    op = next(op for op in plan.ops if isinstance(op, convolution.Convolution))
    return op.algorithm, [prediction, y[0], dx, *model.grads.values()]


def compare(layer, shape, tolerance=30):
    """All algorithms that can do it; off by at most so many units of the largest number."""
    for dtype in ("float32", "float64"):
        _, exact = numbers(layer, shape, dtype, "plain")
        names = set()
        for algorithm in ALGORITHMS:
            name, found = numbers(layer, shape, dtype, algorithm)
            names.add(name)
            for what, a, b in zip(
                ("prediction", "y", "dx", "dW", "db"), found, exact, strict=False
            ):
                less_exact = 3 if name == "winograd" else 1
                atol = less_exact * tolerance * np.finfo(dtype).eps * abs(b).max()
                message = f"{what}, {name}, {dtype}"
                np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=message)
        assert {"direct", "patches"} <= names


@pytest.mark.parametrize("case, shape", with_shapes(CASES))
def test_algorithms(case, shape, isa, team):  # noqa: F811
    team(2)
    compare(case.layer, shape)


@pytest.mark.parametrize("layer, shape", LARGER, ids=str)
def test_algorithms_on_larger_images(layer, shape, isa, team):  # noqa: F811
    team(2)
    compare(layer, shape, 120)


def test_every_algorithm_is_chosen_somewhere():
    found = {numbers(c.layer, shape, "float32", None, 1)[0] for c in CASES for shape in c.shapes}
    too_narrow = {"grouped"} if simd.current() == "baseline" else set()  # its vectors
    assert found == set(ALGORITHMS) - too_narrow


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_smaller_batch_in_a_larger_plan(rows, team):
    """A plan for whole images per member gets fewer images than members, and the reverse."""
    layer = nn.Conv2D(18, 3, padding="same")
    x = np.random.default_rng(0).normal(size=(8, 9, 10, 4)).astype("float32")
    team(1)
    y = randomize(nn.Sequential([nn.Input(x.shape[1:]), layer]))(x)
    team(3)
    model = randomize(nn.Sequential([nn.Input(x.shape[1:]), layer]))
    model(x)
    found = model(x[:rows])
    if simd.current() != "baseline":
        assert found.tobytes() == y[:rows].tobytes()
    np.testing.assert_allclose(found, y[:rows], atol=1e-5)


def convolution_of(size, channels, dtype, precision):
    """The op's algorithm, and its worst y, dx, dW, relative to the largest number."""
    rng = np.random.default_rng(0)
    nn.set_convolution_precision(precision)
    try:
        layer = nn.Conv2D(channels, 3, padding="same")
        model = nn.Sequential([nn.Input((size, size, channels)), layer], seed=0, dtype=dtype)
        x = rng.normal(size=(4, size, size, channels))
        dy = rng.normal(size=x.shape)
        y = model.forward(x, training=True)
    finally:
        nn.set_convolution_precision("fast")
    (plan,) = model._plans.values()
    op = next(op for op in plan.ops if isinstance(op, convolution.Convolution))
    return op.algorithm, [y, model.backward(dy), model.grads["0.weight"]]


@pytest.mark.parametrize("channels, bound", [(16, 2e-6), (64, 2e-6), (256, 2e-6), (700, 4e-6)])
def test_the_error_of_the_fast_convolution(channels, bound, isa):  # noqa: F811
    """What set_convolution_precision promises."""
    name, exact = convolution_of(12, channels, "float64", "fast")
    assert name == "direct"  # float64 is for who wants all digits
    assert convolution_of(12, channels, "float32", "exact")[0] == "direct"
    name, found = convolution_of(12, channels, "float32", "fast")
    assert name == "winograd"
    for a, b in zip(found, exact, strict=True):
        assert abs(a - b).max() <= bound * abs(b).max()


def test_convolution_precision_is_one_of_two():
    with pytest.raises(ValueError, match="exactly.*exact, fast"):
        nn.set_convolution_precision("exactly")


# ---- what is refused -----------------------------------------------------------------------------


def network(shape, layer):
    return lambda: nn.Sequential([nn.Input(shape), layer()])


BAD = [
    ("stride 0", lambda: nn.Conv2D(3, 3, strides=0), ValueError, ["Conv2D", "strides", "0"]),
    ("dilation 0", lambda: nn.Conv2D(3, 3, dilation_rate=(1, 0)), ValueError,
     ["Conv2D", "dilation_rate", "0"]),
    ("filters 0", lambda: nn.Conv1D(0, 3), ValueError, ["Conv1D", "filters", "0"]),
    ("kernel 0", lambda: nn.DepthwiseConv2D(0), ValueError, ["Depthwise", "kernel_size", "0"]),
    ("kernel float", lambda: nn.Conv2D(3, 3.0), TypeError, ["Conv2D", "kernel_size", "3.0"]),
    ("kernel of three", lambda: nn.Conv2D(3, (3, 3, 3)), ValueError,
     ["kernel_size", "one for each axis"]),
    ("padding causal", lambda: nn.Conv1D(3, 3, padding="causal"), ValueError,
     ["Conv1D", "((kernel_size - 1) * dilation_rate, 0) is causal"]),
    ("padding name", lambda: nn.Conv2D(3, 3, padding="full"), ValueError,
     ["padding", "'valid', 'same'", "'full'"]),
    ("padding negative", lambda: nn.Conv2D(3, 3, padding=-1), ValueError, ["padding", "-1"]),
    ("padding of three", lambda: nn.Conv2D(3, 3, padding=(1, 2, 3)), ValueError, ["(1, 2, 3)"]),
    ("stride vast", lambda: nn.Conv2D(3, 3, strides=2**40), ValueError, ["strides", "at most"]),
    ("groups and filters", lambda: nn.Conv2D(3, 3, groups=2), ValueError,
     ["Conv2D", "3 filters", "2 groups", "divide"]),
    ("groups and channels", network((5, 5, 3), lambda: nn.Conv2D(4, 3, groups=2)), ValueError,
     ["'0'", "(5, 5, 3)", "3 channels", "2 groups"]),
    ("activation", lambda: nn.Conv2D(3, 3, activation="rleu"), ValueError, ["mean 'relu'"]),
    ("kernel larger", network((5, 2, 3), lambda: nn.Conv2D(4, 3)), ValueError,
     ["'0'", "(5, 2, 3)", "its width is 2,", "window's 3", "smaller kernel_size", "same"]),
    ("dilated kernel larger", network((9, 9, 3), lambda: nn.Conv2D(4, 3, 1, 1, 6)), ValueError,
     ["height is 9, 11 with its padding", "13 with its dilation 6", "or dilation_rate"]),
    ("kernel larger, steps", network((5, 3), lambda: nn.Conv1D(4, 9)), ValueError,
     ["Conv1D", "(5, 3)", "number of steps is 5", "window's 9"]),
    ("kernel larger, deeper", network((8, 8, 1), lambda: nn.Residual(nn.DepthwiseConv2D(9))),
     ValueError, ["'0.body.0'", "DepthwiseConv2D", "its height is 8"]),
    ("use_bias", lambda: nn.Conv2D(3, 3, use_bias=0), TypeError, ["Conv2D", "True or False", "0"]),
    ("padding None", lambda: nn.Conv1D(3, 3, padding=None), TypeError,
     ["Conv1D", "'valid', 'same', an integer", "None"]),
    ("padding array", lambda: nn.Conv2D(3, 3, padding=np.ones(2)), TypeError, ["'same'", "(2,)"]),
    ("stride of a pair", lambda: nn.DepthwiseConv2D(3, (2, 0)), ValueError, ["strides", ">= 1"]),
    ("multiplier", lambda: nn.DepthwiseConv2D(3, depth_multiplier=0), ValueError,
     ["DepthwiseConv2D", "depth_multiplier", "0"]),
    ("groups 0", lambda: nn.Conv2D(3, 3, groups=0), ValueError, ["groups", ">= 1", "0"]),
    ("groups, transposed", lambda: nn.Conv2DTranspose(3, 3, groups=2), ValueError,
     ["Conv2DTranspose", "3 filters", "2 groups"]),
    ("groups and channels, transposed", network((5, 5, 3), lambda: nn.Conv2DTranspose(4, 3,
     groups=2)), ValueError, ["'0'", "3 channels", "2 groups", "divide filters and channels"]),
    ("output_padding and same", lambda: nn.Conv2DTranspose(3, 3, 2, "same", 1), ValueError,
     ["output_padding 1", "0 for 'same'"]),
    ("of flat rows", network((784,), lambda: nn.Conv2D(4, 3)), ValueError,
     ["(784,)", "nn.Reshape((height, width, channels))"]),
    ("of a batch", network((32, 28, 28, 1), lambda: nn.Conv2D(4, 3)), ValueError,
     ["(32, 28, 28, 1)", "without the batch axis"]),
    ("channels first", network((3, 224, 224), lambda: nn.Conv2D(4, 5)), ValueError,
     ["(channels, height, width)", "moveaxis", "(224, 224, 3)"]),
    ("channels first, data", lambda: nn.Sequential([nn.Input((6, 7, 3)), nn.Conv2D(4, 3)])(
        np.zeros((2, 3, 6, 7))), ValueError, ["(2, 3, 6, 7)", "(rows, 6, 7, 3)", "moveaxis"]),
    ("no channels", network((28, 28), lambda: nn.Conv2D(4, 3)), ValueError,
     ["(28, 28)", "(height, width, channels)", "x[..., None]"]),
    ("1D of an image", network((28, 28, 1), lambda: nn.Conv1D(4, 3)), ValueError,
     ["(steps, channels)"]),
    ("image too large", network((9, 9, 1), lambda: nn.Conv2D(4, 3, padding=2**31 - 1)), ValueError,
     ["'0'", "too large"]),
    ("output_padding", lambda: nn.Conv2DTranspose(3, 3, 2, output_padding=2), ValueError,
     ["output_padding 2", "below the strides"]),
    ("transposed cut off", network((2, 2, 1), lambda: nn.Conv2DTranspose(3, 3, padding=2)),
     ValueError, ["'0'", "(2, 2, 1)", "cuts off", "(0, 0)"]),
]  # fmt: skip


@cases(BAD)
def test_refused(call, error, words):
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


def test_a_stride_larger_than_the_image_is_none():
    model = nn.Sequential([nn.Input((4, 4, 16)), nn.Conv2D(1, 1, strides=2**30)], seed=0)
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 16)).astype(np.float32)
    expected = x[:, :1, :1] @ model.params["0.weight"].reshape(16, 1)
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-4)
