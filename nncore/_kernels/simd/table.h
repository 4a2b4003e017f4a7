/* Template: the kernels for REAL and their table. */
#include "vector.h"

#include "pack.h"

#include "gemm.h"
#include "gemm_dot.h"

#include "winograd_transform.h"

#include "winograd.h"

#include "reduction.h"

#include "activation.h"
#include "optimizer.h"
#include "random.h"

extern const TABLE(table) TABLE(ISA);
const TABLE(table) TABLE(ISA) = {
    .isa = ISA_NAME,
    .gemm = NAME(gemm),
    .gemm_scratch = NAME(gemm_scratch),
    .gemm_dot = NAME(gemm_dot),
    .gemv = NAME(gemv),
    .sum_rows = NAME(sum_rows),
    .winograd_forward = NAME(winograd_forward),
    .winograd_gradient = NAME(winograd_gradient),
    .winograd_scratch = NAME(winograd_scratch),
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
};
