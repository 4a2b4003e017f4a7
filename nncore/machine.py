"""What the machine offers: processors, instruction set, threads."""

from __future__ import annotations

import os
import sys

from nncore._kernels import simd, threads
from nncore._names import lookup, positive_int


def processors() -> int:
    """How many processors this process may really use: affinity and a container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = count or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        if quota != "max":
            count = min(count, max(1, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        pass
    return count


def set_num_threads(n: int) -> None:
    """How many threads a plan may use at most, for all models of this process.

    More than there are processors do no harm, and no good: a plan takes as many as there are.
    ValueError for n < 1, TypeError for what is no integer.
    """
    asked = min(positive_int("set_num_threads", "n", n), 1 << 20)
    threads.configure(asked, processors())


def get_num_threads() -> int:
    """What `set_num_threads` was told, or else NNCORE_NUM_THREADS, or else the processors; at
    most 256."""
    return threads.threads()


def set_convolution_precision(precision: str) -> None:
    """How exact 3x3 convolutions with stride 1 must be in float32, in plans that are built from
    now on.

    "fast", the default: by Winograd's F(4x4,3x3) where that is faster, which takes a quarter of
    the multiplications and is about 2 to 3 times as fast. Its largest error, relative to the
    largest of all results, is about 2e-6 for 16 to 256 channels and 4e-6 for 700 (where a sum of
    products has 0.5e-6 to 3e-6). All of a tile of 4 x 4 results share their errors. So what would
    be exactly 0, as over a black background, may come out a little above, and relu then passes its
    gradient; and one NaN, or one number far larger than its neighbours, tells on a whole tile.

    "exact": as sums of products, as always in float64. Source of the method: Lavin and Gray, "Fast
    Algorithms for Convolutional Neural Networks", 2015.

    >>> import nncore as nn
    >>> nn.set_convolution_precision("exact")
    >>> nn.set_convolution_precision("fast")
    """
    from nncore._kernels import convolution_choice

    convolution_choice.set_exact(
        lookup("convolution precision", precision, {"fast": False, "exact": True})
    )


def show_config() -> None:
    """Prints versions, instruction set, BLAS and threads: what a bug report should have."""
    import numpy
    import scipy

    import nncore
    from nncore._kernels import blas

    blas.load()
    pools = ", ".join(
        f"{pool.internal_api} {pool.version} ({pool.num_threads} threads)" for pool in blas.pools()
    )
    lines = {
        "nncore": nncore.__version__,
        "python": sys.version.split()[0],
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "instruction set": simd.current(),
        "BLAS": pools or "of scipy",
        "threads": f"{get_num_threads()} asked for, {processors()} processors",
    }
    for name, value in lines.items():
        print(f"{name:<16}{value}")


def get_include() -> str:
    """The folder that ``nncore/_kernels/*.pxd`` and headers are included from, to cimport or
    include them in other packages' builds."""
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _start() -> None:
    asked = os.environ.get("NNCORE_NUM_THREADS", "").strip()
    if not asked:  # or empty, as other libraries take it
        threads.configure(processors(), processors())
        return
    if not asked.isdecimal() or int(asked) < 1:
        raise ValueError(f"NNCORE_NUM_THREADS: received {asked!r}; expected a positive integer")
    set_num_threads(int(asked))


_start()
