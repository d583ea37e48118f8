"""Expressions of drawn people are read off frames and meshes."""

import numpy as np
import pytest

from data_pipelines.faces.tracker import Tracker
from data_pipelines.faces.upright import JAW, cut_upright, upright_matrix
from data_pipelines.synthetic import render
from speak_jax import spec
from speak_jax.inference import expression
from speak_jax.models import face_landmarks, quantized


@pytest.fixture(scope="module")
def drawn(face_models):
  """Six drawn people, with FaceMesh's points."""
  people = render.random_frames(3, 6, 256, "tight")
  meshes = Tracker(face_models).track(people.frames).mesh
  assert np.isfinite(meshes).all()
  return people, meshes


def test_rows_are_shares_and_a_mirror_image_has_the_same(drawn):
  people, meshes = drawn
  params = expression.load()
  seen = expression.probabilities(params, people.frames, meshes)
  np.testing.assert_allclose(seen.sum(1), 1, atol=1e-5)
  assert seen.max(1).mean() > 0.5
  assert set(expression.EXPRESSIONS) == set(spec.EMOTIONS) - {"contempt"}


def test_no_face_has_none(drawn):
  people, meshes = drawn
  lost = meshes.copy()
  lost[1:] = np.nan
  params = expression.load()
  seen = expression.probabilities(params, people.frames, lost)
  assert np.isfinite(seen[0]).all() and np.isnan(seen[1:]).all()
  none = expression.probabilities(params, people.frames, lost * np.nan)
  assert np.isnan(none).all()


def test_landmarks_lie_where_they_are_drawn(drawn):
  people, meshes = drawn
  params = quantized.load(face_landmarks.WEIGHTS)
  cut = (meshes[0], JAW, 112)
  (points,) = np.asarray(
    face_landmarks.points(params, cut_upright(people.frames[0], *cut)[None])
  )
  matrix = upright_matrix(*cut)
  found = (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
  true = people.landmarks[0]
  apart = np.linalg.norm(found - true, axis=-1)[spec.BROWS.start :].mean()
  assert apart < 0.08 * np.linalg.norm(true[36] - true[45])
