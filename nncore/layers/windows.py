"""Windows that slide over the axes of an image or a signal: sizes, strides and edges as users give
them, checked, and what follows from them. Channels are last; "same" is TensorFlow's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncore._names import integer, received

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.layers.base import Layer
    from nncore.plan import Plan

Edges = tuple[tuple[int, int], ...]  # (before, after) for each axis

AXES = {1: "(steps, channels)", 2: "(height, width, channels)"}


def settled(owner: str, argument: str, value: Any, axes: int) -> int | tuple[int, ...]:
    """An integer >= 1, or one for each axis, checked.

    >>> settled("MaxPool2D", "pool_size", [1, 2], 2)
    (1, 2)
    """
    if not isinstance(value, (tuple, list)):
        return integer(owner, argument, value, at_least=1)
    if len(value) != axes:
        raise ValueError(
            f"{owner}: {argument} must be one integer, or one for each axis ({axes}), received "
            f"{received(value)}"
        )
    return tuple(integer(owner, argument, n, at_least=1) for n in value)


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
        (integer(owner, argument, a, at_least=0), integer(owner, argument, b, at_least=0))
        for a, b in pairs
    )


def padding(owner: str, value: Any, axes: int) -> str | Edges:
    """ "valid", "same", or explicit edges."""
    if not isinstance(value, str):
        return edges(owner, "padding", value, axes)
    if value not in ("valid", "same"):
        raise ValueError(
            f"{owner}: padding must be 'valid', 'same', an integer or pairs (before, after), "
            f"received {value!r}"
        )
    return value


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


def image(plan: Plan, layer: Layer, inputs: tuple[Tensor, ...], axes: int) -> Tensor:
    """The one input, which must have so many axes and the channels."""
    (x,) = plan.expect(layer, inputs, count=1)
    if len(x.shape) != axes + 1:
        raise ValueError(
            f"{plan.where(layer)}: received an input of shape {x.shape} (without the batch axis); "
            f"expected {AXES[axes]}{_advice(len(x.shape), axes)}"
        )
    return x


def _advice(found: int, axes: int) -> str:
    if found == axes:
        return "; where there is one channel, give it an axis: x[..., None]"
    if axes == 1 and found == 3:
        return "; for images take the layer whose name ends in 2D"
    if axes == 2 and found == 2:
        return "; for signals take the layer whose name ends in 1D"
    return ""


def with_rows(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(height, width, channels): a signal (T, C) is an image of one row."""
    return (1, *shape) if len(shape) == 2 else shape  # type: ignore[return-value]
