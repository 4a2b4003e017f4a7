# The interface of an op: see op.pyx for the contract.

cdef enum:
    UNIT = 16  # members' columns start at multiples of this: a vector of AVX-512, a cache line


cdef struct Run:
    Py_ssize_t rows            # of this batch: at most what the plan was built for
    Py_ssize_t first           # where the batch starts in the data's order
    int member, members        # which share of the work
    int asked                  # a team for forward and backward: at least so many as came to them
    unsigned long long key     # of the random generator, and its counter
    unsigned long long step
    char *scratch              # this member's, as large as the greediest op asked for
    char *slots                # member 0's; the others' follow, slot_size bytes apart
    Py_ssize_t slot_size
    unsigned long denormals    # what restores the caller's treatment of them
    int bad                    # data that an op refused: the number of the op, else 0


cdef class Tensor:
    cdef char *data            # row-major (rows, *shape); a parameter has no rows
    cdef char *grad            # NULL where no gradient is needed
    cdef readonly tuple shape
    cdef readonly Py_ssize_t size
    cdef readonly int itemsize
    cdef readonly bint has_rows
    cdef readonly str parameter
    cdef public object producer
    cdef public object base
    cdef public bint wants_grad


cdef class Op:
    cdef readonly tuple inputs, outputs, saved, kept
    cdef readonly bint is_double
    cdef public unsigned long long add
    cdef public str layer
    cdef public int number
    # Facts that the planner reads; an op sets them when it is made.
    cdef public bint forward_by_rows, backward_by_rows
    cdef public bint backward_reads_x, backward_reads_y
    cdef public bint in_place, undivided, dealt
    cdef public bint holds_gil, uses_blas, commits, prepares
    cdef public double work
    cdef public Py_ssize_t scratch_size, steps

    cdef void prepare(self) noexcept nogil
    cdef void forward(self, Run *run) noexcept nogil
    cdef void backward(self, Run *run) noexcept nogil
    cdef void commit(self, Py_ssize_t rows) noexcept nogil
    cdef double loss(self, Py_ssize_t rows) noexcept nogil


cdef inline void share(Py_ssize_t n, Py_ssize_t unit, Run *run,
                       Py_ssize_t *begin, Py_ssize_t *end) noexcept nogil:
    """This member's part of n things, cut at multiples of ``unit``."""
    if run.members == 1:  # the divisions below would cost a small plan a tenth of its time
        begin[0] = 0
        end[0] = n
        return
    cdef Py_ssize_t units = (n + unit - 1) // unit
    begin[0] = min(n, units * run.member // run.members * unit)
    end[0] = min(n, units * (run.member + 1) // run.members * unit)


cdef inline Py_ssize_t filled(Py_ssize_t n) noexcept nogil:
    """n columns, filled up to whole units."""
    return (n + UNIT - 1) // UNIT * UNIT


cdef inline bint adds(Op op, int i) noexcept nogil:
    """Whether op's gradient for input i is added to what another op wrote."""
    return (op.add >> i) & 1
