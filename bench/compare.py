"""nncore beside the libraries that are installed: `python -m bench.compare`, or `make bench`.

Every library does each cell in the same process, on the same threads, in rounds that alternate
between them. A ratio is the median over rounds of (best peer / nncore) within the round; the best
peer is the one with the smallest median. Writes JSON and a picture to bench/results/.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench import report
from bench.timing import ratio

FOLDER = Path(__file__).parent / "results"


def judge(cell: dict) -> dict:
    """Adds to a cell the ratio to each peer, the best peer, and whether the target is met."""
    rounds = cell.pop("rounds")
    mine = rounds.pop("nncore")
    cell["ratios"] = {name: ratio(times, mine) for name, times in rounds.items()}
    peers = {name: cell["microseconds"][name] for name in rounds}
    cell["best"] = min(peers, key=peers.__getitem__) if peers else None
    cell["ratio"] = cell["ratios"][cell["best"]] if peers else None
    cell["met"] = None if cell["ratio"] is None else cell["ratio"] >= cell["target"]
    return cell


def run(threads: int, options: argparse.Namespace) -> Iterator[dict]:
    """The lines of a worker, as they come."""
    command = [sys.executable, "-m", "bench.worker", f"--threads={threads}"]
    command += [f"--rounds={options.rounds}", f"--seconds={options.seconds}"]
    command += ["--unlisted"] if options.unlisted else []
    command += ["--only", *options.only] if options.only else []
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as worker:
        assert worker.stdout is not None
        for line in worker.stdout:
            if line.startswith("{"):
                yield json.loads(line)
    if worker.returncode:
        sys.exit(f"the worker for {threads} threads ended with {worker.returncode}")


def machine() -> dict[str, str]:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    from nncore._kernels import simd

    return {
        "processor": model,
        "processors": str(os.cpu_count()),
        "instruction set": simd.current(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few, short rounds")
    parser.add_argument("--unlisted", action="store_true", help="other shapes than the listed ones")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORKLOAD")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, help="15, or 5 with --quick")
    parser.add_argument("--seconds", type=float, help="for one timing: 0.01, or 0.003 with --quick")
    parser.add_argument("--no-files", action="store_true", help="only print")
    options = parser.parse_args()
    options.rounds = options.rounds or (5 if options.quick else 15)
    options.seconds = options.seconds or (0.003 if options.quick else 0.01)
    return options


def main() -> None:
    options = arguments()
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    result: dict = {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": machine(),
        "rounds": options.rounds,
        "cells": [],
    }
    table = report.Table()
    for threads in options.threads:
        if threads > (allowed or 1):
            print(f"{threads} threads: left out, this process may use {allowed} processors")
            continue
        lines = run(threads, options)
        result.update(next(lines))
        table.head(threads, result["versions"], result["missing"])
        for line in lines:
            cell = judge(line)
            result["cells"].append(cell)
            table.row(cell)
    table.foot(result["cells"])
    if not options.no_files:
        FOLDER.mkdir(exist_ok=True)
        kind = "unlisted" if options.unlisted else "listed"
        kind += "-quick" if options.quick else ""
        kind += "-part" if options.only or options.threads != [1, 2] else ""
        stem = FOLDER / f"{result['date'][:10]}-{kind}"
        stem.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        print(f"\nwritten: {stem.with_suffix('.json')}", end="")
        picture = report.draw(result, stem.with_suffix(".png"))
        print(f" and {picture.name}" if picture else "; no picture without matplotlib")


if __name__ == "__main__":
    main()
