# How arrays enter a plan: see gather.pyx.
from typing import Any

import numpy as np
from typing_extensions import disjoint_base

from nncore._kernels.op import Op, Tensor

@disjoint_base
class Gather(Op):
    x: Tensor
    rows: int
    direct: bool
    strict: bool
    check: bool
    copy: bool

    def __init__(self, x: Tensor, strict: bool = True, check: bool = True) -> None: ...
    def settle(self, aliases: list[Tensor]) -> None: ...
    def read(self, array: Any, order: np.ndarray | None = None) -> bool: ...
    def release(self) -> None: ...

def all_finite(array: np.ndarray, dtype: np.dtype) -> bool: ...
