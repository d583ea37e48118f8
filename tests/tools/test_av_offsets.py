"""Clips whose sound comes late or early are found, and left out or moved."""

import json

import numpy as np
import pytest
from ml_collections import ConfigDict

from data_pipelines import inspect
from data_pipelines.dataset import offsets, opening, reader, writer
from data_pipelines.dataset.index import Index, describe
from data_pipelines.ingest.run import prepare
from data_pipelines.sampling import augment
from data_pipelines.sampling.clips import sample_clips
from data_pipelines.sampling.sync_windows import sample_sync_windows
from data_pipelines.sources import synthetic
from data_pipelines.sources.task import Task
from data_pipelines.synthetic import render
from speak_jax import bundle, spec
from speak_jax.evaluation import models
from speak_jax.tools import av_offsets as command
from speak_jax.training import input_pipeline
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
  """A `SyncScorer` that knows what toy frames and their sound say."""

  def __init__(self):
    table = np.random.default_rng(0).normal(size=(FRAMES, 8))
    self.table = table / np.linalg.norm(table, axis=1, keepdims=True)
    self.looked = 0

  def lip_codes(self, frames, landmarks):
    del landmarks
    self.looked += 1
    if toy_records.read(frames)[0] == 6:  # what the lips do, nobody says
      return np.repeat(self.table[:1], len(frames), 0)
    return self.table[[toy_records.read(x)[1] for x in frames]]

  def sound_codes(self, audio, frames):
    starts = (np.arange(frames) * spec.samples_per_frame(25.0)).round()
    return self.table[audio[starts.astype(int)] // LOUD - 1]

  def metrics(self, lips, sound):
    raise NotImplementedError


@pytest.fixture
def data(tmp_path):
  tasks = [
    Task(f"clip{i}", f"person{i}", "test" if i == 5 else "train", Make(i))
    for i in LATE
  ]
  prepare(tasks, tmp_path / "d", workers=0, meta={})
  return tmp_path / "d"


def judge(codes=None):
  return command.SyncJudge("toy", codes or Codes(), 16, 25.0, 0.5)


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
  kept = opening.open_records(data, "train")
  assert [row.clip for row in kept.index] == [
    "clip0",
    "clip1",
    "clip4",
    "clip6",
  ]
  assert kept[2].clip == "clip4"  # shards are read by the row, not the number
  assert kept.out_of_sync == 2
  whole = opening.open_records(data, "train", whole=True)
  assert (len(whole), whole.out_of_sync) == (6, 0)
  text = inspect.describe(inspect.Prepared(data))
  assert "7 clips, 6 measured, 2 out of sync" in text
  assert "1: silent" in text
  assert "picture behind sound, ms" in inspect.histograms(
    inspect.Prepared(data)
  )


def test_sound_is_moved_where_it_is_surely_off(data):
  found = {x.clip: x for x in command.run(data, judge(), 2, move=True)}
  assert offsets.read(data) == found
  assert not any(x.out for x in found.values())
  late = {name: x.late for name, x in found.items() if x.moved}
  assert late == {"clip2": -5, "clip3": 4}
  opened = opening.open_records(data, "train")
  assert opened.out_of_sync == 0
  assert opened.late == [0, 0, -5, 4, 0, 0]
  assert opened.heard(2) == range(5, FRAMES)
  assert opened.heard(3) == range(FRAMES - 4)
  text = inspect.describe(inspect.Prepared(data))
  assert "6 measured, 0 out of sync, sound of 2 moved" in text
  # As it lies for whoever asks, so that measuring again finds the same.
  whole = opening.open_records(data, "train", whole=True)
  assert whole.late == [0] * 6
  assert command.run(data, judge(), 2, move=True) == [*found.values()]
  # Other sound is other data to a checkpoint.
  prints = [input_pipeline.fingerprint(x, {}) for x in (opened, whole)]
  assert prints[0] != prints[1]
  found = {x.clip: x for x in command.run(data, judge(), 0, move=True)}
  late = {name: x.late for name, x in found.items() if x.moved}
  assert late == {"clip1": -2, "clip2": -5, "clip3": 4}  # to the frame


class Cut:
  """A toy clip: its frames from start to stop, and samples of its sound."""

  def __init__(self, start, stop, audio):
    clip = toy_records.record(0, frames=FRAMES)
    at = slice(start, stop)
    self.record = clip._replace(
      frames=clip.frames[at],
      landmarks=clip.landmarks[at],
      pose=clip.pose[at],
      audio=audio,
    )

  def __call__(self):
    return [self.record]


def open_one(path, make):
  """As prepared, with mouths."""
  task = Task("clip0", "person0", "train", make)
  prepare([task], path, workers=0, meta={})
  return path


@pytest.mark.parametrize("late", [3, -3])
def test_samples_are_those_of_a_clip_that_was_never_moved(tmp_path, late):
  """But for the frames whose sound the moved one lost for good."""
  step = round(spec.samples_per_frame(25.0))
  rng = np.random.default_rng(0)
  says = rng.permutation(np.arange(1, FRAMES + 1) * LOUD).astype(np.int16)
  sound = np.repeat(says, step)
  lost = np.full(3 * step, 7, np.int16)  # of another moment
  moved = (
    np.concatenate([lost, sound[: -len(lost)]])
    if late > 0
    else np.concatenate([sound[len(lost) :], lost])
  )
  away = open_one(tmp_path / "moved", Cut(0, FRAMES, moved))
  line = offsets.Offset("clip0", -late, -40.0 * late, 1.0, False, "", True)
  (away / offsets.NAME).write_text(offsets.line(line))
  kept = slice(0, FRAMES - late) if late > 0 else slice(-late, FRAMES)
  own = sound[kept.start * step : kept.stop * step]
  never = open_one(tmp_path / "never", Cut(kept.start, kept.stop, own))
  mouths = {"size": 32, "lips": 16, "windows": 4, "seed": 1}
  clips = {
    "size": 32,
    "frames": 5,
    "context": 2,
    "emotion_frames": 2,
    "identity_from": "same_clip",
    "same_session": False,
    "treatment": augment.PLAIN,
    "seed": 1,
  }
  opened = [opening.open_records(x, "train") for x in (away, never)]
  for reach in (0, 6):
    pairs = [sample_sync_windows(x, reach=reach, **mouths) for x in opened]
    for k in range(8):
      for got, want in zip(pairs[0][k], pairs[1][k], strict=True):
        np.testing.assert_array_equal(got, want)
  pairs = [sample_clips(x, **clips) for x in opened]
  for k in range(8):
    got, want = pairs[0][k], pairs[1][k]
    for field in ("frames", "audio", "landmarks", "pose"):
      np.testing.assert_array_equal(getattr(got, field), getattr(want, field))
  whole = opened[0][0].audio
  assert len(whole) == FRAMES * step
  np.testing.assert_array_equal(
    whole[kept.start * step : kept.stop * step], own
  )
  gone = np.delete(whole, np.r_[kept.start * step : kept.stop * step])
  assert not gone.any()


def test_sound_of_a_whole_record_is_moved_as_that_of_its_parts():
  clip = toy_records.record(0, frames=FRAMES, fps=30.0)
  parts = reader.Records(
    "toy",
    Index([describe(clip, "m", 0)._asdict()]),
    [clip].__getitem__,
    1 << 20,
    late=[2],
  )
  moved = parts.clip(0).audio
  want = parts[0].audio
  assert len(moved) == len(want) == len(clip.audio)
  np.testing.assert_array_equal(moved[:], want)
  np.testing.assert_array_equal(moved[5:2000:3], want[5:2000:3])
  np.testing.assert_array_equal(want[:100], clip.audio[1067:1167])
  np.testing.assert_array_equal(parts.clip(0).pose, clip.pose)


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
  part.write_text(json.dumps(head) + "\n" + "".join(lines[:4]))
  mover = Codes()
  command.run(data, judge(mover), 2, move=True)
  assert mover.looked == codes.looked


def test_what_cannot_be_measured_is_told(data, tmp_path):
  with pytest.raises(ValueError, match="25 frames/s, toy has 30"):
    command.run(data, judge()._replace(fps=30.0), 2)
  with pytest.raises(ValueError, match="either --model or --syncnet"):
    command.open_judge(None, None, 25.0, None)
  (data / offsets.NAME).write_text("what\n")
  with pytest.raises(ValueError, match=r"offsets\.jsonl: not a list of"):
    opening.open_records(data, "train")


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
  (clip,) = task.records()
  late = round(5 * spec.samples_per_frame(clip.fps))
  path = tmp_path / writer.shard_name("test", 0, 1)
  rows = writer.write_shard(
    path, [clip._replace(audio=np.roll(clip.audio, -late))]
  )
  writer.write_metadata(tmp_path, rows)
  who = command.open_judge(bundle.REFERENCE, None, 25.0, None)
  assert who.confidence == command.CONFIDENT
  (found,) = command.run(tmp_path, who, 2)
  assert found.frames == 5
  assert found.out


def test_vectors_of_any_length_have_no_usual_confidence(monkeypatch):
  load = models.weights.load

  def raw(path, stages):
    config, found = load(path, stages)
    model = {**config.model.to_dict(), "sync_unit": False}
    return ConfigDict({**config.to_dict(), "model": model}), found

  monkeypatch.setattr(models.weights, "load", raw)
  with pytest.raises(ValueError, match="give --confidence") as error:
    command.open_judge(bundle.REFERENCE, None, 25.0, None)
  assert "\n" not in str(error.value)
  assert command.open_judge(bundle.REFERENCE, None, 25.0, 7.5).confidence == 7.5
