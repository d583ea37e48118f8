"""What is held out where there is one person, or little of each."""

import numpy as np
import pytest

from data_pipelines.dataset import opening, writer
from data_pipelines.faces import cut
from data_pipelines.ingest import run
from data_pipelines.media import decoder, video
from data_pipelines.media.error import warn
from data_pipelines.media.mp4 import write_video
from data_pipelines.sources import folder
from speak_jax.evaluation import dataset
from speak_jax.evaluation.report import prose
from tests.reported.folders import prepare_toys, put, survey


@pytest.fixture
def ten_seconds(monkeypatch):
  """Every video lasts so long, and none is opened."""
  info = video.VideoInfo(64, 64, 250, 10.0, 25.0, True)
  monkeypatch.setattr(folder.decoder, "probe", lambda path: info)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_the_end_of_each_video_is_held_out(tmp_path, ten_seconds, share):
  for i in range(2):
    put(tmp_path / "Ann" / f"{i}.mp4", b"%d" % i)
  found = survey(tmp_path, held_out=share, kind="moments")
  spans = {(t.clip, t.split): t.records.span for t in found.tasks}
  begin = min(10 * (1 - share), 9.0)  # a clip has a second at least
  assert spans == {
    ("Ann/0", "train"): (0.0, begin - folder.GAP_S),
    ("Ann/0@end", "test"): (begin, 10.0),
    ("Ann/1", "train"): (0.0, begin - folder.GAP_S),
    ("Ann/1@end", "test"): (begin, 10.0),
  }
  assert not found.gaps


def test_what_is_too_short_for_two_is_learned_and_said(
  tmp_path, ten_seconds, monkeypatch
):
  put(tmp_path / "a.mp4")
  info = folder.decoder.probe("")._replace(seconds=2.9)
  monkeypatch.setattr(folder.decoder, "probe", lambda path: info)
  found = survey(tmp_path, kind="moments")
  assert [(t.clip, t.split) for t in found.tasks] == [("a", "train")]
  assert found.gaps == [
    "a: 2.9 s are too short to hold out an end of",
    folder.NO_TEST,
  ]
  with pytest.raises(ValueError, match="--held-out below 1"):
    survey(tmp_path, held_out=2.0, kind="moments")


def test_clips_of_each_person_are_held_out(tmp_path):
  for i in range(10):
    put(tmp_path / "Ann" / f"{i}.mp4", b"a%d" % i)
  put(tmp_path / "Bob" / "only.mp4", b"b")
  tasks = survey(tmp_path, held_out=0.3, kind="clips").tasks
  split = {task.clip: task.split for task in tasks}
  assert sum(x == "test" for x in split.values()) == 3
  assert split["Bob/only"] == "train"


def test_a_set_of_one_person_says_that_nobody_is_held_out(tmp_path):
  put(tmp_path / "Ann" / "a.mp4", b"1")
  put(tmp_path / "Ann" / "b.mp4", b"2")
  assert survey(tmp_path).gaps == [folder.NO_TEST]
  assert not survey(tmp_path, held_out=0.0).gaps
  for kind in ("people", "clips"):
    tasks = survey(tmp_path, kind=kind).tasks
    assert ("test" in {t.split for t in tasks}) == (kind == "clips")


@pytest.mark.filterwarnings("error")
def test_the_length_of_a_video_is_looked_up_in_silence(tmp_path, monkeypatch):
  """What is odd about the file is said as it is made."""

  def probe(path):
    warn(path, "breaks off")
    return video.VideoInfo(64, 64, 500, 20.0, 25.0, True)

  monkeypatch.setattr(decoder, "probe", probe)
  put(tmp_path / "Ann" / "a.mp4")
  found = survey(tmp_path, held_out=0.4, kind="moments")
  assert [task.split for task in found.tasks] == ["train", "test"]


def test_moments_of_one_person_become_two_splits(tmp_path, film):
  """No frame of the end is learned, and evaluation finds the end."""
  raw = tmp_path / "raw" / "Ann"
  raw.mkdir(parents=True)
  frames = np.concatenate([np.stack([*decoder.read_frames(film)])] * 3)
  sound = np.concatenate([decoder.read_audio(film, len(frames) // 3)] * 3)
  write_video(raw / "long.mp4", frames, 25.0, sound)
  settings = cut.Settings(size=64)
  found = folder.survey(
    tmp_path / "raw", settings=settings, held_out=0.4, kind="moments"
  )
  meta = {"source": "folder", writer.HELD_OUT: "moments"}
  with pytest.raises(ValueError, match="identity Ann is in two splits"):
    run.prepare(found.tasks, tmp_path / "no", workers=0, meta={})
  run.prepare(found.tasks, tmp_path / "data", workers=0, meta=meta)
  train = opening.open_records(tmp_path / "data", "train")
  test = opening.open_records(tmp_path / "data", "test")
  assert {x.identity for x in (*train.index, *test.index)} == {"Ann"}
  learned = sum(row.frames for row in train.index) / 25
  held_out = sum(row.frames for row in test.index) / 25
  assert learned == pytest.approx(6.6 * 0.6 - folder.GAP_S, abs=0.1)
  assert held_out == pytest.approx(6.6 * 0.4, abs=0.1)
  assert dataset.held_out_kinds(test) == {"moments"}
  assert prose.held_out(1, {"moments"}).startswith("moments of 1 person, of")


def test_a_missing_split_names_the_flag_that_makes_one(raw):
  prepare_toys(raw)
  with pytest.raises(ValueError, match="no split 'test'; it has train") as e:
    opening.open_records(raw.parent / "data", "test")
  assert "--held-out-kind=moments" in str(e.value)
