"""Damaged weight files of every kind are refused, each with one line."""

import json
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from speak_jax.pretrained import files, torch_zip
from speak_jax.pretrained.tensors import WeightsError
from tests.pretrained.torch_files import (
  Storage,
  Tensor,
  entries,
  legacy_bytes,
  state,
  tensor,
  write_zip,
)

ONES = np.ones((2, 3), "f4")


def header(entries: object, size: int = 24, length: int | None = None) -> bytes:
  """A safetensors file of a header and so many bytes."""
  text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
  stated = len(text) if length is None else length
  return struct.pack("<Q", stated) + text + bytes(size)


def entry(begin, end, shape=(2, 3), dtype="F32"):
  return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


GOOD = {"w": entry(0, 24)}

# What is wrong: the file, and what the line says.
SAFETENSORS = {
  "three bytes": (b"abc", "neither"),
  "noise": (bytes(range(200, 256)) * 4, "neither"),
  "header longer than the file": (
    header(GOOD, length=10**6),
    "header length",
  ),
  "header of many gigabytes": (header(GOOD, length=2**62), "header too large"),
  "no JSON": (header(b"{w: 1}"), "key must be a string"),
  "no UTF-8": (header(b'{"\xff\xfe": 1}'), "invalid UTF-8"),
  "deep JSON": (header(b'{"a":' + b"[" * 200_000), "recursion limit"),
  "no dict": (header({"w": [1]}), "expected string or map"),
  "no dtype": (header({"w": {"shape": [1]}}), "missing field `dtype`"),
  "unknown kind": (header({"w": entry(0, 6, dtype="F8_E4M3")}, 6), "F8_E4M3"),
  "kind that is a list": (
    header({"w": entry(0, 24, dtype=[])}),
    ": sequence",
  ),
  "name twice": (
    header(b'{"w": %s, "w": %s}' % ((json.dumps(GOOD["w"]).encode(),) * 2)),
    "twice",
  ),
  "negative size": (header({"w": entry(0, 24, (-2, -3))}), "integer `-2`"),
  "size that is true": (
    header({"w": entry(0, 4, (True,))}, 4),
    "`true`",
  ),
  "size that is no whole number": (
    header({"w": entry(0, 24, (6.0,))}),
    "floating point `6.0`",
  ),
  "size that overflows": (
    header({"w": entry(0, 0, (0, 2**40, 2**40))}, 0),
    "array is too big",
  ),
  "axes without end": (
    header({"w": entry(0, 4, (1,) * 99)}, 4),
    "dimension",
  ),
  "shape that does not fit": (
    header({"w": entry(0, 24, (2, 4))}),
    "invalid shape",
  ),
  "place backwards": (header({"w": entry(24, 0)}), "invalid offset"),
  "place behind the end": (
    header({"w": entry(0, 48, (2, 6))}),
    "not fully",
  ),
  "overlap": (
    header({"w": entry(0, 24), "v": entry(12, 36)}, 36),
    "invalid offset",
  ),
  "hole": (header({"w": entry(4, 28)}, 28), "invalid offset"),
  "bytes left over": (header(GOOD, 25), "not fully"),
  "cut off": (header(GOOD, 23), "not fully"),
}

MISTAKEN = {
  "empty": (b"", "empty file"),
  "git's pointer": (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "Git LFS pointer",
  ),
  "web page": (b"<!DOCTYPE html><html>404</html>", "a web page"),
  "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
  "legacy, cut off": (legacy_bytes(state(w=ONES))[:-1], "cut off in storage"),
  "text": (b"these are my weights\n" * 9, "neither"),
}


def swap(name, content):
  """A change of one file of the archive."""
  return lambda parts: parts | {f"archive/{name}": content}


def drop(name):
  return lambda parts: {k: v for k, v in parts.items() if not k.endswith(name)}


# What is wrong with the archive, and what the line says.
ARCHIVES = {
  "no pickle": (drop("data.pkl"), "not torch's"),
  "no storage": (drop("data/0"), "storage 0 is missing"),
  "short storage": (swap("data/0", bytes(20)), "has 20 bytes"),
  "long storage": (swap("data/0", bytes(28)), "has 28 bytes"),
  "odd byte order": (swap("byteorder", b"middle"), "neither little nor big"),
  "second folder": (lambda p: p | {"evil/data.pkl": b""}, "evil/data.pkl lies"),
  "way out": (swap("../../evil", b""), "lies outside"),
  "pickle cut off": (
    lambda p: p | {"archive/data.pkl": p["archive/data.pkl"][:-9]},
    "pickle is damaged",
  ),
  "empty pickle": (swap("data.pkl", b""), "pickle is damaged"),
  "huge pickle": (swap("data.pkl", b"N" * 2**16), "larger than"),
}

STORAGE = Storage(np.arange(6, dtype="f4"), "0")
LYING = Storage(np.arange(6, dtype="f4"), "0")
LYING.numel = 10**12

