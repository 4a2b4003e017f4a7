/* Template: the gradient of a convolution's weights, with the tiles of convolution.h.
 *
 * sums (G, K, O/G), K = KH KW C/G: sums[k][o] = the sum over pixels of x's number k in the pixel's
 * window times dy[pixel][o]. A tile is R numbers of the window times W vectors of o; the sum runs
 * over the pixels of a unit. dy is read in place where that is possible.
 *
 * So few filters that they are one vector, or less, are turned: sums (O, K), a tile is R filters
 * times W vectors of the window (Zen 4, 8 filters 5 x 5 of 64 channels: 4.0 ms instead of 7.8). An
 * element is the same sum. */

/* Whether sums are (O, K): few filters, and a row of the window is one piece of vectors. */
static int NAME(conv_turned)(const conv_pass *p)
{
    const isize run = (p->source == CONV_PATCHES ? p->KH : 1) * p->KW * p->C;
    return p->groups == 1 && p->dilation_w == 1 && p->O <= LANES && run >= 2 * LANES &&
           (run % LANES == 0 || p->source != CONV_IN_PLACE); /* else it is read too far */
}

/* With few pixels to an image several images are summed up at once: each time the sums, which may
 * be larger than a cache, are read and written. */
static isize NAME(conv_weight_units)(const conv_pass *p)
{
    enum { PIXELS = 256, ELEMENTS = 512 * 1024 / sizeof(REAL) };
    if (p->block_h < p->OH || p->block_w < p->OW) return 1;
    const isize source = p->source == CONV_IN_PLACE ? p->H * p->W * p->C : NAME(conv_source)(p);
    return MAX(1, MIN(PIXELS / (p->OH * p->OW), ELEMENTS / source));
}

static void NAME(conv_sizes)(const conv_pass *p, isize *packed, isize *scratch)
{
    const isize vectors = (p->O / p->groups + LANES - 1) / LANES;
    *packed = p->KH * p->KW * p->C * vectors * LANES;
    *scratch = NAME(conv_weight_units)(p) *
               (NAME(conv_source)(p) + p->block_h * p->block_w * WIDTH * LANES);
}

/* panel (pixels, width) = n channels of dy of some units like u. */
static void NAME(conv_pack_dy)(REAL *panel, isize width, const conv_pass *p, const NAME(unit) *u,
                               isize units, const REAL *dy, isize n)
{
    for (isize k = 0; k < units; k++)
        for (isize r = 0; r < u->rows; r++, panel += u->columns * width)
            NAME(pack_rows)(panel, width, dy + k * p->y_image + r * p->y_row, p->y_column,
                            u->columns, n);
}

/* Which rows of the unit's part of y have row i of their windows in the image: first.., `count` of
 * them. The others add nothing. */
static isize NAME(rows_that_add)(const conv_pass *p, const NAME(unit) *u, isize i, isize *first)
{
    const isize row = u->h * p->stride_h - p->top + i * p->dilation_h;
    isize end = u->rows;
    *first = 0;
    if (p->source != CONV_PADDED) return end;
    while (*first < end && row + *first * p->stride_h < 0) ++*first;
    while (end > *first && row + (end - 1) * p->stride_h >= p->H) end--;
    return end - *first;
}

/* The same as conv_weight_some, turned. */
static void NAME(conv_weight_turned)(const conv_pass *p, REAL *sums, const REAL *dy,
                                     const NAME(unit) *u, isize units, isize apart, int add)
{
    for (isize i = 0; i < u->I; i++) {
        isize vectors = pieces(u->K, LANES), panels = pieces(vectors, WIDTH);
        isize r;
        const isize rows = NAME(rows_that_add)(p, u, i, &r);
        for (isize n = 0; n < u->K; panels--) {
            const isize W = pieces(vectors, panels), columns = MIN(u->K - n, W * LANES);
            NAME(taps) t = {.M = p->O, .I = units, .J = rows, .K = u->columns,
                            .a = dy + r * p->y_row, .ars = 1, .ais = p->y_image,
                            .ajs = p->y_row, .acs = p->y_column,
                            .b = u->x + i * u->ais + r * u->row + n, .bis = apart,
                            .bjs = u->row, .brs = u->pixel};
            t.to.c = sums + i * u->K + n;
            t.to.ldc = u->I * u->K;
            t.to.last = columns - (W - 1) * LANES;
            t.to.add = add;
            NAME(taps_run)(&t, W);
            vectors -= W;
            n += columns;
        }
    }
}

