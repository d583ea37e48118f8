"""Folders and files that are known by more than their names.

The rows of the reports on names, folders, duplicates, bundles, settings and one
person's run; each as its whole kind.
"""

import ast
import functools
import json
import math
import os
import shutil
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import av
import numpy as np
import pytest
from absl import flags
from ml_collections import ConfigDict

from data_pipelines import inspect
from data_pipelines.dataset import offsets, opening, writer
from data_pipelines.dataset.index import read_index
from data_pipelines.faces import cut
from data_pipelines.faces.tracker import Tracker
from data_pipelines.ingest import plan, run
from data_pipelines.ingest.outcomes import PrepareError
from data_pipelines.media import decoder, lettering, video
from data_pipelines.media.error import MediaError, MediaWarning, warn
from data_pipelines.media.mp4 import write_video
from data_pipelines.sources import counts, folder, tree, video_files
from data_pipelines.sources.task import Task
from data_pipelines.synthetic import film as films
from speak_jax import bundle as bundles
from speak_jax.common import command_line, exit_codes, names
from speak_jax.configs import speak
from speak_jax.evaluation import dataset
from speak_jax.evaluation.report import prose, sheets
from speak_jax.inference import talking_head
from speak_jax.inference.synthesizer import Synthesizer
from speak_jax.tools.ablate import plan as ablate
from speak_jax.training import config_validation
from tests import glass, toy_records
from tests.sources.recipe import RECIPE


@pytest.fixture(scope="session")
def film(tmp_path_factory, face_models):
  """A drawn person of two seconds, as an mp4."""
  return films.film(RECIPE, tmp_path_factory.mktemp("film"))


def put(path, content=b"x"):
  """A file, and the folders that it needs."""
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with open(path, "wb") as file:
    file.write(content)
  return path


def survey(root, **options):
  return folder.survey(root, settings=cut.Settings(), **options)


def passed(found):
  return {one.kind: one.names for one in found.passed}


