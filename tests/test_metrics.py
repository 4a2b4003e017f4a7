"""Metrics: equal to scikit-learn's, with weights, however the examples are split."""

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest

from nncore import metrics

N, C = 97, 6
CUTS = (0, 1, 30, 30, 96, N)  # stretches of 1, 29, 0, 66 and 1 examples
EVERY = sorted(metrics._NAMES)


@pytest.fixture(scope="module")
def sk():
    return pytest.importorskip("sklearn.metrics")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def value(metric, y_true, y_pred, weight=None, cuts=(0, None)):
    """The metric over examples that arrive in stretches."""
    for start, stop in pairwise(cuts):
        part = slice(start, stop)
        metric.update(y_true[part], y_pred[part], None if weight is None else weight[part])
    return metric.result()


def classes(rng):
    """Labels, scores (some equal) and weights (some 0).

    Class 3 is never predicted, class 4 is predicted but never true, class 5 is neither.
    """
    scores = np.round(rng.normal(size=(N, C)), 1)
    scores[:, [3, 5]] -= 10
    return rng.integers(0, C - 2, N), scores.astype(np.float32), rng.integers(0, 4, N) / 2


def yes_or_no(rng):
    labels = rng.integers(0, 2, N)
    return labels, np.round(0.3 * labels + 0.7 * rng.random(N), 1), rng.integers(0, 4, N) / 2


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("average", ["macro", "weighted", "micro"])
@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_per_class_metrics(sk, rng, name, average, weighted):
    y, scores, w = classes(rng)
    w = w + 0.5 if weighted else None
    metric = {"precision": metrics.Precision, "recall": metrics.Recall, "f1": metrics.F1}[name]
    reference = getattr(sk, f"{name}_score")
    expected = reference(
        y, scores.argmax(1), average=average, sample_weight=w, zero_division=0, labels=None
    )
    assert value(metric(average=average), y, scores, w, CUTS) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["accuracy", "precision", "recall", "f1"])
def test_yes_or_no_metrics(sk, rng, name):
    y, p, w = yes_or_no(rng)
    expected = getattr(sk, f"{name}_score")(y, p > 0.5, sample_weight=w)
    assert value(metrics.get(name), y, p, w, CUTS) == pytest.approx(expected, rel=1e-12)
    assert value(metrics.get(name), y[:, None], p[:, None], w, CUTS) == pytest.approx(expected)
    assert value(metrics.get(name), y, p[:, None], w, CUTS) == pytest.approx(expected)
    assert value(metrics.get(name), y.astype(bool), p, w, CUTS) == pytest.approx(expected)


def test_a_threshold_of_0_is_for_logits(rng):
    y, p, _ = yes_or_no(rng)
    p = np.clip(p, 0.01, 0.99)
    logits = np.log(p / (1 - p))
    assert value(metrics.Accuracy(threshold=0), y, logits) == value(metrics.Accuracy(), y, p)


@pytest.mark.parametrize("weighted", [False, True])
def test_accuracy_and_top_k_of_classes(sk, rng, weighted):
    y, _, w = classes(rng)
    scores = rng.normal(size=(N, C))  # no equal scores: scikit-learn breaks ties otherwise
    w = w if weighted else None
    expected = sk.accuracy_score(y, scores.argmax(1), sample_weight=w)
    assert value(metrics.Accuracy(), y, scores, w, CUTS) == pytest.approx(expected)
    for k in (1, 2, 4):
        expected = sk.top_k_accuracy_score(y, scores, k=k, sample_weight=w, labels=range(C))
        assert value(metrics.TopK(k), y, scores, w, CUTS) == pytest.approx(expected)
    assert metrics.get("top_k").k == 5


def test_labels_may_be_a_column_one_hot_probabilities_or_whole_floats(rng):
    y, scores, w = classes(rng)
    one_hot = np.eye(C)[y]
    for name in ("accuracy", "precision", "f1"):
        expected = value(metrics.get(name), y, scores, w)
        for truth in (y[:, None], one_hot, 0.9 * one_hot + 0.02, y.astype(np.float32)):
            assert value(metrics.get(name), truth, scores, w) == expected


