"""SyncNet's mouths are changed as they should be, a clip's windows alike."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.nn import shake as module
from speak_jax.nn.shake import Moves, Shake
from speak_jax.nn.warp import sample
from tests import jitted

# Each function one program.
curve, lit, places, shake = map(
  jitted.compiled, (module.curve, module.lit, module.places, module.shake)
)

NONE = Shake(**dict.fromkeys(Shake._fields, 0.0))
ALL = Shake(
  shift=0.05,
  scale=0.1,
  stretch=0.2,
  shear=0.1,
  turn=8.0,
  elastic=0.02,
  mirror=True,
  blur=1.0,
  gamma=0.5,
  light=0.2,
  colour=0.2,
)
STILL = Moves(
  shift=jnp.zeros((1, 2)),
  scale=jnp.ones(1),
  stretch=jnp.ones(1),
  shear=jnp.zeros(1),
  turn=jnp.zeros(1),
  bumps=jnp.zeros((1, 4, 4, 2)),
  mirror=jnp.ones(1),
)
H, W = 20, 24


def smooth(clips, channels=3, height=H, width=W):
  rng = np.random.default_rng(0)
  rough = rng.uniform(-0.6, 0.6, (clips, 1, 1, 4, 4, channels))
  shape = (clips, 1, 1, height, width, channels)
  resize = jax.jit(jax.image.resize, static_argnums=(1, 2))
  return resize(rough.astype(np.float32), shape, "cubic")


@pytest.fixture(scope="module", params=[1, 3])
def frames(request):
  """Three clips of two windows; all frames of all windows are alike."""
  found = smooth(3, request.param)
  return jnp.broadcast_to(found, (3, 2, 5, *found.shape[3:]))


def test_nothing_changes_nothing(frames):
  same = shake(frames, jax.random.key(0), NONE)
  np.testing.assert_array_equal(same, frames)


def test_no_move_reads_every_pixel_where_it_is():
  x, y = places(STILL, H, W)
  np.testing.assert_array_equal(x[0], np.broadcast_to(np.arange(W), (H, W)))
  np.testing.assert_array_equal(y[0].T, np.broadcast_to(np.arange(H), (W, H)))


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


@pytest.mark.parametrize("name", [x for x in Shake._fields if x != "mirror"])
def test_every_change_changes_a_little(name):
  how = NONE._replace(**{name: getattr(ALL, name)})
  frames = smooth(3)
  changed = np.abs(shake(frames, jax.random.key(2), how) - frames)
  changed = np.asarray(changed).mean((1, 2, 3, 4, 5))
  assert changed.max() > 1e-3 and (changed < 0.25).all()


def test_grey_has_gain_and_offset_and_no_more():
  """All other changes are those of a picture in colour."""
  frames = smooth(3)
  grey = frames[..., :1]
  moved = ALL._replace(colour=0.0)
  np.testing.assert_allclose(
    shake(grey, jax.random.key(1), moved),
    shake(frames, jax.random.key(1), moved)[..., :1],
    atol=1e-6,
  )
  flat = jnp.zeros((256, 1, 1, 4, 4, 1))
  made = shake(flat, jax.random.key(2), NONE._replace(colour=0.2))
  assert 0.19 < np.abs(made).max() <= 0.2


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


@pytest.mark.parametrize(
  ("move", "matrix"),
  [
    (dict(shift=[[0.125, -0.1]]), [[1, 0, 3], [0, 1, -2]]),
    (dict(scale=[1.25]), [[1.25, 0, 0], [0, 1.25, 0]]),
    (dict(stretch=[1.44]), [[1.2, 0, 0], [0, 1 / 1.2, 0]]),
    (dict(shear=[0.2]), [[1, 0.2, 0], [0, 1, 0]]),
    (dict(turn=[np.pi / 2]), [[0, -1, 0], [1, 0, 0]]),
    (dict(mirror=[-1.0]), [[-1, 0, 0], [0, 1, 0]]),
    # Mirrored, sheared, stretched, turned, scaled, shifted: in this order.
    (
      dict(
        mirror=[-1.0],
        shear=[0.2],
        stretch=[1.44],
        turn=[np.pi / 2],
        scale=[1.25],
        shift=[[0.125, -0.1]],
      ),
      [[0, -1.25 / 1.2, 3], [-1.5, 1.5 * 0.2, -2]],
    ),
  ],
)
def test_pixels_are_read_where_each_move_says(move, matrix):
  moves = STILL._replace(**{k: jnp.array(v) for k, v in move.items()})
  got = sample(smooth(1)[0, 0], *places(moves, H, W))[0]
  middle = np.array([(W - 1) / 2, (H - 1) / 2])
  linear, shift = np.array(matrix)[:, :2], np.array(matrix)[:, 2]
  grid = np.stack(np.meshgrid(np.arange(W), np.arange(H)), -1) - middle
  at = (grid @ linear.T + shift + middle).astype(np.float32)
  want = cv2.remap(
    np.asarray(smooth(1))[0, 0, 0],
    at,
    None,
    cv2.INTER_LINEAR,
    borderMode=cv2.BORDER_REPLICATE,
  )
  # OpenCV rounds places to a 32nd of a pixel.
  np.testing.assert_allclose(got, want, atol=0.03)


def test_bumps_move_smoothly_and_their_own_place_by_themselves():
  even = STILL._replace(bumps=jnp.full((1, 4, 4, 2), 0.25))
  x, y = places(even, H, W)  # all points alike: a shift of a quarter
  np.testing.assert_allclose(x[0, 0], np.arange(W) + 6, atol=1e-4)
  np.testing.assert_allclose(y[0, :, 0], np.arange(H) + 5, atol=1e-4)
  bumps = np.zeros((1, 4, 4, 2), np.float32)
  bumps[0, 1, 2, 0] = 0.1
  x, y = places(STILL._replace(bumps=jnp.array(bumps)), 28, 28)
  off = np.asarray(x)[0] - np.arange(28)
  # Points lie in the middles of 4 x 4 cells of 7 px: rows 3, 10, 17, 24.
  assert off[10, 17] == pytest.approx(2.8, abs=1e-4)
  assert np.unravel_index(off.argmax(), off.shape) == (10, 17)
  others = off[3::7, 3::7].ravel()
  assert np.sort(np.abs(others))[-2] < 1e-4
  assert np.abs(np.diff(off, axis=0)).max() < 0.6
  np.testing.assert_array_equal(y[0, :, 0], np.arange(28))


def test_moves_are_drawn_as_far_as_asked_and_no_farther():
  how = ALL._replace(mirror=False)
  moves = jax.jit(module.draw_moves, static_argnums=(1, 2))(
    jax.random.key(7), 4000, how
  )
  for name in ("scale", "stretch"):
    drawn = np.log(getattr(moves, name))
    most = np.log1p(getattr(how, name))
    assert most * 0.98 < drawn.max() <= most * 1.0001
    assert -most * 1.0001 <= drawn.min() < -most * 0.98
  for drawn, most in (
    (moves.shift, how.shift),
    (moves.shear, how.shear),
    (moves.turn, np.deg2rad(how.turn)),
  ):
    assert most * 0.98 < drawn.max() <= most
    assert -most <= drawn.min() < -most * 0.98
  assert moves.bumps.std() == pytest.approx(how.elastic, rel=0.02)
  assert (np.asarray(moves.mirror) == 1).all()
  still = module.draw_moves(jax.random.key(7), 1, NONE)
  for name in Moves._fields:
    np.testing.assert_array_equal(getattr(still, name), getattr(STILL, name))


def test_all_moves_are_sampled_at_once(monkeypatch):
  looked = []

  def count(*given):
    looked.append(1)
    return sample(*given)

  monkeypatch.setattr(module, "sample", count)
  shake(smooth(1), jax.random.key(0), ALL)
  assert len(looked) == 1


def test_gamma_is_a_power_of_the_level_and_keeps_black_and_white():
  greys = jnp.array([-1.0, -0.5, 0.0, 0.5, 1.0]).reshape(1, 1, 5, 1)
  got = curve(greys, jnp.full((1, 1, 1, 1), 2.0)).ravel()
  want = 2 * np.array([0, 0.25, 0.5, 0.75, 1]) ** 2 - 1
  np.testing.assert_allclose(got, want, atol=1e-5)
  black = jitted.grad(lambda x: curve(x, jnp.full((1, 1, 1, 1), 0.5)).sum())
  assert np.isfinite(black(greys)).all()
  dark = shake(
    jnp.zeros((200, 1, 1, 4, 4, 1)),
    jax.random.key(0),
    NONE._replace(gamma=1.0),
  )
  # Powers 1/2 to 2 of a half.
  assert 0.25 <= (dark.min() + 1) / 2 < 0.26
  assert 0.7 < (dark.max() + 1) / 2 <= 0.7072


def test_light_slopes_over_the_picture():
  got = lit(jnp.zeros((1, 3, 5, 2)), jnp.array([[0.2, -0.4]]))[0]
  want = 0.2 * np.linspace(-1, 1, 5) - 0.4 * np.linspace(-1, 1, 3)[:, None]
  for channel in (0, 1):
    np.testing.assert_allclose(got[..., channel], want, atol=1e-6)
  assert lit(jnp.ones((1, 3, 5, 1)), jnp.ones((1, 2))).max() == 1


def test_a_blur_keeps_the_mean():
  spot = np.zeros((1, 1, 1, 25, 25, 3), np.float32)
  spot[..., 12, 12, :] = 1
  soft = shake(jnp.asarray(spot), jax.random.key(5), NONE._replace(blur=1.0))
  np.testing.assert_allclose(np.asarray(soft).sum(), 3, rtol=1e-3)
  assert np.asarray(soft).max() < 0.99
