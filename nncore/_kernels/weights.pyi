# What a plan made of the weights still holds: see weights.pyx.
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from typing_extensions import disjoint_base

@disjoint_base
class Memory:
    def __new__(cls, array: np.ndarray) -> Self: ...

@disjoint_base
class Changes:
    def __init__(
        self, views: Sequence[dict[str, np.ndarray]], memories: Sequence[Memory]
    ) -> None: ...
    def lend(self, which: int) -> Any: ...
    def peek(self, which: int) -> Any: ...
    def change(self) -> None: ...
