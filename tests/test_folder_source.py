import pytest

from data_pipelines.media.error import MediaError
from data_pipelines.sources import folder


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
  tasks = folder.tasks(videos, held_out=0.0)
  assert [(task.clip, task.identity) for task in tasks] == [
    ("Ann/1", "Ann"),
    ("Ann/x/2", "Ann"),
    ("Bob/1", "Bob"),
    ("a.mov", "a"),
    ("a.mp4", "a"),
    ("b", "b"),
  ]
  assert {task.split for task in tasks} == {"train"}


def test_held_out_people_are_wholly_held_out(videos):
  tasks = folder.tasks(videos, held_out=0.1, seed=1)
  test = {task.identity for task in tasks if task.split == "test"}
  train = {task.identity for task in tasks if task.split == "train"}
  assert len(test) == 1 and not test & train
  assert folder.tasks(videos, held_out=0.1, seed=1)[0].split == tasks[0].split


def test_held_out_numbers():
  names = [f"p{i}" for i in range(10)]
  for held_out, count in ((0.0, 0), (0.01, 1), (0.3, 3), (4.0, 4), (99.0, 9)):
    assert len(folder.held_out_identities(names, held_out, 0)) == count
  assert folder.held_out_identities(names[:3], 0.1, 0) == set()
  draws = [folder.held_out_identities(names, 0.3, seed) for seed in range(6)]
  assert len({frozenset(draw) for draw in draws}) > 3


def test_newcomers_leave_most_people_where_they_were():
  names = [f"p{i}" for i in range(40)]
  before = folder.held_out_identities(names, 0.25, 0)
  after = folder.held_out_identities([*names, "new"], 0.25, 0)
  assert len(before & after) >= len(before) - 1


def test_a_bad_video_is_one_line(videos):
  (task,) = (t for t in folder.tasks(videos) if t.clip == "b")
  with pytest.raises(MediaError, match=r"b\.mp4: empty file"):
    task.make()


def test_no_videos_is_said(tmp_path):
  with pytest.raises(ValueError, match="no videos"):
    folder.tasks(tmp_path)
  with pytest.raises(ValueError, match="no such folder"):
    folder.tasks(tmp_path / "none")
