"""Bad input: one clear error that says what was received and expected; nothing changes by it.

Each row of a table is (what is wrong, the call, the exception, words of its message).
"""

import ctypes
import decimal

import numpy as np
import pytest
import scipy.sparse

import nncore as nn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4))
LABELS = RNG.integers(0, 3, 12)
NUMBERS = RNG.normal(size=(12, 3))


def classifier(loss="cross_entropy", **options):
    layers = [nn.Input((4,)), nn.Dense(5, "tanh", name="hidden"), nn.Dense(3)]
    model = nn.Sequential(layers, seed=0, **options)
    model.compile(nn.SGD(0.1, momentum=0.9), loss)
    return model


def regressor():
    return classifier("mse")


def with_value(array, value, at=(5, 2)):
    changed = np.array(array, dtype=np.float64)
    changed[at] = value
    return changed


def cases(rows):
    return pytest.mark.parametrize(
        ("call", "error", "words"), [pytest.param(*row[1:], id=row[0]) for row in rows]
    )


# ---- calls on a model that works -----------------------------------------------------------------

ANY_CALL = {  # how x reaches a model
    "call": lambda m, x: m(x),
    "predict": lambda m, x: m.predict(x),
    "forward": lambda m, x: m.forward(x),
    "fit": lambda m, x: m.fit(x, LABELS),
    "train_on_batch": lambda m, x: m.train_on_batch(x, LABELS),
    "gradients": lambda m, x: m.gradients(x, LABELS),
    "evaluate": lambda m, x: m.evaluate(x, LABELS),
}


class Items:
    """A data set as some libraries know them: batches by number."""

    def __len__(self):
        return 2

    def __getitem__(self, number):
        return X, LABELS


def test_what_numpy_reads_without_asking_for_items_is_taken():
    numbers = (ctypes.c_double * 8)(*range(8))  # no __iter__
    model = nn.Sequential([nn.Input((4,)), nn.Dense(3)], seed=0)
    rows = np.reshape(numbers, (2, 4))
    assert np.array_equal(model(((ctypes.c_double * 4) * 2).from_buffer(numbers)), model(rows))
    objects = np.array([[decimal.Decimal("0.5")] * 4], object)
    with pytest.raises(TypeError, match=r"dtype object.*convert it: numpy.asarray"):
        model(objects)


WRONG_X = [
    (
        "too wide",
        X.repeat(2, axis=1),
        ValueError,
        ["Sequential: received x of shape (12, 8); expected (rows, 4) for layer 'hidden', Dense("],
    ),
    ("too narrow", X[:, :3], ValueError, ["(12, 3)", "(rows, 4)"]),
    ("one example", X[0], ValueError, ["(4,)", "(rows, 4)", "x[None]"]),
    ("three axes", X[:, None], ValueError, ["(12, 1, 4)", "(rows, 4)"]),
    ("a number", 5.0, ValueError, ["()", "(rows, 4)"]),
    ("a 0-d array", np.array(5.0), ValueError, ["()", "(rows, 4)"]),
    ("no rows", X[:0], ValueError, ["empty"]),
    ("an empty list", [], ValueError, ["(0,)"]),
    ("strings", X.astype(str), TypeError, ["dtype <U", "real numbers"]),
    ("a string", "some text", TypeError, ["dtype <U", "real numbers"]),
    ("objects", X.astype(object), TypeError, ["dtype object", "float32"]),
    (
        "objects with a word",
        np.array([[1, "red", 3, None]] * 12, object),
        TypeError,
        ["'red' (str) at [0, 1]", "numpy.unique"],
    ),
    (
        "objects with a gap",
        np.array([[1, 2.5, True, None]] * 12, object),
        TypeError,
        ["None at [0, 3]"],
    ),
    ("a function", lambda: X, TypeError, ["(function)", "array of real numbers"]),
    ("items without end", Items(), TypeError, ["(Items)", "no __iter__"]),
    ("None", None, TypeError, ["x: received None", "array of numbers"]),
    ("complex", X.astype(complex), TypeError, ["complex128"]),
    ("dates", np.zeros((12, 4), "M8[s]"), TypeError, ["datetime64", "(x - x.min()) / numpy"]),
    ("durations", np.zeros((12, 4), "m8[s]"), TypeError, ["timedelta64", "x / numpy"]),
    ("masked", np.ma.array(X.tolist(), mask=X > 0), ValueError, ["x: ", "masked", "filled"]),
    ("records", np.zeros((12, 4), "f4,f4"), TypeError, ["real numbers"]),
    ("ragged", [[1.0, 2.0], [3.0]], ValueError, ["unequal lengths"]),
    ("a sparse matrix", scipy.sparse.eye(12, 4).tocsr(), TypeError, ["sparse", "toarray()"]),
    ("a dict", {"x": X}, TypeError, ["x: received", "(dict)", "x[...]"]),
    ("a class", np.ndarray, TypeError, ["the class ndarray"]),
]


