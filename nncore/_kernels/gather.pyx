"""Gather: brings a batch's rows from the user's array into the plan.

Rows of any real number type, in sequence or in a shuffled order, become the plan's float32 or
float64. An array that has that type already and is read in sequence is not copied: the plan reads
it where it is. The array is never written to.
"""
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport (int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t,
                          uint64_t)
from libc.string cimport memcpy
import numpy

from nncore._kernels.arrays cimport (DOUBLE, FLOAT, INT8, INT16, INT32, INT64, UINT8, UINT16,
                                     UINT32, Array, look, look_at_vector)
from nncore._kernels.op cimport Op, Run, Tensor, share
from nncore._kernels.simd cimport f32, f64, isize, real

cdef enum:
    AT_ONCE = 1 << 16  # numbers of an array that NumPy looks at together

cdef double BEYOND_FLOAT = 3.4028235677973366e38  # 2^128 - 2^103: rounds to infinity, less does not

ctypedef fused number:
    float
    double
    int8_t
    int16_t
    int32_t
    int64_t
    uint8_t
    uint16_t
    uint32_t
    uint64_t

cdef void convert(real *y, const number *x, isize n) noexcept nogil:
    cdef isize i
    if real is number:
        memcpy(y, x, n * sizeof(real))
    else:
        for i in range(n):
            y[i] = <real> x[i]


cdef void convert_any(real *y, const char *x, int kind, isize n) noexcept nogil:
    if kind == FLOAT:
        convert(y, <const float *> x, n)
    elif kind == DOUBLE:
        convert(y, <const double *> x, n)
    elif kind == INT8:
        convert(y, <const int8_t *> x, n)
    elif kind == INT16:
        convert(y, <const int16_t *> x, n)
    elif kind == INT32:
        convert(y, <const int32_t *> x, n)
    elif kind == INT64:
        convert(y, <const int64_t *> x, n)
    elif kind == UINT8:
        convert(y, <const uint8_t *> x, n)
    elif kind == UINT16:
        convert(y, <const uint16_t *> x, n)
    elif kind == UINT32:
        convert(y, <const uint32_t *> x, n)
    else:
        convert(y, <const uint64_t *> x, n)


cdef bint same_shape(int axes, const Py_ssize_t *lengths, tuple shape, bint strict) noexcept:
    """Whether rows have this shape; if not strict, axes of length one at the end may differ."""
    cdef int i, n = <int> len(shape)
    if not strict:
        while axes > 1 and lengths[axes - 1] == 1:
            axes -= 1
        while n > 0 and <Py_ssize_t> shape[n - 1] == 1:
            n -= 1
    if axes != 1 + n:
        return False
    for i in range(1, axes):
        if lengths[i] != <Py_ssize_t> shape[i - 1]:
            return False
    return True


cdef bint finite(const real *x, isize n) noexcept nogil:
    if real is float:
        return f32.all_finite(x, n)
    else:
        return f64.all_finite(x, n)


