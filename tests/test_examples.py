"""The examples run, and say how long they took and how well they learned. Here on few images, so
that it takes seconds; `.ci/run` runs them on all."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

import nncore as nn

EXAMPLES = Path(__file__).parent.parent / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason="without the examples")


def example(name):
    """The module of an example, loaded but not run."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def said(text):
    """(accuracy, seconds) of the last line."""
    last = text.strip().splitlines()[-1]
    found = re.fullmatch(r"test accuracy (\d+\.\d\d)% after (\d+\.\d) s of training", last)
    assert found, last
    return float(found[1]), float(found[2])


def bright_parts(rows, seed):
    """Noise with one bright patch of ten, 28 x 28 bytes; which is the label."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 90, (rows, 28, 28), np.uint8), rng.integers(0, 10, rows)
    for image, label in zip(x, y, strict=True):
        top, left = 14 * (label // 5) + 2, 5 * (label % 5) + 2
        image[top : top + 9, left : left + 4] += 120
    return x, y


@pytest.fixture
def few_images(monkeypatch):
    parts = bright_parts(1024, 0), bright_parts(256, 1)
    monkeypatch.setattr(nn.datasets, "load_fashion_mnist", lambda: parts)


def missing():
    raise FileNotFoundError("Fashion-MNIST is not here: sudo apt install dataset-fashion-mnist")


def test_the_convolutional_network(few_images, capsys):
    example("fashion_mnist_cnn").main(2)
    accuracy, seconds = said(capsys.readouterr().out)
    assert accuracy > 90 and seconds > 0


def test_the_residual_network(monkeypatch, few_images, capsys):
    """On images of clothes, or else on digits."""
    module = example("resnet")
    module.main(8, 1, batch=64)
    accuracy, seconds = said(capsys.readouterr().out)
    assert accuracy > 5 and seconds > 0  # the images are shifted: one epoch is little
    pytest.importorskip("sklearn")
    monkeypatch.setattr(nn.datasets, "load_fashion_mnist", missing)
    module.main(8, 4, batch=32)
    text = capsys.readouterr().out
    assert text.startswith("ResNet-8: 77,754 parameters, 1")
    assert said(text)[0] > 70


def test_without_the_images_the_convolutional_network_says_what_to_install(monkeypatch):
    monkeypatch.setattr(nn.datasets, "load_fashion_mnist", missing)
    with pytest.raises(SystemExit, match="apt install dataset-fashion-mnist"):
        example("fashion_mnist_cnn").main()


def test_a_residual_network_of_another_depth():
    model = example("resnet").resnet(20, (32, 32, 3), 10)
    convolutions = [name for name in model.params if model.params[name].ndim == 4]
    assert len(convolutions) == 19 + 2  # and two projections


# ---- recurrent networks --------------------------------------------------------------------------


def needs_wheel(name):
    """An example's data come with the wheel of a package, which is not imported."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"needs the data in the wheel of {name}: pip install --no-deps {name}")


def test_japanese_vowels(capsys):
    needs_wheel("aeon")
    example("japanese_vowels").main()
    accuracy, seconds = said(capsys.readouterr().out)
    assert accuracy >= 95 and seconds > 0


@pytest.mark.parametrize("name, package", [("japanese_vowels", "aeon"),
                                           ("sunspots", "statsmodels")])  # fmt: skip
def test_without_the_data_an_example_says_what_to_install(name, package, monkeypatch):
    module = example(name)
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None)
    with pytest.raises(SystemExit, match=f"pip install --no-deps {package}"):
        module.main()


def test_the_forecast_of_sunspots_is_better_than_plain_guesses(capsys, monkeypatch, tmp_path):
    needs_wheel("statsmodels")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    example("sunspots").main()
    forecast, year_before, cycle_before = map(
        float, re.findall(r"(\d+\.\d)(?: sunspots)?$", capsys.readouterr().out, re.MULTILINE)
    )
    assert forecast < 0.7 * min(year_before, cycle_before)
    assert (tmp_path / "models" / "sunspots.png").exists()


def test_the_character_model_learns_and_writes(capsys, monkeypatch):
    module = example("character_model")
    monkeypatch.setattr(module, "MODULES", ["argparse", "csv", "json", "uuid"])
    module.main(0.05)
    text = capsys.readouterr().out
    bits = float(re.search(r"(\d\.\d\d) bits a character", text)[1])
    assert bits < 5.5  # all 96 characters alike: 6.6
    assert text.count("-" * 80) == 3 and "\ndef " in text
