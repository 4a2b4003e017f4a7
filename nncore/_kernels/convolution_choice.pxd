from nncore._kernels.convolution_algorithms cimport Algorithm
from nncore._kernels.batch_normalization cimport RunningNormalization
from nncore._kernels.finishing cimport Finishing
from nncore._kernels.op cimport Tensor
from nncore._kernels.simd cimport conv_pass, isize


cdef class Choice(Finishing):
    cdef Tensor x
    cdef RunningNormalization normalization  # that is folded in
    cdef Tensor folded_weight, folded_bias, wide_weight, wide_bias, packed_weight
    cdef conv_pass down       # from the image to the map
    cdef conv_pass ahead      # the same as `forward` does it: with filters side by side
    cdef bint transposed, by_images, overlaps
    cdef bint wide            # winograd's members share channels, not tiles or images
    cdef Algorithm chosen
    cdef isize slots          # members that scratch has room for
    cdef isize channels       # of y
    cdef isize most           # pixels of all maps
    cdef isize sums, bias_sums  # bytes of a piece's sums: of weights, of biases
    cdef isize packed         # bytes of packed weights at most
    cdef isize beside         # pixels whose filters lie side by side in a vector

    cdef bint packs_all(self)
    cdef void lay_beside(self) noexcept nogil
    cdef bint prefers_overlap(self)
    cdef void cut(self, conv_pass *p, isize rows) noexcept nogil
    cdef void up(self, conv_pass *p, isize row, isize column) noexcept nogil
    cdef isize overlap_scratch(self) noexcept nogil
    cdef void count(self, const conv_pass *p, isize *packed, isize *work) noexcept nogil


cdef inline char *weight_data(Choice op) noexcept nogil:
    return op.weight.data if op.folded_weight is None else op.folded_weight.data


cdef inline char *bias_data(Choice op) noexcept nogil:
    """NULL: none"""
    if op.folded_bias is not None:
        return op.folded_bias.data
    return op.bias.data if op.bias is not None else NULL
