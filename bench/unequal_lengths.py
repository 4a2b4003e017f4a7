"""Sequences of unequal lengths: nncore's `lengths=` beside PyTorch's packed sequences.

`python -m bench.unequal_lengths`: a recurrent layer and a Dense on its last valid step, trained and
run on sequences of 1 to `steps` steps, in rounds that alternate between the two.
"""

from __future__ import annotations

import argparse

from bench.worker import pin


def cases(cell: str, units: int, features: int, steps: int, batch: int, threads: int):
    """name of the cell -> the two functions to time, which are checked to compute the same."""
    import numpy as np
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence

    import nncore as nn

    torch.set_num_threads(threads)
    nn.set_num_threads(threads)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, steps, features)).astype(np.float32)
    y, lengths = rng.integers(0, 10, batch), rng.integers(1, steps + 1, batch)

    layer = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell](units)
    model = nn.Sequential([nn.Input((steps, features)), layer, nn.Dense(10)], seed=0)
    model.compile(nn.Adam(1e-8), "cross_entropy")

    recurrent = getattr(torch.nn, cell.upper())(features, units, batch_first=True)
    dense = torch.nn.Linear(units, 10)
    parameters = [*recurrent.parameters(), *dense.parameters()]
    for parameter, value in zip(parameters, model.params.values(), strict=True):
        parameter.data = torch.from_numpy(value.copy())
    adam = torch.optim.Adam(parameters, 1e-8, fused=True)
    tx, ty, tl = torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(lengths)

    def network():
        packed = pack_padded_sequence(tx, tl, batch_first=True, enforce_sorted=False)
        last = recurrent(packed)[1]
        return dense((last[0] if isinstance(last, tuple) else last)[0])

    def train():
        adam.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(network(), ty)
        loss.backward()
        adam.step()
        return loss

    def infer():
        with torch.inference_mode():
            return network()

    def train_here():
        return model.train_on_batch(x, y, lengths=lengths)

    np.testing.assert_allclose(model(x, lengths), infer().numpy(), atol=1e-4)
    np.testing.assert_allclose(train_here(), train().item(), rtol=1e-4)
    return {
        "training step": (train_here, train),
        "predict, batch": (lambda: model(x, lengths), infer),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    pin(options.threads)

    from bench.timing import interleaved, ratio

    print(f"{options.threads} thread(s); milliseconds nncore, PyTorch; ratio")
    for cell in ("rnn", "lstm", "gru"):
        for shape in ((128, 64, 50, 32), (100, 10, 37, 7), (64, 12, 29, 64)):
            for name, calls in cases(cell, *shape, options.threads).items():
                both = dict(zip(("nncore", "PyTorch"), calls, strict=True))
                times = interleaved(both, options.rounds, 0.01)
                here, there = (1e3 * sorted(t)[len(t) // 2] for t in times.values())
                quotient = ratio(times["PyTorch"], times["nncore"])
                print(f"{cell:5}{shape!s:20}{name:16}{here:8.2f}{there:8.2f}{quotient:7.2f}")


if __name__ == "__main__":
    main()
