"""scikit-learn's MLPClassifier and MLPRegressor, for training: partial_fit of one batch."""

import warnings

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier, MLPRegressor

from bench import workloads
from bench.peers import LEARNING_RATE, Runner, Unsupported

name = "scikit-learn"
version = sklearn.__version__
cells = ("train",)


def prepare(workload, cell, x, y, threads):
    if not all(isinstance(layer, workloads.Dense) for layer in workload.layers):
        raise Unsupported(name)
    if workload.loss == "cross_entropy" and workload.output[-1] == 2:
        raise Unsupported("it makes one output of two classes: another network")
    hidden = workload.layers[:-1]
    kind = MLPRegressor if workload.loss == "mse" else MLPClassifier
    model = kind(
        hidden_layer_sizes=[layer.units for layer in hidden],
        activation=hidden[0].activation,
        learning_rate_init=LEARNING_RATE,
        batch_size=len(x),
        alpha=0,
        shuffle=False,
    )
    first = {}
    if kind is MLPClassifier:
        first["classes"] = np.arange(workload.output[-1])
    else:
        y = y.squeeze()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.partial_fit(x, y, **first)
    for i, (weight, bias) in enumerate(workload.weights()):
        model.coefs_[i][...], model.intercepts_[i][...] = weight.T, bias
    # mse: scikit-learn's loss is half of the others'
    factor = 2 if workload.loss == "mse" else 1
    return Runner(lambda: model.partial_fit(x, y), lambda model: np.asarray(factor * model.loss_))
