/* Template: the tiles that all products and convolutions are made of: C (R, W vectors) =
 * A (R,K) B (K, W vectors), R rows of sums that stay in registers while k runs. For each k a row of
 * B is loaded (W vectors) and multiplied by R numbers of A, each broadcast. */

/* A tile of W vectors has at most so many rows: the accumulators, a row of B and a broadcast must
 * fit the registers. Panels are WIDTH vectors wide: measured in cache (Ice Lake, AVX-512, peak
 * 204 GFLOP/s), 9 x 3 reaches 201, 6 x 4 200, 14 x 2 190, 16 x 1 110, because each broadcast is a
 * load. With few rows panels are WIDE: more sums at a time hide the latency of each. (16 bytes: 6
 * rows of a vector, not 12, for the size of the wheel.) */
#if VECTOR_REGISTERS == 32
#define TILE_ROWS(W) ((W) == 4 ? 6 : (W) == 3 ? 9 : (W) == 2 ? 14 : 16)
#define WIDTH 3
#else
#define TILE_ROWS(W) ((W) == 4 ? 2 : (W) == 3 ? 4 : (W) == 2 || VECTOR_BYTES == 16 ? 6 : 12)
#define WIDTH (VECTOR_BYTES == 32 ? 3 : 2)
#endif
#define WIDE 4
#define MASKS (VECTOR_BYTES == 64) /* parts are no slower, but for loads that feed sums */
/* With AVX2 a step of the sum is so short that each instruction counts, at the latest where another
 * program runs on the core's other thread: 4 x 3, its third vector of B read by the products, two
 * steps at a time, is 21 instructions for 12 products; 6 x 2, step by step, was 25 (Zen 3, peak
 * 104 GFLOP/s: at 22.5, 90 instead of 77; alone on the core both reach 101). */
#define PAIRED (VECTOR_BYTES == 32)
#define EACH_ROW _Pragma("GCC unroll 16") for (int r = 0; r < R; r++)
#define EACH_VECTOR _Pragma("GCC unroll 4") for (int w = 0; w < W; w++)

typedef struct { /* memory to fetch in advance: `share` of the rows (rows, length) per tile */
    const REAL *at;
    isize rows, stride, length, share;
} NAME(stretch);

/* What the tiles of one panel have in common. */
typedef struct {
    REAL *c;
    const REAL *a, *b, *bias;
    isize ldc, ars, acs, brs;
    isize M, K;
    isize last; /* columns of C in the last vector */
    int cut;    /* rows of B end with those columns */
    int add;
    int a_packed;       /* A is one (K,R) after the other: acs = R, whatever R is */
    isize rows, longer; /* M is cut into `longer` tiles of `rows`, then some of one row less */
    NAME(stretch) ahead; /* what is read after this */
} NAME(tiles);

/* Row r of a tile whose rows are `step` apart; p8: row 8. With AVX2 by distances in registers,
 * which takes the fewest instructions; with AVX-512 GCC finds fewer by itself. */
ALWAYS_INLINE const REAL *NAME(row_at)(const REAL *p, const REAL *p8, isize step,
                                       NAME(steps) steps, const int r)
{
    const REAL *row = r < 8 ? p : p8;
    return PAIRED ? NAME(at)(row, NAME(times)(steps, r % 8)) : row + r % 8 * step;
}

/* C (R, W vectors) = sum [+ C] [+ bias], or relu of it; `part`: the last vector is cut short. */
ALWAYS_INLINE void NAME(tile_store)(const NAME(tiles) *t, REAL *c, NAME(vec) (*sum)[4],
                                    const int R, const int W, const int part, int relu)
{
    const NAME(mask) last = NAME(mask_first)(t->last);
    const isize ldc = t->ldc;
    const NAME(steps) steps = NAME(steps_of)(ldc);
    REAL *c8 = c + 8 * ldc;
    if (PAIRED) HIDE(c8);
#define ROW(r) (REAL *)NAME(row_at)(c, c8, ldc, steps, r)
    if (t->bias) {
        EACH_VECTOR {
            const int cut = part && w == W - 1;
            NAME(vec) bias = NAME(load_lanes)(t->bias + w * LANES, !cut, last);
            EACH_ROW sum[r][w] += bias;
        }
    }
    if (t->add) {
        EACH_ROW EACH_VECTOR {
            const int cut = part && w == W - 1;
            sum[r][w] += NAME(load_lanes)(ROW(r) + w * LANES, !cut, last);
        }
    }
    if (relu) EACH_ROW EACH_VECTOR sum[r][w] = NAME(lanes_of)(sum[r][w], NAME(relu_sigma));
    const int whole = part ? W - 1 : W;
    EACH_ROW EACH_VECTOR if (w < whole) NAME(store)(ROW(r) + w * LANES, sum[r][w]);
    if (part) {
        NAME(vec) cut[16]; /* a copy, or the sums would be memory, too */
        EACH_ROW cut[r] = sum[r][W - 1];
        NAME(store_parts)(c + whole * LANES, ldc, last, cut, R);
    }
#undef ROW
}

