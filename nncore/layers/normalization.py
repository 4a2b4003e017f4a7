"""Normalization layers: numbers brought to mean 0 and variance 1, then scaled anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncore import initializers
from nncore._kernels.normalization import LayerNorm
from nncore._names import real, settle
from nncore.layers.base import Layer, layer

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.plan import Plan


@layer
class LayerNormalization(Layer):
    """Normalizes each vector along the last axis by its own mean and (biased) variance:
    y = (x - mean) / sqrt(variance + epsilon) * weight + bias (Ba, Kiros & Hinton 2016).

    x (..., channels); parameters: ``weight`` (channels,), ones, and ``bias`` (channels,), zeros.
    The same in training and inference, and for every batch. ValueError for an epsilon that is not
    above 0; when built, for an input without an axis.

    >>> import nncore as nn
    >>> y = nn.Sequential([nn.Input((4,)), nn.LayerNormalization()])([[1.0, 2.0, 3.0, 4.0]])
    >>> np.round(y, 2).tolist() == np.float32([[-1.34, -0.45, 0.45, 1.34]]).tolist()
    True
    """

    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        epsilon = real("LayerNormalization", "epsilon", self.epsilon, "(0, inf)")
        settle(self, epsilon=epsilon)

    def build(self, plan: Plan, *inputs: Tensor) -> Tensor:
        (x,) = plan.expect(self, inputs, count=1, least_axes=1)
        channels = x.shape[-1:]
        weight = plan.parameter("weight", channels, initializers.get("ones"))
        bias = plan.parameter("bias", channels, initializers.get("zeros"))
        moments = plan.tensor((x.size // channels[0], 3)) if plan.training else None
        y = plan.tensor(x.shape)
        plan.add(LayerNorm(x, weight, bias, moments, y, self.epsilon))
        return y
