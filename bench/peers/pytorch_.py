"""PyTorch, eager: inference_mode, and Adam fused or foreach, whichever is the faster here."""

from functools import partial

import torch

from bench import workloads
from bench.peers import LEARNING_RATE, Runner, Unsupported, faster

name = "PyTorch"
version = torch.__version__
cells = ("train", "predict", "one", "gradient")
ACTIVATIONS = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}


def modules(workload):
    shape = workload.input
    for description, values in zip(workload.layers, workload.weights(), strict=True):
        if not isinstance(description, workloads.Dense):
            raise Unsupported(f"{name}: {description}")
        linear = torch.nn.Linear(shape[-1], description.units)
        linear.weight.data, linear.bias.data = map(torch.from_numpy, values)
        yield linear
        if description.activation:
            yield ACTIVATIONS[description.activation]()
        shape = description.output(shape)


def prepare(workload, cell, x, y, threads):
    torch.set_num_threads(threads)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    if cell == "train":
        return faster(*(training(workload, x, y, **{way: True}) for way in ("fused", "foreach")))
    model = torch.nn.Sequential(*modules(workload))
    if cell == "gradient":
        return Runner(partial(gradient, model, loss_of(workload), x, y), read)
    model.eval()

    def infer():
        with torch.inference_mode():
            return model(x)

    return Runner(infer, read)


def loss_of(workload):
    if workload.loss == "mse":
        return torch.nn.functional.mse_loss
    return torch.nn.functional.cross_entropy


def gradient(model, loss, x, y):
    model.zero_grad(set_to_none=True)
    value = loss(model(x), y)
    value.backward()
    return value


def training(workload, x, y, **way):
    model = torch.nn.Sequential(*modules(workload))
    loss = loss_of(workload)
    adam = torch.optim.Adam(model.parameters(), LEARNING_RATE, **way)

    def step():
        adam.zero_grad(set_to_none=True)
        value = loss(model(x), y)
        value.backward()
        adam.step()
        return value

    return Runner(step, read)


def read(tensor):
    return tensor.detach().numpy()
