"""What runs a plan's ops in order, with the team.

A training step, as data sees it: the gathers bring x and y in, the ops run forward, the loss op
adds up the loss, the ops run backward in reverse, and the optimizer passes over the flat vectors.
All members of the team run this same loop, each on its own share of every op, and meet at a
barrier only where an op reads what others wrote.
"""
from libc.math cimport isfinite, sqrt
from libc.stdlib cimport calloc, free
from nncore._kernels cimport threads
from nncore._kernels.gather cimport Gather
from nncore._kernels.op cimport Op, Run
from nncore._kernels.optimizer cimport Update
from nncore._kernels.weights cimport RELEASE, Changes, atomic_add

cdef enum:
    WORTH_A_MEMBER = 400000   # floating-point operations: about 5 us, the cost of a meeting or two


cdef void **pointers(list objects) except NULL:
    """The objects as an array for C, to be freed; the list keeps them alive."""
    cdef void **found = <void **> calloc(len(objects) + 1, sizeof(void *))
    cdef int i
    if found == NULL:
        raise MemoryError
    for i in range(<int> len(objects)):
        found[i] = <void *> objects[i]
    return found


cdef Section *sections(list described, Py_ssize_t ops) except NULL:
    """(number of ops, meets, rows, dealt) each, as an array for C, to be freed."""
    cdef Section *found = <Section *> calloc(len(described) + 1, sizeof(Section))
    cdef int i, end = 0
    if found == NULL:
        raise MemoryError
    for i, (count, meets, rows, dealt) in enumerate(described):
        found[i] = Section(end, end + count, meets, dealt, rows)
        end += count
    assert end == ops
    return found


cdef void member_main(void *executor, int member, int members) noexcept nogil:
    (<Executor> executor).run_member(member, members)


