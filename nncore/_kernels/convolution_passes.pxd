# The passes of a convolution: see convolution_passes.pyx.
from nncore._kernels.simd cimport conv_pass, isize

cdef void set_blocks(conv_pass *p, isize most, isize least) noexcept nogil
cdef isize units(const conv_pass *p) noexcept nogil
cdef void down_pass(conv_pass *p) noexcept nogil
cdef void up_pass(conv_pass *p, const conv_pass *down, isize row, isize column) noexcept nogil
cdef isize tiles(const conv_pass *p) noexcept nogil
cdef bint winograd_can(const conv_pass *down) noexcept nogil
cdef bint winograd_is_faster(const conv_pass *down, isize rows) noexcept nogil
