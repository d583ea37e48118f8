"""SyncNet's mouths are changed as they should be, a clip's windows alike."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.nn.shake import Shake, shake

NONE = Shake(0.0, 0.0, 0.0, 0.0, False, 0.0)
ALL = Shake(0.05, 0.1, 8.0, 0.2, True, 1.0)


@pytest.fixture(scope="module")
def frames():
  """Three clips of two windows; all frames of all windows are alike."""
  rng = np.random.default_rng(0)
  rough = rng.uniform(-0.6, 0.6, (3, 1, 1, 4, 4, 3)).astype(np.float32)
  smooth = jax.image.resize(rough, (3, 1, 1, 24, 24, 3), "cubic")
  return jnp.broadcast_to(smooth, (3, 2, 5, 24, 24, 3))


def test_nothing_changes_nothing(frames):
  same = shake(frames, jax.random.key(0), NONE)
  np.testing.assert_array_equal(same, frames)


def test_one_draw_a_clip(frames):
  made = np.asarray(shake(frames, jax.random.key(1), ALL))
  first = made[:, :1, :1]
  np.testing.assert_allclose(made, np.broadcast_to(first, made.shape))
  again = shake(frames, jax.random.key(1), ALL)
  np.testing.assert_array_equal(made, again)
  assert np.abs(made).max() <= 1 and np.isfinite(made).all()
  # Clips each in their own way.
  alike = jnp.broadcast_to(frames[:1], frames.shape)
  others = np.asarray(shake(alike, jax.random.key(1), ALL))
  assert np.abs(others[0] - others[1]).mean() > 0.01


@pytest.mark.parametrize(
  "how",
  [
    NONE._replace(shift=0.05),
    NONE._replace(scale=0.1),
    NONE._replace(turn=8.0),
    NONE._replace(colour=0.2),
    NONE._replace(blur=2.0),
  ],
)
def test_every_change_changes_a_little(frames, how):
  changed = np.abs(shake(frames, jax.random.key(2), how) - frames)
  changed = np.asarray(changed).mean((1, 2, 3, 4, 5))
  assert changed.max() > 1e-3 and (changed < 0.25).all()


def test_half_of_the_clips_are_mirrored():
  rng = np.random.default_rng(0)
  frames = rng.uniform(-1, 1, (64, 1, 2, 8, 8, 3)).astype(np.float32)
  made = shake(
    jnp.asarray(frames), jax.random.key(3), NONE._replace(mirror=True)
  )
  turned = [
    np.allclose(x, y[..., ::-1, :], atol=1e-5)
    for x, y in zip(np.asarray(made), frames, strict=True)
  ]
  kept = [
    np.allclose(x, y, atol=1e-5)
    for x, y in zip(np.asarray(made), frames, strict=True)
  ]
  assert all(a != b for a, b in zip(turned, kept, strict=True))
  assert 20 < sum(turned) < 44


def test_a_shift_moves_and_a_blur_keeps_the_mean():
  spot = np.zeros((1, 1, 1, 25, 25, 3), np.float32)
  spot[..., 12, 12, :] = 1
  moved = shake(jnp.asarray(spot), jax.random.key(5), NONE._replace(shift=0.2))
  y, x = np.unravel_index(np.asarray(moved)[0, 0, 0, ..., 0].argmax(), (25, 25))
  assert (y, x) != (12, 12) and max(abs(y - 12), abs(x - 12)) <= 6
  soft = shake(jnp.asarray(spot), jax.random.key(5), NONE._replace(blur=1.0))
  np.testing.assert_allclose(np.asarray(soft).sum(), 3, rtol=1e-3)
  assert np.asarray(soft).max() < 0.99
