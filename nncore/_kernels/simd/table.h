/* Template: the kernels for REAL and their table. */
#include "vector.h"

#include "pack.h"

#include "gemm.h"
#include "gemm_dot.h"

#include "reduction.h"

#include "activation.h"
#include "channels.h"
#include "optimizer.h"
#include "random.h"

#include "normalization.h"
#include "pooling.h"
#include "resizing.h"

extern const TABLE(table) TABLE(ISA);
const TABLE(table) TABLE(ISA) = {
    .isa = ISA_NAME,
    .gemm = NAME(gemm),
    .gemm_scratch = NAME(gemm_scratch),
    .gemm_dot = NAME(gemm_dot),
    .gemv = NAME(gemv),
    .sum_rows = NAME(sum_rows),
    .channel_moments = NAME(channel_moments),
    .channel_products = NAME(channel_products),
    .channel_affine = NAME(channel_affine),
    .channel_affine_backward = NAME(channel_affine_backward),
    .activations = NAME(activations),
    .softmax = NAME(softmax),
    .sigmoid_softplus = NAME(sigmoid_softplus),
    .sum_squares = NAME(sum_squares),
    .all_finite = NAME(all_finite),
    .sgd = NAME(sgd),
    .adam = NAME(adam),
    .rmsprop = NAME(rmsprop),
    .adagrad = NAME(adagrad),
    .dropout_mask = NAME(dropout_mask),
    .dropout_apply = NAME(dropout_apply),
    .max_pool = NAME(max_pool),
    .max_pool_backward = NAME(max_pool_backward),
    .sum_pool = NAME(sum_pool),
    .sum_pool_backward = NAME(sum_pool_backward),
    .repeat = NAME(repeat),
    .bilinear = NAME(bilinear),
    .bilinear_backward = NAME(bilinear_backward),
    .layer_norm = NAME(layer_norm),
    .layer_norm_backward = NAME(layer_norm_backward),
    .layer_norm_sums = NAME(layer_norm_sums),
};
