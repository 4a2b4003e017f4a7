"""Augmentation: more images than there are, by small changes that leave the label true."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nncore._names import boolean, integer, positive_int
from nncore.inputs import real_array

__all__ = ["augmented"]


class augmented:
    """Batches (x, y) of images, each shifted and mirrored at random, for `model.fit`.

    x (n, height, width, channels) or (n, height, width); y (n, ...). Each image moves by up to
    ``shift`` pixels up or down and left or right, zeros taking the place of what is missing, and
    with ``flip`` every second one, on average, is mirrored left to right. Every time the object is
    iterated, once an epoch, order and changes are drawn anew; the same ``seed`` gives the same
    sequence of epochs. Types stay (uint8 too), x and y are not written to, and only a batch is
    copied at a time, so x may be a memory-mapped file.

    ValueError for another shape of x, a y of more or fewer rows, a shift that could move an image
    out of itself, or numbers below what makes sense; TypeError for other types.

    >>> import nncore as nn
    >>> x, y = np.ones((100, 8, 8, 1), np.float32), np.arange(100) % 10
    >>> batches = nn.datasets.augmented(x, y, batch_size=32, shift=1, seed=0)
    >>> [len(labels) for images, labels in batches]
    [32, 32, 32, 4]
    >>> model = nn.Sequential([nn.Input((8, 8, 1)), nn.Flatten(), nn.Dense(10)], seed=0)
    >>> model.compile("adam", "cross_entropy")
    >>> len(model.fit(batches, epochs=2, verbose=False).history["loss"])
    2
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        *,
        batch_size: int = 32,
        shift: int = 2,
        flip: bool = True,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        self.x, self.y = real_array("augmented: x", x), real_array("augmented: y", y)
        self.batch_size = positive_int("augmented", "batch_size", batch_size)
        self.shift = integer("augmented", "shift", shift, at_least=0)
        self.seed = integer("augmented", "seed", seed, at_least=0)
        self.flip = boolean("augmented", "flip", flip)
        self.shuffle = boolean("augmented", "shuffle", shuffle)
        self.epochs = 0  # how often it was iterated
        if self.x.ndim not in (3, 4) or not self.x.size:
            raise ValueError(
                f"augmented: received x of shape {self.x.shape}; expected (n, height, width, "
                "channels) or (n, height, width)"
            )
        if self.y.ndim < 1 or len(self.y) != len(self.x):
            raise ValueError(
                f"augmented: received {len(self.x)} images and y of shape {self.y.shape}; "
                "expected one row for each"
            )
        if self.shift >= min(self.x.shape[1:3]):
            raise ValueError(
                f"augmented: received shift {self.shift} for images of {self.x.shape[1:3]}; "
                "expected less than their height and width"
            )

    def __len__(self) -> int:
        """Batches in an epoch; the last one may be smaller."""
        return -(-len(self.x) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng([self.seed, self.epochs])
        self.epochs += 1
        return self._batches(rng)

    def _batches(self, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rows = np.arange(len(self.x))
        if self.shuffle:
            rng.shuffle(rows)
        for start in range(0, len(rows), self.batch_size):
            chosen = rows[start : start + self.batch_size]
            yield self._changed(self.x[chosen], rng), self.y[chosen]

    def _changed(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Each image looked at through a window of its own size in a frame of zeros. By numbers of
        pixels, because `take` is three times as fast as an index for each axis."""
        count, height, width = images.shape[:3]
        around = [(0, 0), (self.shift, self.shift), (self.shift, self.shift)]
        framed = np.pad(images, around + [(0, 0)] * (images.ndim - 3))
        first = rng.integers(0, 2 * self.shift + 1, (2, count, 1))
        mirrored = rng.random((count, 1)) < (0.5 if self.flip else 0)
        order = np.arange(width)
        rows = first[0] + np.arange(height) + framed.shape[1] * np.arange(count)[:, None]
        columns = first[1] + np.where(mirrored, order[::-1], order)
        pixels = rows[:, :, None] * framed.shape[2] + columns[:, None, :]
        return framed.reshape(-1, *images.shape[3:]).take(pixels, axis=0)