/* sum (R, W vectors) += row k of B (W vectors) times column k of A (R), for one k. a8 = a + 8 ars;
 * B is read in whole vectors, unless it is cut: masks cost 4 % (Sapphire Rapids). */
ALWAYS_INLINE void NAME(add_step)(NAME(vec) (*sum)[4], const REAL *a, const REAL *a8, isize ars,
                                  NAME(steps) steps, const REAL *b, const int R, const int W,
                                  const int cut, const NAME(mask) last)
{
    const int kept = PAIRED && W == 3 ? 2 : W; /* vectors of B that there are registers for */
    NAME(vec) row[4];
    EACH_VECTOR if (w < kept) row[w] = NAME(load_lanes)(b + w * LANES, !cut || w < W - 1, last);
    EACH_ROW {
        const REAL number = *NAME(row_at)(a, a8, ars, steps, r);
        const NAME(vec) factor = number - (NAME(vec)){0};
        EACH_VECTOR {
            if (w < kept)
                sum[r][w] += factor * row[w];
            else
                sum[r][w] = NAME(add_product)(sum[r][w], factor, b + w * LANES);
        }
    }
}

/* sum (R, W vectors) += A (R,K) B (K, W vectors), in order of k; cut: rows of B end with `last`.
 * R and W are constants wherever this is inlined, so `sum` is registers. */
ALWAYS_INLINE void NAME(add_products)(NAME(vec) (*sum)[4], const REAL *a, isize ars, isize acs,
                                      const REAL *b, isize brs, isize K, const int R, const int W,
                                      const int cut, const NAME(mask) last)
{
    /* Two pointers share the offsets r * ars, r < 8. The compiler must not see that they belong
     * together, or it keeps an offset for each row, runs out of registers and reloads them for
     * each k (14 x 2: 168 GFLOP/s instead of 190, 16 x 1: 90 instead of 110); nor how those of
     * the second step in a pair belong to those of the first. */
    const REAL *a8 = a + 8 * ars;
    HIDE(a8);
    const NAME(steps) steps = NAME(steps_of)(ars);
    isize next_a = acs * (isize)sizeof(REAL), next_b = brs * (isize)sizeof(REAL);
    if (PAIRED) { /* or acs and brs take registers, too */
        HIDE(next_a);
        HIDE(next_b);
    }
#define STEP                                                                                       \
    NAME(add_step)(sum, a, a8, ars, steps, b, R, W, cut, last);                                    \
    a = PAIRED ? NAME(at)(a, next_a) : a + acs;                                                    \
    a8 = PAIRED ? NAME(at)(a8, next_a) : a8 + acs;                                                 \
    b = PAIRED ? NAME(at)(b, next_b) : b + brs;
    if (PAIRED) {
        for (isize k = K / 2; k > 0; k--) {
            STEP
            HIDE(a);
            HIDE(b);
            STEP
        }
        K %= 2;
    }
    for (isize k = 0; k < K; k++) { STEP }
#undef STEP
}

/* The same where acs is 1 and brs W vectors, as mostly, for the tiles of most products with AVX2:
 * four steps at a time, told apart by numbers in the addresses, and what is left one by one. A step
 * of 4 x 3 is 19.5 instructions, of 6 x 2 is 22, which counts as above (Zen 4, its core shared: 2
 * to 7 % faster; alone on it 0 to 1). */
ALWAYS_INLINE void NAME(add_dense)(NAME(vec) (*sum)[4], const REAL *a, isize ars, const REAL *b,
                                   isize K, const int R, const int W)
{
    const NAME(mask) all = NAME(mask_first)(LANES);
    NAME(steps) steps = NAME(steps_of)(ars);
#define STEP(k)                                                                                    \
    /* or the compiler keeps k + 3 rows and the like in registers, which it has not got */         \
    HIDE(steps.one);                                                                               \
    HIDE(steps.three);                                                                             \
    HIDE(steps.five);                                                                              \
    NAME(add_step)(sum, a + (k), NULL, ars, steps, b + (k) * W * LANES, R, W, 0, all)
    for (; K >= 4; K -= 4) {
        STEP(0);
        STEP(1);
        STEP(2);
        STEP(3);
        a += 4;
        b += 4 * W * LANES;
        HIDE(a);
        HIDE(b);
    }
    for (; K > 0; K--) {
        STEP(0);
        a++;
        b += W * LANES;
    }
#undef STEP
}

