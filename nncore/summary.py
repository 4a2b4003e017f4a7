"""The table that `model.summary()` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncore.layers.base import Part

if TYPE_CHECKING:
    from nncore.parameters import Parameters

WIDEST = 60  # characters of a layer's description


def table(graph: Any, nodes: list[Any], parameters: Parameters, model: Any) -> str:
    """Layers in order with output shape, parameters and, in a graph, where inputs come from."""
    names = {symbol: name for name, symbol in graph.nodes}
    names.update({symbol: f"input {i}" for i, symbol in enumerate(graph.inputs)})
    chain = all(
        symbol.inputs == ((graph.nodes[i - 1][1],) if i else graph.inputs)
        for i, (_, symbol) in enumerate(graph.nodes)
    )
    rows = [["layer", "description", "output shape", "parameters", "inputs"]]
    for i, symbol in enumerate(graph.inputs):
        rows.append([f"input {i}", repr(symbol), str(symbol.shape), "0", ""])
    seen = set()
    for name, symbol, shape in nodes:
        count = sum(v.size for n, v in parameters.views.items() if n.startswith(name + "."))
        shown = "shared" if name in seen else f"{count:,}"
        seen.add(name)
        inputs = ", ".join(_name(s, names) for s in symbol.inputs)
        text = symbol.layer.describe()
        text = text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."
        rows.append([name, text, str(shape), shown, inputs])
    if chain:
        rows = [row[:4] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(w) if i == 3 else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    total = model.count_params()
    size = total * parameters.dtype.itemsize
    unit = f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.1f} KiB"
    closing = f"{total:,} parameters, {unit} of {parameters.dtype}"
    return "\n".join([lines[0], rule, *lines[1:], rule, closing])


def _name(symbol: Any, names: dict[Any, str]) -> str:
    """Of a layer's output; one of several has its number."""
    if isinstance(symbol, Part):
        return f"{names[symbol.source]}[{symbol.index}]"
    return names[symbol]
