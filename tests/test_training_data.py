"""Where training data may come from, what callbacks may do, what shows, and what stops training."""

import copy
import errno
import io
import os
import pty
import re
import subprocess
import sys
import termios
import textwrap

import numpy as np
import pytest

import nncore as nn
from nncore import data, evaluation

RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (60, 6), dtype=np.uint8)
X = IMAGES.astype(np.float32)
LABELS = RNG.integers(0, 3, 60)


def classifier(optimizer="adam", metrics=()):
    model = nn.Sequential([nn.Input((6,)), nn.Dense(8, "tanh"), nn.Dense(3)], seed=0)
    model.params["0.weight"][...] *= 0.01
    model.compile(optimizer, "cross_entropy", metrics=metrics)
    return model


def assert_same(one, other):
    for name, view in one.params.items():
        assert np.array_equal(view, other.params[name]), name


# ---- arrays --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("form", [
    lambda x: x.astype(np.uint8), lambda x: x.astype(np.int64), lambda x: x.astype(np.float64),
    lambda x: x.astype(np.float16), lambda x: x.astype(">i2"), np.asfortranarray,
    lambda x: x.repeat(2, 0)[::2], lambda x: x[::-1].copy()[::-1], lambda x: x.tolist(),
], ids="uint8 int64 float64 float16 big-endian Fortran strided reversed list".split())  # fmt: skip
def test_any_type_and_layout_trains_to_the_same_bits(form, shuffle, monkeypatch):
    monkeypatch.setattr(data, "CONVERTED_BYTES", 500)  # what is converted comes in many pieces
    plain, other = classifier(metrics=["accuracy"]), classifier(metrics=["accuracy"])
    one = plain.fit(X, LABELS, batch_size=8, epochs=2, shuffle=shuffle).history
    two = other.fit(form(X), LABELS, batch_size=8, epochs=2, shuffle=shuffle).history
    assert_same(plain, other)
    assert one["loss"] == pytest.approx(two["loss"]) and one["accuracy"] == two["accuracy"]


def test_booleans():
    bits = IMAGES > 127
    one, other = classifier(), classifier()
    one.fit(bits, LABELS), other.fit(bits.astype(np.float32), LABELS)
    assert_same(one, other)


def test_memory_mapped_files(tmp_path):
    images = np.memmap(tmp_path / "images", np.uint8, "w+", shape=IMAGES.shape)
    images[...] = IMAGES
    images.flush()
    with open(tmp_path / "numbers.npy", "wb") as file:
        np.save(file, X)
    numbers = np.load(tmp_path / "numbers.npy", mmap_mode="r")
    labels = np.memmap(tmp_path / "labels", np.int64, "w+", shape=LABELS.shape)
    labels[...] = LABELS
    plain = classifier()
    plain.fit(X, LABELS, epochs=2)
    for x, y in ((images, LABELS), (numbers, labels), (np.memmap(tmp_path / "images", np.uint8,
                 "r", shape=IMAGES.shape), labels)):  # fmt: skip
        model = classifier()
        model.fit(x, y, epochs=2)
        assert_same(plain, model)
        assert np.array_equal(model.predict(x), plain.predict(X))


def test_a_mapped_file_is_not_read_through_beforehand(tmp_path, monkeypatch):
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=X.shape)
    mapped[...] = X
    checked = []
    monkeypatch.setattr(data, "all_finite", lambda array, dtype: checked.append(array) or True)
    classifier().fit(mapped, LABELS)
    assert not any(np.shares_memory(array, mapped) for array in checked)
    mapped[41, 2] = np.nan
    model = classifier()
    with pytest.raises(ValueError, match="x: received NaN"):  # found when its batch comes
        model.fit(mapped, LABELS)


