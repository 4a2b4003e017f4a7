# cython: embedsignature=True, embedsignature.format=clinic
"""The calls that must cost next to nothing: model(x), train_on_batch(x, y), gradients(x, y).

For plain arrays and plans that exist already they go straight to the compiled loop; everything
else (other types, shapes, several inputs, errors, first calls) goes to `nncore.training` and
`nncore.inference`.
"""
import os

from cpython.pythread cimport PyThread_get_thread_ident
from libc.math cimport INFINITY
from nncore._kernels.arrays cimport Array, copied, look
from nncore._kernels.executor cimport BACKWARD, FORWARD, UPDATE
from nncore._kernels.gather cimport Gather
from nncore._kernels.plan cimport Loop
from nncore._kernels.threads cimport most_members

cdef enum:
    NOT_SIMPLE = -1
    SIZES = 64

# A number for this process: a child of fork does not take part in what its parent was doing.
cdef long long process = 1


def _count_fork():
    global process
    process += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


cdef class Exclusive:
    """Marks a model as in training. Compiled, for there Ctrl-C is not heard: in Python it could be
    between the mark and the `try` that takes it back, and the model would stay in training."""
    cdef Entry model

    def __init__(self, Entry model not None):
        self.model = model

    def __enter__(self):
        """RuntimeError if another thread trains the model."""
        if self.model.in_training == process:
            raise RuntimeError(
                "this model is being trained by another thread (or by the fit that this is called "
                "from): train copies, or one after the other")
        self.model.in_training = process
        self.model.training_thread = PyThread_get_thread_ident()

    def __exit__(self, *_):
        self.model.in_training = 0


cdef class Entry:
    """The base of Model: its plans that are ready to run."""
    cdef list first, more             # idle inference plans by the bit length of their capacity
    cdef public Py_ssize_t stretch    # rows that one member takes at a time in inference
    cdef object parameters            # whose gradients these are, by name:
    cdef list gradient_items
    cdef public Loop trainer          # the plan of a training step, once there is one
    cdef readonly object optimizer
    cdef long long in_training        # in which process a thread trains this model, 0: none
    cdef size_t training_thread       # which one
    cdef public unsigned long long _passes   # training passes so far: the random generator's step

    def __cinit__(self, *args, **options):
        self.first, self.more = [None] * SIZES, [[] for _ in range(SIZES)]
        self.stretch = 1

    cdef int size(self, Py_ssize_t rows):
        cdef int size = 0
        if rows > self.stretch:
            rows = min(rows, self.stretch * most_members())
        while rows > <Py_ssize_t> 1 << size:
            size += 1
        return size

    cdef object take(self, int size):
        plan = self.first[size]
        if plan is not None:
            self.first[size] = None
            return plan
        return self.more[size].pop() if self.more[size] else None

    cdef void put(self, int size, object plan):
        if self.first[size] is None:
            self.first[size] = plan
        else:
            self.more[size].append(plan)

    def _size_for(self, Py_ssize_t rows):
        """Inference on so many rows goes through a plan for 2**size rows, at a time."""
        return self.size(rows)

    def _borrow(self, int size):
        """An inference plan for up to 2**size rows that no other thread runs, or None."""
        if not 0 <= size < SIZES:
            raise ValueError(f"a plan for 2**{size} rows")
        return self.take(size)

    def _give_back(self, int size, Loop plan not None):
        if not 0 <= size < SIZES:
            raise ValueError(f"a plan for 2**{size} rows")
        self.put(size, plan)

    def _exclusive(self):
        """`with` this, one thread at a time trains the model."""
        return Exclusive(self)

    @property
    def training(self):
        """Whether a thread of this process is training this model."""
        return self.in_training == process

    def _between_steps(self, what):
        """RuntimeError while another thread trains: the weights would be those of several steps."""
        if self.in_training == process and self.training_thread != PyThread_get_thread_ident():
            raise RuntimeError(
                f"{what}: another thread is training this model; expected a callback of that fit, "
                "between two steps, or that it is done")

    def _set_optimizer(self, optimizer):
        self.optimizer = optimizer

    def __call__(self, x, lengths=None):
        """The network's output for inputs x, in a fresh array: inference, lowest overhead.

        x: (rows, *input shape), or a list of such for several inputs; NaN passes through.
        lengths: of sequences x (rows, steps, ...), as in `fit`.
        Works before `compile`, from many threads at once. ValueError for another shape, TypeError
        for what are no numbers.
        """
        cdef Array found
        cdef int size
        if lengths is not None or not look(x, &found):
            return self._infer(x, lengths)
        size = self.size(found.shape[0])
        plan = self.take(size)
        if plan is None:
            return self._infer(x)
        try:
            y = (<Loop> plan).infer_array(x, &found)
        finally:
            self.put(size, plan)
        return self._infer(x) if y is None else y

    cdef int step(self, x, y, int phases, object rate) except -2:
        """Runs a training step on plain arrays; NOT_SIMPLE where it takes the long way."""
        cdef Loop plan = self.trainer
        cdef Gather inputs, targets
        cdef Py_ssize_t rows
        cdef int status = NOT_SIMPLE
        if (plan is None or self.in_training == process or plan.feed_count != 2
                or not isinstance(rate, float)):
            return NOT_SIMPLE
        if not 0 <= <double> rate < INFINITY or (phases & UPDATE and plan.update is None):
            return NOT_SIMPLE
        self.in_training = process
        self.training_thread = PyThread_get_thread_ident()
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
            self.in_training = 0
        return status

    def train_on_batch(self, x, y, sample_weight=None, class_weight=None, lengths=None):
        """One training step on the batch (x, y); returns its loss, a float.

        x: (rows, *input shape); y, lengths: as in `fit`. Raises NonFiniteError, and changes
        nothing, where loss or gradient is not finite.
        """
        if (sample_weight is None and class_weight is None and lengths is None
                and self.trainer is not None):
            rate = self.optimizer.learning_rate
            if self.step(x, y, FORWARD | BACKWARD | UPDATE, rate) == 0:
                return self.trainer.loss
        return self._train_on_batch(x, y, sample_weight, class_weight, lengths)

    def gradients(self, x, y, sample_weight=None, lengths=None):
        """The loss and its gradients on the batch (x, y), in training mode: (float, dict).

        The dict has an array of its own for each parameter, in the order of ``params``.
        ``grads`` has the same values until the next pass. Nothing else changes: running
        statistics follow `train_on_batch`, `fit` and `forward`. What is not finite is returned as
        it is. RuntimeError before `compile`; ValueError for data of another shape.
        """
        if (sample_weight is None and lengths is None
                and self.step(x, y, FORWARD | BACKWARD, 0.0) == 0):
            loss = self.trainer.loss
        else:
            loss = self._gradients(x, y, sample_weight, lengths)
        if self.parameters is not self._parameters:
            self.parameters = self._parameters
            self.gradient_items = list(self._parameters.gradient_views.items())
        found = {}
        for name, gradient in self.gradient_items:
            found[name] = copied(gradient)
        return loss, found
