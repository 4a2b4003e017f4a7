"""Residual connections: paths around layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nncore._kernels.merging import Add
from nncore._names import received
from nncore.layers.base import Layer, layer
from nncore.layers.core import check_activation
from nncore.layers.windows import channels_first_hint

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.building import Building


@layer
class Residual(Layer):
    """y = activation(body(x) + shortcut(x)): what the body adds to its input.

    body: a layer or a list of them; shortcut: the same, None for the identity. Both must give one
    shape. Post-activation (He et al. 2015) is ``activation="relu"``; for pre-activation (He et al.
    2016) begin the body with BatchNormalization and Activation. May be nested. The layers'
    parameters are named ``body.0.weight``, ``shortcut.0.weight``.

    ValueError, when built, where body and shortcut differ in shape: it says both.

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

    @property
    def goes_through_steps(self) -> bool:
        return any(layer.goes_through_steps for layer in (*self.body, *(self.shortcut or ())))

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        (x,) = plan.expect(self, inputs, count=1)
        a = _chain(plan, "body", self.body, x)
        b = _chain(plan, "shortcut", self.shortcut or (), x)
        if a.shape != b.shape:
            identity = "" if self.shortcut else " (the identity)"
            advice = _advice(a.shape, b.shape, not self.shortcut)
            raise ValueError(
                f"{plan.where(self)}: its body gives shape {a.shape} for an input of {x.shape}, "
                f"its shortcut{identity} {b.shape}; expected one shape: {advice}"
                f"{channels_first_hint(plan)}"
            )
        y = plan.tensor(a.shape)
        plan.add(Add(a, b, y))
        return plan.activation(check_activation("Residual", self.activation), y)


def _advice(a: tuple[int, ...], b: tuple[int, ...], identity: bool) -> str:
    """How body and shortcut come to one shape."""
    if len(a) not in (1, 2, 3) or len(a) != len(b):
        return "give shortcut= layers that bring x there"
    bring = {1: "Dense({})", 2: "Conv1D({}, 1)", 3: "Conv2D({}, 1)"}[len(a)].format(a[-1])
    if a[:-1] == b[:-1]:
        return f"give shortcut=nn.{bring}, or a body that ends with {b[-1]} channels"
    if identity and any(n > m for n, m in zip(a[:-1], b[:-1], strict=True)):
        return "give shortcut= layers that enlarge x, too, or a body that keeps its size"
    return (
        f"padding='same' in the body keeps the size; where it has strides give shortcut=nn.{bring} "
        "with the same strides"
    )


def _layers(what: str, value: Any) -> tuple[Layer, ...]:
    found = (value,) if isinstance(value, Layer) else value
    if not isinstance(found, (tuple, list)) or not found:
        identity = ", None for the identity" if what == "shortcut" else ""
        raise TypeError(
            f"Residual: received {what} {received(value)}; expected a layer or a list of layers"
            f"{identity}"
        )
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


def _chain(plan: Building, what: str, layers: tuple[Layer, ...], x: Tensor) -> Tensor:
    for i, item in enumerate(layers):
        x = plan.call(item, f"{what}.{item.name or i}", x)
    return x
