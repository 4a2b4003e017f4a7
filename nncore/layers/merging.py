"""Layers that merge several tensors: sum, product, concatenation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from nncore._kernels import merging as kernels
from nncore._names import integer
from nncore.layers.base import Layer, layer

if TYPE_CHECKING:
    from nncore._kernels.op import Tensor
    from nncore.building import Building


def _merge_alike(layer: Layer, op: type, plan: Building, inputs: tuple[Tensor, ...]) -> Tensor:
    """Merges tensors of one shape, two by two."""
    plan.expect(layer, inputs, least_count=2)
    if len({x.shape for x in inputs}) > 1:
        shapes = ", ".join(str(x.shape) for x in inputs)
        raise ValueError(f"{plan.where(layer)}: received shapes {shapes}; expected one shape")
    y = inputs[0]
    for x in inputs[1:]:
        merged = plan.tensor(x.shape)
        plan.add(op(y, x, merged))
        y = merged
    return y


@layer
class Add(Layer):
    """y = x_1 + x_2 + ..., tensors of one shape.

    ValueError, when built, for fewer than two tensors or for unequal shapes.

    >>> import nncore as nn
    >>> a, b = nn.Input((2,)), nn.Input((2,))
    >>> nn.Model([a, b], nn.Add()([a, b]))([[[1.0, 2.0]], [[3.0, 4.0]]]).tolist()
    [[4.0, 6.0]]
    """

    knows_steps: ClassVar[bool] = True

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        return _merge_alike(self, kernels.Add, plan, inputs)


@layer
class Multiply(Layer):
    """y = x_1 x_2 ..., number by number, tensors of one shape.

    ValueError, when built, for fewer than two tensors or for unequal shapes.

    >>> import nncore as nn
    >>> a, b = nn.Input((2,)), nn.Input((2,))
    >>> nn.Model([a, b], nn.Multiply()([a, b]))([[[1.0, 2.0]], [[3.0, 4.0]]]).tolist()
    [[3.0, 8.0]]
    """

    knows_steps: ClassVar[bool] = True

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        return _merge_alike(self, kernels.Multiply, plan, inputs)


@layer
class Concatenate(Layer):
    """Joins tensors along an axis; the others must agree. ``axis`` counts the batch as 0, so
    the first axis of an example is 1, the last is -1.

    ValueError, when built, for an axis there is not, fewer than two tensors, or shapes that
    differ on another axis.

    >>> import nncore as nn
    >>> a, b = nn.Input((2,)), nn.Input((1,))
    >>> nn.Model([a, b], nn.Concatenate()([a, b]))([[[1.0, 2.0]], [[3.0]]]).tolist()
    [[1.0, 2.0, 3.0]]
    """

    knows_steps: ClassVar[bool] = True

    axis: int = -1

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", integer("Concatenate", "axis", self.axis))

    def build(self, plan: Building, *inputs: Tensor) -> Tensor:
        plan.expect(self, inputs, least_count=2, least_axes=1)
        axes = len(inputs[0].shape)
        axis = self.axis + axes if self.axis < 0 else self.axis - 1
        shapes = [x.shape for x in inputs]
        if not 0 <= axis < axes:
            raise ValueError(
                f"{plan.where(self)}: received axis {self.axis} for inputs of shape {shapes[0]}; "
                f"expected 1 to {axes} or -{axes} to -1 (the batch is axis 0)"
            )
        if any(
            len(s) != axes or s[:axis] + s[axis + 1 :] != shapes[0][:axis] + shapes[0][axis + 1 :]
            for s in shapes
        ):
            raise ValueError(
                f"{plan.where(self)}: received shapes {', '.join(map(str, shapes))}; expected "
                f"shapes that agree on all axes but axis {self.axis} (the batch is axis 0)"
            )
        y = inputs[0]
        for x in inputs[1:]:
            length = y.shape[axis] + x.shape[axis]
            joined = plan.tensor((*y.shape[:axis], length, *y.shape[axis + 1 :]))
            plan.add(kernels.Concatenate(y, x, joined, axis))
            y = joined
        return y
