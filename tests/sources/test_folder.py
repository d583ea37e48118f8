import os

import pytest

from data_pipelines.faces import cut
from data_pipelines.media.error import MediaError
from data_pipelines.sources import folder
from data_pipelines.sources.held_out import held_out_identities
from data_pipelines.sources.task import Labels
from speak_jax import spec


@pytest.fixture
def videos(tmp_path):
  for name in (
    "b.mp4",
    "a.mp4",
    "a.mov",
    "Ann/1.mp4",
    "Ann/x/2.MP4",
    "Bob/1.mkv",
  ):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
  (tmp_path / "notes.txt").write_text("no video")
  (tmp_path / ".hidden.mp4").write_bytes(b"")
  return tmp_path


def test_names_and_identities(videos):
  survey = folder.survey(videos, settings=cut.Settings(), held_out=0.0)
  assert [(task.clip, task.identity) for task in survey.tasks] == [
    ("Ann/1", "Ann"),
    ("Ann/x/2", "Ann"),
    ("Bob/1", "Bob"),
    ("a.mov", "a"),
    ("a.mp4", "a"),
    ("b", "b"),
  ]
  assert all(os.path.exists(task.file) for task in survey.tasks)
  assert {task.split for task in survey.tasks} == {"train"}
  assert {task.labels for task in survey.tasks} == {Labels()}
  assert [task.records.session for task in survey.tasks] == [
    "Ann/1.mp4",
    "Ann/x/2.MP4",
    "Bob/1.mkv",
    "a.mov",
    "a.mp4",
    "b.mp4",
  ]


def test_every_kind_of_video_with_the_settings_that_were_given(tmp_path):
  kinds = ["avi", "flv", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "webm"]
  for kind in kinds:
    (tmp_path / f"{kind}.{kind}").write_bytes(b"")
  settings = cut.Settings(size=64, allow_silent=True)
  tasks = folder.survey(tmp_path, settings=settings).tasks
  assert [task.clip for task in tasks] == kinds
  assert {task.records.settings for task in tasks} == {settings}


def test_held_out_people_are_wholly_held_out(videos):
  options = {"settings": cut.Settings(), "held_out": 0.1, "seed": 1}
  tasks = folder.survey(videos, **options).tasks
  test = {task.identity for task in tasks if task.split == "test"}
  train = {task.identity for task in tasks if task.split == "train"}
  assert len(test) == 1 and not test & train
  assert folder.survey(videos, **options).tasks[0].split == tasks[0].split


def test_held_out_numbers():
  names = [f"p{i}" for i in range(10)]
  for held_out, count in ((0.0, 0), (0.01, 1), (0.3, 3), (4.0, 4), (99.0, 9)):
    assert len(held_out_identities(names, held_out, 0)) == count
  assert held_out_identities(names[:3], 0.1, 0) == set()
  draws = [held_out_identities(names, 0.3, seed) for seed in range(6)]
  assert len({frozenset(draw) for draw in draws}) > 3


def test_newcomers_leave_most_people_where_they_were():
  names = [f"p{i}" for i in range(40)]
  before = held_out_identities(names, 0.25, 0)
  after = held_out_identities([*names, "new"], 0.25, 0)
  assert len(before & after) >= len(before) - 1


def test_a_bad_video_is_one_line(videos):
  tasks = folder.survey(videos, settings=cut.Settings()).tasks
  (task,) = (t for t in tasks if t.clip == "b")
  with pytest.raises(MediaError, match=r"b\.mp4: empty file"):
    task.records()


def test_no_videos_is_said(tmp_path):
  with pytest.raises(ValueError, match="no videos"):
    folder.survey(tmp_path, settings=cut.Settings())
  with pytest.raises(ValueError, match="no such folder"):
    folder.survey(tmp_path / "none", settings=cut.Settings())


def test_names_of_mead_give_actor_and_labels(tmp_path):
  for name in ("x/M030_angry.mp4", "M030_front_sad_level2_001.mp4", "M3.mp4"):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"")
  tasks = folder.survey(tmp_path, settings=cut.Settings(), held_out=0.0).tasks
  assert [(t.identity, t.records.session, t.labels) for t in tasks] == [
    ("M030", "M030", Labels(spec.EMOTIONS.index("sad"), 2, "front")),
    ("M3", "M3.mp4", Labels()),
    ("M030", "M030", Labels(spec.EMOTIONS.index("angry"), 0, "")),
  ]
