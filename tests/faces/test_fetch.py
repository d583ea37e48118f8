import hashlib
import importlib.util
import subprocess
import sysconfig
import zipfile
from pathlib import Path

import pytest

from data_pipelines.faces import fetch, nets


@pytest.fixture
def wheel(tmp_path, monkeypatch):
  """A wheel with small stand-ins, whose digests are pinned."""
  path = tmp_path / "models.whl"
  digests = {}
  with zipfile.ZipFile(path, "w") as archive:
    for name, folder in fetch._FOLDERS.items():
      data = name.encode()
      archive.writestr(f"{folder}/{name}", data)
      digests[name] = hashlib.sha256(data).hexdigest()
  monkeypatch.setattr(nets, "MODEL_FILES", digests)
  return path


def test_fetches_once(wheel, tmp_path, monkeypatch):
  monkeypatch.setattr(fetch, "_download", lambda scratch: wheel)
  target = tmp_path / "models"
  assert fetch.fetch(target)
  assert sorted(x.name for x in target.iterdir()) == sorted(nets.MODEL_FILES)
  monkeypatch.setattr(fetch, "_download", None)  # a call would fail
  assert not fetch.fetch(target)


def test_a_damaged_file_is_fetched_again(wheel, tmp_path, monkeypatch):
  monkeypatch.setattr(fetch, "_download", lambda scratch: wheel)
  target = tmp_path / "models"
  fetch.fetch(target)
  (target / "face_landmark.tflite").write_bytes(b"damaged")
  assert fetch.fetch(target)
  assert nets.is_right(target / "face_landmark.tflite")


def test_other_content_is_refused(wheel, tmp_path, monkeypatch):
  monkeypatch.setitem(nets.MODEL_FILES, "face_landmark.tflite", "0" * 64)
  target = tmp_path / "models"
  with pytest.raises(fetch.FetchError, match="another SHA-256"):
    fetch.unpack(wheel, target, ["face_landmark.tflite"])
  assert list(target.iterdir()) == []


def test_missing_models_say_what_to_do(tmp_path):
  with pytest.raises(nets.MissingModelError, match=r"faces\.fetch"):
    nets.checked(tmp_path / "face_landmark.tflite")


def test_environment_without_pip_uses_the_one_python_brings(
  tmp_path, monkeypatch
):
  """As uv makes them."""
  assert fetch._pip()[1:] == ["-m", "pip"]
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  done = subprocess.run([*fetch._pip(), "--version"], capture_output=True)
  assert done.stdout.startswith(b"pip "), done.stderr
  wheel = Path(fetch._pip()[1]).parent
  monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
  monkeypatch.setattr(
    sysconfig, "get_config_var", {"WHEEL_PKG_DIR": wheel.parent}.get
  )
  assert Path(fetch._pip()[1]).parent == wheel
  monkeypatch.setattr(sysconfig, "get_config_var", {}.get)
  with pytest.raises(fetch.FetchError, match="needs pip; install it"):
    fetch._pip()


def test_folder_of_the_models(tmp_path, monkeypatch):
  """Named, in a checkout, and in the user's cache where it is installed."""
  monkeypatch.delenv("SPEAK_JAX_MODELS", raising=False)
  faces = Path(nets.__file__).parent
  assert nets.models_dir() == faces / "models"
  site = tmp_path / "site-packages" / "data_pipelines" / "faces" / "nets.py"
  monkeypatch.setattr(nets, "__file__", str(site))
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  assert nets.models_dir() == tmp_path / "speak_jax" / "models"
  monkeypatch.delenv("XDG_CACHE_HOME")
  monkeypatch.setenv("HOME", str(tmp_path))
  assert nets.models_dir() == tmp_path / ".cache" / "speak_jax" / "models"
  monkeypatch.setenv("SPEAK_JAX_MODELS", "/models")
  assert nets.models_dir() == Path("/models")
