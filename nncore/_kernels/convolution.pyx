"""Convolution and its transpose: correlation of an image with small filters, as all libraries
name it.

N images (H,W,C), maps (OH,OW,O), weight (O,KH,KW,C/G), G groups. Convolution reads images and
writes maps; ConvolutionTranspose reads maps and writes images, its weight (C_in,KH,KW,C_out/G).
An op is three passes (passes.pyx): down from image to map, up from map to image, and the gradient
of the weights. The algorithm is chosen when the plan is built:

- product: 1x1, stride 1: the matrix product of gemm.h
- direct: simd/convolution.h on a padded copy of the image
- patches: the same on a copy of each window (im2col), for maps with short rows
- overlap: one of these down; up by simd/convolution_overlap.h, for images of few channels
- depthwise: simd/depthwise.h
- winograd: 3x3, stride 1: simd/winograd.h, a quarter of the multiplications, less exact
- plain: the formula, for tests

In plans that do not train, filters that leave most of a vector empty are laid side by side: a
vector has those of several pixels in a row, each shifted to its own window, as one wider window.

Members share units of work (a few rows of one image) or, where there are enough, whole images. The
gradient of the weights is cut into as many pieces as members were asked for, however many came,
and the pieces' sums are added in order.
"""
from libc.string cimport memcpy, memset
from nncore._kernels cimport threads
from nncore._kernels.algorithms cimport (DEPTHWISE, DIRECT, PATCHES, PLAIN, PRODUCT, WINOGRAD,
                                         Algorithm, pack, run_plain, run_tiles, run_units, sizes,
                                         weight_units)
from nncore._kernels.finishing cimport Finishing, biases, finishing, weights
from nncore._kernels.op cimport Run, Tensor, adds, share
from nncore._kernels.passes cimport (down_pass, set_blocks, tiles, units, up_pass, winograd_can,
                                     winograd_is_faster)
from nncore._kernels.simd cimport (CONV_PADDED, CONV_PATCHES, conv_pass, f32, f64, finish,
                                   finish_piece, gemm, isize, real, sum_rows, vector_bytes,
                                   winograd_weight)

from nncore._kernels.threads import largest

ALGORITHMS = ("plain", "product", "direct", "patches", "depthwise", "winograd", "overlap")

cdef enum:
    UNIT_BYTES = 128 << 10   # of x in a unit of work: a part of L2
    LINE = 64
    UNIT_CHANNELS = 16       # members' channels start at multiples of this: one vector of AVX-512

forced = None
exact = False                # without winograd


def force(algorithm=None):
    """Plans built from now on use this algorithm wherever it is possible; None: the best one."""
    global forced
    assert algorithm is None or algorithm in ALGORITHMS, algorithm
    forced = algorithm


def set_exact(value):
    """Plans built from now on do without winograd, or not."""
    global exact
    exact = value


cdef isize lines(isize bytes) noexcept nogil:
    return (bytes + LINE - 1) // LINE * LINE