@pytest.mark.parametrize("number", [1e39, -1e39, np.longdouble("1e300"), 3.4028235677973366e38])
@pytest.mark.parametrize("where", ["x", "sample_weight", "validation"])
def test_what_is_too_large_for_the_model_is_refused_before_training(number, where):
    """Numbers that are finite, but not as float32."""
    model = classifier()
    before = {name: view.copy() for name, view in model.params.items()}
    x, weight = X.astype(type(number)), np.ones(len(X), type(number))
    x[41, 2] = number
    weight[41] = abs(number)
    arguments = {
        "x": {"x": x},
        "sample_weight": {"x": X, "sample_weight": weight},
        "validation": {"x": X, "validation_data": (x, LABELS)},
    }[where]
    with pytest.raises(ValueError, match="too large numbers"):  # whose batch is not the first
        model.fit(**arguments, y=LABELS, batch_size=8, shuffle=False, verbose=False)
    assert all(np.array_equal(before[name], view) for name, view in model.params.items())
    x[41, 2] = 3.4028235677973362e38  # rounds to the largest float32
    model._examples(x, LABELS, finite=model.dtype)


# ---- iterables of batches ------------------------------------------------------------------------


class Batches:
    """Gives batches anew each time, and holds one at a time."""

    def __init__(self, *extra, size=16):
        self.extra, self.size, self.times = extra, size, 0

    def __iter__(self):
        self.times += 1
        for first in range(0, 60, self.size):
            part = slice(first, first + self.size)
            yield (X[part], LABELS[part], *(array[part] for array in self.extra))


def test_an_iterable_of_batches_is_fit_on_slices():
    whole, parts = classifier(metrics=["accuracy"]), classifier(metrics=["accuracy"])
    one = whole.fit(X, LABELS, batch_size=16, epochs=3, shuffle=False).history
    batches = Batches()
    two = parts.fit(batches, epochs=3, validation_data=Batches()).history
    assert batches.times == 3
    assert_same(whole, parts)
    assert one["loss"] == pytest.approx(two["loss"]) and one["accuracy"] == two["accuracy"]
    assert two["val_loss"][-1] == pytest.approx(parts.evaluate(X, LABELS)["loss"])
    assert parts.evaluate(Batches()) == pytest.approx(parts.evaluate(X, LABELS))


def test_a_list_of_batches_is_an_iterable_of_batches():
    whole, parts = classifier(), classifier()
    whole.fit(X, LABELS, batch_size=16, epochs=2, shuffle=False)
    parts.fit(list(Batches()), epochs=2)
    assert_same(whole, parts)
    assert parts.evaluate(list(Batches())) == parts.evaluate(Batches())


def test_validation_data_may_be_a_list_of_batches():
    model = classifier()
    history = model.fit(X, LABELS, validation_data=list(Batches())).history
    assert history["val_loss"][0] == pytest.approx(model.evaluate(X, LABELS)["loss"])


@pytest.mark.parametrize("kind", [list, tuple])
def test_validation_data_may_be_x_and_y_in_a_list(kind):
    model = classifier()
    expected = model.evaluate(X, LABELS)["loss"]
    model.optimizer.learning_rate = 0.0
    for x, y in ((X, LABELS), (list(X), list(LABELS)), (X.tolist(), LABELS.tolist())):
        history = model.fit(X, LABELS, validation_data=kind([x, y])).history
        assert history["val_loss"][0] == pytest.approx(expected, rel=1e-6)
    first, second = nn.Input((X.shape[1],)), nn.Input((X.shape[1],))
    h = nn.Add()([first, second])
    model = nn.Model([first, second], [nn.Dense(3)(h), nn.Dense(3)(h)], seed=0)
    model.compile(nn.SGD(0.0), "cross_entropy")
    x, y = [X, X], [LABELS, LABELS]
    expected = model.evaluate(x, y)["loss"]
    for inner in (list, tuple):
        given = kind([inner(x), inner(y)])
        history = model.fit(x, y, validation_data=given).history
        assert history["val_loss"][0] == pytest.approx(expected, rel=1e-6)
    batches = [(x, y), (x, y)]
    assert model.fit(x, y, validation_data=batches).history["val_loss"][0] == pytest.approx(
        expected
    )


def test_the_logs_are_plain_floats_and_means_since_the_epoch_began():
    seen = []
    watch = nn.callbacks.LambdaCallback(
        on_batch_end=lambda model, batch, logs: seen.append(logs["loss"]),
        on_epoch_end=lambda model, epoch, logs: seen.extend(logs.values()),
    )
    model = classifier(metrics=["accuracy"])
    model.optimizer.learning_rate = 0.0
    model.fit(X, LABELS, batch_size=16, shuffle=False, callbacks=[watch])
    one = seen[:]
    seen.clear()
    model.fit(Batches(), callbacks=[watch])
    assert all(type(value) is float for value in one + seen)
    assert one == pytest.approx(seen, rel=1e-6)
    for batches in range(1, 4):
        part = slice(0, 16 * batches)
        assert one[batches - 1] == pytest.approx(model.evaluate(X[part], LABELS[part])["loss"])


