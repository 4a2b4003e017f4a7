"""Tensor and Op: what a plan is made of.

An op computes ``outputs`` from ``inputs`` in ``forward`` and, in ``backward``, the gradients of
the inputs from those of the outputs. Both run without the GIL on every member of the team at
once, each on its own share, and neither allocates nor raises: whatever can be wrong is refused
in Python before.

The contract of ``backward``: for each input ``i`` whose ``grad`` is not NULL it writes the
gradient there, or adds it where ``adds(self, i)``, in the order of the inputs, for two of them may
lie in one place. The planner decides both, so an op never knows who else reads its input.
"""


cdef class Tensor:
    """A place in memory and its gradient's: activations of one shape, or a parameter.

    ``shape`` is that of one row (one example); a parameter (named ``parameter``) has no rows, nor
    has what is worked out once for a whole batch.
    ``base`` is the tensor whose memory a view or an in-place result lives in.
    """

    def __cinit__(self, tuple shape, int itemsize, str parameter=None, Tensor base=None,
                  bint has_rows=True):
        self.shape = shape
        self.itemsize = itemsize
        self.parameter = parameter
        self.base = base
        self.has_rows = has_rows and parameter is None
        self.size = 1
        for n in shape:
            self.size *= n

    def bind(self, size_t data, size_t grad):
        """Tells where the memory is: two addresses, 0 for none."""
        self.data = <char *> data
        self.grad = <char *> grad

    @property
    def addresses(self):
        return <size_t> self.data, <size_t> self.grad

    def __repr__(self):
        return f"Tensor({self.shape}{', ' + self.parameter if self.parameter else ''})"


cdef class Op:
    """One compiled step of a plan.

    Facts for the planner, set by each op where they differ from the defaults here:

    - ``forward_by_rows``, ``backward_by_rows``: a member reads and writes only its own rows of
      the batch, so that no barrier is needed between two such ops. It may be called several times
      in a pass, as so many members with fewer rows each: then ``run.member`` and ``run.members``
      say what `share` needs, and nothing about the team;
    - ``backward_reads_x``, ``backward_reads_y``: the values must be kept for the backward pass;
    - ``in_place``: the first output may take the memory of the first input, forward and back;
    - ``work``: floating-point operations for one row, forward, which size the team;
    - ``undivided``: one member does all of it, so it is no reason for others to come;
    - ``dealt``: where several such ops follow one another and none reads what another writes, they
      may be dealt out to the members, each to one that runs it as if it were alone;
    - ``steps``: it goes over all rows step by step, so many times, each on a part of a row;
    - ``scratch_size``: bytes of working memory for each member;
    - ``saved``: tensors of its own that live from its forward to its backward pass;
    - ``commits``: `commit` changes buffers (running statistics) once a step is known to be good;
    - ``prepares``: `prepare` makes of the weights what `forward` reads, before the first run and
      after each change of them, in the tensors ``kept``, which live as long as the plan.

    All members run every op, so within one that is not by rows they may meet at
    `threads.barrier(run.members)`. Results must not depend on how many members came, only on how
    many were asked for (``run.asked``). The gradient of an output that nobody reads is NULL.

    Functions for float and double take a last argument ``real *_``, always NULL: it tells Cython
    which of the two is meant.
    """

    def __cinit__(self, *args, **options):
        self.inputs = self.outputs = self.saved = self.kept = ()
        self.forward_by_rows = self.backward_by_rows = True
        self.backward_reads_x = True
        self.steps = 1

    def connect(self, inputs, outputs, saved=()):
        """Called once by each op's constructor."""
        self.inputs, self.outputs, self.saved = tuple(inputs), tuple(outputs), tuple(saved)
        cdef Py_ssize_t most = 8 * sizeof(self.add)
        if len(self.inputs) > most:
            raise ValueError(f"received {len(self.inputs)} inputs and parameters; a layer takes "
                             f"{most} at most")
        self.is_double = self.outputs[0].itemsize == 8 if outputs else self.inputs[0].itemsize == 8
        for tensor in outputs:
            tensor.producer = self

    cdef void prepare(self) noexcept nogil:
        """On one member, before all members' forward."""

    cdef void forward(self, Run *run) noexcept nogil:
        pass

    cdef void backward(self, Run *run) noexcept nogil:
        pass

    cdef void commit(self, Py_ssize_t rows) noexcept nogil:
        """After the forward pass of a good step of so many rows, on one member: what it leaves."""
        pass

    def refusal(self):
        """For the user, after ``run.bad``: what this op received, and what it expected."""
        return f"layer {self.layer!r}: received data that it cannot take"

    cdef double loss(self, Py_ssize_t rows) noexcept nogil:
        """What this op found the loss of a batch of so many rows to be, if it is a loss."""
        return 0
