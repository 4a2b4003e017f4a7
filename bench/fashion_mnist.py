"""Fashion-MNIST, 784-256-128-10 with dropout and Adam, 10 epochs: accuracy and time beside PyTorch.

python -m bench.fashion_mnist [--threads 2] [--epochs 10]

The libraries take turns, an epoch each, in one process on the same processors. PyTorch shuffles
tensors in memory, which is several times faster than a DataLoader.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from itertools import pairwise

from bench.worker import pin

WIDTHS, RATE, DROPOUT, BATCH = (784, 256, 128, 10), 1e-3, 0.2, 128


class Nncore:
    def __init__(self, threads, x, y):
        import nncore as nn

        nn.set_num_threads(threads)
        layers = [nn.Input((WIDTHS[0],))]
        for width in WIDTHS[1:-1]:
            layers += [nn.Dense(width, "relu"), nn.Dropout(DROPOUT)]
        self.model = nn.Sequential([*layers, nn.Dense(WIDTHS[-1], "softmax")], seed=0)
        self.model.compile(nn.Adam(RATE), "cross_entropy")
        self.x, self.y = x, y

    def epoch(self):
        self.model.fit(self.x, self.y, batch_size=BATCH, verbose=False)

    def labels(self, x):
        return self.model.predict(x).argmax(1)


class PyTorch:
    def __init__(self, threads, x, y):
        import torch
        from torch import nn

        torch.set_num_threads(threads)
        torch.manual_seed(0)
        layers = []
        for n, width in pairwise(WIDTHS[:-1]):
            layers += [nn.Linear(n, width), nn.ReLU(), nn.Dropout(DROPOUT)]
        self.torch = torch
        self.model = nn.Sequential(*layers, nn.Linear(*WIDTHS[-2:]))
        self.adam = torch.optim.Adam(self.model.parameters(), RATE, fused=True)
        self.loss = nn.CrossEntropyLoss()
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)

    def epoch(self):
        self.model.train()
        for rows in self.torch.randperm(len(self.x)).split(BATCH):
            self.adam.zero_grad(set_to_none=True)
            self.loss(self.model(self.x[rows]), self.y[rows]).backward()
            self.adam.step()

    def labels(self, x):
        self.model.eval()
        with self.torch.inference_mode():
            return self.model(self.torch.from_numpy(x)).argmax(1).numpy()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    pin(options.threads)
    import numpy as np

    from nncore.datasets import load_fashion_mnist

    try:
        (x, y), (x_test, y_test) = load_fashion_mnist()
    except FileNotFoundError as error:
        sys.exit(str(error))
    x, x_test = (v.reshape(-1, WIDTHS[0]).astype(np.float32) / 255 for v in (x, x_test))
    y = y.astype(np.int64)

    contenders = {"nncore": Nncore(options.threads, x, y)}
    try:
        contenders["PyTorch"] = PyTorch(options.threads, x, y)
    except ImportError:
        print("PyTorch is not installed")
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.epochs):
        for name, contender in contenders.items():
            start = time.perf_counter()
            contender.epoch()
            times[name].append(time.perf_counter() - start)
    for name, contender in contenders.items():
        accuracy = (contender.labels(x_test) == y_test).mean()
        print(f"{name:<10}{sum(times[name]):6.1f} s   test accuracy {accuracy:.2%}")
    if len(times) == 2:
        pairs = zip(times["PyTorch"], times["nncore"], strict=True)
        ratio = statistics.median(theirs / mine for theirs, mine in pairs)
        print(f"PyTorch takes {ratio:.2f} times as long ({options.threads} threads)")


if __name__ == "__main__":
    main()
