"""Pickles that would run code do not, and everything odd is refused."""

import io
import os
import pickle
import tracemalloc
from collections import OrderedDict

import numpy as np
import pytest

from speak_jax.pretrained import files, torch_pickle
from speak_jax.pretrained.tensors import WeightsError
from tests.pretrained.torch_files import (
  Call,
  Name,
  Storage,
  Tensor,
  entries,
  legacy_bytes,
  state,
  tensor,
  write_zip,
)


class Evil:
  """Makes a file when it is unpickled."""

  def __init__(self, marker):
    self.marker = marker

  def __reduce__(self):
    return os.mkdir, (str(self.marker),)


def load(root, **options):
  text = entries(root, **options)["archive/data.pkl"]
  return torch_pickle.load(io.BytesIO(text), "f.pth")


def refusal(stream: bytes) -> str:
  with pytest.raises(WeightsError) as caught:
    torch_pickle.load(io.BytesIO(stream), "f.pth")
  assert "\n" not in str(caught.value)
  return str(caught.value)


@pytest.mark.parametrize("protocol", [1, 2, 4, 5, "legacy"])
def test_code_in_a_pth_is_named_and_not_run(tmp_path, protocol):
  marker = tmp_path / "marker"
  pickle.loads(pickle.dumps(Evil(marker)))
  assert marker.is_dir()  # it does run where one lets it
  marker.rmdir()
  root = {**state(w=np.ones(3, "f4")), "more": Evil(marker)}
  path = tmp_path / "w.pth"
  if protocol == "legacy":
    path.write_bytes(legacy_bytes(root))
  else:
    write_zip(path, entries(root, protocol=protocol))
  with pytest.raises(WeightsError) as caught:
    files.read(path)
  assert not marker.exists()
  line = str(caught.value)
  assert line.startswith(f"{path}: refused")
  assert f"{os.mkdir.__module__}.mkdir" in line
  assert "\n" not in line


