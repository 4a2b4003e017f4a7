"""Read and write .safetensors files: named arrays and a few strings, no code, nothing else.

Source: https://github.com/huggingface/safetensors, whose library does the reading. The writing is
done here: a save is atomic, any array is stored right, the same content is the same file, and
memory that runs out is a MemoryError (the library, 0.8, copies all numbers, and where there is no
room for them ends the process).
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore._names import file_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["load", "save"]

_DTYPES = {
    "BOOL": "bool",
    "C64": "complex64",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
}
_TYPES = {dtype: name for name, dtype in _DTYPES.items()}


def save(
    path: str | os.PathLike[str],
    tensors: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays and strings to one file, completely or not at all.

    The bytes go to a temporary file in the same folder, which then takes the name: whatever fails
    (disk full, Ctrl-C, power), an older file of that name is either untouched or replaced by the
    whole new one. Strided, Fortran-ordered and big-endian arrays are stored by value.
    Raises TypeError or ValueError for what the format cannot hold, OSError if writing fails.

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> save(path, {"0.weight": np.ones((2, 3))}, {"made_by": "nncore"})
    >>> tensors, metadata = load(path)
    >>> tensors["0.weight"].shape, metadata
    ((2, 3), {'made_by': 'nncore'})
    """
    name = file_path("save", path)
    arrays = {name: _plain(name, array) for name, array in tensors.items()}
    strings = dict(metadata or {})
    for key, value in strings.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"save: metadata must be strings, received {key!r}: {value!r}")
    _write_atomically(os.path.realpath(name), *_encoded(arrays, strings))


def load(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read the arrays and strings of a file: new, writable arrays, in the order of the file.

    That order is the format's (by size of the numbers, then by name), not the one they were saved
    in. Raises FileNotFoundError (OSError) if the file cannot be read, and ValueError, which names
    the path, if it is no whole safetensors file or holds numbers that NumPy does not have.
    """
    import json

    import safetensors

    name = file_path("load", path)
    mode = os.stat(name).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a pipe would wait for its writer
        raise ValueError(f"load: {name!r} is not a regular file")
    with open(name, "rb") as file:
        data = file.read()
    try:
        views = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
        tensors = {key: _array(key, view) for key, view in views}
        # The library has checked the header: its length, then JSON with strings in __metadata__.
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(f"load: {name!r} is not a whole safetensors file: {error}") from None
    return tensors, header.get("__metadata__") or {}


def _encoded(arrays: dict[str, NDArray[Any]], metadata: dict[str, str]) -> list[bytes | memoryview]:
    """The pieces of the file: the length of the header, the header, and the arrays, those of
    the largest numbers first, so that each starts at a multiple of its numbers' size."""
    import json  # not at the top: `import nncore` stays fast

    header: dict[str, Any] = {"__metadata__": metadata}
    names, end = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name)), 0
    for name in names:
        array, begin = arrays[name], end
        end += array.nbytes
        header[name] = {
            "dtype": _TYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    try:
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"save: a name or string cannot be written as UTF-8: {error}") from None
    text += b" " * (-len(text) % 8)  # the numbers start at a multiple of 8
    numbers = [arrays[name].reshape(-1).view(np.uint8).data for name in names]
    return [len(text).to_bytes(8, "little"), text, *numbers]


def _plain(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """The array as it is in the file: in C order, little-endian."""
    if not isinstance(name, str):
        raise TypeError(f"save: names of tensors must be strings, received {name!r}")
    if name == "__metadata__":
        raise ValueError("save: the format keeps the name '__metadata__' for itself")
    array = np.asarray(array)
    if array.dtype.name not in _DTYPES.values():
        raise TypeError(
            f"save: tensor {name!r} has dtype {array.dtype}, "
            f"expected one of {', '.join(_DTYPES.values())}"
        )
    # ascontiguousarray would give a scalar an axis
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _array(name: str, view: dict[str, Any]) -> NDArray[Any]:
    """A tensor of the library as an array over its own memory."""
    if view["dtype"] not in _DTYPES:
        raise ValueError(f"tensor {name!r} has type {view['dtype']}, which NumPy does not have")
    array = np.frombuffer(view["data"], _DTYPES[view["dtype"]]).reshape(view["shape"])
    return array if array.flags.writeable else array.copy()


def _write_atomically(path: str, *pieces: bytes | memoryview) -> None:
    """Replace the file at `path` (no link) by these bytes; afterwards it is on the disk.

    An OSError names `path`, not the temporary file.
    """
    folder = os.path.dirname(path)
    mode = None  # of a new file: what open() gives, 0o666 without the umask
    if os.path.exists(path):
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # a device or a pipe: nothing to replace
            with open(path, "wb") as file:
                file.writelines(pieces)
            return
        if not os.access(path, os.W_OK):
            raise PermissionError(13, "the file is write-protected", path)
        mode = stat.S_IMODE(status.st_mode)
    temporary = os.path.join(folder, f".nncore-{os.urandom(8).hex()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        with open(descriptor, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):  # not made, or replaced and then Ctrl-C
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, path) from None
        raise
    _sync_folder(folder)


_BINARY = getattr(os, "O_BINARY", 0)  # Windows


def _sync_folder(folder: str) -> None:
    """Put the new name on the disk, where folders can be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
