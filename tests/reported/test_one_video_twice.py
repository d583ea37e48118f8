"""Links, copies and accents: one video, one person."""

import os
import shutil

import pytest

from data_pipelines.sources import tree
from tests.reported.folders import passed, put, survey


def test_a_loop_of_links_multiplies_nothing(tmp_path):
  """make_names.sh: loop/again is loop itself."""
  put(tmp_path / "P" / "a.mp4")
  (tmp_path / "again").symlink_to(".", target_is_directory=True)
  (tmp_path / "P" / "up").symlink_to("..", target_is_directory=True)
  (tmp_path / "P" / "self").symlink_to("self")
  found = survey(tmp_path)
  assert [task.clip for task in found.tasks] == ["P/a"]
  assert passed(found)["links to folders that are looked at"] == [
    "P/up",
    "again",
  ]


def test_a_folder_is_named_as_itself_not_as_its_link(tmp_path):
  put(tmp_path / "z" / "Zoe" / "1.mp4")
  (tmp_path / "a").mkdir()
  (tmp_path / "a" / "link").symlink_to("../z/Zoe")
  (tmp_path / "elsewhere").symlink_to("z")
  found = survey(tmp_path)
  assert [task.clip for task in found.tasks] == ["z/Zoe/1"]


def test_many_links_are_walked_once(tmp_path):
  """2**24 ways lead to the last of these folders."""
  for i in range(24):
    (tmp_path / f"{i}").mkdir()
    (tmp_path / f"{i}" / "a").symlink_to(f"../{i + 1}")
    (tmp_path / f"{i}" / "b").symlink_to(f"../{i + 1}")
  put(tmp_path / "24" / "a.mp4")
  assert len(list(tree.walk(str(tmp_path / "0")))) == 25
  assert len(survey(tmp_path / "0").tasks) == 1


@pytest.mark.parametrize("way", ["symlink", "hard link", "copy"])
@pytest.mark.parametrize("people", [("A", "A"), ("A", "B")])
def test_one_video_under_two_names_is_taken_once(tmp_path, way, people):
  first = put(tmp_path / people[0] / "1.mp4", b"film" * 40_000)
  again = tmp_path / people[1] / "2.mp4"
  again.parent.mkdir(exist_ok=True)
  if way == "symlink":
    again.symlink_to(first)
  elif way == "hard link":
    os.link(first, again)
  else:
    shutil.copyfile(first, again)
  put(tmp_path / "B" / "3.mp4", b"other" * 32_000)  # as large
  found = survey(tmp_path)
  assert [task.clip for task in found.tasks] == ["A/1", "B/3"]
  (line,) = passed(found)[
    f"{'copies of' if way == 'copy' else 'links to'} videos that are taken"
  ]
  assert line.startswith(f"{people[1]}/2.mp4: is A/1.mp4")
  assert ("kept in one split" in line) == (people == ("A", "B"))


def test_a_link_goes_behind_the_file_that_it_means(tmp_path):
  put(tmp_path / "z.mp4", b"1")
  (tmp_path / "a.mp4").symlink_to("z.mp4")
  assert [task.clip for task in survey(tmp_path).tasks] == ["z"]


def test_a_copy_goes_behind_what_it_was_made_of(tmp_path):
  put(tmp_path / "a.mp4", b"1")
  put(tmp_path / "a (1).mp4", b"1")
  put(tmp_path / "a - Copy.mp4", b"1")
  assert [task.clip for task in survey(tmp_path).tasks] == ["a"]


def test_files_of_one_size_and_ends_are_not_taken_for_copies(tmp_path):
  middle = bytes(300_000)
  put(tmp_path / "a.mp4", middle + b"1" + middle)
  put(tmp_path / "b.mp4", middle + b"2" + middle)
  put(tmp_path / "c.mp4", b"")
  put(tmp_path / "d.mp4", b"")
  found = survey(tmp_path)
  assert len(found.tasks) == 4 and not found.passed


@pytest.mark.parametrize("seed", range(8))
def test_who_shares_a_video_is_in_one_split(tmp_path, seed):
  for i in range(8):
    put(tmp_path / f"p{i}" / "own.mp4", b"%d" % i)
  put(tmp_path / "p1" / "x.mp4", b"both")
  put(tmp_path / "p6" / "y.mp4", b"both")
  put(tmp_path / "p6" / "z.mp4", b"chain")
  put(tmp_path / "p3" / "z.mp4", b"chain")
  tasks = survey(tmp_path, seed=seed, held_out=4.0).tasks
  split = {task.identity: task.split for task in tasks}
  assert split["p1"] == split["p6"] == split["p3"]
  assert 1 <= sum(x == "test" for x in split.values()) <= 4


def test_a_person_is_one_however_accents_are_spelled(tmp_path):
  put(tmp_path / "Zo\u00eb" / "1.mp4", b"1")
  put(tmp_path / "Zoe\u0308" / "2.mp4", b"2")
  tasks = survey(tmp_path).tasks
  assert {task.identity for task in tasks} == {"Zo\u00eb"} and len(tasks) == 2


def test_a_folder_that_cannot_be_listed_is_said(tmp_path, monkeypatch):
  put(tmp_path / "a.mp4")
  put(tmp_path / "locked" / "b.mp4")
  look = tree.look

  def refused(path):
    if path.endswith("locked"):
      raise PermissionError(13, "Permission denied")
    return look(path)

  monkeypatch.setattr(tree, "look", refused)
  found = survey(tmp_path)
  assert passed(found)["folders that cannot be listed"] == [
    "locked: Permission denied"
  ]
  with pytest.raises(PermissionError):
    list(tree.walk(str(tmp_path)))
