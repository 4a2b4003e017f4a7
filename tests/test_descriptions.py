"""Layers describe themselves as the calls that make them, what was left at its default left out."""

import dataclasses

import pytest

import nncore as nn
from cases import LAYERS

BUILT_IN = [case.layer for case in LAYERS if type(case.layer).__module__.startswith("nncore.")]
NEEDED = {
    "layer": nn.GRU(3),
    "activation": "relu",
    "body": [nn.Dense(3)],
    "rate": 0.5,
    "shape": (3, 4),
}  # others: 3


@pytest.mark.parametrize("layer", BUILT_IN, ids=repr)
def test_a_description_makes_the_same_layer(layer):
    again = eval(repr(layer), {name: getattr(nn, name) for name in nn.__all__})
    assert type(again) is type(layer) and repr(again) == repr(layer)


@pytest.mark.parametrize("cls", sorted({type(layer) for layer in BUILT_IN}, key=repr))
def test_defaults_are_left_out(cls):
    fields = [f for f in dataclasses.fields(cls) if f.name != "name"]
    needed = [f.name for f in fields if f.default is dataclasses.MISSING]
    layer = cls(*[NEEDED.get(name, 3) for name in needed])
    shown = ", ".join(f"{name}={getattr(layer, name)!r}" for name in needed)
    assert repr(layer) == f"{cls.__name__}({shown})"
    spelt = cls(**{f.name: getattr(layer, f.name) for f in fields})
    assert repr(spelt) == repr(layer)


@pytest.mark.parametrize("layer, text", [
    (nn.Conv2D(8, 3), "Conv2D(filters=8, kernel_size=3)"),
    (nn.Conv2D(8, [3, 5], (1, 1)), "Conv2D(filters=8, kernel_size=(3, 5), strides=(1, 1))"),
    (nn.Conv1D(8, (3,), 2, groups=4), "Conv1D(filters=8, kernel_size=(3,), strides=2, groups=4)"),
    (nn.DepthwiseConv2D(3, padding="same"), "DepthwiseConv2D(kernel_size=3, padding='same')"),
    (nn.Conv2DTranspose(4, 2, 2), "Conv2DTranspose(filters=4, kernel_size=2, strides=2)"),
    (nn.ZeroPadding2D(2), "ZeroPadding2D(padding=2)"),
    (nn.Cropping2D([1, 2]), "Cropping2D(cropping=((1, 1), (2, 2)))"),
])  # fmt: skip
def test_sizes_are_shown_as_they_were_given(layer, text):
    assert repr(layer) == text
