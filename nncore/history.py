"""History: what `fit` reports. Progress: how it shows while it runs (tqdm draws it)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from nncore._names import received
from nncore.data import Examples


class History:
    """``history``: dict of name to one number for each epoch ("loss", metrics, "val_..."), and
    "seconds". ``epoch``: their numbers. ``interrupted``: whether Ctrl-C ended training."""

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.interrupted = False

    def add(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        self.epoch.append(epoch)
        for name, value in {**logs, "seconds": seconds}.items():
            self.history.setdefault(name, []).append(float(value))

    def plot(self, path: Any = None) -> Any:
        """Draws the curves, training and validation of one quantity together; returns the
        matplotlib figure and, given a path, writes it there. ImportError without matplotlib."""
        try:
            from matplotlib.figure import Figure
            from matplotlib.ticker import MaxNLocator
        except ImportError:
            raise ImportError(
                "History.plot draws with matplotlib: pip install matplotlib"
            ) from None
        names = [n for n in self.history if not n.startswith("val_") and n != "seconds"]
        figure = Figure(figsize=(5 * max(1, len(names)), 3.6), layout="constrained")
        epochs = [epoch + 1 for epoch in self.epoch]
        for i, name in enumerate(names):
            axes = figure.add_subplot(1, len(names), i + 1)
            axes.plot(epochs, self.history[name], "o-", ms=3, label="training")
            if "val_" + name in self.history:
                axes.plot(epochs, self.history["val_" + name], "o-", ms=3, label="validation")
                axes.legend(frameon=False)
            axes.set_title(name)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def __repr__(self) -> str:
        last = {name: round(values[-1], 4) for name, values in self.history.items()}
        return f"History({len(self.epoch)} epochs, last {last})"


# Numbers first: a terminal that is too narrow cuts off the bar and the speed, not them.
BAR = "{desc}{postfix} |{bar}| {n_fmt}/{total_fmt} rows, {elapsed}, {rate_fmt}"
NO_TOTAL = "{desc}{postfix} | {n_fmt} rows, {elapsed}, {rate_fmt}"


class Progress:
    """A bar for each epoch, or nothing."""

    def __init__(self, verbose: Any, epochs: int, train: Any) -> None:
        verbose = bool(verbose) if type(verbose) is np.bool_ else verbose
        if not isinstance(verbose, (str, int)) or verbose not in ("auto", True, False, 2):
            raise ValueError(
                f"fit: received verbose {received(verbose)}; expected 'auto', True or False"
            )
        self.shown = _has_screen() if verbose == "auto" else bool(verbose)
        self.epochs = epochs
        self.rows = train.rows if isinstance(train, Examples) else None
        self.bar: Any = None

    def begin(self, epoch: int) -> None:
        if self.shown:
            with self._drawing():
                from tqdm.auto import tqdm

                self.bar = tqdm(
                    total=self.rows, desc=f"epoch {epoch + 1}/{self.epochs}", unit=" rows",
                    unit_scale=True, leave=True,
                    bar_format=BAR if self.rows else NO_TOTAL, **_size(),
                )  # fmt: skip

    def show(self, rows: int, logs: dict[str, float]) -> None:
        """``rows`` are done in this epoch."""
        if self.bar is not None:
            numbers = {n: f"{v:.4f}" for n, v in logs.items()}
            with self._drawing():
                self.bar.set_postfix(numbers, refresh=False)
                self.bar.update(rows - self.bar.n)

    def end(self, logs: dict[str, float]) -> None:
        if self.bar is not None:
            numbers = {n: f"{v:.4f}" for n, v in logs.items()}
            with self._drawing():
                self.bar.set_postfix(numbers, refresh=True)
        self.close()

    def close(self) -> None:
        if self.bar is not None:
            with self._drawing():
                self.bar.close()
            self.bar = None

    @contextlib.contextmanager
    def _drawing(self) -> Iterator[None]:
        """No training ends because of its bar: where that cannot be drawn there is none."""
        try:
            yield
        except (AttributeError, OSError, ValueError):  # no stderr, a full disk, a closed file
            self.shown, self.bar = False, None


def _size() -> dict[str, int]:
    """The usual size for a terminal that does not know its own; else tqdm finds it."""
    try:
        unknown = os.get_terminal_size(sys.stderr.fileno()).columns == 0
    except (OSError, ValueError, AttributeError):  # no terminal, or no file at all
        unknown = False
    return {"ncols": 80, "nrows": 24} if unknown else {}


def _has_screen() -> bool:
    """Whether someone watches: a terminal, or a notebook's kernel."""
    if "ipykernel" in sys.modules:
        return True
    try:
        return bool(sys.stderr.isatty())
    except (AttributeError, ValueError, OSError):  # none, or a closed one
        return False
