# What a plan made of the weights still holds: see weights.pyx.
from typing import Any, Self

import numpy as np
from typing_extensions import disjoint_base

@disjoint_base
class Memory:
    def __new__(cls, array: np.ndarray) -> Self: ...

@disjoint_base
class Weights:
    def __init__(self, *views: dict[str, np.ndarray]) -> None: ...
    def lend(self, which: int) -> Any: ...
    def change(self) -> None: ...
