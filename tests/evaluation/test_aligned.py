"""The aligned crop against scikit-image, and what it takes away."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform, warp

from speak_jax.evaluation.readers import aligned
from speak_jax.metrics import image

SIDE = 200


@given(st.integers(0, 2**20))
@settings(max_examples=20, deadline=None)
def test_similarity_is_scikit_images(seed):
  source, target = np.random.default_rng(seed).uniform(0, 99, (2, 18, 2))
  fitted = SimilarityTransform.from_estimate(source, target)
  found = aligned.similarity(source, target)
  np.testing.assert_allclose(found, fitted.params[:2], atol=1e-5)


def _scene(turn, zoom, shift):
  """A smooth picture and 68 points on it, moved together."""
  moved = SimilarityTransform(scale=zoom, rotation=turn, translation=shift)
  y, x = np.mgrid[:256, :256] / 256
  picture = np.stack(
    [np.sin(9 * x + 4 * y), np.cos(11 * y), np.sin(14 * x * y)], -1
  )
  picture = warp(picture / 2 + 0.5, moved.inverse, output_shape=(SIDE, SIDE))
  points = np.random.default_rng(0).uniform(60, 180, (68, 2))
  points[aligned.POINTS] = 40 + 1.1 * aligned.TEMPLATE
  frame = (255 * picture).round().astype(np.uint8)
  return frame, moved(points)


def test_pose_and_scale_are_taken_away():
  first, points = _scene(0, 0.8, (0, 0))
  other, moved = _scene(0.15, 0.7, (20, 5))
  seen = aligned.align(np.stack([first, other]), np.stack([points, moved]))
  np.testing.assert_allclose(seen.landmarks[0], seen.landmarks[1], atol=1e-6)
  np.testing.assert_allclose(
    seen.landmarks[0, aligned.POINTS], aligned.TEMPLATE, atol=1e-6
  )
  assert image.psnr(seen.frames[:1], seen.frames[1:])[0] > 33
  assert image.psnr(first[None], other[None])[0] < 20


def test_the_cut_is_where_the_points_say():
  frame, points = _scene(0.1, 0.75, (10, 0))
  seen = aligned.align(frame[None], points[None])
  matrix = aligned.similarity(points[aligned.POINTS], aligned.TEMPLATE)
  fitted = SimilarityTransform(np.concatenate([matrix, [[0, 0, 1]]]))
  want = warp(frame / 255, fitted.inverse, output_shape=(128, 128), mode="edge")
  error = np.abs(seen.frames[0] / 255 - want)
  assert error.mean() < 0.004


def test_a_lost_face_is_said():
  frame, points = _scene(0, 0.8, (0, 0))
  lost = np.full_like(points, np.nan)
  seen = aligned.align(np.stack([frame] * 2), np.stack([lost, points]))
  assert seen.found.tolist() == [False, True]
  assert not seen.frames[0].any()
  assert np.isnan(seen.landmarks[0]).all()


def test_template_is_a_face_in_the_crop():
  assert aligned.TEMPLATE.shape == (18, 2)
  assert np.all((aligned.TEMPLATE > 15) & (aligned.TEMPLATE < 113))
  mirrored = 127 - aligned.TEMPLATE[4:9, 0]
  np.testing.assert_allclose(mirrored[::-1], aligned.TEMPLATE[4:9, 0], atol=0.2)
  assert aligned.TEMPLATE[0, 0] == pytest.approx(63.5)
