"""Which recordings there are, what they say, and who says it."""

import sys

import numpy as np
import pytest

from data_pipelines.dataset import opening
from data_pipelines.ingest import run
from data_pipelines.media.error import MediaError
from data_pipelines.sources import recordings, synthetic
from data_pipelines.sources.recordings import Recording
from data_pipelines.synthetic import aligner, render
from data_pipelines.synthetic.aligner import AlignmentError, Phone
from tests.sources import test_command
from tests.sources.conftest import write

SETTINGS = {"seed": 5, "identities": 2, "clips_per_identity": 2, "size": 64}


class Fake:
  """Hears each word as "ma", a fifth of a second each; "mute" nowhere."""

  def align(self, audio, words):
    if "mute" in words:
      raise AlignmentError("the sentence is not heard in the recording")
    return [
      Phone(symbol, k / 5 + j / 10, k / 5 + (j + 1) / 10)
      for k, _ in enumerate(words)
      for j, symbol in enumerate(("M", "AA"))
    ]


@pytest.fixture
def spoken(tmp_path):
  """A folder of six recordings of 0.6 to 1.6 s, of which four can be used."""
  root = tmp_path / "speech"
  (root / "anna").mkdir(parents=True)
  noise = np.random.default_rng(0).normal(0, 3_000, 32_000).astype(np.int16)
  for name, seconds, sentence in (
    ("anna/one.wav", 0.6, "One  fish,\ntwo fish."),
    ("anna/two.flac", 1.6, "Red fish!"),
    ("bbaf2n.wav", 1.0, ""),
    ("brbk7n.mp4", 1.0, ""),  # a GRID name, and a text beside it
    ("nothing.wav", 1.0, ""),
    ("empty.wav", 1.0, " .\n"),
  ):
    path = root / name
    codec = "flac" if path.suffix == ".flac" else "pcm_s16le"
    codec = "aac" if path.suffix == ".mp4" else codec
    write(path, noise[: round(seconds * 16_000)], codec)
    if sentence:
      path.with_suffix(".txt").write_text(sentence)
  (root / "brbk7n.lab").write_text("blue fish")
  (root / "README.md").write_text("no recording")
  return root


def test_recordings_have_the_sentence_beside_them_or_in_their_name(spoken):
  found, passed = recordings.find(spoken)
  assert {one.name: one.sentence for one in found} == {
    "anna/one": "One fish, two fish.",
    "anna/two": "Red fish!",
    "bbaf2n": "bin blue at f two now",
    "brbk7n": "blue fish",
  }
  (without,) = passed
  assert without.kind == recordings.NO_SENTENCE
  assert sorted(without.names) == ["empty.wav", "nothing.wav"]
  (spoken / "bbaf2n.txt").write_bytes(b"\xff\xfe\xff")
  found, passed = recordings.find(spoken)
  assert len(found) == 3
  assert any(x.kind == "sentences that cannot be read" for x in passed)


@pytest.mark.parametrize(
  ("stem", "sentence"),
  [
    ("bbaf2n", "bin blue at f two now"),
    ("swizzp", "set white in zed zero please"),
    ("LGBA1S", "lay green by a one soon"),
    ("swiw3n", ""),  # no w among the letters
    ("bbaf2", ""),
    ("take_1", ""),
  ],
)
def test_grid_names_are_sentences(stem, sentence):
  assert recordings.grid_sentence(stem) == sentence


def test_nothing_to_say_is_one_line(tmp_path):
  with pytest.raises(ValueError, match="no such folder"):
    recordings.find(tmp_path / "none")
  (tmp_path / "a.wav").write_bytes(b"")
  with pytest.raises(ValueError, match="no recordings with a sentence, but 1"):
    recordings.find(tmp_path)


def made_up(count):
  return [
    Recording(f"{k}{v}", f"/{k}{v}.wav", f"say {k}")
    for k in range(count)
    for v in "ab"  # two voices
  ]