cdef class Gather(Op):
    """x (rows, *shape) = the rows of an array that `read` names.

    ``strict``: the array has x's shape exactly; else axes of length one at the end may differ.
    ``check``: NaN and infinity are refused.
    """

    def __init__(self, Tensor x, bint strict=True, bint check=True):
        self.connect((), (x,))
        self.x = x
        self.strict, self.check = strict, check
        self.backward_reads_x = False

    def settle(self, list aliases):
        """Called when memory is planned: the tensors that lie in x's memory, x among them."""
        cdef void **places
        self.aliases = aliases
        self.home = self.x.data
        self.aliases_count = <int> len(aliases)
        places = <void **> PyMem_Realloc(self.alias, len(aliases) * sizeof(void *))
        if places == NULL:
            raise MemoryError()
        self.alias = places
        for i, tensor in enumerate(aliases):
            self.alias[i] = <void *> tensor

    def __dealloc__(self):
        PyMem_Free(self.alias)

    cdef bint open(self, object array) except -1:
        """Takes an ndarray if its rows can be read as they are; False, not an error, if not."""
        cdef Array found
        return look(array, &found) and self.take(array, &found)

    cdef bint take(self, object array, const Array *found) except -1:
        """`open` for an array that was looked at."""
        self.close()
        if not same_shape(found.axes, found.shape, self.x.shape, self.strict):
            return False
        self.owner, self.data, self.kind = array, found.data, found.kind
        self.rows, self.row_bytes = found.shape[0], found.row_bytes
        # A single row is cheaper copied to where vectors begin than read across cache lines.
        self.direct = (not self.copy and found.kind == (DOUBLE if self.is_double else FLOAT)
                       and (self.rows > 1 or <size_t> self.data % 64 == 0))
        return True

    cdef void close(self) noexcept:
        self.owner = self.order_owner = None
        self.data, self.order, self.rows = NULL, NULL, 0

    def read(self, array, order=None):
        """Reads this array from now on, its rows in this order, a vector of intp; returns whether
        it can."""
        cdef Array found
        cdef const Py_ssize_t *rows
        cdef Py_ssize_t i
        if order is not None:
            look_at_vector(order, INT64 if sizeof(Py_ssize_t) == 8 else INT32, &found)
        if not self.open(array):
            return False
        if order is not None:
            rows = <const Py_ssize_t *> found.data
            for i in range(found.shape[0]):
                if not 0 <= rows[i] < self.rows:
                    self.close()
                    raise IndexError(f"row {rows[i]} of an array of {len(array)} rows")
            self.order_owner, self.order, self.rows = order, rows, found.shape[0]
            self.direct = False
        return True

    def release(self):
        self.close()

    cdef void locate(self, Py_ssize_t first) noexcept nogil:
        """Before a batch: what is not copied is read where the array has it."""
        cdef int i
        cdef char *data = self.home
        if self.direct:
            data = self.data + first * self.row_bytes
        for i in range(self.aliases_count):
            (<Tensor> self.alias[i]).data = data

    cdef void forward(self, Run *run) noexcept nogil:
        if self.is_double:
            gather[double](self, run, NULL)
        else:
            gather[float](self, run, NULL)


cdef void gather(Gather op, Run *run, real *_) noexcept nogil:
    cdef isize begin, end, row, r, n = op.x.size
    cdef isize bytes = op.row_bytes
    share(run.rows, 1, run, &begin, &end)
    cdef real *x = <real *> op.x.data
    if not op.direct:
        if op.order == NULL:
            convert_any(x + begin * n, op.data + (run.first + begin) * bytes,
                        op.kind, (end - begin) * n)
        else:
            for r in range(begin, end):
                row = op.order[run.first + r]
                convert_any(x + r * n, op.data + row * bytes, op.kind, n)
    if op.check and not finite(x + begin * n, (end - begin) * n):
        run.bad = run.bad or op.number


cdef bint fits_float(const double *x, isize n) noexcept nogil:
    """Whether x becomes neither NaN nor infinity as float."""
    cdef isize i
    cdef isize beyond = 0
    for i in range(n):
        beyond += not (-BEYOND_FLOAT < x[i] < BEYOND_FLOAT)
    return beyond == 0


def all_finite(array, dtype):
    """Whether an array of numbers has neither NaN nor infinity, nor what is infinite as float32 or
    float64, the ``dtype``."""
    cdef Array found
    cdef bint is_double = dtype == numpy.float64
    if array.dtype.kind != "f":
        return True
    if look(array, &found) and found.kind == FLOAT:
        return bool(f32.all_finite(<const float *> found.data, array.size))
    if look(array, &found) and found.kind == DOUBLE:
        return bool(f64.all_finite(<const double *> found.data, array.size) if is_double
                    else fits_float(<const double *> found.data, array.size))
    rows = numpy.atleast_1d(array)
    step = max(1, AT_ONCE * len(rows) // max(1, rows.size))  # it takes memory
    with numpy.errstate(over="ignore"):
        return all(bool(numpy.isfinite(rows[i:i + step].astype(dtype)).all())
                   for i in range(0, len(rows), step))
