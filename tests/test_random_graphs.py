"""Random graphs against PyTorch: what the planner decides about sharing memory, working in place
and adding gradients must not show in any result."""

import numpy as np
import pytest

import nncore as nn
from cases import ACTIVATIONS
from nncore.inputs import as_list
from support import one_or_list, randomize

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

SIGMAS = ("relu", "tanh", "gelu", "softmax", "silu", "sigmoid")


def random_graph(rng, size: int):
    """(inputs, outputs, steps): every step is (layer, indices of what it reads); the values are
    the inputs, then what each step makes."""
    values = [nn.Input((6,)), nn.Input((2, 3))][: rng.integers(1, 3)]
    shapes = [x.shape for x in values]
    inputs, steps = list(values), []
    shared = nn.Dense(6), nn.Dense(6, "tanh")
    for _ in range(size):
        at = int(rng.integers(len(values)))
        alike = [i for i, s in enumerate(shapes) if s == shapes[at]]
        pair = [at, int(rng.choice(alike))]
        kind = rng.integers(8)
        if kind < 3:
            layer, reads = nn.Activation(str(rng.choice(SIGMAS))), [at]
        elif kind == 3:
            layer, reads = (nn.Add(), nn.Multiply())[rng.integers(2)], pair
        elif kind == 4:
            even = np.prod(shapes[at]) % 2 == 0
            layer, reads = nn.Reshape((2, -1)) if even and rng.integers(2) else nn.Flatten(), [at]
        elif kind == 5:
            layer, reads = nn.Concatenate(), pair
        else:
            layer = nn.Dense(int(rng.choice([3, 6]))) if kind == 6 else shared[rng.integers(2)]
            reads = [at]
            if kind == 7 and shapes[at][-1] != 6:
                layer = nn.Dense(6)
        values.append(layer(one_or_list([values[i] for i in reads])))
        shapes.append(nn.Model(inputs, values).output_shape[-1])
        steps.append((layer, reads))
    chosen = {len(values) - 1, *(int(i) for i in rng.integers(len(values), size=2))}
    return inputs, values, steps, sorted(chosen)


def in_torch(model, values, steps, xs, outputs):
    """The same graph's outputs, and its parameters."""
    parameters = {n: torch.tensor(p.copy(), requires_grad=True) for n, p in model.params.items()}
    names = {symbol.layer: name for name, symbol in model.graph.nodes}
    found = dict(enumerate(xs))
    for place, (layer, reads) in enumerate(steps, len(xs)):
        if layer not in names:
            continue  # no output needs it
        h = [found[i] for i in reads if i in found]
        if len(h) < len(reads):
            continue
        if isinstance(layer, nn.Activation):
            y = ACTIVATIONS[layer.activation].torch(h[0])
        elif isinstance(layer, nn.Dense):
            weight, bias = (parameters[f"{names[layer]}.{p}"] for p in ("weight", "bias"))
            y = ACTIVATIONS[layer.activation or "linear"].torch(
                torch.nn.functional.linear(h[0], weight, bias)
            )
        elif isinstance(layer, nn.Add):
            y = h[0] + h[1]
        elif isinstance(layer, nn.Multiply):
            y = h[0] * h[1]
        elif isinstance(layer, nn.Concatenate):
            y = torch.cat(h, -1)
        else:
            shape = layer.shape if isinstance(layer, nn.Reshape) else (-1,)
            y = h[0].reshape(len(h[0]), *shape)
        found[place] = y
    return [found[i] for i in outputs], parameters


@pytest.mark.parametrize("seed", range(60))
def test_random_graph(seed, team):
    rng = np.random.default_rng(seed)
    inputs, values, steps, outputs = random_graph(rng, int(rng.integers(2, 13)))
    xs = [rng.normal(size=(5, *x.shape)) for x in inputs]
    txs = [torch.tensor(x, requires_grad=True) for x in xs]
    for members in (1, 3):
        team(members)
        model = nn.Model(inputs, [values[i] for i in outputs], dtype="float64")
        randomize(model)
        expected, parameters = in_torch(model, values, steps, txs, outputs)
        dys = [rng.normal(size=y.shape) for y in expected]
        for _ in range(2):  # the second time with NaN in the arena
            ys = as_list("y", model.forward(one_or_list(xs)), len(outputs))
            dxs = as_list("dx", model.backward(one_or_list(dys)), len(xs))
            for plan in model._plans.values():
                plan.fill_arena(0xFF)
            inference = as_list("y", model(one_or_list(xs)), len(outputs))
            for y, again, right in zip(ys, inference, expected, strict=True):
                close(y, right)
                close(again, right)
        wanted = [*txs, *parameters.values()]
        grads = torch.autograd.grad(
            expected, wanted, [torch.tensor(dy) for dy in dys], allow_unused=True
        )
        for found, right in zip([*dxs, *model.grads.values()], grads, strict=True):
            close(found, torch.zeros(found.shape) if right is None else right)


def close(found, right):
    right = right.detach().numpy()
    np.testing.assert_allclose(found, right, rtol=0, atol=1e-12 * max(1, abs(right).max()))
