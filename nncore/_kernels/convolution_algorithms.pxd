# The algorithms of convolution.pyx on units of work of a pass: see convolution_algorithms.pyx.
from nncore._kernels.simd cimport conv_pass, finish, isize, real

cdef enum Algorithm:
    PLAIN
    PRODUCT
    DIRECT
    PATCHES
    DEPTHWISE
    GROUPED
    WINOGRAD

cdef void sizes(Algorithm algorithm, const conv_pass *p, bint is_double, isize *packed,
                isize *scratch) noexcept nogil
cdef void pack(Algorithm algorithm, const conv_pass *p, real *packed,
               const real *weight) noexcept nogil
cdef void run_units(Algorithm algorithm, const conv_pass *p, real *y, const real *x,
                    const real *packed, const real *bias, isize begin, isize end, bint add,
                    const finish *f, void *scratch) noexcept nogil
cdef void run_plain(const conv_pass *p, real *y, const real *x, const real *weight,
                    const real *bias, isize begin, isize end, bint add,
                    const finish *f) noexcept nogil
cdef void run_tiles(const conv_pass *p, real *y, const real *x, const real *weight,
                    const real *kept, const real *bias, isize first, isize last, isize begin,
                    isize end, bint add, const finish *f, void *scratch) noexcept nogil
cdef void weight_units(Algorithm algorithm, const conv_pass *p, real *sums, const real *map,
                       const real *image, isize begin, isize end, void *scratch) noexcept nogil