/* C (R, W vectors) = A (R,K) B (K, W vectors) [+ C] [+ bias]. */
ALWAYS_INLINE void NAME(tile_run)(const NAME(tiles) *t, REAL *c, const REAL *a, const int R,
                                  const int W)
{
    NAME(vec) sum[16][4];
    EACH_ROW EACH_VECTOR sum[r][w] = (NAME(vec)){0};
    const isize acs = t->a_packed ? R : t->acs;
    const NAME(mask) last = NAME(mask_first)(t->last);
    if (MASKS && t->cut)
        NAME(add_products)(sum, a, t->ars, acs, t->b, t->brs, t->K, R, W, 1, last);
    else if (PAIRED && (W == 2 || W == 3) && acs == 1 && t->brs == W * LANES)
        NAME(add_dense)(sum, a, t->ars, t->b, t->K, R, W);
    else
        NAME(add_products)(sum, a, t->ars, acs, t->b, t->brs, t->K, R, W, 0, last);
    if (MASKS || t->last < LANES)
        NAME(tile_store)(t, c, sum, R, W, 1, 0);
    else
        NAME(tile_store)(t, c, sum, R, W, 0, 0);
}

/* Ask for the C of a tile and for a share of what comes ahead: both are far apart in memory, and
 * arrive while the tile is computed. Returns where the next share begins. */
ALWAYS_INLINE isize NAME(prefetch)(const NAME(tiles) *t, const REAL *c, isize rows, isize done,
                                   const int W)
{
    for (isize r = 0; r < rows; r++)
        for (int j = 0; j < W * LANES; j += 64 / sizeof(REAL))
            __builtin_prefetch(c + r * t->ldc + j, 1);
    const isize end = MIN(done + t->ahead.share, t->ahead.rows);
    for (; done < end; done++)
        for (isize j = 0; j < t->ahead.length; j += 64 / sizeof(REAL))
            __builtin_prefetch(t->ahead.at + done * t->ahead.stride + j, 0, 2);
    return done;
}

/* C (M, W vectors) = A (M,K) B (K, W vectors) [+ C] [+ bias], tile after tile. */
ALWAYS_INLINE void NAME(tile_column)(const NAME(tiles) *t, const int W)
{
    REAL *c = t->c;
    const REAL *a = t->a;
    isize rows = t->rows, longer = t->longer, ahead = 0;
    for (isize m = 0; m < t->M; m += rows) {
        if (longer-- == 0) rows--;
        if (t->K >= 64) ahead = NAME(prefetch)(t, c, rows, ahead, W);
#define CASE(R)                                                                                    \
    case R:                                                                                        \
        if (R <= TILE_ROWS(W)) NAME(tile_run)(t, c, a, R, W);                                      \
        break;
        switch (rows) {
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
            CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14) CASE(15) CASE(16)
        }
#undef CASE
        a += rows * (t->a_packed ? t->K : t->ars);
        c += rows * t->ldc;
    }
}

NEVER_INLINE void NAME(tile_column_1)(const NAME(tiles) *t)
{
    NAME(tile_column)(t, 1);
}

NEVER_INLINE void NAME(tile_column_2)(const NAME(tiles) *t)
{
    NAME(tile_column)(t, 2);
}

NEVER_INLINE void NAME(tile_column_3)(const NAME(tiles) *t)
{
    NAME(tile_column)(t, 3);
}

NEVER_INLINE void NAME(tile_column_4)(const NAME(tiles) *t)
{
    NAME(tile_column)(t, 4);
}

/* The same for W of 1 to 4. */
ALWAYS_INLINE void NAME(tile_columns)(const NAME(tiles) *t, isize W)
{
    switch (W) {
        case 1: NAME(tile_column_1)(t); break;
        case 2: NAME(tile_column_2)(t); break;
        case 3: NAME(tile_column_3)(t); break;
        default: NAME(tile_column_4)(t); break;
    }
}

#undef EACH_ROW
#undef EACH_VECTOR
