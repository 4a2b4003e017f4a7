"""All layers, one file per family. A family is imported when one of its layers is first asked for:
a network of Dense layers costs the import of no other."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_FAMILIES = {
    "base": "Input Layer Symbol",
    "bidirectional": "Bidirectional",
    "convolution": "Conv1D Conv2D Conv2DTranspose DepthwiseConv2D",
    "core": "Activation Dense Dropout Embedding Flatten Reshape",
    "merging": "Add Concatenate Multiply",
    "normalization": "BatchNormalization LayerNormalization",
    "pooling": "AvgPool1D AvgPool2D GlobalAvgPool1D GlobalAvgPool2D GlobalMaxPool1D "
    "GlobalMaxPool2D MaxPool1D MaxPool2D",
    "recurrent": "GRU LSTM RNN",
    "residual": "Residual",
    "resizing": "Cropping1D Cropping2D UpSampling1D UpSampling2D ZeroPadding1D ZeroPadding2D",
}
_FAMILY = {layer: family for family, layers in _FAMILIES.items() for layer in layers.split()}

__all__ = [
    "GRU", "LSTM", "RNN", "Activation", "Add", "AvgPool1D", "AvgPool2D", "BatchNormalization",
    "Bidirectional", "Concatenate", "Conv1D", "Conv2D", "Conv2DTranspose", "Cropping1D",
    "Cropping2D", "Dense", "DepthwiseConv2D", "Dropout", "Embedding", "Flatten",
    "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalMaxPool1D", "GlobalMaxPool2D", "Input",
    "Layer", "LayerNormalization", "MaxPool1D", "MaxPool2D", "Multiply", "Reshape", "Residual",
    "Symbol", "UpSampling1D", "UpSampling2D", "ZeroPadding1D", "ZeroPadding2D",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _FAMILIES:
        return import_module(f"nncore.layers.{name}")
    if name not in _FAMILY:
        raise AttributeError(f"module 'nncore.layers' has no attribute {name!r}")
    family = import_module(f"nncore.layers.{_FAMILY[name]}")
    globals()[name] = found = getattr(family, name)
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, *_FAMILIES])
