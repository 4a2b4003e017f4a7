"""Callbacks: your code at fixed moments of `fit`.

Order: on_train_begin; for each epoch on_epoch_begin, on_batch_end after batches, on_epoch_end;
on_train_end. Epochs and batches count from 0. A hook that sets `model.stop_training = True` ends
training: after the epoch, or, from on_batch_end, after the batch. `logs` is a dict of float. After
an epoch: "loss", the metrics, and with validation data the same names with "val_" in front; after a
batch: "loss", the mean since the epoch began.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from math import inf, isfinite
from typing import Any

import numpy as np

from ._names import boolean, file_path, integer, lookup, real, received

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "LambdaCallback",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
]


class Callback:
    """Base of all callbacks: override the hooks you need. Each is given the model; epochs count
    from 0.

    >>> class Printer(Callback):
    ...     def on_epoch_end(self, model, epoch, logs):
    ...         print(f"epoch {epoch + 1}: loss {logs['loss']:.2f}")
    >>> Printer().on_epoch_end(None, 0, {"loss": 0.5})
    epoch 1: loss 0.50
    """

    def on_train_begin(self, model: Any) -> None:
        """Called once, before the first epoch."""

    def on_train_end(self, model: Any) -> None:
        """Called once, after the last epoch."""

    def on_epoch_begin(self, model: Any, epoch: int) -> None:
        """Called before each epoch."""

    def on_epoch_end(self, model: Any, epoch: int, logs: dict[str, float]) -> None:
        """Called after each epoch and its validation."""

    def on_batch_end(self, model: Any, batch: int, logs: dict[str, float]) -> None:
        """Called after a batch; a callback without this hook lets training run without Python."""


class LambdaCallback(Callback):
    """Hooks given as functions: `LambdaCallback(on_epoch_end=lambda model, epoch, logs: ...)`.

    Raises ValueError for an unknown hook, TypeError for a hook that is not callable.

    >>> callback = LambdaCallback(on_epoch_begin=lambda model, epoch: print("epoch", epoch))
    >>> callback.on_epoch_begin(None, 3)
    epoch 3
    """

    def __init__(self, **hooks: Callable[..., Any]) -> None:
        known = {hook: hook for hook in vars(Callback) if hook.startswith("on_")}
        for hook, function in hooks.items():
            lookup("hook", hook, known, "LambdaCallback")
            if not callable(function):
                raise TypeError(
                    f"LambdaCallback: {hook} must be a function, received {received(function)}"
                )
            setattr(self, hook, function)


class EarlyStopping(Callback):
    """Stop when the monitored value has not improved for `patience` epochs.

    An improvement is a change of more than `min_delta` in the direction of `mode`: "min", "max",
    or "auto", which is "max" for names with acc, auc, f1, precision, r2, recall or top_k in them,
    else "min". NaN never is one. `restore_best` puts the parameters and buffers of the best epoch
    back when training ends. Afterwards `best`, `best_epoch` and `stopped_epoch` (None if it ran to
    the end) tell the story. Raises ValueError if `monitor` is not among the logs.

    >>> EarlyStopping(monitor="val_accuracy", patience=3).mode
    'max'
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 0,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = False,
    ) -> None:
        self.monitor = monitor
        self.patience = integer("EarlyStopping", "patience", patience, at_least=0)
        self.min_delta = real("EarlyStopping", "min_delta", min_delta, "[0, inf)")
        self.mode = _direction("EarlyStopping", mode, monitor)
        self.restore_best = boolean("EarlyStopping", "restore_best", restore_best)
        self._forget()

    def _forget(self) -> None:
        self.best = inf if self.mode == "min" else -inf
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._waited = 0
        self._saved: list[tuple[np.ndarray, np.ndarray]] = []  # (view into the model, copy)

    def on_train_begin(self, model: Any) -> None:
        self._forget()

    def on_epoch_end(self, model: Any, epoch: int, logs: dict[str, float]) -> None:
        value = _monitored("EarlyStopping", self.monitor, logs)
        if _improves(value, self.best, self.mode, self.min_delta):
            self.best, self.best_epoch, self._waited = value, epoch, 0
            if self.restore_best:
                self._save(model)
            return
        self._waited += 1
        if self._waited >= self.patience:
            self.stopped_epoch = epoch
            model.stop_training = True

    def on_train_end(self, model: Any) -> None:
        for view, copy in self._saved:
            view[...] = copy
        self._saved = []

    def _save(self, model: Any) -> None:
        if not self._saved:
            views = [*model.params.values(), *model.buffers.values()]
            self._saved = [(view, np.empty_like(view)) for view in views]
        for view, copy in self._saved:
            copy[...] = view


