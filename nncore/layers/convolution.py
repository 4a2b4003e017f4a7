"""Convolutions: the layers whose neurons look at a window and share their weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nncore import initializers
from nncore._kernels.convolution import Convolution
from nncore._names import boolean, integer, positive_int, settle
from nncore.layers.base import Layer, layer
from nncore.layers.core import check_activation
from nncore.layers.windows import (
    channels_first_hint,
    count_windows,
    image,
    padding,
    per_axis,
    reach,
    settled,
)

MOST_PADDED = 2**31  # numbers of a padded image

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.building import Building


def _check(layer: Any, axes: int, *counts: str) -> None:
    """Checks what the layers of this file have in common; ``counts`` are fields that count."""
    owner = type(layer).__name__
    for field in ("kernel_size", "strides", "dilation_rate"):
        settle(layer, **{field: settled(owner, field, getattr(layer, field), axes)})
    for field in counts:
        settle(layer, **{field: positive_int(owner, field, getattr(layer, field))})
    if "groups" in counts and layer.filters % layer.groups:
        raise ValueError(
            f"{owner}: received {layer.filters} filters and {layer.groups} groups; groups must "
            "divide the filters"
        )
    settle(layer, padding=padding(owner, layer.padding, axes))
    check_activation(owner, layer.activation)
    settle(layer, use_bias=boolean(owner, "use_bias", layer.use_bias))
    for argument in ("kernel_initializer", "bias_initializer"):
        initializers.get(getattr(layer, argument), f"{type(layer).__name__}: {argument}")


def _windows(layer: Any, axes: int) -> tuple[tuple[int, ...], ...]:
    """(sizes, strides, dilations), each along each axis."""
    given = layer.kernel_size, layer.strides, layer.dilation_rate
    return tuple(per_axis(value, axes) for value in given)


def _divides(plan: Building, layer: Layer, groups: int, x: Tensor) -> None:
    channels = x.shape[-1]
    if channels % groups:
        raise ValueError(
            f"{plan.where(layer)}: received an input of shape {x.shape}, {channels} channels, "
            f"which {groups} groups do not divide; groups must divide filters and channels"
            f"{channels_first_hint(plan)}"
        )


def _convolve(
    plan: Building, layer: Any, x: Tensor, filters: int, groups: int, axes: int
) -> Tensor:
    """Puts weight, bias, convolution and activation on the plan."""
    channels = x.shape[-1]
    _divides(plan, layer, groups, x)
    sizes, strides, dilations = _windows(layer, axes)
    counts, before = count_windows(plan, layer, x, sizes, strides, dilations, layer.padding)
    strides, dilations = _reasonable(plan, layer, counts, channels)
    shapes = (filters, *sizes, channels // groups), (*counts, filters)
    return _add(plan, layer, x, shapes, strides, dilations, before, groups, axes)


def _reasonable(plan: Building, layer: Any, counts: tuple[int, ...], channels: int):
    """The strides and dilations that matter; refuses an image that padding makes too large."""
    sizes, strides, dilations = _windows(layer, len(counts))
    strides = tuple(1 if n == 1 else s for n, s in zip(counts, strides, strict=True))
    dilations = tuple(1 if k == 1 else d for k, d in zip(sizes, dilations, strict=True))
    extents = [
        (n - 1) * s + reach(k, d)
        for n, s, k, d in zip(counts, strides, sizes, dilations, strict=True)
    ]
    if math.prod(extents) * channels > MOST_PADDED:
        raise ValueError(
            f"{plan.where(layer)}: its windows reach over {tuple(extents)} pixels of {channels} "
            f"channels, padding included, which is too large: at most {MOST_PADDED} numbers; take "
            "a smaller image, or less padding or dilation"
        )
    return strides, dilations


def _add(plan, layer, x, shapes, strides, dilations, before, groups, axes, transposed=False):
    """Weight and output of these ``shapes``, bias, op and activation; one axis is an image of one
    row."""
    weight = plan.parameter("weight", shapes[0], initializers.get(layer.kernel_initializer))
    y = plan.tensor(shapes[1])
    bias = None
    if layer.use_bias:
        bias = plan.parameter("bias", y.shape[-1:], initializers.get(layer.bias_initializer))
    plan.add(
        Convolution(
            x, weight, bias, y,
            (1,) * (2 - axes) + strides,
            (1,) * (2 - axes) + dilations,
            (0,) * (2 - axes) + before,
            groups, plan.most_rows, transposed, plan.keeps,
        )
    )  # fmt: skip
    return plan.activation(check_activation(type(layer).__name__, layer.activation), y)


@layer
class _Convolution(Layer):
    """What `Conv1D` and `Conv2D` share; they say over how many axes."""

    axes = 2

    filters: int
    kernel_size: Any
    strides: Any = 1
    padding: Any = "valid"
    dilation_rate: Any = 1
    groups: int = 1
    activation: str | None = None
    use_bias: bool = True
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"

    def __post_init__(self) -> None:
        _check(self, self.axes, "filters", "groups")

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        x = image(plan, self, inputs, self.axes)
        return _convolve(plan, self, x, self.filters, self.groups, self.axes)


@layer
class Conv2D(_Convolution):
    """Convolution of images with small filters:
    y[h, w, o] = sigma(b[o] + sum over i, j, c of W[o, i, j, c]
    x[h stride + i dilation - pad, w stride + j dilation - pad, c]), where x is 0 outside.

    x (height, width, in) gives y (height', width', filters) with height' = (height + pads -
    (kh - 1) dilation - 1) // stride + 1. Parameters: ``weight`` (filters, kh, kw, in / groups),
    ``bias`` (filters,). With ``groups``, filters and channels are cut into so many groups, and
    each group of filters sees its group of channels only.

    ``padding``: "valid" (none), "same" (TensorFlow's: height' = height / stride rounded up; of an
    odd number of zeros one more below and to the right), an integer, (vertical, horizontal), or
    ((top, bottom), (left, right)). ValueError for sizes below 1 and groups that do not divide;
    when built, for a window larger than the padded image, and for images that look like (channels,
    height, width) where no Input says otherwise.

    >>> import nncore as nn
    >>> model = nn.Sequential([nn.Input((28, 28, 1)), nn.Conv2D(8, 3, padding="same")])
    >>> model.output_shape, model.params["0.weight"].shape
    ((28, 28, 8), (8, 3, 3, 1))
    """

    axes = 2


@layer
class Conv1D(_Convolution):
    """Convolution of sequences: `Conv2D` along one axis.

    x (steps, in) gives y (steps', filters). Parameters: ``weight`` (filters, k, in / groups),
    ``bias`` (filters,). ``padding``: as there; a pair is (before, after), so that (k - 1, 0) with
    dilation 1 is causal.

    ValueError for filters < 1, strides or dilation_rate < 1, groups that do not divide, an
    unknown activation or initializer; when built, for a kernel larger than the padded input.

    >>> import nncore as nn
    >>> model = nn.Sequential([nn.Input((50, 4)), nn.Conv1D(8, 5, strides=2)])
    >>> model.output_shape, model.params["0.weight"].shape
    ((23, 8), (8, 5, 4))
    """

    axes = 1


@layer
class DepthwiseConv2D(Layer):
    """`Conv2D` with each channel for itself: filter c * depth_multiplier + m sees channel c only.

    x (height, width, in) gives y (height', width', in * depth_multiplier). Parameters: ``weight``
    (in * depth_multiplier, kh, kw, 1), ``bias`` (in * depth_multiplier,). Initial values are
    scaled as for any weight of this shape: a filter sums kh kw products. (Keras counts all
    channels: its he_normal is narrower, its glorot_uniform wider if depth_multiplier > 1.)

    ValueError for depth_multiplier < 1, and as `Conv2D`.

    >>> import nncore as nn
    >>> nn.Sequential([nn.Input((9, 9, 4)), nn.DepthwiseConv2D(3, strides=2)]).output_shape
    (4, 4, 4)
    """

    kernel_size: Any
    strides: Any = 1
    padding: Any = "valid"
    depth_multiplier: int = 1
    dilation_rate: Any = 1
    activation: str | None = None
    use_bias: bool = True
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"

    def __post_init__(self) -> None:
        _check(self, 2, "depth_multiplier")

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        x = image(plan, self, inputs, 2)
        channels = x.shape[-1]
        return _convolve(plan, self, x, channels * self.depth_multiplier, channels, 2)


@layer
class Conv2DTranspose(Layer):
    """The transpose of `Conv2D`: each pixel of x lays a filter, times its value, on the output.
    It makes images larger, and is what the gradient of a convolution does.

    x (height, width, in) gives (height', width', filters) with height' = (height - 1) stride +
    (kh - 1) dilation + 1 - padding before and after + output_padding, as in PyTorch, for "valid",
    integers and pairs, which are cut off; and height' = height * stride for "same", as in Keras.
    Parameters: ``weight`` (in, kh, kw, filters / groups), PyTorch's order with channels last, and
    ``bias`` (filters,). ``output_padding`` < strides adds rows below and columns to the right.

    ValueError as `Conv2D`, and for an output_padding that padding "same" or the strides leave
    no room for.

    >>> import nncore as nn
    >>> model = nn.Sequential([nn.Input((7, 7, 16)), nn.Conv2DTranspose(8, 3, 2, "same")])
    >>> model.output_shape, model.params["0.weight"].shape
    ((14, 14, 8), (16, 3, 3, 8))
    """

    filters: int
    kernel_size: Any
    strides: Any = 1
    padding: Any = "valid"
    output_padding: int = 0
    dilation_rate: Any = 1
    groups: int = 1
    activation: str | None = None
    use_bias: bool = True
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"

    def __post_init__(self) -> None:
        _check(self, 2, "filters", "groups")
        extra = integer("Conv2DTranspose", "output_padding", self.output_padding, at_least=0)
        settle(self, output_padding=extra)
        if extra and (self.padding == "same" or extra >= min(per_axis(self.strides, 2))):
            raise ValueError(
                f"Conv2DTranspose: received output_padding {extra} with strides {self.strides} "
                f"and padding {self.padding!r}; it must be below the strides, and 0 for 'same'"
            )

    def _output(self, axis: int, n: int) -> tuple[int, int]:
        """(pixels, pixels cut off before) of an axis of n."""
        size, stride, dilation = (values[axis] for values in _windows(self, 2))
        full = (n - 1) * stride + reach(size, dilation)
        if self.padding == "same":
            return n * stride, max(full - n * stride, 0) // 2
        before, after = (0, 0) if self.padding == "valid" else self.padding[axis]
        return full - before - after + self.output_padding, before

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        x = image(plan, self, inputs, 2)
        channels = x.shape[-1]
        _divides(plan, self, self.groups, x)
        sizes, before = zip(*[self._output(i, x.shape[i]) for i in (0, 1)], strict=True)
        if min(sizes) < 1:
            raise ValueError(
                f"{plan.where(self)}: received an input of shape {x.shape}; its padding cuts off "
                f"all of the output: {sizes} pixels would be left"
            )
        strides, dilations = _reasonable(plan, self, x.shape[:2], self.filters)
        weight = (channels, *per_axis(self.kernel_size, 2), self.filters // self.groups)
        shapes = weight, (*sizes, self.filters)
        return _add(plan, self, x, shapes, strides, dilations, before, self.groups, 2, True)
