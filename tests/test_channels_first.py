"""Images with their channels first, given to layers that want them last: said wherever the shapes
show it, and no other shape is suspected."""

import numpy as np
import pytest

import nncore as nn
from test_bad_input import assert_says

Y = np.arange(6)
LAYERS = {
    "Conv2D": lambda: [nn.Conv2D(8, 3)],
    "Conv2D, same": lambda: [nn.Conv2D(8, 3, padding="same", groups=2)],
    "Conv2D of 1": lambda: [nn.Conv2D(8, 1)],
    "DepthwiseConv2D": lambda: [nn.DepthwiseConv2D(3, padding="same")],
    "Conv2DTranspose": lambda: [nn.Conv2DTranspose(2, 2)],
    "MaxPool2D": lambda: [nn.MaxPool2D()],
    "ZeroPadding2D": lambda: [nn.ZeroPadding2D()],
    "UpSampling2D": lambda: [nn.UpSampling2D()],
    "GlobalAvgPool2D": lambda: [nn.GlobalAvgPool2D()],
    "behind others": lambda: [nn.BatchNormalization(), nn.Activation("relu"), nn.Conv2D(8, 3)],
    "Residual": lambda: [nn.Residual([nn.Dropout(0.1), nn.Conv2D(3, 3, padding="same")])],
}
CALLS = {
    "call": lambda m, x: m(x),
    "predict": lambda m, x: m.predict(x),
    "forward": lambda m, x: m.forward(x),
    "fit": lambda m, x: m.fit(x, Y, verbose=False),
    "batches": lambda m, x: m.fit([(x, Y)], verbose=False),
    "train_on_batch": lambda m, x: m.train_on_batch(x, Y),
    "gradients": lambda m, x: m.gradients(x, Y),
    "evaluate": lambda m, x: m.evaluate(x, Y),
}


def network(layers, shape=None):
    first = [] if shape is None else [nn.Input(shape)]
    model = nn.Sequential([*first, *layers, nn.Flatten(), nn.Dense(6)], seed=0)
    model.compile("sgd", "cross_entropy")
    return model


def refused(call, *words):
    with pytest.raises(ValueError) as caught:
        call()
    assert_says(caught.value, words)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (9, 20, 2)], ids=str)
def test_data_for_a_network_that_says_its_shape(call, shape):
    x = np.moveaxis(np.zeros((6, *shape)), -1, 1)
    model = network([nn.Conv2D(8, 3)], shape)
    expected = f"(rows, {', '.join(map(str, shape))}) for layer '0', Conv2D("
    refused(
        lambda: CALLS[call](model, x), str(x.shape), expected, "channels last",
        "numpy.moveaxis(x, 1, -1)",
    )  # fmt: skip
    CALLS[call](model, np.moveaxis(x, 1, -1))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (1, 8, 8), (3, 48, 64)], ids=str)
def test_data_for_a_network_that_finds_its_shape(call, shape):
    model, x = network([nn.Conv2D(8, 3)]), np.zeros((6, *shape))
    words = [f"(rows, {shape[0]}, {shape[1]}, {shape[2]})", "(rows, channels, height, width)",
             "np.moveaxis(x, 1, -1)", f"begin the network with nn.Input({shape})"]  # fmt: skip
    refused(lambda: CALLS[call](model, x), "layer '0', Conv2D(filters=8, kernel_size=3)", *words)
    assert model.graph is None
    CALLS[call](model, np.moveaxis(x, 1, -1))  # as advised, in the same model


@pytest.mark.parametrize("layers", LAYERS)
def test_every_layer_of_images_says_so(layers):
    place = {"behind others": "'2'", "Residual": "'0.body.1'"}.get(layers, "'0'")
    refused(
        lambda: network(LAYERS[layers]())(np.zeros((6, 3, 32, 32))), f"layer {place}, ",
        "looks like (rows, channels, height, width)",
    )  # fmt: skip


def test_a_shape_that_was_written_down_is_believed():
    x = np.random.default_rng(0).normal(size=(6, 3, 32, 32)).astype("f4")
    model = network([nn.Conv2D(8, 3)], (3, 32, 32))
    assert model(x).shape == (6, 6) and model.params["0.weight"].shape == (8, 3, 3, 32)


def test_a_file_keeps_what_was_found(tmp_path):
    model, x = network([nn.Conv2D(8, 3)]), np.zeros((6, 12, 12, 3))
    model(x)
    model.save(tmp_path / "m")
    refused(lambda: nn.load(tmp_path / "m")(np.moveaxis(x, -1, 1)), "(rows, 12, 12, 3)", "moveaxis")


@pytest.mark.parametrize("shape", [
    (28, 28, 1), (32, 32, 3), (3, 7, 64), (3, 3, 3), (1, 50, 12), (2, 32, 32), (8, 8, 8),
    (64, 32, 32), (1, 7, 7),
], ids=str)  # fmt: skip
def test_other_shapes_are_not_suspected(shape):
    model = network([nn.Conv2D(8, 1)])
    assert model(np.zeros((6, *shape))).shape == (6, 6)


def test_layers_that_take_any_shape_do_not_mind():
    x = np.zeros((6, 3, 32, 32))
    for layers in ([], [nn.BatchNormalization()], [nn.Dense(4, "relu")]):
        assert network(layers)(x).shape == (6, 6)


# ---- errors that come later, or are about one example --------------------------------------------


@pytest.mark.parametrize("layers", [
    [nn.Conv2D(8, 5)], [nn.MaxPool2D(4)], [nn.Conv2D(6, 3, padding="same", groups=3)],
    [nn.Conv2D(16, 3), nn.MaxPool2D(2)], [nn.Residual(nn.Conv2D(3, 1))],
], ids=str)  # fmt: skip
def test_a_layer_that_it_does_not_fit_says_why(layers):
    words = ["input (3, 32, 32) looks like (channels, height, width)", "nn.Input((32, 32, 3))"]
    refused(lambda: network(layers, (3, 32, 32)), *words)


def test_what_layers_make_of_an_image_is_not_suspected():
    """One row of pixels is left, which is too few for the next layer."""
    layers = [nn.Conv2D(4, (32, 3)), nn.Conv2D(4, 3)]
    with pytest.raises(ValueError, match=r"input of shape \(1, 30, 4\)") as caught:
        network(layers, (32, 32, 3))
    assert "looks like" not in str(caught.value)
    first = [nn.Conv2D(30, (32, 3)), nn.Conv2D(4, (1, 3))]
    assert network(first)(np.zeros((6, 32, 32, 3))).shape == (6, 6)


@pytest.mark.parametrize("shape, given, advice", [
    ((32, 32, 3), (3, 32, 32), "numpy.moveaxis(x, 0, -1)[None]"),
    ((28, 28, 1), (6, 28, 28), "x[..., None]"),
    ((28, 28, 1), (28, 28, 1), "x[None]"),
    ((3, 32, 32), (6, 32, 32, 3), "begin the network with nn.Input((32, 32, 3))"),
], ids=str)  # fmt: skip
def test_other_mistakes_are_told_apart(shape, given, advice):
    model = network([nn.Conv2D(8, 1)], shape)
    with pytest.raises(ValueError) as caught:
        model(np.zeros(given))
    assert str(caught.value).endswith(advice)


def test_signals_with_their_channels_first():
    model = network([nn.Conv1D(8, 3)], (50, 4))
    refused(lambda: model(np.zeros((6, 4, 50))), "signals have their channels last", "moveaxis")
