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
