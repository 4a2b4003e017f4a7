"""Where each tensor of a plan lies: one block of memory, shared by tensors that never meet.

The planner knows when each tensor is first written and last read. Two tensors may have the same
bytes if one is dead before the other is born; assigning places, the largest first, each at the
lowest free offset, comes close to the least memory possible (Pisarchyk and Lee 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
MOST = 2**62  # bytes: more than there is


@dataclass(eq=False)
class Storage:
    """A piece of the arena: its bytes, and the first and last moment it is needed."""

    size: int
    start: int
    end: int
    offset: int = 0

    def need(self, moment: int) -> None:
        """Extends the lifetime to a moment."""
        self.start, self.end = min(self.start, moment), max(self.end, moment)


def assign_offsets(storages: Sequence[Storage]) -> int:
    """Gives each storage its offset; returns the bytes that they take together.

    >>> a, b, c = Storage(64, 0, 1), Storage(64, 1, 2), Storage(64, 2, 3)
    >>> assign_offsets([a, b, c]), a.offset, b.offset, c.offset
    (128, 0, 64, 0)
    """
    count = len(storages)
    first, last, low, high = np.zeros((4, count), np.int64)  # of those placed, in order of `low`
    for n, storage in enumerate(sorted(storages, key=lambda s: -s.size)):
        meets = (first[:n] <= storage.end) & (storage.start <= last[:n])
        floors = np.concatenate(([0], np.maximum.accumulate(high[:n][meets])))
        gaps = np.append(low[:n][meets], MOST) - floors
        storage.offset = int(floors[np.argmax(gaps >= storage.size)])  # the first wide enough
        at = int(np.searchsorted(low[:n], storage.offset, "right"))
        top = round_up(storage.offset + storage.size)
        for array, value in (
            (first, storage.start), (last, storage.end), (low, storage.offset), (high, top)
        ):  # fmt: skip
            array[at + 1 : n + 1] = array[at:n]
            array[at] = value
    return int(high.max(initial=0))


def round_up(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def aligned_zeros(size: int) -> np.ndarray:
    """A block of zero bytes that starts on a cache line.

    >>> aligned_zeros(100).shape
    (100,)
    """
    block = np.zeros(size + ALIGNMENT, np.uint8)
    start = -address(block) % ALIGNMENT
    return block[start : start + size]


def address(array: np.ndarray) -> int:
    """Where an array's memory starts."""
    return array.__array_interface__["data"][0]
