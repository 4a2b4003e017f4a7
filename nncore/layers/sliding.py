"""Sliding windows: sizes, strides and padding as users give them, and how many windows fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncore._names import integer, received

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.layers.base import Layer
    from nncore.plan import Plan

MOST = 2**31 - 1  # of a stride, a dilation, a width of padding

Pairs = tuple[tuple[int, int], ...]


def per_axis(owner: str, argument: str, value: Any, axes: int) -> tuple[int, ...]:
    """One positive integer for each axis, from one for all or one for each.

    >>> per_axis("Conv2D", "strides", 2, 2), per_axis("Conv2D", "strides", (1, 2), 2)
    ((2, 2), (1, 2))
    """
    values = value if isinstance(value, (tuple, list)) else (value,) * axes
    if len(values) != axes:
        raise ValueError(
            f"{owner}: {argument} must be an integer or {axes} of them, received {received(value)}"
        )
    found = tuple(integer(owner, argument, n, at_least=1) for n in values)
    if max(found) > MOST:
        raise ValueError(f"{owner}: {argument} must be at most {MOST}, received {received(value)}")
    return found


def padding_of(owner: str, value: Any, axes: int) -> str | Pairs:
    """ "valid", "same", or for each axis the zeros before and after: from one integer for all,
    one for each axis (of two), or pairs; of one axis, a pair is (before, after).

    >>> padding_of("Conv2D", 1, 2), padding_of("Conv2D", (1, 2), 2), padding_of("Conv1D", (2, 0), 1)
    (((1, 1), (1, 1)), ((1, 1), (2, 2)), ((2, 0),))
    >>> padding_of("Conv2D", ((0, 1), (2, 3)), 2)
    ((0, 1), (2, 3))
    """
    if isinstance(value, str) and value in ("valid", "same"):
        return value
    values = value
    if not isinstance(values, (tuple, list)):
        values = ((value, value),) * axes
    elif axes == 1 and len(values) == 2:
        values = (values,)
    values = tuple(v if isinstance(v, (tuple, list)) else (v, v) for v in values)
    if isinstance(value, str) or len(values) != axes or any(len(v) != 2 for v in values):
        raise ValueError(
            f"{owner}: padding must be 'valid', 'same', an integer >= 0, or for each of {axes} "
            f"axes an integer or a pair (before, after), received {received(value)}"
        )
    whole = [[integer(owner, "padding", n, at_least=0) for n in v] for v in values]
    pairs = tuple((before, after) for before, after in whole)
    if max(max(pair) for pair in pairs) > MOST:
        raise ValueError(f"{owner}: padding must be at most {MOST}, received {received(value)}")
    return pairs


def reach(size: int, dilation: int) -> int:
    """How many pixels a window of ``size`` extends over."""
    return (size - 1) * dilation + 1


def pad_axis(padding: Any, axis: int, n: int, reach: int, stride: int) -> tuple[int, int]:
    """The zeros before and after an axis of n. "same" is TensorFlow's rule: as many windows as
    n / stride rounded up, and of an odd number of zeros the smaller half before.

    >>> pad_axis("same", 0, 5, 3, 2), pad_axis("same", 0, 6, 3, 2)
    ((1, 1), (0, 1))
    """
    if padding == "valid":
        return 0, 0
    if padding == "same":
        total = max((-(-n // stride) - 1) * stride + reach - n, 0)
        return total // 2, total - total // 2
    return padding[axis]


def expect_image(plan: Plan, layer: Layer, inputs: tuple[Tensor, ...], axes: int) -> Tensor:
    """The only input, which must have so many axes and one of channels after them."""
    (x,) = plan.expect(layer, inputs, count=1)
    if len(x.shape) != axes + 1:
        expected = "(height, width, channels)" if axes == 2 else "(steps, channels)"
        hint = ""
        if len(x.shape) == axes:
            hint = f"; add nn.Reshape({(*x.shape, 1)}) before it for one channel"
        raise ValueError(
            f"{plan.where(layer)}: received an input of shape {x.shape} (without the batch axis); "
            f"expected {expected}{hint}"
        )
    return x


def channels_first_hint(shape: tuple[int, ...]) -> str:
    """What to add to an error where the shape looks like channels before height and width."""
    if len(shape) != 3 or shape[0] not in (1, 3) or min(shape[1:]) <= shape[0]:
        return ""
    turned = (*shape[1:], shape[0])
    return (
        f". It looks like (channels, height, width); images here are (height, width, channels): "
        f"pass np.moveaxis(x, 1, -1), and nn.Input({turned})"
    )


def count_windows(plan: Plan, layer: Layer, x: Tensor, sizes, strides, dilations, padding):
    """(windows, zeros before) for each axis of x but the last; a window must fit."""
    counts, before = [], []
    for axis, (size, stride, dilation) in enumerate(zip(sizes, strides, dilations, strict=True)):
        n, extent = x.shape[axis], reach(size, dilation)
        pads = pad_axis(padding, axis, n, extent, stride)
        if extent > n + sum(pads):
            dilated = f", {extent} with its dilation {dilation}," if dilation > 1 else ""
            padded = f", {n + sum(pads)} with its padding" if sum(pads) else ""
            raise ValueError(
                f"{plan.where(layer)}: received an input of shape {x.shape}; its axis {axis} has "
                f"{n} pixels{padded}, and the window {size}{dilated} is larger: take a smaller "
                f"window or padding='same'{channels_first_hint(x.shape)}"
            )
        counts.append((n + sum(pads) - extent) // stride + 1)
        before.append(pads[0])
    return tuple(counts), tuple(before)
