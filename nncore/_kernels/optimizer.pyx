"""Optimizer steps: one pass over the flat vectors of parameters, gradients and state.

The rules stand in simd/optimizer.h; here they meet their hyper-parameters.
"""
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from nncore._kernels.arrays cimport array_data
from nncore._kernels.simd cimport f32, f64


cdef class Update:
    """One rule over n parameters p with gradient g and ``vectors`` state vectors."""

    def __init__(self, *, double weight_decay=0.0, double clipnorm=0.0, **options):
        self.weight_decay, self.clipnorm = weight_decay, clipnorm
        self.set_options(**options)

    def __dealloc__(self):
        PyMem_Free(self.sums)

    def set_options(self):
        pass

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
        pass

    cdef double squares(self, isize begin, isize end) noexcept nogil:
        """Sum of g^2 over begin..end; without clipping only whether it is finite matters."""
        if self.is_double:
            if self.clipnorm == 0:
                return 0.0 if f64.all_finite(<double *> self.g + begin, end - begin) else NAN
            return f64.sum_squares(<double *> self.g + begin, NULL, end - begin)
        if self.clipnorm == 0:
            return 0.0 if f32.all_finite(<float *> self.g + begin, end - begin) else NAN
        return f32.sum_squares(<float *> self.g + begin, NULL, end - begin)


cdef double NAN = float("nan")


cdef class SGD(Update):
    cdef double momentum
    cdef bint nesterov

    def set_options(self, double momentum, bint nesterov):
        self.momentum, self.nesterov = momentum, nesterov
        self.vectors = 1 if momentum else 0

    cdef void apply(self, isize begin, isize end, double rate, double scale,
                    int64_t step) noexcept nogil:
        if self.is_double:
            f64.sgd(<double *> self.p + begin, <double *> self.g + begin,
                    <double *> self.state[0] + begin, end - begin, rate, scale,
                    self.weight_decay, self.momentum, self.nesterov, step == 1)
        else:
            f32.sgd(<float *> self.p + begin, <float *> self.g + begin,
                    <float *> self.state[0] + begin, end - begin, rate, scale,
                    self.weight_decay, self.momentum, self.nesterov, step == 1)


cdef class Adam(Update):
    cdef double beta_1, beta_2, epsilon
    cdef bint decoupled

    def set_options(self, double beta_1, double beta_2, double epsilon, bint decoupled):
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.decoupled = decoupled
        self.vectors = 2

    cdef void apply(self, isize begin, isize end, double rate, double scale,
                    int64_t step) noexcept nogil:
        if self.is_double:
            f64.adam(<double *> self.p + begin, <double *> self.g + begin,
                     <double *> self.state[0] + begin, <double *> self.state[1] + begin,
                     end - begin, rate, scale, self.weight_decay, self.decoupled, self.beta_1,
                     self.beta_2, self.epsilon, step)
        else:
            f32.adam(<float *> self.p + begin, <float *> self.g + begin,
                     <float *> self.state[0] + begin, <float *> self.state[1] + begin,
                     end - begin, rate, scale, self.weight_decay, self.decoupled, self.beta_1,
                     self.beta_2, self.epsilon, step)


cdef class RMSprop(Update):
    cdef double rho, epsilon, momentum

    def set_options(self, double rho, double epsilon, double momentum):
        self.rho, self.epsilon, self.momentum = rho, epsilon, momentum
        self.vectors = 2 if momentum else 1

    cdef void apply(self, isize begin, isize end, double rate, double scale,
                    int64_t step) noexcept nogil:
        if self.is_double:
            f64.rmsprop(<double *> self.p + begin, <double *> self.g + begin,
                        <double *> self.state[0] + begin, <double *> self.state[1] + begin,
                        end - begin, rate, scale, self.weight_decay, self.rho, self.epsilon,
                        self.momentum)
        else:
            f32.rmsprop(<float *> self.p + begin, <float *> self.g + begin,
                        <float *> self.state[0] + begin, <float *> self.state[1] + begin,
                        end - begin, rate, scale, self.weight_decay, self.rho, self.epsilon,
                        self.momentum)


cdef class Adagrad(Update):
    cdef double epsilon

    def set_options(self, double epsilon):
        self.epsilon = epsilon
        self.vectors = 1

    cdef void apply(self, isize begin, isize end, double rate, double scale,
                    int64_t step) noexcept nogil:
        if self.is_double:
            f64.adagrad(<double *> self.p + begin, <double *> self.g + begin,
                        <double *> self.state[0] + begin, end - begin, rate, scale,
                        self.weight_decay, self.epsilon)
        else:
            f32.adagrad(<float *> self.p + begin, <float *> self.g + begin,
                        <float *> self.state[0] + begin, end - begin, rate, scale,
                        self.weight_decay, self.epsilon)
