"""Fixtures for all tests."""

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from nncore._kernels import threads
from nncore.machine import processors
from nncore.plan import Plan


@pytest.fixture
def team():
    """team(n): from now on every plan that is built runs on exactly n members, however small it
    is and whatever the machine; undone after the test. team(n, come=k): n are asked for, k come,
    as when the others have no processor."""
    before = threads.threads()

    def configure(members: int, come: int | None = None) -> None:
        threads.configure(members, members, True, come or members)

    yield configure
    threads.configure(before, processors(), False)


@pytest.fixture
def plain(monkeypatch):
    """plain(model, x): the output of a plan in which each op stands for itself."""

    def infer(model, x):
        with monkeypatch.context() as patch:
            patch.setattr("nncore.plan.fuse", lambda *_: None)
            plan = Plan(model.graph, model._parameters, "inference", len(x))
        return plan.infer(x)

    return infer


@pytest.fixture(scope="session")
def outsider(tmp_path_factory):
    """The module tests/outsider/outsider.pyx, compiled as another package would do it."""
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("no Python headers")
    folder = tmp_path_factory.mktemp("outsider")
    shutil.copytree(Path(__file__).parent / "outsider", folder, dirs_exist_ok=True)
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    built = subprocess.run(build, cwd=folder, capture_output=True, text=True)
    if "error: command" in built.stderr and "No such file" in built.stderr:
        pytest.skip("no C compiler")
    assert built.returncode == 0, built.stderr
    (file,) = folder.glob("outsider*" + sysconfig.get_config_var("EXT_SUFFIX"))
    spec = importlib.util.spec_from_file_location("outsider", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
