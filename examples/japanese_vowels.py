"""Who is speaking? Nine men say "ae": 12 coefficients in each of 7 to 29 frames.

pip install --no-deps aeon   # its wheel has the data, as text; the package is not imported
python examples/japanese_vowels.py

Data: Kudo, Toyama and Shimbo 1999, UCI "Japanese Vowels".
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np

import nncore as nn


def data_folder() -> Path:
    """Where the text files are: in the installed wheel."""
    package = importlib.util.find_spec("aeon")
    if package is None or not package.submodule_search_locations:
        sys.exit("the data come with aeon's wheel: pip install --no-deps aeon")
    return Path(package.submodule_search_locations[0], "datasets", "data", "JapaneseVowels")


def read_ts(path: Path, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (rows, steps, channels) padded with zeros, lengths and labels of a .ts file: one sequence
    to a line, its channels and then its class separated by colons."""
    lines = path.read_text(encoding="utf-8").split("@data")[1].split()
    rows = [line.split(":") for line in lines]
    x = np.zeros((len(rows), steps, len(rows[0]) - 1), np.float32)
    lengths = np.zeros(len(rows), int)
    for i, (*channels, _) in enumerate(rows):
        values = np.array([channel.split(",") for channel in channels], np.float32).T
        lengths[i] = len(values)
        x[i, : len(values)] = values
    return x, lengths, np.array([int(row[-1]) - 1 for row in rows])


def main(epochs: int = 60) -> None:
    folder = data_folder()
    x, lengths, y = read_ts(folder / "JapaneseVowels_TRAIN.ts", 29)
    x_test, lengths_test, y_test = read_ts(folder / "JapaneseVowels_TEST.ts", 29)
    print(f"{len(x)} sequences to learn from, {len(x_test)} to test on, "
          f"{lengths.min()} to {lengths.max()} frames of {x.shape[2]} coefficients")  # fmt: skip

    model = nn.Sequential(
        [
            nn.Input(x.shape[1:]),
            nn.Bidirectional(nn.GRU(48, return_sequences=True, dropout=0.2)),
            nn.Dropout(0.4),
            nn.Bidirectional(nn.GRU(48)),
            nn.Dropout(0.4),
            nn.Dense(9, "softmax"),
        ],
        seed=0,
    )
    model.summary()
    model.compile(nn.Adam(3e-3, clipnorm=1.0), "cross_entropy", metrics=["accuracy"])
    history = model.fit(x, y, batch_size=30, epochs=epochs, lengths=lengths)
    scores = model.evaluate(x_test, y_test, lengths=lengths_test)
    seconds = sum(history.history["seconds"])
    print(f"test accuracy {scores['accuracy']:.2%} after {seconds:.1f} s of training")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
