/* Template: the gradient of a convolution's weights, with the tiles of convolution.h.
 *
 * sums (G, K, O/G), K = KH KW C/G: sums[k][o] = the sum over pixels of x's number k in the pixel's
 * window times dy[pixel][o]. A tile is R numbers of the window times W vectors of o; the sum runs
 * over the pixels of a unit. dy is read in place where that is possible. */

/* panel (pixels, width) = n channels of the unit's dy; for where a vector may not read further. */
static void NAME(conv_pack_dy)(REAL *panel, isize width, const conv_pass *p, const NAME(unit) *u,
                               const REAL *dy, isize n)
{
    for (isize r = 0; r < u->rows; r++, panel += u->columns * width)
        NAME(pack_rows)(panel, width, dy + r * p->y_row, p->y_column, u->columns, n);
}

/* sums (M of a window's numbers, W vectors) of one panel, from number `first` on. */
static void NAME(conv_weight_rows)(NAME(taps) *t, REAL *sums, isize ld, isize M, const REAL *x,
                                   isize W)
{
    t->to.c = sums;
    t->to.ldc = ld;
    t->a = x;
    t->M = M;
    NAME(taps_run)(t, W);
}

static void NAME(conv_weight)(const conv_pass *p, REAL *sums, const REAL *dy, const REAL *x,
                              isize begin, isize end, REAL *scratch)
{
    const isize C = p->C / p->groups, O = p->O / p->groups, K = p->KH * p->KW * C;
    REAL *const panel = scratch + NAME(conv_source)(p);
    if (begin >= end) memset(sums, 0, (size_t)(p->groups * K * O) * sizeof(REAL));
    for (isize index = begin; index < end; index++) {
        const NAME(unit) u = NAME(conv_unit)(p, x, index, scratch);
        const REAL *from = dy + u.image * p->y_image + p->y_first + u.h * p->y_row +
                           u.w * p->y_column;
        for (isize g = 0; g < p->groups; g++) {
            isize vectors = NAME(conv_vectors)(p), panels = pieces(vectors, WIDTH);
            for (isize n = 0; n < O; panels--) {
                const isize W = pieces(vectors, panels), columns = MIN(O - n, W * LANES);
                NAME(taps) t = {.I = 1, .J = u.rows, .K = u.columns, .ars = 1, .ajs = u.row,
                                .acs = u.pixel, .b = from + g * O + n, .brs = p->y_column,
                                .bjs = p->y_row};
                t.to.add = index > begin;
                t.to.last = columns - (W - 1) * LANES;
                if (columns < W * LANES && !MASKS_ARE_FREE) {
                    NAME(conv_pack_dy)(panel, W * LANES, p, &u, t.b, columns);
                    t.b = panel;
                    t.brs = W * LANES;
                    t.bjs = u.columns * W * LANES;
                }
                REAL *to = sums + g * K * O + n;
                for (isize i = 0; i < u.I; i++) {
                    for (isize j = 0; j < u.J; j++, to += u.K * O)
                        NAME(conv_weight_rows)(&t, to, O, u.K,
                                               u.x + i * u.ais + j * u.ajs + g * C, W);
                }
                vectors -= W;
                n += columns;
            }
        }
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
                                    isize apart, isize begin, isize end, int add)
{
    const isize O = p->O / p->groups, K = p->KH * p->KW * (p->C / p->groups);
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
