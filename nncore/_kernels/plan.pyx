"""What Python calls of a plan: one run, training steps, inference on any number of rows.

`Executor` runs the ops; the loops over batches and stretches are here. No Python in between.
"""
from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from nncore._kernels cimport threads
from nncore._kernels.arrays cimport DOUBLE, Array, array_data, look, look_at_vector, new_array
from nncore._kernels.executor cimport (BACKWARD, FORWARD, GOOD, PREPARE, UPDATE, Executor,
                                       pointers)
from nncore._kernels.gather cimport Gather
from nncore._kernels.op cimport Op, Run, Tensor

from nncore._kernels import blas

cdef enum:
    WORTH_THE_GIL = 20000     # floating-point operations below which the GIL is kept: about 1 us
    UNTIL_A_SIGNAL = 64       # stretches, at most, until a Ctrl-C is heard

PHASES = FORWARD, BACKWARD, UPDATE


cdef class Taker:
    """Copies some tensors of each batch to arrays of the user's side."""
    cdef list tensors, arrays
    cdef void **source
    cdef char **target
    cdef int count

    def __cinit__(self, list tensors, list arrays, Py_ssize_t rows):
        cdef Tensor tensor
        self.tensors, self.arrays, self.count = tensors, arrays, <int> len(arrays)
        self.source = <void **> calloc(self.count + 1, sizeof(void *))
        self.target = <char **> calloc(self.count + 1, sizeof(char *))
        if self.source == NULL or self.target == NULL:
            raise MemoryError()
        for i, (t, array) in enumerate(zip(tensors, arrays)):
            tensor = t
            if array.nbytes < rows * tensor.size * tensor.itemsize or not array.flags.c_contiguous:
                raise ValueError("too small an array for the predictions")
            self.source[i] = <void *> tensor
            self.target[i] = <char *> <size_t> array.__array_interface__["data"][0]

    def __dealloc__(self):
        free(self.source)
        free(self.target)

    cdef void take(self, Py_ssize_t at, Py_ssize_t rows) noexcept nogil:
        cdef int i
        cdef Py_ssize_t bytes
        for i in range(self.count):
            bytes = (<Tensor> self.source[i]).size * (<Tensor> self.source[i]).itemsize
            memcpy(self.target[i] + at * bytes, (<Tensor> self.source[i]).data, rows * bytes)


