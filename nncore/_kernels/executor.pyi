# What runs a plan's ops: see executor.pyx.
from typing import Any, Self

from typing_extensions import disjoint_base

from nncore._kernels.weights import Changes

@disjoint_base
class Executor:
    key: int
    capacity: int
    most_members: int
    uses_blas: bool
    alone: bool
    work: float
    divided: float
    loss: float
    bad: int

    def __new__(cls, *args: Any, **options: Any) -> Self: ...
    def set_ops(
        self,
        forward: list[Any],
        backward: list[Any],
        forward_sections: list[tuple[int, bool, int, bool]],
        backward_sections: list[tuple[int, bool, int, bool]],
        changes: Changes,
    ) -> None: ...
    def set_memory(
        self, capacity: int, most_members: int, scratch: int, scratch_size: int
    ) -> None: ...
    def set_update(self, update: Any) -> None: ...
