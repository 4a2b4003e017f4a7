/* Template: from map to image (the gradient of x, a transposed convolution) where the image has few
 * channels, which would leave most of a vector empty: the product weight^T * map^T gives the
 * windows (KH, KW, C; pixels) of all map pixels, and they are added up where they overlap.
 *
 * p is the pass down, from image to map, with one group. Sums are planes (C; rows, W), so that
 * vectors run along a row. The windows that reach a pixel are added in the order of the map's rows,
 * whatever rows of the image a member has. */

#define OVERLAP_PIXELS 256
#define OVERLAP_SUMS (32 * 1024)

/* Map rows whose windows are worked out at a time. */
ALWAYS_INLINE isize NAME(overlap_rows)(const conv_pass *p)
{
    return MIN(p->OH, MAX(1, OVERLAP_PIXELS / p->OW));
}

/* Rows of the image that are summed up at a time. */
ALWAYS_INLINE isize NAME(overlap_height)(const conv_pass *p)
{
    return MIN(p->H, MAX(1, OVERLAP_SUMS / (p->W * p->C)));
}

static isize NAME(overlap_scratch)(const conv_pass *p)
{
    const isize N = p->KH * p->KW * p->C, pixels = NAME(overlap_rows)(p) * p->OW;
    return NAME(overlap_height)(p) * p->W * p->C + pixels * N +
           NAME(gemm_scratch)(N, pixels, p->O) + 64 / sizeof(REAL);
}

/* sums (W) += one number of the window, column j, of each pixel of a map row (OW). */
static void NAME(overlap_add)(REAL *restrict sums, const conv_pass *p, const REAL *restrict from,
                              isize j)
{
    const isize at = j * p->dilation_w - p->left, s = p->stride_w;
    const isize first = at < 0 ? (-at + s - 1) / s : 0;
    const isize last = at < p->W ? MIN(p->OW, (p->W - at + s - 1) / s) : 0;
    if (s == 1)
        for (isize w = first; w < last; w++) sums[w + at] += from[w];
    else
        for (isize w = first; w < last; w++) sums[w * s + at] += from[w];
}

/* image (pixels, C) = sums (C, pixels) [+ bias] [+ image] */
static void NAME(overlap_store)(REAL *image, const REAL *sums, isize pixels, isize C,
                                const REAL *bias, int add)
{
    for (isize c = 0; c < C; c++, sums += pixels) {
        const REAL b = bias ? bias[c] : 0;
        if (add)
            for (isize i = 0; i < pixels; i++) image[i * C + c] += sums[i] + b;
        else
            for (isize i = 0; i < pixels; i++) image[i * C + c] = sums[i] + b;
    }
}

/* Rows begin..end of one image, at most overlap_height. */
static void NAME(overlap_image)(const conv_pass *p, REAL *image, const REAL *map,
                                const REAL *weight, const REAL *bias, isize begin, isize end,
                                int add, REAL *scratch)
{
    const isize C = p->C, N = p->KH * p->KW * C, most = NAME(overlap_rows)(p);
    const isize plane = (end - begin) * p->W, ld = most * p->OW;
    REAL *const windows = scratch + NAME(overlap_height)(p) * p->W * C;
    memset(scratch, 0, (size_t)(plane * C) * sizeof(REAL));
    /* row h of the map reaches image rows h stride_h - top + (0 .. (KH - 1) dilation_h) */
    const isize low = begin + p->top - (p->KH - 1) * p->dilation_h;
    const isize first = low <= 0 ? 0 : (low + p->stride_h - 1) / p->stride_h;
    const isize last = MIN(p->OH, (end + p->top + p->stride_h - 1) / p->stride_h);
    for (isize h = first; h < last; h += most) {
        const isize rows = MIN(most, last - h);
        NAME(gemm)(windows, ld, weight, 1, N, map + h * p->OW * p->O, 1, p->O, N, rows * p->OW,
                   p->O, 0, NULL, windows + ld * N);
        for (isize r = 0; r < rows; r++)
            for (isize i = 0; i < p->KH; i++) {
                const isize row = (h + r) * p->stride_h + i * p->dilation_h - p->top - begin;
                const REAL *from = windows + i * p->KW * C * ld + r * p->OW;
                if (row < 0 || row >= end - begin) continue;
                for (isize j = 0; j < p->KW; j++)
                    for (isize c = 0; c < C; c++, from += ld)
                        NAME(overlap_add)(scratch + c * plane + row * p->W, p, from, j);
            }
    }
    NAME(overlap_store)(image + begin * p->W * C, scratch, plane, C, bias, add);
}

/* Rows begin..end of all images, one after the other. */
static void NAME(conv_overlap)(const conv_pass *p, REAL *images, const REAL *maps,
                               const REAL *weight, const REAL *bias, isize begin, isize end,
                               int add, REAL *scratch)
{
    while (begin < end) {
        const isize n = begin / p->H, row = begin % p->H, most = NAME(overlap_height)(p);
        const isize rows = MIN(most, MIN(p->H - row, end - begin));
        NAME(overlap_image)(p, images + n * p->H * p->W * p->C, maps + n * p->OH * p->OW * p->O,
                            weight, bias, row, row + rows, add, scratch);
        begin += rows;
    }
}

#undef OVERLAP_PIXELS
#undef OVERLAP_SUMS
