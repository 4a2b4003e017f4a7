/* Template: the last of Winograd's transforms, m (6,6) -> A^T m A (4,4), and what is left to do to
 * y; see winograd_transform.h. It goes along the rows of m, whose sums stay in registers. Where
 * there are 16 of these, it does so for the even columns first and then for the odd ones (Zen 4,
 * AVX2, a vector of a tile: 71 cycles with all at a time, 57 so). */

/* Where the 4 x 4 results of a tile go: the first rows x columns of them to y + i row + j step. */
typedef struct {
    REAL *y;
    const REAL *plus; /* what is added to them, laid out like y; NULL: nothing */
    isize row, step;
    int rows, columns;
    int relu; /* of all that, at last */
} NAME(target);

/* A^T times a column of m, with the sums s and differences d of its pairs, points +-a and +-2 a
 * where a = sqrt(1/2):
 *
 *   m0 + s1 + s2,   a (d1 + 2 d2),   (s1 + 4 s2) / 2,   a/2 (d1 + 8 d2) + m5
 *
 * Along the rows of m, columns 0 and 2 take the sums, 1 and 3 the differences. The factors of
 * columns 1 and 2 are left to the end, where they cost nothing: it adds the bias. */
#define COLUMN_FACTOR(j) ((j) == 1 ? HALF_ROOT : (j) == 2 ? (REAL)0.5 : 1)

/* (m A)[i] but for those factors: along row i of m. */
ALWAYS_INLINE void NAME(output_row)(NAME(vec) *h, const REAL *m, NAME(steps) plane, const int i,
                                    const int even, const int odd)
{
    m = (const REAL *)((const char *)m + 2 * i * plane.three);
    HIDE(m);
    const NAME(vec) m1 = NAME(load_at)(m, NAME(times)(plane, 1));
    const NAME(vec) m3 = NAME(load_at)(m, NAME(times)(plane, 3));
    if (even) {
        const NAME(vec) s1 = m1 + NAME(load_at)(m, NAME(times)(plane, 2));
        const NAME(vec) s2 = m3 + NAME(load_at)(m, NAME(times)(plane, 4));
        h[0] = NAME(load_at)(m, 0) + s1 + s2;
        h[2] = s1 + 4 * s2;
    }
    if (odd) {
        const NAME(vec) d1 = m1 - NAME(load_at)(m, NAME(times)(plane, 2));
        const NAME(vec) d2 = m3 - NAME(load_at)(m, NAME(times)(plane, 4));
        h[1] = d1 + 2 * d2;
        h[3] = HALF_ROOT / 2 * (d1 + 8 * d2) + NAME(load_at)(m, NAME(times)(plane, 5));
    }
}

/* y = relu(A^T m A + bias + plus), as far as `to` has them, of a whole tile and a vector of
 * channels: the even columns, the odd ones, or both. */
ALWAYS_INLINE void NAME(output_columns)(const NAME(target) *to, const REAL *m, NAME(steps) plane,
                                        NAME(vec) bias, const int even, const int odd)
{
#define EACH_COLUMN EACH(j, 4) if (j % 2 ? odd : even)
#define EACH_RESULT EACH(i, 4) EACH_COLUMN
    NAME(vec) y[4][4], h[4], g[4], s[4], d[4];
    NAME(output_row)(y[0], m, plane, 0, even, odd);
    NAME(output_row)(h, m, plane, 1, even, odd);
    NAME(output_row)(g, m, plane, 2, even, odd);
    EACH_COLUMN {
        s[j] = h[j] + g[j];
        d[j] = h[j] - g[j];
        y[0][j] += s[j];
    }
    NAME(output_row)(h, m, plane, 3, even, odd);
    NAME(output_row)(g, m, plane, 4, even, odd);
    EACH_COLUMN {
        const NAME(vec) s2 = h[j] + g[j], d2 = h[j] - g[j];
        const REAL factor = COLUMN_FACTOR(j);
        y[0][j] = factor * (y[0][j] + s2) + bias;
        y[1][j] = factor * HALF_ROOT * (d[j] + 2 * d2) + bias;
        y[2][j] = factor / 2 * (s[j] + 4 * s2) + bias;
        y[3][j] = d[j] + 8 * d2;
    }
    NAME(output_row)(h, m, plane, 5, even, odd);
    EACH_COLUMN y[3][j] = COLUMN_FACTOR(j) * (HALF_ROOT / 2 * y[3][j] + h[j]) + bias;
    if (to->plus) {
        EACH_RESULT y[i][j] += NAME(load)(to->plus + i * to->row + j * to->step);
    }
    if (to->relu) {
        EACH_RESULT y[i][j] = NAME(lanes_of)(y[i][j], NAME(relu_sigma));
    }
    EACH_RESULT NAME(store)(to->y + i * to->row + j * to->step, y[i][j]);
#undef EACH_RESULT
#undef EACH_COLUMN
}

