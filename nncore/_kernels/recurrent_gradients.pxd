from nncore._kernels.op cimport Run
from nncore._kernels.recurrence cimport Recurrence, Shard
from nncore._kernels.simd cimport real

cdef void input_gradient(Recurrence op, Run *run, Shard *s, real *_) noexcept nogil
cdef void weight_gradients(Recurrence op, Run *run, int count, real *_) noexcept nogil