def test_a_batch_in_a_list_may_be_a_list_of_arrays():
    whole, parts = classifier(), classifier()
    whole.fit(X, LABELS, batch_size=16, shuffle=False)
    parts.fit([list(batch) for batch in Batches()])
    assert_same(whole, parts)


@pytest.mark.parametrize("call", ["fit", "evaluate"])
def test_forgotten_targets_are_told(call):
    model = classifier()
    with pytest.raises(ValueError, match="no y, and a tuple as x"):
        getattr(model, call)((X, LABELS))
    with pytest.raises(ValueError, match="no y"):
        getattr(model, call)(list(X))


def test_a_metric_may_keep_what_it_is_given():
    class Keep(nn.metrics.Metric):
        name = "keep"

        def reset(self):
            self.truth, self.guess = [], []

        def update(self, y_true, y_pred, sample_weight=None):
            self.truth.append(y_true)
            self.guess.append(y_pred)

        def result(self):
            truth, guess = np.concatenate(self.truth), np.concatenate(self.guess)
            return float((guess.argmax(-1) == truth).mean())

    model = classifier(metrics=[Keep(), "accuracy"])
    scores = model.evaluate(X, LABELS, batch_size=7)
    assert scores["keep"] == scores["accuracy"]
    scores = model.fit(X, LABELS, batch_size=7, validation_data=Batches()).history
    assert scores["val_keep"] == scores["val_accuracy"] and scores["keep"] == scores["accuracy"]


@pytest.mark.parametrize(
    ("callback", "says"),
    [
        (nn.callbacks.EarlyStopping("val_acc"), "'val_acc' is not among the logs.*val_accuracy"),
        (nn.callbacks.ReduceLROnPlateau("lost"), "'lost' is not among the logs"),
        (nn.callbacks.ModelCheckpoint("{acc}.safetensors"), "'acc'.*available names: loss"),
    ],
)
def test_a_name_that_no_epoch_gives_is_told_before_training(callback, says):
    model = classifier(metrics=["accuracy"])
    before = copy.deepcopy(model)
    with pytest.raises(ValueError, match=says):
        model.fit(X, LABELS, validation_data=(X, LABELS), callbacks=[callback])
    assert_same(model, before)
    also = nn.callbacks.LambdaCallback(
        on_epoch_end=lambda model, epoch, logs: logs.update(lost=1.0, val_acc=1.0, acc=1.0)
    )
    if not isinstance(callback, nn.callbacks.ModelCheckpoint):
        model.fit(X, LABELS, validation_data=(X, LABELS), callbacks=[also, callback])


def test_targets_that_a_metric_cannot_take_are_told_before_training():
    model = nn.Sequential([nn.Input((X.shape[1],)), nn.Dense(1)], seed=0)
    model.compile("sgd", "binary_cross_entropy", metrics=["accuracy"])
    before, y = copy.deepcopy(model), np.zeros(len(X))
    y[-1] = 0.3
    with pytest.raises(ValueError, match="labels must be integers, received 0.3"):
        model.fit(X, y, batch_size=8)
    assert_same(model, before)


@pytest.mark.parametrize(
    ("wrong", "shown"), [(5, "5"), (-1, "-1"), (0.5, "0.5"), (np.float32(7), "7")]
)
def test_lookups_beyond_a_table_are_told_before_training(wrong, shown):
    words = nn.Input((3,))
    table = nn.Flatten()(nn.Embedding(5, 2)(words))
    other = nn.Input((1,))
    model = nn.Model([other, words], nn.Dense(1)(nn.Concatenate()([table, other])), seed=0)
    model.compile("sgd", "mse")
    before, x = copy.deepcopy(model), np.zeros((20, 3), type(wrong))
    x[13, 1] = wrong
    says = rf"layer '0': received {shown} in row 13 of x\[1\].*expected integers 0 <= x < 5"
    with pytest.raises(ValueError, match=says):
        model.fit([np.ones((20, 1)), x], np.ones((20, 1)), batch_size=5)
    assert_same(model, before)
    x[13, 1] = 0
    model.fit([np.ones((20, 1)), x], np.ones((20, 1)), batch_size=5)


