"""Runs every layer of cases.py with its memory between pages that nobody may touch: reading or
writing beyond what it was given ends the process. Prints each case before it runs.

python tests/bounds.py {before,after} MEMBERS ROWS: on which side memory lies close to such a page.
"""

import ctypes
import faulthandler
import mmap
import sys

import numpy as np

import nncore as nn
from case_kinds import several
from cases import LAYERS
from nncore._kernels import threads
from support import one_or_list

PAGE = mmap.PAGESIZE
mprotect = ctypes.CDLL(None, use_errno=True).mprotect
mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def guarded(size: int, before: bool) -> np.ndarray:
    """So many zero bytes on a cache line, as near to the page before or after as that allows."""
    body = (size + PAGE - 1) // PAGE * PAGE
    block = np.frombuffer(mmap.mmap(-1, body + 2 * PAGE), np.uint8)
    start = block.__array_interface__["data"][0]
    for page in (start, start + PAGE + body):
        assert mprotect(page, PAGE, 0) == 0
    first = PAGE if before else PAGE + body - (size + 63) // 64 * 64
    return block[first : first + size]


def placed(x: np.ndarray, before: bool) -> np.ndarray:
    """The same numbers, as an array of the user's: after it, not even a cache line is free."""
    x = x.astype(np.float32)
    block = guarded((x.nbytes + 63) // 64 * 64, before)
    block = block[: x.nbytes] if before else block[block.size - x.nbytes :]
    block.view(np.float32)[...] = x.ravel()
    return block.view(np.float32).reshape(x.shape)


def main(side: str, members: int, rows: int) -> None:
    before = side == "before"
    nn.parameters.aligned_zeros = nn.plan.aligned_zeros = lambda size: guarded(size, before)
    threads.configure(members, members, True)
    rng = np.random.default_rng(0)
    for case in LAYERS:
        for shape in case.shapes:
            print(case.layer.describe(), shape, flush=True)
            x = one_or_list([placed(x, before) for x in case.draw(rng, rows, shape)])
            inputs = [nn.Input(s) for s in several(shape)]
            model = nn.Model(inputs, case.layer(one_or_list(inputs)), seed=0)
            model(x)
            y = model.forward(x)
            if not case.integers:
                model.backward([np.ones_like(v) for v in y] if isinstance(y, list) else y)


if __name__ == "__main__":
    faulthandler.enable()
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
