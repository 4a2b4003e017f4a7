"""A file that is cut, forged or of another version is refused with a ValueError, whatever is wrong
in it; it never crashes the process, and never takes memory that it only claims to need."""

import json

import numpy as np
import pytest
import safetensors.numpy

import nncore as nn
from nncore.interop.safetensors import load, save

X = np.linspace(-1, 1, 40).reshape(10, 4)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """(path, tensors, description) of a model with something of everything."""
    x = nn.Input((4,))
    h = nn.Dropout(0.5)(nn.Dense(3, "relu", kernel_initializer=nn.initializers.Constant(0.1))(x))
    embedded = nn.Flatten()(nn.Reshape((3, 1))(h))
    model = nn.Model(x, nn.Dense(2)(nn.Concatenate()([h, embedded])), seed=0)
    schedule = nn.schedules.WarmUp(3, after=nn.schedules.CosineDecay(0.1, 10))
    smooth = nn.losses.CrossEntropy(label_smoothing=0.1)
    model.compile(nn.Adam(schedule), smooth, metrics=["accuracy", nn.metrics.TopK(k=2)])
    model.fit(X, np.arange(10) % 2, batch_size=4)
    path = tmp_path_factory.mktemp("files") / "model.safetensors"
    model.save(path)
    tensors, metadata = load(path)
    return path, tensors, json.loads(metadata["nncore"])


def refused(path, words=""):
    with pytest.raises(ValueError, match=words) as caught:
        nn.load(path)
    assert str(path) in str(caught.value) or words


def forge(path, tensors, description):
    text = description if isinstance(description, str) else json.dumps(description)
    path.write_bytes(safetensors.numpy.save(tensors, {"nncore": text}))
    return path


def test_cut_at_every_byte(original, tmp_path):
    whole = original[0].read_bytes()
    cut = tmp_path / "cut"
    header = 8 + int.from_bytes(whole[:8], "little")
    for size in (*range(0, header, 37), *range(header, len(whole), 13), len(whole) - 1):
        cut.write_bytes(whole[:size])
        refused(cut, "not a whole safetensors file")


def test_bytes_that_were_changed(original, tmp_path):
    whole = original[0].read_bytes()
    changed = tmp_path / "changed"
    header = 8 + int.from_bytes(whole[:8], "little")
    rng = np.random.default_rng(0)
    for place in (*range(8), *rng.integers(8, header, 300)):
        for value in (0, 255, rng.integers(32, 127)):
            data = bytearray(whole)
            data[place] = value
            changed.write_bytes(data)
            try:
                nn.load(changed)  # a changed digit may still be a model
            except ValueError:
                pass


def test_other_files(tmp_path):
    other = tmp_path / "other"
    for data in (b"", b"\x00" * 8, b"PK\x03\x04" + b"zip" * 50, b"{}", b"\xff" * 100):
        other.write_bytes(data)
        refused(other, "not a whole safetensors file")
    save(other, {"a": np.zeros(3)}, {})
    refused(other, "no nncore model")


def test_a_newer_format(original, tmp_path):
    path, tensors, description = original
    refused(forge(tmp_path / "m", tensors, {**description, "format": 2}), "newer nncore.*upgrade")


MISSING = object()
GARBAGE = [
    None, True, -1, 0, 3, 10**30, 1e400, float("nan"), 0.5, "", "x", "layers.Dense", "__import__",
    [], [[]], ["x"], [-1], [10**12], {}, {"class": "x"}, {"class": "layers.Dense"}, {"class": 5},
    {"class": "layers.lookup", "kind": "a"}, {"class": "losses.PythonLoss"},
    {"class": "layers.base"}, {"class": "optimizers.LBFGS"},
    {"class": "layers.Dense", "units": 10**15},
]  # fmt: skip


def places(value, path=()):
    """The paths of everything in a description."""
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key)
            yield from places(item, (*path, key))


def changed(description, path, value):
    """A copy with another value at a path; without it, if the value is MISSING."""
    copied = json.loads(json.dumps(description))
    parent = copied
    for key in path[:-1]:
        parent = parent[key]
    if value is MISSING:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return copied


def test_every_part_of_the_description_forged(original, tmp_path):
    _, tensors, description = original
    forged, loaded = tmp_path / "m", 0
    for number, path in enumerate(places(description)):
        some = [GARBAGE[(8 * number + i) % len(GARBAGE)] for i in range(8)]  # all of them in turn
        for value in (MISSING, *some):
            forge(forged, tensors, changed(description, path, value))
            try:
                model = nn.load(forged)
            except ValueError as error:
                assert str(error).startswith(f"{forged}: "), error
                continue
            except BaseException as error:
                raise AssertionError(f"{path} = {value!r} gave {error!r}") from error
            loaded += 1  # another seed, say: then it works
            assert np.isfinite(model(X)).all(), (path, value)
            if model.optimizer is not None and model.optimizer.rule:
                model.train_on_batch(X, np.zeros(10))
    assert loaded > 0


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "5", '"a"', "{", "[" * 100_000, '{"format": 1}', '{"format": "1"}',
             '{"format": 1e999}', '{"format": true}', '{"format": 0}'],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_a_description_that_is_none(original, tmp_path, text):
    refused(forge(tmp_path / "m", original[1], text), "description is damaged")


def test_tensors_missing_or_of_another_shape(original, tmp_path):
    _, tensors, description = original
    for name in tensors:
        rest = {n: value for n, value in tensors.items() if n != name}
        refused(forge(tmp_path / "m", rest, description), "does not fit")
        longer = {**tensors, name: np.zeros((*tensors[name].shape, 2), np.float32)}
        refused(forge(tmp_path / "m", longer, description), "shape|does not fit")
    whole = {**tensors, "0.bias": tensors["0.bias"].astype(np.int32)}
    refused(forge(tmp_path / "m", whole, description), "dtype int32; expected floats")
    whole = {**tensors, "training.0.0.bias": tensors["training.0.0.bias"].astype(np.int32)}
    refused(forge(tmp_path / "m", whole, description), "optimizer's state of '0.bias'")
    refused(forge(tmp_path / "m", {**tensors, "new": np.zeros(3)}, description), "not known.*new")


def test_a_size_that_is_only_claimed_takes_no_memory(original, tmp_path):
    _, tensors, description = original
    for units in (10**9, 10**12):
        last = len(description["graph"]["layers"]) - 1
        forged = changed(description, ("graph", "layers", last, "units"), units)
        refused(forge(tmp_path / "m", tensors, forged), r"'5.*' has shape \(2,.*this model's is")
