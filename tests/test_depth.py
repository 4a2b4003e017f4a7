"""What residual connections are for: a network of 110 layers trains with them, not without."""

import numpy as np
import pytest

import nncore as nn

LAYERS = 110


def losses(residual: bool) -> list[float]:
    """Epoch by epoch, of a deep, narrow network on the handwritten digits."""
    (x, y), _ = nn.datasets.load_digits()
    x, y = x[:512], y[:512]
    inner = [[nn.LayerNormalization(), nn.Dense(16, "relu")] for _ in range(LAYERS - 2)]
    if residual:
        body = [nn.Residual(pair) for pair in inner]
    else:
        body = [layer for pair in inner for layer in pair]
    last = [nn.LayerNormalization(), nn.Dense(10, "softmax")]
    model = nn.Sequential([nn.Input((64,)), nn.Dense(16, "relu"), *body, *last], seed=0)
    model.compile(nn.Adam(2e-3), "cross_entropy")
    before = {name: view.copy() for name, view in model.params.items()}
    found = model.fit(x, y, batch_size=64, epochs=10, verbose=False).history["loss"]
    if residual:  # all of the depth takes part, not only the way around it
        still = [name for name, view in model.params.items() if (view == before[name]).all()]
        assert len(before) > 4 * (LAYERS - 2) and not still
    return found


@pytest.mark.parametrize("residual", [True, False])
def test_depth(residual):
    found = losses(residual)
    assert np.isfinite(found).all()
    if residual:
        assert found[-1] < 0.5 * np.log(10)
    else:
        assert found[-1] > 0.9 * np.log(10)  # as good as guessing
