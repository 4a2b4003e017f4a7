"""Convolutions for the one list of tests/cases.py: options, shapes, and PyTorch's equivalent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nncore as nn

try:
    import torch.nn.functional as F
except ImportError:  # then no `torch` column is called
    F = None


def windows(layer: Any, axes: int) -> list[tuple[int, ...]]:
    """Sizes, strides and dilations of a layer, each along each axis."""
    given = layer.kernel_size, layer.strides, layer.dilation_rate
    return [v if isinstance(v, tuple) else (v,) * axes for v in given]


def torch_convolution(layer: Any) -> Callable[..., Any]:
    """A convolution by PyTorch, whose images are (N, C, H, W); it pads only evenly."""
    axes = 1 if isinstance(layer, nn.Conv1D) else 2
    sizes, strides, dilations = windows(layer, axes)

    def forward(p, x):
        pads = []
        for i in range(axes):
            n, extent = x.shape[i + 1], (sizes[i] - 1) * dilations[i] + 1
            total = max((-(-n // strides[i]) - 1) * strides[i] + extent - n, 0)
            ways = {"valid": (0, 0), "same": (total // 2, total - total // 2)}
            pads = [*(ways[layer.padding] if layer.padding in ways else layer.padding[i]), *pads]
        x = F.pad(x.movedim(-1, 1), pads)
        groups = getattr(layer, "groups", x.shape[1])
        convolve = F.conv1d if axes == 1 else F.conv2d
        weight = p["weight"].movedim(-1, 1)
        y = convolve(x, weight, p.get("bias"), strides, 0, dilations, groups)
        return y.movedim(1, -1)

    return forward


def torch_transposed(layer: nn.Conv2DTranspose) -> Callable[..., Any]:
    """PyTorch's whole transposed convolution, cut or extended to the layer's size."""

    def forward(p, x):
        _, strides, dilations = windows(layer, 2)
        weight = p["weight"].movedim(-1, 1)
        y = F.conv_transpose2d(
            x.movedim(-1, 1), weight, None, strides, 0, 0, layer.groups, dilations
        )
        for i in (0, 1):
            full, n = y.shape[2 + i], x.shape[1 + i]
            if layer.padding == "same":
                size = n * strides[i]
                before = max(full - size, 0) // 2
            else:
                before, after = (0, 0) if layer.padding == "valid" else layer.padding[i]
                size = full - before - after + layer.output_padding
            y = F.pad(y, [0, 0] * (1 - i) + [-before, size - full + before])
        return y.movedim(1, -1) + p.get("bias", 0)

    return forward


# Each option of a convolution, on shapes that are odd, not square, of one row; widths beside and
# beyond a vector.
PLAIN = [
    (nn.Conv2D(3, 3), ((5, 7, 2), (3, 3, 1), (9, 12, 5))),
    (nn.Conv2D(17, 3, padding="same"), ((6, 9, 4), (1, 1, 2), (4, 2, 18))),
    (nn.Conv2D(4, 3, padding=1), ((5, 2, 32),)),
    (nn.Conv2D(33, 3, padding="same", use_bias=False), ((8, 13, 16),)),
    (nn.Conv2D(4, 1), ((3, 5, 6), (1, 1, 1), (7, 1, 33))),
    (nn.Conv2D(5, 1, strides=2), ((4, 7, 3),)),
    (nn.Conv2D(6, 5, padding=2), ((7, 5, 3), (14, 15, 1))),
    (nn.Conv2D(3, 7, padding="same"), ((5, 8, 2), (10, 9, 3))),
    (nn.Conv2D(4, (2, 3), strides=(2, 1), padding="same"), ((7, 6, 3), (8, 7, 9))),
    (nn.Conv2D(5, 3, strides=2, padding="same"), ((7, 8, 3), (8, 7, 8), (1, 2, 2))),
    (nn.Conv2D(5, 3, strides=3, padding=((2, 0), (1, 4))), ((7, 8, 3), (16, 17, 4))),
    (nn.Conv2D(2, 2, strides=3), ((5, 9, 4),)),  # pixels that no window sees
    (nn.Conv2D(4, 3, padding=5), ((3, 4, 2),)),  # windows that see nothing
    (nn.Conv2D(3, 3, dilation_rate=2), ((7, 9, 2), (5, 5, 9))),
    (nn.Conv2D(3, (3, 2), 2, (1, 2), (1, 3)), ((8, 9, 3),)),
    (nn.Conv2D(4, 2, strides=4, padding="same", dilation_rate=6), ((9, 11, 3),)),
    (nn.Conv2D(6, 3, padding="same", groups=2), ((5, 6, 4), (4, 9, 34))),
    (nn.Conv2D(6, 3, strides=2, padding=1, dilation_rate=2, groups=3), ((7, 8, 3), (7, 8, 6))),
    (nn.Conv2D(4, 1, groups=2), ((3, 4, 6),)),
    (nn.Conv2D(5, 3, padding="same", activation="tanh"), ((4, 5, 3),)),
    (nn.Conv1D(4, 3), ((7, 2), (3, 1), (40, 19))),
    (nn.Conv1D(18, 5, strides=2, padding="same", activation="gelu"), ((11, 3), (1, 1))),
    (nn.Conv1D(4, 3, padding=(4, 0), dilation_rate=2), ((9, 3),)),  # causal
    (nn.Conv1D(6, 1, groups=3), ((5, 6),)),
    (nn.DepthwiseConv2D(3, padding="same"), ((5, 6, 3), (9, 12, 17), (4, 4, 1))),
    (nn.DepthwiseConv2D(3, strides=2, padding="same"), ((7, 8, 5), (8, 7, 33))),
    (nn.DepthwiseConv2D((5, 2), (1, 3), 2, 3), ((6, 9, 2), (6, 9, 11))),
    (nn.DepthwiseConv2D(2, dilation_rate=3, use_bias=False, activation="tanh"), ((5, 7, 4),)),
    (nn.DepthwiseConv2D(7, padding=3), ((5, 9, 18),)),
]
TRANSPOSED = [
    (nn.Conv2DTranspose(3, 3), ((4, 5, 2), (1, 1, 1), (3, 9, 17))),
    (nn.Conv2DTranspose(18, 3, 2, "same"), ((3, 4, 5),)),
    (nn.Conv2DTranspose(3, 2, 2, use_bias=False), ((4, 3, 4), (2, 7, 20))),
    (nn.Conv2DTranspose(4, (4, 3), 2, 1, 1), ((3, 5, 3),)),
    (nn.Conv2DTranspose(2, 1, 3, "same"), ((2, 4, 3),)),  # pixels that get only the bias
    (nn.Conv2DTranspose(4, 3, (3, 2), ((1, 0), (2, 1)), 1, (2, 3), 2), ((3, 4, 6),)),
    (nn.Conv2DTranspose(5, 1), ((3, 4, 6),)),
    (nn.Conv2DTranspose(6, 3, padding="same", groups=6), ((4, 5, 6),)),
]

BODY = [nn.Conv2D(5, 3, 2, "same", activation="tanh"), nn.Conv2D(4, 3, padding="same")]
WAY = nn.Conv2D(4, 1, 2, use_bias=False)


def torch_residual(p, x):
    """BODY and WAY, before the activation."""
    a, b, way = (
        {key.removeprefix(place): value for key, value in p.items() if key.startswith(place)}
        for place in ("body.0.", "body.1.", "shortcut.0.")
    )
    y = torch_convolution(BODY[1])(b, torch_convolution(BODY[0])(a, x).tanh())
    return y + torch_convolution(WAY)(way, x)


# (layer, shapes, what PyTorch calls it, without the activation)
CONVOLUTIONS = [
    *((layer, shapes, torch_convolution(layer)) for layer, shapes in PLAIN),
    *((layer, shapes, torch_transposed(layer)) for layer, shapes in TRANSPOSED),
    (nn.Residual(BODY, WAY, "silu"), ((7, 8, 3), (1, 1, 2)), torch_residual),
]
