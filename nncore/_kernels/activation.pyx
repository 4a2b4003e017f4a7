"""Activations y = sigma(x). The formulas, each beside its derivative, are in simd/activation.h."""
from libc.string cimport strcmp
from nncore._kernels.op cimport Op, Run, Tensor, adds, share
from nncore._kernels.simd cimport ACTIVATION_USES_X, f32, f64, isize


def names():
    """All activations, in the order of simd/activation.h."""
    found = []
    cdef int i = 0
    while f32.activations[i].label != NULL:
        found.append(f32.activations[i].label.decode())
        i += 1
    return found


cdef class Activation(Op):
    """y = sigma(x), elementwise or over the last axis (softmax, log_softmax)."""

    def __init__(self, str name, Tensor x, Tensor y):
        cdef bytes label = name.encode()
        cdef int i = 0
        while strcmp(f32.activations[i].label, label) != 0:
            i += 1
        self.connect((x,), (y,))
        self.x, self.y, self.name = x, y, name
        self.sigma, self.sigma_double = &f32.activations[i], &f64.activations[i]
        self.uses_x = self.sigma.uses == ACTIVATION_USES_X
        self.n = x.shape[len(x.shape) - 1] if self.sigma.rowwise and x.shape else x.size
        self.positions = x.size // max(1, self.n)
        self.backward_reads_x, self.backward_reads_y = self.uses_x, not self.uses_x
        self.in_place = True
        self.work = 10.0 * x.size

    cdef void forward(self, Run *run) noexcept nogil:
        cdef isize begin, end, first, rows
        share(run.rows, 1, run, &begin, &end)
        first, rows = begin * self.x.size, (end - begin) * self.positions
        if self.is_double:
            self.sigma_double.forward(<double *> self.y.data + first,
                                      <const double *> self.x.data + first, rows, self.n)
        else:
            self.sigma.forward(<float *> self.y.data + first,
                               <const float *> self.x.data + first, rows, self.n)

    cdef void backward(self, Run *run) noexcept nogil:
        cdef isize begin, end, first, rows
        cdef char *xy = self.x.data if self.uses_x else self.y.data
        if self.x.grad == NULL:
            return
        share(run.rows, 1, run, &begin, &end)
        first, rows = begin * self.x.size, (end - begin) * self.positions
        if self.is_double:
            self.sigma_double.backward(<double *> self.x.grad + first,
                                       <const double *> self.y.grad + first,
                                       <const double *> xy + first, rows, self.n, adds(self, 0))
        else:
            self.sigma.backward(<float *> self.x.grad + first,
                                <const float *> self.y.grad + first,
                                <const float *> xy + first, rows, self.n, adds(self, 0))
