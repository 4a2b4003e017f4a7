/* Template: a convolution as its formula (conv_pass of simd.h): what the fast kernels are compared
 * with. */

static REAL NAME(conv_at)(const conv_pass *p, const REAL *x, isize h, isize w, isize c)
{
    return h < 0 || h >= p->H || w < 0 || w >= p->W ? 0 : x[(h * p->W + w) * p->C + c];
}

/* Images begin..end. */
static void NAME(conv_plain)(const conv_pass *p, REAL *y, const REAL *x, const REAL *weight,
                             const REAL *bias, isize begin, isize end, int add)
{
    const isize C = p->C / p->groups, O = p->O / p->groups;
    for (isize n = begin; n < end; n++)
        for (isize h = 0; h < p->OH; h++)
            for (isize w = 0; w < p->OW; w++)
                for (isize o = 0; o < p->O; o++) {
                    const REAL *of = weight + p->w_first + o / O * p->w_group + o % O * p->w_o;
                    REAL sum = bias ? bias[o] : 0;
                    for (isize i = 0; i < p->KH; i++)
                        for (isize j = 0; j < p->KW; j++)
                            for (isize c = 0; c < C; c++)
                                sum += of[i * p->w_i + j * p->w_j + c * p->w_c] *
                                       NAME(conv_at)(p, x + n * p->H * p->W * p->C,
                                                     h * p->stride_h + i * p->dilation_h - p->top,
                                                     w * p->stride_w + j * p->dilation_w - p->left,
                                                     o / O * C + c);
                    REAL *to = y + n * p->y_image + p->y_first + h * p->y_row + w * p->y_column;
                    to[o] = add ? to[o] + sum : sum;
                }
}

/* dw (O, KH, KW, C/G) rows begin..end [+ dw] over all images. */
static void NAME(conv_plain_weight)(const conv_pass *p, REAL *dw, const REAL *dy, const REAL *x,
                                    isize images, isize begin, isize end, int add)
{
    const isize C = p->C / p->groups, O = p->O / p->groups;
    dw += begin * p->KH * p->KW * C;
    for (isize o = begin; o < end; o++)
        for (isize i = 0; i < p->KH; i++)
            for (isize j = 0; j < p->KW; j++)
                for (isize c = 0; c < C; c++, dw++) {
                    REAL sum = 0;
                    for (isize n = 0; n < images; n++)
                        for (isize h = 0; h < p->OH; h++)
                            for (isize w = 0; w < p->OW; w++)
                                sum += dy[n * p->y_image + h * p->y_row + w * p->y_column + o] *
                                       NAME(conv_at)(p, x + n * p->H * p->W * p->C,
                                                     h * p->stride_h + i * p->dilation_h - p->top,
                                                     w * p->stride_w + j * p->dilation_w - p->left,
                                                     o / O * C + c);
                    *dw = add ? *dw + sum : sum;
                }
}
