"""What a package must bring along: types, and the interface for other people's C and Cython."""

import importlib.metadata
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import nncore as nn

PACKAGE = Path(nn.__file__).parent

# A module of somebody else's that adds an op of its own: y = 2 x.
OUTSIDER = """
from nncore._kernels.op cimport Op, Run, Tensor, adds, share

cdef class Twice(Op):
    cdef Tensor x, y

    def __init__(self, Tensor x, Tensor y):
        self.connect((x,), (y,))
        self.x, self.y = x, y
        self.backward_reads_x = False

    cdef void forward(self, Run *run) noexcept nogil:
        cdef Py_ssize_t begin, end, i
        share(run.rows, 1, run, &begin, &end)
        for i in range(begin * self.x.size, end * self.x.size):
            (<float *> self.y.data)[i] = 2 * (<float *> self.x.data)[i]

    cdef void backward(self, Run *run) noexcept nogil:
        cdef Py_ssize_t begin, end, i
        cdef float old
        if self.x.grad == NULL:
            return
        share(run.rows, 1, run, &begin, &end)
        for i in range(begin * self.x.size, end * self.x.size):
            old = (<float *> self.x.grad)[i] if adds(self, 0) else 0
            (<float *> self.x.grad)[i] = old + 2 * (<float *> self.y.grad)[i]
"""
BUILD = """
import sys
import nncore
from Cython.Build import cythonize
from setuptools import Extension, setup

module = Extension("outsider", ["outsider.pyx"], include_dirs=[nncore.get_include()])
setup(ext_modules=cythonize([module], language_level=3, include_path=[nncore.get_include()]))
"""
USE = """
import numpy as np
import nncore as nn
from outsider import Twice

class Double(nn.Layer):
    def build(self, plan, x):
        y = plan.tensor(x.shape)
        plan.add(Twice(x, y))
        return y

model = nn.Sequential([nn.Input((3,)), Double(), nn.Dense(1, use_bias=False)], seed=0)
x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
weight = model.params["1.weight"]
assert np.allclose(model(x), 2 * x @ weight.T, atol=1e-6)
model.forward(x)
dx = model.backward(np.ones((5, 1)))
assert np.allclose(dx, np.repeat(2 * weight, 5, 0), atol=1e-6)
print("as it should be")
"""


def test_the_package_brings_types_and_headers():
    for name in ("py.typed", "_kernels/op.pxd", "_kernels/op.pyi", "_kernels/team.h"):
        assert (PACKAGE / name).is_file(), name
    assert (PACKAGE / "_kernels/simd/simd.h").is_file()
    assert Path(nn.get_include(), "nncore/_kernels/op.pxd").is_file()


def test_the_versions_agree():
    try:
        installed = importlib.metadata.version("nncore")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("runs from a checkout that is not installed")
    assert installed == nn.__version__


def test_another_package_can_add_an_op(tmp_path):
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("no Python headers")
    (tmp_path / "outsider.pyx").write_text(OUTSIDER)
    (tmp_path / "setup.py").write_text(BUILD)
    (tmp_path / "use.py").write_text(USE)
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    built = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    if "error: command" in built.stderr and "No such file" in built.stderr:
        pytest.skip("no C compiler")
    assert built.returncode == 0, built.stderr
    used = subprocess.run([sys.executable, "use.py"], cwd=tmp_path, capture_output=True, text=True)
    assert used.stdout == "as it should be\n", used.stderr
