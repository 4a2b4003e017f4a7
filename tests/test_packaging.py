"""What a package must bring along: types, and the interface for other people's C and Cython."""

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest

import nncore as nn
from support import layer_of

PACKAGE = Path(nn.__file__).parent


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


def test_another_package_can_add_an_op(outsider):
    double = layer_of(outsider.Twice)
    model = nn.Sequential([nn.Input((3,)), double, nn.Dense(1, use_bias=False)], seed=0)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    weight = model.params["1.weight"]
    np.testing.assert_allclose(model(x), 2 * x @ weight.T, atol=1e-6)
    model.forward(x)
    dx = model.backward(np.ones((5, 1)))
    np.testing.assert_allclose(dx, np.repeat(2 * weight, 5, 0), atol=1e-6)
