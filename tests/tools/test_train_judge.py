"""The judge that comes with the package, and the command that makes one."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax import spec
from speak_jax.models import judge as models
from speak_jax.tools.train_judge import faces as rendered
from speak_jax.tools.train_judge import learning, make, scoring
from speak_jax.tools.train_judge.augment import augment
from tests.tools.dots import dots

disturb = jax.jit(augment)


def test_landmarks_follow_the_disturbed_picture():
  """A square round the nose's tip stays where landmark 30 says it is."""
  faces = dots(0, 16, "tight")
  frames = np.zeros_like(faces.frames)
  for frame, marks in zip(frames, faces.landmarks, strict=True):
    x, y = marks[30].round().astype(int)
    frame[y - 3 : y + 4, x - 3 : x + 4] = 255
  batch = jax.tree.map(jnp.asarray, faces._replace(frames=frames))
  moved, points, pose = disturb(jax.random.key(0), batch)
  light = np.asarray(moved).mean(-1)
  for picture, marks in zip(light, np.asarray(points), strict=True):
    weight = (picture - picture.min()) ** 4
    y, x = (
      np.average(grid, weights=weight) for grid in np.indices(picture.shape)
    )
    assert np.hypot(*(marks[30] - [x, y])) < 1
  # Mirrored half of the time, and turned by at most 8 degrees.
  flipped = np.sign(pose[:, 0]) != np.sign(faces.pose[:, 0])
  assert 2 < flipped.sum() < 14
  roll = np.where(flipped, -faces.pose[:, 2], faces.pose[:, 2])
  assert 0 < np.abs(pose[:, 2] - roll).max() <= 8
  np.testing.assert_allclose(pose[:, 1], faces.pose[:, 1])


def test_mirrored_landmarks_keep_their_names():
  batch = jax.tree.map(jnp.asarray, dots(1, 16, "tight"))
  _, points, _ = disturb(jax.random.key(1), batch)
  left, right = points[:, spec.LEFT_EYE], points[:, spec.RIGHT_EYE]
  assert np.all(left[..., 0].mean(1) < right[..., 0].mean(1))


def test_the_command_writes_weights_and_their_score(tmp_path, monkeypatch):
  monkeypatch.setattr(learning, "BATCH", 16)
  monkeypatch.setattr(rendered, "CHUNK", 24)
  monkeypatch.setattr(make, "HELD_OUT", 24)
  out = tmp_path / "judge.safetensors"
  report = make.make(out, 60.0, 3, renderer=dots, frames=48, steps=2)
  stored = json.loads(out.with_suffix(".json").read_text())
  assert stored == report
  assert stored["frames"] == 48
  assert stored["seed"] == 3
  for framing in rendered.FRAMINGS:
    score = stored[framing]
    assert 0 <= score["emotion"] <= 1
    assert score["landmarks_px"] > 0
  assert jax.tree.leaves(models.load(out))


def test_people_of_different_chunks_are_different():
  faces = rendered.collect(dots, 0, 99.0, 2 * rendered.CHUNK)
  assert len(faces.frames) == 2 * rendered.CHUNK
  assert len(np.unique(faces.identity)) == 2 * rendered.CHUNK // 8


@pytest.mark.parametrize("framing", rendered.FRAMINGS)
def test_the_packaged_judge_reads_rendered_faces(framing):
  """On people whom it never saw; the bounds say what it is good for."""
  score = scoring.score(
    models.load(), rendered.render(77_000_000, 128, framing)
  )
  assert score["landmarks_px"] < 2
  assert score["yaw_r2"] > 0.6
  assert score["opening_r"] > 0.7
  assert score["emotion"] > 0.3
  assert score["identity_auc"] > 0.85
  # Two people are as good as unrelated: swaps are measured by this cosine.
  assert abs(score["identity_other"]) < 0.15
  assert score["identity_same"] > score["identity_other"] + 0.4
