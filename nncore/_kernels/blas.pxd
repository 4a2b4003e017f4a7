# Row-major products over the BLAS that scipy brings: the portable path, and the reference that
# the kernels of simd/ are tested against.
from nncore._kernels.simd cimport real

ctypedef void (*sgemm_t)(char *, char *, int *, int *, int *, float *, float *, int *, float *,
                         int *, float *, float *, int *) noexcept nogil
ctypedef void (*dgemm_t)(char *, char *, int *, int *, int *, double *, double *, int *, double *,
                         int *, double *, double *, int *) noexcept nogil

cdef sgemm_t sgemm
cdef dgemm_t dgemm


cdef inline void blas_gemm(real *c, Py_ssize_t ldc, const real *a, Py_ssize_t lda,
                           bint transpose_a, const real *b, Py_ssize_t ldb, bint transpose_b,
                           Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, bint add) noexcept nogil:
    """C (M,N) = op(A) op(B) [+ C], each row-major with its leading dimension.

    BLAS is column-major: a row-major matrix is its transpose there, and C^T = op(B)^T op(A)^T.
    """
    cdef int m = <int> M, n = <int> N, k = <int> K
    cdef int la = <int> max(1, lda), lb = <int> max(1, ldb), lc = <int> max(1, ldc)
    cdef char ta = c"T" if transpose_a else c"N"
    cdef char tb = c"T" if transpose_b else c"N"
    cdef real one = 1, beta = 1 if add else 0
    if M == 0 or N == 0:
        return
    if real is float:
        sgemm(&tb, &ta, &n, &m, &k, &one, <float *> b, &lb, <float *> a, &la, &beta, c, &lc)
    else:
        dgemm(&tb, &ta, &n, &m, &k, &one, <double *> b, &lb, <double *> a, &la, &beta, c, &lc)
