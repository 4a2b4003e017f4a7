"""Networks as ONNX graphs, node by node from the fields of their layers, to be run by onnxruntime
beside nncore. Channels stay last but around a node that wants them second."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

import nncore as nn
from nncore.layers.windows import edges, per_axis
from onnx_recurrent import bidirectional, recurrent

OPSET, IR_VERSION = 20, 10

# (operator, attributes) of the activations that are one
ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("Identity", {}),
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "elu": ("Elu", {}),
    "selu": ("Selu", {}),
    "gelu": ("Gelu", {}),
    "softplus": ("Softplus", {}),
    "sigmoid": ("Sigmoid", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "tanh": ("Tanh", {}),
    "softmax": ("Softmax", {"axis": -1}),
    "log_softmax": ("LogSoftmax", {"axis": -1}),
}


class Graph:
    """Nodes and their weights, added one after the other.

    ``shapes``: of a row of each value between two layers. The functions of TABLE take a layer, its
    parameters and buffers by name and the names of its inputs; they add its nodes and return the
    name of its output.
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.shapes: dict[str, tuple[int, ...]] = {}

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"y{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, value: Any) -> str:
        name = f"w{len(self.weights)}"
        array = np.ascontiguousarray(value)
        self.weights.append(onnx.numpy_helper.from_array(array, name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def axes(self, x: str) -> int:
        """How many there are between rows and channels."""
        return len(self.shapes[x]) - 1

    def channels_second(self, kind: str, x: str, *inputs: str, **attributes: Any) -> str:
        axes = self.axes(x)
        if axes == 0:
            return self.node(kind, x, *inputs, **attributes)
        x = self.node("Transpose", x, perm=[0, axes + 1, *range(1, axes + 1)])
        y = self.node(kind, x, *inputs, **attributes)
        return self.node("Transpose", y, perm=[0, *range(2, axes + 2), 1])

    def activation(self, name: str | None, x: str) -> str:
        if name == "silu":
            return self.node("Mul", x, self.node("Sigmoid", x))
        kind, attributes = ACTIVATIONS[name or "linear"]
        return self.node(kind, x, **attributes)

    def layer(self, layer: nn.Layer, p: dict[str, np.ndarray], *xs: str) -> str:
        y = TABLE[type(layer)](self, layer, p, *xs)
        inputs = [nn.Input(self.shapes[x]) for x in xs]
        shape = nn.Model(inputs, layer(inputs)).output_shape
        self.shapes[y] = shape
        return y


def below(p: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The parameters of a layer inside of another."""
    return {k.removeprefix(prefix): v for k, v in p.items() if k.startswith(prefix)}


# ---- the core ------------------------------------------------------------------------------------


def dense(g, layer, p, x):
    y = g.node("MatMul", x, g.constant(p["weight"].T))
    if layer.use_bias:
        y = g.node("Add", y, g.constant(p["bias"]))
    return g.activation(layer.activation, y)


def reshape(g, layer, p, x):
    return g.node("Reshape", x, g.integers(0, *layer.shape))


def embedding(g, layer, p, x):
    rows = g.node("Cast", x, to=onnx.TensorProto.INT64)
    return g.node("Gather", g.constant(p["weight"]), rows)


def merging(kind):
    def add(g, layer, p, *xs):
        y = xs[0]
        for x in xs[1:]:
            y = g.node(kind, y, x)
        return y

    return add


def residual(g, layer, p, x):
    ends = []
    for way in ("body", "shortcut"):
        y = x
        for i, item in enumerate(getattr(layer, way) or ()):
            y = g.layer(item, below(p, f"{way}.{item.name or i}."), y)
        ends.append(y)
    return g.activation(layer.activation, g.node("Add", *ends))


# ---- convolution and pooling ---------------------------------------------------------------------


def places(padding, shape, sizes, strides, dilations) -> dict[str, Any]:
    """TensorFlow's "same" is SAME_UPPER, but onnxruntime refuses that with dilations, and where a
    window is smaller than a stride. Pads are those before all axes, then those after."""
    if padding == "valid":
        return {"auto_pad": "VALID"}
    extents = [(k - 1) * d + 1 for k, d in zip(sizes, dilations, strict=True)]
    if padding == "same":
        if max(dilations) == 1 and all(k >= s for k, s in zip(extents, strides, strict=True)):
            return {"auto_pad": "SAME_UPPER"}
        each = zip(shape, extents, strides, strict=False)
        totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in each]
        padding = [(n // 2, n - n // 2) for n in totals]
    return {"pads": [pair[i] for i in (0, 1) for pair in padding]}


def weights(g, p):
    arrays = [np.moveaxis(p["weight"], -1, 1), *([p["bias"]] if "bias" in p else [])]
    return [g.constant(array) for array in arrays]


def windows_of(layer, axes):
    given = layer.kernel_size, layer.strides, layer.dilation_rate
    return [per_axis(value, axes) for value in given]


def convolution(g, layer, p, x):
    windows = sizes, strides, dilations = windows_of(layer, g.axes(x))
    depthwise = isinstance(layer, nn.DepthwiseConv2D)
    y = g.channels_second(
        "Conv", x, *weights(g, p), kernel_shape=sizes, strides=strides, dilations=dilations,
        group=g.shapes[x][-1] if depthwise else layer.groups,
        **places(layer.padding, g.shapes[x], *windows),
    )  # fmt: skip
    return g.activation(layer.activation, y)


def transposed(g, layer, p, x):
    sizes, strides, dilations = windows_of(layer, 2)
    more = [layer.output_padding] * 2
    if layer.padding == "same":  # windows that do not reach from stride to stride leave gaps
        around = {"auto_pad": "SAME_UPPER"}
        each = zip(strides, sizes, dilations, strict=True)
        more = [max(s - (k - 1) * d - 1, 0) for s, k, d in each]
    else:
        around = places(layer.padding, (), sizes, strides, dilations)
    y = g.channels_second(
        "ConvTranspose", x, *weights(g, p), kernel_shape=sizes, strides=strides,
        dilations=dilations, group=layer.groups, output_padding=more, **around,
    )  # fmt: skip
    return g.activation(layer.activation, y)


def pooling(kind, **attributes):
    def add(g, layer, p, x):
        size = per_axis(layer.pool_size, g.axes(x))
        strides = size if layer.strides is None else per_axis(layer.strides, g.axes(x))
        return g.channels_second(
            kind, x, kernel_shape=size, strides=strides, **attributes,
            **places(layer.padding, g.shapes[x], size, strides, (1,) * len(size)),
        )  # fmt: skip

    return add


def global_pooling(kind):
    return lambda g, layer, p, x: g.node("Flatten", g.channels_second(kind, x))


# ---- padding, resizing, normalization ------------------------------------------------------------


def zero_padding(g, layer, p, x):
    around = edges("ZeroPadding", "padding", layer.padding, g.axes(x))
    pads = [n for i in (0, 1) for n in (0, *(pair[i] for pair in around), 0)]
    return g.node("Pad", x, g.integers(*pads))


def cropping(g, layer, p, x):
    shape, axes = g.shapes[x], g.axes(x)
    around = edges("Cropping", "cropping", layer.cropping, axes)
    starts = g.integers(*(before for before, _ in around))
    ends = g.integers(*(n - after for n, (_, after) in zip(shape, around, strict=False)))
    return g.node("Slice", x, starts, ends, g.integers(*range(1, axes + 1)))


def upsampling(g, layer, p, x):
    factors = g.constant(np.array([1, 1, *per_axis(layer.size, g.axes(x))], np.float32))
    if getattr(layer, "interpolation", "nearest") == "bilinear":
        way = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    else:
        way = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
        way["nearest_mode"] = "floor"
    return g.channels_second("Resize", x, "", factors, **way)


def batch_normalization(g, layer, p, x):
    names = ("weight", "bias", "running_mean", "running_var")
    given = [g.constant(p[name]) for name in names]
    return g.channels_second("BatchNormalization", x, *given, epsilon=layer.epsilon)


def layer_normalization(g, layer, p, x):
    given = g.constant(p["weight"]), g.constant(p["bias"])
    return g.node("LayerNormalization", x, *given, axis=-1, epsilon=layer.epsilon)


TABLE = {
    nn.Activation: lambda g, layer, p, x: g.activation(layer.activation, x),
    nn.Dense: dense,
    nn.Dropout: lambda g, layer, p, x: g.node("Identity", x),
    nn.Flatten: lambda g, layer, p, x: g.node("Flatten", x),
    nn.Reshape: reshape,
    nn.Embedding: embedding,
    nn.Add: merging("Add"),
    nn.Multiply: merging("Mul"),
    nn.Concatenate: lambda g, layer, p, *xs: g.node("Concat", *xs, axis=layer.axis),
    nn.Residual: residual,
    nn.Conv1D: convolution,
    nn.Conv2D: convolution,
    nn.DepthwiseConv2D: convolution,
    nn.Conv2DTranspose: transposed,
    nn.MaxPool1D: pooling("MaxPool"),
    nn.MaxPool2D: pooling("MaxPool"),
    nn.AvgPool1D: pooling("AveragePool", count_include_pad=0),
    nn.AvgPool2D: pooling("AveragePool", count_include_pad=0),
    nn.GlobalMaxPool1D: global_pooling("GlobalMaxPool"),
    nn.GlobalMaxPool2D: global_pooling("GlobalMaxPool"),
    nn.GlobalAvgPool1D: global_pooling("GlobalAveragePool"),
    nn.GlobalAvgPool2D: global_pooling("GlobalAveragePool"),
    nn.ZeroPadding1D: zero_padding,
    nn.ZeroPadding2D: zero_padding,
    nn.Cropping1D: cropping,
    nn.Cropping2D: cropping,
    nn.UpSampling1D: upsampling,
    nn.UpSampling2D: upsampling,
    nn.BatchNormalization: batch_normalization,
    nn.LayerNormalization: layer_normalization,
    nn.RNN: recurrent,
    nn.LSTM: recurrent,
    nn.GRU: recurrent,
    nn.Bidirectional: bidirectional,
}


def onnx_model(model: nn.Model) -> Any:
    """A network with its parameters; inputs x0, x1, ..., any number of rows."""
    assert model.graph is not None
    kind = helper.np_dtype_to_tensor_dtype(model.dtype)
    g, names = Graph(), {}

    def info(name: str, shape: tuple[int, ...]) -> Any:
        return helper.make_tensor_value_info(name, kind, ["rows", *shape])

    for i, symbol in enumerate(model.graph.inputs):
        names[symbol] = f"x{i}"
        g.shapes[f"x{i}"] = symbol.shape
    inputs = [info(*pair) for pair in g.shapes.items()]
    weights = {**model.params, **model.buffers}
    for name, symbol in model.graph.nodes:
        sources = [names[s] for s in symbol.inputs]
        names[symbol] = g.layer(symbol.layer, below(weights, f"{name}."), *sources)
    outputs = [info(names[s], g.shapes[names[s]]) for s in model.graph.outputs]
    graph = helper.make_graph(g.nodes, "network", inputs, outputs, g.weights)
    opsets = [helper.make_opsetid("", OPSET)]
    found = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(found, full_check=True)
    return found
