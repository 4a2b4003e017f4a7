/* Template: convolution as a product in registers (conv_pass of simd.h gives the shapes).
 *
 * A tile is R pixels of a row of y times W vectors of its channels; the sum runs over the taps
 * (i, j) and the channels c, each number of x broadcast times a vector of packed weights, by the
 * steps of gemm_tiles.h. What differs is where x is (convolution_source.h): where a row of a window
 * is contiguous, the sum is KH long pieces.
 *
 * An element of y is one sum in the order i, j, c, so its bits do not depend on units or tiles;
 * where windows reach over the border, in the order j, i, c (column_to_begin). */

/* Whether relu is done where sums are stored. (Elsewhere it is not worth its size in the wheel.) */
#define STORES_RELU (VECTOR_BYTES > 16 && !REAL_IS_DOUBLE)
#define EACH_ROW _Pragma("GCC unroll 16") for (int r = 0; r < R; r++)
#define EACH_VECTOR _Pragma("GCC unroll 4") for (int w = 0; w < W; w++)

/* C (M, W vectors) = sum over i < I, j < J, k < K of A[m ars + i ais + j ajs + k acs] times
 * B[i bis + j bjs + k brs] (W vectors) [+ C] [+ bias], or relu of it. `to` has c, ldc, bias, add
 * and last. */
typedef struct {
    NAME(tiles) to;
    const REAL *a, *b;
    isize M, I, J, K;
    isize ars, ais, ajs, acs, bis, bjs, brs;
    int relu;
} NAME(taps);

ALWAYS_INLINE void NAME(taps_tile)(const NAME(taps) *t, REAL *c, const REAL *a, const int R,
                                   const int W)
{
    NAME(vec) sum[16][4];
    EACH_ROW EACH_VECTOR sum[r][w] = (NAME(vec)){0};
    const isize ars = t->ars, acs = t->acs, brs = t->brs, K = t->K;
    const int dense = PAIRED && (W == 2 || W == 3) && acs == 1 && brs == W * LANES;
    const NAME(mask) all = NAME(mask_first)(LANES);
    for (isize i = 0; i < t->I; i++) {
        for (isize j = 0; j < t->J; j++) {
            const REAL *of_a = a + i * t->ais + j * t->ajs, *of_b = t->b + i * t->bis + j * t->bjs;
            if (dense)
                NAME(add_dense)(sum, of_a, ars, of_b, K, R, W);
            else
                NAME(add_products)(sum, of_a, ars, acs, of_b, brs, K, R, W, 0, all);
        }
    }
    if (MASKS || t->to.last < LANES)
        NAME(tile_store)(&t->to, c, sum, R, W, 1, STORES_RELU && t->relu);
    else
        NAME(tile_store)(&t->to, c, sum, R, W, 0, STORES_RELU && t->relu);
}

ALWAYS_INLINE void NAME(taps_column)(const NAME(taps) *t, const int W)
{
    REAL *c = t->to.c;
    const REAL *a = t->a;
    const isize tiles = pieces(t->M, TILE_ROWS(W));
    isize rows = pieces(t->M, tiles), longer = t->M - tiles * (rows - 1);
    for (isize m = 0; m < t->M; m += rows) {
        if (longer-- == 0) rows--;
        if (t->to.add) NAME(prefetch)(&t->to, c, rows, 0, W);
#define CASE(R)                                                                                    \
    case R:                                                                                        \
        if (R <= TILE_ROWS(W)) NAME(taps_tile)(t, c, a, R, W);                                     \
        break;
        switch (rows) {
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
            CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14) CASE(15) CASE(16)
        }
#undef CASE
        a += rows * t->ars;
        c += rows * t->to.ldc;
    }
}

NEVER_INLINE void NAME(taps_column_1)(const NAME(taps) *t)
{
    NAME(taps_column)(t, 1);
}

NEVER_INLINE void NAME(taps_column_2)(const NAME(taps) *t)
{
    NAME(taps_column)(t, 2);
}

NEVER_INLINE void NAME(taps_column_3)(const NAME(taps) *t)
{
    NAME(taps_column)(t, 3);
}

NEVER_INLINE void NAME(taps_column_4)(const NAME(taps) *t)
{
    NAME(taps_column)(t, 4);
}

static void NAME(taps_run)(const NAME(taps) *t, isize W)
{
    switch (W) {
        case 1: NAME(taps_column_1)(t); break;
        case 2: NAME(taps_column_2)(t); break;
        case 3: NAME(taps_column_3)(t); break;
        case 4: NAME(taps_column_4)(t); break;
    }
}

#undef EACH_ROW
#undef EACH_VECTOR

/* ---- y = x * weight ---- */

