# The compiled half of a plan: see plan.pyx.
from typing import Any, Self

import numpy as np
from typing_extensions import disjoint_base

from nncore._kernels.executor import Executor
from nncore._kernels.op import Op

PHASES: tuple[int, int, int]

@disjoint_base
class Loop(Executor):
    predictions: list[Any]
    prepared: int

    def __new__(cls, *args: Any, **options: Any) -> Self: ...
    def set_output(self, aliases: list[Any], shape: tuple[int, ...]) -> None: ...
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
        answers: Any,
        step: int,
        seconds: float,
        sums: np.ndarray,
        predictions: list[np.ndarray] | None = None,
    ) -> tuple[int, int, int]: ...
    def add_losses(self, answers: np.ndarray, sums: np.ndarray) -> None: ...
    def infer(self, x: Any) -> np.ndarray | None: ...
    def commit(self) -> None: ...
    @property
    def batch_rows(self) -> int: ...
    @property
    def backward_list(self) -> list[Op]: ...

@disjoint_base
class Taker: ...
