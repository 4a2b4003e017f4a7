"""Changes: whether what a plan made of them still holds.

Plans keep packed copies of the weights. The weights themselves are memory that anybody
who holds a view may write to, so the library must know when to pack again, without looking at
every number. It knows when it wrote itself; and nobody else can have, unless a view of the weights
left the library and is still held somewhere, or was until now. Reference counts say so. (They
cannot see who keeps no more than an address.)
"""
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.dict cimport PyDict_Next, PyDict_Size
from cpython.object cimport PyObject

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject *)
    PyObject *PyTuple_GET_ITEM(object, Py_ssize_t)  # borrowed: no reference is taken here


cdef class Memory:
    """A flat array as the base of views. An array as the base would not do: a slice of a view
    would hold the array, not the view."""
    cdef object array
    cdef void *data
    cdef Py_ssize_t size

    def __cinit__(self, array):
        self.array, self.size = array, array.nbytes
        self.data = <void *> <size_t> array.__array_interface__["data"][0]

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, self.size, False, flags)  # which holds self


cdef class Changes:
    """The views of a model's weights, by name, and what happened to them."""

    def __init__(self, views, memories):
        self.views, self.memories = tuple(views), tuple(memories)

    def lend(self, int which):
        """Views that the caller may keep and write to."""
        self.lent = True
        return self.views[which]

    def peek(self, int which):
        """The same for a caller in the library that neither keeps nor writes to them."""
        return self.views[which]

    def change(self):
        """Says that the library wrote to the weights."""
        self.others += 1

    cdef unsigned long long state(self):
        """A number that is another after each change; 0 where somebody may be at it."""
        if self.lent:
            if self.held():
                return 0
            self.lent = False
            self.others += 1
        return 1 + self.others + atomic_load(&self.steps, ACQUIRE)

    cdef bint held(self):
        """Whether anybody else has the dicts of views, a view, a slice of one, or its base."""
        cdef PyObject *name
        cdef PyObject *view
        cdef PyObject *views
        cdef Py_ssize_t at
        cdef int i
        for i in range(<int> len(self.views)):
            views = PyTuple_GET_ITEM(self.views, i)
            if Py_REFCNT(views) > 1:
                return True
            # the tuple holds each memory, and each view does
            if Py_REFCNT(PyTuple_GET_ITEM(self.memories, i)) > 1 + PyDict_Size(<object> views):
                return True
            at = 0
            while PyDict_Next(<object> views, &at, &name, &view):
                if Py_REFCNT(view) > 1:
                    return True
        return False
