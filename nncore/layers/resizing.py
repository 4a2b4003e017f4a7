"""Layers that make images and signals larger or smaller without weights: zeros around them, a part
of them, more pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncore._kernels.resizing import Pad, Upsample
from nncore._names import lookup, settle
from nncore.layers.base import Layer, layer
from nncore.layers.windows import edges, image, per_axis, settled, with_rows

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.building import Building


def _pad(plan: Building, x: Tensor, shape: list[int], around: list[tuple[int, int]]) -> Tensor:
    y = plan.tensor((*shape, x.shape[-1]))
    plan.add(Pad(x, y, with_rows(x.shape), [(0, 0)] * (2 - len(around)) + around))
    return y


def _settled(layer: Layer, argument: str, value: Any, axes: int) -> None:
    """Keeps an integer as it is, so that a default describes itself as one."""
    around = edges(type(layer).__name__, argument, value, axes)
    settle(layer, **{argument: around if isinstance(value, (tuple, list)) else around[0][0]})


@layer
class _ZeroPadding(Layer):
    axes = 2

    padding: Any = 1

    def __post_init__(self) -> None:
        _settled(self, "padding", self.padding, self.axes)

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        x = image(plan, self, inputs, self.axes)
        around = edges(type(self).__name__, "padding", self.padding, self.axes)
        shape = [n + a + b for n, (a, b) in zip(x.shape, around, strict=False)]
        return _pad(plan, x, shape, list(around))


@layer
class ZeroPadding1D(_ZeroPadding):
    """Zeros before and after a signal: x (steps, channels). ``padding``: an integer, or (before,
    after).

    ValueError for a padding below 0.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((1, 1)), nn.ZeroPadding1D((1, 2))])([[[5.0]]]).ravel().tolist()
    [0.0, 5.0, 0.0, 0.0]
    """

    axes = 1


@layer
class ZeroPadding2D(_ZeroPadding):
    """Zeros around an image: x (height, width, channels). ``padding``: an integer, (rows, columns)
    or ((top, bottom), (left, right)).

    ValueError for a padding below 0.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((5, 7, 3)), nn.ZeroPadding2D(((0, 1), (2, 2)))]).output_shape
    (6, 11, 3)
    """

    axes = 2


@layer
class _Cropping(Layer):
    axes = 2

    cropping: Any = 1

    def __post_init__(self) -> None:
        _settled(self, "cropping", self.cropping, self.axes)

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        x = image(plan, self, inputs, self.axes)
        around = edges(type(self).__name__, "cropping", self.cropping, self.axes)
        shape = [n - a - b for n, (a, b) in zip(x.shape, around, strict=False)]
        if min(shape) < 1:
            raise ValueError(
                f"{plan.where(self)}: received an input of shape {x.shape} (without the batch "
                f"axis), of which nothing would be left; expected more than is cropped"
            )
        return _pad(plan, x, shape, [(-a, -b) for a, b in around])


@layer
class Cropping1D(_Cropping):
    """A signal without its ends: x (steps, channels). ``cropping``: an integer, or (before, after).

    ValueError for a cropping below 0; when built, if nothing is left.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((9, 4)), nn.Cropping1D((1, 2))]).output_shape
    (6, 4)
    """

    axes = 1


@layer
class Cropping2D(_Cropping):
    """An image without its edges: x (height, width, channels). ``cropping``: an integer, (rows,
    columns) or ((top, bottom), (left, right)).

    ValueError for a cropping below 0; when built, if nothing is left.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((5, 7, 3)), nn.Cropping2D(((0, 1), (2, 2)))]).output_shape
    (4, 3, 3)
    """

    axes = 2


@layer
class UpSampling1D(Layer):
    """Repeats each step ``size`` times: x (steps, channels) gives y (steps * size, channels).

    ValueError for a size < 1.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((2, 1)), nn.UpSampling1D()])([[[1.0], [2.0]]]).ravel().tolist()
    [1.0, 1.0, 2.0, 2.0]
    """

    size: Any = 2

    def __post_init__(self) -> None:
        settle(self, size=settled("UpSampling1D", "size", self.size, 1))

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        x = image(plan, self, inputs, 1)
        (size,) = per_axis(self.size, 1)
        y = plan.tensor((x.shape[0] * size, x.shape[1]))
        plan.add(Upsample(x, y, with_rows(x.shape), (1, size), False))
        return y


@layer
class UpSampling2D(Layer):
    """Makes an image ``size`` times as large: x (height, width, channels).

    ``size``: an integer or (rows, columns). ``interpolation``: "nearest" repeats each pixel;
    "bilinear" interpolates between the centres of pixels and is constant beyond the outermost
    (PyTorch's align_corners=False).

    ValueError for a size < 1 or an unknown interpolation.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((5, 7, 3)), nn.UpSampling2D((2, 3))]).output_shape
    (10, 21, 3)
    """

    size: Any = 2
    interpolation: str = "nearest"

    def __post_init__(self) -> None:
        settle(self, size=settled("UpSampling2D", "size", self.size, 2))
        names = {"nearest": False, "bilinear": True}
        lookup("interpolation", self.interpolation, names, "UpSampling2D")

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        x = image(plan, self, inputs, 2)
        factors = per_axis(self.size, 2)
        y = plan.tensor((x.shape[0] * factors[0], x.shape[1] * factors[1], x.shape[2]))
        plan.add(Upsample(x, y, x.shape, factors, self.interpolation == "bilinear"))
        return y
