"""Data sets for examples and tests, from packages on this machine: nothing is downloaded. And
`augmented`: batches of images changed at random."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore._names import file_path
from nncore.augmentation import augmented

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Digits = tuple[NDArray[np.float32], NDArray[np.int64]]  # x, y
    _Images = tuple[NDArray[np.uint8], NDArray[np.uint8]]

__all__ = ["augmented", "load_digits", "load_fashion_mnist", "read_idx"]

_FASHION_MNIST = "/usr/share/datasets/fashion-mnist"  # Debian's package dataset-fashion-mnist
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def load_digits() -> tuple[_Digits, _Digits]:
    """Handwritten digits, 8 x 8 pixels: (x_train, y_train), (x_test, y_test).

    x: float32 (n, 64), grey 0 to 1; y: int64 (n,), 0 to 9. 1437 examples for training and 360 for
    testing, always the same ones. Raises ImportError if scikit-learn, which bundles them, is
    missing. Source: Alpaydin & Kaynak 1998, UCI "Optical recognition of handwritten digits".

    >>> (x_train, y_train), (x_test, y_test) = load_digits()
    >>> x_train.shape, x_test.shape
    ((1437, 64), (360, 64))
    """
    try:
        from sklearn.datasets import load_digits as bundled  # type: ignore[import-untyped]
    except ImportError:
        raise ImportError(
            "load_digits: the digits come with scikit-learn: pip install scikit-learn"
        ) from None
    x, y = bundled(return_X_y=True)
    x = (x / 16).astype(np.float32)
    y = y.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(x))
    test, train = order[:360], order[360:]
    return (x[train], y[train]), (x[test], y[test])


def load_fashion_mnist(path: str | os.PathLike[str] | None = None) -> tuple[_Images, _Images]:
    """Fashion-MNIST, photographs of clothes: (x_train, y_train), (x_test, y_test).

    x: uint8 (n, 28, 28), grey 0 to 255; y: uint8 (n,), 0 to 9; 60000 for training, 10000 for
    testing. The four IDX files (.gz or plain) are looked for in the folder `path`; without it, in
    the folder that the environment variable NNCORE_DATA names (or its subfolder fashion-mnist),
    then where Debian's package puts them. Raises FileNotFoundError, which says how to get them,
    and ValueError for damaged files. Source: Xiao, Rasul & Vollgraf 2017.

    >>> (x_train, y_train), (x_test, y_test) = load_fashion_mnist()  # doctest: +SKIP
    >>> x_train.shape  # doctest: +SKIP
    (60000, 28, 28)
    """
    folder = _fashion_mnist_folder(path)
    return _images_and_labels(folder, "train"), _images_and_labels(folder, "t10k")


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an array from an IDX file, plain or gzip (told apart by content, not by name).

    Format: two zero bytes, a type byte, the number n of axes, n sizes as big-endian 32-bit
    integers, then the numbers, big-endian. The array is in the machine's own byte order.
    Raises ValueError naming the file if it is damaged, too short or too long; OSError if it cannot
    be read. Source: "The IDX file format", Y. LeCun, MNIST.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp(), "labels")
    >>> _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    >>> read_idx(file)
    array([7, 8, 9], dtype=uint8)
    """
    import gzip  # not at the top: `import nncore` stays fast
    import zlib

    with open(file_path("read_idx", path), "rb") as plain:
        compressed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        try:
            return _read_idx(gzip.open(plain) if compressed else plain)
        except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"read_idx: {os.fspath(path)!r} is damaged: {error}") from None


def _read_idx(file: Any) -> NDArray[Any]:
    start = _read(file, 4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _IDX_TYPES:
        raise ValueError(f"no IDX header, first bytes {bytes(start)!r}")
    axes = start[3]
    sizes = _read(file, 4 * axes)
    if len(sizes) < 4 * axes:
        raise ValueError(f"it ends within the sizes of its {axes} axes")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    dtype = np.dtype(_IDX_TYPES[start[2]])
    expected = dtype.itemsize
    for size in shape:
        expected *= size
    data = _read(file, expected + 1)
    if len(data) != expected:
        held = f"only {len(data)}" if len(data) < expected else "more"
        raise ValueError(f"shape {shape} needs {expected} bytes of data, the file holds {held}")
    array = np.frombuffer(data, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read(file: Any, count: int) -> bytearray:
    """Read up to `count` bytes, piece by piece: a forged size allocates nothing."""
    data = bytearray()
    while len(data) < count and (piece := file.read(min(count - len(data), 1 << 20))):
        data += piece
    return data


def _fashion_mnist_folder(path: str | os.PathLike[str] | None) -> str:
    """The first folder that holds the training images."""
    folders = [_FASHION_MNIST]
    if path is not None:
        folders = [os.fspath(path)]
    elif data := os.environ.get("NNCORE_DATA"):
        folders = [os.path.join(data, "fashion-mnist"), data, _FASHION_MNIST]
    for folder in folders:
        if os.path.exists(_idx_file(folder, "train-images-idx3-ubyte")):
            return folder
    raise FileNotFoundError(
        f"Fashion-MNIST is not in {' or '.join(folders)}: sudo apt install dataset-fashion-mnist "
        "(elsewhere: put its four IDX files in a folder and name it in NNCORE_DATA)"
    )


def _images_and_labels(folder: str, part: str) -> _Images:
    x = read_idx(_idx_file(folder, f"{part}-images-idx3-ubyte"))
    y = read_idx(_idx_file(folder, f"{part}-labels-idx1-ubyte"))
    if x.ndim != 3 or y.shape != x.shape[:1] or x.dtype != np.uint8 or y.dtype != np.uint8:
        raise ValueError(
            f"load_fashion_mnist: images and labels of {part} in {folder} do not fit: expected "
            f"uint8 (n, 28, 28) and (n,), received {x.dtype} {x.shape} and {y.dtype} {y.shape}"
        )
    return x, y


def _idx_file(folder: str, name: str) -> str:
    plain = os.path.join(folder, name)
    return plain if os.path.exists(plain) else plain + ".gz"
