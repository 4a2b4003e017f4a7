"""Convolution and its transpose: correlation of an image with small filters, as all libraries
name it.

N images (H,W,C), maps (OH,OW,O), weight (O,KH,KW,C/G), G groups. Convolution reads images and
writes maps; ConvolutionTranspose reads maps and writes images, its weight (C_in,KH,KW,C_out/G).
An op is three passes: down from image to map, up from map to image, and the gradient of the weights
(convolution_passes.pyx). Their algorithm is chosen when the plan is built (convolution_choice.pyx):

- product: 1x1, stride 1: the matrix product of gemm.h
- direct: simd/convolution.h on a padded copy of the image
- patches: the same on a copy of each window (im2col), for maps with short rows
- overlap: one of these down; up by simd/convolution_overlap.h, for images of few channels
- depthwise: simd/depthwise.h; grouped: simd/grouped.h, for other groups of few channels
- winograd: 3x3, stride 1: simd/winograd.h, a quarter of the multiplications, less exact
- plain: the formula, for tests

Forward, filters that leave most of a vector empty are laid side by side: a vector has those of
several pixels in a row, each shifted to its own window, as one wider window.
(As with winograd, what is infinite or NaN then reaches a few pixels beyond those that see it.)

Members share units of work (a few rows of one image) or, where there are enough, whole images. The
gradient of the weights is cut into as many pieces as members were asked for, however many came,
and the pieces' sums are added in order.
"""
from nncore._kernels cimport threads
from nncore._kernels.convolution_algorithms cimport (DEPTHWISE, PLAIN, PRODUCT, WINOGRAD, pack,
                                                     run_plain, run_tiles, run_units,
                                                     weight_units)
from nncore._kernels.convolution_choice cimport Choice, bias_data, weight_data
from nncore._kernels.convolution_passes cimport tiles, units
from nncore._kernels.finishing cimport finishing
from nncore._kernels.op cimport UNIT, Run, adds, share
from nncore._kernels.products cimport (finish_piece, gemm, gemm_packed, sum_rows,
                                       winograd_weight)
from nncore._kernels.simd cimport conv_pass, f32, f64, finish, isize, real

cdef enum:
    FINISHED = 64 << 10  # bytes of a product that are finished at a time: they are in L2 still,
    FEWEST_PIXELS = 128  # but so many pixels that reading the weights again for them costs little


cdef class Convolution(Choice):
    """y = x * weight + b"""

    cdef void forward(self, Run *run) noexcept nogil:
        if self.is_double:
            forward[double](self, run, NULL)
        else:
            forward[float](self, run, NULL)

    cdef void backward(self, Run *run) noexcept nogil:
        if self.is_double:
            backward[double](self, run, NULL)
        else:
            backward[float](self, run, NULL)


cdef void forward(Convolution op, Run *run, real *_) noexcept nogil:
    cdef const real *bias = <const real *> (bias_data(op) if op.wide_bias is None
                                            else op.wide_bias.data)
    cdef finish storage
    cdef const finish *f = finishing(op, &storage)
    if op.transposed:
        run_up(op, run, <real *> op.y.data, <const real *> op.x.data, bias, op.by_images, False)
    else:
        run_down(op, run, <real *> op.y.data, <const real *> op.x.data, bias, op.by_images, False,
                 f)


cdef void backward(Convolution op, Run *run, real *_) noexcept nogil:
    cdef real *dx = <real *> op.x.grad
    cdef const real *dy = <const real *> op.y.grad
    if dx != NULL and op.transposed:
        run_down(op, run, dx, dy, NULL, False, adds(op, 0), NULL)
    elif dx != NULL:
        run_up(op, run, dx, dy, NULL, False, adds(op, 0))
    if op.weight.grad != NULL:
        backward_weight(op, run, <real *> op.weight.grad, dy)


# ---- y = x * weight ------------------------------------------------------------------------------

cdef void run_down(Convolution op, Run *run, real *map, const real *image, const real *bias,
                   bint by_images, bint add, const finish *f) noexcept nogil:
    """From images to maps."""
    cdef conv_pass *p = &op.ahead
    cdef isize begin, end
    if op.chosen == PRODUCT:
        share_pixels(op, run, by_images, &begin, &end)
        multiply_pixels(op, run, map, image, bias, begin, end, add, f)
    else:
        run_pass(op, run, p, map, image, bias, by_images, add, f,
                 NULL if op.packed_weight is None else op.packed_weight.data)