@pytest.mark.parametrize("door", ANY_CALL)
@pytest.mark.parametrize(
    ("x", "error", "words"), [pytest.param(*row[1:], id=row[0]) for row in WRONG_X]
)
def test_x_that_does_not_fit_is_refused_by_every_call(door, x, error, words):
    model = classifier()
    for _ in range(2):  # at first, and when the fast way is open
        assert_unchanged(model, lambda: ANY_CALL[door](model, x), error, words)
        assert_still_works(model)


CALLS = [
    ("label too large", lambda m: m.fit(X, [*LABELS[:-1], 3]), ValueError, ["3", "0..2"]),
    ("label negative", lambda m: m.fit(X, [-1, *LABELS[1:]]), ValueError, ["-1", "0..2"]),
    ("label 1.5", lambda m: m.fit(X, [1.5, *LABELS[1:]]), ValueError, ["y", "no integers"]),
    ("label NaN", lambda m: m.fit(X, [np.nan, *LABELS[1:]]), ValueError, ["y", "NaN"]),
    ("label None", lambda m: m.fit(X, [None, *LABELS[1:]]), TypeError, ["y", "None at [0]"]),
    ("labels as words", lambda m: m.fit(X, ["a"] * 12), TypeError, ["y", "<U1"]),
    ("probability negative", lambda m: m.fit(X, with_value(NUMBERS, -1)), ValueError, ["below 0"]),
    ("y short", lambda m: m.fit(X, LABELS[:11]), ValueError, ["12 rows of x", "11 of y"]),
    ("y a number", lambda m: m.fit(X, 1), ValueError, ["y"]),
    ("y wide", lambda m: m.fit(X, np.ones((12, 4))), ValueError,
     ["(12, 4)", "labels of shape (rows,)", "probabilities of shape (rows, 3)"]),
    ("y forgotten", lambda m: m.fit(X), ValueError, ["no y", "12 rows"]),
    ("x NaN", lambda m: m.fit(with_value(X, np.nan), LABELS), ValueError, ["x", "row 5", "NaN"]),
    ("x inf", lambda m: m.fit(with_value(X, np.inf), LABELS), ValueError, ["x", "row 5"]),
    ("x beyond float32", lambda m: m.fit(with_value(X, 1e300), LABELS), ValueError, ["too large"]),
    ("sample_weight short", lambda m: m.fit(X, LABELS, sample_weight=np.ones(3)), ValueError,
     ["sample_weight", "(3,)", "(12,)"]),
    ("sample_weight negative", lambda m: m.fit(X, LABELS, sample_weight=-np.ones(12)), ValueError,
     ["sample_weight", ">= 0"]),
    ("sample_weight NaN", lambda m: m.train_on_batch(X, LABELS, sample_weight=[np.nan] * 12),
     ValueError, ["sample_weight"]),
    ("class_weight list", lambda m: m.fit(X, LABELS, class_weight=[1, 2, 3]), TypeError,
     ["class_weight", "[1, 2, 3]", "dict"]),
    ("class_weight label", lambda m: m.fit(X, LABELS, class_weight={0: 1, 1: 1}), ValueError,
     ["class_weight", "[2]"]),
    ("class_weight value", lambda m: m.fit(X, LABELS, class_weight={0: 1, 1: 1, 2: "x"}), TypeError,
     ["class_weight", "'x'"]),
    ("epochs", lambda m: m.fit(X, LABELS, epochs=0), ValueError, ["fit", "epochs", "0"]),
    ("batch_size", lambda m: m.fit(X, LABELS, batch_size=-1), ValueError, ["batch_size", "-1"]),
    ("batch_size float", lambda m: m.predict(X, batch_size=2.5), TypeError, ["predict", "2.5"]),
    ("verbose", lambda m: m.fit(X, LABELS, verbose="loud"), ValueError, ["'loud'", "'auto'"]),
    ("validation_split", lambda m: m.fit(X, LABELS, validation_split=1.0), ValueError, ["[0, 1)"]),
    ("validation_split str", lambda m: m.fit(X, LABELS, validation_split="a"), TypeError, ["'a'"]),
    ("validation_split large", lambda m: m.fit(X, LABELS, validation_split=0.99), ValueError,
     ["12 rows", "none"]),
    ("no rows kept", lambda m: m.fit(X, LABELS, validation_split=0.95), ValueError, ["12 rows"]),
    ("validation_data", lambda m: m.fit(X, LABELS, validation_data=(X,)), ValueError,
     ["validation_data", "(x, y)"]),
    ("validation labels", lambda m: m.fit(X, LABELS, validation_data=(X, LABELS + 1)), ValueError,
     ["3", "0..2"]),
    ("validation_data number", lambda m: m.fit(X, LABELS, validation_data=5), TypeError,
     ["validation_data 5", "(x, y)"]),
    ("initial_epoch", lambda m: m.fit(X, LABELS, epochs=3, initial_epoch=3), ValueError,
     ["initial_epoch 3", "3 epochs"]),
    ("initial_epoch negative", lambda m: m.fit(X, LABELS, initial_epoch=-1), ValueError, ["-1"]),
    ("validation_data dict", lambda m: m.fit(X, LABELS, validation_data={"x": X, "y": LABELS}),
     TypeError, ["validation_data", "dict"]),
    ("validation_data str", lambda m: m.fit(X, LABELS, validation_data="xy"), TypeError, ["'xy'"]),
    ("validation_data set", lambda m: m.fit(X, LABELS, validation_data={1, 2}), TypeError,
     ["validation_data {1, 2}"]),
    ("validation_data array", lambda m: m.fit(X, LABELS, validation_data=X), TypeError,
     ["validation_data an array of shape (12, 4)"]),
    ("validation_data once", lambda m: m.fit(X, LABELS, validation_data=iter([(X, LABELS)])),
     ValueError, ["validation_data", "once", "anew"]),
    ("validation_data wide", lambda m: m.fit(X, LABELS, validation_data=(NUMBERS, LABELS)),
     ValueError, ["validation_data: ", "(12, 3)", "(rows, 4)"]),
    ("monitor", lambda m: m.fit(X, LABELS, callbacks=[nn.callbacks.EarlyStopping()]), ValueError,
     ["EarlyStopping", "'val_loss'", "validation_data", "'loss'"]),
    ("callbacks number", lambda m: m.fit(X, LABELS, callbacks=5), TypeError, ["callbacks 5"]),
    ("callbacks array", lambda m: m.fit(X, LABELS, callbacks=X), TypeError, ["callbacks", "12"]),
    ("verbose array", lambda m: m.fit(X, LABELS, verbose=X), ValueError, ["verbose", "(12, 4)"]),
    ("shuffle", lambda m: m.fit(X, LABELS, shuffle="no"), TypeError, ["fit: shuffle", "'no'"]),
    ("shuffle array", lambda m: m.fit(X, LABELS, shuffle=X), TypeError, ["shuffle", "(12, 4)"]),
    ("probabilities of 2", lambda m: m.fit(X, np.ones((12, 3)) * 0.5), ValueError,
     ["y", "sum to 1.5", "expected 1"]),
    ("callback class", lambda m: m.fit(X, LABELS, callbacks=[nn.callbacks.EarlyStopping]),
     TypeError, ["EarlyStopping()", "callbacks"]),
    ("no batch among batches", lambda m: m.fit([(X, LABELS), None]), ValueError,
     ["fit", "gave None", "(x, y)"]),
    ("batches of one thing", lambda m: m.fit(iter([X])), ValueError, ["(x, y)"]),
    ("no batches", lambda m: m.fit(iter([])), ValueError, ["no batches", "epoch 1"]),
    ("batches and weights", lambda m: m.fit(iter([(X, LABELS)]), sample_weight=np.ones(12)),
     ValueError, ["sample_weight", "(x, y, sample_weight)"]),
    ("save number", lambda m: m.save(5), TypeError, ["save: path", "5 (int)"]),
    ("save nowhere", lambda m: m.save(""), ValueError, ["save: path is empty"]),
    ("save weights", lambda m: m.save_weights(None), TypeError, ["save: path", "None"]),
    ("load weights", lambda m: m.load_weights(X), TypeError, ["load: path", "(12, 4)"]),
    ("load None", lambda m: nn.load(None), TypeError, ["load: path", "None"]),
    ("custom list", lambda m: nn.load("m", custom=[5]), TypeError, ["load: custom", "[5]"]),
    ("custom number", lambda m: nn.load("m", custom={"Sq": 5}), TypeError, ["custom", "'Sq'", "5"]),
    ("training", lambda m: m.forward(X, training="no"), TypeError, ["forward: training", "'no'"]),
    ("backward first", lambda m: m.backward(NUMBERS), RuntimeError, ["forward", "backward"]),
    ("dy wide", lambda m: (m.forward(X), m.backward(X)), ValueError, ["(12, 4)", "(12, 3)"]),
    ("dy short", lambda m: (m.forward(X), m.backward(NUMBERS[:5])), ValueError, ["(5, 3)", "12"]),
    ("dy objects", lambda m: (m.forward(X), m.backward([[None] * 3] * 12)), TypeError, ["dy"]),
    ("backward twice", lambda m: (m.forward(X), m.backward(NUMBERS), m.backward(NUMBERS)),
     RuntimeError, ["forward"]),
    ("optimizer unknown", lambda m: m.compile("adma", "mse"), ValueError, ["mean 'adam'", "sgd"]),
    ("optimizer class", lambda m: m.compile(nn.Adam, "mse"), TypeError, ["Adam()"]),
    ("loss unknown", lambda m: m.compile("adam", "crossentropy"), ValueError, ["'cross_entropy'"]),
    ("loss class", lambda m: m.compile("adam", nn.losses.Huber), TypeError, ["Huber()"]),
    ("loss elsewhere", lambda m: m.compile("adam", "bce"), ValueError, ["'binary_cross_entropy'"]),
    ("loss number", lambda m: m.compile("adam", 5), TypeError, ["object of the class Loss", "5"]),
    ("optimizer None", lambda m: m.compile(None, "mse"), TypeError, ["class Optimizer", "None"]),
    ("losses too many", lambda m: m.compile("adam", ["mse", "mse"]), ValueError, ["2 losses", "1"]),
    ("metric unknown", lambda m: m.compile("adam", "mse", ["acuracy"]), ValueError, ["'accuracy'"]),
    ("metrics number", lambda m: m.compile("adam", "mse", 5), TypeError, ["metrics 5", "list"]),
    ("metrics array", lambda m: m.compile("adam", "mse", X), TypeError, ["metrics", "(12, 4)"]),
    ("metrics twice", lambda m: m.compile("adam", "mse", ["mae", "mae"]), ValueError,
     ["two metrics", "'mae'", "MeanAbsoluteError(name="]),
    ("metrics of two", lambda m: m.compile("adam", "mse", [["mae"], ["mse"]]), ValueError,
     ["metrics for 2 of 1"]),
    ("rate NaN", lambda m: (setattr(m.optimizer, "learning_rate", np.nan),
     m.train_on_batch(X, LABELS)), ValueError, ["learning_rate", "nan"]),
    ("rate negative", lambda m: (setattr(m.optimizer, "learning_rate", -1.0),
     m.train_on_batch(X, LABELS)), ValueError, ["learning_rate", "-1.0"]),
    ("rate a bool", lambda m: (setattr(m.optimizer, "learning_rate", True),
     m.train_on_batch(X, LABELS)), TypeError, ["learning_rate", "True"]),
    ("rate huge", lambda m: (setattr(m.optimizer, "learning_rate", 10**400),
     m.train_on_batch(X, LABELS)), ValueError, ["learning_rate", "inf"]),
    ("rule unknown", lambda m: m.compile(type("Mine", (nn.optimizers.Optimizer,), {})(), "mse"),
     ValueError, ["rule ''", "simd/optimizer.h"]),
    ("clipnorm huge", lambda m: m.compile(nn.SGD(clipnorm=10**5000), "mse"), ValueError,
     ["SGD: clipnorm", "inf"]),
]  # fmt: skip


