"""The motion stage's samples: shapes apart from where heads are, and sound."""

import numpy as np
import pytest

from data_pipelines.dataset import reader
from data_pipelines.faces import canonical
from data_pipelines.faces.headpose import HEAD, RIGID
from data_pipelines.sampling.motion import sample_motion
from speak_jax import spec
from speak_jax.photograph.head_motion import rotation_of
from tests import toy_records

NEUTRAL, HAPPY, UNKNOWN = 0, 5, -1
AS_REAL = dict.fromkeys(spec.EMOTIONS[1:], 1.0)


def head() -> np.ndarray:
  """468 points that could be a face, in eye distances."""
  points = np.random.default_rng(0).normal(0, 0.3, (spec.MESH, 3))
  points[RIGID] = HEAD
  points[[13, 14]] = [[0, 0.95, -0.5], [0, 0.95, -0.5]]
  points[list(canonical.UPPER_LIDS)] = [[-0.5, 0, 0], [0.5, 0, 0]]
  points[list(canonical.LOWER_LIDS)] = [[-0.5, 0.1, 0], [0.5, 0.1, 0]]
  return points


def clip(number, person, emotion, gaps, level=3):
  """A record whose lips are `gaps` apart, frame by frame, on a moving head."""
  rng = np.random.default_rng(number)
  meshes = []
  for gap in gaps:
    points = head() * (1 + 0.1 * person)
    points[14, 1] += gap
    points[61, 1] += -0.05 * (emotion == HAPPY)
    turn = rotation_of(*rng.uniform(-0.2, 0.2, 3))
    meshes.append(10 * points @ turn.T + rng.uniform(14, 18, 3))
  one = toy_records.record(
    number, identity=person, emotion=emotion, level=level, frames=len(gaps)
  )
  return one._replace(mesh=spec.stored_mesh(np.array(meshes), 32))


def data(*records) -> reader.Records:
  return reader.in_memory(list(records))


def samples(records, frames=6, count=12, strength=AS_REAL):
  made = sample_motion(
    records, frames=frames, context=2, label_strength=strength, seed=3
  )
  return [made[i] for i in range(count)]


def test_shapes_do_not_know_how_the_head_stands():
  gaps = np.tile([0.0, 0.0, 0.1, 0.3], 4)
  records = data(clip(1, 0, UNKNOWN, gaps))
  eyes = np.linalg.norm(np.subtract(*head()[list(canonical.EYE_CORNERS)]))
  for sample in samples(records):
    opened = sample.expression[:, 14, 1] - sample.expression[:, 13, 1]
    nearest = np.abs(opened[:, None] * eyes - [0.0, 0.1, 0.3]).min(1)
    assert nearest.max() < 0.02
    others = np.delete(sample.expression, 14, 1)
    assert np.abs(others).max() < 0.02  # records hold 1/16384 of the side
    np.testing.assert_allclose(sample.lids, 0, atol=0.15)


def test_rest_is_the_persons_neutral_face():
  still = np.zeros(12)
  records = data(
    clip(1, 0, NEUTRAL, still),
    clip(2, 0, HAPPY, still, level=2),
    clip(3, 1, NEUTRAL, still),
    clip(4, 1, HAPPY, still, level=2),
  )
  happy = [x for x in samples(records) if x.emotion.any()]
  assert 0 < len(happy) < 12
  for sample in happy:
    assert sample.emotion[HAPPY] == pytest.approx(2 / 3)
    corner = sample.expression[:, 61, 1]
    assert (corner < -0.03).all()
    assert np.abs(sample.expression[:, 300]).max() < 0.02


def test_a_faint_expression_counts_as_little_of_its_emotion():
  still = np.zeros(12)
  records = data(clip(1, 0, NEUTRAL, still), clip(2, 0, HAPPY, still, level=3))
  faint = samples(records, strength=AS_REAL | {"happy": 0.5})
  assert {x.emotion[HAPPY] for x in faint} == {0, 0.5}


def test_sound_is_that_of_the_frames_with_its_context():
  records = data(clip(1, 0, NEUTRAL, np.zeros(16)))
  for sample in samples(records):
    assert len(sample.audio) == 10 * 640
    # Toy sound counts its samples, from 1; beyond the clip is silence.
    heard = sample.audio[sample.audio > 0]
    assert (np.diff(heard) == 1).all()
    start = sample.audio[2 * 640] - 1
    assert start % 640 == 0


def test_whom_nobody_has_seen_at_rest_is_left_out():
  records = data(
    clip(1, 0, HAPPY, np.zeros(12)), clip(2, 1, NEUTRAL, np.zeros(12))
  )
  assert not any(x.emotion.any() for x in samples(records))
  with pytest.raises(ValueError, match="a face at rest; prepare it anew"):
    samples(data(clip(1, 0, HAPPY, np.zeros(12))))


def test_sets_without_meshes_are_said_at_the_start():
  bare = toy_records.record(1)._replace(mesh=np.zeros((0, 468, 3), np.int16))
  with pytest.raises(ValueError, match="has meshes"):
    samples(data(bare))
