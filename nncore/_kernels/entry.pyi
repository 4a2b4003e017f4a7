# The compiled face of Model: see entry.pyx.
from typing import Any, Self

import numpy as np
from typing_extensions import disjoint_base

@disjoint_base
class Entry:
    trainer: Any
    optimizer: Any
    training: bool
    _passes: int

    def __new__(cls, *args: Any, **options: Any) -> Self: ...
    def borrow(self, size: int) -> Any: ...
    def give_back(self, size: int, plan: Any) -> None: ...
    def begin_training(self) -> None: ...
    def __call__(self, x: Any) -> Any: ...
    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
    ) -> float: ...
    def gradients(
        self, x: Any, y: Any, sample_weight: Any = None
    ) -> tuple[float, dict[str, np.ndarray]]: ...
