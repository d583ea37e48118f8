"""Pictures are changed on the device as OpenCV changes them on the host."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.faces import align
from data_pipelines.media import warp
from speak_jax import spec
from speak_jax.nn import treat as module
from tests import jitted, toy_records

treat = jitted.functions(module)  # each function one program

SIDE = 64


def soft(seed: int, count: int, side: int = SIDE) -> np.ndarray:
  """Pictures as smooth as real ones."""
  rng = np.random.default_rng(seed)
  rough = rng.integers(30, 220, (count, 12, 12, 3), np.uint8)
  return np.stack(
    [cv2.resize(x, (side, side), interpolation=cv2.INTER_CUBIC) for x in rough]
  )


def floats(pixels: np.ndarray) -> jax.Array:
  return jnp.asarray(np.asarray(pixels, np.float32) / 127.5 - 1)


def levels(frames) -> np.ndarray:
  return (np.asarray(frames) + 1) * 127.5


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
  angle = np.deg2rad(degrees)
  rows = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
  return ((points - SIDE / 2) @ rows + SIDE / 2).astype(np.float32)


# --- as OpenCV does it -----------------------------------------------------


def cv_recolour(frame, gain, mean, blur, usual) -> np.ndarray:
  shift = mean - gain * usual
  made = cv2.transform(frame, np.c_[np.diag(gain), shift])
  if blur:
    sigma = blur * frame.shape[0]
    reach = 2 * int(np.ceil(2 * sigma)) + 1
    made = cv2.GaussianBlur(made, (reach, reach), sigma)
  return made


def cv_stretch(frame, points, ratio) -> np.ndarray:
  eyes = points[spec.RIGHT_EYE].mean(0) - points[spec.LEFT_EYE].mean(0)
  along = eyes / np.hypot(*eyes)
  linear = np.eye(2) / ratio + (ratio - 1 / ratio) * np.outer(along, along)
  middle = points[spec.NOSE].mean(0)
  matrix = np.c_[linear, middle - linear @ middle]
  side = frame.shape[1::-1]
  way = dict(flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
  return cv2.warpAffine(frame, matrix, side, **way)


def cv_lend(frame, points, donor, donor_points) -> np.ndarray:
  def still(x):
    parts = (spec.LEFT_EYE, spec.RIGHT_EYE, slice(31, 36))
    return np.stack([x[part].mean(0) for part in parts])

  onto = warp.similarity(still(donor_points), still(points))
  left, right, nose = still(points)
  down = nose - (left + right) / 2
  apart = spec.interocular(points)
  middle = onto @ [*donor_points[spec.MOUTH].mean(0), 1]
  middle += treat.BELOW * apart * down / np.hypot(*down)
  moved = warp.warp(donor, onto, len(frame)).astype(float)
  x, y = np.arange(len(frame)) - middle[:, None]
  near, far = np.array(treat.PASTED) * apart
  share = (far - np.hypot(x, y[:, None])) / (far - near)
  share = share.clip(0, 1)[..., None]
  return frame * (1 - share) + moved * share


@pytest.mark.parametrize("blur", [0.0, 0.4 / 64, 1 / 64])
def test_colours_are_opencvs(blur):
  frames = soft(0, 4).reshape(2, 2, SIDE, SIDE, 3)
  gain = np.array([[0.7, 0.9, 1.2], [1.5, 1.0, 0.8]])
  mean = np.array([[80.0, 120, 140], [110, 60, 150]])
  made = treat.recolour(
    floats(frames),
    treat.Colours(
      *map(jnp.asarray, (gain, mean / 127.5 - 1)), jnp.full(2, blur)
    ),
  )
  for k, t in np.ndindex(2, 2):
    usual = frames[k, 0].mean((0, 1))  # of the first: both are changed alike
    want = cv_recolour(frames[k, t], gain[k], mean[k], blur, usual)
    assert np.abs(levels(made)[k, t] - want).max() < 2


def test_a_stretch_is_opencvs():
  frames = soft(1, 6).reshape(3, 2, SIDE, SIDE, 3)
  points = np.stack(
    [turned(toy_records.landmarks(1, SIDE)[0], d) for d in (0, 25, -40)]
  )
  ratio = np.array([1.04, 0.96, 1.03])
  made = levels(
    treat.stretch(floats(frames), jnp.asarray(points), jnp.asarray(ratio))
  )
  for k, t in np.ndindex(3, 2):
    want = cv_stretch(frames[k, t], points[k], ratio[k])
    # OpenCV has 32 places between two pixels.
    assert np.abs(made[k, t] - want).max() < 3
    assert np.abs(made[k, t] - frames[k, t]).max() > 8
  same = treat.stretch(floats(frames), jnp.asarray(points), jnp.ones(3))
  np.testing.assert_allclose(levels(same), frames, atol=0.02)


@pytest.mark.parametrize("side", [SIDE, SIDE // 2])
def test_a_lent_mouth_is_opencvs(side):
  """Of the same size, or of half; the donor is turned and moved."""
  frames, donor = soft(2, 4).reshape(2, 2, SIDE, SIDE, 3), soft(3, 2, side)
  points = np.stack(
    [
      toy_records.landmarks(1, SIDE)[0],
      turned(toy_records.landmarks(2, SIDE)[0], 9),
    ]
  )
  points = np.stack([points, points + 2], 1)  # two frames a clip
  there = np.stack(
    [turned(toy_records.landmarks(3, SIDE)[0], d) for d in (-20, 12)]
  )
  there = ((there + 0.5) * side / SIDE - 0.5).astype(np.float32)
  made = levels(
    treat.lend_mouth(
      floats(frames),
      jnp.asarray(points),
      treat.Lender(floats(donor), jnp.asarray(there)),
    )
  )
  for k, t in np.ndindex(2, 2):
    want = cv_lend(frames[k, t], points[k, t], donor[k], there[k])
    assert np.abs(made[k, t] - want).max() < 3
    assert np.abs(made[k, t] - frames[k, t]).max() > 20
    assert np.abs(made[k, t, :16] - frames[k, t, :16]).max() < 0.02  # brows


def test_a_lent_mouth_lies_where_the_own_one_was():
  """Dots for eyes and mouth; the donor is turned, moved, larger, and half."""
  here = toy_records.landmarks(1, SIDE)[0]
  at = jnp.asarray(here)
  there = (here - 32) @ np.array([[0.96, 0.28], [-0.28, 0.96]]) * 1.1 + (34, 30)

  def draw(points, side, reach, colour):
    frame = np.full((side, side, 3), 90, np.uint8)
    for part in (spec.LEFT_EYE, spec.RIGHT_EYE, spec.MOUTH):
      x, y = points[part].mean(0).round().astype(int)
      frame[y - reach : y + reach + 1, x - reach : x + reach + 1] = colour
    return frame

  small = ((there + 0.5) / 2 - 0.5).astype(np.float32)
  own = draw(here, SIDE, 1, (200, 0, 0))
  other = draw(small, SIDE // 2, 1, (0, 200, 0))
  lender = treat.Lender(floats(other)[None], jnp.asarray(small)[None])
  made = levels(
    treat.lend_mouth(floats(own)[None, None], at[None, None], lender)
  )[0, 0]
  for part, which in ((spec.LEFT_EYE, 0), (spec.RIGHT_EYE, 0), (spec.MOUTH, 1)):
    x, y = here[part].mean(0).round().astype(int)
    assert made[y, x, which] > 150 and made[y, x, 1 - which] < 50
  lender = treat.Lender(floats(own)[None], at[None])
  same = treat.lend_mouth(floats(own)[None, None], at[None, None], lender)
  assert np.abs(levels(same)[0, 0] - own).max() < 0.1


def cv_move(moves, k, side) -> np.ndarray:
  """The forward matrix, pixel to pixel."""
  turn, scale, ratio = (
    float(x[k]) for x in (moves.turn, moves.scale, moves.ratio)
  )
  flip = -1 if moves.mirrored[k] else 1
  cos, sin = np.cos(turn), np.sin(turn)
  linear = scale * np.array([[cos, -sin], [sin, cos]])
  linear = linear @ np.diag([flip * ratio, 1 / ratio])
  middle = np.full(2, (side - 1) / 2)
  return np.c_[linear, middle - linear @ middle + moves.shift[k] * side]


@pytest.mark.parametrize("aligned", [True, False])
def test_faces_are_cut_and_moved_as_opencv_does_it(aligned, monkeypatch):
  """Turned, zoomed, shifted, stretched and half of them mirrored, at once."""
  monkeypatch.setattr(module, "colours", lambda pictures, key: pictures)
  frames, side = soft(10, 6), 48 if aligned else SIDE
  points = np.stack(
    [turned(toy_records.landmarks(1, SIDE)[0], d) for d in range(-25, 35, 10)]
  )
  made = treat.faces(
    floats(frames),
    jnp.asarray(points) if aligned else None,
    side,
    jax.random.key(3),
    most=0.08,
  )
  key = jax.random.split(jax.random.key(3))[0]
  moves = treat.draw_moves(key, 6, 0.08)
  assert 0 < int(moves.mirrored.sum()) < 6
  for k in range(6):
    matrix, border = cv_move(moves, k, side), cv2.BORDER_REFLECT_101
    if aligned:
      into = np.vstack([align.face_matrix(points[k], side), [0, 0, 1]])
      matrix, border = matrix @ into, cv2.BORDER_REPLICATE
    want = cv2.warpAffine(
      frames[k],
      matrix,
      (side, side),
      flags=cv2.INTER_LINEAR,
      borderMode=border,
    )
    assert np.abs(levels(made)[k] - want).max() < 3


# --- what is drawn ---------------------------------------------------------


def test_draws_are_spread_as_they_should_be():
  many = 4000
  gain, mean, blur = map(
    np.asarray, treat.draw_colours(jax.random.key(0), many)
  )
  mean = (mean + 1) * 127.5
  assert 0.7 * 0.85 <= gain.min() < 0.65 and 1.5 < gain.max() <= 1.35 * 1.15
  assert 58 <= mean.min() < 64 and 156 < mean.max() <= 162
  apart = np.ptp(mean, axis=1)  # channels: each a little for itself
  assert 20 < apart.max() <= 24
  some = blur[blur > 0] * 64
  assert 0.27 < len(some) / many < 0.33
  assert 0.4 <= some.min() < 0.42 and 0.98 < some.max() <= 1
  ratio = np.asarray(treat.draw_ratio(jax.random.key(1), many, 0.08)) ** 2
  assert 1 / 1.0801 < ratio.min() < 0.93 and 1.075 < ratio.max() < 1.0801


def test_faces_are_moved_a_little_and_half_are_mirrored():
  moves = treat.draw_moves(jax.random.key(2), 4000, 0.08)
  turn, scale = np.rad2deg(moves.turn), np.asarray(moves.scale)
  assert 5.9 < turn.max() <= 6 and -6 <= turn.min() < -5.9
  assert 1.055 < scale.max() <= 1.0601 and 1 / 1.0601 < scale.min() < 0.95
  shift = np.asarray(moves.shift)
  assert 0.029 < shift.max() <= 0.03 and -0.03 <= shift.min() < -0.029
  assert 0.47 < np.mean(moves.mirrored) < 0.53
  faces = floats(soft(11, 1)).repeat(4, 0)
  made = treat.faces(faces, None, SIDE, jax.random.key(0), most=0.08)
  made = np.asarray(made)
  for a in range(1, 4):  # each in its own way
    assert np.abs(made[0] - made[a]).mean() > 0.02


def treated(frames, points, lender, key=0):
  return np.asarray(
    treat.pose(
      frames, points, lender, jax.random.key(key), colours=True, most=0.08
    )
  )


def test_frames_of_an_example_are_changed_alike_and_examples_are_not():
  one = soft(4, 1)[0]
  frames = jnp.broadcast_to(floats(one), (3, 4, SIDE, SIDE, 3))
  points = jnp.broadcast_to(toy_records.landmarks(1, SIDE), (3, 4, 68, 2))
  donor = treat.Lender(floats(soft(5, 3, 32)), points[:, 0] / 2)
  made = treated(frames, points, donor)
  assert np.abs(made).max() <= 1 and np.isfinite(made).all()
  np.testing.assert_allclose(made, np.broadcast_to(made[:, :1], made.shape))
  np.testing.assert_array_equal(made, treated(frames, points, donor))
  assert np.abs(made - treated(frames, points, donor, 1)).mean() > 0.02
  for a, b in ((0, 1), (1, 2)):
    assert np.abs(made[a] - made[b]).mean() > 0.02


def test_an_example_is_changed_whatever_is_beside_it():
  frames = floats(soft(6, 3))[:, None]
  points = jnp.broadcast_to(toy_records.landmarks(1, SIDE), (3, 1, 68, 2))
  donor = treat.Lender(floats(soft(7, 3, 32)), points[:, 0] / 2)
  made = treated(frames, points, donor)
  others = frames.at[1].set(-frames[1])
  again = treated(others, points, donor)
  np.testing.assert_allclose(again[[0, 2]], made[[0, 2]], atol=1e-6)
  assert np.abs(again[1] - made[1]).mean() > 0.02


def test_mouths_are_lent_to_those_alone_that_are_flagged():
  frames = floats(soft(8, 2))[:, None]
  points = jnp.broadcast_to(toy_records.landmarks(1, SIDE), (2, 1, 68, 2))
  lender = treat.Lender(
    floats(soft(9, 2, 32)), jnp.zeros((2, 68, 2)), jnp.array([False, False])
  )
  made = treat.lend_mouth(frames, points, lender)
  np.testing.assert_array_equal(made, frames)
  lender = lender._replace(
    landmarks=points[:, 0] / 2, lends=jnp.array([True, False])
  )
  made = treat.lend_mouth(frames, points, lender)
  np.testing.assert_array_equal(made[1], frames[1])
  assert np.abs(made[0] - frames[0]).max() > 0.2
