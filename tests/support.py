"""What several test files do with the lists of cases.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nncore as nn
from case_kinds import LayerCase
from cases import LOSSES


def with_shapes(cases: list[LayerCase]) -> list[Any]:
    """(case, shape) for each shape of each layer, and a readable id: parametrize arguments."""
    pairs = [(case, shape) for case in cases for shape in case.shapes]
    return [pytest.param(*pair, id=f"{pair[0].layer.describe()}-{pair[1]}") for pair in pairs]


def loss_variants() -> list[Any]:
    """(case, output shape, closing activation, weight shape or None) for each loss."""
    found = []
    for case in LOSSES:
        for output in case.outputs:
            weights = [None, (), output[:-1]] if len(output) > 1 else [None, ()]
            for closing in case.closing:
                for weight in weights:
                    label = f"{case.loss!r}-{case.target.__name__}-{output}-{closing}-{weight}"
                    found.append(pytest.param(case, output, closing, weight, id=label))
    return found


def randomize(model: nn.Model, seed: int = 1) -> nn.Model:
    """Draws all parameters anew, biases too, so that no zero hides a mistake."""
    rng = np.random.default_rng(seed)
    for value in model.params.values():
        value[...] = rng.normal(size=value.shape) / np.sqrt(value.shape[-1])
    return model


def one_or_list(values: list) -> Any:
    """The only value, or all of them: as nncore takes and returns one or several arrays."""
    return values[0] if len(values) == 1 else values


def layer_of(op: type) -> nn.Layer:
    """A layer made of one op, which keeps the shape: the fixture `outsider` has two."""

    class Wrapped(nn.Layer):
        def build(self, plan, x):
            y = plan.tensor(x.shape)
            plan.add(op(x, y))
            return y

    return Wrapped()
