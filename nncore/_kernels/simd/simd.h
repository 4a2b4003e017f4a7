/* The hot inner loops, written once in C and compiled per instruction set.
 *
 * Each instruction set fills one table for float and one for double; `simd_select` hands out the
 * pair that this machine runs. A kernel is pure: typed pointers, sizes, which share of the work.
 * It never allocates, never fails, holds no state, and accepts any alignment.
 *
 * Shapes are written (rows, columns), row-major. "add" means: add to what is there, else overwrite.
 */
#ifndef NNCORE_SIMD_H
#define NNCORE_SIMD_H

#include <stddef.h>
#include <stdint.h>

typedef ptrdiff_t isize;

/* What the backward pass of an activation reads: its input x or its output y. */
enum { ACTIVATION_USES_X = 1, ACTIVATION_USES_Y = 2 };

/* Pooling: an image (H,W,C), its windows of kh x kw cells every sh rows and sw columns, the first
 * one `top` rows and `left` columns outside of it, and what they give, (P,Q,C). */
typedef struct {
    isize H, W, C, P, Q, kh, kw, sh, sw, top, left;
} pool_windows;
/* One pass of a convolution from an image x (H, W, C) to an image y (OH, OW, O), in G groups:
 *   y[h][w][o] = sum over i < KH, j < KW, c < C/G of weight(o, i, j, c)
 *                * x[h stride_h + i dilation_h - top][w stride_w + j dilation_w - left][c]
 * where x is 0 outside. Strides say where y and the weights are, in elements, so that the same
 * pass serves the forward direction, and the gradient of x (weights flipped, phase by phase). */
typedef struct {
    isize H, W, C, OH, OW, O, KH, KW, groups;
    isize stride_h, stride_w, dilation_h, dilation_w, top, left;
    isize y_first, y_row, y_column, y_image;    /* a pixel's O channels are contiguous */
    isize w_first, w_group, w_o, w_i, w_j, w_c; /* o and c count within a group */
    isize block_h, block_w;                     /* so much of y is a unit of work */
    int source;                                 /* where such a unit finds x: the next line */
} conv_pass;
enum { CONV_IN_PLACE, CONV_PADDED, CONV_PATCHES };
/* What is done to a piece of an output y while it is in a cache: y = sigma(y + plus). */
typedef struct {
    const void *plus;  /* laid out like y; NULL: none */
    const void *sigma; /* an activation of the tables below, elementwise; NULL: none */
} finish;

/* How the product of one row reads the rows of its matrix; see gemm_dot.h. */
enum { ROWS_TOGETHER, ROWS_IN_TURN, ROWS_ASKED_FOR };

/* The cells of recurrent.h; the last is the first half of the one before it. */
enum { CELL_RNN_TANH, CELL_RNN_RELU, CELL_LSTM, CELL_GRU, CELL_GRU_BEFORE, CELL_GRU_RESET };

/* What a rule of optimizer.h knows besides its vectors: its hyper-parameters, or 0. The gradient is
 * scaled by `scale`, then weight_decay * p is added (L2), but in AdamW. */
typedef struct {
    double rate, scale, weight_decay, momentum, beta_1, beta_2, rho, epsilon;
    int nesterov;
    int64_t step; /* from 1 */
} optimizer_step;

