"""One second that shows whether an installed nncore works: `python tests/smoke.py`."""

import tempfile
from pathlib import Path

import numpy as np

import nncore as nn


def main() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(512, 4))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    model = nn.Sequential([nn.Input((4,)), nn.Dense(32, "tanh"), nn.Dense(2, "softmax")], seed=0)
    model.compile(nn.Adam(1e-2), "cross_entropy", metrics=["accuracy"])
    model.fit(x, y, epochs=40, verbose=False)
    accuracy = model.evaluate(x, y)["accuracy"]
    assert accuracy > 0.95, accuracy
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, "model.safetensors"))
        again = nn.load(Path(folder, "model.safetensors"))
        assert np.array_equal(again(x), model(x))
    nn.show_config()
    print(f"nncore works: it learned the sign of a product to {accuracy:.0%}")


if __name__ == "__main__":
    main()