@cases(CALLS)
def test_a_wrong_call_changes_nothing(call, error, words):
    model = classifier()
    model.train_on_batch(X, LABELS)  # open the fast way, fill the momentum
    assert_unchanged(model, lambda: call(model), error, words)
    model.optimizer.learning_rate = 0.1
    assert_still_works(model)


@pytest.mark.parametrize("members", [1, 2, 3])
@pytest.mark.parametrize("what", ["label", "NaN"])
def test_a_refused_step_leaves_the_gradients_alone(what, members, team):
    """Though only the compiled loop finds out: `apply_gradients` would go on with them."""
    team(members)
    model = classifier()
    model.gradients(X, LABELS)
    x, labels = X.copy(), LABELS.copy()
    if what == "label":
        labels[-1] = 3
    else:
        x[-1, -1] = np.nan
    before = {name: grad.copy() for name, grad in model.grads.items()}
    for call in (model.train_on_batch, model.gradients):
        with pytest.raises(ValueError):
            call(x, labels)
        for name, grad in model.grads.items():
            np.testing.assert_array_equal(grad, before[name])


def test_a_metric_that_does_not_fit_is_told_before_training():
    model = classifier()
    model.compile("sgd", "cross_entropy", metrics=["top_k"])  # of 5, for 3 classes
    assert_unchanged(model, lambda: model.fit(X, LABELS), ValueError, ["top_k", "5", "3"])


