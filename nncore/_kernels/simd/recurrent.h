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
#define SIGMOID(v) NAME(lanes_of)(v, NAME(sigmoid))
#define TANH(v) NAME(lanes_of)(v, NAME(tanh))

/* h = tanh(z); z keeps h.  dz = dh (1 - h^2) */
CELL(rnn_tanh_forward)
{
    const isize n = s->n;
    REAL *z = s->z, *h = s->h;
    BY_VECTORS({
        const NAME(vec) y = TANH(GET(z));
        PUT(z, y);
        PUT(h, y);
    });
}

CELL(rnn_tanh_backward)
{
    const isize n = s->n;
    REAL *z = s->z, *dh = s->dh;
    BY_VECTORS({
        const NAME(vec) y = GET(z);
        PUT(z, GET(dh) * (1 - y * y));
        PUT(dh, (NAME(vec)){0});
    });
}

/* h = max(z, 0); z keeps h.  dz = dh if h > 0, else 0 */
CELL(rnn_relu_forward)
{
    const isize n = s->n;
    REAL *z = s->z, *h = s->h;
    BY_VECTORS({
        const NAME(vec) y = NAME(lanes_of)(GET(z), NAME(relu_sigma));
        PUT(z, y);
        PUT(h, y);
    });
}

CELL(rnn_relu_backward)
{
    const isize n = s->n;
    REAL *z = s->z, *dh = s->dh;
    BY_VECTORS({
        const NAME(lanes) active = ~(NAME(lanes))(GET(z) <= 0);
        PUT(z, (NAME(vec))((NAME(lanes))GET(dh) & active)); /* a product would make inf 0 NaN */
        PUT(dh, (NAME(vec)){0});
    });
}

/* z = [i f g o]:  c = sigmoid(f) c_prev + sigmoid(i) tanh(g),  h = sigmoid(o) tanh(c) */
CELL(lstm_forward)
{
    const isize n = s->n;
    REAL *zi = s->z, *zf = zi + s->H, *zg = zf + s->H, *zo = zg + s->H;
    REAL *h = s->h, *c = s->c;
    const REAL *c_prev = s->c_prev;
    BY_VECTORS({
        const NAME(vec) i = SIGMOID(GET(zi)), f = SIGMOID(GET(zf));
        const NAME(vec) g = TANH(GET(zg)), o = SIGMOID(GET(zo));
        PUT(zi, i);
        PUT(zf, f);
        PUT(zg, g);
        PUT(zo, o);
        PUT(c, f * GET(c_prev) + i * g);
    });
    BY_VECTORS(PUT(h, GET(zo) * TANH(GET(c))));
}

/* dc is the gradient of c by way of later steps; on return that of c_prev */
CELL(lstm_backward)
{
    const isize n = s->n;
    REAL *zi = s->z, *zf = zi + s->H, *zg = zf + s->H, *zo = zg + s->H;
    REAL *dh = s->dh, *dc = s->dc;
    const REAL *c = s->c, *c_prev = s->c_prev;
    BY_VECTORS({
        const NAME(vec) i = GET(zi), f = GET(zf), g = GET(zg), o = GET(zo), t = TANH(GET(c));
        const NAME(vec) d_h = GET(dh), d = GET(dc) + d_h * o * (1 - t * t);
        PUT(zi, d * g * i * (1 - i));
        PUT(zf, d * GET(c_prev) * f * (1 - f));
        PUT(zg, d * i * (1 - g * g));
        PUT(zo, d_h * t * o * (1 - o));
        PUT(dc, d * f);
        PUT(dh, (NAME(vec)){0});
    });
}

/* z = [n r z m], m the product of h_prev for n:
 * h = (1 - z) n + z h_prev,  n = tanh(n + sigmoid(r) m)  (the reset after the product) */
CELL(gru_forward)
{
    const isize n = s->n;
    REAL *zn = s->z, *zr = zn + s->H, *zz = zr + s->H, *zm = zz + s->H;
    REAL *h = s->h;
    const REAL *h_prev = s->h_prev;
    BY_VECTORS({
        const NAME(vec) r = SIGMOID(GET(zr));
        PUT(zr, r);
        PUT(zz, SIGMOID(GET(zz)));
        PUT(zn, GET(zn) + r * GET(zm));
    });
    BY_VECTORS({
        const NAME(vec) now = TANH(GET(zn));
        PUT(zn, now);
        PUT(h, now + GET(zz) * (GET(h_prev) - now));
    });
}

