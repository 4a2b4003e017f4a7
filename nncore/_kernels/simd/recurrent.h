/* The cells of recurrent networks (template): n units of one row at one step, what is left to do
 * once the products with the weights are there. H is the number of units of the layer.
 *
 * z has a column of H numbers for each gate. Forward, it holds what the products added up to and
 * then the gates' values; backward, their gradients take the same places. dh is the gradient of h
 * on entry; on return that part of the gradient of h_prev which takes no way through a product.
 *
 * Forward, what depends on other gates' values has a loop of its own: a chain of three functions is
 * longer than a processor looks ahead (Zen 4, 128 units of an LSTM: 243 ns instead of 321).
 *
 * Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000; Cho et al. 2014.
 * Errors are those of sigmoid and tanh in elementary.h. */
#include "elementary.h"

#define CELL(name) static void NAME(name)(const CELL_ARGUMENT *s)
#define CELL_ARGUMENT TABLE(cell)
#define EACH_UNIT ELEMENTWISE_LOOP for (isize j = 0; j < n; j++)

/* h = tanh(z); z keeps h.  dz = dh (1 - h^2) */
CELL(rnn_tanh_forward)
{
    const isize n = s->n;
    REAL *z = s->z, *h = s->h;
    EACH_UNIT h[j] = z[j] = NAME(tanh)(z[j]);
}

CELL(rnn_tanh_backward)
{
    const isize n = s->n;
    REAL *z = s->z, *dh = s->dh;
    EACH_UNIT
    {
        z[j] = dh[j] * (1 - z[j] * z[j]);
        dh[j] = 0;
    }
}

/* h = max(z, 0); z keeps h.  dz = dh if h > 0, else 0 */
CELL(rnn_relu_forward)
{
    const isize n = s->n;
    REAL *z = s->z, *h = s->h;
    EACH_UNIT h[j] = z[j] = z[j] < 0 ? 0 : z[j];
}

CELL(rnn_relu_backward)
{
    const isize n = s->n;
    REAL *z = s->z, *dh = s->dh;
    EACH_UNIT
    {
        z[j] = z[j] <= 0 ? 0 : dh[j];
        dh[j] = 0;
    }
}

/* z = [i f g o]:  c = sigmoid(f) c_prev + sigmoid(i) tanh(g),  h = sigmoid(o) tanh(c) */
CELL(lstm_forward)
{
    const isize n = s->n;
    REAL *zi = s->z, *zf = zi + s->H, *zg = zf + s->H, *zo = zg + s->H;
    REAL *h = s->h, *c = s->c;
    const REAL *c_prev = s->c_prev;
    EACH_UNIT
    {
        const REAL i = NAME(sigmoid)(zi[j]), f = NAME(sigmoid)(zf[j]);
        const REAL g = NAME(tanh)(zg[j]), o = NAME(sigmoid)(zo[j]);
        zi[j] = i, zf[j] = f, zg[j] = g, zo[j] = o;
        c[j] = f * c_prev[j] + i * g;
    }
    EACH_UNIT h[j] = zo[j] * NAME(tanh)(c[j]);
}

/* dc is the gradient of c by way of later steps; on return that of c_prev */
CELL(lstm_backward)
{
    const isize n = s->n;
    REAL *zi = s->z, *zf = zi + s->H, *zg = zf + s->H, *zo = zg + s->H;
    REAL *dh = s->dh, *dc = s->dc;
    const REAL *c = s->c, *c_prev = s->c_prev;
    EACH_UNIT
    {
        const REAL i = zi[j], f = zf[j], g = zg[j], o = zo[j], t = NAME(tanh)(c[j]);
        const REAL d = dc[j] + dh[j] * o * (1 - t * t);
        zi[j] = d * g * i * (1 - i);
        zf[j] = d * c_prev[j] * f * (1 - f);
        zg[j] = d * i * (1 - g * g);
        zo[j] = dh[j] * t * o * (1 - o);
        dc[j] = d * f;
        dh[j] = 0;
    }
}

/* z = [n r z m], m the product of h_prev for n:
 * h = (1 - z) n + z h_prev,  n = tanh(n + sigmoid(r) m)  (the reset after the product) */