cdef class Convolution(Finishing):
    """y = x * weight + b; geometry: strides, dilations, and the zeros above and left.

    ``keep``: the plan does not train, so packed weights are kept for the next run.
    """
    cdef Tensor x, packed_weight, wide_weight, wide_bias
    cdef conv_pass down
    cdef bint transposed, by_images, overlaps
    cdef bint wide            # winograd's members share channels, not tiles or images
    cdef Algorithm chosen
    cdef isize slots          # members that scratch has room for
    cdef isize channels       # of y
    cdef isize sums, bias_sums  # bytes of a piece's sums: of weights, of biases
    cdef isize packed         # bytes of packed weights at most
    cdef isize beside         # pixels whose filters lie side by side in a vector

    def __init__(self, Tensor x, Tensor weight, Tensor bias, Tensor y, strides, dilations, before,
                 groups=1, rows=1, transposed=False, keep=False):
        cdef conv_pass *p = &self.down
        self.connect((x, weight) if bias is None else (x, weight, bias), (y,))
        self.x, self.weight, self.bias, self.y = x, weight, bias, y
        self.transposed = transposed
        self.alone = transposed  # whose outputs lie phase by phase
        image, map = [(1,) * (3 - len(t.shape)) + t.shape
                      for t in ((y, x) if transposed else (x, y))]
        p.H, p.W, p.C = image
        p.OH, p.OW, p.O = map
        p.KH, p.KW = (1,) * (4 - len(weight.shape)) + weight.shape[1:-1]
        p.stride_h, p.stride_w = strides
        p.dilation_h, p.dilation_w = dilations
        p.top, p.left = before
        p.groups = groups
        assert min(*x.shape, *y.shape, *weight.shape, *strides, *dilations, groups) > 0
        assert p.C % groups == p.O % groups == 0
        assert weight.shape[0] == p.O and weight.size == p.O * p.KH * p.KW * (p.C // groups)
        assert bias is None or bias.shape == y.shape[-1:]
        self.channels = y.shape[len(y.shape) - 1]
        self.work = 2.0 * p.OH * p.OW * weight.size
        self.backward_by_rows = False
        self.beside = 1
        self.choose(rows, keep)
        if keep and self.packs_all():
            self.keep()
        self.measure(keep)

    cdef bint packs_all(self):
        """Whether there is one packing of the weights for the whole forward pass."""
        return (self.chosen not in (PLAIN, PRODUCT) and not self.transposed and not self.wide)

    def keep(self):
        cdef isize elements, scratch
        sizes(self.chosen, &self.down, self.is_double, &elements, &scratch)
        self.packed_weight = Tensor((elements,), self.y.itemsize, None, None, False)
        self.kept = (self.packed_weight,)
        self.prepares = True
        if self.beside > 1:
            n = self.down.O * self.down.KH * self.down.KW * self.down.C
            self.wide_weight = Tensor((n,), self.y.itemsize, None, None, False)
            self.wide_bias = Tensor((self.down.O,), self.y.itemsize, None, None, False)
            self.kept += (self.wide_weight, self.wide_bias)

    cdef void lay_beside(self) noexcept nogil:
        """Makes of some pixels in a row one with all their filters, where that takes less time:
        in steps of the sum for a vector, (KW + (n - 1) stride) for n pixels instead of n KW."""
        cdef conv_pass *p = &self.down
        cdef isize n, best = 1, lanes = vector_bytes() // self.y.itemsize
        for n in range(2, lanes // p.O + 1):
            if p.OW % n == 0 and (p.KW + (n - 1) * p.stride_w) * best < (
                    p.KW + (best - 1) * p.stride_w) * n:
                best = n
        self.beside = best
        p.KW += (best - 1) * p.stride_w
        p.stride_w *= best
        p.OW //= best
        p.O *= best

    cdef void prepare(self) noexcept nogil:
        self.fold()
        if self.is_double:
            prepare[double](self, NULL)
        else:
            prepare[float](self, NULL)

    def choose(self, rows, keep):
        """The algorithm, and the units of work for so many images at most."""
        cdef conv_pass *p = &self.down
        best = "direct"
        possible = ["plain", "direct", "patches"]
        if p.groups == 1:
            possible.append("overlap")
            if p.OW <= 2 < p.OH:  # too few pixels in a row for a tile
                best = "patches"
        if (p.KH == p.KW == p.stride_h == p.stride_w == p.groups == 1
                and p.top == p.left == 0 and p.H == p.OH and p.W == p.OW):
            best = "product"
        elif p.groups == p.C > 1:
            best = "depthwise"
        possible.append(best)
        if winograd_can(p):
            possible.append("winograd")
            if not exact and winograd_is_faster(p, rows):
                best = "winograd"
        algorithm = forced if forced in possible else best
        self.overlaps = algorithm == "overlap" or (
            algorithm != forced and best in ("direct", "patches") and self.prefers_overlap())
        self.chosen = ALGORITHMS.index(best if algorithm == "overlap" else algorithm)
        self.slots = largest()
        self.wide = self.chosen == WINOGRAD and (
            f64.winograd_is_wide(p) if self.is_double else f32.winograd_is_wide(p))
        self.by_images = not self.wide and (rows % self.slots == 0 or rows >= 4 * self.slots)
        self.forward_by_rows = self.by_images
        if keep and self.chosen == DIRECT and p.groups == p.dilation_w == 1 and self.packs_all():
            self.lay_beside()
        down_pass(p)
        self.cut(p, rows)

    cdef bint prefers_overlap(self):
        """Whether the image's channels would leave most of a vector empty: measured, 3 of 16 lanes
        take half the time so, 6 a little less, 8 a little more."""
        return self.down.groups == 1 and 8 * self.down.C * self.y.itemsize <= 3 * vector_bytes()

    cdef void cut(self, conv_pass *p, isize rows) noexcept nogil:
        p.source = CONV_PATCHES if self.chosen == PATCHES else CONV_PADDED
        set_blocks(p, UNIT_BYTES // self.y.itemsize,
                   1 if rows >= self.slots else 2 * self.slots)

    @property
    def algorithm(self):
        return "overlap" if self.overlaps else ALGORITHMS[self.chosen]

    cdef void up(self, conv_pass *p, isize row, isize column) noexcept nogil:
        """The pass up to the image's pixels of one phase."""
        up_pass(p, &self.down, row, column)
        self.cut(p, 1)

    def measure(self, keep):
        """Sizes of scratch: [sums of one piece | packed weights | work of the kernels]."""
        cdef conv_pass p
        cdef isize row, column, packed = 0, work = 0, itemsize = self.y.itemsize
        self.sums = 0 if self.wide else lines(self.weight.size * itemsize)
        self.bias_sums = lines(self.channels * itemsize)
        if self.chosen == PRODUCT:
            work = max(self.product_scratch(1 << 40, self.down.O, self.down.C),
                       self.product_scratch(1 << 40, self.down.C, self.down.O),
                       self.product_scratch(self.down.O, self.down.C, 1 << 40))
        elif self.chosen != PLAIN:
            self.count(&self.down, &packed, &work)
            work = max(work, self.overlap_scratch())
            if self.packed_weight is None:
                for row in range(min(self.down.stride_h, self.down.H)):
                    for column in range(min(self.down.stride_w, self.down.W)):
                        self.up(&p, row, column)
                        self.count(&p, &packed, &work)
        self.packed = lines(packed * itemsize)
        self.scratch_size = self.sums + self.bias_sums + self.packed + work * itemsize

    cdef isize product_scratch(self, isize M, isize N, isize K) noexcept nogil:
        return f64.gemm_scratch(M, N, K) if self.is_double else f32.gemm_scratch(M, N, K)

    cdef isize overlap_scratch(self) noexcept nogil:
        if not self.overlaps:
            return 0
        if self.is_double:
            return f64.overlap_scratch(&self.down)
        return f32.overlap_scratch(&self.down)

    cdef void count(self, const conv_pass *p, isize *packed, isize *work) noexcept nogil:
        cdef isize a, b
        sizes(self.chosen, p, self.is_double, &a, &b)
        if self.chosen != WINOGRAD:  # it packs where it works
            packed[0] = max(packed[0], a)
        work[0] = max(work[0], b)

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


cdef void prepare(Convolution op, real *_) noexcept nogil:
    """Packs the weights, folded and side by side where they are."""
    cdef conv_pass *p = &op.down
    cdef const real *weight = <const real *> weights(op)
    cdef const real *bias = <const real *> biases(op)
    cdef isize window = (p.KW - (op.beside - 1) * p.stride_w // op.beside) * p.C, row = p.KW * p.C
    cdef isize O = p.O // op.beside, filter, o, i, n
    cdef real *wide
    if op.packed_weight is None:
        return
    if op.beside > 1:
        wide = <real *> op.wide_weight.data
        memset(wide, 0, op.wide_weight.size * sizeof(real))
        for n in range(op.beside):
            for o in range(O):
                filter = n * O + o
                (<real *> op.wide_bias.data)[filter] = bias[o] if bias != NULL else 0
                for i in range(p.KH):
                    memcpy(wide + (filter * p.KH + i) * row
                           + n * (p.stride_w // op.beside) * p.C,
                           weight + (o * p.KH + i) * window, window * sizeof(real))
        weight = wide
    pack(op.chosen, p, <real *> op.packed_weight.data, weight)


cdef void forward(Convolution op, Run *run, real *_) noexcept nogil:
    cdef const real *bias = <const real *> (biases(op) if op.wide_bias is None
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
    cdef conv_pass *p = &op.down
    cdef isize begin, end
    if op.chosen == PRODUCT:
        share_pixels(op, run, by_images, &begin, &end)
        gemm(map + begin * p.O, p.O, image + begin * p.C, p.C, 1, <const real *> weights(op),
             1, p.C, end - begin, p.O, p.C, add, bias, run.scratch)
        if f != NULL:
            finish_piece(f, map, begin * p.O, (end - begin) * p.O)
    else:
        run_pass(op, run, p, map, image, bias, by_images, add, f,
                 NULL if op.packed_weight is None else op.packed_weight.data)


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
    cdef const real *weight = <const real *> weights(op)
    cdef char *packed = run.scratch + op.sums + op.bias_sums
    cdef char *scratch = packed + op.packed
    if op.chosen == PLAIN:
        share(run.rows, 1, run, &begin, &end)
        run_plain(p, y, x, weight, bias, begin, end, add, f)
    elif op.chosen == WINOGRAD:
        n, last = tiles(p), run.rows * tiles(p)
        if op.wide:
            share(p.O, UNIT_CHANNELS, run, &begin, &end)
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
    cdef conv_pass p = op.down
    cdef isize begin, end, apart = run.slot_size // sizeof(real), n = op.weight.size // p.O
    share(p.O, 1, run, &begin, &end)
    if op.chosen == PLAIN:
        if real is float:
            f32.conv_plain_weight(&p, dweight, map, image, run.rows, begin, end, adds(op, 1))
        else:
            f64.conv_plain_weight(&p, dweight, map, image, run.rows, begin, end, adds(op, 1))
        return
    if op.wide:
        share(p.O, UNIT_CHANNELS, run, &begin, &end)
        winograd_weight(&p, dweight, map, image, 0, run.rows * tiles(&p), begin, end, adds(op, 1),
                        run.scratch + op.sums + op.bias_sums + op.packed)
        return
    if op.chosen == PRODUCT or op.chosen == WINOGRAD:
        add_pieces(dweight, <const real *> run.slots, apart, pieces, begin * n, end * n,
                   adds(op, 1))
        return
    if op.chosen == DEPTHWISE:  # its sums (KH,KW,O) are those of one group
        p.groups = p.C = 1
    if real is float:
        f32.conv_weight_store(&p, dweight, <float *> run.slots, pieces, apart, begin, end,
                              adds(op, 1))
    else:
        f64.conv_weight_store(&p, dweight, <double *> run.slots, pieces, apart, begin, end,
                              adds(op, 1))
