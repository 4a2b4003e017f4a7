"""Bad input: one clear error that says what was received and expected; nothing changes by it.

Each row of the tables is (what is wrong, the call, the exception, words of its message).
"""

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


def dense(**options):
    return nn.Dense(3, **options)


def image_network(layer, shape=(5, 7, 3)):
    return nn.Sequential([nn.Input(shape), layer])


def named(*names):
    return nn.Sequential([nn.Input((4,)), *(nn.Dense(2, name=name) for name in names)])


def with_value(array, value, at=(5, 2)):
    changed = np.array(array, dtype=np.float64)
    changed[at] = value
    return changed


def cases(rows):
    return pytest.mark.parametrize(
        ("call", "error", "words"), [pytest.param(*row[1:], id=row[0]) for row in rows]
    )


# ---- descriptions: layers, losses, optimizers and the rest ---------------------------------------

DESCRIPTIONS = [
    ("units zero", lambda: nn.Dense(0), ValueError, ["Dense", "units", "0", ">= 1"]),
    ("units negative", lambda: nn.Dense(-3), ValueError, ["Dense", "units", "-3"]),
    ("units float", lambda: nn.Dense(3.0), TypeError, ["Dense", "units", "3.0", "integer"]),
    ("units bool", lambda: nn.Dense(True), TypeError, ["Dense", "units", "True"]),
    ("units str", lambda: nn.Dense("3"), TypeError, ["Dense", "units", "'3'"]),
    ("units None", lambda: nn.Dense(None), TypeError, ["Dense", "units", "None"]),
    ("units huge", lambda: nn.Sequential([nn.Input((4,)), nn.Dense(2**62)]), ValueError,
     ["'0'", "4611686018427387904", "too large"]),
    ("units vast", lambda: nn.Sequential([nn.Input((4,)), nn.Dense(10**12)]), MemoryError,
     ["allocate"]),
    ("rate one", lambda: nn.Dropout(1.0), ValueError, ["Dropout", "rate", "[0, 1)", "1.0"]),
    ("rate negative", lambda: nn.Dropout(-0.1), ValueError, ["Dropout", "rate", "-0.1"]),
    ("rate NaN", lambda: nn.Dropout(float("nan")), ValueError, ["Dropout", "rate", "nan"]),
    ("rate str", lambda: nn.Dropout("0.5"), TypeError, ["Dropout", "rate", "'0.5'"]),
    ("rate bool", lambda: nn.Dropout(False), TypeError, ["Dropout", "rate", "False"]),
    ("activation unknown", lambda: dense(activation="rleu"), ValueError,
     ["Dense", "activation", "'rleu'", "mean 'relu'", "tanh"]),
    ("activation case", lambda: nn.Activation("ReLU"), ValueError, ["'ReLU'", "mean 'relu'"]),
    ("activation function", lambda: dense(activation=np.tanh), TypeError, ["Dense", "tanh"]),
    ("initializer unknown", lambda: dense(kernel_initializer="glorot"), ValueError,
     ["initializer", "'glorot'", "mean 'glorot"]),
    ("initializer class", lambda: dense(bias_initializer=nn.initializers.Constant), TypeError,
     ["initializer", "Constant()"]),
    ("embedding table", lambda: nn.Embedding(0, 3), ValueError, ["Embedding", "input_dim", "0"]),
    ("reshape zero", lambda: nn.Reshape((0, 3)), ValueError, ["Reshape", "(0, 3)", "positive"]),
    ("reshape two -1", lambda: nn.Reshape((-1, -1)), ValueError, ["Reshape", "at most one -1"]),
    ("reshape float", lambda: nn.Reshape(2.5), TypeError, ["Reshape", "2.5", "integer"]),
    ("concatenate axis", lambda: nn.Concatenate(axis="last"), TypeError, ["axis", "'last'"]),
    ("pool zero", lambda: nn.MaxPool2D(0), ValueError, ["MaxPool2D", "pool_size", ">= 1", "0"]),
    ("pool of three", lambda: nn.AvgPool2D((1, 2, 3)), ValueError, ["AvgPool2D", "(1, 2, 3)"]),
    ("pool float", lambda: nn.MaxPool1D(2.0), TypeError, ["MaxPool1D", "pool_size", "2.0"]),
    ("stride zero", lambda: nn.MaxPool2D(2, 0), ValueError, ["MaxPool2D", "strides", ">= 1"]),
    ("stride pair", lambda: nn.AvgPool1D(2, (1, 0)), ValueError, ["AvgPool1D", "strides"]),
    ("padding name", lambda: nn.MaxPool2D(padding="SAME"), ValueError, ["'valid', 'same'", "SAME"]),
    ("padding negative", lambda: nn.MaxPool2D(padding=-1), ValueError, ["padding", ">= 0", "-1"]),
    ("padding odd", lambda: nn.ZeroPadding2D((1, 2, 3)), ValueError, ["ZeroPadding2D", "pair"]),
    ("padding text", lambda: nn.ZeroPadding2D("same"), TypeError, ["ZeroPadding2D", "'same'"]),
    ("padding large", lambda: image_network(nn.MaxPool2D(2, padding=2)), ValueError,
     ["MaxPool2D", "((2, 2), (2, 2))", "(2, 2)", "see nothing"]),
    ("pool large", lambda: image_network(nn.MaxPool2D((6, 2))), ValueError,
     ["layer '0'", "MaxPool2D", "(5, 7, 3)", "(6, 2)", "padding='same'"]),
    ("pool of flat", lambda: image_network(nn.MaxPool2D(), (35,)), ValueError,
     ["MaxPool2D", "(35,)", "(height, width, channels)"]),
    ("pool of grey", lambda: image_network(nn.GlobalAvgPool2D(), (5, 7)), ValueError,
     ["GlobalAvgPool2D", "(height, width, channels)", "x[..., None]"]),
    ("signal pool of image", lambda: image_network(nn.MaxPool1D()), ValueError,
     ["MaxPool1D", "(steps, channels)", "2D"]),
    ("pool of two", lambda: nn.Model(x := nn.Input((4, 4, 1)), nn.MaxPool2D()([x, x])), ValueError,
     ["MaxPool2D", "2 inputs"]),
    ("crop all", lambda: image_network(nn.Cropping2D(((2, 3), 0))), ValueError,
     ["Cropping2D", "(5, 7, 3)", "nothing"]),
    ("upsampling zero", lambda: nn.UpSampling2D(0), ValueError, ["UpSampling2D", "size", "0"]),
    ("interpolation", lambda: nn.UpSampling2D(2, "linear"), ValueError,
     ["UpSampling2D", "interpolation", "mean 'bilinear'"]),
    ("upsampling vast", lambda: image_network(nn.UpSampling2D(2**30)), ValueError, ["too large"]),
    ("padding vast", lambda: image_network(nn.ZeroPadding2D(2**40)), ValueError, ["too large"]),
    ("epsilon zero", lambda: nn.LayerNormalization(0), ValueError, ["LayerNormalization", "(0,"]),
    ("epsilon str", lambda: nn.LayerNormalization("x"), TypeError, ["epsilon", "'x'"]),
    ("norm of numbers", lambda: image_network(nn.LayerNormalization(), ()), ValueError,
     ["LayerNormalization", "()", "at least 1"]),
    ("input zero", lambda: nn.Input((0,)), ValueError, ["Input", "(0,)", "positive"]),
    ("input None", lambda: nn.Input((None, 4)), ValueError, ["Input", "None", "batch axis"]),
    ("input str", lambda: nn.Input("ab"), ValueError, ["Input", "'a'", "positive"]),
    ("input float", lambda: nn.Input(2.5), ValueError, ["Input", "2.5"]),
    ("input vast", lambda: nn.Sequential([nn.Input((2**40, 2**40)), nn.Flatten()]), ValueError,
     ["Input", "too large"]),
    ("layer on array", lambda: nn.Dense(3)(X), TypeError, ["Dense", "ndarray", "nn.Input"]),
    ("layer on layer", lambda: nn.Dense(3)(nn.Dense(2)), TypeError, ["Dense", "called on Dense"]),
    ("layer on a mixture", lambda: nn.Add()([nn.Input((2,)), 3]), TypeError, ["Add", "list"]),
    ("add of one", lambda: nn.Model(x := nn.Input((2,)), nn.Add()(x)), ValueError,
     ["Add", "1 inputs", "at least 2"]),
    ("dense of two", lambda: nn.Model(x := nn.Input((2,)), nn.Dense(1)([x, x])), ValueError,
     ["Dense", "2 inputs"]),
    ("add of shapes", lambda: nn.Model([a := nn.Input((2,)), b := nn.Input((3,))],
     nn.Add()([a, b])), ValueError, ["Add", "(2,), (3,)"]),
    ("reshape misfit", lambda: nn.Sequential([nn.Input((4,)), nn.Reshape((3, -1))]), ValueError,
     ["Reshape", "(4,)", "(3, -1)"]),
    ("class in a list", lambda: nn.Sequential([nn.Input((4,)), nn.Flatten]), TypeError,
     ["Sequential", "the class Flatten", "Flatten()", "place 1"]),
    ("no list", lambda: nn.Sequential(nn.Dense(3)), TypeError, ["Sequential", "list of layers"]),
    ("no layers", lambda: nn.Sequential([]), ValueError, ["Sequential", "no layers"]),
    ("input second", lambda: nn.Sequential([nn.Dense(1), nn.Input((4,))]), TypeError,
     ["place 1", "Input comes first"]),
    ("two of one name", lambda: named("a", "a"), ValueError, ["two layers", "'a'"]),
    ("dotted name", lambda: named("a.b"), ValueError, ["a.b", "without dots"]),
    ("name no string", lambda: named(5), ValueError, ["name=5", "string"]),
    ("input is none", lambda: nn.Model(5, nn.Dense(1)(nn.Input((4,)))), TypeError, ["5", "Input"]),
    ("input left out", lambda: nn.Model(nn.Input((4,)), nn.Dense(1)(nn.Input((2,)))), ValueError,
     ["Input((2,))", "not among the inputs"]),
    ("dtype", lambda: classifier(dtype="float16"), ValueError, ["float16", "'float32'"]),
    ("dtype nonsense", lambda: classifier(dtype="single precision"), ValueError, ["'float64'"]),
    ("seed negative", lambda: nn.Sequential([nn.Dense(1)], seed=-1), ValueError, ["seed", "-1"]),
    ("seed str", lambda: nn.Sequential([nn.Dense(1)], seed="a"), TypeError, ["seed", "'a'"]),
    ("learning rate negative", lambda: nn.Adam(-0.1), ValueError, ["Adam", "-0.1"]),
    ("learning rate str", lambda: nn.SGD("fast"), TypeError, ["SGD", "learning_rate", "'fast'"]),
    ("learning rate list", lambda: nn.SGD([0.1, 0.2]), TypeError, ["SGD", "[0.1, 0.2]"]),
    ("schedule below zero", lambda: nn.SGD(lambda step: -1.0 * step - 1), ValueError, [">= 0"]),
    ("momentum", lambda: nn.SGD(momentum=-1), ValueError, ["SGD", "momentum", "-1"]),
    ("beta", lambda: nn.Adam(beta_1=1.0), ValueError, ["Adam", "beta_1", "[0, 1)"]),
    ("weight decay str", lambda: nn.AdamW(weight_decay="x"), TypeError, ["AdamW", "weight_decay"]),
    ("weight decay inf", lambda: nn.Adam(weight_decay=np.inf), ValueError, ["weight_decay", "inf"]),
    ("clipnorm zero", lambda: nn.Adam(clipnorm=0), ValueError, ["clipnorm", "0"]),
    ("smoothing", lambda: nn.losses.CrossEntropy(label_smoothing=2), ValueError, ["[0, 1]", "2"]),
    ("delta", lambda: nn.losses.Huber(delta=0), ValueError, ["Huber", "delta", "0"]),
    ("history size", lambda: nn.LBFGS(history_size=0), ValueError, ["LBFGS", "history_size"]),
    ("threads", lambda: nn.set_num_threads(0), ValueError, ["n", "0", ">= 1"]),
    ("threads float", lambda: nn.set_num_threads(1.5), TypeError, ["1.5", "integer"]),
]  # fmt: skip


