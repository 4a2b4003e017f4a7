"""Inference beside ONNX Runtime, which shares no code with PyTorch: each layer of the list that
ONNX knows, and whole networks."""

import dataclasses

import numpy as np
import pytest

import nncore as nn
from case_kinds import several
from cases import LAYERS
from support import one_or_list, randomize, with_shapes

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx_graphs import ACTIVATIONS, TABLE, onnx_model  # noqa: E402

DTYPES = ("float64", "float32")
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}  # of the largest number
FLOAT_ONLY = {  # what ONNX Runtime has not for doubles
    "Conv", "ConvTranspose", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize",
    "GRU", "LSTM", "RNN", "Elu", "Gelu", "HardSigmoid", "LeakyRelu", "Selu", "Softplus",
}  # fmt: skip


def run(proto, xs):
    """The outputs by ONNX Runtime, on one thread; xs in the type of the graph."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (y,) = session.run(None, {f"x{i}": x for i, x in enumerate(xs)})
    return y


def as_float(model):
    """The same network in float32."""
    graph = model.graph
    other = nn.Model(graph.inputs, graph.outputs)
    for name, value in {**other.params, **other.buffers}.items():
        value[...] = {**model.params, **model.buffers}[name]
    return other


def compare(model, xs):
    """In the model's type; where ONNX Runtime has only floats for it, to their rounding."""
    proto, dtype = onnx_model(model), model.dtype.name
    if dtype == "float64" and FLOAT_ONLY & {node.op_type for node in proto.graph.node}:
        proto, dtype = onnx_model(as_float(model)), "float32"
    expected = run(proto, [x.astype(dtype) for x in xs])
    x = one_or_list([x.astype(model.dtype) for x in xs])
    scale = max(abs(expected).max(), np.finfo(np.float32).tiny)
    for y in (model(x), model.forward(x, training=False)):
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


def representable(layer):
    """The layer with an epsilon that is a float, as the attributes of ONNX are."""
    if not hasattr(layer, "epsilon"):
        return layer
    return dataclasses.replace(layer, epsilon=float(np.float32(layer.epsilon)))


def in_onnx(layer):
    sigma = getattr(layer, "activation", None)
    return type(layer) in TABLE and sigma in (None, "silu", *ACTIVATIONS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "case, shape", with_shapes([case for case in LAYERS if in_onnx(case.layer)])
)
def test_layer(case, shape, dtype):
    rng = np.random.default_rng(6)
    inputs = [nn.Input(s) for s in several(shape)]
    layer = representable(case.layer)
    model = randomize(nn.Model(inputs, layer(one_or_list(inputs)), dtype=dtype))
    for value in model.buffers.values():
        value[...] = rng.uniform(0.5, 2, value.shape)
    for rows in (1, 7):
        compare(model, case.draw(rng, rows, shape))


def test_every_layer_is_compared():
    """But those written in Python."""
    missing = {type(case.layer) for case in LAYERS} - set(TABLE)
    assert {cls.__module__ for cls in missing} <= {"own_layers"}, missing


# ---- whole networks, after some training ---------------------------------------------------------


def conv(filters, strides=1, size=3):
    """A convolution and its normalization, which inference folds into one."""
    return [
        nn.Conv2D(filters, size, strides, "same", use_bias=False),
        nn.BatchNormalization(momentum=0.5),
    ]


POST = nn.Residual([*conv(8, 2), nn.Activation("relu"), *conv(8)], conv(8, 2, 1), "relu")
PRE = nn.Residual(
    [
        *(nn.BatchNormalization(momentum=0.5), nn.Activation("relu"), nn.Conv2D(4, 3, 1, "same")),
        *(nn.BatchNormalization(momentum=0.5), nn.Activation("relu"), nn.Conv2D(4, 3, 1, "same")),
    ]
)
NETWORKS = {
    "cnn": [
        nn.Conv2D(9, 3, padding="same", activation="relu"), nn.MaxPool2D(), nn.Conv2D(17, 3),
        nn.LayerNormalization(), nn.AvgPool2D(2, padding="same"), nn.Flatten(), nn.Dropout(0.2),
        nn.Dense(6, "relu"),
    ],
    "post-activation": [*conv(4), POST, nn.GlobalAvgPool2D()],
    "pre-activation": [nn.Conv2D(4, 3, 1, "same"), PRE, nn.GlobalMaxPool2D()],
    "nested": [
        nn.Residual([nn.Residual(conv(3), activation="tanh"), nn.Conv2D(3, 1)]), nn.Flatten(),
    ],
    "depthwise": [
        nn.ZeroPadding2D(((0, 1), (0, 1))), nn.DepthwiseConv2D(3, 2, use_bias=False),
        nn.BatchNormalization(momentum=0.5), nn.Activation("relu"), *conv(11, size=1),
        nn.Activation("relu"), nn.GlobalAvgPool2D(),
    ],
    "there and back": [
        nn.Conv2D(6, 3, 2, "same", activation="silu"), nn.BatchNormalization(momentum=0.5),
        nn.Conv2DTranspose(5, 3, 2, "same", activation="elu"), nn.Cropping2D(1),
        nn.UpSampling2D(2, "bilinear"), nn.GlobalAvgPool2D(),
    ],
    "signals": [
        nn.Reshape((110, 3)), nn.Conv1D(8, 5, 2, "same"), nn.BatchNormalization(momentum=0.5),
        nn.Activation("gelu"), nn.MaxPool1D(3, 2, "same"),
        nn.Residual(nn.Conv1D(8, 3, padding=(2, 0))), nn.GlobalAvgPool1D(),
    ],
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_network(name, dtype, team):
    """On two threads, with running statistics of some steps."""
    team(2)
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(40, 10, 11, 3)), rng.integers(0, 4, 40)
    layers = [nn.Input(x.shape[1:]), *NETWORKS[name], nn.Dense(4, "softmax")]
    model = nn.Sequential(layers, seed=0, dtype=dtype)
    model.compile(nn.Adam(0.01), "cross_entropy")
    model.fit(x, y, batch_size=8, epochs=2, verbose=False)
    for rows in (1, 7, 40):
        compare(model, [x[:rows]])
