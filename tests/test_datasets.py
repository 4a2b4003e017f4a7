"""Data sets: the IDX reader on files made here, and the loaders where the data is installed."""

import gzip
import os
import struct
import sys

import numpy as np
import pytest

from nncore import datasets


def idx(array, code):
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    big = array.astype(array.dtype.newbyteorder(">"))
    return bytes([0, 0, code, array.ndim]) + sizes + big.tobytes()


SMALL = np.arange(12, dtype=np.int16).reshape(2, 3, 2) - 5


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("code", "dtype"),
    [(8, "u1"), (9, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")],
)
def test_read_idx_reads_every_type(tmp_path, pack, code, dtype):
    array = (np.arange(24).reshape(2, 3, 4) * 5).astype(dtype)
    path = tmp_path / "array"
    path.write_bytes(pack(idx(array, code)))
    read = datasets.read_idx(path)
    assert np.array_equal(read, array)
    assert read.dtype == np.dtype(dtype) and read.dtype.isnative and read.flags.writeable


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_read_idx_refuses_a_file_cut_at_any_byte(tmp_path, pack):
    whole = pack(idx(SMALL, 0x0B))
    path = tmp_path / "cut"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut.* is damaged"):
            datasets.read_idx(path)
    path.write_bytes(whole)
    assert np.array_equal(datasets.read_idx(path), SMALL)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (idx(SMALL, 0x0B) + b"\0", r"shape \(2, 3, 2\) needs 24 bytes of data.*holds more"),
        (b"\x89PNG....", "no IDX header"),
        (bytes([0, 0, 0x0A, 1, 0, 0, 0, 0]), "no IDX header"),
        (bytes([0, 0, 8, 4]) + b"\xff" * 16, "holds only 0"),  # 3e38 bytes, says the header
        (bytes([0, 0, 8, 255]) + b"\0\0\0\1" * 255 + b"\7", "255|dimension"),
        (gzip.compress(idx(SMALL, 0x0B), mtime=0)[:-8] + b"\0" * 8, "CRC"),
    ],
)
def test_read_idx_refuses_what_is_no_idx_file(tmp_path, content, says):
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=says):
        datasets.read_idx(path)


def fashion(folder, images=3, labels=3, suffix=".gz", pack=gzip.compress):
    folder.mkdir(parents=True, exist_ok=True)
    for part, value in (("train", 1), ("t10k", 2)):
        x = np.full((images, 28, 28), value, np.uint8)
        y = np.full(labels, value, np.uint8)
        (folder / f"{part}-images-idx3-ubyte{suffix}").write_bytes(pack(idx(x, 8)))
        (folder / f"{part}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx(y, 8)))


@pytest.fixture(autouse=True)
def _no_system_data(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "_FASHION_MNIST", str(tmp_path / "system"))
    monkeypatch.delenv("NNCORE_DATA", raising=False)


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), ("", bytes)])
def test_fashion_mnist_is_found_by_path_by_environment_and_in_the_system(
    tmp_path, monkeypatch, suffix, pack
):
    for place in ("system", "data/fashion-mnist", "mine"):
        fashion(tmp_path / place, images=len(place), labels=len(place), suffix=suffix, pack=pack)
        if place.startswith("data"):
            monkeypatch.setenv("NNCORE_DATA", str(tmp_path / "data"))
        path = tmp_path / "mine" if place == "mine" else None
        (x_train, y_train), (x_test, y_test) = datasets.load_fashion_mnist(path)
        assert x_train.shape == x_test.shape == (len(place), 28, 28)
        assert x_train.dtype == y_train.dtype == np.uint8
        assert set(y_train) == {1} and set(y_test) == {2}


def test_absent_fashion_mnist_says_in_one_line_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="sudo apt install dataset-fashion-mnist") as caught:
        datasets.load_fashion_mnist()
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        datasets.load_fashion_mnist(tmp_path / "nowhere")


def test_images_and_labels_that_do_not_fit_are_refused(tmp_path):
    fashion(tmp_path / "odd", images=3, labels=4)
    with pytest.raises(ValueError, match=r"do not fit.*\(3, 28, 28\).*\(4,\)"):
        datasets.load_fashion_mnist(tmp_path / "odd")


def test_the_real_fashion_mnist(monkeypatch):
    real = "/usr/share/datasets/fashion-mnist"
    if not os.path.isdir(real):
        pytest.skip("sudo apt install dataset-fashion-mnist")
    (x_train, y_train), (x_test, y_test) = datasets.load_fashion_mnist(real)
    assert x_train.shape == (60000, 28, 28) and x_test.shape == (10000, 28, 28)
    assert np.bincount(y_train).tolist() == [6000] * 10
    assert np.bincount(y_test).tolist() == [1000] * 10


def test_digits_are_always_the_same_split():
    pytest.importorskip("sklearn")
    (x_train, y_train), (x_test, y_test) = datasets.load_digits()
    assert x_train.shape == (1437, 64) and x_test.shape == (360, 64)
    assert x_train.dtype == np.float32 and y_train.dtype == np.int64
    assert x_train.min() == 0 and x_train.max() == 1
    assert set(y_train) == set(y_test) == set(range(10))
    assert min(np.bincount(y_test)) > 20  # every digit is tested
    again = datasets.load_digits()
    assert np.array_equal(x_test, again[1][0]) and np.array_equal(y_test, again[1][1])
    rows = {row.tobytes() for row in x_train} & {row.tobytes() for row in x_test}
    assert len(rows) == 0


def test_digits_without_scikit_learn_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        datasets.load_digits()
