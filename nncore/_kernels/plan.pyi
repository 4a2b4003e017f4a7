# The compiled half of a plan: see plan.pyx.
from typing import Any, Self

import numpy as np
from typing_extensions import disjoint_base

from nncore._kernels.op import Op
from nncore._kernels.weights import Changes

@disjoint_base
class Loop:
    predictions: list[Any]
    key: int
    prepared: int
    capacity: int
    most_members: int
    uses_blas: bool
    alone: bool
    work: float
    loss: float
    bad: int

    def __new__(cls, *args: Any, **options: Any) -> Self: ...
    def set_ops(
        self,
        forward: list[Any],
        backward: list[Any],
        forward_sections: list[tuple[int, bool, int]],
        backward_sections: list[tuple[int, bool, int]],
        changes: Changes,
    ) -> None: ...
    def set_memory(
        self, capacity: int, most_members: int, scratch: int, scratch_size: int
    ) -> None: ...
    def set_output(self, aliases: list[Any], shape: tuple[int, ...]) -> None: ...
    def set_update(self, update: Any) -> None: ...
    def execute(
        self, phases: int, first: int, rows: int, rate: float = 0.0, step: int = 0
    ) -> int: ...
    def execute_one(self, op: Op, backward: bool) -> float: ...
    def train(
        self,
        first: int,
        end: int,
        batch: int,
        rates: np.ndarray,
        step: int,
        seconds: float,
        predictions: list[np.ndarray] | None = None,
    ) -> tuple[int, float, int, int]: ...
    def infer(self, x: Any) -> np.ndarray | None: ...
    def commit(self) -> None: ...
    @property
    def batch_rows(self) -> int: ...
    @property
    def backward_list(self) -> list[Op]: ...

@disjoint_base
class Taker: ...
