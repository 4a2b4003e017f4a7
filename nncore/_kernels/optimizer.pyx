"""Optimizer steps: one pass over the flat vectors of parameters, gradients and state.

The rules stand in simd/optimizer.h; here they meet their vectors and hyper-parameters.
"""
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.math cimport NAN
from libc.string cimport strcmp
from nncore._kernels.arrays cimport array_data
from nncore._kernels.simd cimport f32, f64


cdef class Update:
    """One rule over n parameters p with gradient g and ``vectors`` state vectors.

    rule: its name in simd/optimizer.h; options: its hyper-parameters.
    """

    def __init__(self, str rule not None, *, double clipnorm=0, double weight_decay=0,
                 double momentum=0, bint nesterov=False, double beta_1=0, double beta_2=0,
                 double rho=0, double epsilon=0):
        cdef bytes label = rule.encode()
        cdef int i = 0
        while f32.rules[i].label != NULL and strcmp(f32.rules[i].label, label) != 0:
            i += 1
        if f32.rules[i].label == NULL:
            raise ValueError(f"received the rule {rule!r}, which simd/optimizer.h does not have")
        self.rule, self.rule_double = &f32.rules[i], &f64.rules[i]
        self.vectors = self.rule.vectors + (momentum > 0)
        self.clipnorm = clipnorm
        self.options = optimizer_step(
            rate=0, scale=1, weight_decay=weight_decay, momentum=momentum, beta_1=beta_1,
            beta_2=beta_2, rho=rho, epsilon=epsilon, nesterov=nesterov, step=0)

    def __dealloc__(self):
        PyMem_Free(self.sums)

    def bind(self, p, g, states):
        """Tells which vectors to work on: flat arrays of one length and type, ``states`` (vectors,
        n); they are kept alive."""
        cdef isize n = p.size
        cdef double *sums
        self.vectors_held = (p, g, states)
        self.p, self.g, self.n, self.is_double = array_data(p), array_data(g), n, p.itemsize == 8
        # Blocks of some cache lines: enough of them to share out, few enough to add up.
        self.block = max(512, n // 512 // 16 * 16)
        sums = <double *> PyMem_Realloc(self.sums, (n // self.block + 1) * sizeof(double))
        if sums == NULL:
            raise MemoryError()
        self.sums = sums
        for i, state in enumerate(states):
            self.state[i] = array_data(state)

    cdef void apply(self, isize begin, isize end, double rate, double scale,
                    int64_t step) noexcept nogil:
        """The rule over begin..end."""
        cdef optimizer_step options = self.options
        options.rate, options.scale, options.step = rate, scale, step
        if self.is_double:
            self.rule_double.apply(<double *> self.p + begin, <const double *> self.g + begin,
                                   <double *> self.state[0] + begin,
                                   <double *> self.state[1] + begin, end - begin, &options)
        else:
            self.rule.apply(<float *> self.p + begin, <const float *> self.g + begin,
                            <float *> self.state[0] + begin, <float *> self.state[1] + begin,
                            end - begin, &options)

    cdef double squares(self, isize begin, isize end) noexcept nogil:
        """Sum of g^2 over begin..end; without clipping only whether it is finite matters."""
        if self.is_double:
            if self.clipnorm == 0:
                return 0.0 if f64.all_finite(<double *> self.g + begin, end - begin) else NAN
            return f64.sum_squares(<double *> self.g + begin, NULL, end - begin)
        if self.clipnorm == 0:
            return 0.0 if f32.all_finite(<float *> self.g + begin, end - begin) else NAN
        return f32.sum_squares(<float *> self.g + begin, NULL, end - begin)
