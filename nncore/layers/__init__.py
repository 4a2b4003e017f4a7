"""All layers, one file per family."""

from nncore.layers.base import Input, Layer, Symbol
from nncore.layers.core import Activation, Dense, Dropout, Embedding, Flatten, Reshape
from nncore.layers.merging import Add, Concatenate, Multiply
from nncore.layers.normalization import BatchNormalization
from nncore.layers.residual import Residual

__all__ = [
    "Activation", "Add", "BatchNormalization", "Concatenate", "Dense", "Dropout", "Embedding",
    "Flatten", "Input", "Layer", "Multiply", "Reshape", "Residual", "Symbol",
]  # fmt: skip
