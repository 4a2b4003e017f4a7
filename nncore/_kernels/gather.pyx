"""Gather: brings a batch's rows from the user's array into the plan.

Rows of any real number type, in sequence or in a shuffled order, become the plan's float32 or
float64. An array that has that type already and is read in sequence is not copied: the plan reads
it where it is. The array is never written to.
"""
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport (int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t,
                          uint64_t)
from libc.string cimport memcpy
import numpy

from nncore._kernels.op cimport Op, Run, Tensor, share
from nncore._kernels.simd cimport f32, f64, isize, real

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

cdef enum:  # kinds of numbers
    FLOAT, DOUBLE, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64


cdef int kind_of(Py_buffer *view) noexcept:
    """The kind of the buffer's numbers, -1 for those that NumPy must convert first."""
    cdef const char *format = view.format
    if format == NULL or format[0] == 0:
        return -1
    if format[0] == c"@" or format[0] == c"=":
        format += 1
    if format[1] != 0:
        return -1
    cdef char c = format[0]
    if c == c"f":
        return FLOAT
    if c == c"d":
        return DOUBLE
    if c == c"?":
        return UINT8
    if c == c"b" or c == c"h" or c == c"i" or c == c"l" or c == c"q":
        return {1: INT8, 2: INT16, 4: INT32, 8: INT64}[view.itemsize]
    if c == c"B" or c == c"H" or c == c"I" or c == c"L" or c == c"Q":
        return {1: UINT8, 2: UINT16, 4: UINT32, 8: UINT64}[view.itemsize]
    return -1


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


cdef bint same_shape(Py_buffer *view, tuple shape) noexcept:
    cdef int i
    if view.ndim != 1 + len(shape):
        return False
    for i in range(1, view.ndim):
        if view.shape[i] != <Py_ssize_t> shape[i - 1]:
            return False
    return True


cdef bint finite(const real *x, isize n) noexcept nogil:
    if real is float:
        return f32.all_finite(x, n)
    else:
        return f64.all_finite(x, n)


cdef class Gather(Op):
    """x (rows, *shape) = the rows of an array that `read` names.

    ``strict``: the array has x's shape exactly; else its rows need only have as many numbers.
    ``check``: NaN and infinity are refused.
    """

    def __init__(self, Tensor x, bint strict=True, bint check=True):
        self.connect((), (x,))
        self.x = x
        self.strict, self.check = strict, check
        self.backward_reads_x = False

    def settle(self, list aliases):
        """Called when memory is planned: the tensors that lie in x's memory, x among them."""
        self.aliases = aliases
        self.home = self.x.data
        self.aliases_count = <int> len(aliases)
        self.alias = <void **> PyMem_Realloc(self.alias, len(aliases) * sizeof(void *))
        for i, tensor in enumerate(aliases):
            self.alias[i] = <void *> tensor

    def __dealloc__(self):
        self.close()
        PyMem_Free(self.alias)

    cdef bint open(self, object array) except -1:
        """Takes the array if its rows can be read as they are; False, not an error, if not."""
        cdef Py_ssize_t size = 1
        cdef int i
        self.close()
        try:
            PyObject_GetBuffer(array, &self.view, PyBUF_ND | PyBUF_FORMAT)
        except (BufferError, ValueError, TypeError):
            return False
        self.reading = True
        self.kind = kind_of(&self.view)
        for i in range(1, self.view.ndim):
            size *= self.view.shape[i]
        if self.kind < 0 or self.view.ndim < 1 or size != self.x.size or (
                self.strict and not same_shape(&self.view, self.x.shape)):
            self.close()
            return False
        self.rows = self.view.shape[0]
        self.direct = not self.copy and self.kind == (DOUBLE if self.is_double else FLOAT)
        return True

    cdef void close(self) noexcept:
        if self.reading:
            PyBuffer_Release(&self.view)
            self.reading = False
        self.order_owner = None
        self.order = NULL
        self.rows = 0

    def read(self, array, const Py_ssize_t[::1] order=None):
        """Reads this array from now on, its rows in this order; returns whether it can."""
        cdef Py_ssize_t row
        if not self.open(array):
            return False
        if order is not None:
            for row in order:
                if not 0 <= row < self.rows:
                    raise IndexError(f"row {row} of an array of {self.rows} rows")
            self.order_owner = order
            self.order = &order[0] if order.shape[0] else NULL
            self.rows = order.shape[0]
            self.direct = False
        return True

    def release(self):
        self.close()

    cdef void locate(self, Py_ssize_t first) noexcept nogil:
        """Before a batch: what is not copied is read where the array has it."""
        cdef int i
        cdef char *data = self.home
        if self.direct:
            data = <char *> self.view.buf + first * self.x.size * self.view.itemsize
        for i in range(self.aliases_count):
            (<Tensor> self.alias[i]).data = data

    cdef void forward(self, Run *run) noexcept nogil:
        if self.is_double:
            gather[double](self, run, NULL)
        else:
            gather[float](self, run, NULL)


cdef void gather(Gather op, Run *run, real *_) noexcept nogil:
    cdef isize begin, end, row, r, n = op.x.size
    cdef isize bytes = n * op.view.itemsize
    share(run.rows, 1, run, &begin, &end)
    cdef real *x = <real *> op.x.data
    if not op.direct:
        if op.order == NULL:
            convert_any(x + begin * n, <const char *> op.view.buf + (run.first + begin) * bytes,
                        op.kind, (end - begin) * n)
        else:
            for r in range(begin, end):
                row = op.order[run.first + r]
                convert_any(x + r * n, <const char *> op.view.buf + row * bytes, op.kind, n)
    if op.check and not finite(x + begin * n, (end - begin) * n):
        run.bad = op.number


def all_finite(array):
    """Whether an array of numbers has neither NaN nor infinity."""
    cdef const float[::1] singles
    cdef const double[::1] doubles
    if array.dtype.kind != "f":
        return True
    if array.flags.c_contiguous and array.dtype.char == "f" and array.dtype.isnative:
        singles = array.reshape(-1)
        return bool(finite(&singles[0], singles.shape[0])) if singles.shape[0] else True
    if array.flags.c_contiguous and array.dtype.char == "d" and array.dtype.isnative:
        doubles = array.reshape(-1)
        return bool(finite(&doubles[0], doubles.shape[0])) if doubles.shape[0] else True
    return all(bool(numpy.isfinite(row).all()) for row in array)
