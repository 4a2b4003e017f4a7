"""All layers, one file per family."""

from nncore.layers.base import Input, Layer, Symbol
from nncore.layers.convolution import Conv1D, Conv2D, Conv2DTranspose, DepthwiseConv2D
from nncore.layers.core import Activation, Dense, Dropout, Embedding, Flatten, Reshape
from nncore.layers.merging import Add, Concatenate, Multiply

__all__ = [
    "Activation", "Add", "Concatenate", "Conv1D", "Conv2D", "Conv2DTranspose", "Dense",
    "DepthwiseConv2D", "Dropout", "Embedding", "Flatten", "Input", "Layer", "Multiply", "Reshape",
    "Symbol",
]  # fmt: skip
