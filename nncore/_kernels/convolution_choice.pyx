"""What a convolution decides when its plan is built: the algorithm, the units of work, how much
memory; and what it makes of the weights before they are used. convolution.pyx names the shapes.

In plans that do not train, normalization by running statistics disappears in the weights:

    scale = gamma / sqrt(var + epsilon)
    folded weight = scale weight,  folded b = (b - mean) scale + beta
"""
from libc.math cimport sqrt
from libc.string cimport memcpy, memset
from nncore._kernels.batch_normalization cimport RunningNormalization
from nncore._kernels.convolution_algorithms cimport (DEPTHWISE, DIRECT, GROUPED, PATCHES, PLAIN,
                                                     PRODUCT, WINOGRAD, pack, sizes)
from nncore._kernels.convolution_passes cimport (down_pass, set_blocks, up_pass, winograd_can,
                                                 winograd_is_faster)
from nncore._kernels.finishing cimport Finishing
from nncore._kernels.op cimport Op, Tensor
from nncore._kernels.products cimport gemm_pack, gemm_packed_size, gemm_scratch
from nncore._kernels.simd cimport (CONV_PADDED, CONV_PATCHES, conv_pass, f32, f64, isize, real,
                                   vector_bytes)

from nncore._kernels.threads import fills, largest

ALGORITHMS = {"plain": PLAIN, "product": PRODUCT, "direct": DIRECT, "patches": PATCHES,
              "depthwise": DEPTHWISE, "grouped": GROUPED, "winograd": WINOGRAD,
              "overlap": None}  # the backward pass of another

cdef enum:
    UNIT_BYTES = 128 << 10   # of x in a unit of work: a part of L2
    LINE = 64
    FEWEST = 6               # sums of vectors that a processor must have under way at once

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


