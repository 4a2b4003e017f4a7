"""Fashion-MNIST: how long the workload `cnn` trains until it tells 90 % of the test images right,
in nncore and in PyTorch.

python -m bench.time_to_accuracy [--threads 2] [--accuracy 0.9] [--seed 0]

Both start from the same weights and see the same batches in the same order, so that they need
about as many steps; they take turns, a stretch each, in one process on the same processors. The
test images are looked at after each stretch, and that is not timed. PyTorch runs with images as
NCHW and as channels_last; the faster counts.
"""

from __future__ import annotations

import argparse
import sys
import time

from bench.worker import pin

RATE, STRETCH, MOST_EPOCHS = 1e-3, 100, 10


class Nncore:
    def __init__(self, workload, threads, x):
        import nncore as nn
        from bench.peers import nncore_

        nn.set_num_threads(threads)
        self.model = nncore_.network(workload)
        self.model.compile(nn.Adam(RATE), workload.loss)
        self.x = x

    def train(self, batches, y):
        for rows in batches:
            self.model.train_on_batch(self.x[rows], y[rows])

    def labels(self, x):
        return self.model.predict(x).argmax(1)


class PyTorch:
    def __init__(self, workload, threads, x, layout):
        import torch

        from bench.peers import pytorch_

        torch.set_num_threads(threads)
        self.torch, self.layout = torch, getattr(torch, layout)
        self.model, self.x = pytorch_.model_and_input(workload, x, self.layout)
        self.loss = pytorch_.loss_of(workload)
        self.adam = torch.optim.Adam(self.model.parameters(), RATE, eps=1e-7, fused=True)

    def train(self, batches, y):
        y = self.torch.from_numpy(y)
        for rows in batches:
            self.adam.zero_grad(set_to_none=True)
            self.loss(self.model(self.x[rows]), y[rows]).backward()
            self.adam.step()

    def labels(self, x):
        x = self.torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=self.layout)
        with self.torch.inference_mode():
            return self.torch.cat([self.model(part).argmax(1) for part in x.split(256)]).numpy()


class Race:
    """One contender: the seconds and steps that it took, and how well it does."""

    def __init__(self, contender):
        self.contender, self.seconds, self.steps, self.accuracy = contender, 0.0, 0, 0.0

    def go(self, batches, y, x_test, y_test):
        start = time.perf_counter()
        self.contender.train(batches, y)
        self.seconds += time.perf_counter() - start
        self.steps += len(batches)
        self.accuracy = (self.contender.labels(x_test) == y_test).mean()


def contenders(workload, threads, x):
    found = {"nncore": Race(Nncore(workload, threads, x))}
    try:
        for name, layout in (("NCHW", "contiguous_format"), ("channels_last", "channels_last")):
            found[f"PyTorch, {name}"] = Race(PyTorch(workload, threads, x, layout))
    except ImportError:
        print("PyTorch is not installed")
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--accuracy", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=0, help="of the order of the images")
    options = parser.parse_args()
    pin(options.threads)
    import numpy as np

    from bench.workloads import LISTED
    from nncore.datasets import load_fashion_mnist

    workload = next(workload for workload in LISTED if workload.name == "cnn")
    try:
        (x, y), (x_test, y_test) = load_fashion_mnist()
    except FileNotFoundError as error:
        sys.exit(str(error))
    x, x_test = (v[..., None].astype(np.float32) / 255 for v in (x, x_test))
    y = y.astype(np.int64)

    rng = np.random.default_rng(options.seed)
    size = workload.batch
    orders = [rng.permutation(len(x)) for _ in range(MOST_EPOCHS)]
    batches = [order[i : i + size] for order in orders for i in range(0, len(x), size)]
    races = contenders(workload, options.threads, x)
    for first in range(0, len(batches), STRETCH):
        running = [race for race in races.values() if race.accuracy < options.accuracy]
        for race in running:
            race.go(batches[first : first + STRETCH], y, x_test, y_test)
        if not running:
            break
    for name, race in races.items():
        print(
            f"{name:<24}{race.seconds:6.1f} s {race.steps:6} steps   test accuracy "
            f"{race.accuracy:.2%}"
        )
    if len(races) > 1:
        peer = min(race.seconds for name, race in races.items() if name != "nncore")
        ratio = peer / races["nncore"].seconds
        print(f"PyTorch takes {ratio:.2f} times as long ({options.threads} threads)")


if __name__ == "__main__":
    main()