def test_the_smallest_of_two_tables_is_the_bound():
    words = nn.Input((3,))
    for sizes in ((9, 5), (5, 9)):
        tables = [nn.Flatten()(nn.Embedding(n, 2)(words)) for n in sizes]
        model = nn.Model(words, nn.Dense(1)(nn.Concatenate()(tables)), seed=0)
        model.compile("sgd", "mse")
        before, x = copy.deepcopy(model), np.zeros((20, 3))
        x[13, 1] = 7
        with pytest.raises(ValueError, match="received 7 in row 13 of x.*0 <= x < 5"):
            model.fit(x, np.ones((20, 1)), batch_size=5)
        assert_same(model, before)


def test_batches_may_build_a_network():
    built, waiting = classifier(), nn.Sequential([nn.Dense(8, "tanh"), nn.Dense(3)], seed=0)
    waiting.compile("adam", "cross_entropy")
    built.params["0.weight"][...] /= 0.01
    built.fit(X, LABELS, batch_size=16, shuffle=False)
    waiting.fit(Batches())
    assert waiting.evaluate(Batches()) == pytest.approx(built.evaluate(X, LABELS), rel=1e-4)


def test_batches_are_evaluated_on_one_plan(monkeypatch):
    built = []
    plan = evaluation.Plan
    monkeypatch.setattr(evaluation, "Plan", lambda *a, **k: built.append(a) or plan(*a, **k))
    model, weight = classifier(metrics=["accuracy"]), RNG.uniform(size=60)
    assert model.evaluate(Batches()) == pytest.approx(model.evaluate(X, LABELS))
    assert len(built) == 2
    model.evaluate([(X, LABELS), (X, LABELS, weight), (X, np.eye(3)[LABELS])])
    assert len(built) == 5  # other targets, other weights


def test_an_iterable_may_give_weights():
    weight = RNG.uniform(size=60)
    whole, parts = classifier(), classifier()
    whole.fit(X, LABELS, batch_size=16, shuffle=False, sample_weight=weight)
    parts.fit(Batches(weight))
    assert_same(whole, parts)


def test_a_generator_is_enough_for_one_epoch_and_says_so_in_the_second():
    model = classifier()
    assert len(model.fit(iter(Batches())).epoch) == 1
    with pytest.raises(ValueError, match=r"no batches in epoch 2: a generator gives its .* once"):
        model.fit(iter(Batches()), epochs=2)
    assert model.history.epoch == [0]
    with pytest.raises(ValueError, match="no rows"):
        model.evaluate(iter([]))


def test_a_wrong_batch_stops_before_its_step():
    def batches():
        yield X[:16], LABELS[:16]
        yield X[16:32] * np.nan, LABELS[16:32]

    model, first = classifier(), classifier()
    with pytest.raises(ValueError, match="x: received NaN"):
        model.fit(batches())
    first.fit(X[:16], LABELS[:16], shuffle=False)
    assert_same(model, first)


def test_an_endless_iterable_ends_where_a_callback_says():
    def endless():
        while True:
            yield X[:16], LABELS[:16]

    def stop(model, batch, logs):
        model.stop_training = batch == 9

    callback = nn.callbacks.LambdaCallback(on_batch_end=stop)
    history = classifier().fit(endless(), callbacks=[callback])
    assert len(history.epoch) == 1


# ---- callbacks -----------------------------------------------------------------------------------


