"""What a training step costs for sequences of 16 to 4096 steps: `python -m bench.sequence_length`.

Time and memory are to grow as the steps do: the two last columns stay what they are.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np

import nncore as nn
from bench.timing import calls_per_timing, time_calls


def training_step(cell: str, steps: int, units: int, features: int, batch: int):
    layer = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell]
    model = nn.Sequential([nn.Input((steps, features)), layer(units), nn.Dense(10)], seed=0)
    model.compile(nn.Adam(1e-8), "cross_entropy")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, steps, features)).astype(np.float32)
    y = rng.integers(0, 10, batch)
    return model, lambda: model.train_on_batch(x, y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cell", choices=("rnn", "lstm", "gru"), default="lstm")
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    nn.set_num_threads(options.threads)
    print(f"{options.cell}, {options.units} units, batch {options.batch}")
    print("steps   milliseconds   us per step   KiB per step")
    for steps in (16, 64, 256, 1024, 4096):
        model, call = training_step(
            options.cell, steps, options.units, options.features, options.batch
        )
        count = calls_per_timing(call, 0.05)
        seconds = statistics.median(time_calls(call, count) for _ in range(5))
        kib = model.trainer.arena_bytes / 1024
        print(f"{steps:5d} {1e3 * seconds:14.1f} {1e6 * seconds / steps:13.1f} {kib / steps:14.1f}")


if __name__ == "__main__":
    main()
