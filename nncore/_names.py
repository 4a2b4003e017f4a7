"""Names and numbers that users pass in: found and checked in one place, with errors that help."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def lookup(kind: str, name: object, table: Mapping[str, T], owner: str = "") -> T:
    """Find an object by its name; `owner` has the argument, for the error.

    Raises TypeError when `name` is not a string, and ValueError when it is not in `table`: the
    error names the kind, what was received, the nearest known name and all known names.

    >>> lookup("activation", "relu", {"relu": max, "linear": abs})
    <built-in function max>
    >>> lookup("activation", "ReLu", {"relu": max, "linear": abs})
    Traceback (most recent call last):
    ValueError: unknown activation 'ReLu': did you mean 'relu'? Known names: linear, relu
    """
    known = ", ".join(sorted(table))
    place = f"{owner}: " if owner else ""
    if not isinstance(name, str):
        raise TypeError(
            f"{place}{kind} must be given by name, received {received(name)}; names: {known}"
        )
    if name in table:
        return table[name]
    raise ValueError(
        f"{place}unknown {kind} {name!r}:{_suggestion(name, table)} Known names: {known}"
    )


def resolve(
    kind: str, value: object, table: Mapping[str, type[T]], base: type[T], owner: str = ""
) -> T:
    """Turn a name, or an object that already is a `base`, into an object; `owner` has the
    argument, for the error.

    A name makes a new object with the default hyper-parameters of its class in `table`.
    Raises ValueError for an unknown name, TypeError for anything else.

    >>> resolve("number", "whole", {"whole": int}, int), resolve("number", 3, {"whole": int}, int)
    (0, 3)
    """
    if isinstance(value, base):
        return value
    if isinstance(value, str):
        return lookup(kind, value, table, owner)()
    place = f"{owner}: " if owner else ""
    raise TypeError(
        f"{place}{kind} must be one of the names {', '.join(sorted(table))} or an object of the "
        f"class {base.__name__}, received {received(value)}"
    )


def positive_int(owner: str, argument: str, value: object) -> int:
    """Return `value` as an int >= 1; `owner` and `argument` are for the error.

    >>> positive_int("Dense", "units", np.int64(3))
    3
    >>> positive_int("Dense", "units", 0)
    Traceback (most recent call last):
    ValueError: Dense: units must be an integer >= 1, received 0
    """
    return integer(owner, argument, value, at_least=1)


def integer(owner: str, argument: str, value: object, at_least: int | None = None) -> int:
    """Return a Python or numpy integer (never a bool) as an int of at least `at_least`.

    Raises TypeError for another type, ValueError for a smaller number.

    >>> integer("EarlyStopping", "patience", 0, at_least=0)
    0
    """
    expected = "an integer" if at_least is None else f"an integer >= {at_least}"
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{owner}: {argument} must be {expected}, received {received(value)}")
    if at_least is not None and value < at_least:
        raise ValueError(f"{owner}: {argument} must be {expected}, received {value}")
    return int(value)


def real(owner: str, argument: str, value: object, interval: str = "(-inf, inf)") -> float:
    """Return a Python or numpy number as a finite float inside `interval`.

    `interval` is written as in mathematics: "[0, 1)" is 0 <= value < 1.
    Raises TypeError for what is no real number, ValueError outside the interval, for NaN or inf.

    >>> real("Adam", "beta_1", 0.9, "[0, 1)")
    0.9
    >>> real("Adam", "beta_1", 1, "[0, 1)")
    Traceback (most recent call last):
    ValueError: Adam: beta_1 must be in [0, 1), received 1
    """
    low, high = (float(end) for end in interval[1:-1].split(","))
    expected = "finite" if interval == "(-inf, inf)" else f"in {interval}"
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        kind = "a finite number" if expected == "finite" else f"a number {expected}"
        raise TypeError(f"{owner}: {argument} must be {kind}, received {received(value)}")
    try:
        number = float(value)
    except OverflowError:  # an int of more than 308 digits
        value = number = np.inf
    inside = -np.inf < number < np.inf
    inside = inside and (low <= number if interval[0] == "[" else low < number)
    inside = inside and (number <= high if interval[-1] == "]" else number < high)
    if not inside:
        raise ValueError(f"{owner}: {argument} must be {expected}, received {value}")
    return number


def rate(owner: str, argument: str, value: object) -> float:
    """Return `value` as a float in [0, 1): a rate of dropout, a momentum, a decay.

    >>> rate("Dropout", "rate", 0.5)
    0.5
    """
    return real(owner, argument, value, "[0, 1)")


def boolean(owner: str, argument: str, value: object) -> bool:
    """Return a Python or NumPy bool as a bool; 0, 1, "no" and arrays are TypeErrors.

    >>> boolean("Dense", "use_bias", np.True_)
    True
    """
    if not isinstance(value, (bool, np.bool)):
        raise TypeError(f"{owner}: {argument} must be True or False, received {received(value)}")
    return bool(value)


def file_path(owner: str, value: object) -> str:
    """Return a path, a string or an os.PathLike object, as a string.

    >>> file_path("save", "model.safetensors")
    'model.safetensors'
    """
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise TypeError(f"{owner}: path must be a string or a Path, received {received(value)}")
    if not os.fspath(value):
        raise ValueError(f"{owner}: path is empty; expected the name of a file")
    return os.fsdecode(value)


def rows_of(shape: tuple[int, ...]) -> str:
    """The shape of an array that has rows of this shape, for an error.

    >>> rows_of((28, 28)), rows_of(())
    ('(rows, 28, 28)', '(rows,)')
    """
    return f"({', '.join(map(str, ('rows', *shape)))}{'' if shape else ','})"


def settle(frozen: object, **fields: object) -> None:
    """Store checked values in a frozen dataclass; for use in `__post_init__` only."""
    for field, value in fields.items():
        object.__setattr__(frozen, field, value)


def received(value: object) -> str:
    """Describe a value for an error, briefly: `3.5 (float)`, `the class Dense`.

    >>> received(3.5), received(int), received(np.zeros((2, 3)))
    ('3.5 (float)', 'the class int (call it: int())', 'an array of shape (2, 3)')
    """
    if isinstance(value, type):
        return f"the class {value.__name__} (call it: {value.__name__}())"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    text = repr(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    return text if value is None else f"{text} ({type(value).__name__})"


def _suggestion(name: str, table: Mapping[str, object]) -> str:
    """Say which known name is nearest to a wrong one, or nothing."""
    import difflib  # only needed to explain an error

    other = _ELSEWHERE.get(_fold(name))
    if other in table:
        return f" did you mean {other!r}?"
    folded = {_fold(known): known for known in table}
    near = difflib.get_close_matches(_fold(name), folded, n=1, cutoff=0.5)
    return f" did you mean {folded[near[0]]!r}?" if near else ""


# What other libraries call it, folded: too far from our names to be found by likeness.
_ELSEWHERE = {
    "acc": "accuracy",
    "bce": "binary_cross_entropy",
    "binarycrossentropy": "binary_cross_entropy",
    "categoricalcrossentropy": "cross_entropy",
    "ce": "cross_entropy",
    "crossentropy": "cross_entropy",
    "l1": "mae",
    "meanabsoluteerror": "mae",
    "meansquarederror": "mse",
    "sparsecategoricalcrossentropy": "cross_entropy",
    "swish": "silu",
}


def _fold(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def describe(value: object) -> str:
    """A dataclass object as its constructor call, defaults left out.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Point:
    ...     x: int
    ...     y: int = 0
    >>> describe(Point(3))
    'Point(x=3)'
    """
    fields = sorted(  # those that are given by name only come last, as in a call
        getattr(value, "__dataclass_fields__", {}).values(), key=lambda f: f.kw_only is True
    )
    shown = [
        f"{field.name}={own!r}"
        for field in fields
        if hasattr(value, field.name)
        and (own := getattr(value, field.name)) is not field.default
        and (isinstance(own, np.ndarray) or own != field.default)
    ]
    return f"{type(value).__name__}({', '.join(shown)})"
