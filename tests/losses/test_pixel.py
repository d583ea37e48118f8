"""Pixel losses against plain NumPy, and what each is blind to."""

import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax import spec
from speak_jax.losses import pixel
from speak_jax.metrics import image
from tests import jitted

# Each function one program.
pixel = jitted.functions(pixel)


@pytest.fixture
def frames():
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.uniform(-1, 1, (3, 16, 16, 3)), jnp.float32)


def face(size=64, shift=(0.0, 0.0), scale=1.0):
  """68 points with eyes, brows, nose and mouth where a face has them."""
  points = np.zeros((68, 2), "f4")
  turn = np.linspace(0, np.pi, 17)
  points[spec.JAW] = np.stack([-0.4 * np.cos(turn), 0.45 * np.sin(turn)], -1)
  points[spec.BROWS] = np.stack(
    [np.linspace(-0.3, 0.3, 10), -0.2 + 0 * turn[:10]], -1
  )
  points[spec.NOSE] = [0, 0.1]
  points[spec.LEFT_EYE] = [-0.18, -0.08]
  points[spec.RIGHT_EYE] = [0.18, -0.08]
  around = np.linspace(0, 2 * np.pi, 20, endpoint=False)
  points[spec.MOUTH] = np.stack(
    [0.14 * np.cos(around), 0.25 + 0.05 * np.sin(around)], -1
  )
  points = points * scale + 0.5 + np.asarray(shift)
  return jnp.asarray(points[None] * size, jnp.float32)


def test_weighted_l1_is_the_weighted_mean(frames):
  other = frames[::-1]
  rng = np.random.default_rng(1)
  weight = jnp.asarray(rng.uniform(0.5, 4, (3, 16, 16, 1)), jnp.float32)
  want = [
    np.average(np.abs(a - b).mean(-1), weights=w[..., 0])
    for a, b, w in zip(frames, other, weight, strict=True)
  ]
  got = pixel.weighted_l1(frames, other, weight)
  np.testing.assert_allclose(got, want, rtol=1e-5)
  # The map's scale drops out, and no map is a flat map.
  np.testing.assert_allclose(
    pixel.weighted_l1(frames, other, 7 * weight), want, rtol=1e-5
  )
  np.testing.assert_allclose(
    pixel.weighted_l1(frames, other),
    pixel.weighted_l1(frames, other, jnp.ones_like(weight)),
    rtol=1e-5,
  )


@pytest.mark.parametrize("loss", [pixel.weighted_l1, pixel.pyramid_l1])
def test_zero_only_when_equal(loss, frames):
  assert np.all(np.asarray(loss(frames, frames)) == 0)
  bumped = frames.at[1, 3, 4, 1].add(0.5)
  np.testing.assert_array_equal(
    np.asarray(loss(bumped, frames)) > 0, [False, True, False]
  )


def test_pyramid_sees_offset_more_than_noise(frames):
  offset = pixel.pyramid_l1(frames + 0.1, frames)
  np.testing.assert_allclose(offset, 0.1, rtol=1e-4)
  sign = jnp.where(np.indices((16, 16)).sum(0) % 2, 0.1, -0.1)[..., None]
  checker = pixel.pyramid_l1(frames + sign, frames, levels=3)
  np.testing.assert_allclose(checker, 0.1 / 3, rtol=1e-4)
  with pytest.raises(ValueError, match="halve"):
    pixel.pyramid_l1(frames[:, :15], frames[:, :15])


def test_gradient_l1_ignores_offset_and_matches_numpy(frames):
  np.testing.assert_allclose(
    pixel.gradient_l1(frames + 0.3, frames), 0, atol=1e-6
  )
  other = frames[::-1]
  error = frames - other
  want = np.abs(np.diff(error, axis=1)).mean((1, 2, 3)) + np.abs(
    np.diff(error, axis=2)
  ).mean((1, 2, 3))
  np.testing.assert_allclose(pixel.gradient_l1(frames, other), want, rtol=1e-5)
  np.testing.assert_allclose(
    pixel.gradient_l1(frames, other, jnp.full((3, 16, 16, 1), 2.0)),
    want,
    rtol=1e-5,
  )


def test_dissimilarity_is_what_the_tables_call_ssim(frames):
  """But for the windows' covariance, which is of a sample there."""
  near = (frames + 0.3 * frames[::-1]).clip(-1, 1)
  pictures = [
    np.asarray((x + 1) * 127.5).round().astype(np.uint8) for x in (near, frames)
  ]
  got = pixel.ssim_loss(near, frames)
  np.testing.assert_allclose(got, 1 - image.ssim(*pictures), atol=2e-3)
  assert np.all(np.asarray(got) > 0.02)
  np.testing.assert_allclose(pixel.ssim_loss(near, near), 0, atol=1e-6)
  np.testing.assert_allclose(got, pixel.ssim_loss(frames, near), atol=1e-6)


def test_dissimilarity_prefers_contrast_to_the_mean():
  """A stripe of unknown place: L1 likes grey best, this does not."""
  stripes = jnp.sign(jnp.sin(jnp.arange(16.0) * 1.5))
  true = jnp.broadcast_to(stripes[:, None], (1, 16, 16, 3))
  shifted, grey = jnp.roll(true, 1, 2), jnp.zeros_like(true)
  assert pixel.weighted_l1(grey, true) < pixel.weighted_l1(shifted, true)
  assert pixel.ssim_loss(shifted, true) < pixel.ssim_loss(grey, true)


def test_region_weight_peaks_at_the_mouth_and_follows_it():
  points = face(shift=(0.1, -0.05), scale=0.8)
  weight = np.asarray(pixel.region_weight(points, 64, mouth=3.0, face=1.5))
  assert weight.shape == (1, 64, 64, 1)
  y, x = np.unravel_index(weight[0, ..., 0].argmax(), (64, 64))
  lips = points[0, spec.MOUTH].mean(0)
  assert np.hypot(x - lips[0], y - lips[1]) < 3
  assert weight.min() >= 1
  assert 3.9 < weight.max() <= 5.5
  flat = pixel.region_weight(points, 64, mouth=0.0, face=0.0)
  np.testing.assert_array_equal(flat, 1.0)


@pytest.mark.parametrize("size", [32, 64])
def test_mouth_box_holds_the_lips_and_not_the_eyes(size):
  points = face(size)
  box = np.asarray(pixel.mouth_box(points, size))[0, ..., 0]
  for x, y in np.asarray(points)[0, spec.MOUTH]:
    assert box[round(y), round(x)] > 0.8
  for x, y in np.asarray(points)[0, spec.LEFT_EYE]:
    assert box[round(y), round(x)] < 0.01
  frames = jnp.zeros((1, size, size, 3))
  x, y = np.round(points[0, 36]).astype(int)
  eyes = frames.at[0, y, x].set(1.0)
  x, y = np.round(points[0, 57]).astype(int)
  lips = frames.at[0, y, x].set(1.0)
  far = pixel.mouth_box_l1(eyes, frames, points)
  assert pixel.mouth_box_l1(lips, frames, points)[0] > 100 * far[0]


def test_gradients_are_finite_when_landmarks_collapse(frames):
  nothing = jnp.zeros((3, 68, 2))
  slope = jitted.grad(
    lambda f: pixel.mouth_box_l1(f, frames[::-1], nothing).sum()
  )(frames)
  assert np.isfinite(slope).all()