cdef void multiply_pixels(Convolution op, Run *run, real *map, const real *image,
                          const real *bias, isize begin, isize end, bint add,
                          const finish *f) noexcept nogil:
    """The product for the pixels begin..end; with packed weights it is finished piece by piece."""
    cdef isize O = op.ahead.O, C = op.ahead.C, n, pixels = end - begin
    if f != NULL and op.packed_weight is not None:
        pixels = max(FEWEST_PIXELS, FINISHED // (O * <isize> sizeof(real)))
    while begin < end:
        n = min(pixels, end - begin)
        if op.packed_weight is None:
            gemm(map + begin * O, O, image + begin * C, C, 1, <const real *> weight_data(op), 1,
                 C, n, O, C, add, bias, run.scratch)
        else:
            gemm_packed(map + begin * O, O, image + begin * C, C,
                        <const real *> op.packed_weight.data, op.most, n, O, C, add, bias,
                        run.scratch)
        if f != NULL:
            finish_piece(f, map, begin * O, n * O)
        begin += n


cdef void run_up(Convolution op, Run *run, real *image, const real *map, const real *bias,
                 bint by_images, bint add) noexcept nogil:
    """From maps to images, phase by phase."""
    cdef conv_pass p
    cdef isize row, column, begin, end
    if op.chosen == PRODUCT:
        p = op.down
        share_pixels(op, run, by_images, &begin, &end)
        gemm(image + begin * p.C, p.C, map + begin * p.O, p.O, 1, <const real *> op.weight.data,
             p.C, 1, end - begin, p.C, p.O, add, bias, run.scratch)
        return
    if op.overlaps:
        share(run.rows * op.down.H, op.down.H if by_images else 1, run, &begin, &end)
        if real is float:
            f32.conv_overlap(&op.down, image, map, <const float *> op.weight.data, bias, begin,
                             end, add, <float *> (run.scratch + op.sums + op.bias_sums))
        else:
            f64.conv_overlap(&op.down, image, map, <const double *> op.weight.data, bias, begin,
                             end, add, <double *> (run.scratch + op.sums + op.bias_sums))
        return
    for row in range(min(op.down.stride_h, op.down.H)):
        for column in range(min(op.down.stride_w, op.down.W)):
            op.up(&p, row, column)
            run_pass(op, run, &p, image, map, bias, by_images, add, NULL, NULL)


cdef void share_pixels(Convolution op, Run *run, bint by_images, isize *begin,
                       isize *end) noexcept nogil:
    cdef isize pixels = op.down.OH * op.down.OW
    share(run.rows * pixels, pixels if by_images else 1, run, begin, end)


cdef void run_pass(Convolution op, Run *run, const conv_pass *p, real *y, const real *x,
                   const real *bias, bint by_images, bint add, const finish *f,
                   char *kept) noexcept nogil:
    """This member's share of one pass; kept: the packed weights, if they are."""
    cdef isize n = units(p), begin = 0, end = p.O, first = 0, last
    cdef const real *weight = <const real *> weight_data(op)
    cdef char *packed = run.scratch + op.sums + op.bias_sums
    cdef char *scratch = packed + op.packed
    if op.chosen == PLAIN:
        share(run.rows, 1, run, &begin, &end)
        run_plain(p, y, x, weight, bias, begin, end, add, f)
    elif op.chosen == WINOGRAD:
        n, last = tiles(p), run.rows * tiles(p)
        if op.wide:
            share(p.O, UNIT, run, &begin, &end)
        else:
            share(run.rows * n, n if by_images else 1, run, &first, &last)
        run_tiles(p, y, x, weight, <const real *> kept, bias, first, last, begin, end, add, f,
                  scratch)
    else:
        share(run.rows * n, n if by_images else 1, run, &begin, &end)
        if begin < end and kept == NULL:
            pack(op.chosen, p, <real *> packed, weight)
            kept = packed
        run_units(op.chosen, p, y, x, <const real *> kept, bias, begin, end, add, f, scratch)


# ---- the gradients of weight and bias ------------------------------------------------------------

cdef void backward_weight(Convolution op, Run *run, real *dweight, const real *dy) noexcept nogil:
    """dW[o] = sum over pixels of dmap[o] times the image's window; db = sum of dy."""
    cdef isize pieces = min(<isize> run.asked, op.slots), piece = run.member
    cdef isize channels = op.channels, pixels = run.rows * (op.y.size // channels), begin, end
    cdef const real *image = dy if op.transposed else <const real *> op.x.data
    cdef const real *map = <const real *> op.x.data if op.transposed else dy
    cdef real *dbias = NULL
    cdef char *slot
    if op.bias is not None:
        dbias = <real *> op.bias.grad
    while piece < pieces:
        slot = run.slots + piece * run.slot_size
        weight_piece(op, run, <real *> slot, map, image, piece, pieces)
        begin, end = pixels * piece // pieces, pixels * (piece + 1) // pieces
        if dbias != NULL:
            sum_rows(<real *> (slot + op.sums), dy + begin * channels, channels, end - begin,
                     channels, False)
        piece += run.members
    threads.barrier(run.members)
    store_weight(op, run, dweight, map, image, pieces)
    if dbias != NULL:
        share(channels, 1, run, &begin, &end)
        add_pieces(dbias, <const real *> (run.slots + op.sums), run.slot_size // sizeof(real),
                   pieces, begin, end, adds(op, 2))


cdef void add_pieces(real *d, const real *sums, isize apart, isize pieces, isize begin, isize end,
                     bint add) noexcept nogil:
    """d = the sum over the pieces [+ d]."""
    cdef isize piece, i
    for i in range(begin, end):
        d[i] = d[i] + sums[i] if add else sums[i]
    for piece in range(1, pieces):
        for i in range(begin, end):
            d[i] += sums[piece * apart + i]


cdef void weight_piece(Convolution op, Run *run, real *sums, const real *map, const real *image,
                       isize piece, isize pieces) noexcept nogil:
    """The sums of one piece of the batch."""
    cdef conv_pass *p = &op.down
    cdef char *scratch = run.scratch + op.sums + op.bias_sums + op.packed
    cdef isize n = run.rows * (p.OH * p.OW if op.chosen == PRODUCT else
                               tiles(p) if op.chosen == WINOGRAD else units(p))
    cdef isize begin = n * piece // pieces, end = n * (piece + 1) // pieces
    if op.chosen == PRODUCT:
        gemm(sums, p.C, map + begin * p.O, 1, p.O, image + begin * p.C, p.C, 1, p.O, p.C,
             end - begin, False, <const real *> NULL, scratch)
    elif op.chosen == WINOGRAD:
        if not op.wide:  # those are shared out later, whole
            winograd_weight(p, sums, map, image, begin, end, 0, p.O, False, scratch)
    elif op.chosen != PLAIN:
        weight_units(op.chosen, p, sums, map, image, begin, end, scratch)


cdef void store_weight(Convolution op, Run *run, real *dweight, const real *map,
                       const real *image, isize pieces) noexcept nogil:
    """dweight = the sum of the pieces [+ dweight]; each member some filters."""
    cdef conv_pass *p = &op.down
    cdef isize begin, end, apart = run.slot_size // sizeof(real), n = op.weight.size // p.O
    share(p.O, 1, run, &begin, &end)
    if op.chosen == PLAIN:
        if real is float:
            f32.conv_plain_weight(p, dweight, map, image, run.rows, begin, end, adds(op, 1))
        else:
            f64.conv_plain_weight(p, dweight, map, image, run.rows, begin, end, adds(op, 1))
        return
    if op.wide:
        share(p.O, UNIT, run, &begin, &end)
        winograd_weight(p, dweight, map, image, 0, run.rows * tiles(p), begin, end, adds(op, 1),
                        run.scratch + op.sums + op.bias_sums + op.packed)
        return
    if op.chosen == PRODUCT or op.chosen == WINOGRAD:
        add_pieces(dweight, <const real *> run.slots, apart, pieces, begin * n, end * n,
                   adds(op, 1))
        return
    if real is float:
        f32.conv_weight_store(p, dweight, <float *> run.slots, pieces, apart, begin, end,
                              adds(op, 1), op.chosen == DEPTHWISE)
    else:
        f64.conv_weight_store(p, dweight, <double *> run.slots, pieces, apart, begin, end,
                              adds(op, 1), op.chosen == DEPTHWISE)
