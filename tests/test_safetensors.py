"""Files: what is saved comes back; a save is whole or has not happened; a bad file is one error."""

import json
import os
import stat
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest

pytest.importorskip("safetensors")
from nncore.interop import safetensors

DTYPES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
]
TENSORS = {"0.weight": np.arange(6.0).reshape(2, 3), "0.bias": np.array([1, -1], np.float32)}


def header(tensors, data=b"", **metadata):
    """A file with this header, made by hand."""
    text = json.dumps({**metadata, **tensors}).encode()
    return struct.pack("<Q", len(text)) + text + data


def leftovers(folder):
    return [name for name in os.listdir(folder) if name.endswith(".tmp")]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 0, 3), (3, 4), (2, 3, 4)])
def test_every_dtype_and_shape_comes_back(path, dtype, shape):
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    safetensors.save(path, {"a": array}, {})
    back = safetensors.load(path)[0]["a"]
    assert back.shape == shape and back.dtype == array.dtype
    assert np.array_equal(back, array)
    assert back.flags.writeable and back.flags.c_contiguous and back.flags.aligned


def test_any_layout_is_stored_by_value(path):
    base = np.arange(24.0).reshape(4, 6)
    layouts = {
        "transposed": base.T,
        "fortran": np.asfortranarray(base),
        "strided": base[::2, 1::2],
        "reversed": base[::-1, ::-1],
        "big_endian": base.astype(">f8"),
        "big_endian_ints": base.T.astype(">i2"),
        "broadcast": np.broadcast_to(base[0], (3, 6)),
        "unaligned": np.frombuffer(b"\0" + base.tobytes(), np.uint8)[1:].view("f8"),
    }
    read_only = base.copy()
    read_only.flags.writeable = False
    layouts["read_only"] = read_only
    safetensors.save(path, layouts, {})
    back = safetensors.load(path)[0]
    assert set(back) == set(layouts)
    for name, array in layouts.items():
        assert np.array_equal(back[name], array), name
        assert back[name].dtype.isnative


def test_metadata_and_unicode_names_come_back(path):
    metadata = {"architecture": json.dumps({"units": 3}), "größe": "µ\n\0'", "empty": ""}
    safetensors.save(os.fspath(path), {"schicht.größe": np.ones(2)}, metadata)
    tensors, back = safetensors.load(os.fspath(path))
    assert back == metadata and list(tensors) == ["schicht.größe"]
    safetensors.save(path, {})
    assert safetensors.load(path) == ({}, {})


def test_the_file_is_one_that_others_can_read(path):
    from safetensors import safe_open

    safetensors.save(path, TENSORS, {"key": "value"})
    with safe_open(path, framework="np") as file:
        assert file.metadata() == {"key": "value"}
        assert np.array_equal(file.get_tensor("0.weight"), TENSORS["0.weight"])


def test_numbers_begin_at_multiples_of_their_size(path):
    """Whatever the order they were given in, which the file does not depend on."""
    tensors = {f"{i}": np.ones(3, dtype) for i, dtype in enumerate(DTYPES)}
    safetensors.save(path, tensors)
    data = path.read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])
    for name, array in tensors.items():
        assert (start + header[name]["data_offsets"][0]) % array.itemsize == 0
    safetensors.save(path, dict(reversed(tensors.items())))
    assert path.read_bytes() == data


def test_the_same_content_gives_the_same_file(path):
    strings = {name: name.upper() for name in "hgfedcba"}
    files = set()
    for _ in range(5):
        safetensors.save(path, TENSORS, strings)
        files.add(path.read_bytes())
    assert len(files) == 1
    assert list(safetensors.load(path)[1]) == list(strings)
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    assert length % 8 == 0


def test_a_file_cut_at_any_byte_is_refused(path):
    safetensors.save(path, TENSORS, {"key": "value"})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(
            ValueError, match=r"model\.safetensors' is not a whole safetensors file"
        ):
            safetensors.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="not a whole"):
        safetensors.load(path)


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 a zip file, as torch and Keras write",
        bytes(range(256)) * 8,
        b"\xff" * 64,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 90_000_000) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 4) + b'{"a"',
        struct.pack("<Q", 4) + b"\xff\xfe\xfd\xfc",
        struct.pack("<Q", 200_000) + b"[" * 200_000,
        struct.pack("<Q", 200_005) + b'{"a":' + b"[" * 200_000,
        header({"a": F32}),
        header({"a": F32}, bytes(4)),
        header({"a": F32}, bytes(12)),
        header({"a": {**F32, "shape": [3]}}, bytes(8)),
        header({"a": {**F32, "shape": [-2]}}, bytes(8)),
        header({"a": {**F32, "shape": [2**62, 4]}}, bytes(8)),
        header({"a": {**F32, "shape": [2**40], "data_offsets": [0, 2**42]}}, bytes(8)),
        header({"a": {**F32, "data_offsets": [8, 0]}}, bytes(8)),
        header({"a": {**F32, "data_offsets": [2**64 - 8, 2**64]}}, bytes(8)),
        header({"a": {**F32, "data_offsets": [-8, 0]}}, bytes(8)),
        header({"a": F32, "b": F32}, bytes(8)),
        header({"a": {**F32, "dtype": "F99"}}, bytes(8)),
        header({"a": {**F32, "dtype": "BF16", "data_offsets": [0, 4]}}, bytes(4)),
        header({"a": {"dtype": "F32"}}, bytes(8)),
        header({"a": 3}, bytes(8)),
        header({"a": F32}, bytes(8), __metadata__={"key": 3}),
        header({"a": F32}, bytes(8), __metadata__=[1]),
    ],
)
def test_what_is_no_safetensors_file_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"model\.safetensors' is not a whole safetensors file: .+"
    ):
        safetensors.load(path)


