"""Wrong layers, losses, optimizers and the rest are refused when they are made.

Each row of the table is (what is wrong, the call, the exception, words of its message).
"""

import numpy as np
import pytest

import nncore as nn
from test_bad_input import X, assert_says, cases, classifier


def dense(**options):
    return nn.Dense(3, **options)


def image_network(layer, shape=(5, 7, 3)):
    return nn.Sequential([nn.Input(shape), layer])


def named(*names):
    return nn.Sequential([nn.Input((4,)), *(nn.Dense(2, name=name) for name in names)])


def filled(initializer):
    return nn.Sequential([nn.Input((4,)), dense(kernel_initializer=initializer)], seed=0)


class Words(nn.schedules.Schedule):
    def rates(self, steps):
        return "fast"


def after_a_list():
    x = nn.Input((4, 2))
    return nn.Model(x, nn.Dense(3)(nn.GRU(2, return_state=True)(x)))


DESCRIPTIONS = [
    ("a list of inputs", after_a_list, ValueError, ["Dense", "2 inputs; takes 1", "y[0]"]),
    ("units zero", lambda: nn.Dense(0), ValueError, ["Dense", "units", "0", ">= 1"]),
    ("units negative", lambda: nn.Dense(-3), ValueError, ["Dense", "units", "-3"]),
    ("units float", lambda: nn.Dense(3.0), TypeError, ["Dense", "units", "3.0", "integer"]),
    ("units bool", lambda: nn.Dense(True), TypeError, ["Dense", "units", "True"]),
    ("units str", lambda: nn.Dense("3"), TypeError, ["Dense", "units", "'3'"]),
    ("units None", lambda: nn.Dense(None), TypeError, ["Dense", "units", "None"]),
    ("units huge", lambda: nn.Sequential([nn.Input((4,)), nn.Dense(2**62)]), ValueError,
     ["'0'", "4611686018427387904", "too large"]),
    ("units vast", lambda: nn.Sequential([nn.Input((4,)), nn.Dense(10**12)]), MemoryError,
     ["allocate"]),
    ("rate one", lambda: nn.Dropout(1.0), ValueError, ["Dropout", "rate", "[0, 1)", "1.0"]),
    ("rate negative", lambda: nn.Dropout(-0.1), ValueError, ["Dropout", "rate", "-0.1"]),
    ("rate NaN", lambda: nn.Dropout(float("nan")), ValueError, ["Dropout", "rate", "nan"]),
    ("rate str", lambda: nn.Dropout("0.5"), TypeError, ["Dropout", "rate", "'0.5'"]),
    ("rate bool", lambda: nn.Dropout(False), TypeError, ["Dropout", "rate", "False"]),
    ("activation unknown", lambda: dense(activation="rleu"), ValueError,
     ["Dense: unknown activation 'rleu'", "mean 'relu'", "tanh"]),
    ("no activation", lambda: nn.Activation(None), TypeError, ["Activation", "None", "'linear'"]),
    ("use_bias", lambda: dense(use_bias=0), TypeError, ["Dense", "use_bias", "True or False", "0"]),
    ("use_bias array", lambda: dense(use_bias=X), TypeError, ["use_bias", "(12, 4)"]),
    ("activation case", lambda: nn.Activation("ReLU"), ValueError, ["'ReLU'", "mean 'relu'"]),
    ("activation function", lambda: dense(activation=np.tanh), TypeError, ["Dense", "tanh"]),
    ("initializer unknown", lambda: dense(kernel_initializer="glorot"), ValueError,
     ["initializer", "'glorot'", "mean 'glorot"]),
    ("initializer class", lambda: dense(bias_initializer=nn.initializers.Constant), TypeError,
     ["initializer", "Constant()"]),
    ("embedding table", lambda: nn.Embedding(0, 3), ValueError, ["Embedding", "input_dim", "0"]),
    ("reshape zero", lambda: nn.Reshape((0, 3)), ValueError, ["Reshape", "(0, 3)", "positive"]),
    ("reshape two -1", lambda: nn.Reshape((-1, -1)), ValueError, ["Reshape", "at most one -1"]),
    ("reshape float", lambda: nn.Reshape(2.5), TypeError, ["Reshape", "2.5", "integer"]),
    ("concatenate axis", lambda: nn.Concatenate(axis="last"), TypeError, ["axis", "'last'"]),
    ("pool zero", lambda: nn.MaxPool2D(0), ValueError, ["MaxPool2D", "pool_size", ">= 1", "0"]),
    ("pool of three", lambda: nn.AvgPool2D((1, 2, 3)), ValueError, ["AvgPool2D", "(1, 2, 3)"]),
    ("pool float", lambda: nn.MaxPool1D(2.0), TypeError, ["MaxPool1D", "pool_size", "2.0"]),
    ("stride zero", lambda: nn.MaxPool2D(2, 0), ValueError, ["MaxPool2D", "strides", ">= 1"]),
    ("stride pair", lambda: nn.AvgPool1D(2, (1, 0)), ValueError, ["AvgPool1D", "strides"]),
    ("padding name", lambda: nn.MaxPool2D(padding="SAME"), ValueError, ["'valid', 'same'", "SAME"]),
    ("padding negative", lambda: nn.MaxPool2D(padding=-1), ValueError, ["padding", ">= 0", "-1"]),
    ("padding odd", lambda: nn.ZeroPadding2D((1, 2, 3)), ValueError, ["ZeroPadding2D", "pair"]),
    ("padding text", lambda: nn.ZeroPadding2D("same"), TypeError, ["ZeroPadding2D", "'same'"]),
    ("padding large", lambda: image_network(nn.MaxPool2D(2, padding=2)), ValueError,
     ["MaxPool2D", "((2, 2), (2, 2))", "(2, 2)", "see nothing"]),
    ("pool large", lambda: image_network(nn.MaxPool2D((6, 2))), ValueError,
     ["layer '0'", "MaxPool2D", "(5, 7, 3)", "height is 5", "6", "smaller pool_size", "'same'"]),
    ("padded pool large", lambda: image_network(nn.AvgPool2D((5, 9), padding=((0, 0), (1, 0)))),
     ValueError, ["AvgPool2D", "its width is 7, 8 with its padding", "window's 9"]),
    ("pool of flat", lambda: image_network(nn.MaxPool2D(), (35,)), ValueError,
     ["MaxPool2D", "(35,)", "(height, width, channels)"]),
    ("pool of grey", lambda: image_network(nn.GlobalAvgPool2D(), (5, 7)), ValueError,
     ["GlobalAvgPool2D", "(height, width, channels)", "x[..., None]"]),
    ("signal pool of image", lambda: image_network(nn.MaxPool1D()), ValueError,
     ["MaxPool1D", "(steps, channels)", "2D"]),
    ("pool of two", lambda: nn.Model(x := nn.Input((4, 4, 1)), nn.MaxPool2D()([x, x])), ValueError,
     ["MaxPool2D", "2 inputs"]),
    ("crop all", lambda: image_network(nn.Cropping2D(((2, 3), 0))), ValueError,
     ["Cropping2D", "(5, 7, 3)", "nothing"]),
    ("upsampling zero", lambda: nn.UpSampling2D(0), ValueError, ["UpSampling2D", "size", "0"]),
    ("interpolation", lambda: nn.UpSampling2D(2, "linear"), ValueError,
     ["UpSampling2D", "interpolation", "mean 'bilinear'"]),
    ("pool vast", lambda: image_network(nn.MaxPool2D(2**17, padding="same")), ValueError,
      ["'0'", "(131072, 131072)", "cells"]),
    ("strides vast", lambda: image_network(nn.Conv2D(1, 1, strides=2**30, padding=2**30)),
      ValueError, ["'0'", "Conv2D", "reach over", "padding"]),
    ("dilation vast", lambda: image_network(
      nn.Conv2D(1, 3, padding=2**31 - 1, dilation_rate=2**31 - 1)), ValueError, ["reach over"]),
    ("transposed vast", lambda: image_network(nn.Conv2DTranspose(1, 3, 2**30)), ValueError,
      ["too large"]),
    ("upsampling vast", lambda: image_network(nn.UpSampling2D(2**30)), ValueError, ["too large"]),
    ("padding vast", lambda: image_network(nn.ZeroPadding2D(2**40)), ValueError,
      ["at most", "received"]),
    ("epsilon zero", lambda: nn.LayerNormalization(0), ValueError, ["LayerNormalization", "(0,"]),
    ("epsilon str", lambda: nn.LayerNormalization("x"), TypeError, ["epsilon", "'x'"]),
    ("norm of numbers", lambda: image_network(nn.LayerNormalization(), ()), ValueError,
     ["LayerNormalization", "()", "at least 1"]),
    ("batch norm epsilon", lambda: nn.BatchNormalization(epsilon=0), ValueError,
     ["BatchNormalization", "epsilon", "(0, inf)", "0"]),
    ("batch norm momentum", lambda: nn.BatchNormalization(1), ValueError, ["momentum", "[0, 1)"]),
    ("batch norm of numbers", lambda: image_network(nn.BatchNormalization(), ()), ValueError,
     ["layer '0'", "BatchNormalization", "()", "at least 1"]),
    ("residual channels", lambda: image_network(nn.Residual(nn.Conv2D(8, 3, padding="same"))),
     ValueError, ["layer '0', Residual(", "(5, 7, 8)", "(the identity) (5, 7, 3)",
     "shortcut=nn.Conv2D(8, 1)", "3 channels"]),
    ("residual size", lambda: image_network(nn.Residual(nn.Conv2D(3, 3))), ValueError,
     ["(3, 5, 3)", "(5, 7, 3)", "padding='same'"]),
    ("residual strides", lambda: image_network(nn.Residual([nn.Conv2D(8, 3, 2, "same")],
     nn.Conv2D(8, 1))), ValueError, ["(3, 4, 8)", "its shortcut (5, 7, 8)", "same strides"]),
    ("residual inside", lambda: image_network(nn.Residual(nn.Residual(nn.Conv2D(8, 1)),
     name="outer")), ValueError, ["layer 'outer.body.0'", "shortcut=nn.Conv2D(8, 1)"]),
    ("residual of steps", lambda: image_network(nn.Residual(nn.Conv1D(8, 1)), (9, 4)), ValueError,
     ["(9, 8)", "(9, 4)", "shortcut=nn.Conv1D(8, 1)"]),
    ("residual of numbers", lambda: image_network(nn.Residual(nn.Dense(8)), (4,)), ValueError,
     ["(8,)", "(4,)", "shortcut=nn.Dense(8)"]),
    ("residual axes", lambda: image_network(nn.Residual(nn.Flatten())), ValueError,
     ["(105,)", "(5, 7, 3)", "shortcut="]),
    ("residual of nothing", lambda: nn.Residual([]), TypeError, ["Residual", "body []", "list"]),
    ("residual name", lambda: nn.Residual(nn.Dense(3), "same"), TypeError,
     ["shortcut 'same'", "None for the identity"]),
    ("residual class", lambda: nn.Residual([nn.Flatten]), TypeError, ["the class Flatten", "body"]),
    ("residual activation", lambda: nn.Residual(nn.Dense(3), None, "rleu"), ValueError,
     ["Residual", "mean 'relu'"]),
    ("residual of two", lambda: nn.Model(x := nn.Input((3,)), nn.Residual(nn.Dense(3))([x, x])),
     ValueError, ["Residual", "2 inputs"]),
    ("residual names", lambda: nn.Residual([nn.Dense(3, name="a"), nn.Dense(3, name="a")]),
     ValueError, ["Residual", "one name", "'a'"]),
    ("input zero", lambda: nn.Input((0,)), ValueError, ["Input", "(0,)", "positive"]),
    ("input None", lambda: nn.Input((None, 4)), ValueError, ["Input", "None", "batch axis"]),
    ("input str", lambda: nn.Input("ab"), ValueError, ["Input", "'ab'", "positive"]),
    ("input bytes", lambda: nn.Input(b"x"), ValueError, ["Input", "b'x'", "positive"]),
    ("input dict", lambda: nn.Input({}), ValueError, ["Input", "{}", "positive"]),
    ("input name", lambda: nn.Input((4,), name=5), TypeError, ["Input: name", "5"]),
    ("axis out of range", lambda: nn.Model([a := nn.Input((2,)), b := nn.Input((2,))],
     nn.Concatenate(axis=2)([a, b])), ValueError, ["Concatenate", "axis 2", "(2,)", "1 to 1"]),
    ("input float", lambda: nn.Input(2.5), ValueError, ["Input", "2.5"]),
    ("input vast", lambda: nn.Sequential([nn.Input((2**40, 2**40)), nn.Flatten()]), ValueError,
     ["Input", "too large"]),
    ("layer on array", lambda: nn.Dense(3)(X), TypeError, ["Dense", "ndarray", "nn.Input"]),
    ("layer on layer", lambda: nn.Dense(3)(nn.Dense(2)), TypeError, ["Dense", "called on Dense"]),
    ("layer on a mixture", lambda: nn.Add()([nn.Input((2,)), 3]), TypeError, ["Add", "list"]),
    ("add of one", lambda: nn.Model(x := nn.Input((2,)), nn.Add()(x)), ValueError,
     ["Add", "1 inputs", "at least 2"]),
    ("dense of two", lambda: nn.Model(x := nn.Input((2,)), nn.Dense(1)([x, x])), ValueError,
     ["Dense", "2 inputs"]),
    ("add of shapes", lambda: nn.Model([a := nn.Input((2,)), b := nn.Input((3,))],
     nn.Add()([a, b])), ValueError, ["Add", "(2,), (3,)"]),
    ("reshape misfit", lambda: nn.Sequential([nn.Input((4,)), nn.Reshape((3, -1))]), ValueError,
     ["Reshape", "(4,)", "(3, -1)"]),
    ("class in a list", lambda: nn.Sequential([nn.Input((4,)), nn.Flatten]), TypeError,
     ["Sequential", "the class Flatten", "Flatten()", "place 1"]),
    ("no layers None", lambda: nn.Sequential(None), TypeError, ["Sequential", "None", "list"]),
    ("no layers 5", lambda: nn.Sequential(5), TypeError, ["Sequential", "5", "list of layers"]),
    ("one input twice", lambda: nn.Model([a := nn.Input((2,)), a], nn.Add()([a, a])), ValueError,
     ["Model", "Input", "more than once"]),
    ("initializer raises", lambda: filled(lambda shape, rng: shape[7]), ValueError,
     ["0.weight", "IndexError", "(3, 4)"]),
    ("initializer NaN", lambda: filled(lambda shape, rng: np.full(shape, np.nan)), ValueError,
     ["0.weight", "finite"]),
    ("initializer words", lambda: filled(lambda shape, rng: np.full(shape, "a")), ValueError,
     ["0.weight", "<U1"]),
    ("initializer shape", lambda: filled(lambda shape, rng: np.zeros(7)), ValueError,
     ["0.weight", "(7,)", "(3, 4)"]),
    ("dtype None", lambda: classifier(dtype=None), ValueError, ["dtype None", "'float32'"]),
    ("name array", lambda: named(X), ValueError, ["name", "string"]),
    ("no list", lambda: nn.Sequential(nn.Dense(3)), TypeError, ["Sequential", "list of layers"]),
    ("no layers", lambda: nn.Sequential([]), ValueError, ["Sequential", "no layers"]),
    ("input second", lambda: nn.Sequential([nn.Dense(1), nn.Input((4,))]), TypeError,
     ["place 1", "Input comes first"]),
    ("two of one name", lambda: named("a", "a"), ValueError, ["two layers", "'a'"]),
    ("dotted name", lambda: named("a.b"), ValueError, ["a.b", "without dots"]),
    ("name no string", lambda: named(5), ValueError, ["name=5", "string"]),
    ("input is none", lambda: nn.Model(5, nn.Dense(1)(nn.Input((4,)))), TypeError, ["5", "Input"]),
    ("input left out", lambda: nn.Model(nn.Input((4,)), nn.Dense(1)(nn.Input((2,)))), ValueError,
     ["Input((2,))", "not among the inputs"]),
    ("dtype", lambda: classifier(dtype="float16"), ValueError, ["float16", "'float32'"]),
    ("dtype nonsense", lambda: classifier(dtype="single precision"), ValueError, ["'float64'"]),
    ("seed negative", lambda: nn.Sequential([nn.Dense(1)], seed=-1), ValueError, ["seed", "-1"]),
    ("seed str", lambda: nn.Sequential([nn.Dense(1)], seed="a"), TypeError, ["seed", "'a'"]),
    ("learning rate negative", lambda: nn.Adam(-0.1), ValueError, ["Adam", "-0.1"]),
    ("learning rate str", lambda: nn.SGD("fast"), TypeError, ["SGD", "learning_rate", "'fast'"]),
    ("learning rate list", lambda: nn.SGD([0.1, 0.2]), TypeError, ["SGD", "[0.1, 0.2]"]),
    ("schedule below zero", lambda: nn.SGD(lambda step: -1.0 * step - 1), ValueError, [">= 0"]),
    ("learning rate words", lambda: nn.SGD(lambda step: "0.1"), ValueError, ["SGD", "gave '0.1'"]),
    ("schedule of words", lambda: nn.SGD(Words()), TypeError, ["Words", "rates(steps)", "'fast'"]),
    ("momentum", lambda: nn.SGD(momentum=-1), ValueError, ["SGD", "momentum", "-1"]),
    ("momentum 1", lambda: nn.RMSprop(momentum=1.0), ValueError, ["RMSprop", "momentum", "[0, 1)"]),
    ("momentum words", lambda: nn.SGD(momentum="x"), TypeError, ["momentum", "a number in [0, 1)"]),
    ("nesterov number", lambda: nn.SGD(momentum=0.9, nesterov=1), TypeError, ["nesterov", "1"]),
    ("nesterov alone", lambda: nn.SGD(nesterov=True), ValueError, ["nesterov", "momentum > 0"]),
    ("rate of LBFGS", lambda: nn.LBFGS(learning_rate=1.0), TypeError, ["learning_rate"]),
    ("constant words", lambda: nn.initializers.Constant("x"), TypeError, ["a finite number"]),
    ("checkpoint path", lambda: nn.callbacks.ModelCheckpoint(5), TypeError,
     ["ModelCheckpoint: path", "5"]),
    ("restore_best", lambda: nn.callbacks.EarlyStopping(restore_best=1), TypeError,
     ["EarlyStopping: restore_best", "True or False", "1"]),
    ("save_best_only", lambda: nn.callbacks.ModelCheckpoint("m", save_best_only="no"), TypeError,
     ["save_best_only", "'no'"]),
    ("logger path", lambda: nn.callbacks.CSVLogger(None), TypeError, ["CSVLogger: path", "None"]),
    ("beta", lambda: nn.Adam(beta_1=1.0), ValueError, ["Adam", "beta_1", "[0, 1)"]),
    ("weight decay str", lambda: nn.AdamW(weight_decay="x"), TypeError, ["AdamW", "weight_decay"]),
    ("weight decay inf", lambda: nn.Adam(weight_decay=np.inf), ValueError, ["weight_decay", "inf"]),
    ("clipnorm zero", lambda: nn.Adam(clipnorm=0), ValueError, ["clipnorm", "0"]),
    ("smoothing", lambda: nn.losses.CrossEntropy(label_smoothing=2), ValueError, ["[0, 1]", "2"]),
    ("delta", lambda: nn.losses.Huber(delta=0), ValueError, ["Huber", "delta", "0"]),
    ("history size", lambda: nn.LBFGS(history_size=0), ValueError, ["LBFGS", "history_size"]),
    ("threads", lambda: nn.set_num_threads(0), ValueError, ["n", "0", ">= 1"]),
    ("threads float", lambda: nn.set_num_threads(1.5), TypeError, ["1.5", "integer"]),
]  # fmt: skip


@cases(DESCRIPTIONS)
def test_a_wrong_description_is_refused_when_it_is_made(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert_says(caught.value, words)
