"""Sequences of unequal lengths: what users say of them, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore.inputs import real_array

if TYPE_CHECKING:
    from nncore.graph import Shapes


def lengths_of(
    owner: str, lengths: Any, inputs: list[np.ndarray], shapes: Shapes
) -> np.ndarray | None:
    """The lengths of the sequences x among the inputs: integers 1 to x's steps, one for each row,
    or a padding mask (rows, steps), True for the steps there are."""
    if lengths is None:
        return None
    x, what = inputs[shapes.sequence], "x" if len(inputs) == 1 else f"x[{shapes.sequence}]"
    if x.ndim < 2:
        raise ValueError(
            f"{owner}: received lengths for {what} of shape {x.shape}, which has no steps"
        )
    rows, steps = x.shape[:2]
    found = real_array("lengths", lengths)
    if found.dtype.kind != "b" and found.shape == (rows, steps) and steps > 1:
        raise TypeError(
            f"{owner}: received lengths of shape {found.shape} and dtype {found.dtype}; expected "
            f"({rows},), or a padding mask of True and False (mask.astype(bool))"
        )
    masked = found.dtype.kind == "b"
    if masked:
        found = _of_mask(owner, found, x, what)
    elif found.dtype.kind == "f":
        raise TypeError(f"{owner}: received lengths of dtype {found.dtype}; expected integers")
    if found.shape != (rows,):
        raise ValueError(
            f"{owner}: received lengths of shape {found.shape} for {rows} rows; expected ({rows},)"
        )
    wrong = (found < 1) | (found > steps)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{owner}: received {'a mask' if masked else 'lengths'} with {found[row]} steps in row "
            f"{row}; expected 1 to {steps}, which {what} is padded to: leave out rows that have no "
            "steps, and pad x to the longest"
        )
    return found.astype(np.int64)  # a copy: what was checked is what is used


def _of_mask(owner: str, mask: np.ndarray, x: np.ndarray, what: str) -> np.ndarray:
    if mask.shape != x.shape[:2]:
        raise ValueError(
            f"{owner}: received a mask (lengths of True and False) of shape {mask.shape}; expected "
            f"{x.shape[:2]}, as {what}"
        )
    if (mask[:, 1:] > mask[:, :-1]).any():
        row = int((mask[:, 1:] > mask[:, :-1]).any(1).argmax())
        raise ValueError(
            f"{owner}: received a mask with a gap in row {row}; expected the steps of a sequence "
            "first, then its padding (where it comes first, numpy.roll each row of x)"
        )
    return mask.sum(1)
