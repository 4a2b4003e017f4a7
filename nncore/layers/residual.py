"""Residual connections: paths around layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nncore._kernels.merging import Add
from nncore._names import received
from nncore.layers.base import Layer, layer
from nncore.layers.core import check_activation

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.plan import Plan


@layer
class Residual(Layer):
    """y = activation(body(x) + shortcut(x)): what the body adds to its input.

    body: a layer or a list of them; shortcut: the same, None for the identity. Both must give one
    shape. Post-activation (He et al. 2015) is ``activation="relu"``; for pre-activation (He et al.
    2016) begin the body with BatchNormalization and Activation. May be nested. The layers'
    parameters are named ``body.0.weight``, ``shortcut.0.weight``.

    >>> import nncore as nn
    >>> block = nn.Residual([nn.Dense(8, "relu"), nn.Dense(4)], activation="relu")
    >>> list(nn.Sequential([nn.Input((4,)), block]).params)
    ['0.body.0.weight', '0.body.0.bias', '0.body.1.weight', '0.body.1.bias']
    """

    knows_steps: ClassVar[bool] = True

    body: Any
    shortcut: Any = None
    activation: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "body", _layers("body", self.body))
        if self.shortcut is not None:
            object.__setattr__(self, "shortcut", _layers("shortcut", self.shortcut))
        check_activation("Residual", self.activation)

    def build(self, plan: Plan, *inputs: Tensor) -> Tensor:
        (x,) = plan.expect(self, inputs, count=1)
        a = _chain(plan, "body", self.body, x)
        b = _chain(plan, "shortcut", self.shortcut or (), x)
        if a.shape != b.shape:
            identity = "" if self.shortcut else " (the identity)"
            raise ValueError(
                f"{plan.where(self)}: its body gives shape {a.shape} for an input of {x.shape}, "
                f"its shortcut{identity} {b.shape}; expected one shape: give shortcut= layers that "
                "bring x there, such as a 1x1 convolution or Dense, with the body's strides"
            )
        y = plan.tensor(a.shape)
        plan.add(Add(a, b, y))
        return plan.activation(check_activation("Residual", self.activation), y)


def _layers(what: str, value: Any) -> tuple[Layer, ...]:
    found = (value,) if isinstance(value, Layer) else value
    if not isinstance(found, (tuple, list)) or not found:
        raise TypeError(f"Residual: received {what} {received(value)}; expected layers in a list")
    for item in found:
        if not isinstance(item, Layer):
            raise TypeError(f"Residual: received {received(item)} in {what}; expected a layer")
        if item.outputs != 1:
            raise ValueError(
                f"Residual: received {item.describe()}, which returns {item.outputs} values; "
                "expected layers that return one"
            )
    names = [item.name for item in found if item.name is not None]
    if len(set(names)) < len(names):
        raise ValueError(f"Residual: two layers of its {what} have one name among {names}")
    return tuple(found)


def _chain(plan: Plan, what: str, layers: tuple[Layer, ...], x: Tensor) -> Tensor:
    for i, item in enumerate(layers):
        x = plan.call(item, f"{what}.{item.name or i}", x)
    return x
