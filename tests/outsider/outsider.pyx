"""Ops of somebody else's, compiled against what nncore ships: see the fixture of this name."""
from libc.string cimport memset
from nncore._kernels.op cimport Op, Run, Tensor, adds, share

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int microseconds)

cdef enum:
    MOST_NAPS = 10000  # of a millisecond, until a run gives up

cdef volatile int closed = 0, waits = 0, gave_up = 0
cdef volatile char came[256]


cdef class Twice(Op):
    """y = 2 x; notes which members of the team compute it."""
    cdef Tensor x, y

    def __init__(self, Tensor x, Tensor y):
        self.connect((x,), (y,))
        self.x, self.y = x, y
        self.backward_reads_x = False
        self.forward_by_rows = False  # or a member may come as several

    cdef void forward(self, Run *run) noexcept nogil:
        cdef Py_ssize_t begin, end, i
        came[run.member] = 1
        share(run.rows, 1, run, &begin, &end)
        for i in range(begin * self.x.size, end * self.x.size):
            (<float *> self.y.data)[i] = 2 * (<float *> self.x.data)[i]

    cdef void backward(self, Run *run) noexcept nogil:
        cdef Py_ssize_t begin, end, i
        cdef float old
        if self.x.grad == NULL:
            return
        share(run.rows, 1, run, &begin, &end)
        for i in range(begin * self.x.size, end * self.x.size):
            old = (<float *> self.x.grad)[i] if adds(self, 0) else 0
            (<float *> self.x.grad)[i] = old + 2 * (<float *> self.y.grad)[i]


cdef class Door(Twice):
    """y = 2 x, once another thread has opened the door."""

    def __init__(self, Tensor x, Tensor y):
        super().__init__(x, y)
        self.work = 1e9  # large enough for the GIL to be released

    cdef void forward(self, Run *run) noexcept nogil:
        global waits, gave_up
        cdef int naps = 0
        waits = 1
        while closed and naps < MOST_NAPS:
            usleep(1000)
            naps += 1
        if naps == MOST_NAPS:
            gave_up = 1
        Twice.forward(self, run)


def close_door():
    """From now on runs wait at a Door until `open_door` is called, but no longer than 10 s."""
    global closed, waits, gave_up
    closed, waits, gave_up = 1, 0, 0


def open_door():
    global closed
    closed = 0


def somebody_waits():
    return bool(waits)


def a_run_gave_up():
    return bool(gave_up)


def members(call):
    """How many members of the team computed 2 x while ``call`` ran."""
    memset(<void *> came, 0, sizeof(came))
    call()
    return sum([came[i] for i in range(sizeof(came))])
