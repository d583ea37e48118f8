"""PSNR and SSIM against scikit-image and plain loops; sharpness by hand."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from speak_jax.metrics import image


@pytest.fixture
def frames():
  rng = np.random.default_rng(0)
  coarse = rng.integers(0, 256, (3, 6, 6, 3)).repeat(4, 1).repeat(4, 2)
  return (coarse * 0.8 + rng.integers(0, 40, coarse.shape)).astype(np.uint8)


def noisy(frames, strength):
  noise = np.random.default_rng(1).normal(size=frames.shape) * strength
  return (frames + noise).round().clip(0, 255).astype(np.uint8)


def test_equal_to_scikit_image(frames):
  other = noisy(frames, 25)
  want = [
    peak_signal_noise_ratio(a, b) for a, b in zip(frames, other, strict=True)
  ]
  np.testing.assert_allclose(image.psnr(other, frames), want, rtol=1e-9)
  want = [
    structural_similarity(a, b, channel_axis=-1)
    for a, b in zip(frames, other, strict=True)
  ]
  np.testing.assert_allclose(image.ssim(other, frames), want, rtol=1e-9)
  want = [
    structural_similarity(
      a,
      b,
      channel_axis=-1,
      gaussian_weights=True,
      sigma=1.5,
      use_sample_covariance=False,
    )
    for a, b in zip(frames, other, strict=True)
  ]
  found = image.gaussian_ssim(other, frames)
  np.testing.assert_allclose(found, want, rtol=1e-9)


def test_ssim_keeps_its_digits_on_large_bright_frames():
  # Running sums over a whole frame must not eat the windows' variance.
  rng = np.random.default_rng(0)
  frames = rng.integers(250, 256, (1, 256, 256, 3)).astype(np.uint8)
  other = rng.integers(250, 256, (1, 256, 256, 3)).astype(np.uint8)
  want = structural_similarity(frames[0], other[0], channel_axis=-1)
  assert image.ssim(other, frames)[0] == pytest.approx(want, abs=1e-7)


METRICS = (image.psnr, image.ssim, image.gaussian_ssim)


@pytest.mark.parametrize("metric", METRICS)
def test_best_iff_equal_and_falls_with_noise(metric, frames):
  best = 100.0 if metric is image.psnr else 1.0
  np.testing.assert_allclose(metric(frames, frames), best)
  one = frames.copy()
  one[:, 8, 8, 0] ^= 1
  assert np.all(metric(one, frames) < best)
  rows = [metric(noisy(frames, s), frames) for s in (2, 8, 32, 96)]
  assert np.all(np.diff(rows, axis=0) < 0)


@pytest.mark.parametrize("metric", METRICS)
@given(seed=st.integers(0, 2**20))
@settings(max_examples=10, deadline=None)
def test_neither_side_nor_mirror_nor_channel_order_matters(metric, seed):
  x, y = np.random.default_rng(seed).integers(0, 256, (2, 2, 14, 13, 3))
  x, y = x.astype(np.uint8), y.astype(np.uint8)
  value = metric(x, y)
  np.testing.assert_allclose(metric(y, x), value)
  np.testing.assert_allclose(metric(x[:, :, ::-1], y[:, :, ::-1]), value)
  np.testing.assert_allclose(metric(x[..., ::-1], y[..., ::-1]), value)
  # But swapped channels on one side alone are seen.
  assert np.all(metric(x[..., ::-1], x) < metric(x, x))


@pytest.mark.parametrize("metric", METRICS)
def test_frames_that_do_not_pair_or_have_another_range(metric, frames):
  run = inspect.unwrap(metric)  # as users have it: types are not checked
  with pytest.raises(ValueError, match="do not pair"):
    run(frames[:2], frames)
  with pytest.raises(ValueError, match="float64 frames; want uint8"):
    run(frames / 255, frames)


def test_psnr_inside_a_mask_by_loops(frames):
  other = noisy(frames, 25)
  mask = np.random.default_rng(2).random((3, 24, 24)) < 0.2
  want = []
  for a, b, m in zip(frames, other, mask, strict=True):
    errors = [
      (float(a[y, x, c]) - float(b[y, x, c])) ** 2
      for y in range(24)
      for x in range(24)
      for c in range(3)
      if m[y, x]
    ]
    want.append(10 * np.log10(255**2 / np.mean(errors)))
  np.testing.assert_allclose(image.psnr(other, frames, mask), want, rtol=1e-9)


def test_uint8_does_not_wrap():
  dark = np.zeros((1, 8, 8, 3), np.uint8)
  light = np.full((1, 8, 8, 3), 255, np.uint8)
  assert image.psnr(dark, light)[0] == image.psnr(light, dark)[0] == 0


def test_gradient_energy_by_loops_and_of_flat_frames(frames):
  x = frames[0].astype(float)
  want = np.mean(
    [
      np.mean((x[i + 1, j] - x[i, j]) ** 2)
      + np.mean((x[i, j + 1] - x[i, j]) ** 2)
      for i in range(23)
      for j in range(23)
    ]
  )
  np.testing.assert_allclose(image.gradient_energy(frames)[0], want)
  everywhere = np.ones((3, 24, 24), bool)
  np.testing.assert_allclose(
    image.gradient_energy(frames, everywhere), image.gradient_energy(frames)
  )
  flat = np.full((2, 8, 8, 3), 77, np.uint8)
  assert np.all(image.gradient_energy(flat) == 0)
  soft = (frames.astype(int) + np.roll(frames, 1, 2)) // 2
  blurred = image.gradient_energy(soft.astype(np.uint8))
  assert np.all(blurred < image.gradient_energy(frames))
