"""Callbacks, driven by a small stand-in for `fit` and its model."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest

import nncore as nn
from nncore import callbacks


class FakeModel:
    """What callbacks touch of a model; its parameters tell the epoch that they were trained in."""

    def __init__(self):
        self.params = {"0.weight": np.full((2, 3), -1.0), "0.bias": np.full(2, -1.0)}
        self.buffers = {"1.running_mean": np.full(2, -1.0)}
        self.optimizer = SimpleNamespace(learning_rate=1.0)
        self.stop_training = False
        self.saved = []

    def save(self, path):
        self.saved.append(path)

    def train(self, epoch):
        for array in (*self.params.values(), *self.buffers.values()):
            array[...] = epoch

    @property
    def trained_in(self):
        return {float(a.flat[0]) for a in (*self.params.values(), *self.buffers.values())}


def fit(callback, epochs_logs, model=None):
    """Run epochs with these logs, as `fit` would; returns the model and how many epochs ran."""
    model = model or FakeModel()
    model.stop_training = False
    callback.on_train_begin(model)
    ran = 0
    for epoch, logs in enumerate(epochs_logs):
        callback.on_epoch_begin(model, epoch)
        model.train(epoch)
        callback.on_batch_end(model, 0, {"loss": 0.0})
        callback.on_epoch_end(model, epoch, dict(logs))
        ran += 1
        if model.stop_training:
            break
    callback.on_train_end(model)
    return model, ran


def losses(*values):
    return [{"loss": 1.0, "val_loss": value} for value in values]


def test_a_hook_of_another_library_is_refused():
    class Foreign(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise AssertionError

    with pytest.raises(
        ValueError, match="Foreign: unknown hook 'on_train_batch_end'.*on_batch_end"
    ):
        callbacks.checked([Foreign()])


def test_the_base_class_does_nothing():
    model, ran = fit(callbacks.Callback(), losses(1, 2, 3))
    assert ran == 3 and not model.stop_training


def test_lambda_callback_calls_its_hooks_with_the_arguments_of_the_hook():
    seen = []
    hooks = ("on_train_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end", "on_train_end")
    callback = callbacks.LambdaCallback(
        **{
            hook: lambda *arguments, hook=hook: seen.append((hook, *arguments[1:]))
            for hook in hooks
        }
    )
    fit(callback, [{"loss": 0.5}])
    assert seen == [
        ("on_train_begin",),
        ("on_epoch_begin", 0),
        ("on_batch_end", 0, {"loss": 0.0}),
        ("on_epoch_end", 0, {"loss": 0.5}),
        ("on_train_end",),
    ]


@pytest.mark.parametrize(
    ("patience", "values", "expected"),
    [
        (0, (3, 2, 2, 1), 3),  # the first epoch that is no better ends it
        (1, (3, 2, 2, 1), 3),
        (2, (3, 2, 2, 1, 1, 1, 0), 6),  # an improvement starts the count again
        (3, (3, 2, 1), 3),
        (2, (float("nan"),) * 4, 2),  # NaN is no improvement
    ],
)
def test_early_stopping_waits_for_patience_epochs(patience, values, expected):
    callback = callbacks.EarlyStopping(patience=patience)
    _, ran = fit(callback, losses(*values))
    assert ran == expected
    assert callback.stopped_epoch == (expected - 1 if ran < len(values) or patience == 2 else None)


def test_what_only_validation_gives_is_not_waited_for_without_it():
    model = nn.Sequential([nn.Input((2,)), nn.Dense(1)], seed=0)
    model.compile("sgd", "mse", metrics=["mae"])
    stop = callbacks.EarlyStopping("val_los")
    with pytest.raises(ValueError, match="'val_los'.*no validation.* or monitor 'loss' or 'mae'$"):
        model.fit(np.ones((4, 2)), np.ones((4, 1)), callbacks=[stop], verbose=False)


def test_early_stopping_knows_which_way_is_better():
    rising = [{"val_accuracy": a, "val_loss": a} for a in (0.1, 0.2, 0.3)]
    assert fit(callbacks.EarlyStopping("val_accuracy"), rising)[1] == 3
    assert fit(callbacks.EarlyStopping("val_accuracy", mode="min"), rising)[1] == 2
    assert fit(callbacks.EarlyStopping("val_loss"), rising)[1] == 2
    assert fit(callbacks.EarlyStopping("val_loss", mode="max"), rising)[1] == 3
    modes = {name: callbacks.EarlyStopping(name).mode for name in ("auc", "val_r2", "mae", "mse")}
    assert modes == {"auc": "max", "val_r2": "max", "mae": "min", "mse": "min"}


def test_early_stopping_wants_more_than_min_delta():
    assert fit(callbacks.EarlyStopping(min_delta=0.5), losses(3, 2.4, 1.9, 1.4))[1] == 3
    assert fit(callbacks.EarlyStopping(min_delta=0.5), losses(3, 2.4, 1.8, 1.2))[1] == 4


@pytest.mark.parametrize("values", [(3, 1, 2, 2, 2), (3, 1, 2)])  # stopped early, and ran out
def test_early_stopping_restores_parameters_and_buffers_of_the_best_epoch(values):
    callback = callbacks.EarlyStopping(patience=2, restore_best=True)
    model = FakeModel()
    views = list(model.params.values())
    fit(callback, losses(*values), model)
    assert model.trained_in == {1.0}
    assert (callback.best, callback.best_epoch) == (1, 1)
    assert all(view is own for view, own in zip(views, model.params.values(), strict=True))
    fit(callbacks.EarlyStopping(patience=2), losses(*values), model)
    assert model.trained_in == {min(3.0, len(values) - 1)}  # without it the last ones stay


def test_early_stopping_starts_afresh_with_each_training():
    callback = callbacks.EarlyStopping(restore_best=True)
    fit(callback, losses(1, 2))
    model, ran = fit(callback, losses(9, 8, 7))
    assert (ran, callback.best, callback.best_epoch, callback.stopped_epoch) == (3, 7, 2, None)
    assert model.trained_in == {2.0}


def test_checkpoint_saves_every_epoch_under_its_own_name(tmp_path):
    path = tmp_path / "run" / "model-{epoch:02d}-{val_loss:.2f}.safetensors"
    model, _ = fit(callbacks.ModelCheckpoint(path), losses(3, 1, 2))
    assert [name.rpartition("model")[2] for name in model.saved] == [
        "-01-3.00.safetensors",
        "-02-1.00.safetensors",
        "-03-2.00.safetensors",
    ]
    assert (tmp_path / "run").is_dir()


def test_checkpoint_can_save_only_the_best(tmp_path):
    path = str(tmp_path / "{epoch}")
    best = callbacks.ModelCheckpoint(path, save_best_only=True)
    assert [p[-1] for p in fit(best, losses(3, float("nan"), 2, 4, 1))[0].saved] == ["1", "3", "5"]
    assert [p[-1] for p in fit(best, losses(9, 8))[0].saved] == ["1", "2"]  # starts afresh
    logs = [{"accuracy": value} for value in (0.1, 0.3, 0.2)]
    best = callbacks.ModelCheckpoint(path, monitor="accuracy", save_best_only=True)
    assert [p[-1] for p in fit(best, logs)[0].saved] == ["1", "2"]


def test_csv_logger_writes_a_line_per_epoch_that_is_there_at_once(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("old\n")
    logger = callbacks.CSVLogger(path)
    logger.on_train_begin(None)
    logger.on_epoch_end(None, 0, {"loss": 0.1 + 0.2, "a,b": 1.0})
    assert path.read_text() == 'epoch,loss,"a,b"\n1,0.30000000000000004,1.0\n'
    logger.on_epoch_end(None, 1, {"loss": 0.25})
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[1] == {"epoch": "2", "loss": "0.25", "a,b": ""}
    logger.on_train_begin(None)  # the next training has its own file
    logger.on_epoch_end(None, 0, {"mae": 0.5})
    assert path.read_text() == "epoch,mae\n1,0.5\n"


def test_a_second_training_goes_on_counting(tmp_path):
    path = tmp_path / "log.csv"
    model = nn.Sequential([nn.Input((2,)), nn.Dense(1)], seed=0)
    x, seen = np.ones((4, 2)), []
    for optimizer in ("sgd", "lbfgs"):
        model.compile(optimizer, "mse")
        for first, end in ((0, 2), (2, 3)):
            hooks = [
                callbacks.CSVLogger(path, append=True),
                callbacks.ModelCheckpoint(tmp_path / (optimizer + "-{epoch}")),
                callbacks.LambdaCallback(on_epoch_begin=lambda model, epoch: seen.append(epoch)),
            ]
            history = model.fit(
                x, x[:, :1] * len(seen), epochs=end, initial_epoch=first, callbacks=hooks
            )
            assert history.epoch == list(range(first, end))
    assert seen == [0, 1, 2] * 2
    assert [line.partition(",")[0] for line in path.read_text().split()] == ["epoch", *"123123"]
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == [*(f"lbfgs-{n}" for n in "123"), "log.csv", *(f"sgd-{n}" for n in "123")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "epoch,loss\n3,0.5\n"),
        ("epoch,loss\n1,0.25", "epoch,loss\n1,0.25\n3,0.5\n"),
        ("epoch,mae,loss\r\n1,2,3\r\n", "epoch,mae,loss\r\n1,2,3\r\n3,,0.5\n"),
    ],
    ids=["empty", "no end of line", "other columns"],
)
def test_csv_logger_appends_in_the_columns_there_are(tmp_path, before, after):
    path = tmp_path / "log.csv"
    path.write_bytes(before.encode())
    logger = callbacks.CSVLogger(path, append=True)
    logger.on_train_begin(None)
    logger.on_epoch_end(None, 2, {"loss": 0.5})
    assert path.read_bytes().decode() == after


@pytest.mark.parametrize("text", [b"a,b\n1,2\n", b"\n", b"\xff\xfe", b"epoch;loss\n"])
def test_csv_logger_appends_to_no_other_file(tmp_path, text):
    path = tmp_path / "data.csv"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=r"data.csv begins with .* expected to append"):
        callbacks.CSVLogger(path, append=True).on_train_begin(None)
    assert path.read_bytes() == text


def test_csv_logger_tells_a_bad_path_before_training(tmp_path):
    with pytest.raises(FileNotFoundError):
        callbacks.CSVLogger(tmp_path / "missing" / "log.csv").on_train_begin(None)


def test_reduce_lr_lowers_the_rate_after_patience_epochs_down_to_min_lr():
    rates = []
    callback = callbacks.ReduceLROnPlateau(factor=0.5, patience=2, min_lr=0.2)
    end = callback.on_epoch_end

    def recorded(model, epoch, logs):
        end(model, epoch, logs)
        rates.append(model.optimizer.learning_rate)

    callback.on_epoch_end = recorded
    fit(callback, losses(3, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1))
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2]


def test_reduce_lr_refuses_a_schedule():
    model = FakeModel()
    model.optimizer.learning_rate = lambda step: 0.1
    with pytest.raises(TypeError, match="use either a schedule or this callback"):
        callbacks.ReduceLROnPlateau().on_train_begin(model)


@pytest.mark.parametrize(
    "make",
    [
        callbacks.EarlyStopping,
        callbacks.ReduceLROnPlateau,
        lambda: callbacks.ModelCheckpoint("x", save_best_only=True),
        lambda: callbacks.ModelCheckpoint("x", monitor="val_loss"),
        lambda: callbacks.ModelCheckpoint("{val_loss}"),
    ],
)
def test_an_absent_name_is_told_with_those_that_exist(make):
    with pytest.raises(ValueError, match=r"val_loss.*available names: loss, accuracy") as caught:
        fit(make(), [{"loss": 1.0, "accuracy": 0.5}])
    assert type(make()).__name__ in str(caught.value)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: callbacks.EarlyStopping(patience=-1), ValueError, "patience must be"),
        (lambda: callbacks.EarlyStopping(patience=1.5), TypeError, r"received 1.5 \(float\)"),
        (lambda: callbacks.EarlyStopping(mode="maximum"), ValueError, "did you mean 'max'"),
        (lambda: callbacks.EarlyStopping(monitor=3), TypeError, "monitor must be a name"),
        (
            lambda: callbacks.ReduceLROnPlateau(factor=1.0),
            ValueError,
            r"factor must be in \(0, 1\)",
        ),
        (lambda: callbacks.LambdaCallback(on_epoch=print), ValueError, "did you mean 'on_epoch_"),
        (lambda: callbacks.LambdaCallback(on_epoch_end=3), TypeError, "must be a function"),
        (lambda: fit(callbacks.ModelCheckpoint("{0}"), losses(1)), ValueError, "cannot be filled"),
        (lambda: fit(callbacks.ModelCheckpoint("{"), losses(1)), ValueError, "cannot be filled"),
    ],
)
def test_bad_input_is_told(make, error, says):
    with pytest.raises(error, match=says):
        make()
