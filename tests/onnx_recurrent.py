"""Recurrent layers as ONNX nodes: see onnx_graphs.py. ONNX has the steps in front, an axis for the
directions, and the gates in another order."""

from __future__ import annotations

from typing import Any

import numpy as np

import nncore as nn

GATES = {nn.RNN: [0], nn.LSTM: [0, 3, 1, 2], nn.GRU: [1, 0, 2]}  # i o f g, and z r n


def weights(layer: Any, p: dict[str, np.ndarray]) -> list[np.ndarray]:
    """W, R and B of one direction."""
    order = GATES[type(layer)]
    zero = np.zeros(layer.gates * layer.units, p["weight_ih"].dtype)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    parts = [np.split(p.get(name, zero), layer.gates) for name in names]
    w, r, b_w, b_r = (np.concatenate([part[g] for g in order]) for part in parts)
    return [w, r, np.concatenate([b_w, b_r])]


def node(g: Any, layer: Any, directions: list[Any], direction: str, x: str, *states: str) -> Any:
    """The names of Y (steps, directions, rows, units) and of the last h."""
    options: dict[str, Any] = {"hidden_size": layer.units, "direction": direction}
    if isinstance(layer, nn.RNN):
        options["activations"] = [layer.activation.capitalize()] * len(directions)
    if isinstance(layer, nn.GRU):
        options["linear_before_reset"] = int(layer.reset_after)
    found = [weights(layer, p) for p in directions]
    given = [g.constant(np.stack(part)) for part in zip(*found, strict=True)]
    x = g.node("Transpose", x, perm=[1, 0, 2])
    y = g.node(type(layer).__name__, x, *given, *(["", *states] if states else []), **options)
    last = f"last{len(g.nodes)}"
    g.nodes[-1].output.append(last)
    return y, last


def side_by_side(g: Any, states: Any) -> list[str]:
    """One state for each direction, (directions, rows, units)."""
    single = [g.node("Unsqueeze", state, g.integers(0)) for state in states]
    return [g.node("Concat", *single, axis=0)]


def recurrent(g: Any, layer: Any, p: dict[str, np.ndarray], x: str, *states: str) -> str:
    before = [name for state in states for name in side_by_side(g, [state])]
    direction = "reverse" if layer.go_backwards else "forward"
    y, last = node(g, layer, [p], direction, x, *before)
    if not layer.return_sequences:
        return g.node("Squeeze", last, g.integers(0))
    y = g.node("Transpose", g.node("Squeeze", y, g.integers(1)), perm=[1, 0, 2])
    if layer.go_backwards:  # ONNX's is in the order of x
        end = np.iinfo(np.int64).min
        y = g.node("Slice", y, g.integers(-1), g.integers(end), g.integers(1), g.integers(-1))
    return y


def bidirectional(g: Any, layer: Any, p: dict[str, np.ndarray], x: str, *states: str) -> str:
    inner, half = layer.layer, len(states) // 2
    both = [
        {k.split(".", 1)[1]: v for k, v in p.items() if k.startswith(name)}
        for name in ("forward.", "backward.")
    ]
    pairs = zip(states[:half], states[half:], strict=True)
    before = [name for pair in pairs for name in side_by_side(g, pair)]
    y, last = node(g, inner, both, "bidirectional", x, *before)
    # (directions, rows, ...): then one value for each direction
    if inner.return_sequences:
        last = g.node("Transpose", y, perm=[1, 2, 0, 3])
    single = [g.node("Gather", last, g.integers(i), axis=0) for i in range(2)]
    a, b = (g.node("Squeeze", y, g.integers(0)) for y in single)
    if layer.merge_mode == "concat":
        return g.node("Concat", a, b, axis=-1)
    kind = {"sum": "Add", "mul": "Mul", "ave": "Mean"}[layer.merge_mode]
    return g.node(kind, a, b)
