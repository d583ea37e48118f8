"""Clips whose sound comes late or early are found and left out."""

import json

import numpy as np
import pytest
from ml_collections import ConfigDict

from data_pipelines import inspect, offsets, prepare, records, shards
from data_pipelines.sources import synthetic
from data_pipelines.sources.task import Task
from data_pipelines.synthetic import render
from speak_jax import bundle, spec, systems
from speak_jax import offsets as command
from tests import toy_records

FRAMES, LOUD = 24, 100
LATE = {0: 0, 1: 2, 2: 5, 3: -4, 4: None, 5: 0, 6: 0}  # picture; None: silent


class Make:
  """A clip whose sound says a frame's number, some frames before it shows."""

  def __init__(self, number):
    shift = LATE[number]
    clip = toy_records.record(number, identity=number, frames=FRAMES)
    step = round(spec.samples_per_frame(25.0))
    says = np.arange(FRAMES) + (shift or 0)
    says = LOUD * (says % FRAMES + 1) * (shift is not None)
    self.record = clip._replace(audio=np.repeat(says, step).astype(np.int16))

  def __call__(self):
    return [self.record]


class Codes:
  """A `reading.Sync` that knows what toy frames and their sound say."""

  def __init__(self):
    table = np.random.default_rng(0).normal(size=(FRAMES, 8))
    self.table = table / np.linalg.norm(table, axis=1, keepdims=True)
    self.looked = 0

  def lips(self, frames, landmarks):
    del landmarks
    self.looked += 1
    if toy_records.read(frames)[0] == 6:  # what the lips do, nobody says
      return np.repeat(self.table[:1], len(frames), 0)
    return self.table[[toy_records.read(x)[1] for x in frames]]

  def sound(self, audio, frames):
    starts = (np.arange(frames) * spec.samples_per_frame(25.0)).round()
    return self.table[audio[starts.astype(int)] // LOUD - 1]

  def figures(self, seen, sound):
    raise NotImplementedError


@pytest.fixture
def data(tmp_path):
  tasks = [
    Task(f"clip{i}", f"person{i}", "test" if i == 5 else "train", Make(i))
    for i in LATE
  ]
  prepare.prepare(tasks, tmp_path / "d", workers=0, meta={})
  return tmp_path / "d"


def judge(codes=None):
  return command.Judge("toy", codes or Codes(), 16, 25.0, 0.5)


def test_offsets_are_found_and_the_clips_left_out(data):
  found = {x.clip: x for x in command.run(data, judge(), 2)}
  told = {name: found[f"clip{name}"].frames for name in LATE}
  assert {k: v for k, v in told.items() if k != 6} == {
    k: v for k, v in LATE.items() if k != 6
  }
  assert found["clip2"].ms == 200
  assert found["clip4"].note == "silent"
  assert found["clip6"].note.startswith("unsure")
  assert {name for name, x in found.items() if x.out} == {"clip2", "clip3"}
  assert offsets.read(data) == found
  kept = records.open_records(data, "train")
  assert [row.clip for row in kept.index] == [
    "clip0",
    "clip1",
    "clip4",
    "clip6",
  ]
  assert kept[2].clip == "clip4"  # shards are read by the row, not the number
  assert kept.out_of_sync == 2
  whole = records.open_records(data, "train", whole=True)
  assert (len(whole), whole.out_of_sync) == (6, 0)
  text = inspect.describe(data)
  assert "7 clips, 6 measured, 2 out of sync" in text
  assert "1: silent" in text
  assert "picture behind sound, ms" in inspect.histograms(data)


def test_a_stopped_measurement_goes_on(data):
  codes = Codes()
  want = command.run(data, judge(codes), 2)
  lines = (data / offsets.NAME).read_text().splitlines(keepends=True)
  (data / offsets.NAME).unlink()
  head = {"judge": "toy", "most": 2, "confidence": 0.5}
  part = data / f"{offsets.NAME}.part"
  part.write_text(json.dumps(head) + "\n" + "".join(lines[:4]) + '{"clip": "to')
  again = Codes()
  assert command.run(data, judge(again), 2) == want
  assert codes.looked - again.looked == 4
  assert not part.exists()
  part.write_text(json.dumps(head | {"most": 3}) + "\n" + "".join(lines[:4]))
  other = Codes()
  command.run(data, judge(other), 2)  # what was asked otherwise does not count
  assert other.looked == codes.looked


def test_what_cannot_be_measured_is_told(data, tmp_path):
  with pytest.raises(ValueError, match="25 frames/s, toy has 30"):
    command.run(data, judge()._replace(fps=30.0), 2)
  with pytest.raises(ValueError, match="either --model or --syncnet"):
    command.judge_of(None, None, 25.0, None)
  (data / offsets.NAME).write_text("what\n")
  with pytest.raises(ValueError, match=r"offsets\.jsonl: not a list of"):
    records.open_records(data, "train")


def test_the_reference_finds_a_late_picture(tmp_path):
  recipes = render.recipes(
    seed=3,
    identities=0,
    held_out=1,
    clips_per_identity=1,
    seconds=1.6,
    size=64,
    framing="medium",
    twins_every=0,
  )
  (task,) = synthetic.tasks(recipes)
  (clip,) = task.make()
  late = round(5 * spec.samples_per_frame(clip.fps))
  path = tmp_path / shards.shard_name("test", 0, 1)
  rows = shards.write_shard(
    path, [clip._replace(audio=np.roll(clip.audio, -late))]
  )
  shards.write_metadata(tmp_path, rows)
  who = command.judge_of(bundle.REFERENCE, None, 25.0, None)
  assert who.confidence == command.SURE
  (found,) = command.run(tmp_path, who, 2)
  assert found.frames == 5
  assert found.out


def test_vectors_of_any_length_have_no_usual_confidence(monkeypatch):
  load = systems.trained.load

  def raw(path, stages):
    config, found = load(path, stages)
    model = {**config.model.to_dict(), "sync_unit": False}
    return ConfigDict({**config.to_dict(), "model": model}), found

  monkeypatch.setattr(systems.trained, "load", raw)
  with pytest.raises(ValueError, match="give --confidence") as error:
    command.judge_of(bundle.REFERENCE, None, 25.0, None)
  assert "\n" not in str(error.value)
  assert command.judge_of(bundle.REFERENCE, None, 25.0, 7.5).confidence == 7.5
