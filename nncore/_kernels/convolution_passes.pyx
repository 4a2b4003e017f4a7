"""Passes: a convolution and its gradient as what the kernels run (conv_pass of simd/simd.h).

A convolution goes down from an image (H,W,C) to a map (OH,OW,O). Its gradient, and a transposed
convolution, go up: pixel h of the image gets from map row m where m stride + i dilation = h + top.
For the image rows that are equal modulo the stride the same taps i count, so each such phase is a
convolution of the map with stride 1, whose weights are every few of the flipped ones.
"""
from nncore._kernels.simd cimport CONV_IN_PLACE, CONV_PADDED, CONV_PATCHES, conv_pass, isize

cdef struct Phase:        # along one axis
    isize count           # rows of the image
    isize first, step     # taps
    isize taps, dilation
    isize before          # rows of zeros before the map


cdef isize ceiling(isize a, isize b) noexcept nogil:
    return (a + b - 1) // b


cdef Phase phase(isize n, isize k, isize stride, isize dilation, isize before,
                 isize start) noexcept nogil:
    """Rows start, start + stride, ... of n: the taps that reach them, and where from."""
    cdef Phase found
    cdef isize a = stride, b = dilation, tap = 0
    while b:
        a, b = b, a % b
    found.count = ceiling(n - start, stride)
    found.step = stride // a
    found.dilation = dilation // a
    while tap < k and tap < found.step and (start + before - tap * dilation) % stride != 0:
        tap += 1
    found.taps = ceiling(k - tap, found.step) if tap < min(k, found.step) else 0
    found.first = tap + (found.taps - 1) * found.step
    found.before = ((found.taps - 1) * found.dilation
                    - (start + before - tap * dilation) // stride) if found.taps else 0
    return found


cdef isize units(const conv_pass *p) noexcept nogil:
    """Units of work in one image."""
    return ceiling(p.OH, p.block_h) * ceiling(p.OW, p.block_w)


cdef bint fits_in_place(const conv_pass *p) noexcept nogil:
    """Whether no window reaches over x's border."""
    return (p.KH > 0 and p.KW > 0 and p.top <= 0 and p.left <= 0
            and (p.OH - 1) * p.stride_h + (p.KH - 1) * p.dilation_h - p.top < p.H
            and (p.OW - 1) * p.stride_w + (p.KW - 1) * p.dilation_w - p.left < p.W)


cdef void set_blocks(conv_pass *p, isize most, isize least) noexcept nogil:
    """Cuts y into units of work: at least so many, where possible, and of at most so many
    elements of x each, so that they stay in a cache."""
    cdef isize row, pixel
    p.block_h, p.block_w = p.OH, p.OW
    if p.source == CONV_PADDED and fits_in_place(p):
        p.source = CONV_IN_PLACE
    if p.source == CONV_PATCHES:
        pixel = max(1, p.KH * p.KW) * p.C
        row = p.OW * pixel
    else:
        pixel = p.stride_w * p.C
        row = p.stride_h * p.OW * pixel
    most = max(1, most)
    p.block_h = max(1, min(min(p.OH, most // row), ceiling(p.OH, least)))
    p.block_h = ceiling(p.OH, ceiling(p.OH, p.block_h))
    if p.OH == 1 or row > 4 * most:
        p.block_w = max(1, min(min(p.OW, most // pixel), ceiling(p.OW, least)))
        p.block_w = ceiling(p.OW, ceiling(p.OW, p.block_w))


cdef void down_pass(conv_pass *p) noexcept nogil:
    """From the image to the map; the sizes and steps are set."""
    cdef isize C = p.C // p.groups
    p.y_first, p.y_column, p.y_row, p.y_image = 0, p.O, p.OW * p.O, p.OH * p.OW * p.O
    p.w_c, p.w_j, p.w_i, p.w_o = 1, C, p.KW * C, p.KH * p.KW * C
    p.w_first, p.w_group = 0, p.O // p.groups * p.w_o


cdef void up_pass(conv_pass *p, const conv_pass *down, isize row, isize column) noexcept nogil:
    """From the map to the image's rows and columns that are equal, modulo the stride, to these."""
    cdef Phase h = phase(down.H, down.KH, down.stride_h, down.dilation_h, down.top, row)
    cdef Phase w = phase(down.W, down.KW, down.stride_w, down.dilation_w, down.left, column)
    p.H, p.W, p.C = down.OH, down.OW, down.O
    p.OH, p.OW, p.O = h.count, w.count, down.C
    p.KH, p.KW, p.groups = h.taps, w.taps, down.groups
    if p.KH == 0 or p.KW == 0:
        p.KH = p.KW = 0
    p.stride_h = p.stride_w = 1
    p.dilation_h, p.dilation_w, p.top, p.left = h.dilation, w.dilation, h.before, w.before
    p.y_first = (row * down.W + column) * down.C
    p.y_row, p.y_column = down.stride_h * down.W * down.C, down.stride_w * down.C
    p.y_image = down.H * down.W * down.C
    p.w_first = h.first * down.w_i + w.first * down.w_j
    p.w_i, p.w_j = -h.step * down.w_i, -w.step * down.w_j
    p.w_o, p.w_c, p.w_group = down.w_c, down.w_o, down.w_group
    p.source = down.source


# ---- winograd ------------------------------------------------------------------------------------

cdef isize tiles(const conv_pass *p) noexcept nogil:
    """Tiles of winograd.h, 4 x 4 pixels, in one image y."""
    return ceiling(p.OH, 4) * ceiling(p.OW, 4)


cdef bint winograd_can(const conv_pass *down) noexcept nogil:
    return (down.KH == down.KW == 3 and down.stride_h == down.stride_w == 1
            and down.dilation_h == down.dilation_w == down.groups == 1)


cdef bint winograd_is_faster(const conv_pass *down, isize rows) noexcept nogil:
    """Than direct, for so many images: as measured on 9 pairs (C,O), 10 sizes of images, with
    AVX2 and AVX-512, float and double. A tile costs as much where it hangs over the border, the
    transforms weigh more with few channels, and those of the weights with few tiles."""
    cdef isize n = tiles(down), least = 8 if min(down.C, down.O) >= 16 else 12
    return (down.C >= 8 and down.O >= 4 and n * rows >= 4
            and n * least <= down.OH * down.OW)
