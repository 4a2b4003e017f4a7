"""Layers and a loss as users write them, in Python with NumPy: entries of cases.py."""

import dataclasses

import numpy as np

import nncore as nn


class Gate(nn.Layer):
    """A layer as a user writes one, with two inputs and two parameters: y = a sigmoid(s b) + t."""

    def parameters(self, a, b):
        return {"s": (b, "ones"), "t": (a, "zeros")}

    def forward(self, a, b, s, t):
        return a / (1 + np.exp(-s * b)) + t

    def backward(self, dy, y, a, b, s, t):
        g = 1 / (1 + np.exp(-s * b))
        slope = dy * a * g * (1 - g)
        return dy * g, slope * s, (slope * b).sum(0), dy.sum(0)


@dataclasses.dataclass(frozen=True, eq=False)
class Power(nn.Layer):
    """A layer as a user writes one, with a hyper-parameter and no parameters: y = x^exponent."""

    exponent: int

    def forward(self, x):
        return x**self.exponent

    def backward(self, dy, y, x):
        return dy * self.exponent * x ** (self.exponent - 1)


class Cube(nn.losses.Loss):
    """A loss as a user writes one: the mean over rows of sum |x - t|^3."""

    def forward(self, y_true, y_pred):
        return (np.abs(y_pred - y_true) ** 3).sum(axis=1)

    def backward(self, y_true, y_pred):
        return 3 * (y_pred - y_true) * np.abs(y_pred - y_true)
