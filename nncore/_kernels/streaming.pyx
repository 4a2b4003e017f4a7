"""Recurrent networks whose state outlives a run: step by step, or from batch to batch."""
from libc.string cimport memcpy
import numpy

from nncore._kernels.arrays cimport array_data, new_array
from nncore._kernels.executor cimport FORWARD
from nncore._kernels.gather cimport Gather
from nncore._kernels.op cimport Op, Run, Tensor, share
from nncore._kernels.plan cimport Loop


cdef class Stepper:
    """Runs a plan for one step of a sequence: (x, state) -> (y, state), arrays all of them."""
    cdef Loop plan
    cdef list outputs, shapes

    def __init__(self, Loop plan, list outputs, list shapes):
        """outputs: y, then the states; shapes: what one row of each is."""
        self.plan, self.outputs, self.shapes = plan, outputs, shapes

    def run(self, tuple arrays):
        """The output and the states as new arrays, in one tuple; None where an input, x and then
        the states, cannot be read as it is."""
        cdef Py_ssize_t rows = 0
        cdef int i, status
        cdef Tensor tensor
        if len(arrays) != self.plan.feed_count:
            return None
        try:
            for i in range(self.plan.feed_count):
                if not (<Gather> self.plan.feeds[i]).open(arrays[i]):
                    return None
                if i == 0:
                    rows = (<Gather> self.plan.feeds[0]).rows
                if (<Gather> self.plan.feeds[i]).rows != rows:
                    return None
            if not 0 < rows <= self.plan.capacity:
                return None
            status = self.plan.run_released(FORWARD, 0, rows, NULL)
        finally:
            for i in range(self.plan.feed_count):
                (<Gather> self.plan.feeds[i]).close()
        if status:
            self.plan.fail(status)
        found = []
        for i in range(len(self.outputs)):
            tensor = self.outputs[i]
            y = new_array(rows, self.shapes[i], tensor.itemsize == 8)
            memcpy(array_data(y), tensor.data, rows * tensor.size * tensor.itemsize)
            found.append(y)
        return found


cdef class Carried(Op):
    """y = the state that the batch before left, row by row: zeros after `reset`.

    `keep` says which tensor is the state that this batch leaves; it is taken over once the step is
    known to be good. No gradient goes back in time beyond the batch.
    """
    cdef Tensor y, last
    cdef object memory
    cdef char *data

    def __init__(self, Tensor y, Py_ssize_t rows):
        self.connect((), (y,))
        self.y = y
        self.memory = numpy.zeros(rows * y.size * y.itemsize + 1, numpy.uint8)
        self.data = array_data(self.memory)
        self.backward_reads_x = False
        self.commits = True

    def keep(self, Tensor last):
        self.last = last
        self.saved = (last,)

    def reset(self):
        self.memory[:] = 0

    cdef void forward(self, Run *run) noexcept nogil:
        cdef Py_ssize_t begin, end, bytes = self.y.size * self.y.itemsize
        share(run.rows, 1, run, &begin, &end)
        memcpy(self.y.data + begin * bytes, self.data + begin * bytes, (end - begin) * bytes)

    cdef void commit(self, Py_ssize_t rows) noexcept nogil:
        memcpy(self.data, self.last.data, rows * self.y.size * self.y.itemsize)
