"""Both stretches are of one clip, as far apart as was asked for."""

import numpy as np
import pytest

from data_pipelines.dataset import reader
from data_pipelines.sampling.sound import sound_window
from data_pipelines.sampling.stretches import sample_stretches
from speak_jax.stages import batch_shapes
from tests.sampling.samplers import STRETCH
from tests.stages import small
from tests.toy_records import read, record


def _records(*lengths):
  return reader.in_memory(
    [record(i, emotion=i, frames=n) for i, n in enumerate(lengths)]
  )


def test_a_stretch_and_another_of_the_same_clip():
  records = _records(16, 13)
  dataset = sample_stretches(records, seed=1, **STRETCH)
  distances = set()
  for k in range(60):
    one = dataset[k]
    clips, times, _ = zip(*map(read, one.frames), strict=True)
    others, moments, _ = zip(*map(read, one.others), strict=True)
    [clip] = {*clips, *others}
    assert np.diff(times).tolist() == [1] * 4
    assert np.diff(moments).tolist() == [1] * 2
    distances.add(moments[0] - times[0])
    stored = records[clip]
    rows = slice(times[0], times[0] + 5)
    np.testing.assert_array_equal(one.landmarks, stored.landmarks[rows])
    np.testing.assert_array_equal(one.pose[:, 1], times)
    np.testing.assert_array_equal(one.other_pose[:, 1], moments)
    heard = sound_window(stored.audio, times[0] - 2, 9, 25.0)
    np.testing.assert_array_equal(one.audio, heard)
    assert one.emotion_label == clip
  assert min(map(abs, distances)) == 4
  assert min(distances) < 0 < max(distances)


def test_clips_that_are_too_short_are_left_out():
  lengths = (9, 10, 5)  # 3 others that begin 4 apart need 10
  dataset = sample_stretches(_records(*lengths), seed=1, **STRETCH)
  assert {read(dataset[k].frames[0])[0] for k in range(9)} == {1}
  with pytest.raises(ValueError, match="3 more frames that begin 4 or more"):
    sample_stretches(_records(9), seed=1, **STRETCH)
  anywhere = sample_stretches(_records(5), seed=1, **STRETCH | {"apart": 0})
  assert len(anywhere[0].others) == 3


def test_shapes_are_those_that_are_traced():
  config = small.config(model__frames=5, model__context=2, model__image=32)
  made = sample_stretches(_records(16), seed=0, **STRETCH)[0]
  traced = batch_shapes.stretches(config, 1, 3)
  for name, array, shape in zip(made._fields, made, traced, strict=True):
    assert (1, *np.shape(array)) == shape.shape, name
    assert array.dtype == shape.dtype, name


def test_others_can_be_of_any_clip_of_the_person_or_of_a_neutral_one():
  people = ("ann", "ann", "ann", "bob")
  emotions = (0, 3, 5, 5)
  records = reader.in_memory(
    [
      record(i, emotion=e, frames=16, identity=name)
      for i, (name, e) in enumerate(zip(people, emotions, strict=True))
    ]
  )
  wanted = {
    "clip": {(i, i) for i in range(4)},
    "person": {(i, j) for i in range(3) for j in range(3)} | {(3, 3)},
    "neutral": {(0, 0), (1, 0), (2, 0), (3, 3)},  # bob is never neutral
  }
  for others_from, pairs in wanted.items():
    dataset = sample_stretches(
      records, seed=1, **STRETCH | {"others_from": others_from}
    )
    found = set()
    for k in range(80):
      one = dataset[k]
      (clip, time, _), (other, moment, _) = (
        read(x[0]) for x in (one.frames, one.others)
      )
      found.add((clip, other))
      assert clip != other or abs(moment - time) >= 4
      assert one.other_pose[0, 1] == moment
      rows = slice(moment, moment + 3)
      np.testing.assert_array_equal(
        one.other_landmarks, records[other].landmarks[rows]
      )
    assert found == pairs
  with pytest.raises(ValueError, match="others_from 'anyone' is not one of"):
    sample_stretches(records, seed=1, **STRETCH | {"others_from": "anyone"})
