"""Layers and losses that a user writes in Python, with NumPy forward and backward.

These ops take the GIL, and a plan that has one runs on its caller's thread alone: slower, but
they work everywhere. An exception stops the run and reaches the caller.
"""
import numpy

from nncore._kernels.op cimport Op, Run, Tensor, adds
from nncore._kernels.threads cimport flush_denormals, restore_denormals


cdef class PythonOp(Op):
    """Calls the user's functions with views of the plan's memory.

    forward(*inputs) -> output; backward(dy, y, *inputs) -> one gradient for each input (None:
    zero). Arrays are views of the plan's memory, (rows, *shape), parameters without rows.
    """
    cdef object call_forward, call_backward, array
    cdef public object error

    def __init__(self, inputs, Tensor y, forward, backward, array):
        self.connect(inputs, (y,))
        self.call_forward, self.call_backward, self.array = forward, backward, array
        self.backward_reads_y = True
        self.holds_gil = True

    def arrays(self, Py_ssize_t rows, tensors=None):
        """The inputs' values, read-only: views, because a parameter's array is `model.params`'s."""
        views = [self.array(tensor, rows).view() for tensor in tensors or self.inputs]
        for view in views:
            view.flags.writeable = False
        return views

    def place(self):
        return f"layer {self.layer!r}"

    def assign(self, target, value, what):
        """target = value, whose shape must be the same."""
        if value is None:
            raise TypeError(f"{self.place()}: {what} returned None; expected an array of shape "
                            f"{target.shape}")
        value = numpy.asarray(value)
        if value.shape != target.shape:
            raise ValueError(f"{self.place()}: {what} returned an array of shape "
                             f"{value.shape}; expected {target.shape}")
        if value.dtype.kind not in "fiub":
            raise TypeError(f"{self.place()}: {what} returned an array of dtype "
                            f"{value.dtype}; expected real numbers")
        target[...] = value

    def run_forward(self, Py_ssize_t rows):
        (y,) = self.outputs
        self.assign(self.array(y, rows), self.call_forward(*self.arrays(rows)), "forward")

    def run_backward(self, Py_ssize_t rows):
        cdef int i
        (y,) = self.outputs
        result = self.call_backward(self.array(y, rows, grad=True), self.array(y, rows),
                                    *self.arrays(rows))
        if not isinstance(result, (tuple, list)):
            result = (result,)
        if len(result) != len(self.inputs):
            raise ValueError(f"{self.place()}: backward returned {len(result)} gradients; "
                             f"expected {len(self.inputs)}, one for each input and parameter")
        for i, tensor in enumerate(self.inputs):
            if (<Tensor> tensor).grad == NULL:
                continue
            grad = self.array(tensor, rows, grad=True)
            value = numpy.zeros_like(grad) if result[i] is None else result[i]
            self.assign(grad, grad + value if adds(self, i) else value, "backward")

    cdef void forward(self, Run *run) noexcept nogil:
        if run.bad:  # what was computed so far is of no use: do not call the user with it
            return
        restore_denormals(run.denormals)  # the user's NumPy is none of a plan's business
        with gil:
            self.error = None
            try:
                self.run_forward(run.rows)
            except BaseException as error:
                self.error = error
                run.bad = self.number
        flush_denormals()

    cdef void backward(self, Run *run) noexcept nogil:
        if run.bad:
            return
        restore_denormals(run.denormals)
        with gil:
            try:
                self.run_backward(run.rows)
            except BaseException as error:
                self.error = error
                run.bad = self.number
        flush_denormals()


cdef class PythonLoss(PythonOp):
    """The mean over rows of weight times forward(y_true, y_pred), one loss a row.

    backward(y_true, y_pred) is its gradient with respect to y_pred, row by row.
    """
    cdef double mean

    def __init__(self, Tensor x, Tensor target, Tensor weight, forward, backward, array):
        if weight is not None and weight.size != 1:
            raise ValueError(
                "a loss written in Python takes one weight for each row; expected no sample_weight "
                "for each step, and for an output of sequences no lengths=")
        self.connect((x,), (), [t for t in (target, weight) if t is not None])
        self.call_forward, self.call_backward, self.array = forward, backward, array
        self.holds_gil = True

    def place(self):
        return self.layer

    def weighted(self, value, Py_ssize_t rows):
        if len(self.saved) == 1:
            return value
        weight = self.array(self.saved[1], rows).reshape((rows,) + (1,) * (value.ndim - 1))
        return value * weight

    def run_forward(self, Py_ssize_t rows):
        x, target = self.arrays(rows, (self.inputs[0], self.saved[0]))
        losses = numpy.empty(rows, x.dtype)
        self.assign(losses, self.call_forward(target, x), "forward")
        self.mean = float(self.weighted(losses, rows).mean())

    def run_backward(self, Py_ssize_t rows):
        x, target = self.arrays(rows, (self.inputs[0], self.saved[0]))
        grad = self.array(self.inputs[0], rows, grad=True)
        value = numpy.empty_like(grad)
        self.assign(value, self.call_backward(target, x), "backward")
        value = self.weighted(value, rows) / rows
        grad[...] = grad + value if adds(self, 0) else value

    cdef double loss(self, Py_ssize_t rows) noexcept nogil:
        return self.mean
