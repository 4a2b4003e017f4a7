"""What users pass as inputs, as arrays of real numbers in the shape that a network takes."""

from __future__ import annotations

import numbers
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore._names import received, rows_of

if TYPE_CHECKING:
    from nncore.graph import Shapes


def real_array(what: str, value: Any) -> np.ndarray:
    """The value as an array of real numbers; TypeError where it is none, ValueError where some of
    its rows are shorter, or some of its numbers masked."""
    if hasattr(value, "toarray") and not hasattr(value, "__array__"):
        raise TypeError(f"{what}: received a sparse matrix; pass {what}.toarray()")
    if value is None or isinstance(value, (dict, type)):
        hint = f"; pass one of its values, {what}[...]" if isinstance(value, dict) else ""
        raise TypeError(f"{what}: received {received(value)}; expected an array of numbers{hint}")
    masked = getattr(sys.modules.get("numpy.ma"), "MaskedArray", ())  # whose import takes time
    if isinstance(value, masked) and np.ma.is_masked(value):
        raise ValueError(
            f"{what}: received a masked array with {np.ma.count_masked(value)} masked numbers; "
            "fill them (x.filled(0)) or drop their rows"
        )
    if hasattr(value, "__getitem__") and not _ends(value):
        raise TypeError(
            f"{what}: received {received(value)}, which has items but no __iter__; expected an "
            "array of numbers, or, where batches are taken, an iterable of them"
        )
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{what}: received rows of unequal lengths ({error})") from None
    if array.dtype.kind == "O":
        raise _no_numbers(what, array)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{what}: received an array of dtype {array.dtype}; expected real numbers "
            f"({_ADVICE.get(array.dtype.kind, _CONVERT)})"
        )
    return array


def _ends(value: Any) -> bool:
    """Whether NumPy can read it without asking for one item after the other, perhaps for ever."""
    ways = ("__iter__", "__array__", "__array_interface__", "__array_struct__")
    if any(hasattr(value, way) for way in ways):
        return True
    try:
        memoryview(value)
    except TypeError:
        return False
    return True


_CONVERT = "convert it: numpy.asarray(..., dtype='float32')"
_CATEGORIES = "give each category a number of its own: numpy.unique(..., return_inverse=True)[1]"
_ADVICE = {  # by the kind of dtype
    "M": "count from a date: (x - x.min()) / numpy.timedelta64(1, 'D')",
    "m": "count in a unit: x / numpy.timedelta64(1, 's')",
    "U": _CATEGORIES,
    "S": _CATEGORIES,
    "c": "give real and imaginary part a column each",
}


def _no_numbers(what: str, array: np.ndarray) -> TypeError:
    """The error for an array of Python objects: the first of them that is no number."""
    if array.ndim == 0:
        return TypeError(
            f"{what}: received {received(array.item())}; expected an array of real numbers"
        )
    for place, item in np.ndenumerate(array):
        complex_number = isinstance(item, numbers.Complex) and not isinstance(item, numbers.Real)
        if complex_number or not isinstance(item, (numbers.Number, np.bool_)):
            at = ", ".join(map(str, place))
            advice = f" ({_CATEGORIES})" if isinstance(item, str) else ""
            return TypeError(
                f"{what}: received an array of objects, with {received(item)} at [{at}]; expected "
                f"real numbers{advice}"
            )
    return TypeError(
        f"{what}: received an array of dtype object; expected real numbers ({_CONVERT})"
    )


def as_list(what: str, value: Any, count: int) -> list[Any]:
    """One value for each of ``count`` inputs or outputs."""
    if count == 1:
        return [value]
    if not isinstance(value, (list, tuple)) or len(value) != count:
        got = f"{len(value)} of them" if isinstance(value, (list, tuple)) else received(value)
        raise ValueError(f"{what}: received {got}; expected a list of {count} arrays, in order")
    return list(value)


def input_arrays(x: Any, shapes: Shapes, owner: str) -> list[np.ndarray]:
    """The inputs as arrays (rows, *shape), as many rows in each."""
    arrays, count = [], len(shapes.inputs)
    for i, (value, shape) in enumerate(zip(as_list("x", x, count), shapes.inputs, strict=True)):
        what = "x" if count == 1 else f"x[{i}]"
        array = real_array(what, value)
        if array.shape[1:] != shape or array.ndim < 1:
            raise ValueError(
                f"{owner}: received {what} of shape {array.shape}; expected {rows_of(shape)}"
                f"{shapes.first}{_hint(what, array.shape, shape)}"
            )
        arrays.append(array)
    counts = {len(array) for array in arrays}
    if len(counts) > 1:
        raise ValueError(
            f"{owner}: received inputs of {sorted(counts)} rows; expected as many rows in each"
        )
    if counts == {0}:
        raise ValueError(f"{owner}: received an empty batch; expected at least one row")
    return arrays


def _hint(what: str, found: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """How an array of a known wrong shape becomes one of rows of ``shape``."""
    images = len(shape) == 3
    kind = "images" if images else "signals"
    last = (*shape[-1:], *shape[:-1])  # where channels are first instead of last
    if found == shape:
        return f"; for one example, give it the batch axis: {what}[None]"
    if len(found) == 1 and shape == (1,):
        return f"; give each number a row of its own: {what}[:, None]"
    if len(shape) in (2, 3) and found[1:] == last:
        return f"; {kind} have their channels last: numpy.moveaxis({what}, 1, -1)"
    if images and found == last:
        return (
            f"; {kind} have their channels last, and one example needs the batch axis: "
            f"numpy.moveaxis({what}, 0, -1)[None]"
        )
    if len(shape) in (2, 3) and shape[-1] == 1 and found[1:] == shape[:-1]:
        return f"; give the one channel its axis: {what}[..., None]"
    if images and found[1:] == (*shape[1:], shape[0]) and shape[0] in (1, 3):
        return (
            f"; images have their channels last, as here: begin the network with "
            f"nn.Input({found[1:]})"
        )
    return ""