cdef class Loop(Executor):
    """A plan's compiled half: what `nncore.plan.Plan` sets up once, this runs."""

    def __dealloc__(self):
        free(self.outputs)

    def set_output(self, list aliases, tuple shape):
        """The tensors that lie in the output's memory, for `infer`."""
        self.output_owner, self.output_shape = aliases, shape
        self.outputs, self.output_count = pointers(aliases), <int> len(aliases)
        self.output_home = (<Tensor> aliases[0]).data
        self.output_is_double = (<Tensor> aliases[0]).itemsize == 8

    cdef void put_output(self, char *output) noexcept nogil:
        """Where the next run leaves the output."""
        cdef int i
        for i in range(self.output_count):
            (<Tensor> self.outputs[i]).data = output

    cdef int run_stretches(self, int phases, Py_ssize_t first, Py_ssize_t rows,
                           char *output) noexcept nogil:
        """`run`, again and again where there are more rows than the plan holds: inference goes
        through the network stretch by stretch, in memory that stays in a cache."""
        cdef Py_ssize_t stretches, n
        cdef int status = GOOD
        if rows <= self.capacity:  # the smallest plans have no time for divisions
            self.put_output(output)
            return self.run(phases, first, rows)
        stretches = (rows + self.capacity - 1) // self.capacity
        while stretches > 0 and status == GOOD:
            n = (rows + stretches - 1) // stretches
            self.put_output(output)
            status = self.run(phases, first, n)
            if self.output_count:
                output += n * (<Tensor> self.outputs[0]).size * (<Tensor> self.outputs[0]).itemsize
            phases &= ~PREPARE
            first += n
            rows -= n
            stretches -= 1
        return status

    cdef int run_released(self, int phases, Py_ssize_t first, Py_ssize_t rows, char *output):
        """`run_stretches` without the GIL, but where that would cost more than the run."""
        cdef int status
        cdef unsigned long long state = 0
        if self.prepare_count and phases & FORWARD:
            state = self.changes.state()
            if state == 0 or state != self.prepared:
                phases |= PREPARE
                self.prepared = 0  # until the run has done it: an interrupt may come before
        if self.work * rows < WORTH_THE_GIL and not self.uses_blas:
            status = self.run_stretches(phases, first, rows, output)
            if phases & PREPARE:
                self.prepared = state
            return status
        try:
            if self.uses_blas:
                blas.hold()
            with nogil:
                status = self.run_stretches(phases, first, rows, output)
            if phases & PREPARE:
                self.prepared = state
        finally:
            if self.uses_blas:
                blas.release()
        return status

    # What Python calls. `Plan` and `Model` check what they pass.

    def execute(self, int phases, Py_ssize_t first, Py_ssize_t rows, double rate=0.0,
                unsigned long long step=0):
        """Runs some phases on one batch; returns how it went (0: good), the loss in `loss`."""
        cdef int status
        if not 0 < rows <= self.capacity:
            raise ValueError(f"{rows} rows for a plan of {self.capacity}")
        if phases & UPDATE and self.update is None:
            raise ValueError("an update without an optimizer")
        for gather in self.gathers:
            if phases & FORWARD and first + rows > (<Gather> gather).rows:
                raise ValueError(f"rows {first}..{first + rows} of {(<Gather> gather).rows}")
        self.rate, self.step = rate, step
        status = self.run_released(phases, first, rows, self.output_home)
        if phases & UPDATE and status == GOOD:
            self.update.step += 1
        return status

    def train(self, Py_ssize_t first, Py_ssize_t end, Py_ssize_t batch, rates, answers,
              unsigned long long step, double seconds, sums, list predictions=None):
        """Training steps on rows first..end, ``batch`` at a time, until the time is up.

        rates: the learning rate of each step; answers and sums: see `add_losses`, answers of all
        steps one after another; vectors of float64. predictions: for each loss an array of
        ``end - first`` rows, which receives what the loss made of the network's output.
        The sums do not depend on when the time is up. Returns (where to go on, steps done, status
        of the last one).
        """
        cdef long long deadline = threads.clock() + <long long> (seconds * 1e9)
        cdef Py_ssize_t rows, start = first, steps = 0
        cdef int status = GOOD, phases = FORWARD | BACKWARD | UPDATE
        if self.prepare_count:
            phases |= PREPARE
        cdef Taker taker = Taker(self.predictions, predictions or [], end - first)
        cdef Array rate
        cdef const double *counts
        cdef double *summed
        look_at_vector(rates, DOUBLE, &rate)
        if batch < 1 or batch > self.capacity or rate.shape[0] * batch < end - first:
            raise ValueError("batches that this plan cannot run")
        self.look_at_sums(answers, sums, (end - first + batch - 1) // batch, &counts, &summed)
        if self.update is None:
            raise ValueError("training without an optimizer")
        for gather in self.gathers:
            if end > (<Gather> gather).rows:
                raise ValueError(f"rows up to {end} of {(<Gather> gather).rows}")
        try:
            if self.uses_blas:
                blas.hold()
            with nogil:
                while first < end:
                    rows = min(batch, end - first)
                    self.rate, self.step = (<const double *> rate.data)[steps], step
                    status = self.run(phases, first, rows)
                    if status != GOOD:
                        break
                    self.sum_losses(counts + steps * self.loss_count, summed)
                    step += 1
                    steps += 1
                    self.update.step += 1
                    taker.take(first - start, rows)
                    first += rows
                    if threads.clock() > deadline:
                        break
        finally:
            if self.uses_blas:
                blas.release()
        return first, steps, status

    def add_losses(self, answers, sums):
        """Adds the losses of the last run to the sums over several.

        answers: of how many each output's loss is the mean; sums: of each output the losses times
        these, then of each output these; vectors of float64.
        """
        cdef const double *counts
        cdef double *summed
        self.look_at_sums(answers, sums, 1, &counts, &summed)
        self.sum_losses(counts, summed)

    cdef int look_at_sums(self, answers, sums, Py_ssize_t steps, const double **counts,
                          double **summed) except -1:
        cdef Array a, s
        look_at_vector(answers, DOUBLE, &a)
        look_at_vector(sums, DOUBLE, &s)
        if a.shape[0] != steps * self.loss_count or s.shape[0] != 2 * self.loss_count:
            raise ValueError(f"{a.shape[0]} answers and {s.shape[0]} sums of {self.loss_count} "
                             f"losses in {steps} steps")
        counts[0], summed[0] = <const double *> a.data, <double *> s.data
        return 0

    def execute_one(self, Op op, bint backward):
        """One op alone on this thread, on the batch of the last run; returns its loss."""
        cdef Run run
        run.rows, run.first, run.member, run.members = self.rows, self.first, 0, 1
        run.key, run.step, run.scratch, run.bad = self.key, self.step, self.scratch, 0
        run.slots, run.slot_size = self.scratch, self.scratch_size
        run.asked, run.denormals = self.asked, threads.flush_denormals()
        if backward:
            op.backward(&run)
        else:
            op.forward(&run)
        threads.restore_denormals(run.denormals)
        return op.loss(self.rows)

    def commit(self):
        """Lets the ops keep what the last forward pass left them: running statistics."""
        self.commit_all()
        self.changes.change()

    @property
    def batch_rows(self):
        """Rows of the last run."""
        return self.rows

    @property
    def backward_list(self):
        """The ops of the backward pass, in the order in which they run."""
        return self.owners[1]

    def infer(self, x):
        """The output for one array x that can be read as it is, in a fresh array; else None."""
        cdef Array found
        return self.infer_array(x, &found) if look(x, &found) else None

    cdef object infer_array(self, object x, const Array *found):
        """`infer` for an array that was looked at."""
        cdef Gather gather = <Gather> self.feeds[0]
        cdef Py_ssize_t rows = found.shape[0], first = 0, n, row
        cdef int status = GOOD
        if (self.output_count == 0 or self.feed_count != 1 or rows == 0
                or not gather.take(x, found)):
            return None
        row = (<Tensor> self.outputs[0]).size * (<Tensor> self.outputs[0]).itemsize
        y = new_array(rows, self.output_shape, self.output_is_double)
        try:
            while status == GOOD and first < rows:
                n = min(rows - first, UNTIL_A_SIGNAL * self.capacity)
                status = self.run_released(FORWARD, first, n, array_data(y) + first * row)
                first += n
                if first < rows:
                    PyErr_CheckSignals()
        finally:
            gather.close()
        if status != GOOD:
            self.fail(status)
        return y