cdef class Executor:
    """A plan's ops and the memory that they share; `run` runs them on one batch."""

    def __dealloc__(self):
        free(self.forward_ops)
        free(self.backward_ops)
        free(self.forward_sections)
        free(self.backward_sections)
        free(self.feeds)
        free(self.losses)
        free(self.commits)
        free(self.preparing)
        free(self.members)

    def set_ops(self, list forward, list backward, list forward_sections, list backward_sections,
                Changes changes):
        """The ops to run, in order, and their sections: (number of ops, meets, rows, dealt)."""
        cdef int i, j
        self.owners, self.changes = (forward, backward), changes
        self.gathers = [op for op in forward if isinstance(op, Gather)]
        self.forwards, self.backwards = <int> len(forward_sections), <int> len(backward_sections)
        self.forward_sections = sections(forward_sections, len(forward))
        self.backward_sections = sections(backward_sections, len(backward))
        self.feed_count = <int> len(self.gathers)
        self.forward_ops, self.backward_ops = pointers(forward), pointers(backward)
        self.feeds = pointers(self.gathers)
        self.members = <Member *> calloc(threads.TEAM_MAX, sizeof(Member))
        if self.members == NULL:
            raise MemoryError()
        for i, op in enumerate(forward):
            (<Op> op).number = i + 1
        losses = [op for op in forward if not op.outputs]
        self.losses, self.loss_count = pointers(losses), <int> len(losses)
        committing = [op for op in forward if op.commits]
        self.commits, self.commit_count = pointers(committing), <int> len(committing)
        preparing = [op for op in forward if op.prepares]
        self.preparing, self.prepare_count = pointers(preparing), <int> len(preparing)
        self.work = sum([op.work for op in forward])
        self.divided = 0
        for i in range(self.forwards):
            for j in range(self.forward_sections[i].first, self.forward_sections[i].end):
                if self.forward_sections[i].dealt or not forward[j].undivided:
                    self.divided += forward[j].work
        self.uses_blas = any([op.uses_blas for op in forward])
        self.alone = any([op.holds_gil for op in forward])

    def set_memory(self, Py_ssize_t capacity, int most_members, size_t scratch,
                   Py_ssize_t scratch_size):
        self.capacity, self.most_members = capacity, most_members
        self.scratch, self.scratch_size = <char *> scratch, scratch_size

    def set_update(self, Update update):
        self.update = update

    cdef int team_size(self, Py_ssize_t rows, int phases) noexcept nogil:
        """As many members as there is work for: small work stays on the caller."""
        cdef int most = min(threads.most_members(), self.most_members)
        cdef double work = self.divided * rows * (3 if phases & BACKWARD else 1)
        if phases == UPDATE:
            work = 20.0 * self.update.n
        if self.alone:
            return 1
        if threads.forced() or most <= 1:
            return most
        return max(1, <int> min(<double> most, work / WORTH_A_MEMBER + 0.5))

    cdef int run(self, int phases, Py_ssize_t first, Py_ssize_t rows) noexcept nogil:
        """Runs some phases on rows first..first+rows of what the gathers read."""
        cdef int i, members, asked
        self.phases = phases
        if phases & FORWARD:
            self.first, self.rows = first, rows
            for i in range(self.feed_count):
                (<Gather> self.feeds[i]).locate(first)
        # the smallest plans have no time for more questions
        if phases != UPDATE and 3 * self.work * rows < WORTH_A_MEMBER and not threads.forced():
            asked = members = 1
        else:
            asked = self.team_size(rows, FORWARD | BACKWARD)
            members = self.team_size(rows, phases)
        if phases & FORWARD:
            self.asked = asked
        elif phases & BACKWARD:  # it is cut up as forward was, whatever has been set since
            members = min(members, self.asked)
        if members == 1:
            self.run_member(0, 1)
        else:
            # Fewer may come than were asked for: a late member is worth waiting for as long as
            # an eighth of the work takes, at about 50 operations a nanosecond.
            members = threads.run(member_main, <void *> self, members,
                                  <long long> min(250000.0, self.work * rows / 400 + 500))
        self.loss = self.total_loss()
        self.bad = 0
        for i in range(members):
            if self.members[i].bad and not self.bad:
                self.bad = self.members[i].bad
        if self.bad:
            return BAD_DATA
        if phases & UPDATE:
            if self.members[0].refused:
                return NOT_FINITE
            atomic_add(&self.changes.steps, 1, RELEASE)
        return GOOD

    cdef void run_member(self, int member, int members) noexcept nogil:
        cdef Run run
        cdef int i
        cdef unsigned long denormals = threads.flush_denormals()
        run.rows, run.first = self.rows, self.first
        run.member, run.members, run.asked = member, members, self.asked
        run.key, run.step = self.key, self.step
        run.scratch = self.scratch + member * self.scratch_size
        run.slots, run.slot_size = self.scratch, self.scratch_size
        run.denormals = denormals
        run.bad = 0
        if self.phases & PREPARE:
            for i in range(self.prepare_count):
                if i % members == member:
                    (<Op> self.preparing[i]).prepare()
            threads.barrier(members)
        if self.phases & FORWARD:
            for i in range(self.forwards):
                self.run_section(&self.forward_sections[i], &run, False)
        self.members[member].bad = run.bad
        if self.phases & BACKWARD and not (self.phases & FORWARD and self.any_bad(members)):
            for i in range(self.backwards):
                self.run_section(&self.backward_sections[i], &run, True)
            self.members[member].bad = run.bad
        if self.phases & UPDATE:
            threads.barrier(members)
            self.update_member(member, members)
        threads.restore_denormals(denormals)

    cdef void run_section(self, const Section *section, Run *run, bint backward) noexcept nogil:
        """A member's rows go through several ops a few at a time, so that an op finds in a cache
        what the one before it wrote: to each op it is as if so many more members had come."""
        cdef int op, _, pieces = 1
        cdef int whole = run.member, members = run.members
        if section.meets:
            threads.barrier(members)
        if section.dealt and (section.end - section.first) % members == 0:
            self.deal_out(section, run)
            return
        if section.rows and run.rows > section.rows * members:
            pieces = <int> ((run.rows - 1) // (section.rows * members) + 1)
            run.members *= pieces
            run.member *= pieces
        for _ in range(pieces):
            for op in range(section.first, section.end):
                if backward:
                    (<Op> self.backward_ops[op]).backward(run)
                else:
                    (<Op> self.forward_ops[op]).forward(run)
            run.member += 1
        run.member, run.members = whole, members

    cdef void deal_out(self, const Section *section, Run *run) noexcept nogil:
        """The forward ops of a section, each to one member, for which there are no others."""
        cdef Run alone = run[0]
        cdef int op = section.first + run.member
        alone.member, alone.members, alone.asked, alone.slots = 0, 1, 1, run.scratch
        while op < section.end:
            (<Op> self.forward_ops[op]).forward(&alone)
            op += run.members
        run.bad = alone.bad

    cdef bint any_bad(self, int members) noexcept nogil:
        """Whether an op of any member refused its data: then gradients stay what they were."""
        cdef int i
        threads.barrier(members)
        for i in range(members):
            if self.members[i].bad:
                return True
        return False

    cdef double total_loss(self) noexcept nogil:
        """The sum over the outputs' losses."""
        cdef double total = 0
        cdef int i
        if self.phases & FORWARD:
            for i in range(self.loss_count):
                total += (<Op> self.losses[i]).loss(self.rows)
        return total

    cdef void sum_losses(self, const double *answers, double *sums) noexcept nogil:
        """The outputs' losses times their answers, and these, added to sums (2, outputs)."""
        cdef int i
        for i in range(self.loss_count):
            sums[i] += answers[i] * (<Op> self.losses[i]).loss(self.rows)
            sums[self.loss_count + i] += answers[i]

    cdef void update_member(self, int member, int members) noexcept nogil:
        """The optimizer's pass, unless loss or gradient is not finite: then nothing changes.

        All members decide on the same sums, so they decide alike; the sums are of blocks, so that
        their rounding does not depend on the number of members.
        """
        cdef Py_ssize_t n = self.update.n, block = self.update.block
        cdef Py_ssize_t blocks = (n + block - 1) // block, i
        cdef Py_ssize_t first = blocks * member // members, last = blocks * (member + 1) // members
        cdef Py_ssize_t begin = min(n, first * block), end = min(n, last * block)
        cdef double squares = 0, scale = 1
        cdef int bad = 0
        for i in range(first, last):
            self.update.sums[i] = self.update.squares(i * block, min(n, (i + 1) * block))
        threads.barrier(members)
        for i in range(blocks):
            squares += self.update.sums[i]
        for i in range(members):
            bad |= self.members[i].bad
        if not isfinite(squares) or not isfinite(self.total_loss()) or bad:
            self.members[member].refused = True
            return
        if self.update.clipnorm > 0:
            scale = min(1.0, self.update.clipnorm / (sqrt(squares) + 1e-6))
        self.update.apply(begin, end, self.rate, scale, self.update.step + 1)
        if member == 0 and self.phases & FORWARD:
            self.commit_all()
        self.members[member].refused = False

    cdef void commit_all(self) noexcept nogil:
        cdef int i
        for i in range(self.commit_count):
            (<Op> self.commits[i]).commit(self.rows)
