from nncore._kernels.op cimport Run
from nncore._kernels.optimizer cimport Update
from nncore._kernels.weights cimport Changes

cdef enum Phase:
    FORWARD = 1
    BACKWARD = 2
    UPDATE = 4
    PREPARE = 8                  # before FORWARD, where the weights have changed

cdef enum Status:                # what a run returns
    GOOD = 0
    BAD_DATA = 1
    NOT_FINITE = 2

cdef struct Member:              # what a member tells the others, on a cache line of its own
    int bad                      # the first op that refused data
    bint refused                 # the update: loss or gradient was not finite
    char padding[120]

cdef struct Section:             # of a pass: an op, or several by rows, between which nobody waits
    int first, end
    bint meets                   # at a barrier before it
    bint dealt                   # its ops may be dealt out to the members, as many to each
    Py_ssize_t rows              # that go through all of the ops before the next rows; 0: all rows


cdef class Executor:
    cdef object owners           # keeps the ops alive
    cdef list gathers
    cdef void **forward_ops      # Op, in order
    cdef void **backward_ops
    cdef Section *forward_sections
    cdef Section *backward_sections
    cdef int forwards, backwards  # sections
    cdef void **feeds            # Gather
    cdef int feed_count
    cdef void **losses           # Op
    cdef int loss_count
    cdef void **commits          # Op
    cdef int commit_count
    cdef void **preparing        # Op
    cdef int prepare_count
    cdef Changes changes         # of the weights
    cdef Member *members
    cdef readonly Py_ssize_t capacity
    cdef readonly int most_members
    cdef readonly bint uses_blas, alone
    cdef readonly double work, divided  # operations a row: all, and those that members share
    cdef public unsigned long long key
    cdef char *scratch
    cdef Py_ssize_t scratch_size
    cdef Update update
    # The run under way:
    cdef int phases
    cdef Py_ssize_t rows, first
    cdef int asked
    cdef unsigned long long step
    cdef double rate
    cdef readonly double loss
    cdef readonly int bad

    cdef int run(self, int phases, Py_ssize_t first, Py_ssize_t rows) noexcept nogil
    cdef void run_member(self, int member, int members) noexcept nogil
    cdef void run_section(self, const Section *section, Run *run, bint backward) noexcept nogil
    cdef void deal_out(self, const Section *section, Run *run) noexcept nogil
    cdef bint any_bad(self, int members) noexcept nogil
    cdef double total_loss(self) noexcept nogil
    cdef void sum_losses(self, const double *answers, double *sums) noexcept nogil
    cdef void commit_all(self) noexcept nogil
    cdef void update_member(self, int member, int members) noexcept nogil
    cdef int team_size(self, Py_ssize_t rows, int phases) noexcept nogil


cdef void **pointers(list objects) except NULL
