"""Nothing is exported that tests/cases.py does not list."""

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest

import nncore as nn
from cases import ACTIVATIONS, LAYERS, LOSSES, OPTIMIZERS
from nncore import layers, losses, optimizers
from nncore._kernels import activation


def missing(what: str, wanted: set, listed: set) -> str:
    names = sorted(getattr(one, "__name__", str(one)) for one in wanted - listed)
    return f"{what} without an entry in tests/cases.py: {', '.join(names)}" if names else ""


def public(module, base: type) -> set[type]:
    """The classes derived from `base` that a module shows."""
    found = {getattr(module, name) for name in dir(module) if not name.startswith("_")}
    return {one for one in found if inspect.isclass(one) and issubclass(one, base)} - {base}


def test_every_layer_is_listed():
    exported = public(nn, nn.Layer) | public(layers, nn.Layer)
    assert len(exported) >= 9
    assert not missing("layers", exported, {type(case.layer) for case in LAYERS})


def for_type_checkers(module) -> set[str]:
    """What a module imports where TYPE_CHECKING is true. (With its __getattr__, tools that check
    types take any name.)"""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    ifs = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
    imports = [one for node in ifs for one in ast.walk(node) if isinstance(one, ast.ImportFrom)]
    return {alias.name for one in imports for alias in one.names}


def test_every_layer_is_found_where_it_is_looked_for():
    """nncore and nncore.layers import a family only when one of its layers is asked for."""
    files = {path.stem for path in Path(layers.__file__).parent.glob("[!_]*.py")} - {"windows"}
    assert set(layers._FAMILIES) == files
    defined = {
        name
        for family in files
        for name, one in vars(import_module(f"nncore.layers.{family}")).items()
        if inspect.isclass(one) and issubclass(one, (nn.Layer, nn.layers.Symbol))
        if one.__module__ == f"nncore.layers.{family}" and not name.startswith("_")
    } - {"Part", "Recurrence"}
    assert defined == set(layers._FAMILY) == set(layers.__all__)
    assert defined == for_type_checkers(layers)
    assert defined - {"Symbol"} <= set(nn.__all__) & for_type_checkers(nn)
    for module in nn, layers:
        with pytest.raises(AttributeError, match="Convolution2D"):
            module.Convolution2D  # noqa: B018


def test_a_layer_written_in_python_is_listed():
    assert any("build" not in vars(type(case.layer)) for case in LAYERS)


def test_every_activation_is_listed():
    assert not missing("activations", set(activation.names()), set(ACTIVATIONS))
    used = {case.layer.activation for case in LAYERS if isinstance(case.layer, nn.Activation)}
    assert not missing("activations", set(activation.names()), used)


def test_every_loss_is_listed():
    exported = public(losses, losses.Loss) | set(losses._NAMES.values())
    assert len(exported) >= 5
    assert not missing("losses", exported, {type(case.loss) for case in LOSSES})


def test_every_optimizer_is_listed():
    exported = public(nn, optimizers.Optimizer) | set(optimizers._NAMES.values())
    assert len(exported) >= 6
    assert not missing("optimizers", exported, {type(case.optimizer) for case in OPTIMIZERS})


def test_every_listed_layer_has_shapes_and_is_compared_with_pytorch():
    assert all(case.shapes for case in LAYERS)
    compared = {type(case.layer) for case in LAYERS if case.torch}
    alone = {type(case.layer) for case in LAYERS} - compared
    assert alone == {nn.BatchNormalization}, "a layer never compared with PyTorch needs a reason"
