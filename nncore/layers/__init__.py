"""All layers, one file per family."""

from nncore.layers.base import Input, Layer, Symbol
from nncore.layers.bidirectional import Bidirectional
from nncore.layers.convolution import Conv1D, Conv2D, Conv2DTranspose, DepthwiseConv2D
from nncore.layers.core import Activation, Dense, Dropout, Embedding, Flatten, Reshape
from nncore.layers.merging import Add, Concatenate, Multiply
from nncore.layers.normalization import BatchNormalization, LayerNormalization
from nncore.layers.pooling import (
    AvgPool1D,
    AvgPool2D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    MaxPool1D,
    MaxPool2D,
)
from nncore.layers.recurrent import GRU, LSTM, RNN
from nncore.layers.residual import Residual
from nncore.layers.resizing import (
    Cropping1D,
    Cropping2D,
    UpSampling1D,
    UpSampling2D,
    ZeroPadding1D,
    ZeroPadding2D,
)

__all__ = [
    "GRU", "LSTM", "RNN", "Activation", "Add", "AvgPool1D", "AvgPool2D", "BatchNormalization",
    "Bidirectional", "Concatenate", "Conv1D", "Conv2D", "Conv2DTranspose", "Cropping1D",
    "Cropping2D", "Dense", "DepthwiseConv2D", "Dropout", "Embedding", "Flatten",
    "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalMaxPool1D", "GlobalMaxPool2D", "Input",
    "Layer", "LayerNormalization", "MaxPool1D", "MaxPool2D", "Multiply", "Reshape", "Residual",
    "Symbol", "UpSampling1D", "UpSampling2D", "ZeroPadding1D", "ZeroPadding2D",
]  # fmt: skip