/* sums of `units` units alike, u the first of them, `apart` from each other. */
static void NAME(conv_weight_some)(const conv_pass *p, REAL *sums, const REAL *dy,
                                   const NAME(unit) *u, isize units, isize apart, int add,
                                   REAL *panel)
{
    const isize C = p->C / p->groups, O = p->O / p->groups, K = p->KH * p->KW * C;
    /* Column after column, pixels whose window reaches over the border there add nothing. */
    const int by_columns = p->source == CONV_PADDED && C >= TILE_ROWS(WIDTH);
    const isize J = by_columns ? p->KW : u->J, run = by_columns ? C : u->K;
    const isize ajs = by_columns ? p->dilation_w * p->C : u->ajs;
    dy += u->image * p->y_image + p->y_first + u->h * p->y_row + u->w * p->y_column;
    if (NAME(conv_turned)(p)) {
        NAME(conv_weight_turned)(p, sums, dy, u, units, apart, add);
        return;
    }
    for (isize g = 0; g < p->groups; g++) {
        isize vectors = NAME(conv_vectors)(p), panels = pieces(vectors, WIDTH);
        for (isize n = 0; n < O; panels--) {
            const isize W = pieces(vectors, panels), columns = MIN(O - n, W * LANES);
            NAME(taps) t = {.I = units, .J = u->rows, .K = u->columns, .ars = 1, .ais = apart,
                            .ajs = u->row, .acs = u->pixel, .b = dy + g * O + n,
                            .bis = p->y_image, .bjs = p->y_row, .brs = p->y_column, .M = run};
            t.to.add = add;
            t.to.ldc = O;
            t.to.last = columns - (W - 1) * LANES;
            if (K >= 64 || columns < W * LANES) {
                NAME(conv_pack_dy)(panel, W * LANES, p, u, units, t.b, columns);
                t.b = panel;
                t.brs = W * LANES;
                t.bjs = u->columns * t.brs;
                t.bis = u->rows * t.bjs;
            }
            t.to.c = sums + g * K * O + n;
            const REAL *b = t.b;
            for (isize i = 0; i < u->I; i++) {
                isize r, c = 0;
                t.J = NAME(rows_that_add)(p, u, i, &r);
                for (isize j = 0; j < J; j++, t.to.c += run * O) {
                    if (by_columns) t.K = NAME(columns_inside)(p, u->w, u->columns, j, &c);
                    t.a = u->x + i * u->ais + j * ajs + r * u->row + c * u->pixel + g * C;
                    t.b = b + r * t.bjs + c * t.brs;
                    NAME(taps_run)(&t, W);
                }
            }
            vectors -= W;
            n += columns;
        }
    }
}

static void NAME(conv_weight)(const conv_pass *p, REAL *sums, const REAL *dy, const REAL *x,
                              isize begin, isize end, REAL *scratch)
{
    const isize K = p->KH * p->KW * (p->C / p->groups), most = NAME(conv_weight_units)(p);
    const isize source = NAME(conv_source)(p);
    if (begin >= end) memset(sums, 0, (size_t)(K * p->O) * sizeof(REAL));
    for (isize index = begin; index < end; index += most) {
        const isize units = MIN(most, end - index);
        const NAME(unit) u = NAME(conv_unit)(p, x, index, scratch);
        for (isize k = 1; k < units; k++) NAME(conv_unit)(p, x, index + k, scratch + k * source);
        NAME(conv_weight_some)(p, sums, dy, &u, units,
                               p->source == CONV_IN_PLACE ? p->H * p->W * p->C : source,
                               index > begin, scratch + most * source);
    }
}

/* to (n, K) [+]= from (K, n) transposed. */
static void NAME(conv_transpose)(REAL *to, const REAL *from, isize K, isize n, isize ld, int add)
{
    isize k = 0;
    if (!add) {
        isize offset[LANES];
        for (int j = 0; j < LANES; j++) offset[j] = j * ld;
        for (; k + LANES <= K; k += LANES)
            NAME(transpose_columns)(to + k, K, from + k * ld, offset, n);
    }
    for (; k < K; k++)
        for (isize o = 0; o < n; o++) {
            const REAL d = from[k * ld + o];
            to[o * K + k] = add ? to[o * K + k] + d : d;
        }
}

static void NAME(conv_weight_store)(const conv_pass *p, REAL *dw, REAL *sums, isize pieces,
                                    isize apart, isize begin, isize end, int add, int depthwise)
{
    const isize O = depthwise ? p->O : p->O / p->groups;
    const isize K = p->KH * p->KW * (p->C / p->groups);
    if (!depthwise && NAME(conv_turned)(p)) {
        for (isize k = begin * K; k < end * K; k++) {
            REAL total = sums[k];
            for (isize piece = 1; piece < pieces; piece++) total += sums[piece * apart + k];
            dw[k] = add ? dw[k] + total : total;
        }
        return;
    }
    for (isize o = begin; o < end;) {
        const isize g = o / O, n = MIN(end, (g + 1) * O) - o;
        REAL *total = sums + g * K * O + o - g * O;
        for (isize piece = 1; piece < pieces; piece++)
            for (isize k = 0; k < K; k++)
                for (isize i = 0; i < n; i++)
                    total[k * O + i] += total[piece * apart + k * O + i];
        NAME(conv_transpose)(dw + o * K, total, K, n, O, add);
        o += n;
    }
}