# What is wrong with what the pickle says.
ROOTS = {
  "tensor past its storage": (
    {"w": Tensor(STORAGE, 3, (2, 2), (2, 1))},
    "has 6",
  ),
  "negative offset": ({"w": Tensor(STORAGE, -1, (2,), (1,))}, "that is none"),
  "negative stride": ({"w": Tensor(STORAGE, 5, (2,), (-1,))}, "that is none"),
  "one number a thousand times": (
    {"w": Tensor(STORAGE, 0, (1000,), (0,))},
    "which has 6",
  ),
  "one storage a thousand times": (
    {f"w{i}": Tensor(STORAGE, 0, (6,), (1,)) for i in range(1000)},
    "repeated",
  ),
  "storage of terabytes": (
    {"w": Tensor(LYING, 0, (10**12,), (1,))},
    "has 24 bytes",
  ),
  "no tensor": ({"epoch": 3}, "no dict of named tensors"),
  "two networks with one name": (
    {"a": state(**{"b.w": ONES}), "a.b": {"w": tensor(ONES, "1")}},
    "two tensors would be called 'a.b.w'",
  ),
  "names that are numbers": ({0: tensor(ONES, "0")}, "no dict of named"),
}


def refused(path) -> str:
  with pytest.raises(WeightsError) as caught:
    files.read(path)
  line = str(caught.value)
  assert line.startswith(f"{path}: ")
  assert line.isprintable()
  return line


@pytest.mark.parametrize("case", [*SAFETENSORS, *MISTAKEN])
def test_damaged_bytes_are_refused(tmp_path, case):
  content, named = (SAFETENSORS | MISTAKEN)[case]
  path = tmp_path / "w.safetensors"
  path.write_bytes(content)
  assert named in refused(path)


@pytest.mark.parametrize("case", ARCHIVES)
def test_damaged_archives_are_refused(tmp_path, case, monkeypatch):
  monkeypatch.setattr(torch_zip, "MAX_PICKLE", 2**15)
  change, named = ARCHIVES[case]
  parts = change(entries(state(w=ONES)))
  assert named in refused(write_zip(tmp_path / "w.pth", parts))


@pytest.mark.parametrize("case", ROOTS)
def test_odd_tensors_are_refused(tmp_path, case):
  root, named = ROOTS[case]
  assert named in refused(write_zip(tmp_path / "w.pth", entries(root)))


def test_a_packed_archive_is_refused(tmp_path):
  """A small file that unpacks to gigabytes."""
  parts = entries(state(w=np.zeros(10**6, "f4")))
  path = write_zip(tmp_path / "w.pth", parts, zipfile.ZIP_DEFLATED)
  assert path.stat().st_size < 10**5
  assert "packed" in refused(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path):
  path = write_zip(tmp_path / "w.pth", entries(state(w=ONES)))
  with zipfile.ZipFile(path, "a") as archive:
    archive.writestr("archive/data/0", bytes(24))
  assert "there twice" in refused(path)


def test_files_that_share_their_bytes_are_refused(tmp_path):
  """The directory names one place twice, as bombs without packing do."""
  parts = entries(state(w=ONES, v=2 * ONES))
  path = write_zip(tmp_path / "w.pth", parts)
  with zipfile.ZipFile(path) as archive:
    first = archive.getinfo("archive/data/0").header_offset
    second = archive.getinfo("archive/data/1").header_offset
  whole = path.read_bytes()
  at = whole.rindex(struct.pack("<I", second))
  path.write_bytes(whole[:at] + struct.pack("<I", first) + whole[at + 4 :])
  assert "overlaps" in refused(path)


def test_a_zip_of_something_else_is_refused(tmp_path):
  path = tmp_path / "w.npz"
  np.savez(path, w=ONES)
  assert "not torch's" in refused(path)


def test_what_is_no_file_is_refused(tmp_path):
  assert "No such file" in refused(tmp_path / "none.pth")
  assert "no file" in refused(tmp_path)


def test_safetensors_are_read_by_content_whatever_their_name(tmp_path):
  arrays = {
    "b": np.arange(6, dtype="f4").reshape(2, 3),
    "a": np.array([1.5, -2], "f2"),
    "n": np.array(3, "i8"),
    "flag": np.array([True, False]),
    "none": np.zeros((0, 4), "f8"),
  }
  path = tmp_path / "w.bin"
  safetensors.numpy.save_file(arrays, path, {"format": "pt"})
  tensors = files.read(path)
  assert sorted(tensors) == sorted(arrays)
  for key, wanted in arrays.items():
    got = tensors.peek(key)
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("length", [0x80, 0x3C, 0x4B50, 0x100])
def test_any_length_of_header_is_read(tmp_path, length):
  """Also those that begin as a pickle, a web page or a zip file does."""
  text = json.dumps({"w": entry(0, 4, (1,)), "__metadata__": {"a": ""}})
  filled = text.replace('""', '"' + "x" * (length - len(text)) + '"')
  path = tmp_path / "w.safetensors"
  if len(text) > length:
    filled = json.dumps({"w": entry(0, 4, (1,))}, separators=(",", ":"))
    filled = filled.ljust(length)
  assert len(filled) == length
  path.write_bytes(header(filled.encode(), 0) + np.float32(5).tobytes())
  assert files.read(path).take("w", (1,)) == 5


def test_bfloat16_of_safetensors_is_exact(tmp_path):
  wanted = np.array([1.5, -2.25, 3e-5]).astype(ml_dtypes.bfloat16)
  path = tmp_path / "w.safetensors"
  content = header({"w": entry(0, 6, (3,), "BF16")}, 0) + wanted.tobytes()
  path.write_bytes(content)
  np.testing.assert_array_equal(files.read(path).take("w"), wanted.astype("f4"))
