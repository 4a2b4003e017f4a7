"""Times workloads in a process of its own, pinned to as many processors as threads are asked for.

Prints one JSON object a line: first versions and missing peers, then one for each cell.
`bench.compare` runs it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import warnings


def pin(threads: int) -> None:
    """Before the libraries are imported: they size their pools by what they may use."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[:threads])
    for library in ("OMP", "MKL", "OPENBLAS", "NNCORE"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    for guess in ("CORETYPE", "L2_SIZE"):  # a machine's settings would keep a peer's BLAS from
        os.environ.pop(f"OPENBLAS_{guess}", None)  # finding its best kernels and blocks itself
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    os.environ["JAX_PLATFORMS"] = "cpu"


def measure(workload, cell, peers, threads, rounds, seconds) -> dict:
    """Microseconds of each peer in each round, and whether all computed the same."""
    import numpy as np

    from bench.peers import Unsupported
    from bench.timing import interleaved

    x, y = workload.data(cell)
    runners, notes, values = {}, {}, {}
    for peer in peers:
        if cell not in peer.cells:
            continue
        try:
            runners[peer.name] = peer.prepare(workload, cell, x, y, threads)
        except Unsupported:
            notes[peer.name] = "unsupported"
            continue
        values[peer.name] = runners[peer.name].read(runners[peer.name].call())
    mine = values["nncore"]
    for name, value in values.items():
        # Steps have been taken while peers were made ready: a loss has moved a little.
        if not np.allclose(np.squeeze(value), np.squeeze(mine), rtol=2e-3, atol=2e-3):
            notes[name] = f"differs: {np.ravel(value)[:3]} for {np.ravel(mine)[:3]}"
    calls = {name: runner.call for name, runner in runners.items()}
    times = interleaved(calls, rounds, seconds)
    return {
        "workload": workload.name,
        "cell": cell,
        "threads": threads,
        "target": workload.targets[cell],
        "rounds": {name: [1e6 * t for t in found] for name, found in times.items()},
        "microseconds": {name: 1e6 * statistics.median(found) for name, found in times.items()},
        "notes": notes,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--unlisted", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    pin(options.threads)
    warnings.simplefilter("ignore")

    from bench import peers, workloads

    present, missing = peers.load()
    head = {"versions": {peer.name: peer.version for peer in present}, "missing": missing}
    print(json.dumps(head), flush=True)
    for workload in workloads.UNLISTED if options.unlisted else workloads.LISTED:
        if options.only and workload.name not in options.only:
            continue
        for cell in workload.targets:
            result = measure(
                workload, cell, present, options.threads, options.rounds, options.seconds
            )
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    sys.exit(main())
