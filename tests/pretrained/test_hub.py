import hashlib
import sys
import types

import pytest

from speak_jax.pretrained import hub
from speak_jax.pretrained.tensors import WeightsError


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
  """An empty folder of weights, and a working folder beside it."""
  folder = tmp_path / "weights"
  folder.mkdir()
  monkeypatch.setenv("SPEAK_JAX_WEIGHTS", str(folder))
  monkeypatch.chdir(tmp_path)
  return folder


class EntryNotFoundError(Exception):
  pass


class LocalEntryNotFoundError(EntryNotFoundError):
  pass


def fake_hub(monkeypatch, download):
  """A hub package of which only the download is ours."""
  errors = types.ModuleType("huggingface_hub.errors")
  package = types.ModuleType("huggingface_hub")
  monkeypatch.setattr(errors, "EntryNotFoundError", EntryNotFoundError, False)
  monkeypatch.setattr(
    errors, "LocalEntryNotFoundError", LocalEntryNotFoundError, False
  )
  monkeypatch.setattr(package, "errors", errors, False)
  monkeypatch.setattr(package, "hf_hub_download", download, False)
  monkeypatch.setitem(sys.modules, "huggingface_hub", package)
  monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)


def test_paths_come_first_then_the_folder_of_weights(tmp_path, weights):
  (weights / "w.pth").write_bytes(b"there")
  assert hub.find("w.pth").read_bytes() == b"there"
  (tmp_path / "w.pth").write_bytes(b"here")
  assert hub.find("w.pth").read_bytes() == b"here"
  model = weights / "org" / "model"
  model.mkdir(parents=True)
  (model / "pytorch_model.bin").write_bytes(b"old")
  assert hub.find("org/model").read_bytes() == b"old"
  (model / "model.safetensors").write_bytes(b"new")
  assert hub.find("org/model").read_bytes() == b"new"


def test_torchvisions_hash_is_checked(weights):
  content = b"weights"
  start = hashlib.sha256(content).hexdigest()[:8]
  (weights / f"resnet50-{start}.pth").write_bytes(content)
  assert hub.find(f"resnet50-{start}.pth")
  (weights / f"resnet50-{start}.pth").write_bytes(b"other")
  with pytest.raises(WeightsError, match=f"damaged, .* not {start}"):
    hub.find(f"resnet50-{start}.pth")


def test_a_torchvision_file_that_is_not_there_is_explained(weights):
  with pytest.raises(WeightsError) as caught:
    hub.find("vgg19-dcbb9e9d.pth")
  line = str(caught.value)
  assert "download https://download.pytorch.org/models/vgg19-dcb" in line
  assert str(weights) in line


@pytest.mark.parametrize(
  ("name", "where"),
  [
    ("alexnet-owt-7be5be79.pth", "download.pytorch.org/models/alexnet-owt"),
    ("pt_inception-2015-12-05-6726825d.pth", "fid_weights/pt_inception-2015"),
  ],
)
def test_files_named_by_their_hash_are_explained(name, where, weights):
  with pytest.raises(WeightsError, match=where):
    hub.find(name)
  (weights / name).write_bytes(b"another file")
  with pytest.raises(WeightsError, match="damaged"):
    hub.find(name)


@pytest.mark.parametrize(
  "name", ["none.pth", "runs/none.safetensors", "/none/at/all", "a/../b", ""]
)
def test_what_is_no_hub_id_is_no_such_file(name, monkeypatch):
  fake_hub(monkeypatch, lambda *_, **__: pytest.fail("asked the hub"))
  with pytest.raises(WeightsError, match="no such file, and no hub id"):
    hub.find(name)


@pytest.mark.parametrize(
  ("name", "asked"),
  [
    ("org/model", [("org/model", "model.safetensors", None)]),
    ("org/model/sub/w.bin", [("org/model", "sub/w.bin", None)]),
    ("org/model@v1.0/w.pth", [("org/model", "w.pth", "v1.0")]),
    (
      "org/old@1a2b",
      [
        ("org/old", "model.safetensors", "1a2b"),
        ("org/old", "pytorch_model.bin", "1a2b"),
      ],
    ),
  ],
)
def test_the_hub_is_asked_for_the_file(tmp_path, monkeypatch, name, asked):
  calls = []

  def download(model, file, revision, local_files_only):
    if local_files_only:
      raise LocalEntryNotFoundError
    calls.append((model, file, revision))
    if model == "org/old" and file == "model.safetensors":
      raise EntryNotFoundError
    path = tmp_path / "download"
    path.write_bytes(b"sent")
    return str(path)

  fake_hub(monkeypatch, download)
  assert hub.find(name).read_bytes() == b"sent"
  assert calls == asked


def test_what_was_downloaded_before_needs_no_network(tmp_path, monkeypatch):
  path = tmp_path / "cached"
  path.write_bytes(b"cached")

  def download(model, file, revision, local_files_only):
    assert local_files_only
    if file == "model.safetensors":
      raise LocalEntryNotFoundError
    return str(path)

  fake_hub(monkeypatch, download)
  assert hub.find("org/model") == path


def test_the_hubs_cache_is_checked(tmp_path, monkeypatch):
  digest = hashlib.sha256(b"sent").hexdigest()
  (tmp_path / digest).write_bytes(b"sent")
  link = tmp_path / "model.safetensors.link"
  link.symlink_to(tmp_path / digest)
  fake_hub(monkeypatch, lambda *_, **__: str(link))
  assert hub.find("org/model") == link
  (tmp_path / digest).write_bytes(b"cut")
  with pytest.raises(WeightsError, match="damaged"):
    hub.find("org/model")


@pytest.mark.parametrize(
  ("error", "reason"),
  [
    (LocalEntryNotFoundError("no\nnet"), "out of reach"),
    (OSError("401 Client Error\nlong text"), "401 Client Error"),
    (EntryNotFoundError(), "has no model.safetensors or pytorch_model.bin"),
    (ValueError(), "ValueError"),
  ],
)
def test_without_network_it_says_what_to_do(
  weights, monkeypatch, error, reason
):
  def download(*_, local_files_only, **__):
    raise LocalEntryNotFoundError if local_files_only else error

  fake_hub(monkeypatch, download)
  with pytest.raises(WeightsError) as caught:
    hub.find("org/model@v2")
  line = str(caught.value)
  assert line.isprintable()
  assert reason in line
  assert "/org/model/resolve/v2/model.safetensors" in line
  assert str(weights / "org/model@v2" / "model.safetensors") in line


def test_without_the_package_it_says_so(monkeypatch):
  monkeypatch.setitem(sys.modules, "huggingface_hub", None)
  with pytest.raises(WeightsError, match="huggingface_hub is not installed"):
    hub.find("org/model")
