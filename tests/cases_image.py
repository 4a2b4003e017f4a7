"""The rows of cases.py for layers of images and signals, and how PyTorch does the same: channels
are its second axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import nncore as nn
from case_kinds import LayerCase

try:
    import torch
    import torch.nn.functional as F
except ImportError:  # then no `torch` column is called
    torch = F = None

SIGNALS = ((9, 1), (8, 17))  # (steps, channels)
IMAGES = ((5, 7, 3), (6, 9, 17))  # (height, width, channels)
SMALL_IMAGES = (*IMAGES, (8, 6, 1), (1, 2, 2))
ALL_IMAGES = (*IMAGES, (8, 6, 1), (3, 4, 40))


def channels_second(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of PyTorch's that takes channels second, for arrays that have them last."""
    return lambda p, x: function(x.movedim(-1, 1)).movedim(1, -1)


def apart(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of which no two of a row have nearly the same magnitude: the largest stays the
    largest while one is moved a little, also of their squares."""
    size = int(np.prod(shape[1:]))
    magnitude = 0.5 + rng.permuted(np.tile(np.arange(size) / size, (shape[0], 1)), axis=1)
    return (magnitude * rng.choice([-1, 1], magnitude.shape)).reshape(shape)


def edges_for_torch(layer: Any, shape: tuple[int, ...]) -> list[int]:
    """[before, after] of the last axis first, as F.pad takes them; from the definition."""
    found = []
    for axis in range(layer.axes):
        size, stride = (
            v if isinstance(v, int) else v[axis]
            for v in (layer.pool_size, layer.strides or layer.pool_size)
        )
        if layer.padding == "valid":
            pair = [0, 0]
        elif layer.padding == "same":  # TensorFlow's: as many windows as strides begin
            total = max((-(-shape[axis] // stride) - 1) * stride + size - shape[axis], 0)
            pair = [total // 2, total - total // 2]
        else:
            pair = list(layer.padding[axis])
        found = pair + found
    return found


def torch_max(layer: Any) -> Callable[..., Any]:
    pool = {1: "max_pool1d", 2: "max_pool2d"}[layer.axes]

    def function(p, x):
        padded = F.pad(
            x.movedim(-1, 1), edges_for_torch(layer, tuple(x.shape[1:])), value=-torch.inf
        )
        return getattr(F, pool)(padded, layer.pool_size, layer.strides).movedim(1, -1)

    return function


def torch_mean(layer: Any) -> Callable[..., Any]:
    """The sum over the window divided by that over ones: PyTorch pads evenly only."""
    pool = {1: "avg_pool1d", 2: "avg_pool2d"}[layer.axes]

    def function(p, x):
        around = edges_for_torch(layer, tuple(x.shape[1:]))
        sums, cells = (
            getattr(F, pool)(F.pad(v.movedim(-1, 1), around), layer.pool_size, layer.strides)
            for v in (x, torch.ones_like(x))
        )
        return (sums / cells).movedim(1, -1)

    return function


MAX = [
    *((layer, SIGNALS) for layer in (
        nn.MaxPool1D(), nn.MaxPool1D(3, 1, "same"), nn.MaxPool1D(2, strides=3),
        nn.MaxPool1D(4, strides=2, padding=(1, 3)),
    )),
    *((layer, IMAGES) for layer in (
        nn.MaxPool2D(3, 1), nn.MaxPool2D(3, 2, "same"), nn.MaxPool2D((1, 2)),
        nn.MaxPool2D((3, 2), (1, 3), "same"), nn.MaxPool2D(2, 3), nn.MaxPool2D(1),
        nn.MaxPool2D(3, 2, 1), nn.MaxPool2D((2, 3), 2, ((0, 1), (2, 1))),
    )),
    (nn.MaxPool2D(), ALL_IMAGES),
    (nn.MaxPool2D(9, 1, "same"), ((2, 3, 2),)),  # larger than the image
    (nn.MaxPool2D((17, 16)), ((18, 33, 2),)),  # more cells than a byte counts
]  # fmt: skip

MEAN = [
    *((layer, SIGNALS) for layer in (
        nn.AvgPool1D(), nn.AvgPool1D(3, 1, "same"), nn.AvgPool1D(2, strides=3),
        nn.AvgPool1D(4, strides=2, padding=(1, 3)),
    )),
    *((layer, IMAGES) for layer in (
        nn.AvgPool2D(3, 1), nn.AvgPool2D(3, 2, "same"), nn.AvgPool2D((1, 2)),
        nn.AvgPool2D((3, 2), (1, 3), "same"), nn.AvgPool2D(2, 3), nn.AvgPool2D(3, 2, 1),
        nn.AvgPool2D((2, 3), 2, ((0, 1), (2, 1))),
    )),
    (nn.AvgPool2D(), ALL_IMAGES),
    (nn.AvgPool2D(9, 1, "same"), ((2, 3, 2),)),
]  # fmt: skip


def upsampling(mode: str, factors: Any) -> Callable[..., Any]:
    options = {} if mode == "nearest" else {"align_corners": False}
    return channels_second(lambda x: F.interpolate(x, scale_factor=factors, mode=mode, **options))


IMAGE_LAYERS = [
    *(LayerCase(layer, shapes, torch_max(layer), numbers=apart) for layer, shapes in MAX),
    *(LayerCase(layer, shapes, torch_mean(layer)) for layer, shapes in MEAN),
    LayerCase(nn.GlobalMaxPool1D(), SIGNALS, lambda p, x: x.amax(1), numbers=apart),
    LayerCase(
        nn.GlobalMaxPool2D(), (*ALL_IMAGES, (1, 1, 5)), lambda p, x: x.amax((1, 2)), numbers=apart
    ),
    LayerCase(nn.GlobalAvgPool1D(), (*SIGNALS, (301, 2)), lambda p, x: x.mean(1)),
    LayerCase(nn.GlobalAvgPool2D(), (*ALL_IMAGES, (1, 1, 5)), lambda p, x: x.mean((1, 2))),
    LayerCase(nn.ZeroPadding1D(), SIGNALS, channels_second(lambda x: F.pad(x, (1, 1)))),
    LayerCase(nn.ZeroPadding1D((0, 2)), SIGNALS, channels_second(lambda x: F.pad(x, (0, 2)))),
    LayerCase(nn.ZeroPadding2D((1, 2)), IMAGES, channels_second(lambda x: F.pad(x, (2, 2, 1, 1)))),
    LayerCase(
        nn.ZeroPadding2D(((0, 3), (2, 1))),
        IMAGES,
        channels_second(lambda x: F.pad(x, (2, 1, 0, 3))),
    ),
    LayerCase(nn.Cropping1D((0, 2)), SIGNALS, lambda p, x: x[:, :-2]),
    LayerCase(nn.Cropping2D(), IMAGES, lambda p, x: x[:, 1:-1, 1:-1]),
    LayerCase(nn.Cropping2D(((3, 0), (0, 1))), IMAGES, lambda p, x: x[:, 3:, :-1]),
    LayerCase(nn.UpSampling1D(), SIGNALS, upsampling("nearest", 2)),
    LayerCase(nn.UpSampling1D(3), SIGNALS, upsampling("nearest", 3)),
    *(
        LayerCase(
            nn.UpSampling2D(factors, mode),
            (*IMAGES, (8, 6, 1), (1, 2, 2)),
            upsampling(mode, factors),
        )
        for mode in ("nearest", "bilinear")
        for factors in (2, (3, 1), (1, 4))
    ),
    *(
        LayerCase(
            nn.LayerNormalization(epsilon),
            ((5,), (6, 3), (2, 3, 17), (1, 33), (130,)),
            lambda p, x, e=epsilon: F.layer_norm(x, x.shape[-1:], p["weight"], p["bias"], e),
        )
        for epsilon in (1e-3, 0.5)
    ),
    LayerCase(nn.LayerNormalization(), ((1,),)),  # both libraries' dx is rounding
]
