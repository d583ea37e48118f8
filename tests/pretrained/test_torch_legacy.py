import pickle
import struct

import numpy as np
import pytest

from speak_jax.pretrained import files
from tests.pretrained.torch_files import (
  Call,
  Name,
  Storage,
  Tensor,
  legacy_bytes,
  state,
)

WHOLE = legacy_bytes(
  state(w=np.arange(6, dtype="f4").reshape(2, 3), n=np.array(7))
)


def read(path, content):
  path.write_bytes(content)
  return files.read(path)


def test_files_of_old_torch_are_read(tmp_path):
  tensors = read(tmp_path / "w.pth", WHOLE)
  np.testing.assert_array_equal(
    tensors.take("w", (2, 3)), np.arange(6).reshape(2, 3)
  )
  assert tensors.peek("n") == 7


def test_the_oldest_way_to_name_a_tensor_is_read(tmp_path):
  storage = Storage(np.arange(6, dtype="f4"), "94")
  arguments = (storage, 2, (2, 2), (2, 1))
  old = Call(Name("torch._utils._rebuild_tensor"), arguments)
  # Python 2 makes an OrderedDict of a list of pairs.
  root = Call(Name("collections.OrderedDict"), ([["w", old]],))
  tensors = read(tmp_path / "w.model", legacy_bytes(root))
  np.testing.assert_array_equal(tensors.take("w"), [[2, 3], [4, 5]])


def test_shared_storages_are_read_once(tmp_path):
  storage = Storage(np.arange(6, dtype="f4"), "0")
  root = {
    "a": Tensor(storage, 0, (3,), (1,)),
    "b": Tensor(storage, 3, (3,), (1,)),
  }
  tensors = read(tmp_path / "w.pth", legacy_bytes(root))
  assert tensors.take("b").tolist() == [3, 4, 5]


def test_any_cut_of_a_file_is_an_error(tmp_path):
  for size in range(len(WHOLE)):
    with pytest.raises(files.WeightsError) as caught:
      read(tmp_path / "w.pth", WHOLE[:size])
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
  ("content", "named"),
  [
    (WHOLE + b"x", "1 bytes too many"),
    (WHOLE.replace(struct.pack("<q", 6), struct.pack("<q", 5)), "two sizes"),
    (pickle.dumps({"w": [1.0]}, 2) * 3, "a pickle, but not torch's"),
    (WHOLE.replace(b"little_endian", b"little_indian"), "big-endian"),
    (b"\x80\x02" + b"cos\nsystem\n.", "os.system"),
  ],
)
def test_odd_files_are_refused(tmp_path, content, named):
  with pytest.raises(files.WeightsError, match=named):
    read(tmp_path / "w.pth", content)