#define DECLARE_TABLE(real, name)                                                                  \
    typedef struct {                                                                               \
        const char *label; /* as in "relu" */                                                      \
        int uses;          /* ACTIVATION_USES_X or ACTIVATION_USES_Y */                            \
        int rowwise;       /* 1: mixes the n values of a row (softmax); 0: elementwise */          \
        /* y (rows, n) = sigma(x); y may be x */                                                   \
        void (*forward)(real *y, const real *x, isize rows, isize n);                              \
        /* dx = dy * sigma'(x) [+ dx]; dx may be dy; `xy` is x or y, as `uses` says */             \
        void (*backward)(real *dx, const real *dy, const real *xy, isize rows, isize n, int add);  \
    } name##_activation;                                                                           \
    typedef struct {                                                                               \
        const char *label; /* as in "adam" */                                                      \
        int vectors;       /* of state; one more with momentum */                                  \
        /* steps n parameters p with gradient g */                                                 \
        void (*apply)(real *p, const real *g, real *first, real *second, isize n,                  \
                      const optimizer_step *s);                                                    \
    } name##_rule;                                                                                 \
    typedef struct { /* n units of one row at one step; see recurrent.h */                         \
        isize H, n;                                                                                \
        real *z, *h, *c, *dh, *dc;                                                                 \
        const real *h_prev, *c_prev;                                                               \
    } name##_cell;                                                                                 \
    typedef struct {                                                                               \
        const char *isa;  /* "baseline", "avx2", "avx512" */                                       \
        int vector_bytes; /* of one of its vectors */                                              \
        /* C (M,N) = A (M,K) B (K,N) [+ C] [+ bias (N)], each operand with row and column          \
         * strides in elements, C with columns contiguous. Sums run over k in order, so a          \
         * result does not depend on how M and N are shared out. bias may be NULL. `scratch`       \
         * has `gemm_scratch` elements. */                                                         \
        void (*gemm)(real *c, isize ldc, const real *a, isize ars, isize acs, const real *b,       \
                     isize brs, isize bcs, isize M, isize N, isize K, int add, const real *bias,   \
                     real *scratch);                                                               \
        isize (*gemm_scratch)(isize M, isize N, isize K);                                          \
        /* C (M,N) = A (M,K) B (N,K)^T [+ C] [+ bias (N)] as dot products along k: nothing is      \
         * packed, so it is the one for few rows. */                                               \
        void (*gemm_dot)(real *c, isize ldc, const real *a, isize lda, const real *b, isize ldb,   \
                         isize M, isize N, isize K, int add, const real *bias);                    \
        /* The same, not added to C, for K up to the lanes of a vector and N fewer than that. */   \
        void (*gemm_short)(real *c, isize ldc, const real *a, isize lda, const real *b, isize ldb, \
                           isize M, isize N, isize K, const real *bias);                           \
        /* y (N) = B (N,K) x [+ bias (N)]: the same for one row. order: ROWS_..., in which those   \
         * of B are read; from_end: the last elements first */                                     \
        void (*gemv)(real *y, const real *x, const real *b, isize ldb, isize N, isize K,           \
                     const real *bias, int order, int from_end);                                   \
        /* d (N) = sum over rows of x (M,N) [+ d] */                                               \
        void (*sum_rows)(real *d, const real *x, isize ldx, isize M, isize N, int add);            \
        /* y[at..at+n] = sigma(y + plus), see above */                                             \
        void (*finish_piece)(const finish *f, real *y, isize at, isize n);                         \
        /* Channels of x (P,C), P positions, ld elements apart; sums are added to s (C) and q (C). \
         * moments: of x - shift and its square; products: of dy and dy (x - mean) */              \
        void (*channel_moments)(double *s, double *q, const real *x, const real *shift, isize P,   \
                                isize C, isize ld);                                                \
        void (*channel_products)(double *s, double *q, const real *dy, const real *x,              \
                                 const real *mean, isize P, isize C, isize ld);                    \
        /* y = (x - mean) scale + offset; y may be x */                                            \
        void (*channel_affine)(real *y, const real *x, const real *mean, const real *scale,        \
                               const real *offset, isize P, isize C);                              \
        /* dx = dy scale - (x - mean) slope - offset [+ dx]; dx may be dy */                       \
        void (*channel_affine_backward)(real *dx, const real *dy, const real *x, const real *mean, \
                                        const real *scale, const real *slope, const real *offset,  \
                                        isize P, isize C, int add);                                \
        const name##_activation *activations; /* ends with label == NULL */                        \
        /* y (rows, n) = softmax(x); y may be x; log_sum (rows, 2), unless NULL: the largest x,    \
         * and log(sum(exp(x - largest))) */                                                       \
        void (*softmax)(real *y, const real *x, real *log_sum, isize rows, isize n);               \
        /* y = sigmoid(x) and l (n) = log(1 + exp(-|x|)); y may be x */                            \
        void (*sigmoid_log)(real *y, real *l, const real *x, isize n);                             \
        /* the sum in double of (x - t)^2, each difference a real; t may be NULL, 0 */             \
        double (*sum_squares)(const real *x, const real *t, isize n);                              \
        int (*all_finite)(const real *x, isize n);                                                 \
        const name##_rule *rules; /* ends with label == NULL */                                    \
        /* keep[i] = 1 with probability 1 - rate, else 0. Counter-based (Philox 4x32-10, Salmon    \
         * et al. 2011): element i of the stream (key, step) depends on nothing else; `first`      \
         * is the index of keep[0] in the stream. */                                               \
        void (*dropout_mask)(uint8_t *keep, isize first, isize n, double rate, uint64_t key,       \
                             uint64_t step);                                                       \
        /* y = x * keep * scale [+ y] */                                                           \
        void (*dropout_apply)(real *y, const real *x, const uint8_t *keep, isize n, double scale,  \
                              int add);                                                            \
        /* Pooling, one image; see pooling.h. cell (P,Q,C): integers as large as real, or NULL */  \
        void (*max_pool)(real *y, real *cell, const real *x, const pool_windows *s, int relu);     \
        void (*max_pool_backward)(real *dx, const real *dy, const real *cell,                      \
                                  const pool_windows *s, int add);                                 \
        void (*sum_pool)(real *y, const real *x, const pool_windows *s, int mean, int add);        \
        void (*sum_pool_backward)(real *dx, const real *dy, const pool_windows *s, int mean,       \
                                  int add);                                                        \
        /* Enlarging one image; see resizing.h */                                                  \
        void (*repeat)(real *y, const real *x, isize H, isize W, isize C, isize sh, isize sw);     \
        void (*bilinear)(real *y, const real *x, isize H, isize W, isize C, isize sh, isize sw);   \
        void (*bilinear_backward)(real *dx, const real *dy, isize H, isize W, isize C, isize sh,   \
                                  isize sw, int add);                                              \
        /* Layer normalization; see normalization.h. moments (rows,3) may be NULL */               \
        void (*layer_norm)(real *y, real *moments, const real *x, const real *weight,              \
                           const real *bias, isize rows, isize C, double epsilon);                 \
        void (*layer_norm_backward)(real *dx, real *dweight, real *dbias, const real *dy,          \
                                    const real *x, const real *moments, const real *weight,        \
                                    isize rows, isize C, int add);                                 \
        void (*layer_norm_sums)(real *dweight, real *dbias, const real *dy, const real *x,         \
                                const real *moments, isize rows, isize C, isize columns);          \
        /* Convolutions. conv_pack copies the weights in the order in which conv_run reads them,   \
         * and conv_run does units begin..end of a batch's images: y = x * packed [+ bias (O)]     \
         * [+ y], finished by f, if it is not NULL.                                                \
         * conv_weight: sums (C/G KH KW, O) = what units begin..end give to the gradient of the    \
         * weights, and conv_weight_store: dw (O, KH KW C/G) rows begin..end = the sum of `pieces` \
         * such, `apart` elements from each other [+ dw]. Sums run in an order that depends on the \
         * pass only (conv_weight: on the units). conv_sizes: elements that `packed` takes, and the\
         * scratch of conv_run and conv_weight. */                                                 \
        void (*conv_pack)(real *packed, const conv_pass *p, const real *weight);                   \
        void (*conv_run)(const conv_pass *p, real *y, const real *x, const real *packed,           \
                         const real *bias, isize begin, isize end, int add, const finish *f,       \
                         real *scratch);                                                           \
        void (*conv_weight)(const conv_pass *p, real *sums, const real *dy, const real *x,         \
                            isize begin, isize end, real *scratch);                                \
        void (*conv_weight_store)(const conv_pass *p, real *dw, real *sums, isize pieces,          \
                                  isize apart, isize begin, isize end, int add, int depthwise);    \
        void (*conv_sizes)(const conv_pass *p, isize *packed, isize *scratch);                     \
        /* The same where each group has one channel of x or of y (depthwise). */                  \
        void (*depthwise_pack)(real *packed, const conv_pass *p, const real *weight);              \
        void (*depthwise_run)(const conv_pass *p, real *y, const real *x, const real *packed,      \
                              const real *bias, isize begin, isize end, int add, const finish *f,  \
                              real *scratch);                                                      \
        void (*depthwise_weight)(const conv_pass *p, real *sums, const real *dy, const real *x,    \
                                 isize begin, isize end, real *scratch);                           \
        void (*depthwise_sizes)(const conv_pass *p, isize *packed, isize *scratch);                \
        /* The same for groups of few channels, as many out as in, where vectors have room for     \
         * several: whether that is so, and forward. */                                            \
        int (*grouped_can)(const conv_pass *p);                                                    \
        void (*grouped_pack)(real *packed, const conv_pass *p, const real *weight);                \
        void (*grouped_run)(const conv_pass *p, real *y, const real *x, const real *packed,        \
                            const real *bias, isize begin, isize end, int add, const finish *f,    \
                            real *scratch);                                                        \
        void (*grouped_sizes)(const conv_pass *p, isize *packed, isize *scratch);                  \
        /* From maps to images through whole windows: rows begin..end of all images, by the pass   \
         * from image to map. */                                                                   \
        void (*conv_overlap)(const conv_pass *p, real *images, const real *maps,                   \
                             const real *weight, const real *bias, isize begin, isize end,         \
                             int add, real *scratch);                                              \
        isize (*overlap_scratch)(const conv_pass *p);                                              \
        /* The formula, for tests: images begin..end; rows begin..end of dw. */                    \
        void (*conv_plain)(const conv_pass *p, real *y, const real *x, const real *weight,         \
                           const real *bias, isize begin, isize end, int add);                     \
        void (*conv_plain_weight)(const conv_pass *p, real *dw, const real *dy, const real *x,     \
                                  isize images, isize begin, isize end, int add);                  \
        /* 3 x 3 convolutions with stride 1 by Winograd's F(4x4,3x3), as conv_plain; of y the      \
         * tiles of 4 x 4 pixels first..last, of ceil(OH/4) ceil(OW/4) an image, and the channels  \
         * begin..end, begin a multiple of 16. kept: what winograd_pack made of the weights, or    \
         * NULL, as always where winograd_is_wide */                                               \
        void (*winograd_run)(const conv_pass *p, real *y, const real *x, const real *weight,       \
                             const real *kept, const real *bias, isize first, isize last,          \
                             isize begin, isize end, int add, const finish *f, real *scratch);     \
        void (*winograd_pack)(real *kept, const conv_pass *p, const real *weight);                 \
        isize (*winograd_packed)(const conv_pass *p); /* elements of that */                       \
        /* dw (O,3,3,C) = the sums over those tiles for the filters begin..end [+ dw] */           \
        void (*winograd_weight)(const conv_pass *p, real *dw, const real *dy, const real *x,       \
                                isize first, isize last, isize begin, isize end, int add,          \
                                real *scratch);                                                    \
        isize (*winograd_scratch)(const conv_pass *p);                                             \
        /* whether transforming the weights is so much of the work that each member should do it   \
         * for its own channels */                                                                 \
        int (*winograd_is_wide)(const conv_pass *p);                                               \
        /* gemm for a B that is packed once, by several members, each its part; A has contiguous   \
         * rows, `most` of them at most, the same number for both */                               \
        isize (*gemm_packed_size)(isize N, isize K);                                               \
        void (*gemm_pack)(real *packed, const real *b, isize brs, isize bcs, isize N, isize K,     \
                          isize most, isize part, isize parts);                                    \
        void (*gemm_packed)(real *c, isize ldc, const real *a, isize lda, const real *packed,      \
                            isize most, isize M, isize N, isize K, int add, const real *bias,      \
                            real *scratch);                                                        \
        void (*cell_forward)(int kind, const name##_cell *s); /* CELL_... */                       \
        void (*cell_backward)(int kind, const name##_cell *s);                                     \
    } name##_table;

DECLARE_TABLE(float, f32)
DECLARE_TABLE(double, f64)

typedef struct {
    const f32_table *f32;
    const f64_table *f64;
    int near, far; /* the order in which a matrix of one row's product is read the fastest: from
                      L2, and from beyond it */
} simd_tables;

/* The best tables that this CPU runs, or those of the instruction set named (NULL: the best).
 * A name that is unknown here or that this CPU lacks gives NULL for both. */
simd_tables simd_select(const char *isa);

#endif
