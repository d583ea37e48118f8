"""The judge's geometry against OpenCV, and its weights on disk."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.models import judge


@pytest.fixture(scope="module")
def params():
  return judge.load()


@pytest.fixture
def points():
  """A plain face, turned, scaled and shifted in three ways."""
  frame = judge.Similarity(
    jnp.array([[15.0, 0.0], [12.0, 4.0], [20.0, -6.0]]),
    jnp.array([[31.0, 33.0], [28.0, 30.0], [36.0, 31.0]]),
  )
  face = jnp.broadcast_to(judge._mean_face(), (3, 68, 2))
  return frame, judge.to_picture(frame, face)


def test_fit_finds_the_similarity_that_placed_a_face(points):
  frame, placed = points
  found = judge.fit_similarity(placed)
  np.testing.assert_allclose(found.turn, frame.turn, atol=1e-3)
  np.testing.assert_allclose(found.shift, frame.shift, atol=1e-3)
  back = judge.to_face(found, placed)
  np.testing.assert_allclose(back[1], judge._mean_face()[0], atol=1e-4)


def test_cut_equals_opencv(points):
  frame, _ = points
  rng = np.random.default_rng(0)
  frames = rng.random((3, 64, 64, 3)).astype("f4")
  view = judge.FACE
  got = judge.crop_view(jnp.asarray(frames), frame, view)
  for i in range(3):
    (a, b), shift = np.asarray(frame.turn[i]), np.asarray(frame.shift[i])
    linear = np.array([[a, -b], [b, a]])
    step = 2 * view.half / view.px
    corner = np.array([view.u, view.v]) - view.half + step / 2
    matrix = np.c_[linear * step, linear @ corner + shift]
    want = cv2.warpAffine(
      frames[i],
      matrix,
      (view.px, view.px),
      flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
      borderMode=cv2.BORDER_REPLICATE,
    )
    # OpenCV rounds positions to 1/32 of a pixel.
    assert np.abs(np.asarray(got[i]) - want).mean() < 0.02


def test_sample_on_the_grid_is_the_picture():
  frames = jnp.asarray(np.random.default_rng(1).random((2, 8, 8, 3)), "f4")
  side = jnp.arange(8.0)
  grid = jnp.stack(jnp.meshgrid(side, side), -1)
  grid = jnp.broadcast_to(grid, (2, 8, 8, 2))
  np.testing.assert_allclose(judge.sample(frames, grid), frames, atol=1e-6)
  half = judge.sample(frames, grid + jnp.array([0.5, 0.0]))
  want = (frames[:, :, :-1] + frames[:, :, 1:]) / 2
  np.testing.assert_allclose(half[:, :, :-1], want, atol=1e-6)
  far = judge.sample(frames, grid + 100)
  np.testing.assert_allclose(far, jnp.broadcast_to(far[:, :1, :1], far.shape))


def test_shapes_units_and_batches(params):
  frames = np.random.default_rng(2).integers(0, 256, (3, 64, 64, 3), np.uint8)
  run = jax.jit(judge.apply)
  seen = run(params, jnp.asarray(frames))
  shapes = [x.shape[1:] for x in seen]
  assert shapes == [(68, 2), (3,), (8,), (), (64,)]
  np.testing.assert_allclose(
    np.linalg.norm(seen.identity, axis=-1), 1, rtol=1e-4
  )
  turned = run(params, jnp.asarray(frames[::-1].copy()))
  for one, other in zip(seen, turned, strict=True):
    np.testing.assert_allclose(one, other[::-1], rtol=1e-3, atol=1e-3)


def test_weights_survive_the_disk(params, tmp_path):
  path = tmp_path / "judge.safetensors"
  judge.save(params, path)
  loaded = judge.load(path)
  assert jax.tree.structure(loaded) == jax.tree.structure(params)
  # Half precision on disk.
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6),
    loaded,
    params,
  )
  assert [p.name for p in tmp_path.iterdir()] == ["judge.safetensors"]
  with pytest.raises(ValueError, match=r"speak_jax\.tools\.train_judge"):
    judge.load(tmp_path / "none.safetensors")


def test_another_size_is_an_error(params):
  with pytest.raises(ValueError, match="64 px"):
    judge.apply(params, jnp.zeros((1, 32, 32, 3), jnp.uint8))
