"""The command: what it chooses, says and refuses before any clip is made."""

import json

import pytest
from absl import flags
from absl.testing import flagsaver

from data_pipelines import prepare
from data_pipelines.faces import cut
from data_pipelines.sources import counts, mead
from data_pipelines.sources.task import Labels, Licence, Survey, Task

if not flags.FLAGS.is_parsed():
  flags.FLAGS(["prepare"])


def run(*args):
  """The command's exit code."""
  with flagsaver.flagsaver():
    flags.FLAGS.unparse_flags()
    return prepare.main(flags.FLAGS(["prepare", *map(str, args)]))


@pytest.fixture
def few(tmp_path, film, lay):
  return lay(
    tmp_path / "MEAD",
    {
      "M003/video/front/angry/level_3/001.mp4": film.mute,
      "M003/audio/angry/level_3/001.m4a": film.m4a,
      "M005/video/front/happy/level_1/002.mp4": film.mp4,
      "M005/video/down/happy/level_1/002.mp4": film.mp4,
      "W009/video/front/fear/level_2/001.mp4": film.mute,
      "W009/audio/fear/level_2/001.m4a": film.m4a,
    },
  )


def test_a_dry_run_counts_and_writes_nothing(few, tmp_path, capsys):
  before = sorted(tmp_path.rglob("*"))
  code = run("--source=mead", f"--input={few}", "--dry-run", "--views=all")
  assert code == 0 and sorted(tmp_path.rglob("*")) == before
  text = capsys.readouterr().out
  lines = text.splitlines()
  assert lines[:5] == [
    "4 clips of 3 people",
    "",
    "split  clips  people",
    "test       2       2",
    "train      2       1",
  ]
  for line in (
    "M005          2",
    "emotion  level 1  level 2  level 3",
    "happy          2        0        0",
    "fear           0        1        0",
    "down       1",
    "  M003: no view down",
    "  M005: no audio; the videos' own sound is taken",
    f"Terms: {mead.LICENCE.terms_url}",
  ):
    assert line in lines
  assert mead.LICENCE.line in text


def test_the_licence_is_said_and_stored(few, tmp_path, capsys):
  out = tmp_path / "data"
  code = run(
    "--source=mead",
    f"--input={few / 'M003'}",
    f"--output={out}",
    "--size=64",
    "--workers=1",
  )
  assert code == 0
  text = capsys.readouterr().out
  assert mead.LICENCE.line in text and mead.LICENCE.terms_url in text
  assert "more: --dry-run lists them" in text  # of the gaps
  meta = json.loads((out / "prepare.json").read_text())["meta"]
  assert meta["licence"] == mead.LICENCE._asdict()
  assert meta["source"] == "mead" and meta["views"] == ["front"]


@pytest.mark.parametrize("source", ["voxceleb2", "mead", "crema_d", "hdtf"])
def test_a_fixed_split_is_not_drawn_again(few, source, capsys):
  args = (f"--source={source}", f"--input={few}", "--dry-run")
  assert run(*args, "--held-out=3") == 1
  assert capsys.readouterr().err == (
    f"prepare: --held-out is for folders: the test people of {source} are "
    "fixed, see docs/data.md\n"
  )


@pytest.mark.parametrize(
  ("args", "reason"),
  [
    (("--source=hdtf",), "--source hdtf needs --input FOLDER"),
    (("--source=mead", "--input=nowhere"), "nowhere: no such folder"),
    (("--source=synthetic", "--identities=1"), "--output DIR is needed"),
  ],
)
def test_what_cannot_be_done_is_one_line(args, reason, capsys):
  assert run(*args) == 1
  error = capsys.readouterr().err
  assert error.startswith(f"prepare: {reason}") and error.count("\n") == 1


def test_many_people_are_summed_up():
  tasks = [
    Task(f"c{i}", f"p{i % 150}", "train", list, "", Labels())
    for i in range(400)
  ]
  page = counts.page(Survey(tasks, [], Licence("none", "", "Drawn.")))
  assert "150 people  2 to 3, median 3" in page
  assert "p149" not in page and page.endswith("Licence: none. Drawn.")


def test_spans_are_the_whole_videos_frames(film):
  """What `cut` gives of a span is what it gives of all, from there on."""
  settings = cut.Settings(size=64)
  (whole,) = cut.clips_of(film.mp4, settings)
  (part,) = cut.clips_of(film.mp4, settings, span=(1.0, 2.0))
  assert len(whole.frames) == 55 and len(part.frames) == 25
  assert (part.audio == whole.audio[16_000:32_000]).all()
