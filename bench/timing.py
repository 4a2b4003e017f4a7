"""Timing of calls that take from a fraction of a microsecond to a second."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import repeat
from typing import Any


def time_calls(call: Callable[[], Any], count: int) -> float:
    """Seconds for one call, the mean of so many in a row."""
    start = time.perf_counter()
    for _ in repeat(None, count):
        call()
    return (time.perf_counter() - start) / count


def calls_per_timing(call: Callable[[], Any], seconds: float) -> int:
    """How many calls take about so long, at least one; warms up too."""
    count = 1
    call()
    while True:
        taken = time_calls(call, count) * count
        if taken >= seconds / 4:
            return max(1, round(count * seconds / taken))
        count *= 4


def settle(quiet: float = 0.005, most: float = 1.0) -> None:
    """Waits until this process's threads sleep. OpenMP's spin for ten milliseconds after their
    work, ONNX Runtime's for more than twenty, OpenBLAS's for a hundred: on the processors that the
    next library needs."""
    end = time.perf_counter() + most
    while time.perf_counter() < end:
        used = time.process_time()
        time.sleep(quiet)
        if time.process_time() - used < quiet / 10:
            return


def interleaved(
    calls: dict[str, Callable[[], Any]], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Times all calls once in each round, in an order that turns; seconds for one call.

    Before each, the threads of the library before fall asleep, and a few calls that are not timed
    wake those of the next.
    """
    counts = {name: calls_per_timing(call, seconds) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            settle()
            time_calls(calls[name], max(1, counts[name] // 4))
            times[name].append(time_calls(calls[name], counts[name]))
    return times


def ratio(times: list[float], reference: list[float]) -> float:
    """The median over rounds of times / reference of the same round."""
    return statistics.median(a / b for a, b in zip(times, reference, strict=True))