def test_no_changed_byte_does_more_than_raise_value_error(path):
    safetensors.save(path, TENSORS, {"key": "value"})
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in range(len(whole) - 56):  # header only: data may hold anything
        for value in rng.integers(0, 256, 8):
            path.write_bytes(whole[:position] + bytes([value]) + whole[position + 1 :])
            try:
                safetensors.load(path)
            except ValueError as error:
                assert "model.safetensors" in str(error)


def test_a_path_without_a_file_is_the_ordinary_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        safetensors.load(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        safetensors.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        safetensors.save(tmp_path / "missing" / "file", TENSORS, {})
    with pytest.raises(IsADirectoryError):
        safetensors.save(tmp_path, TENSORS, {})
    with pytest.raises(ValueError, match="not a regular file"):
        safetensors.load("/dev/zero")
    os.mkfifo(tmp_path / "pipe")  # which opening would wait for
    with pytest.raises(ValueError, match="not a regular file"):
        safetensors.load(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("tensors", "metadata", "error", "says"),
    [
        ({"a": np.array(["x"])}, {}, TypeError, "tensor 'a' has dtype <U1"),
        ({"a": np.array([None])}, {}, TypeError, "tensor 'a' has dtype object"),
        ({"a": np.zeros(2, "f4,i4")}, {}, TypeError, "tensor 'a'"),
        ({3: np.zeros(2)}, {}, TypeError, "received 3"),
        ({"__metadata__": np.zeros(2)}, {}, ValueError, "keeps the name"),
        (TENSORS, {"a": 3}, TypeError, "metadata must be strings, received 'a': 3"),
        (TENSORS, {"a": "\ud800"}, ValueError, "save: a name or string.*surrogates not allowed"),
    ],
)
def test_what_the_format_cannot_hold_is_refused_before_writing(
    path, tensors, metadata, error, says
):
    path.write_text("old")
    with pytest.raises(error, match=says):
        safetensors.save(path, tensors, metadata)
    assert path.read_text() == "old" and leftovers(path.parent) == []


def test_a_full_disk_leaves_the_old_file(path):
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    safetensors.save(path, TENSORS, {"version": "old"})
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            safetensors.save(path, {"big": np.ones(1_000_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before and leftovers(path.parent) == []


def test_memory_that_runs_out_is_an_error_and_leaves_the_old_file(path):
    """In a process of its own: the library that only reads here would have ended it."""
    pytest.importorskip("resource")
    code = f"""
        import resource, numpy as np
        from nncore.interop import safetensors
        tensors = {{"old": np.ones(3)}}
        safetensors.save({str(path)!r}, tensors)
        tensors = {{"new": np.ones((3000, 2000)).T}}  # whose copy takes 48 MB
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + 16 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            safetensors.save({str(path)!r}, tensors)
        except MemoryError:
            print("out of memory")
        safetensors.save({str(path)!r} + "2", {{"new": tensors["new"].T}})  # needs no copy
    """
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("the system does not tell how much memory a process has")
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert run.stdout == "out of memory\n", run.stderr
    assert list(safetensors.load(path)[0]) == ["old"]
    assert safetensors.load(f"{path}2")[0]["new"].shape == (3000, 2000)


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_whatever_fails_the_old_file_stays_and_no_temporary_one(path, monkeypatch, call, error):
    safetensors.save(path, TENSORS, {"version": "old"})
    before = path.read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(type(error)):
        safetensors.save(path, TENSORS, {"version": "new"})
    assert path.read_bytes() == before and leftovers(path.parent) == []


def test_the_bytes_are_on_the_disk_before_the_name_is_given(path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        calls.append("folder" if is_folder else os.fstat(descriptor).st_size)
        fsync(descriptor)

    def replaced(source, target):
        calls.append("replace")
        assert os.path.dirname(source) == os.path.dirname(target) == str(path.parent)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    safetensors.save(path, TENSORS, {})
    assert calls == [path.stat().st_size, "replace", "folder"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_a_plain_open(path, umask):
    old = os.umask(umask)
    try:
        safetensors.save(path, TENSORS, {})
        (path.parent / "plain").write_bytes(b"")
    finally:
        os.umask(old)
    assert path.stat().st_mode == (path.parent / "plain").stat().st_mode
    path.chmod(0o640)
    safetensors.save(path, TENSORS, {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o640  # of a file that was there: unchanged


def test_a_link_stays_a_link(path):
    (path.parent / "real").mkdir()
    target = path.parent / "real" / "model"
    path.symlink_to(target)
    for version in ("first", "second"):  # to nothing, then to a file
        safetensors.save(path, TENSORS, {"version": version})
        assert path.is_symlink() and not target.is_symlink()
        assert safetensors.load(path)[1] == safetensors.load(target)[1] == {"version": version}


def test_a_write_protected_file_is_not_replaced(path, monkeypatch):
    path.write_text("old")
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anything
    with pytest.raises(PermissionError, match=r"write-protected.*model\.safetensors"):
        safetensors.save(path, TENSORS, {})
    assert path.read_text() == "old"


def test_a_device_is_written_to_not_replaced():
    safetensors.save("/dev/null", TENSORS, {})
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(OSError, match="No space left"):
        safetensors.save("/dev/full", TENSORS, {})
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