def test_time_steps_are_answers_like_any_other(rng):
    y, scores, w = classes(rng)
    y, scores, w = y[:96].reshape(16, 6), scores[:96].reshape(16, 6, C), w[:96].reshape(16, 6)
    for name in ("accuracy", "recall"):
        flat = value(metrics.get(name), y.ravel(), scores.reshape(96, C), w.ravel())
        assert value(metrics.get(name), y, scores, w) == pytest.approx(flat)
        rows = value(metrics.get(name), y.ravel(), scores.reshape(96, C), np.repeat(w[:, 0], 6))
        assert value(metrics.get(name), y, scores, w[:, 0]) == pytest.approx(rows)
    yes = value(metrics.Accuracy(), y > 2, scores[..., :1])
    assert yes == np.mean((y > 2) == (scores[..., 0] > 0.5))


def test_many_labels_are_separate_questions(rng):
    y, p = rng.integers(0, 2, (N, 3)), rng.random((N, 3))
    assert value(metrics.Accuracy(multi_label=True), y, p) == np.mean(y == (p > 0.5))
    recall = metrics.Recall(multi_label=True, average="micro")
    assert value(recall, y, p) == pytest.approx(((p > 0.5) & (y == 1)).sum() / y.sum())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("average", ["macro", "weighted", "micro"])
@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_many_labels_are_averaged_as_scikit_learn_does(sk, rng, name, average, weighted):
    y, p = rng.random((N, 4)) < [0.1, 0.5, 0.8, 0.0], rng.random((N, 4))
    p[:, 3] = 0  # a label that is neither true nor predicted counts as 0
    w = rng.integers(0, 4, N) / 2 if weighted else None
    make = {"precision": metrics.Precision, "recall": metrics.Recall, "f1": metrics.F1}[name]
    expected = getattr(sk, f"{name}_score")(
        y, p > 0.5, average=average, sample_weight=w, zero_division=0
    )
    metric = make(average=average, multi_label=True)
    assert value(metric, y, p, w, CUTS) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="3 classes after predictions of 4"):
        metric.update(y[:, :3], p[:, :3])


def test_top_1_is_accuracy_also_when_scores_are_equal(rng):
    y, scores, w = classes(rng)
    scores = np.round(scores)
    top, accuracy = metrics.TopK(k=1), metrics.Accuracy()
    assert value(top, y, scores, w) == value(accuracy, y, scores, w)
    assert value(metrics.TopK(k=2), y, np.zeros((N, C))) == np.mean(y < 2)
    assert value(metrics.TopK(k=2), y, np.full((N, C), np.nan)) == 0


@pytest.mark.parametrize("weighted", [False, True])
def test_auc_is_the_exact_area(sk, rng, weighted):
    y, p, w = yes_or_no(rng)  # rounded: many equal scores
    w = w if weighted else None
    expected = sk.roc_auc_score(y, p, sample_weight=w)
    metric = metrics.AUC()
    assert value(metric, y, p, w, CUTS) == pytest.approx(expected, rel=1e-12)
    assert metric.result() == pytest.approx(expected, rel=1e-12)
    assert value(metrics.AUC(), y[:, None], np.log(p + 1)[:, None], w) == pytest.approx(expected)


def test_auc_keeps_its_own_copy_of_the_scores():
    metric, scores, labels = metrics.AUC(), np.array([0.1, 0.9]), np.array([0, 1])
    metric.update(labels, scores, labels + 1.0)
    scores[:], labels[:] = 0, 0  # a plan's output is written over by the next batch
    assert metric.result() == 1.0


def test_auc_is_nan_without_both_classes_or_with_nan_scores():
    assert np.isnan(value(metrics.AUC(), np.ones(3), np.arange(3.0)))
    assert np.isnan(value(metrics.AUC(), np.array([0, 1]), np.array([0.5, np.nan])))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 3)])
@pytest.mark.parametrize(
    ("name", "reference"),
    [("mae", "mean_absolute_error"), ("mse", "mean_squared_error"), ("r2", "r2_score")],
)
def test_regression(sk, rng, name, reference, shape, weighted):
    y = rng.normal(size=shape) * [1, 5, 0.1][: shape[-1] if len(shape) > 1 else 1] + 1e4
    p = y + 0.3 * rng.normal(size=shape)
    w = rng.integers(0, 4, N) / 2 if weighted else None
    expected = getattr(sk, reference)(y, p, sample_weight=w)
    assert value(metrics.get(name), y, p, w, CUTS) == pytest.approx(expected, rel=1e-9)
    if shape == (N, 1):
        assert value(metrics.get(name), y[:, 0], p, w, CUTS) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("target", [3.0, 0.1])
