"""What users pass, checked and made ready for a plan's gathers.

Nothing here copies a whole data set: arrays of the usual number types in row-major order are read
where they are (memory-mapped files too), others are converted a stretch of rows at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore._kernels.gather import all_finite
from nncore._names import real, received
from nncore.inputs import as_list, real_array

if TYPE_CHECKING:
    from nncore._kernels.gather import Gather
    from nncore.graph import Shapes
    from nncore.losses import Loss
    from nncore.plan import Plan

CONVERTED_BYTES = 32 << 20  # at most this much is converted at a time


@dataclass(eq=False)
class Examples:
    """Checked arrays: inputs, targets and weights of ``rows`` examples."""

    inputs: list[np.ndarray]
    targets: list[np.ndarray]
    weight: np.ndarray | None
    target_shapes: tuple[tuple[int, ...], ...]
    lengths: np.ndarray | None = None
    in_steps: Sequence[bool] = ()  # for each output, whether lengths count its steps

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
        return max(1, CONVERTED_BYTES // max(1, row) // batch) * batch

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
            self.in_steps,
        )

    def answers(
        self, plan: Plan, first: int, end: int, batch: int, order: np.ndarray | None = None
    ) -> np.ndarray:
        """Of how many answers, rows or steps of sequences, each output's loss is the mean, for
        each batch of the examples first..end (of ``order``): (batches, outputs) of float64."""
        rows = np.full(-(-(end - first) // batch), batch, np.float64)
        rows[-1] = end - first - batch * (len(rows) - 1)
        answers = np.repeat(rows[:, None], len(self.in_steps), 1)
        for i in np.flatnonzero(self.in_steps):
            if self.lengths is None:
                answers[:, i] *= plan.predictions[i].shape[0]
            else:
                lengths = self.lengths[slice(first, end) if order is None else order[first:end]]
                answers[:, i] = np.add.reduceat(lengths, range(0, end - first, batch))
        return answers

    def weigh_classes(
        self, class_weight: Any, owner: str, loss: Loss, output: Any, in_steps: bool
    ) -> None:
        """Multiplies the weights by those of the classes that the (only) targets are; in_steps:
        whether these are of the steps that lengths count."""
        lengths = self.lengths if in_steps else None
        factors = _class_factors(owner, class_weight, self.targets[0], loss, output, lengths)
        if self.weight is not None:
            axes = (1,) * (factors.ndim - self.weight.ndim)
            factors = factors * self.weight.reshape(self.weight.shape + axes)
        self.weight = factors

    def step_weight(
        self, chosen: slice | np.ndarray, number: int, output: np.ndarray
    ) -> np.ndarray | None:
        """The weights of these examples for a metric of an output, number so many; without lengths
        those given. Of a sequence, (rows, steps, ...), steps beyond its end have weight 0."""
        weight = None if self.weight is None else self.weight[chosen]
        if self.lengths is None or not self.in_steps[number]:
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


def without_padding(array: np.ndarray, lengths: np.ndarray, classes: bool = False) -> np.ndarray:
    """The array with zeros in the steps beyond each row's end, or, of probabilities of classes,
    class 0: itself where there are zeros."""
    beyond = np.arange(array.shape[1]) >= lengths[:, None]
    if not classes and not array[beyond].any():
        return array
    array = array.copy()
    array[beyond] = 0
    if classes:
        array[beyond, 0] = 1
    return array


def examples(
    inputs: list[np.ndarray],
    y: Any,
    sample_weight: Any,
    *,
    owner: str,
    shapes: Shapes,
    losses: Sequence[Loss],
    finite: np.dtype | None,
    lengths: np.ndarray | None,
) -> Examples:
    """Checks everything about a data set before anything runs. inputs: see `input_arrays`.

    ``finite``: also that arrays in memory are finite as numbers of that dtype; memory-mapped files,
    which that would read twice, are checked batch by batch in any case. lengths: what is beyond a
    sequence's end may be anything, in files but for what would be no number or no class.
    """
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
            if lengths is not None and shapes.in_steps[i] and not _is_mapped(target):
                classes = losses[i].of_classes and target.shape[1:] == shapes.outputs[i]
                target = without_padding(target, lengths, classes)
            if finite and not _is_mapped(target) and not all_finite(target, finite):
                raise ValueError(f"NaN, infinite or too large numbers for {finite}")
            losses[i].check(target, shapes.outputs[i])
        except ValueError as error:
            raise ValueError(
                f"{owner}: received {what} of shape {target.shape}, dtype {target.dtype}: {error}"
            ) from None
        targets.append(target)
    if lengths is not None:
        inputs = [clean_input(x, i, shapes, lengths) for i, x in enumerate(inputs)]
    if finite:
        for i, array in enumerate(inputs):
            if not _is_mapped(array) and not all_finite(array, finite):
                what = "x" if len(inputs) == 1 else f"x[{i}]"
                bad = next((r for r in range(rows) if not all_finite(array[r], finite)), 0)
                raise ValueError(
                    f"{owner}: received NaN, infinity or too large numbers for {finite} in {what}, "
                    f"first in row {bad}; training needs finite numbers: clean or scale the data, "
                    "or drop such rows"
                )
            table = shapes.tables[i]
            if table is not None and not _is_mapped(array):
                what = "x" if len(inputs) == 1 else f"x[{i}]"
                _check_lookups(what, array, *table)
    weight = _weights(owner, rows, sample_weight, shapes.outputs, finite)
    return Examples(inputs, targets, weight, tuple(target_shapes), lengths, shapes.in_steps)


def clean_input(x: np.ndarray, i: int, shapes: Shapes, lengths: np.ndarray) -> np.ndarray:
    """Input number i with zeros for padding: what is there could reach a gradient as 0 NaN, in a
    layer before the recurrent one. Files are read as they are."""
    return without_padding(x, lengths) if shapes.sequences[i] and not _is_mapped(x) else x


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


def _weights(owner, rows, sample_weight, outputs, finite):
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
    if not (all_finite(weight, finite or weight.dtype) and (weight >= 0).all()):
        raise ValueError(
            f"{owner}: received sample_weight with NaN, infinity, too large numbers or numbers "
            "below 0; expected finite ones >= 0"
        )
    return weight


def _class_factors(owner, class_weight, target, loss, output, lengths):
    """The weight of the class of each row (or row and time step); 1 beyond a sequence's end."""
    if not isinstance(class_weight, dict):
        raise TypeError(
            f"{owner}: received class_weight {received(class_weight)}; expected a dict of label "
            "to weight"
        )
    positions = (len(target), *output[:-1])
    there = np.ones(positions, bool)
    if lengths is not None:
        inner = (1,) * (there.ndim - 2)
        there &= np.arange(there.shape[1]).reshape(-1, *inner) < lengths.reshape(-1, 1, *inner)
    if target.shape[1:] == output and (loss.of_classes or _is_one_hot(target[there])):
        labels = target.argmax(-1)
    elif target.size == np.prod(positions):
        labels = target.reshape(positions)
    else:
        raise ValueError(
            f"{owner}: received class_weight with {loss!r} and y of shape {target.shape}, which "
            "has neither one class for each row nor is one-hot; use sample_weight"
        )
    present = np.unique(labels[there])
    missing = [label.item() for label in present if label.item() not in class_weight]
    if missing:
        raise ValueError(
            f"{owner}: received class_weight without the labels {missing[:9]}"
            f"{' and others' if missing[9:] else ''}; give each a number"
        )
    factors = np.array(
        [real(owner, "class_weight", class_weight[n.item()], "[0, inf)") for n in present]
    )
    found = np.ones(labels.shape)
    found[there] = factors[np.searchsorted(present, labels[there])]
    return found


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
