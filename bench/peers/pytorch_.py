"""PyTorch at the fastest of what it offers here: images as NCHW or channels_last,
sequences as (steps, rows, features); training with
Adam fused or foreach; inference eager, or traced, frozen (which folds BatchNorm into convolutions)
and optimized.
"""

from functools import partial

import torch
from torch import nn

from bench import workloads
from bench.peers import LEARNING_RATE, Runner, Unsupported, channels_first, faster

name = "PyTorch"
version = torch.__version__
cells = ("train", "predict", "one", "gradient")
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


class FlattenPixels(nn.Module):
    """Pixel after pixel: a view, of images that are channels_last."""

    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


class Residual(nn.Module):
    def __init__(self, body, shortcut, activation):
        super().__init__()
        self.body, self.shortcut, self.activation = body, shortcut, activation

    def forward(self, x):
        return self.activation(self.body(x) + self.shortcut(x))


class Recurrent(nn.Module):
    """All steps' h, or each direction's last."""

    def __init__(self, d, values, width):
        super().__init__()
        kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[d.cell]
        self.layer = kind(width, d.units, bidirectional=d.bidirectional)
        self.sequences = d.sequences
        for parameter, value in zip(self.layer.parameters(), values, strict=True):
            parameter.data = torch.from_numpy(value)

    def forward(self, x):
        y, last = self.layer(x)
        if self.sequences:
            return y
        h = last[0] if isinstance(last, tuple) else last
        return h[0] if len(h) == 1 else h.transpose(0, 1).flatten(1)


def dense(d, values, shape):
    linear = nn.Linear(shape[-1], d.units)
    linear.weight.data, linear.bias.data = map(torch.from_numpy, values)
    return [linear]


def convolution(d, values, shape):
    """Only symmetric zeros can be the convolution's own; "same" with a stride may need a pad."""
    (top, bottom), (left, right) = d.pads(shape)
    symmetric = top == bottom and left == right
    conv = nn.Conv2d(
        shape[-1], d.filters, d.window, d.stride, (top, left) if symmetric else 0,
        groups=d.groups, bias=d.use_bias,
    )  # fmt: skip
    weight, *bias = map(torch.from_numpy, values)
    conv.weight.data = weight.permute(0, 3, 1, 2).contiguous()
    if bias:
        (conv.bias.data,) = bias
    return [conv] if symmetric else [nn.ZeroPad2d((left, right, top, bottom)), conv]


def normalization(values):
    norm = nn.BatchNorm2d(len(values[0]), eps=workloads.BATCH_EPSILON)
    norm.weight.data, norm.bias.data = map(torch.from_numpy, values[:2])
    norm.running_mean, norm.running_var = map(torch.from_numpy, values[2:])
    return [norm]


def chain(descriptions, values, shape, flatten):
    """The modules of layers, one after the other."""
    found = []
    for d, group in zip(descriptions, values, strict=True):
        match d:
            case workloads.Dense():
                found += dense(d, group, shape)
            case workloads.Conv2D():
                found += convolution(d, group, shape)
            case workloads.BatchNorm():
                found += normalization(group)
            case workloads.MaxPool():
                found.append(nn.MaxPool2d(d.size))
            case workloads.GlobalAvgPool():
                found += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
            case workloads.Flatten():
                found.append(flatten())
            case workloads.Recurrent():
                found.append(Recurrent(d, group, shape[-1]))
            case workloads.Residual():
                ways = (d.body, d.shortcut)
                pairs = zip(ways, group, strict=True)
                both = [chain(way, its, shape, flatten) for way, its in pairs]
                found.append(Residual(*both, ACTIVATIONS.get(d.activation, nn.Identity)()))
            case _:
                raise Unsupported(f"{name}: {d}")
        activation = None if isinstance(d, workloads.Residual) else getattr(d, "activation", None)
        if activation:
            found.append(ACTIVATIONS[activation]())
        shape = d.output(shape)
    return nn.Sequential(*found)


def model_and_input(workload, x, layout):
    """The network and x (an array of the workload) as this layout has them."""
    if layout == torch.channels_last:
        values, flatten = workload.weights(), FlattenPixels
    else:
        values, flatten = channels_first(workload), nn.Flatten
    model = chain(workload.layers, values, workload.input, flatten)
    x = torch.from_numpy(x)
    if x.ndim == 4:
        x = x.permute(0, 3, 1, 2).contiguous(memory_format=layout)
        model = model.to(memory_format=layout)
    elif x.ndim == 3:
        x = x.transpose(0, 1).contiguous()
    return model, x


def prepare(workload, cell, x, y, threads):
    torch.set_num_threads(threads)
    y = torch.from_numpy(y)
    layouts = [torch.contiguous_format, torch.channels_last][: 1 + (x.ndim == 4)]
    loss = loss_of(workload)
    runners = []
    for layout in layouts:
        if cell == "train":
            for way in ("fused", "foreach"):
                model, images = model_and_input(workload, x, layout)
                runners.append(training(model, loss, images, y, **{way: True}))
            continue
        model, images = model_and_input(workload, x, layout)
        if cell == "gradient":
            runners.append(Runner(partial(gradient, model, loss, images, y), read))
        else:
            runners += [inference(m, images) for m in inference_models(model.eval(), images)]
    return faster(*runners)


def inference_models(model, x):
    """Eager; for images also frozen, and then optimized for inference."""
    yield model
    if x.ndim == 4:
        with torch.inference_mode():
            traced = torch.jit.trace(model, x)
            yield torch.jit.freeze(traced)
            yield torch.jit.optimize_for_inference(torch.jit.freeze(traced))


def inference(model, x):
    def infer():
        with torch.inference_mode():
            return model(x)

    return Runner(infer, read)


def loss_of(workload):
    if workload.loss == "mse":
        return nn.functional.mse_loss
    return nn.functional.cross_entropy


def gradient(model, loss, x, y):
    model.zero_grad(set_to_none=True)
    value = loss(model(x), y)
    value.backward()
    return value


def training(model, loss, x, y, **way):
    adam = torch.optim.Adam(model.parameters(), LEARNING_RATE, **way)

    def step():
        value = gradient(model, loss, x, y)
        adam.step()
        return value

    return Runner(step, read)


def read(tensor):
    return tensor.detach().numpy()
