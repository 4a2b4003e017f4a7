"""The planner: tensors that never meet share memory; what is needed is never overwritten."""

import numpy as np
import pytest

import nncore as nn
from nncore.arena import Storage, assign_offsets
from nncore.plan import Plan

WIDTH, ROWS = 256, 64


def plan(depth, purpose, activation="relu"):
    layers = [nn.Dense(WIDTH, activation) for _ in range(depth)]
    model = nn.Sequential([nn.Input((WIDTH,)), *layers], seed=0)
    return Plan(model.graph, model._parameters, purpose, ROWS)


def test_inference_needs_as_much_memory_for_ten_layers_as_for_four():
    """Besides the packed weights that it keeps."""

    def needed(depth):
        made = plan(depth, "inference")
        kept = [t.size * t.itemsize for op in made.ops for t in op.kept]
        assert len(kept) == depth
        return made.arena_bytes - sum(kept)

    assert needed(10) == needed(4)


def test_training_keeps_each_activation_and_few_gradients():
    row = ROWS * WIDTH * 4
    more = plan(10, "training").arena_bytes - plan(4, "training").arena_bytes
    assert more == 6 * row


def test_an_activation_in_place_takes_no_memory():
    assert plan(4, "training", "relu").arena_bytes == plan(4, "training", None).arena_bytes
    assert plan(4, "training", "gelu").arena_bytes > plan(4, "training", "relu").arena_bytes


@pytest.mark.parametrize("seed", range(20))
def test_storages_that_live_at_the_same_time_never_overlap(seed):
    rng = np.random.default_rng(seed)
    storages = []
    for _ in range(rng.integers(1, 40)):
        start = int(rng.integers(0, 20))
        storages.append(Storage(int(rng.integers(1, 5000)), start, start + int(rng.integers(0, 8))))
    total = assign_offsets(storages)
    for i, a in enumerate(storages):
        assert a.offset % 64 == 0
        assert a.offset + a.size <= total
        for b in storages[:i]:
            together = a.start <= b.end and b.start <= a.end
            apart = a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
            assert apart or not together
