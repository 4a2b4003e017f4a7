"""Iterables of batches: data that come as (x, y) tuples instead of arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from nncore._names import received


def is_batches(x: Any, y: Any) -> bool:
    """Whether x is an iterable of (x, y) batches rather than numbers."""
    if y is not None or not isinstance(x, Iterable):
        return False
    if isinstance(x, (list, tuple)):
        return any(_is_batch(item) for item in x)  # the others: see check_batches
    numbers = isinstance(x, (np.ndarray, dict, set, frozenset, str, bytes, type))
    return not (numbers or hasattr(x, "__array__") or hasattr(x, "toarray"))


def check_batches(batches: Any, owner: str) -> None:
    """ValueError for a list with something else among its batches, before the first is used."""
    for batch in batches if isinstance(batches, (list, tuple)) else ():
        unpack_batch(batch, owner)


def _is_batch(item: Any) -> bool:
    """Whether an item of a list is (x, y), and not a row of numbers."""
    if isinstance(item, list):  # of arrays of as many rows; other lists are rows of numbers
        arrays = [hasattr(part, "__array__") and np.ndim(part) > 0 for part in item[:2]]
        return arrays == [True, True] and len(item[0]) == len(item[1])
    return isinstance(item, tuple) and len(item) > 0 and hasattr(item[0], "__len__")


def unpack_batch(batch: Any, owner: str) -> tuple[Any, Any, Any, Any]:
    """(x, y, sample_weight or None, lengths or None) of one batch of an iterable."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3, 4):
        raise ValueError(
            f"{owner}: an iterable of batches gave {received(batch)}; expected (x, y), "
            "(x, y, sample_weight) or (x, y, sample_weight, lengths)"
        )
    return (*batch, None, None)[:4]
