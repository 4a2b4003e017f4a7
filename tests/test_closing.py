"""What a network closes with, and what its loss and its metrics make of that."""

import numpy as np
import pytest

import nncore as nn

RNG = np.random.default_rng(4)
X = RNG.normal(size=(12, 4))
LABELS = RNG.integers(0, 3, 12)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_metrics_of_a_classification_loss_see_probabilities(loss):
    """Whether the network closes with the activation or puts out logits."""
    closing = "softmax" if loss == "cross_entropy" else "sigmoid"
    one_hot, found = np.eye(3)[LABELS], []
    for last in ("linear", closing):
        model = nn.Sequential([nn.Input((4,)), nn.Dense(3, last)], seed=0)
        model.compile("sgd", loss, metrics=["mae", nn.metrics.Accuracy(multi_label=True)])
        found.append(model.evaluate(X, one_hot))
    p = model.predict(X)
    assert found[0] == pytest.approx(found[1])
    assert found[0]["mae"] == pytest.approx(np.abs(p - one_hot).mean(), rel=1e-5)
    assert found[0]["accuracy"] == pytest.approx(((p > 0.5) == one_hot).mean())


def reshaped(closing, before, after):
    layers = [nn.Input((4,)), nn.Dense(6), nn.Reshape(before), nn.Activation(closing)]
    return nn.Sequential([*layers, nn.Reshape(after)], seed=0, dtype="float64")


@pytest.mark.parametrize(
    ("loss", "closing", "before", "after"),
    [
        ("binary_cross_entropy", "sigmoid", (6,), (3, 2)),
        ("binary_cross_entropy", "sigmoid", (6,), (6, 1)),
        ("cross_entropy", "softmax", (1, 6), (6,)),
        ("cross_entropy", "log_softmax", (2, 1, 3), (2, 3)),
    ],
)
def test_a_closing_activation_is_taken_in_through_a_reshape(loss, closing, before, after):
    y = RNG.random((12, *after))
    y /= y.sum(-1, keepdims=True)
    results = []
    for last in (closing, "linear"):
        model = reshaped(last, before, after)
        model.compile("sgd", loss)
        results.append(model.gradients(X, y))
    assert results[0][0] == results[1][0]
    for name, gradient in results[0][1].items():
        assert np.array_equal(gradient, results[1][1][name])


@pytest.mark.parametrize(
    ("loss", "closing", "right"),
    [("binary_cross_entropy", "softmax", "'cross_entropy'"),
     ("binary_cross_entropy", "log_softmax", "'cross_entropy'"),
     ("binary_cross_entropy", "hard_sigmoid", "close with sigmoid or no activation"),
     ("cross_entropy", "sigmoid", "'binary_cross_entropy'"),
     ("cross_entropy", "hard_sigmoid", "close with softmax or no activation")],
)  # fmt: skip
@pytest.mark.parametrize("reshape", [False, True])
def test_a_loss_that_would_squash_twice_is_refused(loss, closing, right, reshape):
    layers = [nn.Input((4,)), nn.Dense(3, closing), *[nn.Reshape((1, 3))] * reshape]
    with pytest.raises(ValueError, match=f"closes with {closing}.*works on logits.*{right}"):
        nn.Sequential(layers, seed=0).compile("sgd", loss)
    model = nn.Sequential(layers[1:], seed=0)  # its shapes are not known yet
    model.compile("sgd", loss)
    y = np.eye(3)[LABELS].reshape(12, *((1, 3) if reshape else (3,)))
    for call in (model.fit, model.train_on_batch, model.gradients, model.evaluate):
        with pytest.raises(ValueError, match=f"closes with {closing}.*works on logits.*{right}"):
            call(X, y)


def test_softmax_over_other_classes_than_those_of_the_loss_is_refused():
    model = nn.Sequential([nn.Input((4,)), nn.Dense(6, "softmax"), nn.Reshape((2, 3))], seed=0)
    with pytest.raises(ValueError, match="softmax and then changes the last axis"):
        model.compile("sgd", "cross_entropy")


@pytest.mark.parametrize(("dtype", "rel"), [("float32", 2e-7), ("float64", 1e-15)])
@pytest.mark.parametrize("z", [-200.0, -15.0, -3.0, 0.0, 3.0, 12.0, 30.0, 200.0])
def test_binary_cross_entropy_keeps_its_digits(z, dtype, rel):
    """log(1 + exp(z)) - t z, in the form that does not cancel."""
    model = nn.Sequential([nn.Input((1,)), nn.Activation("sigmoid")], dtype=dtype)
    model.compile("sgd", "binary_cross_entropy")
    for t, sign in ((0, 1), (1, -1)):
        exact = max(sign * z, 0) + np.log1p(np.exp(-abs(z)))
        assert model.evaluate([[z]], [t])["loss"] == pytest.approx(exact, rel=rel, abs=1e-38)


@pytest.mark.parametrize(("dtype", "abs_"), [("float32", 2e-7), ("float64", 1e-15)])
@pytest.mark.parametrize("offset", [0.0, 1e4, -3e7])
@pytest.mark.parametrize("smoothing", [0.0, 0.25])
def test_cross_entropy_does_not_depend_on_where_zero_is(smoothing, offset, dtype, abs_):
    z = np.array([[4.0, 0.0, -4.0]])
    model = nn.Sequential([nn.Input((3,)), nn.Activation("softmax")], dtype=dtype)
    model.compile("sgd", nn.losses.CrossEntropy(label_smoothing=smoothing))
    log_p = z - np.log(np.exp(z).sum())
    for label in range(3):
        one_hot = np.eye(3)[[label]]
        exact = -(((1 - smoothing) * one_hot + smoothing / 3) * log_p).sum()
        for y in ([label], one_hot):
            loss = model.evaluate(z + offset, y)["loss"]
            assert loss == pytest.approx(exact, rel=abs_, abs=abs_)
