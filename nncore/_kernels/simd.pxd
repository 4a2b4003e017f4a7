# The C tables of simd/simd.h, where shapes, meaning and rounding of each are stated.
from libc.stdint cimport uint8_t, uint64_t, int64_t

ctypedef fused real:
    float
    double

cdef extern from "simd/simd.h" nogil:
    ctypedef Py_ssize_t isize
    enum:
        ACTIVATION_USES_X
    ctypedef struct pool_windows:
        isize H, W, C, P, Q, kh, kw, sh, sw, top, left
    ctypedef struct f32_activation:
        const char *label
        int uses
        int rowwise
        void (*forward)(float *y, const float *x, isize rows, isize n) noexcept nogil
        void (*backward)(float *dx, const float *dy, const float *xy, isize rows, isize n,
                      int add) noexcept nogil
    ctypedef struct f64_activation:
        void (*forward)(double *y, const double *x, isize rows, isize n) noexcept nogil
        void (*backward)(double *dx, const double *dy, const double *xy, isize rows, isize n,
                      int add) noexcept nogil
    ctypedef struct optimizer_step:
        double rate, scale, weight_decay, momentum, beta_1, beta_2, rho, epsilon
        int nesterov
        int64_t step
    ctypedef struct f32_rule:
        const char *label
        int vectors
        void (*apply)(float *p, const float *g, float *first, float *second, isize n,
                      const optimizer_step *s) noexcept nogil
    ctypedef struct f64_rule:
        void (*apply)(double *p, const double *g, double *first, double *second, isize n,
                      const optimizer_step *s) noexcept nogil
    enum:
        CONV_IN_PLACE
        CONV_PADDED
        CONV_PATCHES
    ctypedef struct conv_pass:
        isize H, W, C, OH, OW, O, KH, KW, groups
        isize stride_h, stride_w, dilation_h, dilation_w, top, left
        isize y_first, y_row, y_column, y_image
        isize w_first, w_group, w_o, w_i, w_j, w_c
        isize block_h, block_w
        int source
    ctypedef struct finish:
        const void *plus
        const void *sigma
    enum:
        ROWS_TOGETHER
    enum:
        CELL_RNN_TANH
        CELL_RNN_RELU
        CELL_LSTM
        CELL_GRU
        CELL_GRU_BEFORE
        CELL_GRU_RESET
    ctypedef struct f32_cell:
        isize H, n
        float *z
        float *h
        float *c
        float *dh
        float *dc
        const float *h_prev
        const float *c_prev
    ctypedef struct f64_cell:
        isize H, n
        double *z
        double *h
        double *c
        double *dh
        double *dc
        const double *h_prev
        const double *c_prev
    ctypedef struct f32_table:
        const char *isa
        int vector_bytes
        void (*gemm)(float *c, isize ldc, const float *a, isize ars, isize acs, const float *b,
                  isize brs, isize bcs, isize M, isize N, isize K, int add, const float *bias,
                  float *scratch) noexcept nogil
        isize (*gemm_scratch)(isize M, isize N, isize K) noexcept nogil
        void (*gemm_dot)(float *c, isize ldc, const float *a, isize lda, const float *b, isize ldb,
                      isize M, isize N, isize K, int add, const float *bias) noexcept nogil
        void (*gemm_short)(float *c, isize ldc, const float *a, isize lda, const float *b,
                           isize ldb, isize M, isize N, isize K, const float *bias) noexcept nogil
        void (*gemv)(float *y, const float *x, const float *b, isize ldb, isize N, isize K,
                     const float *bias, int order, int from_end) noexcept nogil
        void (*sum_rows)(float *d, const float *x, isize ldx, isize M, isize N,
                         int add) noexcept nogil
        void (*finish_piece)(const finish *f, float *y, isize at, isize n) noexcept nogil
        void (*channel_moments)(double *s, double *q, const float *x, const float *shift,
                                isize P, isize C, isize ld) noexcept nogil
        void (*channel_products)(double *s, double *q, const float *dy, const float *x,
                                 const float *mean, isize P, isize C, isize ld) noexcept nogil
        void (*channel_affine)(float *y, const float *x, const float *mean, const float *scale,
                               const float *offset, isize P, isize C) noexcept nogil
        void (*channel_affine_backward)(float *dx, const float *dy, const float *x,
                                        const float *mean, const float *scale,
                                        const float *slope, const float *offset,
                                        isize P, isize C, int add) noexcept nogil
        const f32_activation *activations
        void (*softmax)(float *y, const float *x, float *log_sum, isize rows,
                        isize n) noexcept nogil
        void (*sigmoid_log)(float *y, float *l, const float *x, isize n) noexcept nogil
        double (*sum_squares)(const float *x, const float *t, isize n) noexcept nogil
        int (*all_finite)(const float *x, isize n) noexcept nogil
        const f32_rule *rules
        void (*dropout_mask)(uint8_t *keep, isize first, isize n, double rate, uint64_t key,
                          uint64_t step) noexcept nogil
        void (*dropout_apply)(float *y, const float *x, const uint8_t *keep, isize n,
                           double scale, int add) noexcept nogil
        void (*max_pool)(float *y, float *cell, const float *x,
                         const pool_windows *s, int relu) noexcept nogil
        void (*max_pool_backward)(float *dx, const float *dy, const float *cell,
                                  const pool_windows *s, int add) noexcept nogil
        void (*sum_pool)(float *y, const float *x, const pool_windows *s, int mean,
                         int add) noexcept nogil
        void (*sum_pool_backward)(float *dx, const float *dy, const pool_windows *s, int mean,
                                  int add) noexcept nogil
        void (*repeat)(float *y, const float *x, isize H, isize W, isize C, isize sh,
                       isize sw) noexcept nogil
        void (*bilinear)(float *y, const float *x, isize H, isize W, isize C, isize sh,
                         isize sw) noexcept nogil
        void (*bilinear_backward)(float *dx, const float *dy, isize H, isize W, isize C, isize sh,
                                  isize sw, int add) noexcept nogil
        void (*layer_norm)(float *y, float *moments, const float *x, const float *weight,
                           const float *bias, isize rows, isize C, double epsilon) noexcept nogil
        void (*layer_norm_backward)(float *dx, float *dweight, float *dbias, const float *dy,
                                    const float *x, const float *moments, const float *weight,
                                    isize rows, isize C, int add) noexcept nogil
        void (*layer_norm_sums)(float *dweight, float *dbias, const float *dy, const float *x,
                                const float *moments, isize rows, isize C,
                                isize columns) noexcept nogil
        void (*conv_pack)(float *packed, const conv_pass *p, const float *weight) noexcept nogil
        void (*conv_run)(const conv_pass *p, float *y, const float *x, const float *packed,
                         const float *bias, isize begin, isize end, int add, const finish *f,
                         float *scratch) noexcept nogil
        void (*conv_weight)(const conv_pass *p, float *sums, const float *dy, const float *x,
                            isize begin, isize end, float *scratch) noexcept nogil
        void (*conv_weight_store)(const conv_pass *p, float *dw, float *sums, isize pieces,
                                  isize apart, isize begin, isize end, int add,
                                  int depthwise) noexcept nogil
        void (*conv_sizes)(const conv_pass *p, isize *packed, isize *scratch) noexcept nogil
        void (*depthwise_pack)(float *packed, const conv_pass *p,
                               const float *weight) noexcept nogil
        void (*depthwise_run)(const conv_pass *p, float *y, const float *x, const float *packed,
                              const float *bias, isize begin, isize end, int add,
                              const finish *f, float *scratch) noexcept nogil
        void (*depthwise_weight)(const conv_pass *p, float *sums, const float *dy, const float *x,
                                 isize begin, isize end, float *scratch) noexcept nogil
        void (*depthwise_sizes)(const conv_pass *p, isize *packed, isize *scratch) noexcept nogil
        int (*grouped_can)(const conv_pass *p) noexcept nogil
        void (*grouped_pack)(float *packed, const conv_pass *p, const float *weight) noexcept nogil
        void (*grouped_run)(const conv_pass *p, float *y, const float *x, const float *packed,
                            const float *bias, isize begin, isize end, int add, const finish *f,
                            float *scratch) noexcept nogil
        void (*grouped_sizes)(const conv_pass *p, isize *packed, isize *scratch) noexcept nogil
        void (*conv_overlap)(const conv_pass *p, float *images, const float *maps,
                             const float *weight, const float *bias, isize begin, isize end,
                             int add, float *scratch) noexcept nogil
        isize (*overlap_scratch)(const conv_pass *p) noexcept nogil
        void (*conv_plain)(const conv_pass *p, float *y, const float *x, const float *weight,
                           const float *bias, isize begin, isize end, int add) noexcept nogil
        void (*conv_plain_weight)(const conv_pass *p, float *dw, const float *dy, const float *x,
                                  isize images, isize begin, isize end, int add) noexcept nogil
        void (*winograd_run)(const conv_pass *p, float *y, const float *x, const float *weight,
                             const float *kept, const float *bias, isize first, isize last,
                             isize begin, isize end, int add, const finish *f,
                             float *scratch) noexcept nogil
        void (*winograd_pack)(float *kept, const conv_pass *p, const float *weight) noexcept nogil
        isize (*winograd_packed)(const conv_pass *p) noexcept nogil
        void (*winograd_weight)(const conv_pass *p, float *dw, const float *dy, const float *x,
                                isize first, isize last, isize begin, isize end, int add,
                                float *scratch) noexcept nogil
        isize (*winograd_scratch)(const conv_pass *p) noexcept nogil
        int (*winograd_is_wide)(const conv_pass *p) noexcept nogil
        isize (*gemm_packed_size)(isize N, isize K) noexcept nogil
        void (*gemm_pack)(float *packed, const float *b, isize brs, isize bcs, isize N, isize K,
                          isize most, isize part, isize parts) noexcept nogil
        void (*gemm_packed)(float *c, isize ldc, const float *a, isize lda, const float *packed,
                            isize most, isize M, isize N, isize K, int add,
                            const float *bias, float *scratch) noexcept nogil
        void (*cell_forward)(int kind, const f32_cell *s) noexcept nogil
        void (*cell_backward)(int kind, const f32_cell *s) noexcept nogil
    ctypedef struct f64_table:
        void (*gemm)(double *c, isize ldc, const double *a, isize ars, isize acs, const double *b,
                  isize brs, isize bcs, isize M, isize N, isize K, int add, const double *bias,
                  double *scratch) noexcept nogil
        isize (*gemm_scratch)(isize M, isize N, isize K) noexcept nogil
        void (*gemm_dot)(double *c, isize ldc, const double *a, isize lda, const double *b,
                      isize ldb, isize M, isize N, isize K, int add,
                      const double *bias) noexcept nogil
        void (*gemm_short)(double *c, isize ldc, const double *a, isize lda, const double *b,
                           isize ldb, isize M, isize N, isize K, const double *bias) noexcept nogil
        void (*gemv)(double *y, const double *x, const double *b, isize ldb, isize N, isize K,
                     const double *bias, int order, int from_end) noexcept nogil
        void (*sum_rows)(double *d, const double *x, isize ldx, isize M, isize N,
                         int add) noexcept nogil
        void (*finish_piece)(const finish *f, double *y, isize at, isize n) noexcept nogil
        void (*channel_moments)(double *s, double *q, const double *x, const double *shift,
                                isize P, isize C, isize ld) noexcept nogil
        void (*channel_products)(double *s, double *q, const double *dy, const double *x,
                                 const double *mean, isize P, isize C, isize ld) noexcept nogil
        void (*channel_affine)(double *y, const double *x, const double *mean, const double *scale,
                               const double *offset, isize P, isize C) noexcept nogil
        void (*channel_affine_backward)(double *dx, const double *dy, const double *x,
                                        const double *mean, const double *scale,
                                        const double *slope, const double *offset,
                                        isize P, isize C, int add) noexcept nogil
        const f64_activation *activations
        void (*softmax)(double *y, const double *x, double *log_sum, isize rows,
                        isize n) noexcept nogil
        void (*sigmoid_log)(double *y, double *l, const double *x, isize n) noexcept nogil
        double (*sum_squares)(const double *x, const double *t, isize n) noexcept nogil
        int (*all_finite)(const double *x, isize n) noexcept nogil
        const f64_rule *rules
        void (*dropout_mask)(uint8_t *keep, isize first, isize n, double rate, uint64_t key,
                          uint64_t step) noexcept nogil
        void (*dropout_apply)(double *y, const double *x, const uint8_t *keep, isize n,
                           double scale, int add) noexcept nogil
        void (*max_pool)(double *y, double *cell, const double *x,
                         const pool_windows *s, int relu) noexcept nogil
        void (*max_pool_backward)(double *dx, const double *dy, const double *cell,
                                  const pool_windows *s, int add) noexcept nogil
        void (*sum_pool)(double *y, const double *x, const pool_windows *s, int mean,
                         int add) noexcept nogil
        void (*sum_pool_backward)(double *dx, const double *dy, const pool_windows *s, int mean,
                                  int add) noexcept nogil
        void (*repeat)(double *y, const double *x, isize H, isize W, isize C, isize sh,
                       isize sw) noexcept nogil
        void (*bilinear)(double *y, const double *x, isize H, isize W, isize C, isize sh,
                         isize sw) noexcept nogil
        void (*bilinear_backward)(double *dx, const double *dy, isize H, isize W, isize C,
                                  isize sh,
                                  isize sw, int add) noexcept nogil
        void (*layer_norm)(double *y, double *moments, const double *x, const double *weight,
                           const double *bias, isize rows, isize C, double epsilon) noexcept nogil
        void (*layer_norm_backward)(double *dx, double *dweight, double *dbias, const double *dy,
                                    const double *x, const double *moments, const double *weight,
                                    isize rows, isize C, int add) noexcept nogil
        void (*layer_norm_sums)(double *dweight, double *dbias, const double *dy, const double *x,
                                const double *moments, isize rows, isize C,
                                isize columns) noexcept nogil
        void (*conv_pack)(double *packed, const conv_pass *p, const double *weight) noexcept nogil
        void (*conv_run)(const conv_pass *p, double *y, const double *x, const double *packed,
                         const double *bias, isize begin, isize end, int add, const finish *f,
                         double *scratch) noexcept nogil
        void (*conv_weight)(const conv_pass *p, double *sums, const double *dy, const double *x,
                            isize begin, isize end, double *scratch) noexcept nogil
        void (*conv_weight_store)(const conv_pass *p, double *dw, double *sums, isize pieces,
                                  isize apart, isize begin, isize end, int add,
                                  int depthwise) noexcept nogil
        void (*conv_sizes)(const conv_pass *p, isize *packed, isize *scratch) noexcept nogil
        void (*depthwise_pack)(double *packed, const conv_pass *p,
                               const double *weight) noexcept nogil
        void (*depthwise_run)(const conv_pass *p, double *y, const double *x, const double *packed,
                              const double *bias, isize begin, isize end, int add,
                              const finish *f, double *scratch) noexcept nogil
        void (*depthwise_weight)(const conv_pass *p, double *sums, const double *dy,
                                 const double *x,
                                 isize begin, isize end, double *scratch) noexcept nogil
        void (*depthwise_sizes)(const conv_pass *p, isize *packed, isize *scratch) noexcept nogil
        int (*grouped_can)(const conv_pass *p) noexcept nogil
        void (*grouped_pack)(double *packed, const conv_pass *p,
                             const double *weight) noexcept nogil
        void (*grouped_run)(const conv_pass *p, double *y, const double *x, const double *packed,
                            const double *bias, isize begin, isize end, int add, const finish *f,
                            double *scratch) noexcept nogil
        void (*grouped_sizes)(const conv_pass *p, isize *packed, isize *scratch) noexcept nogil
        void (*conv_overlap)(const conv_pass *p, double *images, const double *maps,
                             const double *weight, const double *bias, isize begin, isize end,
                             int add, double *scratch) noexcept nogil
        isize (*overlap_scratch)(const conv_pass *p) noexcept nogil
        void (*conv_plain)(const conv_pass *p, double *y, const double *x, const double *weight,
                           const double *bias, isize begin, isize end, int add) noexcept nogil
        void (*conv_plain_weight)(const conv_pass *p, double *dw, const double *dy, const double *x,
                                  isize images, isize begin, isize end, int add) noexcept nogil
        void (*winograd_run)(const conv_pass *p, double *y, const double *x, const double *weight,
                             const double *kept, const double *bias, isize first, isize last,
                             isize begin, isize end, int add, const finish *f,
                             double *scratch) noexcept nogil
        void (*winograd_pack)(double *kept, const conv_pass *p, const double *weight) noexcept nogil
        isize (*winograd_packed)(const conv_pass *p) noexcept nogil
        void (*winograd_weight)(const conv_pass *p, double *dw, const double *dy, const double *x,
                                isize first, isize last, isize begin, isize end, int add,
                                double *scratch) noexcept nogil
        isize (*winograd_scratch)(const conv_pass *p) noexcept nogil
        int (*winograd_is_wide)(const conv_pass *p) noexcept nogil
        isize (*gemm_packed_size)(isize N, isize K) noexcept nogil
        void (*gemm_pack)(double *packed, const double *b, isize brs, isize bcs, isize N, isize K,
                          isize most, isize part, isize parts) noexcept nogil
        void (*gemm_packed)(double *c, isize ldc, const double *a, isize lda, const double *packed,
                            isize most, isize M, isize N, isize K, int add,
                            const double *bias, double *scratch) noexcept nogil
        void (*cell_forward)(int kind, const f64_cell *s) noexcept nogil
        void (*cell_backward)(int kind, const f64_cell *s) noexcept nogil
    ctypedef struct simd_tables:
        const f32_table *f32
        const f64_table *f64
        int near, far

cdef const f32_table *f32
cdef const f64_table *f64
cdef int near, far
cdef int vector_bytes() noexcept nogil  # of the instruction set in use: 16, 32 or 64
