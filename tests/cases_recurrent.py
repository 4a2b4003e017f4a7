"""Recurrent layers, and how PyTorch does the same: see cases.py."""

from __future__ import annotations

from typing import Any

import nncore as nn

try:
    import torch
except ImportError:  # then no `torch` column is called
    torch = None


def module(layer: Any, width: int) -> Any:
    """PyTorch's layer of the same kind; its own weights do not matter."""
    options: dict[str, Any] = {"batch_first": True, "bias": layer.use_bias, "dtype": torch.float64}
    if isinstance(layer, nn.RNN):
        options["nonlinearity"] = layer.activation
    return getattr(torch.nn, type(layer).__name__)(width, layer.units, **options)


def run(layer: Any, p: Any, x: Any, states: Any = ()) -> Any:
    """The h of each step in the order in which they come, (batch, steps, units), and the last
    states."""
    if isinstance(layer, nn.GRU) and not layer.reset_after:
        return reset_before(layer, p, x, *states)
    names = [f"{name}_l0" for name in p]
    weights = dict(zip(names, p.values(), strict=True))
    given = [state[None] for state in states]
    before = () if not given else (given[0],) if len(given) == 1 else (tuple(given),)
    y, last = torch.func.functional_call(module(layer, x.shape[-1]), weights, (x, *before))
    return y, [state[0] for state in (last if isinstance(last, tuple) else (last,))]


def reset_before(layer: Any, p: Any, x: Any, h: Any = None) -> Any:
    """PyTorch has no such; its formulas in the documentation of `nn.GRU`."""
    zero = torch.zeros(3 * layer.units, dtype=torch.float64)
    b_ih, b_hh = (p.get(name, zero).chunk(3) for name in ("bias_ih", "bias_hh"))
    w_ih, w_hh = p["weight_ih"].chunk(3), p["weight_hh"].chunk(3)
    h, found = torch.zeros(len(x), layer.units, dtype=torch.float64) if h is None else h, []
    for xt in x.unbind(1):
        r, z = (torch.sigmoid(xt @ w_ih[g].T + b_ih[g] + h @ w_hh[g].T + b_hh[g]) for g in range(2))
        n = torch.tanh(xt @ w_ih[2].T + b_ih[2] + (r * h) @ w_hh[2].T + b_hh[2])
        h = (1 - z) * n + z * h
        found.append(h)
    return torch.stack(found, 1), [h]


def recurrent(layer: Any, p: Any, x: Any, *states: Any) -> list[Any]:
    """All that the layer returns."""
    y, last = run(layer, p, x.flip(1) if layer.go_backwards else x, states)
    return [y if layer.return_sequences else y[:, -1], *(last if layer.return_state else ())]


def bidirectional(layer: Any, p: Any, x: Any, *states: Any) -> list[Any]:
    ys, last = [], []
    half = len(states) // 2
    for i, name in enumerate(("forward", "backward")):
        own = {k.split(".", 1)[1]: v for k, v in p.items() if k.startswith(name)}
        toward = x.flip(1) if i else x
        y, states_after = run(layer.layer, own, toward, states[i * half : (i + 1) * half])
        ys.append((y.flip(1) if i else y) if layer.layer.return_sequences else states_after[0])
        last += states_after if layer.layer.return_state else []
    if layer.merge_mode is None:
        return [*ys, *last]
    merges = {
        "concat": lambda: torch.cat(ys, -1),
        "sum": lambda: ys[0] + ys[1],
        "mul": lambda: ys[0] * ys[1],
        "ave": lambda: (ys[0] + ys[1]) / 2,
    }
    return [merges[layer.merge_mode](), *last]


def reference(layer: Any) -> Any:
    """All that PyTorch returns for the parameters and inputs of a layer: a list."""
    function = bidirectional if isinstance(layer, nn.Bidirectional) else recurrent
    return lambda p, *xs: function(layer, p, *xs)


def torch_recurrent(layer: Any) -> Any:
    """Of a layer that returns one value."""
    return lambda p, *xs: reference(layer)(p, *xs)[0]


