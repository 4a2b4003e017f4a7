"""What users pass, checked and made ready for a plan's gathers.

Nothing here copies a whole data set: arrays of the usual number types in row-major order are read
where they are (memory-mapped files too), others are converted a stretch of rows at a time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore._kernels.gather import all_finite
from nncore._names import real, received, rows_of

if TYPE_CHECKING:
    from nncore._kernels.gather import Gather
    from nncore.graph import Shapes
    from nncore.losses import Loss
    from nncore.plan import Plan

STRETCH_BYTES = 32 << 20  # at most this much is converted at a time


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
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{what}: received rows of unequal lengths ({error})") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{what}: received an array of dtype {array.dtype}; expected real numbers "
            f"({_ADVICE.get(array.dtype.kind, _CONVERT)})"
        )
    return array


_CONVERT = "convert it: numpy.asarray(..., dtype='float32')"
_ADVICE = {  # by the kind of dtype
    "M": "count from a date: (x - x.min()) / numpy.timedelta64(1, 'D')",
    "m": "count in a unit: x / numpy.timedelta64(1, 's')",
    "U": "give each category a number of its own: numpy.unique(..., return_inverse=True)[1]",
    "S": "give each category a number of its own: numpy.unique(..., return_inverse=True)[1]",
    "c": "give real and imaginary part a column each",
}


def as_list(what: str, value: Any, count: int) -> list[Any]:
    """One value for each of ``count`` inputs or outputs."""
    if count == 1:
        return [value]
    if not isinstance(value, (list, tuple)) or len(value) != count:
        got = f"{len(value)}" if isinstance(value, (list, tuple)) else type(value).__name__
        raise ValueError(f"{what}: received {got}; expected a list of {count}")
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


@dataclass(eq=False)
class Examples:
    """Checked arrays: inputs, targets and weights of ``rows`` examples."""

    inputs: list[np.ndarray]
    targets: list[np.ndarray]
    weight: np.ndarray | None
    target_shapes: tuple[tuple[int, ...], ...]
    lengths: np.ndarray | None = None

    @property
    def rows(self) -> int:
        return len(self.inputs[0])

    @property
    def weight_shape(self) -> tuple[int, ...] | None:
        return None if self.weight is None else self.weight.shape[1:]

    def stretch(self, batch: int) -> int:
        """How many rows to hand to the plan at once: a multiple of the batch."""
        arrays = [*self.inputs, *self.targets]
        if all(_is_readable(array) for array in arrays):
            return -(-self.rows // batch) * batch
        row = sum(8 * a.size // max(1, len(a)) for a in arrays)
        return max(1, STRETCH_BYTES // max(1, row) // batch) * batch

    def load(self, plan: Plan, first: int, end: int, order: np.ndarray | None = None) -> None:
        """Lets the plan read the examples first..end (of ``order``) as its rows 0..end-first."""
        arrays = [*self.inputs, *self.targets]
        gathers = [*plan.inputs, *plan.targets]
        if self.weight is not None and plan.weight is not None:
            arrays.append(self.weight)
            gathers.append(plan.weight)
        if self.lengths is not None and plan.lengths is not None:
            arrays.append(self.lengths)
            gathers.append(plan.lengths)
        for gather, array in zip(gathers, arrays, strict=True):
            read(gather, array, first, end, order, plan.dtype)

    def subset(self, chosen: slice | np.ndarray) -> Examples:
        """Some of the rows; slices are views."""
        return Examples(
            [a[chosen] for a in self.inputs],
            [a[chosen] for a in self.targets],
            None if self.weight is None else self.weight[chosen],
            self.target_shapes,
            None if self.lengths is None else self.lengths[chosen],
        )

    def answers(
        self, plan: Plan, first: int, end: int, batch: int, order: np.ndarray | None = None
    ) -> np.ndarray:
        """Of how many answers, rows or steps of sequences, the plan's loss is the mean, for each
        batch of the examples first..end (of ``order``); float64."""
        if not plan.weighs_steps or self.lengths is None:
            rows = np.full(-(-(end - first) // batch), batch, np.float64)
            rows[-1] = end - first - batch * (len(rows) - 1)
            return rows
        lengths = self.lengths[first:end] if order is None else self.lengths[order[first:end]]
        return np.add.reduceat(lengths, range(0, end - first, batch)).astype(np.float64)

    def weigh_classes(self, class_weight: Any, owner: str, loss: Loss, output: Any) -> None:
        """Multiplies the weights by those of the classes that the (only) targets are."""
        factors = _class_factors(owner, class_weight, self.targets[0], loss, output)
        if self.weight is not None:
            axes = (1,) * (factors.ndim - self.weight.ndim)
            factors = factors * self.weight.reshape(self.weight.shape + axes)
        self.weight = factors

    def step_weight(self, chosen: slice | np.ndarray, output: np.ndarray) -> np.ndarray | None:
        """The weights of these examples for a metric; without lengths those given. Of a sequence,
        (rows, steps, ...), steps beyond its end have weight 0."""
        weight = None if self.weight is None else self.weight[chosen]
        if self.lengths is None or output.shape[1:2] != self.inputs[0].shape[1:2]:
            return weight
        there = np.arange(output.shape[1]) < self.lengths[chosen][:, None]
        if weight is None:
            return there.astype(np.float64)
        return there * (weight if weight.ndim > 1 else weight[:, None])


_READ = "?bhilqBHILQfd"  # the type characters of numbers that a gather reads as they are


def _is_readable(array: np.ndarray) -> bool:
    flags, dtype = array.flags, array.dtype
    return flags.c_contiguous and flags.aligned and dtype.isnative and dtype.char in _READ


def read(
    gather: Gather,
    array: np.ndarray,
    first: int,
    end: int,
    order: np.ndarray | None,
    dtype: np.dtype,
) -> None:
    """Lets a gather read rows first..end, as they are or converted."""
    if order is None:
        part = array[first:end]
        if not gather.read(part) and not gather.read(np.require(part, dtype, ["C", "A"])):
            raise ValueError(f"rows of shape {array.shape[1:]} for {gather.x.shape}")
        return
    rows = order[first:end]
    if not gather.read(array, rows) and not gather.read(np.require(array[rows], dtype, ["C", "A"])):
        raise ValueError(f"rows of shape {array.shape[1:]} for {gather.x.shape}")


def examples(
    x: Any,
    y: Any,
    sample_weight: Any,
    *,
    owner: str,
    shapes: Shapes,
    losses: Sequence[Loss],
    finite: bool,
) -> Examples:
    """Checks everything about a data set before anything runs.

    ``finite``: also that arrays in memory have no NaN; memory-mapped files, which that would read
    twice, are checked batch by batch in any case.
    """
    if y is None and isinstance(x, tuple):  # fit((x, y)): x is no array
        raise ValueError(f"{owner}: received no y, and a tuple as x; expected (x, y) apart")
    inputs = input_arrays(x, shapes, owner)
    rows = len(inputs[0])
    if y is None:
        raise ValueError(f"{owner}: received no y; expected the targets of {rows} rows")
    targets, target_shapes = [], []
    for i, value in enumerate(as_list("y", y, len(losses))):
        what = "y" if len(losses) == 1 else f"y[{i}]"
        target = real_array(what, value)
        if target.ndim < 1 or len(target) != rows:
            count = len(target) if target.ndim else f"the number {target}"
            raise ValueError(f"{owner}: received {rows} rows of x and {count} of {what}")
        try:
            target_shapes.append(losses[i].target_shape(shapes.outputs[i], target.shape[1:]))
            if finite and not _is_mapped(target) and not all_finite(target):
                raise ValueError("NaN or infinite numbers")
            losses[i].check(target, shapes.outputs[i])
        except ValueError as error:
            raise ValueError(
                f"{owner}: received {what} of shape {target.shape}, dtype {target.dtype}: {error}"
            ) from None
        targets.append(target)
    if finite:
        for i, array in enumerate(inputs):
            if not _is_mapped(array) and not all_finite(array):
                what = "x" if len(inputs) == 1 else f"x[{i}]"
                bad = next(r for r in range(rows) if not np.isfinite(array[r]).all())
                raise ValueError(
                    f"{owner}: received NaN or infinity in {what}, first in row {bad}; training "
                    "needs finite numbers: clean the data or drop such rows"
                )
            table = shapes.tables[i]
            if table is not None and not _is_mapped(array):
                what = "x" if len(inputs) == 1 else f"x[{i}]"
                _check_lookups(what, array, *table)
    weight = _weights(owner, rows, sample_weight, shapes.outputs)
    return Examples(inputs, targets, weight, tuple(target_shapes))


def _check_lookups(what: str, x: np.ndarray, layer: str, rows: int) -> None:
    """ValueError for what is no row of an Embedding's table; batch by batch its op sees it, too."""
    step = max(1, 4096 * len(x) // x.size)
    for start in range(0, len(x), step):  # a stretch at a time: it takes memory
        part = x[start : start + step].reshape(len(x[start : start + step]), -1)
        bad = ~((part >= 0) & (part < rows) & (part == np.floor(part)))
        if bad.any():
            row = int(bad.any(1).argmax())
            raise ValueError(
                f"layer {layer!r}: received {part[row][bad[row]][0]:.10g} in row {start + row} of "
                f"{what}, which is no row of the table; expected integers 0 <= x < {rows}"
            )


def _weights(owner, rows, sample_weight, outputs):
    """One weight for each row (or row and time step), or None."""
    if sample_weight is None:
        return None
    weight = real_array("sample_weight", sample_weight)
    steps = outputs[0][:-1]
    expected = [(rows,)]
    if steps and all(output[:-1] == steps for output in outputs):
        expected.append((rows, *steps))
    if weight.shape not in expected:
        raise ValueError(
            f"{owner}: received sample_weight of shape {weight.shape}; expected "
            + " or ".join(map(str, expected))
        )
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise ValueError(
            f"{owner}: received sample_weight with NaN, infinity or numbers below 0; expected "
            "finite ones >= 0"
        )
    return weight


def _class_factors(owner, class_weight, target, loss, output):
    """The weight of the class of each row (or row and time step)."""
    if not isinstance(class_weight, dict):
        raise TypeError(
            f"{owner}: received class_weight {received(class_weight)}; expected a dict of label "
            "to weight"
        )
    positions = (len(target), *output[:-1])
    if target.shape[1:] == output and (loss.of_classes or _is_one_hot(target)):
        labels = target.argmax(-1)
    elif target.size == np.prod(positions):
        labels = target.reshape(positions)
    else:
        raise ValueError(
            f"{owner}: received class_weight with {loss!r} and y of shape {target.shape}, which "
            "has neither one class for each row nor is one-hot; use sample_weight"
        )
    present = np.unique(labels)
    missing = [label.item() for label in present if label.item() not in class_weight]
    if missing:
        raise ValueError(
            f"{owner}: received class_weight without the labels {received(missing)}; give each a "
            "number"
        )
    factors = np.array(
        [real(owner, "class_weight", class_weight[n.item()], "[0, inf)") for n in present]
    )
    return factors[np.searchsorted(present, labels)]


def _is_one_hot(target: np.ndarray) -> bool:
    if target.ndim < 2 or target.shape[-1] < 2:
        return False
    return bool(((target == 0) | (target == 1)).all() and (target.sum(-1) == 1).all())


def _is_mapped(array: np.ndarray) -> bool:
    """Whether an array's memory is a file's."""
    base: Any = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    return isinstance(base, (np.memmap, mmap))
