"""Peak memory of a training step of ResNet-20 at batch 128, nncore and PyTorch, in fresh processes.

python -m bench.memory [--batch 128] [--threads 2] [--workload resnet20]

Counted is what comes on top of the imported library, the network, and the batch: activations,
gradients, the optimizer's state, scratch. The peak is the process's (ru_maxrss) after three steps.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import subprocess
import sys
from pathlib import Path

from bench.worker import pin

CONTENDERS = ("nncore", "PyTorch NCHW", "PyTorch channels_last")
STEPS = 3
MIB = 2**20


def peak() -> int:
    """Bytes resident at most, until now; macOS counts bytes, Linux KiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def resident() -> int:
    """Bytes resident now, where the system tells; imports need more for a moment."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return peak()
    return int(status.read_text().split()[1]) * resource.getpagesize()


def stepper(contender, workload, threads):
    """A training step that has not been run yet."""
    x, y = workload.data("train")
    if contender == "nncore":
        from bench.peers import nncore_

        return nncore_.prepare(workload, "train", x, y, threads).call
    import torch

    from bench.peers import pytorch_

    torch.set_num_threads(threads)
    last = contender.endswith("channels_last")
    layout = torch.channels_last if last else torch.contiguous_format
    model, x = pytorch_.model_and_input(workload, x, layout)
    loss = pytorch_.loss_of(workload)
    return pytorch_.training(model, loss, x, torch.from_numpy(y), fused=True).call


def measure(options: argparse.Namespace) -> None:
    """In the process that is measured: prints bytes before, and at the peak."""
    pin(options.threads)
    from bench import workloads

    (workload,) = [w for w in workloads.LISTED + workloads.UNLISTED if w.name == options.workload]
    workload = dataclasses.replace(workload, batch=options.batch)
    step = stepper(options.contender, workload, options.threads)
    before = resident()
    for _ in range(STEPS):
        step()
    print(before, peak())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workload", default="resnet20")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        measure(options)
        return
    print(f"a training step of {options.workload} b{options.batch}, {options.threads} threads; MiB")
    print(f"{'':<24}{'before':>8}{'peak':>8}{'step':>8}")
    command = [sys.executable, "-m", "bench.memory", f"--batch={options.batch}"]
    command += [f"--threads={options.threads}", f"--workload={options.workload}"]
    steps: dict[str, int] = {}
    for contender in CONTENDERS:
        run = subprocess.run(
            [*command, f"--contender={contender}"], cwd=Path(__file__).parent.parent,
            capture_output=True, text=True,
        )  # fmt: skip
        if run.returncode:
            print(f"{contender:<24}{(run.stderr.splitlines() or ['failed'])[-1]}")
            continue
        before, most = map(int, run.stdout.split())
        steps[contender] = most - before
        print(f"{contender:<24}{before / MIB:8.0f}{most / MIB:8.0f}{steps[contender] / MIB:8.0f}")
    peers = [taken for contender, taken in steps.items() if contender != "nncore"]
    if peers and "nncore" in steps:
        print(f"PyTorch, the smaller, takes {min(peers) / steps['nncore']:.2f} times as much")


if __name__ == "__main__":
    main()