cdef class Choice(Finishing):
    """What a Convolution knows, and chooses when its plan is built.

    Geometry: strides, dilations, and the zeros above and left.

    ``keeps(bytes)``: whether packed weights may be kept for the next run. If not, in plans that
    train or whose weights are too many, only what `lay_beside` makes of a few filters is.
    """

    def __init__(self, Tensor x, Tensor weight, Tensor bias, Tensor y, strides, dilations, before,
                 groups=1, rows=1, transposed=False, keeps=None):
        cdef conv_pass *p = &self.down
        cdef isize elements, scratch
        self.connect((x, weight) if bias is None else (x, weight, bias), (y,))
        self.x, self.weight, self.bias, self.y = x, weight, bias, y
        self.transposed = transposed
        image, map = [(1,) * (3 - len(t.shape)) + t.shape
                      for t in ((y, x) if transposed else (x, y))]
        p.H, p.W, p.C = image
        p.OH, p.OW, p.O = map
        p.KH, p.KW = (1,) * (4 - len(weight.shape)) + weight.shape[1:len(weight.shape) - 1]
        p.stride_h, p.stride_w = strides
        p.dilation_h, p.dilation_w = dilations
        p.top, p.left = before
        p.groups = groups
        assert min(*x.shape, *y.shape, *weight.shape, *strides, *dilations, groups) > 0
        assert p.C % groups == p.O % groups == 0
        assert weight.shape[0] == p.O and weight.size == p.O * p.KH * p.KW * (p.C // groups)
        self.channels = y.shape[len(y.shape) - 1]
        assert bias is None or bias.shape == (self.channels,)
        self.work = 2.0 * p.OH * p.OW * weight.size
        self.backward_by_rows = False
        self.beside = 1
        self.most = rows * p.OH * p.OW
        self.choose(rows)
        keep = False
        if self.packs_all():
            if self.chosen == PRODUCT:
                elements = gemm_packed_size(self.is_double, p.O, p.C)
            else:
                sizes(self.chosen, &self.ahead, self.is_double, &elements, &scratch)
            keep = keeps is not None and keeps(elements * y.itemsize)
            if keep or self.beside > 1:
                self.keep(elements)
        self.measure(keep)

    def takes(self, Op op):
        if self.transposed:  # whose outputs lie phase by phase
            return False
        if isinstance(op, RunningNormalization):
            return self.normalization is None and self.plus is None and self.last.sigma == NULL
        return super().takes(op)

    def take(self, Op op):
        cdef Tensor weight = self.weight
        if isinstance(op, RunningNormalization):
            self.normalization = op
            self.folded_weight = Tensor(weight.shape, weight.itemsize, None, None, False)
            self.folded_bias = Tensor((weight.shape[0],), weight.itemsize, None, None, False)
            self.kept += (self.folded_weight, self.folded_bias)
            self.inputs += op.inputs[1:]
            self.prepares = True
        super().take(op)

    cdef bint packs_all(self):
        """Whether there is one packing of the weights for the whole forward pass."""
        return self.chosen != PLAIN and not self.transposed and not self.wide

    def keep(self, isize elements):
        self.packed_weight = Tensor((elements,), self.y.itemsize, None, None, False)
        self.kept = (self.packed_weight,)
        self.prepares = True
        if self.beside > 1:
            n = self.ahead.O * self.ahead.KH * self.ahead.KW * self.ahead.C
            self.wide_weight = Tensor((n,), self.y.itemsize, None, None, False)
            self.wide_bias = Tensor((self.ahead.O,), self.y.itemsize, None, None, False)
            self.kept += (self.wide_weight, self.wide_bias)

    cdef void lay_beside(self) noexcept nogil:
        """Makes of some pixels in a row one with all their filters, where that takes less time:
        in steps of the sum for a vector, KW + (n - 1) stride for n pixels instead of n KW; but a
        row of less than FEWEST takes as long as so many."""
        cdef conv_pass *p = &self.ahead
        cdef isize n, best = 1, lanes = vector_bytes() // self.y.itemsize
        for n in range(2, lanes // p.O + 1):
            if p.OW % n == 0 and (
                    (p.KW + (n - 1) * p.stride_w) * max(FEWEST, p.OW // n)
                    < (p.KW + (best - 1) * p.stride_w) * max(FEWEST, p.OW // best)):
                best = n
        self.beside = best
        p.KW += (best - 1) * p.stride_w
        p.stride_w *= best
        p.OW //= best
        p.O *= best

    cdef void prepare(self) noexcept nogil:
        if self.is_double:
            if self.normalization is not None:
                fold[double](self, self.normalization, NULL)
            pack_all[double](self, NULL)
        else:
            if self.normalization is not None:
                fold[float](self, self.normalization, NULL)
            pack_all[float](self, NULL)

    def choose(self, rows):
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
        elif (f64.grouped_can if self.is_double else f32.grouped_can)(p):
            best = "grouped"
        possible.append(best)
        if winograd_can(p):
            possible.append("winograd")
            if not exact and not self.is_double and winograd_is_faster(p, rows):
                best = "winograd"
        algorithm = forced if forced in possible else best
        self.overlaps = algorithm == "overlap" or (
            algorithm != forced and best in ("direct", "patches") and self.prefers_overlap())
        self.chosen = ALGORITHMS[best if algorithm == "overlap" else algorithm]
        self.slots = largest()
        self.wide = self.chosen == WINOGRAD and (
            f64.winograd_is_wide(p) if self.is_double else f32.winograd_is_wide(p))
        self.by_images = not self.wide and fills(rows)
        self.forward_by_rows = self.by_images
        self.ahead = p[0]
        if self.chosen == DIRECT and p.groups == p.dilation_w == 1 and self.packs_all():
            self.lay_beside()
        down_pass(p)
        down_pass(&self.ahead)
        self.cut(p, rows)
        self.cut(&self.ahead, rows)

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
        names = {chosen: name for name, chosen in ALGORITHMS.items()}
        return names[None if self.overlaps else self.chosen]

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
            work = max(gemm_scratch(self.is_double, 1 << 40, self.down.O, self.down.C),
                       gemm_scratch(self.is_double, 1 << 40, self.down.C, self.down.O),
                       gemm_scratch(self.is_double, self.down.O, self.down.C, 1 << 40))
        elif self.chosen != PLAIN:
            self.count(&self.down, &packed, &work)
            self.count(&self.ahead, &packed, &work)
            work = max(work, self.overlap_scratch())
            if not keep or self.packed_weight is None:  # what trains, or is transposed, goes up
                for row in range(min(self.down.stride_h, self.down.H)):
                    for column in range(min(self.down.stride_w, self.down.W)):
                        self.up(&p, row, column)
                        self.count(&p, &packed, &work)
        self.packed = lines(packed * itemsize)
        self.scratch_size = self.sums + self.bias_sums + self.packed + work * itemsize

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


cdef void fold(Choice op, RunningNormalization normalization, real *_) noexcept nogil:
    cdef isize O = op.folded_bias.size, n = op.weight.size // O, o, i
    cdef const real *weight = <const real *> op.weight.data
    cdef const real *bias = <const real *> op.bias.data if op.bias is not None else NULL
    cdef const real *gamma = <const real *> normalization.weight.data
    cdef const real *beta = <const real *> normalization.bias.data
    cdef const real *mean = <const real *> normalization.mean.data
    cdef const real *var = <const real *> normalization.var.data
    cdef real *folded = <real *> op.folded_weight.data
    cdef real *offset = <real *> op.folded_bias.data
    cdef real scale
    for o in range(O):
        scale = <real> (gamma[o] / sqrt(var[o] + normalization.epsilon))
        offset[o] = ((bias[o] if bias != NULL else 0) - mean[o]) * scale + beta[o]
        for i in range(o * n, (o + 1) * n):
            folded[i] = weight[i] * scale


cdef void pack_all(Choice op, real *_) noexcept nogil:
    """Packs the weights, folded and side by side where they are."""
    cdef conv_pass *p = &op.ahead
    cdef const real *weight = <const real *> weight_data(op)
    cdef const real *bias = <const real *> bias_data(op)
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
    if op.chosen == PRODUCT:
        gemm_pack(<real *> op.packed_weight.data, weight, 1, p.C, p.O, p.C, op.most, 0, 1)
    else:
        pack(op.chosen, p, <real *> op.packed_weight.data, weight)
