"""Forecasts the yearly number of sunspots, and draws it beside what came and two plain guesses.

pip install --no-deps statsmodels   # its wheel has the numbers, as text; it is not imported
python examples/sunspots.py

A year's forecast is made from the years before; those from 1920 on are not trained on. The plain
guesses: as many as the year before, and as many as eleven years before, the length of a cycle.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np

import nncore as nn

STEPS = 22  # years that a forecast is made from: two cycles
FIRST_TEST_YEAR = 1920
FOLDER = Path("models")


def read_numbers() -> tuple[np.ndarray, np.ndarray]:
    """Years and their mean numbers of sunspots, from the installed wheel."""
    package = importlib.util.find_spec("statsmodels")
    if package is None or not package.submodule_search_locations:
        sys.exit("the data come with statsmodels' wheel: pip install --no-deps statsmodels")
    folder = Path(package.submodule_search_locations[0])
    path = folder / "datasets" / "sunspots" / "sunspots.csv"
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    return table[:, 0].astype(int), table[:, 1]


def error(forecast: np.ndarray, truth: np.ndarray) -> float:
    """Root of the mean squared error, in sunspots."""
    return float(np.sqrt(np.mean((forecast - truth) ** 2)))


def draw(years, truth, forecast, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4))
    axes.plot(years, truth, "k-", label="came")
    axes.plot(years, forecast, "C1-", label="forecast a year ahead")
    axes.plot(years[1:], truth[:-1], "C0:", label="as the year before")
    axes.set(xlabel="year", ylabel="sunspots", title="Sunspots: a GRU's forecast")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    years, numbers = read_numbers()
    scaled = np.sqrt(numbers / 100)  # their spread grows with their size
    windows = np.lib.stride_tricks.sliding_window_view(scaled, STEPS + 1)
    x, y, ends = windows[:, :STEPS, None], windows[:, STEPS:], years[STEPS:]
    learned = ends < FIRST_TEST_YEAR
    print(f"{learned.sum()} years to learn from, {(~learned).sum()} to forecast")

    networks = []  # the mean of a few networks is steadier than one
    for seed in range(5):
        model = nn.Sequential([nn.Input((STEPS, 1)), nn.GRU(16), nn.Dense(1)], seed=seed)
        model.compile(nn.Adam(3e-3, weight_decay=1e-4, clipnorm=1.0), "mse")
        model.fit(x[learned], y[learned], batch_size=16, epochs=150, verbose=False)
        networks.append(model)
    mean = np.mean([model.predict(x[~learned])[:, 0] for model in networks], 0)
    forecast = 100 * np.maximum(mean, 0) ** 2

    test = np.flatnonzero(years >= FIRST_TEST_YEAR)
    truth = numbers[test]
    print(f"error of the forecast         {error(forecast, truth):5.1f} sunspots")
    print(f"as the year before            {error(numbers[test - 1], truth):5.1f}")
    print(f"as eleven years before        {error(numbers[test - 11], truth):5.1f}")
    FOLDER.mkdir(exist_ok=True)
    draw(years[test], truth, forecast, FOLDER / "sunspots.png")
    print(f"the picture is {FOLDER / 'sunspots.png'}")


if __name__ == "__main__":
    main()
