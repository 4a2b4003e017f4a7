"""JAX: one jitted function for a step, parameters donated, Adam written out; images NHWC,
sequences (steps, rows, features)."""

from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bench import workloads
from bench.peers import LEARNING_RATE, Runner, Unsupported, faster

name = "JAX"
version = jax.__version__
cells = ("train", "predict", "one", "gradient")
ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, None: lambda x: x}
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Mode(NamedTuple):
    training: bool
    unroll: int = 1  # steps of a recurrent layer that are compiled as one


def max_pool(x, size, training):
    """The gradient of reduce_window costs twice that of a maximum of slices (cnn, one thread)."""
    if not training:
        sizes = (1, size, size, 1)
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, sizes, sizes, "VALID")
    h, w = (n // size * size for n in x.shape[1:3])
    rows = reduce(jnp.maximum, [x[:, i:h:size, :w] for i in range(size)])
    return reduce(jnp.maximum, [rows[:, :, i::size] for i in range(size)])


def apply(d, mode, values, x):
    """A layer's output, before its activation."""
    match d:
        case workloads.Dense():
            return x @ values[0] + values[1]
        case workloads.Conv2D():
            y = jax.lax.conv_general_dilated(
                x, values[0], (d.stride, d.stride), d.padding.upper(),
                dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=d.groups,
            )  # fmt: skip
            return y + values[1] if d.use_bias else y
        case workloads.BatchNorm():
            weight, bias, mean, variance = values
            if mode.training:
                mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
            scale = weight * jax.lax.rsqrt(variance + workloads.BATCH_EPSILON)
            return (x - mean) * scale + bias
        case workloads.MaxPool():
            return max_pool(x, d.size, mode.training)
        case workloads.GlobalAvgPool():
            return x.mean((1, 2))
        case workloads.Flatten():
            return x.reshape(len(x), -1)
        case workloads.Recurrent():
            parts = [recur(d, mode, values[:4], x)]
            if d.bidirectional:
                parts.append(recur(d, mode, values[4:], x[::-1]))
            if d.sequences:
                return jnp.concatenate([parts[0], *(y[::-1] for y in parts[1:])], -1)
            return jnp.concatenate([y[-1] for y in parts], -1)
        case workloads.Residual():
            ways = zip((d.body, d.shortcut), values, strict=True)
            return sum(chain(way, mode, its, x) for way, its in ways)
        case _:
            raise Unsupported(f"{name}: {d}")


def recur(d, mode, values, x):
    """h of each step: the inputs' products at once, then a scan."""
    w_ih, w_hh, b_ih, b_hh = values
    zeros = jnp.zeros((x.shape[1], d.units), x.dtype)

    def rnn(h, z):
        h = jnp.tanh(z + h @ w_hh)
        return h, h

    def lstm(state, z):
        h, c = state
        i, f, g, o = jnp.split(z + h @ w_hh, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def gru(h, z):
        (r, u, n), (hr, hu, hn) = jnp.split(z, 3, -1), jnp.split(h @ w_hh + b_hh, 3, -1)
        r, u = jax.nn.sigmoid(r + hr), jax.nn.sigmoid(u + hu)
        n = jnp.tanh(n + r * hn)
        h = n + u * (h - n)
        return h, h

    step = {"rnn": rnn, "lstm": lstm, "gru": gru}[d.cell]
    bias = b_ih if d.cell == "gru" else b_ih + b_hh
    start = (zeros, zeros) if d.cell == "lstm" else zeros
    return jax.lax.scan(step, start, x @ w_ih + bias, unroll=mode.unroll)[1]


def chain(descriptions, mode, values, x):
    for d, group in zip(descriptions, values, strict=True):
        x = ACTIVATIONS[getattr(d, "activation", None)](apply(d, mode, group, x))
    return x


def native(descriptions, values):
    """The weights in the order that JAX's operations want: what is in front comes last."""
    for d, group in zip(descriptions, values, strict=True):
        if isinstance(d, workloads.Residual):
            ways = zip((d.body, d.shortcut), group, strict=True)
            yield [list(native(*way)) for way in ways]
        elif isinstance(d, workloads.Dense | workloads.Conv2D):
            yield [jnp.asarray(np.moveaxis(group[0], 0, -1).copy()), *map(jnp.asarray, group[1:])]
        elif isinstance(d, workloads.Recurrent):
            yield [jnp.asarray(value.T.copy()) for value in group]
        else:
            yield list(map(jnp.asarray, group))


def network(workload, mode):
    """The function (parameters, x) -> output, and the parameters."""
    forward = partial(chain, workload.layers, mode)
    return forward, list(native(workload.layers, workload.weights()))


def loss_of(workload, forward):
    def mse(parameters, x, y):
        return jnp.mean((forward(parameters, x) - y) ** 2)

    def cross_entropy(parameters, x, y):
        chosen = jax.nn.log_softmax(forward(parameters, x))
        return -jnp.mean(jnp.take_along_axis(chosen, y[:, None], 1))

    return mse if workload.loss == "mse" else cross_entropy


def prepare(workload, cell, x, y, threads):
    # The process was pinned before jax started: its pool has as many threads as there are CPUs.
    forward, parameters = network(workload, Mode(cell in ("train", "gradient")))
    x = jnp.asarray(np.moveaxis(x, 1, 0) if x.ndim == 3 else x)
    y = jnp.asarray(y.astype(np.float32 if workload.loss == "mse" else np.int32))
    value_and_grad = jax.value_and_grad(loss_of(workload, forward))
    if cell == "train":
        return Runner(training(value_and_grad, parameters, x, y), np.asarray)
    if cell == "gradient":
        both = jax.jit(value_and_grad)
        return Runner(
            lambda: jax.block_until_ready(both(parameters, x, y)), lambda r: np.asarray(r[0])
        )
    runners = [inference(forward, parameters, x)]
    if x.ndim == 3:  # all steps compiled as one take a third less, but not always
        unrolled, _ = network(workload, Mode(False, len(x)))
        runners.append(inference(unrolled, parameters, x))
    return faster(*runners)


def inference(forward, parameters, x):
    infer = jax.jit(forward)
    return Runner(lambda: infer(parameters, x).block_until_ready(), np.asarray)


def training(value_and_grad, parameters, x, y):
    def step(parameters, m, v, t, x, y):
        loss, gradient = value_and_grad(parameters, x, y)
        t = t + 1
        m = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, m, gradient)
        v = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, v, gradient)
        rate = LEARNING_RATE / (1 - BETA_1**t)
        scale = 1 / jnp.sqrt(1 - BETA_2**t)
        parameters = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v) * scale + EPSILON), parameters, m, v
        )
        return loss, parameters, m, v, t

    compiled = jax.jit(step, donate_argnums=(0, 1, 2, 3))
    zeros = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(2)]
    state = [parameters, *zeros, jnp.float32(0)]

    def call():
        loss, *state[:] = compiled(*state, x, y)
        jax.block_until_ready(state)
        return loss

    return call
