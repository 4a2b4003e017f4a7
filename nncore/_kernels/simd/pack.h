/* Template: copies of pieces of A and B in the order in which the tiles of a product read them. */

/* panel (K, width) = B (K, n), n <= width, width a multiple of LANES. Columns from n on hold
 * anything finite or not: they are computed with, and never stored. */
static void NAME(pack_rows)(REAL *panel, isize width, const REAL *b, isize brs, isize K, isize n)
{
    const NAME(mask) last = NAME(mask_first)(n - (width - LANES));
    for (isize k = 0; k < K; k++) {
        for (isize j = 0; j < width - LANES; j += LANES)
            NAME(store)(panel + j, NAME(load)(b + j));
        NAME(store)(panel + width - LANES, NAME(load_part)(b + width - LANES, last));
        panel += width;
        b += brs;
    }
}

/* `steps` blocks of LANES columns: to (steps * BLOCK, LANES), rows `width` apart; column j begins
 * at from + offset[j] and is contiguous. */
ALWAYS_INLINE REAL *NAME(transpose)(REAL *to, isize width, const REAL *from, const isize *offset,
                                    const int steps)
{
    NAME(vec) r[4][4];
    /* the columns are read in groups, each as far as it goes, so that their cache lines are
     * fetched once even where columns are a power of two apart and compete for the same set */
#pragma GCC unroll 4
    for (int i = 0; i < BLOCK; i++)
#pragma GCC unroll 4
        for (int s = 0; s < steps; s++)
            r[s][i] = NAME(load_blocks)(from + s * BLOCK, offset + i, BLOCK);
#pragma GCC unroll 4
    for (int s = 0; s < steps; s++) {
        NAME(transpose_blocks)(r[s]);
#pragma GCC unroll 4
        for (int i = 0; i < BLOCK; i++, to += width) NAME(store)(to, r[s][i]);
    }
    return to;
}

/* LANES columns of K, as above. */
NEVER_INLINE void NAME(transpose_columns)(REAL *to, isize width, const REAL *from,
                                          const isize *offset, isize K)
{
    enum { STEPS = VECTOR_BYTES == 64 ? 4 : 2 }; /* as many as there are registers for */
    isize k = 0;
    for (; k + STEPS * BLOCK <= K; k += STEPS * BLOCK)
        to = NAME(transpose)(to, width, from + k, offset, STEPS);
    for (; k + BLOCK <= K; k += BLOCK) to = NAME(transpose)(to, width, from + k, offset, 1);
    if (k == K) return;
    if (K >= BLOCK) { /* the last ones once more, so as not to read beyond them */
        NAME(transpose)(to - (k - (K - BLOCK)) * width, width, from + K - BLOCK, offset, 1);
        return;
    }
    for (; k < K; k++, to += width)
        for (int j = 0; j < LANES; j++) to[j] = from[offset[j] + k];
}

/* panel (K, width) = B (K, n) as above, for B contiguous along k, columns bcs apart. */
static void NAME(pack_columns)(REAL *panel, isize width, const REAL *b, isize bcs, isize K,
                               isize n)
{
    isize offset[LANES];
    for (isize j = 0; j < width; j += LANES) {
        isize at = 0;
#pragma GCC unroll 1
        for (int i = 0; i < LANES; i++) {
            offset[i] = at;
            if (j + i + 1 < n) at += bcs;
        }
        NAME(transpose_columns)(panel + j, width, b + j * bcs, offset, K);
    }
}

/* panel (K, width) = B (K, n) as above, any strides. */
static void NAME(pack_panel)(REAL *panel, isize width, const REAL *b, isize brs, isize bcs,
                             isize K, isize n)
{
    if (bcs == 1) {
        NAME(pack_rows)(panel, width, b, brs, K, n);
    } else if (brs == 1) {
        NAME(pack_columns)(panel, width, b, bcs, K, n);
    } else {
        for (isize k = 0; k < K; k++)
            for (isize j = 0; j < width; j++)
                panel[k * width + j] = b[k * brs + MIN(j, n - 1) * bcs];
    }
}

/* An odd number of cache lines: rows so far apart do not share the few ways of a cache set. */
ALWAYS_INLINE isize NAME(odd_lines)(isize n)
{
    const isize line = 64 / sizeof(REAL);
    return ((n + line - 1) / line | 1) * line;
}

/* block (M, stride) = A (M,K); returns the stride. */
static isize NAME(pack_rows_a)(REAL *block, const REAL *a, isize ars, isize acs, isize M, isize K)
{
    const isize stride = NAME(odd_lines)(K);
    for (isize m = 0; m < M; m++) {
        if (acs == 1)
            memcpy(block, a, (size_t)K * sizeof(REAL));
        else
            for (isize k = 0; k < K; k++) block[k] = a[k * acs];
        block += stride;
        a += ars;
    }
    return stride;
}

/* block = one (K, rows) after the other, of A (M,K) whose columns are contiguous, acs apart; the
 * first `longer` have `rows` rows, the others one less. */
static void NAME(pack_tiles)(REAL *block, const REAL *a, isize acs, isize M, isize K, isize rows,
                             isize longer)
{
    for (isize m = 0; m < M; m += rows) {
        if (longer-- == 0) rows--;
        const REAL *from = a + m;
        const isize whole = rows / LANES * LANES;
        const NAME(mask) last = NAME(mask_first)(rows - whole);
        for (isize k = 0; k < K; k++) {
            for (isize r = 0; r < whole; r += LANES) NAME(store)(block + r, NAME(load)(from + r));
            NAME(store_part)(block + whole, last, NAME(load_part)(from + whole, last));
            block += rows;
            from += acs;
        }
    }
}
