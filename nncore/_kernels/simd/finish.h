/* Template: the last steps of a product or convolution, on a piece of its output. */

/* y[at..at+n] = sigma(y + plus) */
static void NAME(finish_piece)(const finish *f, REAL *y, isize at, isize n)
{
    y += at;
    if (f->plus) {
        const REAL *plus = (const REAL *)f->plus + at;
        for (isize i = 0; i < n; i++) y[i] += plus[i];
    }
    if (f->sigma) ((const TABLE(activation) *)f->sigma)->forward(y, y, 1, n);
}

/* The same for rows of y of a pass, in one go where they follow each other. */
static void NAME(finish_unit)(const finish *f, REAL *y, isize at, const conv_pass *p, isize rows,
                              isize columns)
{
    const isize n = columns * p->y_column;
    if (n == p->y_row)
        NAME(finish_piece)(f, y, at, rows * n);
    else
        for (isize r = 0; r < rows; r++) NAME(finish_piece)(f, y, at + r * p->y_row, n);
}