/* taps_run, column after column of the window, for a row of the unit. */
static void NAME(taps_by_columns)(const NAME(taps) *row, const conv_pass *p, isize w, isize begin,
                                  isize W)
{
    NAME(taps) t = *row;
    t.J = 1;
    t.K = p->C / p->groups;
    for (isize k = 0; k < p->KW; k++) {
        const isize j = k == 0 ? begin : k <= begin ? k - 1 : k;
        isize first;
        t.M = NAME(columns_inside)(p, w, row->M, j, &first);
        if (t.M == 0) continue;
        t.a = row->a + first * t.ars + j * p->dilation_w * p->C;
        t.b = row->b + j * t.K * t.brs;
        t.to.c = row->to.c + first * t.to.ldc;
        NAME(taps_run)(&t, W);
        t.to.bias = NULL;
        t.to.add = 1;
    }
}

/* How many vectors wide panels are; the pixels of a row of y are the rows of a product. */
ALWAYS_INLINE isize NAME(conv_widest)(const conv_pass *p)
{
    return NAME(widest)(p->source == CONV_PATCHES ? p->block_h * p->block_w : p->block_w);
}

ALWAYS_INLINE isize NAME(conv_vectors)(const conv_pass *p)
{
    return (p->O / p->groups + LANES - 1) / LANES;
}

/* packed: for each group and panel (KH KW C/G, W vectors). */
static void NAME(conv_pack)(REAL *packed, const conv_pass *p, const REAL *weight)
{
    const isize C = p->C / p->groups, O = p->O / p->groups, K = p->KH * p->KW * C;
    const int whole = p->w_c == 1 && p->w_j == C && p->w_i == p->KW * C;
    for (isize g = 0; g < p->groups; g++) {
        const REAL *w = weight + p->w_first + g * p->w_group;
        isize vectors = NAME(conv_vectors)(p), panels = pieces(vectors, NAME(conv_widest)(p));
        for (isize n = 0; n < O; panels--) {
            const isize W = pieces(vectors, panels), width = W * LANES;
            const isize columns = MIN(O - n, width);
            const REAL *from = w + n * p->w_o;
            if (whole) {
                if (K) NAME(pack_panel)(packed, width, from, p->w_c, p->w_o, K, columns);
                packed += K * width;
            } else {
                for (isize i = 0; i < p->KH; i++) {
                    for (isize j = 0; j < p->KW; j++, packed += C * width)
                        NAME(pack_panel)(packed, width, from + i * p->w_i + j * p->w_j, p->w_c,
                                         p->w_o, C, columns);
                }
            }
            vectors -= W;
            n += columns;
        }
    }
}

static void NAME(conv_run)(const conv_pass *p, REAL *y, const REAL *x, const REAL *packed,
                           const REAL *bias, isize begin, isize end, int add, const finish *f,
                           REAL *scratch)
{
    const isize C = p->C / p->groups, O = p->O / p->groups, column = NAME(column_to_begin)(p);
    const TABLE(activation) *const sigma = f ? f->sigma : NULL;
    const int relu = STORES_RELU && sigma && sigma->forward == NAME(relu_forward) && !f->plus &&
                     column < 0;
    if (relu) f = NULL; /* it is done where the sums are stored */
    for (isize index = begin; index < end; index++) {
        const NAME(unit) u = NAME(conv_unit)(p, x, index, scratch);
        REAL *to = y + u.image * p->y_image + p->y_first + u.h * p->y_row + u.w * p->y_column;
        const REAL *panel = packed;
        for (isize g = 0; g < p->groups; g++) {
            isize vectors = NAME(conv_vectors)(p), panels = pieces(vectors, NAME(conv_widest)(p));
            for (isize n = 0; n < O; panels--) {
                const isize W = pieces(vectors, panels), columns = MIN(O - n, W * LANES);
                NAME(taps) t = {.M = u.columns, .I = u.I, .J = u.J, .K = u.K, .ars = u.pixel,
                                .ais = u.ais, .ajs = u.ajs, .acs = 1, .b = panel,
                                .brs = W * LANES, .bjs = u.K * W * LANES, .relu = relu};
                t.bis = u.J * t.bjs;
                t.to.ldc = p->y_column;
                t.to.bias = bias ? bias + g * O + n : NULL;
                t.to.add = add;
                t.to.last = columns - (W - 1) * LANES;
                for (isize r = 0; r < u.rows; r++) {
                    isize first = 0;
                    if (p->source == CONV_PADDED) t.I = NAME(rows_inside)(p, u.h + r, &first);
                    t.a = u.x + r * u.row + first * u.ais + g * C;
                    t.b = panel + first * t.bis;
                    t.to.c = to + r * p->y_row + g * O + n;
                    if (column < 0)
                        NAME(taps_run)(&t, W);
                    else
                        NAME(taps_by_columns)(&t, p, u.w, column, W);
                }
                panel += p->KH * p->KW * C * W * LANES;
                vectors -= W;
                n += columns;
            }
        }
        if (f) NAME(finish_unit)(f, y, to - y, p, u.rows, u.columns);
    }
}

#undef STORES_RELU
