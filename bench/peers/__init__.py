"""One module for each library: how it would do a workload's cell at its best.

A peer has ``name``, ``version``, ``cells`` and ``prepare(workload, cell, x, y, threads)``, which
returns a Runner, or raises Unsupported for a layer that it does not know. One that cannot be
imported is left out.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

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


def faster(first: Runner, second: Runner, repeats: int = 7) -> Runner:
    """The one of two ways that takes less time here."""
    from bench.timing import calls_per_timing, time_calls

    times: dict[int, list[float]] = {0: [], 1: []}
    counts = [calls_per_timing(runner.call, 2e-3) for runner in (first, second)]
    for _ in range(repeats):
        for i, runner in enumerate((first, second)):
            times[i].append(time_calls(runner.call, counts[i]))
    return first if sorted(times[0])[repeats // 2] <= sorted(times[1])[repeats // 2] else second
