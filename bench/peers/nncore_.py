"""nncore itself, through its public face."""

from functools import partial

import numpy as np

import nncore as nn
from bench import workloads
from bench.peers import LEARNING_RATE, Runner, Unsupported

name = "nncore"
version = nn.__version__
cells = ("train", "predict", "one", "gradient")


def layer(description):
    if isinstance(description, workloads.Dense):
        return nn.Dense(description.units, description.activation)
    raise Unsupported(f"{name}: {description}")


def prepare(workload, cell, x, y, threads):
    nn.set_num_threads(threads)
    model = nn.Sequential([nn.Input(workload.input), *map(layer, workload.layers)], seed=0)
    values = [value for group in workload.weights() for value in group]
    for parameter, value in zip(model.params.values(), values, strict=True):
        parameter[...] = value
    model.compile(nn.Adam(LEARNING_RATE), workload.loss)
    if cell == "train":
        return Runner(partial(model.train_on_batch, x, y), np.asarray)
    if cell == "gradient":
        return Runner(partial(model.gradients, x, y), lambda result: np.asarray(result[0]))
    return Runner(partial(model, x), np.asarray)