@pytest.mark.parametrize("grade", ["a", "0.5", None, [1.0, 2.0], 10**400])
def test_a_metric_of_the_user_whose_result_is_no_number(grade):
    class Letter(nn.metrics.Accuracy):
        def result(self):
            return grade

    model = classifier()
    model.compile("sgd", "cross_entropy", metrics=[Letter(name="grade")])
    for call in (model.fit, model.evaluate):
        with pytest.raises(
            TypeError, match="metric 'grade': result.* returned .*; expected a number"
        ):
            call(X, LABELS)


def test_a_wrong_batch_of_validation_data_is_told_as_one():
    with pytest.raises(ValueError, match=r"\(12, 3\); expected \(rows, 4\)") as caught:
        classifier().fit(X, LABELS, validation_data=[(NUMBERS, LABELS)])
    assert caught.value.__notes__ == ["This was validation_data."]


REFUSED = [  # calls on a network without Input, which must not take its shape from them
    ("labels", lambda m: m.fit(X, LABELS + 1), ValueError, ["0..2"]),
    ("labels", lambda m: m.train_on_batch(X, LABELS + 1), ValueError, ["0..2"]),
    ("labels", lambda m: m.gradients(X, LABELS + 1), ValueError, ["0..2"]),
    ("labels", lambda m: m.evaluate(X, LABELS + 1), ValueError, ["0..2"]),
    ("NaN", lambda m: m.fit(with_value(X, np.nan), LABELS), ValueError, ["NaN"]),
    ("batches", lambda m: m.fit([(X, LABELS + 1)]), ValueError, ["0..2"]),
    ("validation", lambda m: m.fit(X, LABELS, validation_data=(NUMBERS, LABELS)), ValueError,
     ["validation_data: Sequential: received x of shape (12, 3); expected (rows, 4)"]),
    ("callbacks", lambda m: m.fit(X, LABELS, callbacks=[nn.callbacks.EarlyStopping()]), ValueError,
     ["val_loss"]),
    ("verbose", lambda m: m.fit(X, LABELS, verbose="loud"), ValueError, ["loud"]),
]  # fmt: skip