def test_held_out_people_say_what_nobody_learns():
  recipes = render.recipes(
    seed=0, identities=9, held_out=3, clips_per_identity=4
  )
  chosen = recordings.assign(made_up(12), recipes, 0)
  said = {
    split: [
      one.sentence
      for one, recipe in zip(chosen, recipes, strict=True)
      if recipe.split == split
    ]
    for split in ("train", "test")
  }
  assert not set(said["train"]) & set(said["test"])
  # A quarter of the clips, so a quarter of the sentences; all are used.
  assert len(set(said["test"])) == 3 and len(set(said["train"])) == 9
  names = [one.name for one in chosen]
  train = names[:36]
  assert len(set(train[:18])) == len(set(train[18:])) == 18  # in turn
  assert chosen == recordings.assign(made_up(12), recipes, 0)
  assert chosen != recordings.assign(made_up(12), recipes, 1)


def test_one_sentence_cannot_be_held_out():
  recipes = render.recipes(**SETTINGS, held_out=1)
  with pytest.raises(ValueError, match="--held-out 0"):
    recordings.assign(made_up(1), recipes, 0)
  alone = render.recipes(**SETTINGS, held_out=0)
  assert len(recordings.assign(made_up(1), alone, 0)) == len(alone)


def test_sets_of_other_recordings_or_sentences_differ():
  some = made_up(2)
  other = [some[0]._replace(sentence="no"), *some[1:]]
  digests = {recordings.digest(x) for x in (some, some[1:], other)}
  assert len(digests) == 3


def test_drawn_people_speak_with_recordings(spoken, tmp_path):
  found, _ = recordings.find(spoken)
  recipes = render.recipes(**SETTINGS, held_out=0, seconds=1.0)
  voices = [x for x in found if x.name != "bbaf2n"]
  spoken_by = [*voices, voices[0]._replace(sentence="mute")]
  tasks = synthetic.tasks(recipes, spoken=spoken_by, aligner=Fake)
  assert [task.file for task in tasks] == [one.path for one in spoken_by]
  assert run.prepare(tasks, tmp_path / "data", workers=0, meta={}).rejects == 1
  (line,) = (tmp_path / "data" / "rejects.jsonl").read_text().splitlines()
  assert "is not heard" in line and voices[0].path in line
  data = opening.open_records(tmp_path / "data", "train")
  frames = {row.clip: row.frames for row in data.index}
  names = [recipe.clip for recipe in recipes]
  # As long as the recording, or the second that was asked for.
  assert [frames[x] for x in names[:3]] == [15, 25, 25]
  record = data[0]
  assert len(record.audio) == 15 * 640
  assert record.factors.shape[0] == 15
  assert np.abs(record.audio.astype(int)).max() > 1_000
  assert record.emotion == recipes[0].emotion


def test_what_is_too_short_is_rejected(tmp_path):
  path = tmp_path / "bbaf2n.wav"
  write(path, np.ones(3_000, np.int16), "pcm_s16le")
  (one,), _ = recordings.find(tmp_path)
  recipe = render.recipes(**SETTINGS, held_out=0)[0]
  with pytest.raises(MediaError, match="4 frames long, fewer than 5"):
    synthetic.recorded(recipe, one, Fake())


def test_the_command_says_what_it_takes(spoken, tmp_path, capsys, monkeypatch):
  out = f"--output={tmp_path / 'out'}"
  folder = f"--speech={spoken}"
  assert test_command.run("--source=folder", f"--input={spoken}", folder) == 1
  assert "--speech is for --source synthetic" in capsys.readouterr().err
  monkeypatch.setitem(sys.modules, "pocketsphinx", None)
  assert test_command.run("--source=synthetic", folder, out) == 1
  error = capsys.readouterr().err
  assert aligner.INSTALL in error and error.count("\n") == 1
  monkeypatch.setattr(synthetic, "PocketSphinx", Fake)
  few = ("--identities=1", "--clips-per-identity=2", "--held-out=1")
  assert test_command.run("--source=synthetic", folder, "--dry-run", *few) == 0
  said = capsys.readouterr().out
  assert "2  recordings without a sentence" in said
  assert synthetic.RECORDED.line in said