def test_r2_of_an_output_that_never_varies(sk, target):
    y, w = np.full((4, 1), target), np.array([0.3, 0.1, 0.7, 0.2])
    for guess in (y, y + 1):
        for weights, cuts in ((None, (0, None)), (w, (0, None)), (w, (0, 1, 3, None))):
            found = value(metrics.R2(), y, guess, weights, cuts)
            assert found == sk.r2_score(y, y + (guess is not y)) == (1 if guess is y else 0)
    assert np.isnan(value(metrics.R2(), y[:1], y[:1]))


@pytest.mark.parametrize("cuts", [(0, None), (0, 1, None)])
def test_r2_counts_no_example_without_weight(cuts):
    y = np.array([1.0, 2.0])
    assert np.isnan(value(metrics.R2(), y, y, np.array([1.0, 0.0]), cuts))


@pytest.mark.parametrize("name", EVERY)
def test_reset_copy_pickle_and_the_empty_metric(name, rng):
    y, p, _ = yes_or_no(rng)
    if name == "top_k":
        y, p = rng.integers(0, 9, N), rng.random((N, 9))
    metric = metrics.get(name)
    assert metric.name == name
    nothing = metric.result()
    assert nothing == 0 if name in ("precision", "recall", "f1") else np.isnan(nothing)
    first = value(metric, y, p)
    assert pickle.loads(pickle.dumps(metric)).result() == first
    other = copy.deepcopy(metric)
    metric.reset()
    assert metric.result() == pytest.approx(nothing, nan_ok=True)
    assert value(metric, y, p) == first == other.result()
    assert type(first) is float


def test_get_makes_a_new_metric_of_a_name_and_keeps_an_object():
    assert metrics.get("auc") is not metrics.get("auc")
    metric = metrics.TopK(k=3, name="top_3")
    assert metrics.get(metric) is metric and metric.name == "top_3"


