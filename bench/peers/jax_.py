"""JAX: one jitted function for a step, parameters donated, Adam written out; images NHWC."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bench import workloads
from bench.peers import LEARNING_RATE, Runner, Unsupported

name = "JAX"
version = jax.__version__
cells = ("train", "predict", "one", "gradient")
ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, None: lambda x: x}
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def apply(d, training, values, x):
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
            if training:
                mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
            scale = weight * jax.lax.rsqrt(variance + workloads.BATCH_EPSILON)
            return (x - mean) * scale + bias
        case workloads.MaxPool():
            n, h, w, c = x.shape
            s = d.size
            tiles = x[:, : h // s * s, : w // s * s].reshape(n, h // s, s, w // s, s, c)
            return tiles.max((2, 4))
        case workloads.GlobalAvgPool():
            return x.mean((1, 2))
        case workloads.Flatten():
            return x.reshape(len(x), -1)
        case workloads.Residual():
            ways = zip((d.body, d.shortcut), values, strict=True)
            return sum(chain(way, training, its, x) for way, its in ways)
        case _:
            raise Unsupported(f"{name}: {d}")


def chain(descriptions, training, values, x):
    for d, group in zip(descriptions, values, strict=True):
        x = ACTIVATIONS[getattr(d, "activation", None)](apply(d, training, group, x))
    return x


def native(descriptions, values):
    """The weights in the order that JAX's operations want: what is in front comes last."""
    for d, group in zip(descriptions, values, strict=True):
        if isinstance(d, workloads.Residual):
            ways = zip((d.body, d.shortcut), group, strict=True)
            yield [list(native(*way)) for way in ways]
        elif isinstance(d, workloads.Dense | workloads.Conv2D):
            yield [jnp.asarray(np.moveaxis(group[0], 0, -1).copy()), *map(jnp.asarray, group[1:])]
        else:
            yield list(map(jnp.asarray, group))


def network(workload, training):
    """The function (parameters, x) -> output, and the parameters."""
    forward = partial(chain, workload.layers, training)
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
    forward, parameters = network(workload, cell in ("train", "gradient"))
    x = jnp.asarray(x)
    y = jnp.asarray(y.astype(np.float32 if workload.loss == "mse" else np.int32))
    value_and_grad = jax.value_and_grad(loss_of(workload, forward))
    if cell == "train":
        return Runner(training(value_and_grad, parameters, x, y), np.asarray)
    if cell == "gradient":
        both = jax.jit(value_and_grad)
        return Runner(
            lambda: jax.block_until_ready(both(parameters, x, y)), lambda r: np.asarray(r[0])
        )
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