@pytest.mark.parametrize(
  ("text", "named"),
  [
    (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
    (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"),
    (b"cbuiltins\neval\n.", "builtins.eval"),
    (b"ctorch.storage\n_load_from_bytes\n.", "_load_from_bytes"),
    (b"ctorch\nload\n.", "torch.load"),
    (b"ccollections\nOrderedDict.__init__\n.", "OrderedDict.__init__"),
    (b"(S'true'\nios\nsystem\n.", "INST"),
    (b"ctorch\nSize\n)\x81.", "NEWOBJ"),
    (b"(ctorch\nSize\no.", "OBJ"),
    (b"\x82\x01.", "EXT1"),
    (b"Pfoo\n.", "PERSID"),
    (b"N}b.", "a change of something other than a dict"),
    (b"ctorch\nSize\n}b.", "a change of something other than a dict"),
    (b"NNa.", "a change of something other than a list"),
    (b"ctorch\nFloatStorage\n)R.", "an odd call of torch.FloatStorage"),
    (b"N)R.", "a call of something other than a global"),
    (b"ctorch\nSize\nNR.", "a call of something other than a global"),
    (b"ccollections\nOrderedDict\n(NNtR.", "an odd call of collections"),
    (b"ctorch._utils\n_rebuild_tensor_v2\n(NNNNNNtR.", "without storage"),
    (b"ctorch._utils\n_rebuild_parameter\n(NNNtR.", "an odd call"),
    (b"})Ns.", "a tuple as key"),
    (b"}(NNu.", "a NoneType as key"),
    (b"NQ.", "an unknown reference"),
    (b"(S'module'\nNNNNtQ.", "an unknown reference"),
    (b"(S'storage'\nctorch\nSize\nS'0'\nNI1\ntQ.", "an unknown storage"),
    (b"(S'storage'\nctorch\nFloatStorage\nS'0'\nNI-1\ntQ.", "that is none"),
  ],
)
def test_what_no_state_dict_needs_is_refused(text, named):
  assert named in refusal(text)


@pytest.mark.parametrize(
  "text",
  [
    b"",
    b"N",
    b".",
    b"NN.",
    b"R.",
    b"t.",
    b"h\x05.",
    b"}N\x94a",
    b"\xffN.",
    b"X\xff\xff\xff\x7fabc.",
    b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.",
    b"}(I1\nu.",
    b"}I1\ns.",
    b"Ifoo\n.",
  ],
)
def test_damaged_pickle_is_refused(text):
  assert refusal(text).startswith("f.pth: ")


def test_a_pickle_without_end_is_refused(monkeypatch):
  monkeypatch.setattr(torch_pickle, "MAX_STEPS", 99)
  assert "over 99 steps" in refusal(b"]" * 99 + b".")
  assert "damaged" in refusal(b"]" * 98 + b".")


def test_a_far_place_in_the_memo_costs_no_memory():
  """The standard library's unpickler makes a table of that many places."""
  tracemalloc.start()
  assert torch_pickle.load(io.BytesIO(b"Nr\xff\xff\xff\x7f."), "f").root is None
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 1e6


def test_deep_nesting_is_harmless():
  deep = b"(" * 100_000 + b"t" * 100_000
  assert torch_pickle.load(io.BytesIO(deep + b"."), "f").storages == {}
  assert "as key" in refusal(b"}" + deep + b"Ns.")
  refusal(b"\x80\x04" + deep + deep + b"\x93.")


def test_a_name_with_line_breaks_makes_one_line():
  name = b"os\nsystem\x1b[31m"
  text = b"\x80\x04\x8c" + bytes([len(name)]) + name + b"\x8c\x01x\x93."
  assert refusal(text).isprintable()


STORAGE = Storage(np.arange(12, dtype="f4"), "0")


@pytest.mark.parametrize(
  ("offset", "shape", "strides"),
  [
    (0, (13,), (1,)),
    (0, (3, 5), (5, 1)),
    (1, (3, 4), (4, 1)),
    (13, (0,), (1,)),
    (0, (2,), (12,)),
    (-1, (2,), (1,)),
    (0, (-2,), (1,)),
    (0, (2,), (-1,)),
    (0, (2, 2), (1,)),
    (0, (1000,), (0,)),
    (0, (2**40, 0, 2**40), (1, 1, 1)),
    (0, (2**63,), (0,)),
    (0, (1,) * 40, (1,) * 40),
    (True, (2,), (1,)),
    (0, (2.0,), (1,)),
    (0, [2], [1]),
  ],
)
def test_a_tensor_outside_its_storage_is_refused(offset, shape, strides):
  with pytest.raises(WeightsError, match=r"f\.pth: "):
    load({"w": Tensor(STORAGE, offset, shape, strides)})


def test_both_spellings_of_globals_and_wrappers_are_read():
  tensors = state(w=np.ones((2, 2), "f4"))
  root = OrderedDict(
    w=Call(
      Name("torch._utils._rebuild_parameter"),
      (tensors["w"], True, OrderedDict()),
    ),
    size=Call(Name("torch.Size"), ((1, 2),)),
  )
  for options in ({}, {"protocol": 4, "stack_global": True}):
    loaded = load(root, **options)
    views = torch_pickle.state_dict(loaded.root, "f.pth")
    assert [v.shape for v in views.values()] == [(2, 2)]
    assert loaded.root["size"] == (1, 2)


def test_the_state_dict_is_found_among_other_things():
  weights = state(w=np.ones(2, "f4"))
  other = {"m": tensor(np.ones(3, "f4"), "9")}
  nested = load({"epoch": 3, "state_dict": weights, "args": [None, "x"]})
  assert list(torch_pickle.state_dict(nested.root, "f")) == ["w"]
  both = load({"state_dict": weights, "optimizer": {"state": {0: other}}})
  assert list(torch_pickle.state_dict(both.root, "f")) == ["w"]
  both = load({"state_dict": weights, "ema": other})
  assert list(torch_pickle.state_dict(both.root, "f")) == ["w"]
  for root in ({"epoch": 3}, [1, 2]):
    with pytest.raises(WeightsError, match="no dict of named tensors"):
      torch_pickle.state_dict(load(root).root, "f.pth")


def test_several_networks_are_told_apart_by_their_names():
  weights = state(**{"first.w": np.ones(2, "f4")})
  other = {"m": tensor(np.ones(3, "f4"), "9")}
  several = load({"generator": weights, "critic": other, "epoch": 3})
  views = torch_pickle.state_dict(several.root, "f")
  assert {k: v.shape for k, v in views.items()} == {
    "generator.first.w": (2,), "critic.m": (3,)
  }  # fmt: skip


def test_a_dict_that_holds_itself_ends():
  found = torch_pickle.load(io.BytesIO(b"}q\0X\1\0\0\0ah\0s."), "f").root
  assert found["a"] is found
  with pytest.raises(WeightsError, match="no dict"):
    torch_pickle.state_dict(found, "f")
