"""Fusion: an op does itself what follows it, or comes before it, while the numbers are at hand.

In a plan that does not train, normalization by running statistics disappears in a convolution's
weights, and products and convolutions apply an addition and an activation to a piece of their
output while it is in a cache. Training keeps these apart: their backward passes need what lies in
between. In every plan, the maximum of windows takes the relu before it in: max(relu(x)) is
relu(max(x)).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncore._kernels.finishing import Finishing
from nncore._kernels.pooling import MaxPool
from nncore.planner import root

if TYPE_CHECKING:
    from nncore._kernels.op import Op, Tensor


def fuse(ops: list[Op], outputs: list[Tensor], training: bool) -> None:
    """Takes out of ``ops`` those that a neighbour can do; ``outputs`` must stay visible."""
    readers: dict[Tensor, list[Op | None]] = {root(y): [None] for y in outputs}
    for op in ops:
        for x in {*op.inputs, *op.saved}:
            readers.setdefault(root(x), []).append(op)
    if not training:
        _finish(ops, readers)
    for op in list(ops):
        if isinstance(op, MaxPool):
            (x,) = op.inputs
            if x.producer and op.takes(x.producer) and readers[root(x)] == [op]:
                ops.remove(x.producer)
                op.take(x.producer)


def _finish(ops: list[Op], readers: dict[Tensor, list[Op | None]]) -> None:
    """Products and convolutions take what follows them."""
    known: set[Tensor] = set()
    for op in list(ops):
        while isinstance(op, Finishing):
            (y,) = op.outputs
            found = readers.get(root(y), [])
            follower = found[0] if len(found) == 1 else None
            if follower is None or y not in follower.inputs or not op.takes(follower):
                break
            if not all(x is y or x.parameter or root(x) in known for x in follower.inputs):
                break  # what is added comes later
            op.take(follower)
            ops.remove(follower)
        known.update(root(y) for y in op.outputs)
