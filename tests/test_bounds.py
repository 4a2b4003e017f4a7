"""What kernels read and write lies within what they were given: see bounds.py."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("bounds.py")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mprotect")
@pytest.mark.parametrize("rows, members", [(1, 8), (7, 3)])
@pytest.mark.parametrize("side", ["before", "after"])
def test_every_layer_between_forbidden_pages(side, rows, members):
    run = subprocess.run(
        [sys.executable, SCRIPT, side, str(members), str(rows)], capture_output=True, text=True
    )
    cases = run.stdout.splitlines()
    assert run.returncode == 0, f"{cases[-1:]}\n{run.stderr}"
    assert len(cases) > 300
