/* Template: the kernels for REAL and their table. Each header uses what stands above it. */

/* What all of them are made of. */
#include "vector.h"
#include "blocks.h"
#include "reduction.h"
#include "activation.h"
#include "finish.h"

/* Products of matrices. */
#include "pack.h"
#include "gemm_tiles.h"
#include "gemm.h"
#include "gemm_dot.h"
#include "gemm_packed.h"

/* Convolutions. */
#include "convolution_source.h"
#include "convolution.h"
#include "convolution_weight.h"
#include "depthwise_three.h"
#include "depthwise.h"
#include "grouped.h"
#include "convolution_overlap.h"
#include "convolution_plain.h"
#include "winograd_transform.h"
#include "winograd_output.h"
#include "winograd_weight.h"
#include "winograd.h"

/* The other layers, and the optimizers. */
#include "channels.h"
#include "dropout.h"
#include "optimizer.h"
#include "normalization.h"
#include "pooling.h"
#include "recurrent.h"
#include "resizing.h"

extern const TABLE(table) TABLE(ISA);
const TABLE(table) TABLE(ISA) = {
    .isa = ISA_NAME,
    .vector_bytes = VECTOR_BYTES,
    .gemm = NAME(gemm),
    .gemm_scratch = NAME(gemm_scratch),
    .gemm_dot = NAME(gemm_dot),
    .gemm_short = NAME(gemm_short),
    .gemv = NAME(gemv),
    .sum_rows = NAME(sum_rows),
    .finish_piece = NAME(finish_piece),
    .channel_moments = NAME(channel_moments),
    .channel_products = NAME(channel_products),
    .channel_affine = NAME(channel_affine),
    .channel_affine_backward = NAME(channel_affine_backward),
    .activations = NAME(activations),
    .softmax = NAME(softmax),
    .sigmoid_log = NAME(sigmoid_log),
    .sum_squares = NAME(sum_squares),
    .all_finite = NAME(all_finite),
    .rules = NAME(rules),
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
    .conv_pack = NAME(conv_pack),
    .conv_run = NAME(conv_run),
    .conv_weight = NAME(conv_weight),
    .conv_weight_store = NAME(conv_weight_store),
    .conv_sizes = NAME(conv_sizes),
    .depthwise_pack = NAME(depthwise_pack),
    .depthwise_run = NAME(depthwise_run),
    .depthwise_weight = NAME(depthwise_weight),
    .depthwise_sizes = NAME(depthwise_sizes),
    .grouped_can = NAME(grouped_can),
    .grouped_pack = NAME(grouped_pack),
    .grouped_run = NAME(grouped_run),
    .grouped_sizes = NAME(grouped_sizes),
    .conv_overlap = NAME(conv_overlap),
    .overlap_scratch = NAME(overlap_scratch),
    .conv_plain = NAME(conv_plain),
    .conv_plain_weight = NAME(conv_plain_weight),
    .winograd_run = NAME(winograd_run),
    .winograd_pack = NAME(winograd_pack),
    .winograd_packed = NAME(winograd_packed),
    .winograd_weight = NAME(winograd_weight),
    .winograd_scratch = NAME(winograd_scratch),
    .winograd_is_wide = NAME(winograd_is_wide),
    .gemm_packed_size = NAME(gemm_packed_size),
    .gemm_pack = NAME(gemm_pack),
    .gemm_packed = NAME(gemm_packed),
    .cell_forward = NAME(cell_forward),
    .cell_backward = NAME(cell_backward),
};