class ModelCheckpoint(Callback):
    """Save the model after each epoch, or after each best one.

    `path` may contain {epoch}, counted from 1, and any name of the logs, with a format if wanted:
    "model-{epoch:02d}-{val_loss:.3f}.safetensors". Missing folders are made. `monitor` ("val_loss"
    if not given) and `mode` (see EarlyStopping) say which epoch is best for `save_best_only`.
    Raises ValueError if a name in `path` or `monitor` is not among the logs, and OSError if the
    file cannot be written; a file that was there before is whole in either case.

    >>> ModelCheckpoint("best.safetensors", monitor="val_accuracy", save_best_only=True).mode
    'max'
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str | None = None,
        save_best_only: bool = False,
        mode: str = "auto",
    ) -> None:
        self.path = file_path("ModelCheckpoint", path)
        self.save_best_only = boolean("ModelCheckpoint", "save_best_only", save_best_only)
        self.monitor = "val_loss" if monitor is None and save_best_only else monitor
        self.mode = _direction("ModelCheckpoint", mode, self.monitor or "")
        self.best = inf if self.mode == "min" else -inf

    def on_train_begin(self, model: Any) -> None:
        self.best = inf if self.mode == "min" else -inf

    def on_epoch_end(self, model: Any, epoch: int, logs: dict[str, float]) -> None:
        best = self.best
        if self.monitor is not None:
            value = _monitored("ModelCheckpoint", self.monitor, logs)
            if _improves(value, self.best, self.mode):
                best = value
            elif self.save_best_only:
                return
        path = self._filled(epoch, logs)
        if folder := os.path.dirname(path):
            os.makedirs(folder, exist_ok=True)
        model.save(path)
        self.best = best  # only now: an epoch that could not be saved does not count as saved

    def _filled(self, epoch: int, logs: Mapping[str, float]) -> str:
        names = {**logs, "epoch": epoch + 1}
        try:
            return self.path.format_map(names)
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            raise ValueError(
                f"ModelCheckpoint: path {self.path!r} cannot be filled in ({error}); "
                f"available names: {', '.join(names)}"
            ) from None


class CSVLogger(Callback):
    """Write the logs to a CSV file, one line per epoch, counted from 1; readable while it grows.

    The columns are "epoch" and the names of the first epoch; a value that is missing later stays
    empty. An existing file is replaced; if ``append``, it gets more lines, in its own columns.
    Raises OSError if it cannot be written, ValueError if it is no such file.

    >>> CSVLogger("history.csv").path
    'history.csv'
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self.path = file_path("CSVLogger", path)
        self.append = boolean("CSVLogger", "append", append)
        self._columns: list[str] = []

    def on_train_begin(self, model: Any) -> None:
        self._columns = []
        if not self.append:
            with open(self.path, "w", encoding="utf-8"):
                pass  # a path that cannot be written is told before training, not after an epoch
            return
        import csv

        with open(self.path, "a+", encoding="utf-8", errors="replace", newline="") as file:
            file.seek(0)
            text = file.read()
            header = next(csv.reader(text.splitlines()), ["epoch"])
            if header[:1] != ["epoch"]:
                raise ValueError(
                    f"CSVLogger: {self.path} begins with {text[:40]!r}; expected to append to a "
                    "file of CSVLogger's, which begins with 'epoch'"
                )
            self._columns = header[1:]
            if text and not text.endswith("\n"):
                file.write("\n")

    def on_epoch_end(self, model: Any, epoch: int, logs: dict[str, float]) -> None:
        import csv  # not at the top: `import nncore` stays fast

        with open(self.path, "a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if not self._columns:
                self._columns = list(logs)
                writer.writerow(["epoch", *self._columns])
            writer.writerow([epoch + 1, *(logs.get(name, "") for name in self._columns)])


class ReduceLROnPlateau(Callback):
    """Multiply the learning rate by `factor` when the monitored value stops improving.

    After `patience` epochs without an improvement (see EarlyStopping):
    learning_rate = max(learning_rate * factor, min_lr)
    Raises ValueError if `monitor` is not among the logs, TypeError if the learning rate is a
    schedule.

    >>> ReduceLROnPlateau(factor=0.5, patience=3).mode
    'min'
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        mode: str = "auto",
        min_lr: float = 0.0,
    ) -> None:
        self.monitor = monitor
        self.factor = real("ReduceLROnPlateau", "factor", factor, "(0, 1)")
        self.patience = integer("ReduceLROnPlateau", "patience", patience, at_least=0)
        self.min_delta = real("ReduceLROnPlateau", "min_delta", min_delta, "[0, inf)")
        self.mode = _direction("ReduceLROnPlateau", mode, monitor)
        self.min_lr = real("ReduceLROnPlateau", "min_lr", min_lr, "[0, inf)")
        self._forget()

    def _forget(self) -> None:
        self.best = inf if self.mode == "min" else -inf
        self._waited = 0

    def on_train_begin(self, model: Any) -> None:
        self._forget()
        rate = model.optimizer.learning_rate
        if not isinstance(rate, (int, float)):
            raise TypeError(
                "ReduceLROnPlateau: needs an optimizer whose learning_rate is a number, "
                f"received {received(rate)}; use either a schedule or this callback"
            )

    def on_epoch_end(self, model: Any, epoch: int, logs: dict[str, float]) -> None:
        value = _monitored("ReduceLROnPlateau", self.monitor, logs)
        if _improves(value, self.best, self.mode, self.min_delta):
            self.best, self._waited = value, 0
            return
        self._waited += 1
        if self._waited >= self.patience:
            self._waited = 0
            rate = float(model.optimizer.learning_rate)
            if rate > self.min_lr:
                model.optimizer.learning_rate = max(rate * self.factor, self.min_lr)


def checked(callbacks: Any) -> tuple[Callback, ...]:
    """What `fit` was given, as a tuple of callbacks."""
    found = () if callbacks is None else callbacks
    if isinstance(found, (Callback, type)):
        found = (found,)
    if not isinstance(found, (list, tuple)):
        raise TypeError(
            f"fit: received callbacks {received(found)}; expected a list of objects of nn.callbacks"
        )
    for callback in found:
        if not isinstance(callback, Callback):
            raise TypeError(
                f"fit: received {received(callback)} in callbacks; expected objects of nn.callbacks"
            )
        hooks = {name: name for name in vars(Callback) if name.startswith("on_")}
        for name in dir(callback):  # as other libraries have them: they would never be called
            if name.startswith("on_") and name.endswith(("_begin", "_end")):
                lookup("hook", name, hooks, type(callback).__name__)
    return tuple(found)


def check_monitors(callbacks: tuple[Callback, ...], names: list[str], validated: bool) -> None:
    """ValueError for a callback that waits for what no epoch can give. names: of the logs without
    validation; callbacks of the user's own may add others."""
    ours = (CSVLogger, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau)
    logs = dict.fromkeys([*names, *(f"val_{name}" for name in names if validated)], 0.0)
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and monitor.startswith("val_") and not validated:
            raise ValueError(
                f"fit: {type(callback).__name__} monitors {monitor!r}, but there are no validation "
                "data: give validation_data or validation_split, or monitor "
                f"{' or '.join(map(repr, names))}"
            )
        if all(type(other) in ours for other in callbacks):
            if isinstance(monitor, str):
                _monitored(type(callback).__name__, monitor, logs)
            if isinstance(callback, ModelCheckpoint):
                callback._filled(0, logs)


_LARGER_IS_BETTER = ("acc", "auc", "f1", "precision", "r2", "recall", "top_k")


def _direction(owner: str, mode: str, monitor: str) -> str:
    """ "min" or "max": which way the monitored value improves."""
    if not isinstance(monitor, str):
        raise TypeError(
            f"{owner}: monitor must be a name of the logs, received {received(monitor)}"
        )
    mode = lookup("mode", mode, {"auto": "auto", "min": "min", "max": "max"}, owner)
    if mode != "auto":
        return mode
    return "max" if any(name in monitor for name in _LARGER_IS_BETTER) else "min"


def _monitored(owner: str, monitor: str, logs: Mapping[str, float]) -> float:
    """The monitored value of this epoch."""
    if monitor not in logs:
        raise ValueError(
            f"{owner}: monitor {monitor!r} is not among the logs, available names: "
            f"{', '.join(logs)}"
        )
    return float(logs[monitor])


def _improves(value: float, best: float, mode: str, min_delta: float = 0.0) -> bool:
    """Whether `value` is better than `best` by more than `min_delta`."""
    if not isfinite(best):  # the first epoch, whatever its value unless NaN or the worst
        return value < best if mode == "min" else value > best
    return value < best - min_delta if mode == "min" else value > best + min_delta
