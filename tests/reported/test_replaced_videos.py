"""A raw video replaced under its name is made anew, and that is said."""

import json
import os
import time

import pytest

from data_pipelines.dataset import offsets, opening
from data_pipelines.ingest import plan
from data_pipelines.ingest.outcomes import PrepareError
from tests import toy_records
from tests.reported import folders
from tests.reported.folders import prepare_toys, put, read_lines


def shown(raw):
  """What each clip's pictures say."""
  clips = opening.open_records(raw.parent / "data", "train")
  return {
    row.clip: toy_records.read(clips.frames(i, [0], row.size))[0]
    for i, row in enumerate(clips.index)
  }


def forget_stamps(raw):
  """As a data set of before has it."""
  for path in (raw.parent / "data" / ".parts").glob("*.json"):
    facts = json.loads(path.read_text())
    if facts.pop("stamps", None):
      path.write_text(json.dumps(facts))


def test_a_replaced_video_is_made_anew_and_said(raw, capsys):
  assert prepare_toys(raw) == ["c0", "c1", "c2"]
  assert prepare_toys(raw) == []
  put(raw / "c1.mp4", b"7")
  capsys.readouterr()
  assert prepare_toys(raw) == ["c1"]
  assert "1 clips are made anew, for their files have changed: c1" in (
    capsys.readouterr().err
  )
  assert shown(raw) == {"c0": 1, "c1": 7}
  assert prepare_toys(raw) == []


def test_a_date_alone_is_no_change_and_a_size_alone_is_one(raw):
  prepare_toys(raw)
  facts = {
    path: path.read_bytes()
    for path in (raw.parent / "data" / ".parts").glob("*.json")
  }
  for path in raw.iterdir():  # as a copy of the folder has them
    os.utime(path, ns=(1, 1))
  assert prepare_toys(raw) == []
  assert any(path.read_bytes() != old for path, old in facts.items())
  put(raw / "c0.mp4", b"1 and more")
  os.utime(raw / "c0.mp4", ns=(1, 1))
  assert prepare_toys(raw) == ["c0"]


def test_a_reject_whose_file_was_mended_is_tried_again(raw):
  prepare_toys(raw)
  put(raw / "c2.mp4", b"5")
  assert prepare_toys(raw) == ["c2"]
  assert shown(raw) == {"c0": 1, "c1": 2, "c2": 5}
  put(raw / "c0.mp4", b"bad")
  assert prepare_toys(raw) == ["c0"]
  assert set(shown(raw)) == {"c1", "c2"}
  (line,) = read_lines(raw.parent / "data" / "rejects.jsonl")
  assert line["clip"] == "c0"


def test_sound_that_was_replaced_makes_its_clip_anew(raw):
  put(raw / "c0.wav", b"a")
  prepare_toys(raw, sounds=True)
  put(raw / "c0.wav", b"b!")
  put(raw / "c1.wav", b"new")
  assert prepare_toys(raw, sounds=True) == ["c0", "c1"]


def test_a_video_replaced_while_the_set_is_unfinished(raw):
  prepare_toys(raw, shard=(1, 2))
  prepare_toys(raw, shard=(2, 2))
  put(raw / "c1.mp4", b"8")
  assert prepare_toys(raw) == ["c1"]
  assert shown(raw) == {"c0": 1, "c1": 8}


def test_a_clip_kept_of_a_file_that_changed_is_not_used(raw, monkeypatch):
  monkeypatch.setattr(plan, "FEW", 1)  # all in one part
  good = folders.read_number
  monkeypatch.setattr(folders, "read_number", _refuse_the_last)
  with pytest.raises(PrepareError):
    prepare_toys(raw)
  monkeypatch.setattr(folders, "read_number", good)
  put(raw / "c0.mp4", b"9")
  assert prepare_toys(raw) == ["c0", "c2"]
  assert shown(raw) == {"c0": 9, "c1": 2}


def _refuse_the_last(path):
  if path.stem == "c2":
    raise FileNotFoundError("models are missing")
  number = int(path.read_text()[:1])
  return [toy_records.record(number, frames=4)._replace(clip=path.stem)]


def test_older_sets_are_extended_by_what_their_dates_tell(raw):
  for path in raw.iterdir():
    os.utime(path, ns=(1, 1))
  prepare_toys(raw)
  forget_stamps(raw)
  assert prepare_toys(raw) == []
  put(raw / "c0.mp4", b"6")
  os.utime(raw / "c0.mp4", ns=(2, 2))
  assert prepare_toys(raw) == ["c0"]  # their stamps are known from now on
  forget_stamps(raw)
  later = time.time_ns() + 10**9
  put(raw / "c1.mp4", b"4")
  os.utime(raw / "c1.mp4", ns=(later, later))
  assert prepare_toys(raw) == ["c1"]
  assert shown(raw) == {"c0": 6, "c1": 4}


def test_a_file_that_changes_under_the_reader_is_rejected_and_retried(
  raw, monkeypatch
):
  def late(path):
    if path.stem == "c0" and path.read_bytes() == b"1":
      put(path, b"3 is copied")
    return _refuse_none(path)

  monkeypatch.setattr(folders, "read_number", late)
  prepare_toys(raw)
  first = read_lines(raw.parent / "data" / "rejects.jsonl")[0]
  assert first["reason"] == "changed while it was read; run again"
  assert prepare_toys(raw) == ["c0"]
  assert shown(raw)["c0"] == 3


def _refuse_none(path):
  text = path.read_text()[:1]
  number = 0 if text == "b" else int(text)
  return [toy_records.record(number, frames=4)._replace(clip=path.stem)]


def test_what_was_measured_of_the_old_clip_is_forgotten(raw):
  prepare_toys(raw)
  measured = raw.parent / "data" / offsets.NAME
  lines = [offsets.Offset(x, 0, 0.0, 1.0, False) for x in ("c0", "c1")]
  measured.write_text("".join(map(offsets.line, lines)))
  put(raw / "c1.mp4", b"7")
  prepare_toys(raw)
  assert [x["clip"] for x in read_lines(measured)] == ["c0"]