def test_hooks_come_in_order_with_what_they_are_told():
    told = []
    hooks = {
        "on_train_begin": lambda model: told.append("begin"),
        "on_epoch_begin": lambda model, epoch: told.append(f"epoch {epoch}"),
        "on_batch_end": lambda model, batch, logs: told.append(f"batch {batch}"),
        "on_epoch_end": lambda model, epoch, logs: told.append(sorted(logs)),
        "on_train_end": lambda model: told.append("end"),
    }
    with_hooks, without = classifier(), classifier()
    history = with_hooks.fit(
        X, LABELS, batch_size=32, epochs=2, callbacks=[nn.callbacks.LambdaCallback(**hooks)]
    )
    epoch = ["batch 0", "batch 1", ["loss"]]
    assert told == ["begin", "epoch 0", *epoch, "epoch 1", *epoch, "end"]
    assert without.fit(X, LABELS, batch_size=32, epochs=2).history["loss"] == pytest.approx(
        history.history["loss"]
    )
    assert_same(with_hooks, without)  # a hook after each batch changes nothing


def test_stop_training_ends_after_the_epoch():
    def stop(model, epoch, logs):
        model.stop_training = epoch == 1

    model = classifier()
    callback = nn.callbacks.LambdaCallback(on_epoch_end=stop)
    assert len(model.fit(X, LABELS, epochs=10, callbacks=[callback]).epoch) == 2
    assert len(model.fit(X, LABELS, epochs=3).epoch) == 3  # the next fit starts afresh


def test_early_stopping_puts_the_best_parameters_back():
    best = {}

    def keep(model, epoch, logs):
        if logs["val_loss"] < best.get("loss", np.inf):
            best.update(loss=logs["val_loss"], model=copy.deepcopy(model.params["0.weight"]))

    model = classifier(nn.Adam(0.2))
    early = nn.callbacks.EarlyStopping(patience=3, restore_best=True)
    history = model.fit(
        X, LABELS, epochs=100, validation_split=0.4,
        callbacks=[nn.callbacks.LambdaCallback(on_epoch_end=keep), early],
    )  # fmt: skip
    assert len(history.epoch) == early.best_epoch + 4 < 100
    assert np.array_equal(model.params["0.weight"], best["model"])
    assert model.evaluate(X[36:], LABELS[36:])["loss"] == pytest.approx(best["loss"])


def test_an_error_in_a_callback_leaves_a_model_that_trains():
    def fail(model, batch, logs):
        raise LookupError("mine")

    model = classifier()
    with pytest.raises(LookupError, match="mine"):
        model.fit(X, LABELS, callbacks=[nn.callbacks.LambdaCallback(on_batch_end=fail)])
    model.fit(X, LABELS)


def test_checkpoints_and_plateaus_work_with_a_real_model(tmp_path):
    path = os.fspath(tmp_path / "epoch-{epoch}")
    model = classifier(nn.SGD(0.5))
    plateau = nn.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=0, min_delta=1e9)
    model.fit(X, LABELS, epochs=3, callbacks=[nn.callbacks.ModelCheckpoint(path), plateau])
    assert model.optimizer.learning_rate == 0.125
    assert_same(nn.load(tmp_path / "epoch-3"), model)


# ---- numbers that are not finite -----------------------------------------------------------------


@pytest.mark.parametrize("way", ["fit", "train_on_batch"])
def test_the_first_layer_that_is_not_finite_is_named(way):
    layers = [nn.Input((6,)), nn.Dense(4, name="first"), nn.Dense(4, name="second"), nn.Dense(1)]
    model = nn.Sequential(layers, seed=0)
    model.compile("sgd", "mse")
    y = np.zeros(60)
    model.fit(X / 255, y, batch_size=20)  # three good steps
    model.params["second.weight"][2, 1] = np.inf
    before = {name: view.copy() for name, view in model.params.items()}
    with pytest.raises(nn.NonFiniteError, match=r"step 4.*'second'.*learning_rate") as caught:
        getattr(model, way)(X / 255, y)
    assert (caught.value.step, caught.value.layer) == (4, "second")
    assert all(np.array_equal(view, before[name]) for name, view in model.params.items())
    model.params["second.weight"][2, 1] = 0
    model.fit(X / 255, y)


def test_training_that_explodes_stops_with_the_parameters_of_the_last_good_step():
    exploding = nn.Sequential([nn.Input((6,)), nn.Dense(2)], seed=0)
    exploding.compile(nn.SGD(0.01), "mse")
    stepped, y = copy.deepcopy(exploding), X[:, :2]
    with pytest.raises(nn.NonFiniteError) as caught:
        exploding.fit(X, y, batch_size=10, epochs=100, shuffle=False)
    assert caught.value.step > 6
    for step in range(caught.value.step - 1):
        part = slice(step % 6 * 10, step % 6 * 10 + 10)
        stepped.train_on_batch(X[part], y[part])
    assert_same(exploding, stepped)
    assert len(exploding.history.epoch) == (caught.value.step - 1) // 6