CELL(gru_backward)
{
    const isize n = s->n;
    REAL *zn = s->z, *zr = zn + s->H, *zz = zr + s->H, *zm = zz + s->H;
    REAL *dh = s->dh;
    const REAL *h_prev = s->h_prev;
    BY_VECTORS({
        const NAME(vec) now = GET(zn), r = GET(zr), u = GET(zz), d = GET(dh);
        const NAME(vec) dn = d * (1 - u) * (1 - now * now);
        PUT(zr, dn * GET(zm) * r * (1 - r));
        PUT(zz, d * (GET(h_prev) - now) * u * (1 - u));
        PUT(zn, dn);
        PUT(zm, dn * r);
        PUT(dh, d * u);
    });
}

/* z = [n r z m], the reset before the product: m = sigmoid(r) h_prev is what n's product takes.
 * Its first half, up to m, and its second, from n = tanh(n) on. */
CELL(gru_reset_forward)
{
    const isize n = s->n;
    REAL *zr = s->z + s->H, *zz = zr + s->H, *zm = zz + s->H;
    const REAL *h_prev = s->h_prev;
    BY_VECTORS({
        const NAME(vec) r = SIGMOID(GET(zr));
        PUT(zr, r);
        PUT(zz, SIGMOID(GET(zz)));
        PUT(zm, r * GET(h_prev));
    });
}

CELL(gru_before_forward)
{
    const isize n = s->n;
    REAL *zn = s->z, *zz = zn + 2 * s->H, *h = s->h;
    const REAL *h_prev = s->h_prev;
    BY_VECTORS({
        const NAME(vec) now = TANH(GET(zn));
        PUT(zn, now);
        PUT(h, now + GET(zz) * (GET(h_prev) - now));
    });
}

CELL(gru_before_backward)
{
    const isize n = s->n;
    REAL *zn = s->z, *zz = zn + 2 * s->H, *dh = s->dh;
    const REAL *h_prev = s->h_prev;
    BY_VECTORS({
        const NAME(vec) now = GET(zn), u = GET(zz), d = GET(dh);
        PUT(zn, d * (1 - u) * (1 - now * now));
        PUT(zz, d * (GET(h_prev) - now) * u * (1 - u));
        PUT(dh, d * u);
    });
}

/* dc is the gradient of m; z keeps m, the operand of the gradient of n's weights */
CELL(gru_reset_backward)
{
    const isize n = s->n;
    REAL *zr = s->z + s->H, *dh = s->dh;
    const REAL *h_prev = s->h_prev, *dm = s->dc;
    BY_VECTORS({
        const NAME(vec) r = GET(zr), d = GET(dm);
        PUT(zr, d * GET(h_prev) * r * (1 - r));
        PUT(dh, GET(dh) + d * r);
    });
}

static void NAME(cell_forward)(int kind, const CELL_ARGUMENT *s)
{
    static void (*const cells[])(const CELL_ARGUMENT *) = {
        [CELL_RNN_TANH] = NAME(rnn_tanh_forward),
        [CELL_RNN_RELU] = NAME(rnn_relu_forward),
        [CELL_LSTM] = NAME(lstm_forward),
        [CELL_GRU] = NAME(gru_forward),
        [CELL_GRU_BEFORE] = NAME(gru_before_forward),
        [CELL_GRU_RESET] = NAME(gru_reset_forward),
    };
    cells[kind](s);
}

static void NAME(cell_backward)(int kind, const CELL_ARGUMENT *s)
{
    static void (*const cells[])(const CELL_ARGUMENT *) = {
        [CELL_RNN_TANH] = NAME(rnn_tanh_backward),
        [CELL_RNN_RELU] = NAME(rnn_relu_backward),
        [CELL_LSTM] = NAME(lstm_backward),
        [CELL_GRU] = NAME(gru_backward),
        [CELL_GRU_BEFORE] = NAME(gru_before_backward),
        [CELL_GRU_RESET] = NAME(gru_reset_backward),
    };
    cells[kind](s);
}

#undef CELL
#undef CELL_ARGUMENT
#undef SIGMOID
#undef TANH
