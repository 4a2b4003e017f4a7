from nncore._kernels.arrays cimport Array
from nncore._kernels.executor cimport Executor


cdef class Loop(Executor):
    cdef public unsigned long long prepared  # for this state of the weights; 0: for none
    cdef object output_owner
    cdef void **outputs          # Tensor: all that lie in the output's memory
    cdef int output_count        # 0: not a plan for `infer`
    cdef char *output_home       # in the arena; `infer` puts the output elsewhere
    cdef tuple output_shape
    cdef bint output_is_double
    cdef public list predictions  # what the losses made of the outputs: probabilities

    cdef int run_released(self, int phases, Py_ssize_t first, Py_ssize_t rows, char *output)
    cdef int run_stretches(self, int phases, Py_ssize_t first, Py_ssize_t rows,
                           char *output) noexcept nogil
    cdef int look_at_sums(self, answers, sums, Py_ssize_t steps, const double **counts,
                          double **summed) except -1
    cdef void put_output(self, char *output) noexcept nogil
    cdef object infer_array(self, object x, const Array *found)
