"""Fusion: in a plan that does not train, a product or convolution does itself what follows it.

Normalization by running statistics disappears in a convolution's weights; an addition and an
activation are applied to a piece of the output while it is in a cache. Training keeps the ops
apart: their backward passes need what lies in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncore._kernels.finishing import Finishing
from nncore.planner import root

if TYPE_CHECKING:
    from nncore._kernels.op import Op, Tensor


def fuse(ops: list[Op], outputs: list[Tensor]) -> None:
    """Takes out of ``ops`` those that the one before can do; ``outputs`` must stay visible."""
    readers: dict[Tensor, list[Op | None]] = {root(y): [None] for y in outputs}
    for op in ops:
        for x in {*op.inputs, *op.saved}:
            readers.setdefault(root(x), []).append(op)
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
