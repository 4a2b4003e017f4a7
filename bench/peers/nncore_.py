"""nncore itself, through its public face."""

from functools import partial

import numpy as np

import nncore as nn
from bench import workloads
from bench.peers import LEARNING_RATE, Runner, Unsupported

name = "nncore"
version = nn.__version__
cells = ("train", "predict", "one", "gradient")


def layers(descriptions):
    """The layers of a chain of descriptions."""
    found = []
    for d in descriptions:
        match d:
            case workloads.Dense():
                found.append(nn.Dense(d.units, d.activation))
            case workloads.Conv2D():
                options = {"groups": d.groups, "use_bias": d.use_bias}
                found.append(
                    nn.Conv2D(
                        d.filters, d.window, d.stride, d.padding, activation=d.activation, **options
                    )
                )
            case workloads.BatchNorm():
                found.append(nn.BatchNormalization(epsilon=workloads.BATCH_EPSILON))
                if d.activation:
                    found.append(nn.Activation(d.activation))
            case workloads.MaxPool():
                found.append(nn.MaxPool2D(d.size))
            case workloads.GlobalAvgPool():
                found.append(nn.GlobalAvgPool2D())
            case workloads.Flatten():
                found.append(nn.Flatten())
            case workloads.Recurrent():
                kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[d.cell]
                one = kind(d.units, return_sequences=d.sequences)
                found.append(nn.Bidirectional(one) if d.bidirectional else one)
            case workloads.Residual():
                shortcut = layers(d.shortcut) or None
                found.append(nn.Residual(layers(d.body), shortcut, d.activation))
            case _:
                raise Unsupported(f"{name}: {d}")
    return found


def in_order(descriptions, values):
    """(parameters, buffers) of a chain, in the order of nncore's."""
    parameters, buffers = [], []
    for d, group in zip(descriptions, values, strict=True):
        if isinstance(d, workloads.Residual):
            for chain, its_values in zip((d.body, d.shortcut), group, strict=True):
                more = in_order(chain, its_values)
                parameters += more[0]
                buffers += more[1]
        elif isinstance(d, workloads.BatchNorm):
            parameters += group[:2]
            buffers += group[2:]
        else:
            parameters += group
    return parameters, buffers


def network(workload):
    """The workload's network with the workload's weights, compiled."""
    model = nn.Sequential([nn.Input(workload.input), *layers(workload.layers)], seed=0)
    parameters, buffers = in_order(workload.layers, workload.weights())
    for found, values in ((model.params, parameters), (model.buffers, buffers)):
        for array, value in zip(found.values(), values, strict=True):
            array[...] = value
    model.compile(nn.Adam(LEARNING_RATE), workload.loss)
    return model


def prepare(workload, cell, x, y, threads):
    nn.set_num_threads(threads)
    model = network(workload)
    if cell == "train":
        return Runner(partial(model.train_on_batch, x, y), np.asarray)
    if cell == "gradient":
        return Runner(partial(model.gradients, x, y), lambda result: np.asarray(result[0]))
    return Runner(partial(model, x), np.asarray)