@cases(REFUSED)
def test_refused_data_do_not_build_a_network(call, error, words):
    model = nn.Sequential([nn.Dense(5, "tanh"), nn.Dense(3)], seed=0)
    model.compile("sgd", "cross_entropy")
    with pytest.raises(error) as caught:
        call(model)
    assert_says(caught.value, words)
    assert model.graph is None
    model.fit(NUMBERS, LABELS, validation_data=(NUMBERS, LABELS))  # another width
    assert model.input_shape == (3,)


@pytest.mark.parametrize("number", [5, -1, 0.5, np.nan])
def test_what_is_no_row_of_a_table_is_shown(number):
    model = nn.Sequential([nn.Input((2,)), nn.Embedding(5, 3, name="words")], seed=0)
    model.compile("sgd", "mse")
    x, y = [[0, 1], [number, 4]], np.zeros((2, 2, 3))
    for call in (model, model.predict, model.forward, lambda x: model.evaluate(x, y)):
        for _ in range(2):
            with pytest.raises(ValueError, match=f"'words': received {number}, .*0 <= x < 5"):
                call(x)


def test_float_labels_are_taken_where_they_are_whole():
    models = [classifier(), classifier()]
    for _ in range(2):
        losses = [models[0].train_on_batch(X, LABELS), models[1].train_on_batch(X, LABELS * 1.0)]
        assert losses[0] == losses[1]


# ---- what the rows above assert ------------------------------------------------------------------


def assert_says(error, words):
    for word in words:
        assert word in str(error), f"{word!r} is missing in: {error}"


def assert_unchanged(model, call, error, words):
    """The call raises, and neither parameters nor the training state change."""
    before = model.params["hidden.weight"].copy(), model._training_state()
    with pytest.raises(error) as caught:
        call()
    assert_says(caught.value, words)
    assert np.array_equal(model.params["hidden.weight"], before[0])
    after = model._training_state()
    assert after["step"] == before[1]["step"]
    assert np.array_equal(after["moments"], before[1]["moments"])


def assert_still_works(model):
    before = model.params["hidden.weight"].copy()
    good = LABELS if isinstance(model._losses[0], nn.losses.CrossEntropy) else NUMBERS
    assert np.isfinite(model.train_on_batch(X, good))
    assert not np.array_equal(model.params["hidden.weight"], before)
    assert np.isfinite(model(X)).all()