LABELS, SCORES = np.zeros(4, int), np.zeros((4, 3))


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: metrics.get("acuracy"), ValueError, "did you mean 'accuracy'"),
        (lambda: metrics.get(metrics.AUC), TypeError, r"the class AUC \(call it: AUC\(\)\)"),
        (lambda: metrics.F1(average="makro"), ValueError, "did you mean 'macro'"),
        (lambda: metrics.Accuracy(name=5), TypeError, r"Accuracy: name .* received 5"),
        (lambda: metrics.F1(multi_label="yes"), TypeError, "F1: multi_label must be True or False"),
        (lambda: metrics.get("acc"), ValueError, "did you mean 'accuracy'"),
        (lambda: metrics.get("mean_absolute_error"), ValueError, "did you mean 'mae'"),
        (lambda: metrics.TopK(k=0), ValueError, "k must be an integer >= 1"),
        (
            lambda: metrics.Accuracy().update(LABELS[:3], SCORES),
            ValueError,
            r"accuracy: y_true of shape \(3,\) does not fit y_pred of shape \(4, 3\)",
        ),
        (
            lambda: metrics.F1().update(SCORES[:, :2], SCORES),
            ValueError,
            r"f1: .*\(4, 2\).*\(4, 3\)",
        ),
        (lambda: metrics.Accuracy().update(LABELS + 3, SCORES), ValueError, r"in 0..2, received 3"),
        (lambda: metrics.Recall().update(LABELS - 1, SCORES), ValueError, "received -1"),
        (lambda: metrics.Accuracy().update(LABELS + 0.5, SCORES), ValueError, "received 0.5"),
        (lambda: metrics.Accuracy().update(LABELS + np.nan, SCORES), ValueError, "received nan"),
        (lambda: metrics.Precision().update(LABELS + 2, LABELS), ValueError, "in 0..1, received 2"),
        (lambda: metrics.TopK().update(LABELS, SCORES), ValueError, r"k=5 .*\(4, 3\)"),
        (lambda: metrics.TopK().update(LABELS, LABELS), ValueError, r"2 or more classes.*\(4,\)"),
        (lambda: metrics.AUC().update(LABELS, SCORES), ValueError, r"auc: .*\(4,\).*\(4, 3\)"),
        (lambda: metrics.MeanSquaredError().update(LABELS, SCORES), ValueError, "mse: y_true"),
        (lambda: metrics.MeanAbsoluteError().update(["a"], [1.0]), ValueError, "real numbers"),
        (
            lambda: metrics.R2().update(LABELS, LABELS, SCORES),
            ValueError,
            r"sample_weight .*\(4, 3\)",
        ),
        (
            lambda: metrics.Accuracy().update(LABELS, SCORES, LABELS[:3]),
            ValueError,
            r"accuracy: sample_weight of shape \(3,\) does not fit answers of shape \(4,\)",
        ),
    ],
)
def test_bad_input_is_told(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_a_refused_update_changes_nothing(rng):
    y, scores, _ = classes(rng)
    metric = metrics.F1()
    before = value(metric, y, scores)
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.5, received 6"):
        metric.update(y + 3, scores)
    with pytest.raises(ValueError, match="sample_weight"):
        metric.update(y, scores, y[:3])
    with pytest.raises(ValueError, match="2 classes after predictions of 6"):
        metric.update(y > 2, scores[:, :2])
    assert metric.result() == before
    fresh = metrics.F1()
    with pytest.raises(ValueError, match="sample_weight"):
        fresh.update(y, scores, y[:3])
    fresh.update(y > 2, scores[:, 0])  # the classes are still open


@pytest.mark.parametrize("name", ["accuracy", "precision", "recall", "f1", "top_k"])
def test_what_is_nan_is_never_right(name):
    metric = metrics.TopK(k=1) if name == "top_k" else metrics.get(name)
    scores = np.array([[np.nan, 0.2, 0.1], [0.1, 0.9, np.nan], [0.9, 0.0, 0.1]])
    right = np.array([[0.3, 0.2, 0.1], [0.1, 0.9, 0.0], [0.9, 0.0, 0.1]])
    assert value(copy.deepcopy(metric), [0, 1, 0], right) == 1
    assert value(copy.deepcopy(metric), [0, 1], scores[:2]) == 0
    assert 0 < value(copy.deepcopy(metric), [0, 1, 0], scores) < 1
    if name != "top_k":
        assert value(metric, [1, 1], [np.nan, np.nan]) == 0
    if name == "accuracy":
        assert value(metrics.Accuracy(), [0, 1], [np.nan, 1.0]) == 0.5
        many = metrics.Accuracy(multi_label=True)
        assert value(many, [[0, 1], [0, 0]], [[np.nan, 1.0], [0.1, np.nan]]) == 0.5
    if name == "f1":
        many = metrics.F1(multi_label=True)
        assert value(many, [[1, 1], [0, 1]], [[np.nan, 1.0], [0.1, np.nan]]) == pytest.approx(1 / 3)


@pytest.mark.parametrize("name", ["accuracy", "precision", "recall", "f1", "top_k"])
def test_several_labels_in_a_row_are_no_class(name):
    metric = metrics.TopK(k=1) if name == "top_k" else metrics.get(name)
    for row in ([1, 1, 0], [0, 0, 0], [np.nan, 1, 0]):
        with pytest.raises(ValueError, match=f"{name}: y_true .*no class.*multi_label=True"):
            metric.update([[0, 1, 0], row], [[0.1, 0.8, 0.1], [0.4, 0.5, 0.1]])


def test_auc_of_classes_says_what_to_do():
    with pytest.raises(ValueError, match="auc: received .*classes.*one-hot"):
        metrics.AUC().update([0, 1], [[0.2, 0.8], [0.7, 0.3]])


@pytest.mark.parametrize("name", ["loss", "seconds", "epoch", "val_loss", "val_accuracy"])
def test_names_that_the_history_has_are_refused(name):
    with pytest.raises(ValueError, match=f"the name '{name}'.*another"):
        metrics.grouped(["accuracy", metrics.Accuracy(name=name)], 1)
    if name == "val_accuracy":
        metrics.grouped([metrics.Accuracy(name=name)], 1)  # alone it is that of nothing else
    metrics.grouped([[metrics.Accuracy(name=name)], []], 2)  # output_0_loss
