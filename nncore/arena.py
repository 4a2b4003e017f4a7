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
    placed: list[Storage] = []
    total = 0
    for storage in sorted(storages, key=lambda s: -s.size):
        offset = 0
        for other in placed:  # in order of offset: the first gap that is wide enough
            if other.start <= storage.end and storage.start <= other.end:
                if other.offset - offset >= storage.size:
                    break
                offset = max(offset, round_up(other.offset + other.size))
        storage.offset = offset
        placed.append(storage)
        placed.sort(key=lambda s: s.offset)
        total = max(total, round_up(offset + storage.size))
    return total


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
