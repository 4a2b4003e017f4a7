"""Layers that normalize their input."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from nncore import initializers
from nncore._kernels import batch_normalization as batch
from nncore._kernels.normalization import LayerNorm
from nncore._names import real, settle
from nncore.layers.base import Layer, layer

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.building import Building


@layer
class BatchNormalization(Layer):
    """y = (x - mean) / sqrt(var + epsilon) * weight + bias, each channel by itself.

    x (..., channels). In training mean and (biased) variance are those of the batch, over all its
    rows and positions, whatever the number of threads; ``running_mean`` and ``running_var``
    follow: r = momentum * r + (1 - momentum) * batch. In inference they take the batch's place.
    Parameters: ``weight`` (ones) and ``bias`` (zeros), (channels,). (Ioffe, Szegedy 2015)

    A training batch of one value to a channel (one row, one pixel) is its own mean and has variance
    0: y = bias, there is no gradient for x and ``weight``, and ``running_var`` moves towards 0.
    Everything stays finite, as in Keras; PyTorch refuses such a batch. ValueError for a momentum
    outside [0, 1) or an epsilon that is not above 0; when built, for an input without an axis.

    >>> import nncore as nn
    >>> model = nn.Sequential([nn.Input((2,)), nn.BatchNormalization()])
    >>> model.forward([[1.0, 5.0], [3.0, 9.0]], training=True).round(2).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    >>> model.buffers["0.running_mean"]
    array([0.02, 0.07], dtype=float32)
    """

    momentum: float = 0.99
    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        real("BatchNormalization", "momentum", self.momentum, "[0, 1)")
        real("BatchNormalization", "epsilon", self.epsilon, "(0, inf)")

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        (x,) = plan.expect(self, inputs, count=1, least_axes=1)
        shape = (x.shape[-1],)
        zeros, ones = initializers.get("zeros"), initializers.get("ones")
        weight, bias = plan.parameter("weight", shape, ones), plan.parameter("bias", shape, zeros)
        mean = plan.buffer("running_mean", shape, zeros)
        var = plan.buffer("running_var", shape, ones)
        y, epsilon = plan.tensor(x.shape), plan.above_zero(self.epsilon)
        if plan.training:
            sums = plan.workspace((batch.PIECES_OF_SUMS, 2, *shape), itemsize=8)
            found = plan.workspace(shape), plan.workspace(shape)
            plan.add(
                batch.BatchNormalization(
                    x, weight, bias, mean, var, y, sums, *found, epsilon, self.momentum
                )
            )
        else:
            plan.add(batch.RunningNormalization(x, weight, bias, mean, var, y, epsilon))
        return y


@layer
class LayerNormalization(Layer):
    """Normalizes each vector along the last axis by its own mean and (biased) variance:
    y = (x - mean) / sqrt(variance + epsilon) * weight + bias (Ba, Kiros & Hinton 2016).

    x (..., channels); parameters: ``weight`` (channels,), ones, and ``bias`` (channels,), zeros.
    The same in training and inference, and for every batch. ValueError for an epsilon that is not
    above 0; when built, for an input without an axis.

    >>> import numpy as np, nncore as nn
    >>> y = nn.Sequential([nn.Input((4,)), nn.LayerNormalization()])([[1.0, 2.0, 3.0, 4.0]])
    >>> np.round(y, 2).tolist() == np.float32([[-1.34, -0.45, 0.45, 1.34]]).tolist()
    True
    """

    knows_steps: ClassVar[bool] = True

    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        epsilon = real("LayerNormalization", "epsilon", self.epsilon, "(0, inf)")
        settle(self, epsilon=epsilon)

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        (x,) = plan.expect(self, inputs, count=1, least_axes=1)
        channels = x.shape[-1:]
        weight = plan.parameter("weight", channels, initializers.get("ones"))
        bias = plan.parameter("bias", channels, initializers.get("zeros"))
        moments = plan.tensor((x.size // channels[0], 3)) if plan.training else None
        y = plan.tensor(x.shape)
        plan.add(LayerNorm(x, weight, bias, moments, y, plan.above_zero(self.epsilon)))
        return y
