"""nncore: a small, fast neural-network core for Python on the CPU.

>>> import nncore as nn
>>> model = nn.Sequential([nn.Input((4,)), nn.Dense(16, "tanh"), nn.Dense(3, "softmax")], seed=0)
>>> model.compile("adam", "cross_entropy", metrics=["accuracy"])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nncore import initializers, layers, losses, optimizers
from nncore.failures import NonFiniteError
from nncore.history import History
from nncore.machine import (
    get_include,
    get_num_threads,
    set_convolution_precision,
    set_num_threads,
    show_config,
)
from nncore.model import Model, load
from nncore.optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, RMSprop
from nncore.sequential import Sequential

if TYPE_CHECKING:
    from nncore import callbacks, datasets, metrics, schedules
    from nncore.layers import (
        GRU,
        LSTM,
        RNN,
        Activation,
        Add,
        AvgPool1D,
        AvgPool2D,
        BatchNormalization,
        Bidirectional,
        Concatenate,
        Conv1D,
        Conv2D,
        Conv2DTranspose,
        Cropping1D,
        Cropping2D,
        Dense,
        DepthwiseConv2D,
        Dropout,
        Embedding,
        Flatten,
        GlobalAvgPool1D,
        GlobalAvgPool2D,
        GlobalMaxPool1D,
        GlobalMaxPool2D,
        Input,
        Layer,
        LayerNormalization,
        MaxPool1D,
        MaxPool2D,
        Multiply,
        Reshape,
        Residual,
        UpSampling1D,
        UpSampling2D,
        ZeroPadding1D,
        ZeroPadding2D,
    )

__version__ = "0.1.0"

_LATER = ("callbacks", "datasets", "metrics", "schedules")  # imported when first asked for

__all__ = [
    "GRU", "LBFGS", "LSTM", "RNN", "SGD", "Activation", "Adagrad", "Adam", "AdamW", "Add",
    "AvgPool1D", "AvgPool2D", "BatchNormalization", "Bidirectional", "Concatenate", "Conv1D",
    "Conv2D", "Conv2DTranspose", "Cropping1D", "Cropping2D", "Dense", "DepthwiseConv2D",
    "Dropout", "Embedding", "Flatten", "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalMaxPool1D",
    "GlobalMaxPool2D", "History", "Input", "Layer", "LayerNormalization", "MaxPool1D",
    "MaxPool2D", "Model", "Multiply", "NonFiniteError", "RMSprop", "Reshape", "Residual",
    "Sequential", "UpSampling1D", "UpSampling2D", "ZeroPadding1D", "ZeroPadding2D", "callbacks",
    "datasets", "get_include", "get_num_threads", "initializers", "load", "losses", "metrics",
    "optimizers", "schedules", "set_convolution_precision", "set_num_threads", "show_config",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return import_module(f"nncore.{name}")
    if name in __all__:  # a layer: from now on it is here
        globals()[name] = found = getattr(layers, name)
        return found
    raise AttributeError(f"module 'nncore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
