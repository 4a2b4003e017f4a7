"""The algorithms of convolution.pyx on units of work of a pass: which kernel of simd/ runs.

y = x * weight + bias [+ y], finished by f (simd.h) unless that is NULL. What `pack` makes of the
weights is what `run_units` reads. PRODUCT needs no more than gemm and is not here.
"""
from nncore._kernels.products cimport finish_piece
from nncore._kernels.simd cimport conv_pass, f32, f64, finish, isize, real


cdef void sizes(Algorithm algorithm, const conv_pass *p, bint is_double, isize *packed,
                isize *scratch) noexcept nogil:
    """Elements of packed weights and of scratch."""
    cdef isize other, more
    if algorithm == DEPTHWISE:
        (f64.depthwise_sizes if is_double else f32.depthwise_sizes)(p, packed, scratch)
    elif algorithm == GROUPED:
        (f64.grouped_sizes if is_double else f32.grouped_sizes)(p, packed, scratch)
        (f64.conv_sizes if is_double else f32.conv_sizes)(p, &other, &more)  # for the gradient
        scratch[0] = max(scratch[0], more)
    elif algorithm == WINOGRAD:
        packed[0] = (f64.winograd_packed if is_double else f32.winograd_packed)(p)
        scratch[0] = (f64.winograd_scratch if is_double else f32.winograd_scratch)(p)
    else:
        (f64.conv_sizes if is_double else f32.conv_sizes)(p, packed, scratch)


cdef void pack(Algorithm algorithm, const conv_pass *p, real *packed,
               const real *weight) noexcept nogil:
    if real is float:
        if algorithm == DEPTHWISE:
            f32.depthwise_pack(packed, p, weight)
        elif algorithm == GROUPED:
            f32.grouped_pack(packed, p, weight)
        elif algorithm == WINOGRAD:
            f32.winograd_pack(packed, p, weight)
        else:
            f32.conv_pack(packed, p, weight)
    else:
        if algorithm == DEPTHWISE:
            f64.depthwise_pack(packed, p, weight)
        elif algorithm == GROUPED:
            f64.grouped_pack(packed, p, weight)
        elif algorithm == WINOGRAD:
            f64.winograd_pack(packed, p, weight)
        else:
            f64.conv_pack(packed, p, weight)


cdef void run_units(Algorithm algorithm, const conv_pass *p, real *y, const real *x,
                    const real *packed, const real *bias, isize begin, isize end, bint add,
                    const finish *f, void *scratch) noexcept nogil:
    """Units begin..end of a batch."""
    if real is float:
        (f32.depthwise_run if algorithm == DEPTHWISE else
         f32.grouped_run if algorithm == GROUPED else f32.conv_run)(
            p, y, x, packed, bias, begin, end, add, f, <float *> scratch)
    else:
        (f64.depthwise_run if algorithm == DEPTHWISE else
         f64.grouped_run if algorithm == GROUPED else f64.conv_run)(
            p, y, x, packed, bias, begin, end, add, f, <double *> scratch)


cdef void run_plain(const conv_pass *p, real *y, const real *x, const real *weight,
                    const real *bias, isize begin, isize end, bint add,
                    const finish *f) noexcept nogil:
    """Images begin..end by the formula."""
    cdef isize size = p.OH * p.OW * p.O
    if real is float:
        f32.conv_plain(p, y, x, weight, bias, begin, end, add)
    else:
        f64.conv_plain(p, y, x, weight, bias, begin, end, add)
    if f != NULL:
        finish_piece(f, y, begin * size, (end - begin) * size)


cdef void run_tiles(const conv_pass *p, real *y, const real *x, const real *weight,
                    const real *kept, const real *bias, isize first, isize last, isize begin,
                    isize end, bint add, const finish *f, void *scratch) noexcept nogil:
    """Tiles first..last, channels begin..end, by Winograd's algorithm."""
    if real is float:
        f32.winograd_run(p, y, x, weight, kept, bias, first, last, begin, end, add, f,
                         <float *> scratch)
    else:
        f64.winograd_run(p, y, x, weight, kept, bias, first, last, begin, end, add, f,
                         <double *> scratch)


cdef void weight_units(Algorithm algorithm, const conv_pass *p, real *sums, const real *map,
                       const real *image, isize begin, isize end, void *scratch) noexcept nogil:
    """sums = what units begin..end give to the gradient of the weights."""
    if real is float:
        (f32.depthwise_weight if algorithm == DEPTHWISE else f32.conv_weight)(
            p, sums, map, image, begin, end, <float *> scratch)
    else:
        (f64.depthwise_weight if algorithm == DEPTHWISE else f64.conv_weight)(
            p, sums, map, image, begin, end, <double *> scratch)
