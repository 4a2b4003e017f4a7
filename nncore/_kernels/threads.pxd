cdef extern from "team.h" nogil:
    enum:
        TEAM_MAX
    ctypedef void (*team_work)(void *argument, int member, int members) noexcept nogil


# team.c is linked into one module; the others reach it through these.
cdef int run(team_work work, void *argument, int members,
             long long patience) noexcept nogil
cdef void barrier(int members) noexcept nogil
cdef unsigned long flush_denormals() noexcept nogil
cdef void restore_denormals(unsigned long state) noexcept nogil
cdef long long clock() noexcept nogil

# How many members a run may have: what was asked for, and what helps on this machine.
cdef int most_members() noexcept nogil
cdef bint forced() noexcept nogil  # tests: as many as asked for, on every plan
