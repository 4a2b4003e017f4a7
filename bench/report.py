"""The table that `bench.compare` prints and the picture that it draws."""

from __future__ import annotations

from pathlib import Path

PEERS = ("PyTorch", "JAX", "ONNX Runtime", "scikit-learn")
COLORS = {
    "PyTorch": "#d1495b",
    "JAX": "#30638e",
    "ONNX Runtime": "#8d6a9f",
    "scikit-learn": "#edae49",
}
CELLS = {
    "train": "training step",
    "predict": "predict, batch",
    "one": "predict, one row",
    "gradient": "loss and gradient",
}


def amount(number: float | None) -> str:
    """Three digits: 0.183, 5.21, 48.3, 9120."""
    if number is None:
        return "-"
    digits = len(str(int(number))) if number >= 1 else 0
    return f"{number:.{max(0, 3 - digits)}f}"


class Table:
    """Prints cells as they come, microseconds and ratios."""

    layout = "{:<23}{:<18}{:>10}" + "{:>16}" * len(PEERS) + "{:>8}{:>8}  {}"

    def head(self, threads: int, versions: dict[str, str], missing: list[str]) -> None:
        print(f"\n{threads} thread{'s' * (threads > 1)}; microseconds, median")
        self.peers = [peer if peer in versions else f"({peer})" for peer in PEERS]
        line = self.layout.format("", "", "nncore", *self.peers, "ratio", "target", "")
        print(line.rstrip())
        print("-" * len(line))
        for note in missing:
            print(f"not installed: {note}")

    def row(self, cell: dict) -> None:
        times = cell["microseconds"]
        peers = [amount(times.get(peer)) for peer in PEERS]
        ratio = "-" if cell["ratio"] is None else f"{cell['ratio']:.2f}"
        mark = {True: "", False: "MISSED", None: ""}[cell["met"]]
        notes = "; ".join(f"{name} {note}" for name, note in cell["notes"].items())
        print(
            self.layout.format(
                cell["workload"],
                CELLS[cell["cell"]],
                amount(times["nncore"]),
                *peers,
                ratio,
                f"{cell['target']:g}",
                " ".join(filter(None, (mark, notes))),
            ).rstrip(),
            flush=True,
        )

    def foot(self, cells: list[dict]) -> None:
        judged = [cell for cell in cells if cell["met"] is not None]
        missed = sum(not cell["met"] for cell in judged)
        if judged:
            print(f"\n{len(judged) - missed} of {len(judged)} targets met")
        else:
            print("\nno peer is installed: nncore's own times only")


def draw(result: dict, path: Path) -> Path | None:
    """One panel for each number of threads: how many times faster than each peer."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    cells = result["cells"]
    counts = sorted({cell["threads"] for cell in cells})
    rows = list(dict.fromkeys((cell["workload"], cell["cell"]) for cell in cells))
    if not rows or not any(cell["ratios"] for cell in cells):
        return None
    figure = Figure(
        figsize=(max(9.6, 2.6 + 4.6 * len(counts)), 1.7 + 0.32 * len(rows)), layout="constrained"
    )
    figure.get_layout_engine().set(h_pad=0.1)
    panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
    for panel, threads in zip(panels, counts, strict=True):
        here = {(c["workload"], c["cell"]): c for c in cells if c["threads"] == threads}
        _panel(panel, rows, here)
        panel.set_title(f"{threads} thread{'s' * (threads > 1)}", loc="left", weight="bold")
    _name_rows(panels[0], rows)
    _legend(figure, cells)
    machine = result["machine"]
    figure.suptitle(
        f"Times faster than each peer   ·   {machine['processor']}, {machine['instruction set']}",
        x=0.005, ha="left", fontsize=11, color="#333333",
    )  # fmt: skip
    figure.savefig(path, dpi=160)
    return path


def _panel(panel, rows, cells) -> None:
    last = None
    for i, row in enumerate(rows):
        if row[0] != last and i:
            panel.axhline(i - 0.5, color="#dddddd", lw=0.8)
        last = row[0]
        cell = cells.get(row)
        if cell is None or not cell["ratios"]:
            continue
        ratios = cell["ratios"]
        panel.plot([1, max(ratios.values())], [i, i], color="#e4e4e4", lw=3, zorder=1)
        panel.plot([cell["target"]] * 2, [i - 0.32, i + 0.32], color="#222222", lw=1.6, zorder=2)
        for peer, value in ratios.items():
            best = peer == cell["best"]
            panel.plot(
                value, i, "o", ms=7.5 if best else 5, color=COLORS[peer], zorder=3 + best,
                alpha=1 if best else 0.55, mec="white", mew=0.7,
            )  # fmt: skip
        panel.annotate(
            amount(cell["ratio"]), (1.01, i), xycoords=("axes fraction", "data"), va="center",
            fontsize=8.5, color="#222222" if cell["met"] else "#c1121f",
            weight="normal" if cell["met"] else "bold",
        )  # fmt: skip
    panel.axvspan(1e-9, 1, color="#c1121f", alpha=0.05, lw=0)
    panel.axvline(1, color="#c1121f", lw=1)
    panel.set_xscale("log")
    ratios = [cell["ratios"].values() for cell in cells.values()]
    values = [1, *(v for each in ratios for v in each), *(c["target"] for c in cells.values())]
    panel.set_xlim(0.7 * min(values), 1.4 * max(values))
    ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 1000) if t < 1.3 * max(values)]
    panel.set_xticks(ticks, [f"{t:g}" for t in ticks])
    panel.minorticks_off()
    panel.grid(axis="x", color="#eeeeee", zorder=0)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.tick_params(axis="y", length=0)
    panel.set_xlabel("peer's time / nncore's time")


def _name_rows(panel, rows) -> None:
    """What was timed as tick labels; the workload's name left of its first row."""
    panel.set_yticks(range(len(rows)), [CELLS[cell] for _, cell in rows], color="#444444")
    panel.set_ylim(len(rows) - 0.5, -0.5)
    for i, (name, _) in enumerate(rows):
        if i == 0 or rows[i - 1][0] != name:
            panel.annotate(
                name, (0, i), xycoords=("axes fraction", "data"), xytext=(-118, 0),
                textcoords="offset points", ha="right", va="center", weight="bold",
            )  # fmt: skip


def _legend(figure, cells) -> None:
    from matplotlib.lines import Line2D

    seen = [peer for peer in PEERS if any(peer in cell["ratios"] for cell in cells)]
    marks = [Line2D([], [], marker="o", ls="", color=COLORS[p], mec="white", ms=8) for p in seen]
    marks.append(Line2D([], [], marker="|", ls="", color="#222222", ms=10, mew=1.6))
    figure.legend(
        marks,
        [*seen, "to reach, with the best peer"],
        loc="outside lower center",
        ncols=len(marks),
        frameon=False,
    )