CELL(gru_forward)
{
    const isize n = s->n;
    REAL *zn = s->z, *zr = zn + s->H, *zz = zr + s->H, *zm = zz + s->H;
    REAL *h = s->h;
    const REAL *h_prev = s->h_prev;
    EACH_UNIT
    {
        const REAL r = NAME(sigmoid)(zr[j]);
        zr[j] = r;
        zz[j] = NAME(sigmoid)(zz[j]);
        zn[j] += r * zm[j];
    }
    EACH_UNIT
    {
        const REAL now = NAME(tanh)(zn[j]);
        zn[j] = now;
        h[j] = now + zz[j] * (h_prev[j] - now);
    }
}

CELL(gru_backward)
{
    const isize n = s->n;
    REAL *zn = s->z, *zr = zn + s->H, *zz = zr + s->H, *zm = zz + s->H;
    REAL *dh = s->dh;
    const REAL *h_prev = s->h_prev;
    EACH_UNIT
    {
        const REAL now = zn[j], r = zr[j], u = zz[j], d = dh[j];
        const REAL dn = d * (1 - u) * (1 - now * now);
        zr[j] = dn * zm[j] * r * (1 - r);
        zz[j] = d * (h_prev[j] - now) * u * (1 - u);
        zn[j] = dn;
        zm[j] = dn * r;
        dh[j] = d * u;
    }
}

/* z = [n r z m], the reset before the product: m = sigmoid(r) h_prev is what n's product takes.
 * Its first half, up to m, and its second, from n = tanh(n) on. */
CELL(gru_reset_forward)
{
    const isize n = s->n;
    REAL *zr = s->z + s->H, *zz = zr + s->H, *zm = zz + s->H;
    const REAL *h_prev = s->h_prev;
    EACH_UNIT
    {
        const REAL r = NAME(sigmoid)(zr[j]);
        zr[j] = r;
        zz[j] = NAME(sigmoid)(zz[j]);
        zm[j] = r * h_prev[j];
    }
}

CELL(gru_before_forward)
{
    const isize n = s->n;
    REAL *zn = s->z, *zz = zn + 2 * s->H, *h = s->h;
    const REAL *h_prev = s->h_prev;
    EACH_UNIT
    {
        const REAL now = NAME(tanh)(zn[j]);
        zn[j] = now;
        h[j] = now + zz[j] * (h_prev[j] - now);
    }
}

CELL(gru_before_backward)
{
    const isize n = s->n;
    REAL *zn = s->z, *zz = zn + 2 * s->H, *dh = s->dh;
    const REAL *h_prev = s->h_prev;
    EACH_UNIT
    {
        const REAL now = zn[j], u = zz[j], d = dh[j];
        zn[j] = d * (1 - u) * (1 - now * now);
        zz[j] = d * (h_prev[j] - now) * u * (1 - u);
        dh[j] = d * u;
    }
}

/* dc is the gradient of m; z keeps m, the operand of the gradient of n's weights */
CELL(gru_reset_backward)
{
    const isize n = s->n;
    REAL *zr = s->z + s->H, *dh = s->dh;
    const REAL *h_prev = s->h_prev, *dm = s->dc;
    EACH_UNIT
    {
        const REAL r = zr[j];
        zr[j] = dm[j] * h_prev[j] * r * (1 - r);
        dh[j] += dm[j] * r;
    }
}

/* In the order of the CELL_... of simd.h */
static void NAME(cell_forward)(int kind, const CELL_ARGUMENT *s)
{
    static void (*const cells[])(const CELL_ARGUMENT *) = {
        NAME(rnn_tanh_forward), NAME(rnn_relu_forward),   NAME(lstm_forward),
        NAME(gru_forward),      NAME(gru_before_forward), NAME(gru_reset_forward),
    };
    cells[kind](s);
}

static void NAME(cell_backward)(int kind, const CELL_ARGUMENT *s)
{
    static void (*const cells[])(const CELL_ARGUMENT *) = {
        NAME(rnn_tanh_backward), NAME(rnn_relu_backward),   NAME(lstm_backward),
        NAME(gru_backward),      NAME(gru_before_backward), NAME(gru_reset_backward),
    };
    cells[kind](s);
}

#undef CELL
#undef CELL_ARGUMENT
#undef EACH_UNIT
