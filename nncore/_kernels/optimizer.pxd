from libc.stdint cimport int64_t
from nncore._kernels.simd cimport f32_rule, f64_rule, isize, optimizer_step


cdef class Update:
    cdef const f32_rule *rule
    cdef const f64_rule *rule_double
    cdef optimizer_step options  # what does not change from step to step
    cdef bint is_double
    cdef char *p                 # parameters, gradients, and this rule's state: vectors of n
    cdef char *g
    cdef char *state[2]
    cdef readonly int vectors
    cdef isize n
    cdef isize block             # sums of squares are formed over so many at a time
    cdef double *sums
    cdef object vectors_held     # the arrays behind the addresses
    cdef public double clipnorm  # 0: none
    cdef public int64_t step     # steps done

    cdef void apply(self, isize begin, isize end, double rate, double scale,
                    int64_t step) noexcept nogil
    cdef double squares(self, isize begin, isize end) noexcept nogil