def test_the_loss_of_an_epoch_does_not_depend_on_where_its_steps_were_cut(monkeypatch):
    """They run in pieces, of some time and some steps each."""
    found = set()
    for seconds, steps in ((0.0, 1000), (60.0, 7), (60.0, 1000)):
        monkeypatch.setattr("nncore.fitting.AIR", seconds)
        monkeypatch.setattr("nncore.fitting.RATES", steps)
        model = nn.Sequential([nn.Input((6,)), nn.Dense(3)], seed=0, dtype="float64")
        model.compile(nn.SGD(1e-6), "cross_entropy")
        history = model.fit(X, LABELS, batch_size=1, epochs=3, verbose=False).history
        found.add(tuple(history["loss"]))
    assert len(found) == 1


@pytest.mark.parametrize("stream", ["none", "closed", "full"])
@pytest.mark.parametrize("verbose", [True, "auto"])
def test_training_goes_on_where_no_bar_can_be_drawn(stream, verbose, monkeypatch):
    file = {"none": None, "closed": io.StringIO(), "full": FullDisk()}[stream]
    if stream == "closed":
        file.close()
    monkeypatch.setattr("sys.stderr", file)
    history = classifier().fit(X, LABELS, epochs=2, verbose=verbose)
    assert history.epoch == [0, 1]


class FullDisk(io.StringIO):
    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_norm_that_overflows_where_no_gradient_does_is_no_layers():
    model = nn.Sequential([nn.Input((1,)), nn.Dense(1)], seed=0, dtype="float64")
    model.compile(nn.SGD(0.1, clipnorm=1.0), "mae")
    with pytest.raises(nn.NonFiniteError, match=r"joint norm .* in step 1\. The par") as caught:
        model.train_on_batch([[1e200]], [[0.0]])
    assert caught.value.layer is None


def test_a_gradient_that_is_not_finite_is_refused_by_apply_gradients():
    model = classifier()
    y = model.forward(X)
    model.backward(np.full_like(y, np.nan))
    before = model.params["0.weight"].copy()
    with pytest.raises(nn.NonFiniteError, match="parameters stay"):
        model.apply_gradients()
    assert np.array_equal(model.params["0.weight"], before)


# ---- what shows ----------------------------------------------------------------------------------

SHOWN = """
    import sys, numpy as np, nncore as nn
    model = nn.Sequential([nn.Input((4,)), nn.Dense(2)], seed=0)
    model.compile("sgd", "cross_entropy", metrics=["accuracy"])
    x, y = np.ones((64, 4)), np.ones(64)
    model.fit(x, y, epochs=2, validation_split=0.5, verbose=eval(sys.argv[1]))
"""


def shown(verbose, **streams):
    command = [sys.executable, "-c", textwrap.dedent(SHOWN), verbose]
    return subprocess.run(command, check=True, timeout=60, **streams)


@pytest.mark.parametrize(("verbose", "shows"), [("'auto'", 0), ("False", 0), ("True", 1)])
def test_a_pipe_sees_a_bar_only_if_asked(verbose, shows):
    run = shown(verbose, capture_output=True, text=True)
    assert run.stdout == "" and ("epoch 2/2" in run.stderr) == shows


@pytest.mark.parametrize("columns", [80, 100, 0])
def test_a_terminal_sees_the_numbers_of_the_epoch(columns):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24 if columns else 0, columns))
    shown("'auto'", stderr=theirs, stdout=theirs, stdin=theirs)
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 65536):
            text += part
    except OSError:  # the terminal has nothing more
        pass
    os.close(ours)
    lines = [line.strip() for line in text.decode().replace("\r", "\n").split("\n")]
    number = r"=\d\.\d{4}"
    last = rf"epoch 2/2, loss{number}, accuracy{number}, val_loss{number}, val_accuracy{number} \|"
    assert any(re.match(last, line) for line in lines), lines
    assert max(map(len, lines)) <= (columns or 80)