@cases(DESCRIPTIONS)
def test_a_wrong_description_is_refused_when_it_is_made(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert_says(caught.value, words)


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

WRONG_X = [
    ("too wide", X.repeat(2, axis=1), ValueError, ["(12, 8)", "(rows, 4)"]),
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
    ("None", None, TypeError, ["dtype object"]),
    ("complex", X.astype(complex), TypeError, ["complex128"]),
    ("dates", np.zeros((12, 4), "M8[s]"), TypeError, ["datetime64"]),
    ("durations", np.zeros((12, 4), "m8[s]"), TypeError, ["timedelta64"]),
    ("records", np.zeros((12, 4), "f4,f4"), TypeError, ["real numbers"]),
    ("ragged", [[1.0, 2.0], [3.0]], ValueError, ["unequal lengths"]),
    ("a sparse matrix", scipy.sparse.eye(12, 4).tocsr(), TypeError, ["sparse", "toarray()"]),
    ("a dict", {"x": X}, TypeError, ["dtype object"]),
    ("a class", np.ndarray, TypeError, ["dtype object"]),
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
    ("label None", lambda m: m.fit(X, [None, *LABELS[1:]]), TypeError, ["y", "dtype object"]),
    ("labels as words", lambda m: m.fit(X, ["a"] * 12), TypeError, ["y", "<U1"]),
    ("probability negative", lambda m: m.fit(X, with_value(NUMBERS, -1)), ValueError, ["below 0"]),
    ("y short", lambda m: m.fit(X, LABELS[:11]), ValueError, ["12 rows of x", "11 of y"]),
    ("y a number", lambda m: m.fit(X, 1), ValueError, ["y"]),
    ("y wide", lambda m: m.fit(X, np.ones((12, 4))), ValueError,
     ["(12, 4)", "labels ('rows',)", "('rows', 3)"]),
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
    ("validation_data", lambda m: m.fit(X, LABELS, validation_data=(X,)), ValueError,
     ["validation_data", "(x, y)"]),
    ("validation labels", lambda m: m.fit(X, LABELS, validation_data=(X, LABELS + 1)), ValueError,
     ["3", "0..2"]),
    ("callback class", lambda m: m.fit(X, LABELS, callbacks=[nn.callbacks.EarlyStopping]),
     TypeError, ["EarlyStopping()", "callbacks"]),
    ("batches of one thing", lambda m: m.fit(iter([X])), ValueError, ["(x, y)"]),
    ("no batches", lambda m: m.fit(iter([])), ValueError, ["no batches", "epoch 1"]),
    ("batches and weights", lambda m: m.fit(iter([(X, LABELS)]), sample_weight=np.ones(12)),
     ValueError, ["sample_weight", "(x, y, sample_weight)"]),
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
    ("losses too many", lambda m: m.compile("adam", ["mse", "mse"]), ValueError, ["2 losses", "1"]),
    ("metric unknown", lambda m: m.compile("adam", "mse", ["acuracy"]), ValueError, ["'accuracy'"]),
    ("rate NaN", lambda m: (setattr(m.optimizer, "learning_rate", np.nan),
     m.train_on_batch(X, LABELS)), ValueError, ["learning_rate", "nan"]),
    ("rate negative", lambda m: (setattr(m.optimizer, "learning_rate", -1.0),
     m.train_on_batch(X, LABELS)), ValueError, ["learning_rate", "-1.0"]),
]  # fmt: skip


@cases(CALLS)
def test_a_wrong_call_changes_nothing(call, error, words):
    model = classifier()
    model.train_on_batch(X, LABELS)  # open the fast way, fill the momentum
    assert_unchanged(model, lambda: call(model), error, words)
    model.optimizer.learning_rate = 0.1
    assert_still_works(model)


def test_a_metric_that_does_not_fit_is_told_before_training():
    model = classifier()
    model.compile("sgd", "cross_entropy", metrics=["top_k"])  # of 5, for 3 classes
    assert_unchanged(model, lambda: model.fit(X, LABELS), ValueError, ["top_k", "5", "3"])


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
