import io
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from speak_jax.pretrained import files
from tests.pretrained.torch_files import (
  Storage,
  Tensor,
  entries,
  state,
  tensor,
  write_zip,
)

GOLDENS = Path(__file__).parent / "goldens"
COUNT = np.arange(24, dtype="f4")
# What goldens/README.md has saved.
BY_TORCH = {
  "float32": np.array([[1.5, -2.25, 3e-5], [0.0, -0.0, 1e30]], "f4"),
  "float64": np.array([1 / 3]),
  "float16": np.array([1.5, -2.25], "f2"),
  "bfloat16": np.array([1.5, -2.25], "f4"),  # NumPy has no such type
  "int64": np.array(7),
  "uint8": np.array([0, 255], "u1"),
  "bool": np.array([True, False]),
  "transposed": COUNT[:12].reshape(3, 4).T,
  "tail": COUNT[20:].reshape(2, 2),
  "steps": COUNT[1::8],
  "parameter": np.array([[2.0]], "f4"),
  "empty": np.zeros((0, 3), "f4"),
}


def read(path):
  tensors = files.read(path)
  return {key: tensors.peek(key) for key in tensors}


@pytest.mark.parametrize(
  "options", [{}, {"protocol": 4, "stack_global": True}, {"protocol": 5}]
)
def test_every_kind_of_number_is_read(tmp_path, options):
  kinds = {
    kind: np.array([0, 1, 2, 3]).astype(kind)
    for kind in ("f8", "f4", "f2", "i8", "u1", "?")
  }
  path = write_zip(tmp_path / "w.pth", entries(state(**kinds), **options))
  got = read(path)
  assert list(got) == list(kinds)
  for kind, wanted in kinds.items():
    assert got[kind].dtype == wanted.dtype
    np.testing.assert_array_equal(got[kind], wanted)


def test_half_precision_of_both_kinds_is_exact(tmp_path):
  wanted = np.array([[1.5, -2.25], [3e-5, -0.0]])
  brain = wanted.astype(ml_dtypes.bfloat16)
  root = {
    "half": tensor(wanted.astype("f2"), "0"),
    "brain": tensor(brain.view("u2"), "1", "BFloat16Storage"),
  }
  path = write_zip(tmp_path / "w.pth", entries(root))
  tensors = files.read(path)
  np.testing.assert_array_equal(
    tensors.take("half", (2, 2)), wanted.astype("f2").astype("f4")
  )
  np.testing.assert_array_equal(
    tensors.take("brain", (2, 2)), brain.astype("f4")
  )


def test_strided_views_of_one_storage_are_read(tmp_path):
  storage = Storage(np.arange(24, dtype="f4"), "0")
  base = np.arange(24, dtype="f4")
  root = {
    "transposed": Tensor(storage, 0, (4, 3), (1, 4)),
    "tail": Tensor(storage, 20, (2, 2), (2, 1)),
    "steps": Tensor(storage, 1, (3,), (8,)),
    "one": Tensor(storage, 23, (1, 1), (2**47, 5)),
    "scalar": Tensor(storage, 7, (), ()),
    "none": Tensor(storage, 24, (0, 3), (3, 1)),
  }
  got = read(write_zip(tmp_path / "w.pth", entries(root)))
  np.testing.assert_array_equal(got["transposed"], base[:12].reshape(3, 4).T)
  np.testing.assert_array_equal(got["tail"], base[20:].reshape(2, 2))
  np.testing.assert_array_equal(got["steps"], base[1::8])
  assert got["one"].tolist() == [[23]]
  assert got["scalar"] == 7
  assert got["none"].shape == (0, 3)
  with pytest.raises(ValueError, match="read-only"):
    got["tail"][0] = 1


def test_big_endian_files_are_read(tmp_path):
  wanted = np.array([1.5, -2.25e-3], "f4")
  parts = entries(state(w=wanted, n=np.array([258], "i8")))
  parts["archive/byteorder"] = b"big"
  parts["archive/data/0"] = wanted.astype(">f4").tobytes()
  parts["archive/data/1"] = np.array([258], ">i8").tobytes()
  path = write_zip(tmp_path / "w.pth", parts)
  np.testing.assert_array_equal(files.read(path).take("w"), wanted)
  assert read(path)["n"] == 258


@pytest.mark.parametrize("name", ["torch_zip.pth", "torch_legacy.pth"])
def test_torchs_own_files_are_read(name):
  """Written by torch 2.13, in both of its formats."""
  got = read(GOLDENS / name)
  assert list(got) == list(BY_TORCH)
  for key, wanted in BY_TORCH.items():
    assert got[key].dtype == wanted.dtype, key
    np.testing.assert_array_equal(got[key], wanted, err_msg=key)


def test_any_cut_of_a_file_is_an_error(tmp_path):
  """No prefix of a file reads as if it were whole."""
  stream = io.BytesIO()
  with zipfile.ZipFile(stream, "w") as archive:
    for name, content in entries(state(w=np.ones(5, "f4"))).items():
      archive.writestr(name, content)
  whole = stream.getvalue()
  path = tmp_path / "w.pth"
  for size in range(0, len(whole), 7):
    path.write_bytes(whole[:size])
    with pytest.raises(files.WeightsError):
      files.read(path)


def test_no_flip_of_a_byte_goes_unseen_or_crashes(tmp_path):
  """Either the same tensors, or one line."""
  wanted = np.arange(5, dtype="f4")
  path = write_zip(tmp_path / "w.pth", entries(state(w=wanted)))
  whole = path.read_bytes()
  refused = 0
  for i in range(len(whole)):
    path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x41]) + whole[i + 1 :])
    try:
      got = read(path)
    except files.WeightsError as error:
      assert str(error).isprintable()
      refused += 1
    else:
      np.testing.assert_array_equal(next(iter(got.values())), wanted)
  assert refused > len(whole) // 2
