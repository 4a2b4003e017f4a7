"""One module for each library: how it would do a workload's cell at its best.

A peer has ``name``, ``version``, ``cells`` and ``prepare(workload, cell, x, y, threads)``, which
returns a Runner, or raises Unsupported for a layer that it does not know. One that cannot be
imported is left out.
"""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from bench.workloads import Flatten, Workload, chain_inputs

LEARNING_RATE = 1e-8  # so small that thousands of steps leave the network, and the work, as it was


class Unsupported(Exception):
    """This library cannot do this cell."""


@dataclass
class Runner:
    """``call`` does the work once; ``read`` makes a numpy array of what it returned."""

    call: Callable[[], Any]
    read: Callable[[Any], Any]


def load() -> tuple[list[ModuleType], list[str]]:
    """The peers that are installed, nncore first, and the names of those that are not."""
    present, missing = [], []
    for name in ("nncore", "pytorch", "jax", "onnxruntime", "sklearn"):
        spec = importlib.util.find_spec(f"bench.peers.{name}_")
        assert spec is not None
        try:
            present.append(importlib.import_module(spec.name))
        except ImportError as error:
            if name == "nncore":
                raise
            missing.append(f"{name}: {error}")
    return present, missing


def faster(*runners: Runner, repeats: int = 7) -> Runner:
    """The one of several ways that takes the least time here."""
    from bench.timing import calls_per_timing, time_calls

    if len(runners) == 1:
        return runners[0]
    times: list[list[float]] = [[] for _ in runners]
    counts = [calls_per_timing(runner.call, 2e-3) for runner in runners]
    for _ in range(repeats):
        for runner, count, found in zip(runners, counts, times, strict=True):
            found.append(time_calls(runner.call, count))
    medians = [statistics.median(found) for found in times]
    return runners[medians.index(min(medians))]


def channels_first(workload: Workload) -> list[tuple]:
    """The workload's weights for a library whose Flatten gives channel after channel: the columns
    of the Dense behind it in that order."""
    values = workload.weights()
    shapes = chain_inputs(workload.layers, workload.input)
    for i, (layer, shape) in enumerate(zip(workload.layers, shapes, strict=True)):
        if isinstance(layer, Flatten):
            weight, *bias = values[i + 1]
            columns = np.moveaxis(weight.reshape(-1, *shape), -1, 1)
            values[i + 1] = (columns.reshape(weight.shape), *bias)
    return values
