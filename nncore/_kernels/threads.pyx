"""How many threads a plan may use. The threads themselves are team.c's."""

cdef extern from "team.h" nogil:
    long long TEAM_FOREVER
    int team_run(team_work work, void *argument, int members, long long patience)
    void team_barrier(int members)
    unsigned long team_flush_denormals()
    void team_restore_denormals(unsigned long state)
    long long team_clock()

cdef int asked = 1
cdef int processors = 1
cdef bint exactly = False
cdef int present = TEAM_MAX


cdef int run(team_work work, void *argument, int members,
             long long patience) noexcept nogil:
    return team_run(work, argument, min(members, present),
                    TEAM_FOREVER if exactly else patience)


cdef void barrier(int members) noexcept nogil:
    team_barrier(members)


cdef unsigned long flush_denormals() noexcept nogil:
    return team_flush_denormals()


cdef void restore_denormals(unsigned long state) noexcept nogil:
    team_restore_denormals(state)


cdef long long clock() noexcept nogil:
    return team_clock()


cdef int most_members() noexcept nogil:
    # More members than processors only take turns: two are as good as sixteen on two processors.
    return asked if exactly or asked < processors else processors


def configure(int threads, int cpus, bint force=False, int come=TEAM_MAX):
    """Sets the threads asked for and the processors there are.

    For tests: ``force`` asks for exactly ``threads`` members for every plan, however small and
    whatever the machine, and waits for all of them; but ``come`` at most take part, as if the
    others were late.
    """
    global asked, processors, exactly, present
    asked = min(threads, TEAM_MAX)
    processors = cpus
    exactly = force
    present = come


def largest():
    """The largest team that a later setting may ask for without `force`."""
    return asked if exactly else processors


def fills(rows):
    """Whether the largest team can share so many examples without waiting for each other long."""
    members = largest()
    return rows % members == 0 or rows >= 4 * members


def threads():
    return asked


cdef bint forced() noexcept nogil:
    return exactly
