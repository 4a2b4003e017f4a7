"""Pooling layers: the largest or the mean of each window, or of a whole image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nncore._kernels.pooling import MaxPool, MeanPool
from nncore._names import settle
from nncore.layers.base import Layer, layer
from nncore.layers.windows import (
    count_windows,
    image,
    padding,
    per_axis,
    settled,
    with_rows,
)

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.building import Building


MOST_CELLS = 2**31 - 1  # of a window, so that each has a number


def _pool(plan: Building, op: type, x: Tensor, y: Tensor, size, strides, before) -> None:
    """Puts the op on the plan; sizes per axis, of one axis or two."""
    row = (1,) * (2 - len(size))
    geometry = (
        with_rows(x.shape),
        (*row, *y.shape[:-1]),
        (*row, *size),
        (*row, *strides),
        (*(0 for _ in row), *before),
        plan.most_rows,
    )
    if op is MaxPool:
        if math.prod(size) > MOST_CELLS:
            raise ValueError(
                f"layer {'.'.join(plan._path)!r}: received a window of {size}; expected at most "
                f"{MOST_CELLS} cells: take GlobalMaxPool, or a window no larger than the image"
            )
        cell = plan.tensor(y.shape) if plan.training else None
        plan.add(MaxPool(x, y, cell, *geometry))
    else:
        plan.add(MeanPool(x, y, *geometry))


@layer
class _Pool(Layer):
    """What the layers with windows share; they say over how many axes, and what is taken."""

    axes, op = 2, MaxPool

    pool_size: Any = 2
    strides: Any = None
    padding: Any = "valid"

    def __post_init__(self) -> None:
        owner = type(self).__name__
        settle(
            self,
            pool_size=settled(owner, "pool_size", self.pool_size, self.axes),
            padding=padding(owner, self.padding, self.axes),
        )
        if self.strides is not None:
            settle(self, strides=settled(owner, "strides", self.strides, self.axes))

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        x = image(plan, self, inputs, self.axes)
        size = per_axis(self.pool_size, self.axes)
        strides = size if self.strides is None else per_axis(self.strides, self.axes)
        edges = [self.padding] * self.axes if isinstance(self.padding, str) else self.padding
        if any(max(e) >= k for e, k in zip(edges, size, strict=True) if not isinstance(e, str)):
            raise ValueError(
                f"{plan.where(self)}: received padding {edges} for windows of {size}; expected "
                "less than the window on each side, or some windows would see nothing"
            )
        ones = (1,) * self.axes
        counts, before = count_windows(plan, self, x, size, strides, ones, self.padding)
        y = plan.tensor((*counts, x.shape[-1]))
        _pool(plan, self.op, x, y, size, strides, before)
        return y


@layer
class MaxPool1D(_Pool):
    """The largest of each window along a signal; see `MaxPool2D`. x (steps, channels).

    ValueError for a pool_size or strides < 1; when built, for windows larger than the padded
    input.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((4, 1)), nn.MaxPool1D()])([[[1.0], [3.0], [2.0], [0.0]]]).tolist()
    [[[3.0], [2.0]]]
    """

    axes, op = 1, MaxPool


@layer
class MaxPool2D(_Pool):
    """The largest of each window of an image, channel by channel: y = max over the window of x.

    x (height, width, channels) gives y (rows, columns, channels). ``pool_size``: of a window, an
    integer or (height, width); ``strides``: from one window to the next, pool_size if None.
    ``padding``: "valid" takes windows inside the image only, (n - size) // stride + 1 along an axis
    of n; "same" (TensorFlow's) ceil(n / stride), the windows centred on the image; an integer or
    ((top, bottom), (left, right)) lets them begin and end so far outside. What is outside never
    counts. The gradient goes to the first cell, in row-major order, that has the maximum; NaN
    counts as the largest (both as in PyTorch).

    ValueError for sizes or strides below 1 or another padding; when built, for an input that is
    not (height, width, channels) or smaller than the window.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((28, 28, 3)), nn.MaxPool2D(3, strides=2)]).output_shape
    (13, 13, 3)
    """

    axes, op = 2, MaxPool


@layer
class AvgPool1D(_Pool):
    """The mean of each window along a signal; see `AvgPool2D`. x (steps, channels).

    ValueError for a pool_size or strides < 1; when built, for windows larger than the padded
    input.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((4, 1)), nn.AvgPool1D()])([[[1.0], [3.0], [2.0], [0.0]]]).tolist()
    [[[2.0], [1.0]]]
    """

    axes, op = 1, MeanPool


@layer
class AvgPool2D(_Pool):
    """The mean of each window of an image, channel by channel; arguments: those of `MaxPool2D`.

    The mean is over the cells inside of the image only, so that edges are not darker (as in
    Keras; PyTorch's count_include_pad=False).

    ValueError for a pool_size or strides < 1; when built, for windows larger than the padded
    input.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((5, 7, 3)), nn.AvgPool2D(2, padding="same")]).output_shape
    (3, 4, 3)
    """

    axes, op = 2, MeanPool


@layer
class _GlobalPool(Layer):
    """One window as large as the image."""

    axes, op = 2, MaxPool

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        x = image(plan, self, inputs, self.axes)
        ones = (1,) * self.axes
        y = plan.tensor((*ones, x.shape[-1]))
        _pool(plan, self.op, x, y, x.shape[:-1], ones, (0,) * self.axes)
        return plan.view(y, x.shape[-1:])


@layer
class GlobalMaxPool1D(_GlobalPool):
    """The largest of each channel over all steps: x (steps, channels) gives y (channels,).

    ValueError, when built, for an input that is no sequence.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((50, 8)), nn.GlobalMaxPool1D()]).output_shape
    (8,)
    """

    axes, op = 1, MaxPool


@layer
class GlobalMaxPool2D(_GlobalPool):
    """The largest of each channel: x (height, width, channels) gives y (channels,).

    ValueError, when built, for an input that is no image.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((7, 7, 64)), nn.GlobalMaxPool2D()]).output_shape
    (64,)
    """

    axes, op = 2, MaxPool


@layer
class GlobalAvgPool1D(_GlobalPool):
    """The mean of each channel over all steps: x (steps, channels) gives y (channels,).

    ValueError, when built, for an input that is no sequence.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((2, 1)), nn.GlobalAvgPool1D()])([[[1.0], [2.0]]]).tolist()
    [[1.5]]
    """

    axes, op = 1, MeanPool


@layer
class GlobalAvgPool2D(_GlobalPool):
    """The mean of each channel: x (height, width, channels) gives y (channels,). In place of
    Flatten it leaves far fewer weights to learn (Lin, Chen & Yan 2014).

    ValueError, when built, for an input that is no image.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((7, 7, 64)), nn.GlobalAvgPool2D()]).output_shape
    (64,)
    """

    axes, op = 2, MeanPool
