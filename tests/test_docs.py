"""Documentation is run: the README's code, and the examples in docstrings."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import nncore
from nncore._kernels import activation

README = Path(__file__).parent.parent / "README.md"


def modules():
    """All Python modules of the package; compiled ones have no doctests."""
    found = pkgutil.walk_packages(nncore.__path__, "nncore.")
    return ["nncore", *(m.name for m in found if "._kernels" not in m.name)]


def blocks():
    return re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        if (error.name or "").startswith("nncore"):
            raise
        pytest.skip(f"{name} needs {error.name}")
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in finder.find(module, name, extraglobs={"np": np}):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (nncore.Activation.__doc__, activation.names()),
        (nncore.losses.__doc__, nncore.losses._NAMES),
        (nncore.metrics.__doc__, nncore.metrics._NAMES),
        (nncore.optimizers.__doc__, nncore.optimizers._NAMES),
    ],
    ids=["activations", "losses", "metrics", "optimizers"],
)
def test_help_lists_all_names(text, names):
    assert set(names) <= set(re.findall(r"\w+", text))


def test_readme_code_runs(tmp_path, monkeypatch, capsys):
    """All Python blocks, in order, as one program."""
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    code = blocks()
    assert code
    names: dict = {}
    for block in code:
        exec(compile(block, str(README), "exec"), names)
    accuracy = names["model"].evaluate(names["x_test"], names["y_test"])["accuracy"]
    assert accuracy > 0.95
    assert "params" in capsys.readouterr().out.lower()


def test_the_map_of_the_readme_names_files_that_exist():
    root = README.parent
    text = README.read_text("utf-8") + (root / "CONTRIBUTING.md").read_text("utf-8")
    named = set(re.findall(r"`((?:nncore|tests|bench|examples|tools)/[\w./]+)`", text))
    assert named
    missing = [path for path in sorted(named) if not (root / path).exists()]
    assert not missing
