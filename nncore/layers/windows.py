"""Windows that slide over the axes of an image or a signal: sizes, strides and edges as users give
them, checked, and what follows from them. Channels are last; "same" is TensorFlow's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore._names import integer, received

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.building import Building
    from nncore.layers.base import Layer

Edges = tuple[tuple[int, int], ...]  # (before, after) for each axis

LEAST_SIDE = 8  # pixels, of an image that is told from its shape
MOST = 2**31 - 1  # of a stride, a dilation, a width of padding
AXIS_NAMES = {1: ("number of steps",), 2: ("height", "width")}
AXES = {1: "(steps, channels)", 2: "(height, width, channels)"}


def settled(owner: str, argument: str, value: Any, axes: int) -> int | tuple[int, ...]:
    """An integer >= 1, or one for each axis, checked.

    >>> settled("MaxPool2D", "pool_size", [1, 2], 2)
    (1, 2)
    """
    if not isinstance(value, (tuple, list)):
        return _bounded(owner, argument, value, 1)
    if len(value) != axes:
        raise ValueError(
            f"{owner}: {argument} must be one integer, or one for each axis ({axes}), received "
            f"{received(value)}"
        )
    return tuple(_bounded(owner, argument, n, 1) for n in value)


def _bounded(owner: str, argument: str, value: Any, least: int) -> int:
    value = integer(owner, argument, value, at_least=least)
    if value > MOST:
        raise ValueError(f"{owner}: {argument} must be at most {MOST}, received {value}")
    return value


def per_axis(value: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    """What `settled` returned, as one integer for each axis.

    >>> per_axis(3, 2)
    (3, 3)
    """
    return (value,) * axes if isinstance(value, int) else value


def edges(owner: str, argument: str, value: Any, axes: int) -> Edges:
    """How much is added or taken before and after each axis: an integer for all, one for each
    axis, or (before, after) for each; a lone pair is the one axis's.

    >>> edges("ZeroPadding2D", "padding", (1, 2), 2), edges("ZeroPadding1D", "padding", (1, 2), 1)
    (((1, 1), (2, 2)), ((1, 2),))
    """
    pairs = value
    if not isinstance(value, (tuple, list)):
        pairs = [(value, value)] * axes
    elif axes == 1 and len(value) == 2 and not isinstance(value[0], (tuple, list)):
        pairs = [value]
    pairs = [p if isinstance(p, (tuple, list)) else (p, p) for p in pairs]
    if len(pairs) != axes or any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            f"{owner}: {argument} must be an integer, one for each of {axes} axes, or a pair "
            f"(before, after) for each, received {received(value)}"
        )
    return tuple(
        (_bounded(owner, argument, a, 0), _bounded(owner, argument, b, 0)) for a, b in pairs
    )


def padding(owner: str, value: Any, axes: int) -> str | Edges:
    """ "valid", "same", or explicit edges."""
    if isinstance(value, (int, np.integer, tuple, list)):
        return edges(owner, "padding", value, axes)
    if isinstance(value, str) and value in ("valid", "same"):
        return value
    hint = ""
    if isinstance(value, str) and value == "causal" and owner == "Conv1D":
        hint = "; ((kernel_size - 1) * dilation_rate, 0) is causal"
    raise (ValueError if isinstance(value, str) else TypeError)(
        f"{owner}: padding must be 'valid', 'same', an integer or pairs (before, after), "
        f"received {received(value)}{hint}"
    )


def place(n: int, size: int, stride: int, padding: str | tuple[int, int]) -> tuple[int, int]:
    """On an axis of length n: how many windows there are (less than one: they do not fit), and
    how far the first begins before the axis.

    >>> place(7, 3, 2, "valid"), place(8, 3, 2, "same"), place(7, 3, 2, (1, 1))
    ((3, 0), (4, 0), (4, 1))
    """
    if padding == "same":
        count = -(-n // stride)
        return count, max((count - 1) * stride + size - n, 0) // 2
    before, after = (0, 0) if isinstance(padding, str) else padding
    return (n + before + after - size) // stride + 1, before


def reach(size: int, dilation: int) -> int:
    """How many pixels a window of ``size`` extends over."""
    return (size - 1) * dilation + 1


def count_windows(plan: Building, layer: Layer, x: Tensor, sizes, strides, dilations, padding):
    """(windows, cells before the first) for each axis of x but the last; a window must fit."""
    placed, names = [], AXIS_NAMES[len(sizes)]
    for axis, (size, stride, dilation) in enumerate(zip(sizes, strides, dilations, strict=True)):
        n, extent = x.shape[axis], reach(size, dilation)
        pads = padding if isinstance(padding, str) else padding[axis]
        placed.append(place(n, extent, stride, pads))
        if placed[-1][0] < 1:
            argument = "pool_size" if hasattr(layer, "pool_size") else "kernel_size"
            dilated = ""
            if dilation > 1:
                argument = "kernel_size or dilation_rate"
                dilated = f", {extent} with its dilation {dilation}"
            padded = "" if isinstance(pads, str) else f", {n + sum(pads)} with its padding"
            raise ValueError(
                f"{plan.where(layer)}: received an input of shape {x.shape} (without the batch "
                f"axis); its {names[axis]} is {n}{padded}, which is less than the window's {size}"
                f"{dilated}: take a smaller {argument}, or padding='same'"
                f"{channels_first_hint(plan)}"
            )
    counts, before = zip(*placed, strict=True)
    return counts, before


def channels_first_hint(plan: Building) -> str:
    """What to add to an error where the network's input looks like channels before height and
    width. Of what layers make of it, one pixel high and wide is nothing unusual."""
    for shape in (gather.x.shape for gather in plan.inputs):
        if len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) > shape[0]:
            return (
                f". The network's input {shape} looks like (channels, height, width); images here "
                "are (height, width, channels): pass np.moveaxis(x, 1, -1), and "
                f"nn.Input({(*shape[1:], shape[0])})"
            )
    return ""


def _refuse_channels_first(plan: Building, layer: Layer, shape: tuple[int, ...]) -> None:
    """Of a shape that nobody wrote down, but data had: three pixels high and wider, with many
    channels, or one pixel high with as many channels as it is wide, is no image."""
    first, *others = shape
    if shape not in plan.guessed or min(others) < LEAST_SIDE or first not in (1, 3):
        return
    if first == 3 or others[0] == others[1]:
        raise ValueError(
            f"{plan.where(layer)}: received x of shape (rows, {first}, {others[0]}, {others[1]}), "
            "which looks like (rows, channels, height, width); images here are (rows, height, "
            f"width, channels): pass np.moveaxis(x, 1, -1). If {first} is its height indeed, say "
            f"so: begin the network with nn.Input({shape})"
        )


def image(plan: Building, layer: Layer, inputs: tuple[Tensor, ...], axes: int) -> Tensor:
    """The one input, which must have so many axes and the channels."""
    (x,) = plan.expect(layer, inputs, count=1)
    if len(x.shape) != axes + 1:
        raise ValueError(
            f"{plan.where(layer)}: received an input of shape {x.shape} (without the batch axis); "
            f"expected {AXES[axes]}{_advice(len(x.shape), axes)}"
        )
    if axes == 2:
        _refuse_channels_first(plan, layer, x.shape)
    return x


def _advice(found: int, axes: int) -> str:
    if found == axes == 2:
        return (
            "; where there is one channel, give it an axis: x[..., None]; for signals take the "
            "layer whose name ends in 1D"
        )
    if found == axes:
        return "; where there is one channel, give it an axis: x[..., None]"
    if axes == 1 and found == 3:
        return "; for images take the layer whose name ends in 2D"
    if axes == 2 and found == 1:
        return "; for images in rows of numbers begin with nn.Reshape((height, width, channels))"
    if found == axes + 2:
        return "; nn.Input takes the shape of one example, without the batch axis"
    return ""


def with_rows(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(height, width, channels): a signal (T, C) is an image of one row."""
    return (1, *shape) if len(shape) == 2 else shape  # type: ignore[return-value]
