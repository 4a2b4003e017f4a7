# What a plan is made of: see op.pyx. C code derives its ops from op.pxd.
from collections.abc import Sequence
from typing import Any, Self

from typing_extensions import disjoint_base

@disjoint_base
class Tensor:
    shape: tuple[int, ...]
    size: int
    itemsize: int
    parameter: str | None
    has_rows: bool
    producer: Any
    base: Tensor | None
    wants_grad: bool

    def __new__(
        cls,
        shape: tuple[int, ...],
        itemsize: int,
        parameter: str | None = None,
        base: Tensor | None = None,
        has_rows: bool = True,
    ) -> Self: ...
    def bind(self, data: int, grad: int) -> None: ...
    @property
    def addresses(self) -> tuple[int, int]: ...

@disjoint_base
class Op:
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    saved: tuple[Tensor, ...]
    kept: tuple[Tensor, ...]
    is_double: bool
    add: int
    layer: str
    number: int
    forward_by_rows: bool
    backward_by_rows: bool
    backward_reads_x: bool
    backward_reads_y: bool
    in_place: bool
    undivided: bool
    dealt: bool
    holds_gil: bool
    uses_blas: bool
    commits: bool
    prepares: bool
    work: float
    scratch_size: int
    steps: int

    def __new__(cls, *args: Any, **options: Any) -> Self: ...
    def connect(
        self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], saved: Sequence[Tensor] = ()
    ) -> None: ...
