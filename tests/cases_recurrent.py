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


def run(layer: Any, p: Any, x: Any) -> Any:
    """The h of each step in the order in which they come, (batch, steps, units)."""
    if isinstance(layer, nn.GRU) and not layer.reset_after:
        return reset_before(layer, p, x)
    names = [f"{name}_l0" for name in p]
    weights = dict(zip(names, p.values(), strict=True))
    return torch.func.functional_call(module(layer, x.shape[-1]), weights, (x,))[0]


def reset_before(layer: Any, p: Any, x: Any) -> Any:
    """PyTorch has no such; its formulas in the documentation of `nn.GRU`."""
    zero = torch.zeros(3 * layer.units, dtype=torch.float64)
    b_ih, b_hh = (p.get(name, zero).chunk(3) for name in ("bias_ih", "bias_hh"))
    w_ih, w_hh = p["weight_ih"].chunk(3), p["weight_hh"].chunk(3)
    h, found = torch.zeros(len(x), layer.units, dtype=torch.float64), []
    for xt in x.unbind(1):
        r, z = (torch.sigmoid(xt @ w_ih[g].T + b_ih[g] + h @ w_hh[g].T + b_hh[g]) for g in range(2))
        n = torch.tanh(xt @ w_ih[2].T + b_ih[2] + (r * h) @ w_hh[2].T + b_hh[2])
        h = (1 - z) * n + z * h
        found.append(h)
    return torch.stack(found, 1)


def torch_recurrent(layer: Any) -> Any:
    def forward(p, x):
        y = run(layer, p, x.flip(1) if layer.go_backwards else x)
        return y if layer.return_sequences else y[:, -1]

    return forward


# One step, one feature, one unit; lengths that are prime; units that fill no vector, and so many
# that members share them where rows are few (the batches here are 7 rows and fewer).
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
    ]
]
