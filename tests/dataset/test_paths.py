"""What config.data.path and --data name: DIR, or NAME=DIR."""

from pathlib import Path

import pytest

from data_pipelines.dataset import paths


def test_folders_have_the_names_they_are_given():
  assert paths.named_folders("mead=/data/mead, hdtf ,/data/take=1/set,") == {
    "mead": Path("/data/mead"),
    "hdtf": Path("hdtf"),
    "set": Path("/data/take=1/set"),
  }
  assert paths.named_folders("a=b=c") == {"a": Path("b=c")}


def test_a_folder_is_called_as_its_place_says(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert paths.named_folders(".") == {tmp_path.name: Path()}


def test_equal_names_and_none_are_refused():
  with pytest.raises(ValueError, match=r"e/x: a second data set 'x'; .*=e/x"):
    paths.named_folders("d/x,e/x")
  assert len(paths.named_folders("d/x,y=e/x")) == 2
  with pytest.raises(ValueError, match="names no data set"):
    paths.named_folders(" ,")


def test_absolute_keeps_the_names(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert paths.absolute("a=b, c,/d=e,") == f"a={tmp_path}/b,{tmp_path}/c,/d=e"
