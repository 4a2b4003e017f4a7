"""Inference: the part of Model that predicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import data
from nncore._names import positive_int
from nncore.lengths import lengths_of
from nncore.plan import FORWARD, Plan

if TYPE_CHECKING:
    from nncore.graph import Graph, Shapes
    from nncore.parameters import Parameters


class Inference:
    """The part of Model that predicts: `predict`, and model(x) for what the fast way of
    `Entry.__call__` does not take. See `Model`."""

    # What Model brings along.
    dtype: np.dtype
    _size_for: Callable[[int], int]
    _borrow: Callable[[int], Any]
    _give_back: Callable[[int, Any], None]
    __call__: Callable[..., Any]
    _parameters: Parameters
    _output_shapes: list[tuple[int, ...]]
    _shapes: Shapes
    _padded_plans: dict[int, list[Plan]]
    _ready: Callable[[str], Graph]
    _input_arrays: Callable[[Any], list[np.ndarray]]

    def predict(self, x: Any, batch_size: int = 256, lengths: Any = None) -> Any:
        """The network's output for all rows of x, ``batch_size`` at a time.

        x: (rows, *input shape), any real numbers, a memory-mapped file too; a list of arrays for
        several inputs. lengths: as in `fit`. Returns an array (rows, *output shape), or a list of
        them. NaN passes through. Works before `compile`. ValueError for another shape, TypeError
        for what are no numbers.
        """
        arrays = self._input_arrays(x)
        rows = len(arrays[0])
        counts = lengths_of("predict", lengths, arrays, self._shapes)
        batch = positive_int("predict", "batch_size", batch_size)
        shapes = self._output_shapes
        outputs = [np.empty((rows, *shape), self.dtype) for shape in shapes]
        for first in range(0, rows, batch):
            end = min(rows, first + batch)
            parts = [array[first:end] for array in arrays]
            part_lengths = None if counts is None else counts[first:end]
            y = self(parts[0] if len(parts) == 1 else parts, part_lengths)
            for output, part in zip(outputs, [y] if len(outputs) == 1 else y, strict=True):
                output[first:end] = part
        return outputs[0] if len(outputs) == 1 else outputs

    def _infer(self, x: Any, lengths: Any = None) -> Any:
        """model(x) for what the fast way does not take; see `Entry.__call__`."""
        arrays = self._input_arrays(x)
        rows = len(arrays[0])
        if lengths is not None:
            counts = lengths_of(type(self).__name__, lengths, arrays, self._shapes)
            for i, table in enumerate(self._shapes.tables):
                if table is not None and counts is not None:  # padding may be no row of it
                    arrays[i] = data.clean_input(arrays[i], i, self._shapes, counts)
            return self._infer_padded([*arrays, counts])
        size = self._size_for(rows)
        plan = self._borrow(size)
        if plan is None:
            plan = Plan(self._ready("model(x)"), self._parameters, "inference", 1 << size)
        try:
            if len(arrays) == 1:
                x = np.require(arrays[0], self.dtype, ("C", "A"))
                y = plan.infer(x)
                if y is not None:
                    return y
            return self._run_inference(plan, plan.inputs, arrays)
        finally:
            self._give_back(size, plan)

    def _infer_padded(self, arrays: list[Any]) -> Any:
        """The output for sequences of unequal lengths, which are the last of the arrays."""
        size = self._size_for(len(arrays[0]))
        idle = self._padded_plans.setdefault(size, [])
        try:
            plan = idle.pop()
        except IndexError:
            graph = self._ready("model(x)")
            plan = Plan(graph, self._parameters, "inference", 1 << size, lengths=True)
        try:
            return self._run_inference(plan, [*plan.inputs, plan.lengths], arrays)
        finally:
            idle.append(plan)

    def _run_inference(self, plan: Any, gathers: list[Any], arrays: list[np.ndarray]) -> Any:
        """Copies of the plan's outputs for these arrays, as many rows at a time as it takes."""
        rows = len(arrays[0])
        parts: list[list[np.ndarray]] = []
        try:
            for first in range(0, rows, plan.capacity):
                n = min(plan.capacity, rows - first)
                for gather, array in zip(gathers, arrays, strict=True):
                    data.read(gather, array, first, first + n, None, self.dtype)
                status = plan.execute(FORWARD, 0, n)
                if status:
                    plan.fail(status)
                parts.append([plan.array(y, n).copy() for y in plan.outputs])
            outputs = [np.concatenate(part) for part in zip(*parts, strict=True)]
            return outputs[0] if len(outputs) == 1 else outputs
        finally:
            for gather in gathers:
                gather.release()
