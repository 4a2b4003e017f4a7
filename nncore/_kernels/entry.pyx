"""The calls that must cost next to nothing: model(x), train_on_batch(x, y), gradients(x, y).

For plain arrays and plans that exist already they go straight to the compiled loop; everything
else (other types, shapes, several inputs, errors, first calls) goes to `nncore.model`.
"""
from libc.math cimport INFINITY
import numpy

from libc.string cimport memcpy
from nncore._kernels.gather cimport Gather, array_bytes, array_data
from nncore._kernels.plan cimport BACKWARD, FORWARD, UPDATE, Loop

cdef enum:
    NOT_SIMPLE = -1

cdef object empty = numpy.empty


cdef dict copies(object views):
    """The same names, each with an array of its own."""
    cdef dict found = {}
    for name, view in views.items():
        array = empty(view.shape, view.dtype)
        memcpy(array_data(array), array_data(view), array_bytes(view))
        found[name] = array
    return found


cdef class Entry:
    """The base of Model: its plans that are ready to run."""
    cdef public list idle             # inference plans by the bit length of their capacity
    cdef public Loop trainer          # the plan of a training step, once there is one
    cdef public object optimizer
    cdef public bint training         # a thread is training this model
    cdef public unsigned long long _passes   # training passes so far: the random generator's step

    def __cinit__(self, *args, **options):
        self.idle = [[] for _ in range(64)]

    def begin_training(self):
        """Marks the model as in training; RuntimeError if another thread trains it."""
        if self.training:
            raise RuntimeError(
                "this model is being trained by another thread (or by the fit that this is called "
                "from): train copies, or one after the other")
        self.training = True

    def __call__(self, x):
        """The network's output for inputs x, in a fresh array: inference, lowest overhead.

        x: (rows, *input shape), or a list of such for several inputs; NaN passes through.
        Works before `compile`, from many threads at once.
        """
        cdef list plans
        cdef Py_ssize_t rows
        cdef int size = 0
        try:
            rows = len(x) - 1
        except TypeError:
            return self._infer(x)
        while rows > 0:
            rows >>= 1
            size += 1
        plans = <list> self.idle[size]
        if not plans:
            return self._infer(x)
        plan = plans.pop()
        try:
            y = (<Loop> plan).infer(x)
        finally:
            plans.append(plan)
        return self._infer(x) if y is None else y

    cdef int step(self, x, y, int phases, object rate) except -2:
        """Runs a training step on plain arrays; NOT_SIMPLE where it takes the long way."""
        cdef Loop plan = self.trainer
        cdef Gather inputs, targets
        cdef Py_ssize_t rows
        cdef int status = NOT_SIMPLE
        if plan is None or self.training or plan.feed_count != 2 or type(rate) is not float:
            return NOT_SIMPLE
        if not 0 <= <double> rate < INFINITY or (phases & UPDATE and plan.update is None):
            return NOT_SIMPLE
        self.training = True
        inputs, targets = <Gather> plan.feeds[0], <Gather> plan.feeds[1]
        try:
            rows = inputs.rows if inputs.open(x) and targets.open(y) else 0
            if 0 < rows <= plan.capacity and rows == targets.rows:
                status = plan.execute(phases, 0, rows, rate, self._passes)
                if status == 0:
                    self._passes += 1
        finally:
            inputs.close()
            targets.close()
            self.training = False
        return status

    def train_on_batch(self, x, y, sample_weight=None, class_weight=None):
        """One training step on the batch (x, y); returns its loss, a float.

        x: (rows, *input shape); y: targets as in `fit`. Raises NonFiniteError, and changes
        nothing, where loss or gradient is not finite.
        """
        if sample_weight is None and class_weight is None and self.trainer is not None:
            rate = self.optimizer.learning_rate
            if self.step(x, y, FORWARD | BACKWARD | UPDATE, rate) == 0:
                return self.trainer.loss
        return self._train_on_batch(x, y, sample_weight, class_weight)

    def gradients(self, x, y, sample_weight=None):
        """The loss and its gradients on the batch (x, y), in training mode: (float, dict).

        The dict has an array of its own for each parameter, in the order of ``params``.
        ``grads`` has the same values until the next pass.
        """
        if sample_weight is None and self.step(x, y, FORWARD | BACKWARD, 0.0) == 0:
            loss = self.trainer.loss
        else:
            loss = self._gradients(x, y, sample_weight)
        return loss, copies(self._parameters.gradient_views)