# What returns several values, and the shapes of its inputs: test_recurrent.py goes through these.
SEVERAL = [
    (nn.RNN(5, return_state=True, return_sequences=True), [(3, 4)]),
    (nn.RNN(330, return_state=True), [(5, 3), (330,)]),
    (nn.LSTM(5, return_state=True), [(3, 4)]),
    (nn.LSTM(190, return_state=True, return_sequences=True), [(4, 3), (190,), (190,)]),
    (nn.LSTM(6, return_state=True, go_backwards=True), [(1, 4), (6,), (6,)]),
    (nn.GRU(5, return_state=True, return_sequences=True), [(4, 3), (5,)]),
    (nn.GRU(5, return_state=True, reset_after=False), [(4, 3), (5,)]),
    (nn.Bidirectional(nn.LSTM(4, return_state=True)), [(3, 4)]),
    (nn.Bidirectional(nn.GRU(4, return_sequences=True), None), [(3, 4)]),
    (
        nn.Bidirectional(nn.LSTM(4, return_sequences=True, return_state=True), None),
        [(3, 2), (4,), (4,), (4,), (4,)],
    ),
]

# One step, one feature, one unit; lengths that are prime; units that fill no vector.
SHAPES = ((3, 4), (1, 1), (11, 2))

RECURRENT = [
    (layer, shapes, torch_recurrent(layer))
    for layer, shapes in [
        (nn.RNN(5), SHAPES),
        (nn.RNN(3, "relu", return_sequences=True), SHAPES),
        (nn.RNN(33, return_sequences=True, use_bias=False), ((11, 3),)),
        (nn.LSTM(5, return_sequences=True), SHAPES),
        (nn.LSTM(1, go_backwards=True), ((3, 4), (2, 1))),
        (nn.LSTM(50), ((11, 3), (2, 17))),
        (nn.LSTM(4, use_bias=False, return_sequences=True, go_backwards=True), ((3, 4),)),
        (nn.GRU(5, return_sequences=True), SHAPES),
        (nn.GRU(1), ((3, 4), (2, 1))),
        (nn.GRU(35), ((11, 3), (2, 17))),
        (nn.GRU(4, use_bias=False, go_backwards=True), ((3, 4),)),
        (nn.GRU(4, reset_after=False), SHAPES),
        (nn.GRU(34, reset_after=False, return_sequences=True), ((11, 3),)),
        # sums so long that the products are made in several parts
        (nn.RNN(390), ((2, 3),)),
        (nn.LSTM(100, return_sequences=True), ((2, 390),)),
        (nn.GRU(130), ((2, 3),)),
        # steps with so much work that members share their units
        (nn.GRU(130, reset_after=False, return_sequences=True), ((3, 4),)),
        (nn.LSTM(190, return_sequences=True), ([(3, 2), (190,), (190,)],)),
        # with initial states
        (nn.RNN(5, return_sequences=True), ([(3, 4), (5,)], [(1, 1), (5,)])),
        (nn.LSTM(5), ([(3, 4), (5,), (5,)], [(1, 1), (5,), (5,)])),
        (nn.LSTM(40, return_sequences=True), ([(11, 3), (40,), (40,)],)),
        (nn.GRU(5), ([(3, 4), (5,)], [(1, 1), (5,)])),
        (nn.GRU(33, return_sequences=True), ([(11, 3), (33,)],)),
        (nn.GRU(35, reset_after=False), ([(11, 3), (35,)], [(1, 2), (35,)])),
        (nn.Bidirectional(nn.GRU(4)), ((3, 4), [(3, 2), (4,), (4,)])),
        (nn.Bidirectional(nn.LSTM(4, return_sequences=True)), ((3, 4), (1, 1))),
        (nn.Bidirectional(nn.LSTM(3, return_sequences=True), "sum"), ((3, 4),)),
        (nn.Bidirectional(nn.RNN(4, "relu"), "mul"), ((3, 4),)),
        (nn.Bidirectional(nn.GRU(3, return_sequences=True, use_bias=False), "ave"), ((3, 4),)),
    ]
]
