"""Which instruction set the hot loops run on: the best, or the one NNCORE_ISA names."""
import os

cdef extern from "simd/simd.h" nogil:
    simd_tables simd_select(const char *isa)


def select(isa=None):
    """Takes the tables of ``isa`` (None: the best that this CPU runs) and returns its name."""
    global f32, f64, near, far
    cdef bytes name
    cdef simd_tables tables
    if isa is None:
        tables = simd_select(NULL)
    else:
        name = isa.encode()
        tables = simd_select(name)
    if tables.f32 == NULL:
        raise ValueError(f"NNCORE_ISA: received {isa!r}; expected baseline, or avx2 or avx512 "
                         "on a processor that has them")
    f32, f64, near, far = tables.f32, tables.f64, tables.near, tables.far
    return f32.isa.decode()


def current():
    return f32.isa.decode()


def read_rows(order=None):
    """Dense layers read their matrix for one row in this order (0: ROWS_TOGETHER of simd.h, ...),
    whatever its size, for tests; None: in the one that is the fastest on this CPU."""
    global near, far
    cdef simd_tables tables = simd_select(f32.isa)
    near, far = (tables.near, tables.far) if order is None else (order, order)


select(os.environ.get("NNCORE_ISA") or None)


cdef int vector_bytes() noexcept nogil:
    return f32.vector_bytes