/* The same, all columns. */
ALWAYS_INLINE void NAME(output_vector)(const NAME(target) *to, const REAL *m, NAME(steps) plane,
                                       NAME(vec) bias)
{
    if (VECTOR_REGISTERS >= 32) {
        NAME(output_columns)(to, m, plane, bias, 1, 1);
    } else {
        NAME(output_columns)(to, m, plane, bias, 1, 0);
        NAME(output_columns)(to, m, plane, bias, 0, 1);
    }
}

/* What there is of a whole tile (4 x 4 vectors), finished, to where it goes. */
ALWAYS_INLINE void NAME(output_copy)(const NAME(target) *to, const REAL *tile, const int whole,
                                     NAME(mask) last)
{
    for (int i = 0; i < to->rows; i++)
        for (int j = 0; j < to->columns; j++) {
            const isize at = i * to->row + j * to->step;
            NAME(vec) y = NAME(load)(tile + (4 * i + j) * LANES);
            if (to->plus) y += NAME(load_lanes)(to->plus + at, whole, last);
            if (to->relu) y = NAME(lanes_of)(y, NAME(relu_sigma));
            NAME(store_lanes)(to->y + at, whole, last, y);
        }
}

/* The same where some rows, columns or channels are missing: by way of a whole tile. Out of line:
 * it would take the registers of the others. */
NEVER_INLINE void NAME(output_part)(const NAME(target) *to, const REAL *m, NAME(steps) plane,
                                    const REAL *bias, isize channels)
{
    REAL tile[16 * LANES] __attribute__((aligned(64)));
    const NAME(mask) last = NAME(mask_first)(channels);
    const NAME(target) whole = {.y = tile, .row = 4 * LANES, .step = LANES};
    NAME(output_vector)(&whole, m, plane, bias ? NAME(load_part)(bias, last) : (NAME(vec)){0});
    if (channels == LANES)
        NAME(output_copy)(to, tile, 1, last);
    else
        NAME(output_copy)(to, tile, 0, last);
}

/* The rows x columns that `to` has of y = relu(A^T m A + bias (O) + plus), as far as it has these,
 * m (36 planes, O); `to` moves on to the end of the channels. */
static void NAME(output_transform)(NAME(target) *to, const REAL *m, isize plane_size, isize O,
                                   const REAL *bias)
{
    const NAME(steps) plane = NAME(steps_of)(plane_size);
    for (isize o = 0; o < O; o += LANES) {
        if (to->rows == 4 && to->columns == 4 && o + LANES <= O)
            NAME(output_vector)(to, m, plane, bias ? NAME(load)(bias) : (NAME(vec)){0});
        else
            NAME(output_part)(to, m, plane, bias, MIN(O - o, LANES));
        m += LANES;
        to->y += LANES;
        if (to->plus) to->plus += LANES;
        if (bias) bias += LANES;
    }
}

#undef COLUMN_FACTOR