def read_lines(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


# --- names that nothing can encode -----------------------------------------

NAMES = {  # as bytes on the disk: as text that anything takes
  b"caf\xe9": "caf\\xe9",  # Latin-1
  b"\xed\xa0\x80": "\\xed\\xa0\\x80",  # half a pair
  b"new\nline\x1b[31m\x07": "new\\x0aline\\x1b[31m\\x07",
  "right\u202eleft".encode(): "right\\u202eleft",
  "two\u2028lines".encode(): "two\\u2028lines",
  b"C:\\xe9": "C:\\\\xe9",  # which must not become the first one's
  "Zo\u00eb\U0001f600\u4e2d".encode(): "Zo\u00eb\U0001f600\u4e2d",
  b"L" * 251: "L" * 251,
  b"-o --help": "-o --help",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_becomes_text_that_anything_takes(tmp_path, name):
  put(os.path.join(os.fsencode(tmp_path), b"A", name + b".mp4"))
  put(os.path.join(os.fsencode(tmp_path), name[:200], b"1.mp4"), b"y")
  tasks = survey(tmp_path).tasks
  found = {task.clip: task for task in tasks}
  assert set(found) == {
    f"A/{NAMES[name]}",
    f"{names.label(os.fsdecode(name[:200]))}/1",
  }
  for task in tasks:
    assert os.path.exists(task.file)
    for text in (task.clip, task.identity):
      text.encode()
      assert len(text.splitlines()) == 1
    with pytest.raises(MediaError) as error:
      task.records()
    str(error.value).encode()


def test_no_two_names_become_one():
  texts = list(map(names.label, map(os.fsdecode, NAMES)))
  assert texts == list(NAMES.values())
  assert names.label("a\\xe9") != names.label(os.fsdecode(b"a\xe9"))
  assert names.printable("Zo\udcc3\udcab") == "Zo\u00eb"  # in an ASCII locale
  assert names.printable(names.printable("a\nb")) == "a\\x0ab"
  stems = [
    names.file_stem(x) for x in ("a/b", "." * 300, "\u4e2d" * 90, "x" * 300)
  ]
  assert stems[0] == "a_b" and names.file_stem("a_b", marked=True) != "a_b"
  assert all(len(x.encode()) < 140 and x[:1] != "." for x in stems)


def test_a_folder_that_libraries_cannot_name_is_refused(tmp_path):
  for good in ("a", "Zo\u00eb \U0001f600", str(tmp_path)):
    names.check_utf8(good)
  with pytest.raises(ValueError, match=r"^a\\xe9: is no UTF-8"):
    names.check_utf8("a\udce9")


def test_what_is_said_of_a_file_is_one_line():
  with pytest.warns(MediaWarning) as said:
    warn(os.fsdecode(b"a\xe9\n.mp4"), "odd")
  assert str(said[0].message) == "a\\xe9\\x0a.mp4: odd"


@pytest.mark.parametrize(
  "locale",
  [
    {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
  ],
)
def test_such_names_end_no_run(tmp_path, film, locale):
  """make_names.sh: each good one is prepared, each bad one is in the list."""
  raw, out = os.fsencode(tmp_path / "raw"), tmp_path / "out"
  good = [b"caf\xe9", "Zo\u00eb \u4e2d".encode(), b"L" * 251]
  for i, name in enumerate(good):  # no two of the same content
    put(os.path.join(raw, b"A", name + b".mp4"), film.read_bytes() + b"%d" % i)
  bad = put(os.path.join(raw, b"B", b"bad\xff\n.mp4"), b"no video")
  command = [
    "--source",
    "folder",
    "--input",
    os.fsdecode(raw),
    "--workers",
    "1",
  ]
  run = subprocess.run(
    [sys.executable, "-m", "data_pipelines.prepare", *command, "--output", out],
    env=os.environ | locale,
    capture_output=True,
    timeout=600,
  )
  assert run.returncode == 0, run.stderr
  (run.stdout + run.stderr).decode("ascii")
  clips = {row.clip for row in read_index(out)}
  assert clips == {f"A/{names.label(os.fsdecode(name))}" for name in good}
  (line,) = read_lines(out / "rejects.jsonl")
  assert line["clip"] == "B/bad\\xff\\x0a"
  assert line["file"] == names.printable(os.fsdecode(bad))
  if "PYTHONUTF8" in locale:
    return
  command = ["data_pipelines.inspect", out, "--sheet", tmp_path / "s.png"]
  run = subprocess.run(
    [sys.executable, "-m", *command],
    env=os.environ | locale,
    capture_output=True,
    timeout=600,
  )
  assert run.returncode == 0, run.stderr


# --- which files are videos ------------------------------------------------

FIRST_BYTES = {
  "mp4": b"\0\0\0\x20ftypisom",
  "mov of old": b"\0\0\0\x20mdat" + bytes(5000),
  "mkv": b"\x1a\x45\xdf\xa3\x9f",
  "avi": b"RIFF\0\0\0\0AVI LIST",
  "wmv": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
  "vob": b"\0\0\1\xba",
  "mpv": b"\0\0\1\xb3",
  "ts": (b"\x47" + bytes(187)) * 40,
  "m2ts": (bytes(4) + b"\x47" + bytes(187)) * 40,
  "ogv": b"OggS" + bytes(24) + b"\x80theora",
  "gif": b"GIF89a" + bytes(800) + b"!\xff\x0bNETSCAPE2.0",
  "flv": b"FLV\1\5",
}
NO_VIDEOS = {
  "heic": b"\0\0\0\x20ftypheic",
  "m4a": b"\0\0\0\x20ftypM4A ",
  "wav": b"RIFF\0\0\0\0WAVE",
  "ogg": b"OggS" + bytes(24) + b"\1vorbis",
  "gif": b"GIF89a" + bytes(900),
  "TypeScript": b"G" + b"export const a = 1;\n" * 400,
  "nothing": b"",
}


@pytest.mark.parametrize("kind", FIRST_BYTES)
def test_a_video_of_any_suffix_is_found_by_its_first_bytes(tmp_path, kind):
  put(tmp_path / "A" / "00001", FIRST_BYTES[kind])
  put(tmp_path / "A" / "odd.xyz", FIRST_BYTES[kind] + b"more")
  assert [t.clip for t in survey(tmp_path).tasks] == ["A/00001", "A/odd"]


@pytest.mark.parametrize("kind", NO_VIDEOS)
def test_what_is_no_video_is_passed_over_and_counted(tmp_path, kind):
  put(tmp_path / "a.mp4")
  put(tmp_path / "b.xyz", NO_VIDEOS[kind])
  found = survey(tmp_path)
  assert [task.clip for task in found.tasks] == ["a"]
  assert passed(found) == {"files of other kinds": ["b.xyz"]}


def test_every_suffix_of_videos_is_taken(tmp_path):
  for suffix in video_files.VIDEO:
    put(tmp_path / f"A{suffix}" / f"1{suffix.upper()}", suffix.encode())
  assert len(survey(tmp_path).tasks) == len(video_files.VIDEO) > 20


def test_what_is_passed_over_is_said_by_kind(tmp_path):
  put(tmp_path / "A" / "a.mp4")
  for name in (
    *("b.jpg", "c.png", "d.wav", "e.zip", "f.txt", "g.mp4.part", "h.LRV"),
    *(".DS_Store", "._a.mp4", "$RECYCLE.BIN/old.mp4", "@eaDir/a.mp4/x.mp4"),
  ):
    put(tmp_path / "A" / name)
  put(tmp_path / "A" / "i.mp4", b"version https://git-lfs.github.com/spec/v1")
  (tmp_path / "A" / "gone.mp4").symlink_to("nothing")
  os.mkfifo(tmp_path / "A" / "pipe.mp4")
  found = survey(tmp_path)
  assert [task.clip for task in found.tasks] == ["A/a"]
  assert {kind: len(some) for kind, some in passed(found).items()} == {
    "pictures": 2,
    "sounds": 1,
    "archives; unpack what is to be used": 1,
    "texts and tables": 1,
    "unfinished downloads": 1,
    "a camera's previews and lists": 1,
    "hidden names": 2,
    "folders of the system's own": 2,
    "Git LFS pointers; run git lfs pull": 1,
    "broken links": 1,
    "pipes, sockets and devices": 1,
  }
  text = counts.page(found)
  assert "        2  pictures (.jpg, .png)" in text
  assert "           A/gone.mp4: No such file or directory" in text


def test_a_file_is_no_folder(tmp_path):
  with pytest.raises(ValueError, match="is a file; give the folder"):
    survey(put(tmp_path / "a.mp4"))


def test_a_folder_without_videos_says_what_there_is(tmp_path):
  put(tmp_path / "a.jpg")
  put(tmp_path / "b.zip")
  with pytest.raises(ValueError, match="but 1 archives; unpack what"):
    survey(tmp_path)


def test_containers_are_told_by_what_is_in_them(tmp_path):
  """Names without a suffix."""
  for name, form, codec in (
    ("clip_mts", "mpegts", "libx264"),
    ("clip_ogv", "ogg", "libvpx"),
    ("clip_wmv", "asf", "wmv2"),
    ("clip_gif", "gif", "gif"),
  ):
    with av.open(str(tmp_path / name), "w", format=form) as out:
      stream = out.add_stream(codec, rate=25)
      stream.width, stream.height = 32, 32
      stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
      for level in range(5):
        grey = np.full((32, 32, 3), 40 * level, np.uint8)
        frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
        out.mux(stream.encode(frame))
      out.mux(stream.encode(None))
  found = survey(tmp_path)
  assert len(found.tasks) == 4 and not found.passed


# --- one video under several names -----------------------------------------


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


# --- a raw video replaced under its name -----------------------------------


def read_number(path):
  """A clip whose pictures say what is in its file, "3" or "bad"."""
  number = path.read_text()[:1]
  if number == "b":
    raise MediaError(path, "no face found")
  return [toy_records.record(int(number), frames=4)._replace(clip=path.stem)]


@pytest.fixture
def raw(tmp_path):
  """Three videos, of which one cannot be used."""
  for i, text in enumerate(("1", "2", "bad")):
    put(tmp_path / "raw" / f"c{i}.mp4", text.encode())
  return tmp_path / "raw"


def prepare_toys(raw, sounds=False, **options):
  made = []

  def make(path):
    made.append(path.stem)
    return read_number(path)

  tasks = [
    Task(
      path.stem,
      f"p{path.stem}",
      "train",
      functools.partial(make, path),
      str(path),
      sound=str(path.with_suffix(".wav")) if sounds else "",
    )
    for path in sorted(raw.glob("*.mp4"))
  ]
  out = raw.parent / "data"
  run.prepare(tasks, out, workers=0, meta={"source": "toy"}, **options)
  return made


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
  good = read_number
  monkeypatch.setitem(globals(), "read_number", _refuse_the_last)
  with pytest.raises(PrepareError):
    prepare_toys(raw)
  monkeypatch.setitem(globals(), "read_number", good)
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

  monkeypatch.setitem(globals(), "read_number", late)
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


# --- one person's run ------------------------------------------------------


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


# --- names on sheets -------------------------------------------------------


def ink(text, width=400, **options):
  picture = np.full((20, width, 3), 255, np.uint8)
  lettering.write(picture, text, (3, 14), **options)
  return picture


@pytest.mark.parametrize(
  "name",
  [
    "\u00c4nna",
    "\u0141\u00f3d\u017a",
    "\u0395\u03bb\u03ad",
    "\u0414\u043c\u0439",
    "Nguy\u1ec5n",
  ],
)
def test_a_name_is_drawn_as_it_is_written(name):
  assert lettering.drawable(name) == name
  drawn = ink(name)
  columns = (drawn < 128).any((0, 2))
  assert columns.sum() >= 3 * len(name)
  # No letter is a question mark, or the box of a font that lacks it.
  for letter in name:
    for other in ("?", "\uffff"):
      assert (ink(letter) != ink(other)).any()
  assert (ink(name) == ink(unicodedata.normalize("NFD", name))).all()


@pytest.mark.parametrize(
  ("name", "said"),
  [
    ("\u4e2d\u6587", "\\u4e2d\\u6587"),
    ("caf\udce9", "caf\\xe9"),
    ("a\nb", "a\\x0ab"),
    ("\U0001f9d1", "\\U0001f9d1"),
  ],
)
def test_a_letter_that_cannot_be_drawn_is_its_number(name, said):
  assert lettering.drawable(name) == said
  assert (ink(name) == ink(said)).all()


def test_letters_that_run_leftward_are_drawn_or_their_numbers(monkeypatch):
  name = "\u0645\u0631\u064a\u0645"
  assert lettering.features.check("raqm") == (lettering.drawable(name) == name)
  monkeypatch.setattr(lettering.features, "check", lambda feature: False)
  assert lettering.drawable(name) == "\\u0645\\u0631\\u064a\\u0645"


def test_a_long_name_ends_in_dots_and_within_its_picture():
  drawn = ink("W" * 200, width=90)
  assert (drawn[:, :60] < 128).any() and (drawn[:, 88:] > 128).all()
  assert lettering._fitted("W" * 200, lettering._font(11), 87).endswith("W...")


def test_sheets_have_the_names(tmp_path):
  cells = np.zeros((2, 3, 32, 32, 3), np.uint8)
  names_of = [
    sheets.draw(cells, [x, "b"]) for x in ("\u00c4nna", "?nna", "Anna")
  ]
  assert all((names_of[0] != other).any() for other in names_of[1:])
  one = toy_records.record(1, frames=8, size=64)
  for name in ("\u00c4nna", "?nna"):
    task = Task(
      "c", name, "train", functools.partial(list, [one._replace(identity=name)])
    )
    run.prepare([task], tmp_path / name[1:] / name[0], workers=0, meta={})
  drawn = [
    inspect.sheet(inspect.Prepared(path))
    for path in (tmp_path / "nna").iterdir()
  ]
  assert (drawn[0] != drawn[1]).any()


# --- settings that cannot be -----------------------------------------------

CONFIGS = {preset: speak.get_config(preset) for preset in speak.PRESETS}
KEYS = sorted(
  {p for c in CONFIGS.values() for p, _ in config_validation.leaves(c)}
)
EXAMPLE = {
  p: v for c in CONFIGS.values() for p, v in config_validation.leaves(c)
}


@pytest.mark.parametrize("preset", CONFIGS)
def test_every_preset_may_be(preset):
  config_validation.validate(CONFIGS[preset])


@pytest.mark.parametrize("name", ablate.ROWS)
def test_every_ablation_may_be(name):
  config = ConfigDict(CONFIGS["base256"].to_dict())
  config.update_from_flattened_dict(dict(ablate.ROWS[name].overrides))
  config_validation.validate(config)


def wrong_values(value):
  """Values of the key's kind that no key may have."""
  if isinstance(value, bool):
    return ["yes", 7, None]
  if isinstance(value, int):
    return [-5, 1.5, "many", True, None]
  if isinstance(value, float):
    return [-5.0, math.nan, math.inf, -math.inf, "much", True, None]
  if isinstance(value, str):
    return [3, "two\nlines", "\t ", None]
  return [-5, ("bogus",), (-5,), (math.nan, 1), None]


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_every_key_refuses_what_it_cannot_be(path):
  rule = config_validation.rule_of(path)
  assert rule is not None and rule.allows(EXAMPLE[path])
  for value in wrong_values(EXAMPLE[path]):
    config = CONFIGS["paper"].to_dict()
    node = config
    for name in path[:-1]:
      node = node[name]
    node[path[-1]] = value
    with pytest.raises(ValueError) as error:
      config_validation.validate(ConfigDict(config))
    assert str(error.value).startswith(f"config.{'.'.join(path)} = ")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
  ("key", "values"),
  [
    ("irfd.optim.b1", [1.0, 1.5]),
    ("irfd.optim.lr", [0.0]),
    ("irfd.optim.ema", [1.0]),
    ("irfd.steps", [0]),
    ("irfd.gan_ramp", [(5, 1), (1,), (1, 2, 3)]),
    ("irfd.pairs", ["bogus", "self:0", "self:nan", "", "self:1,twins:x"]),
    ("irfd.losses", ["rubost"]),
    ("model.dtype", ["half"]),
    ("model.norm", ["layer"]),
    ("mesh.data", [0, -2]),
    ("data.workers", [-2]),
    ("data.fps", [0.0, 1e6]),
    ("data.mix", [{"a": -1.0}, {"a": math.nan}]),
    ("speak.lr_factors", [{"speak/audio": -1.0}]),
    ("stages", [(), ("speek",)]),
    ("seed", [-1, 2**32]),
    ("irfd.drop_maps", [1.01]),
    ("syncnet.temperature", [0.0]),
  ],
)
def test_ranges_end_where_they_should(key, values):
  for value in values:
    config = ConfigDict(CONFIGS["base256"].to_dict(), type_safe=False)
    config.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=rf"^config\.{key}"):
      config_validation.validate(config)


FLAGS = {
  "--out=": "--out is empty; is a variable",
  "--out=  ": "--out is empty; is a variable",
  "--names=": "--names is empty",
  "--names=a,,b": "--names is empty",
  "--rate=nan": "--rate=nan is not a finite number",
  "--rate=inf": "--rate=inf is not a finite number",
  "--kind=other": "value should be one of <a|b>",
  "--count=-1": "--count=-1: -1 is not a non-negative",
  "": "a word is empty",
}


@pytest.fixture
def flag_values(monkeypatch):
  """Flags as a command of ours has them."""
  values = flags.FlagValues()
  monkeypatch.setattr(flags, "FLAGS", values)
  at = {"flag_values": values, "module_name": "speak_jax.some"}
  flags.DEFINE_integer("verbosity", 0, "", flag_values=values)
  for flag in (
    flags.Flag(flags.ArgumentParser(), None, "out", "", ""),
    flags.Flag(flags.FloatParser(0), None, "rate", 1.0, ""),
    flags.Flag(flags.IntegerParser(0), None, "count", 1, ""),
    flags.EnumFlag("kind", "a", "", ["a", "b"]),
    flags.Flag(
      flags.ListParser(), flags.CsvListSerializer(","), "names", ["x"], ""
    ),
  ):
    flags.DEFINE_flag(flag, **at)
  return values


@pytest.mark.parametrize("word", FLAGS)
def test_a_flag_without_a_word_or_number_is_refused(flag_values, capsys, word):
  with pytest.raises(SystemExit) as end:
    command_line.parser("some")(["some", word])
  (line,) = capsys.readouterr().err.splitlines()
  assert end.value.code == exit_codes.BAD_CONFIG
  assert line.startswith("some: ") and FLAGS[word] in line


def test_defaults_may_be_empty(flag_values):
  assert command_line.parser("some")(["some", "--rate=2", "word"]) == [
    "some",
    "word",
  ]


def test_every_number_of_a_command_has_a_least_value():
  """In the call that defines it: a name below, or the fourth word."""
  root = Path(__file__).parents[2]
  missing = []
  for path in [
    *root.glob("speak_jax/**/*.py"),
    *root.glob("data_pip*/**/*.py"),
  ]:
    for node in ast.walk(ast.parse(path.read_text())):
      if not isinstance(node, ast.Call):
        continue
      if ast.unparse(node.func).endswith(("DEFINE_integer", "DEFINE_float")):
        bounds = [x for x in node.keywords if x.arg == "lower_bound"]
        if not (bounds or len(node.args) > 3):
          missing.append(f"{path.name}: {ast.unparse(node.args[0])}")
  assert missing == ["generate.py: 'size'"]  # which says what it may be itself


@pytest.mark.parametrize(
  ("command", "said"),
  [
    (
      ["speak_jax.train", "--config=configs/speak.py:demo", "--workdir="],
      "train: --workdir is empty",
    ),
    (
      [
        "speak_jax.train",
        "--config=configs/speak.py:demo,syncnet.steps=-5",
        "--workdir=RUN",
      ],
      "train: config.syncnet.steps = -5 is not a whole number from 1 on",
    ),
    (
      ["data_pipelines.prepare", "--source=synthetic", "--seconds=nan"],
      "prepare: --seconds=nan is not a finite number",
    ),
    (
      ["speak_jax.evaluate", "--model=RUN", "--data=", "--out=OUT"],
      "evaluate: --data is empty",
    ),
  ],
)
def test_commands_say_so_before_any_work(tmp_path, command, said):
  words = [x.replace("=RUN", f"={tmp_path / 'run'}") for x in command[1:]]
  run = subprocess.run(
    [sys.executable, "-m", command[0], *words], capture_output=True, text=True
  )
  assert run.returncode == exit_codes.BAD_CONFIG
  assert run.stderr.startswith(said) and len(run.stderr.splitlines()) == 1
  assert not list(tmp_path.iterdir())


# --- a bundle as people have it --------------------------------------------


@pytest.fixture
def bundle(tmp_path):
  """A bundle, small: what its functions do is of no matter here."""
  content = bundles.Bundle(
    config={"seed": 3},
    weights={"speak/params/gain": np.arange(3, dtype=np.float32)},
    artifacts={name: name.encode() for name in bundles.FUNCTIONS},
  )
  bundles.write(tmp_path / "bundle", content, "# Model card\n")
  return tmp_path / "bundle"


def as_a_mac_has_it(folder):
  (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
  (folder / "stablehlo" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
  (folder / "._model.safetensors").write_bytes(b"\0\5\x16\7")


def as_git_has_it(folder):
  (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
  (folder / ".git" / "objects").mkdir(parents=True)
  (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")


def as_hf_download_has_it(folder):
  cache = folder / ".cache" / "huggingface" / "download"
  cache.mkdir(parents=True)
  (cache / "model.safetensors.metadata").write_text("0123\nabc\n1.0\n")


def with_another_card(folder):
  (folder / "README.md").write_text("---\nlicense: mit\n---\n# My model\n")


def without_a_card(folder):
  (folder / "README.md").unlink()


def with_files_of_its_owner(folder):
  (folder / "samples").mkdir()
  (folder / "samples" / "take.mp4").write_bytes(b"film")
  (folder / "other.safetensors").write_bytes(b"other weights")


def as_the_hubs_cache_has_it(folder):
  """snapshots/REV/file is a link to ../../blobs/DIGEST."""
  blobs = folder.parent / "blobs"
  blobs.mkdir()
  for i, file in enumerate(sorted(x for x in folder.rglob("*") if x.is_file())):
    file.rename(blobs / f"{i}")
    file.symlink_to(os.path.relpath(blobs / f"{i}", file.parent))


def with_sums_made_anew(folder):
  """As `sha256sum -b ./*` and Windows write them."""
  sums = folder / "SHA256SUMS"
  text = sums.read_text().replace("  ", " *./")
  sums.write_bytes(text.replace("\n", "\r\n").encode())


@pytest.mark.parametrize(
  "change",
  [
    as_a_mac_has_it,
    as_git_has_it,
    as_hf_download_has_it,
    with_another_card,
    without_a_card,
    with_files_of_its_owner,
    as_the_hubs_cache_has_it,
    with_sums_made_anew,
  ],
)
def test_a_bundle_is_read_however_it_came(bundle, change):
  before = bundles.read(bundle)
  change(bundle)
  found = bundles.read(bundle)
  assert found.config == before.config and found.artifacts == before.artifacts
  np.testing.assert_array_equal(found.weights["speak/params/gain"], [0, 1, 2])


@pytest.mark.parametrize(
  ("name", "content", "said"),
  [
    ("stablehlo/pose.bin", b"other", "altered: differs from SHA256SUMS"),
    ("stablehlo/pose.bin", None, "missing"),
    (
      "model.safetensors",
      b"version https://git-lfs.github.com",
      "git lfs pull",
    ),
    ("config.json", b"{}", "altered"),
    ("evaluation.safetensors", b"mine", "not listed in SHA256SUMS"),
  ],
)
def test_what_is_used_is_whole_and_unaltered(bundle, name, content, said):
  as_hf_download_has_it(bundle)
  if content is None:
    (bundle / name).unlink()
  else:
    (bundle / name).write_bytes(content)
  with pytest.raises(bundles.BundleError) as error:
    bundles.read(bundle)
  assert str(error.value).startswith(f"{bundle / name}: ")
  assert said in str(error.value) and "\n" not in str(error.value)


def test_a_blob_that_was_deleted_is_named(bundle):
  as_the_hubs_cache_has_it(bundle)
  shutil.rmtree(bundle.parent / "blobs")
  (bundle / "SHA256SUMS").unlink()
  (bundle / "SHA256SUMS").write_text("0  config.json\n")
  with pytest.raises(bundles.BundleError, match=r"missing \(a broken link\)"):
    bundles.read(bundle)


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (as_git_has_it, ".git/HEAD: is not of the bundle"),
    (with_files_of_its_owner, "other.safetensors: is not of the bundle"),
    (with_another_card, "README.md: was edited"),
  ],
)
def test_a_new_bundle_takes_nothing_away(bundle, change, said):
  content = bundles.read(bundle)
  change(bundle)
  before = {x: x.read_bytes() for x in bundle.rglob("*") if x.is_file()}
  with pytest.raises(bundles.BundleError) as error:
    bundles.write(bundle, content, "# Model card\n")
  assert said in str(error.value)
  assert before == {x: x.read_bytes() for x in bundle.rglob("*") if x.is_file()}


def test_litter_is_no_reason_not_to_replace_a_bundle(bundle):
  content = bundles.read(bundle)
  as_a_mac_has_it(bundle)
  as_hf_download_has_it(bundle)
  bundles.write(bundle, content._replace(config={"seed": 4}), "# New\n")
  assert bundles.read(bundle).config["seed"] == 4


def test_generate_says_any_name_in_a_line(tmp_path, film):
  """Latin-1, a line break and an escape, as input and output."""
  odd = os.fsdecode(b"a\xe9\n\x1b[31m.mp4")
  shutil.copyfile(film, tmp_path / odd)
  synthesizer = Synthesizer(glass.functions(), glass.VARIABLES, glass.SETTINGS)
  said = []
  inputs = dict.fromkeys(("identity", "audio", "pose", "emotion"), odd)
  talking_head.generate(
    synthesizer,
    **{kind: tmp_path / name for kind, name in inputs.items()},
    output=tmp_path / f"out{odd}",
    tracker=Tracker(),
    size=64,
    say=said.append,
  )
  assert (tmp_path / f"out{odd}").stat().st_size > 1000
  assert f"identity  {tmp_path}/a\\xe9\\x0a\\x1b[31m.mp4" in said
  assert all(x.isprintable() for x in said)


PRINT = """
import sys
from speak_jax.common import command_line
command_line.print_all()
print("Zo\\u00eb caf\\udce9")
print("Zo\\u00eb caf\\udce9", file=sys.stderr)
"""


@pytest.mark.parametrize(
  ("encoding", "shown"),
  [
    ("ascii", b"Zo\\xeb caf\\xe9\n"),
    ("utf-8", "Zo\u00eb caf\\xe9\n".encode()),
    ("latin-1", b"Zo\xeb caf\\xe9\n"),
  ],
)
def test_any_name_can_be_printed_anywhere(encoding, shown):
  run = subprocess.run(
    [sys.executable, "-c", PRINT],
    env=os.environ | {"PYTHONIOENCODING": encoding},
    capture_output=True,
  )
  assert run.returncode == 0, run.stderr
  assert run.stdout == run.stderr == shown
