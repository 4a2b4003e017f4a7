"""What `import nncore` costs beside `import numpy`, in fresh processes that take turns.

python -m bench.import_time [rounds]
"""

import statistics
import subprocess
import sys
import tempfile
import time

PROGRAMS = {
    "python itself": "pass",
    "import numpy": "import numpy",
    "import nncore": "import nncore",
}
ALLOWED = 0.060  # seconds above numpy


def seconds(program: str, folder: str) -> float:
    """From elsewhere, so that it is the installed nncore where one is installed."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
    return time.perf_counter() - start


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds + 1):
            for name, program in PROGRAMS.items():
                taken = seconds(program, folder)
                if turn:  # the first round fills the caches of files
                    times[name].append(taken)
    for name, found in times.items():
        print(f"{name:<16}{1e3 * statistics.median(found):7.1f} ms  (best {1e3 * min(found):.1f})")
    pairs = zip(times["import nncore"], times["import numpy"], strict=True)
    extra = statistics.median(mine - numpy for mine, numpy in pairs)
    verdict = "within" if extra <= ALLOWED else "MISSED:"
    print(f"nncore costs {1e3 * extra:.1f} ms more than numpy; {verdict} {1e3 * ALLOWED:.0f} ms")


if __name__ == "__main__":
    main()
