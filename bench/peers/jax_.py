"""JAX: one jitted function for a step, parameters donated, Adam written out."""

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


def network(workload):
    """The function (parameters, x) -> output, and the parameters."""
    for description in workload.layers:
        if not isinstance(description, workloads.Dense):
            raise Unsupported(f"{name}: {description}")
    activations = [ACTIVATIONS[description.activation] for description in workload.layers]
    parameters = [(jnp.asarray(w.T.copy()), jnp.asarray(b)) for w, b in workload.weights()]

    def forward(parameters, x):
        for sigma, (weight, bias) in zip(activations, parameters, strict=True):
            x = sigma(x @ weight + bias)
        return x

    return forward, parameters


def loss_of(workload, forward):
    def mse(parameters, x, y):
        return jnp.mean((forward(parameters, x) - y) ** 2)

    def cross_entropy(parameters, x, y):
        chosen = jax.nn.log_softmax(forward(parameters, x))
        return -jnp.mean(jnp.take_along_axis(chosen, y[:, None], 1))

    return mse if workload.loss == "mse" else cross_entropy


def prepare(workload, cell, x, y, threads):
    # The process was pinned before jax started: its pool has as many threads as there are CPUs.
    forward, parameters = network(workload)
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
