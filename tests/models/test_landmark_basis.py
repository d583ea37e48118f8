"""Landmarks without whose they are and where, and back."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import procrustes

from speak_jax import spec
from speak_jax.common.files import FileError
from speak_jax.models import landmark_basis
from tests import jitted
from tests.plain_face import plain_face


def _turn(angle, size, shift, landmarks):
  c, s = size * np.cos(angle), size * np.sin(angle)
  return landmarks @ np.array([[c, s], [-s, c]]) + shift


def _clip(seed, frames=12, head=True):
  """A face of its own that opens its mouth, and more, under a moving head."""
  rng = np.random.default_rng(seed)
  face = plain_face() + 0.01 * rng.normal(size=(68, 2))
  moves = np.random.default_rng(0).normal(size=(6, 68, 2)) * 0.01
  moves[0] = 0
  moves[0, 57:60, 1] = 0.1  # the lower lip
  # Steps away from the first frame, at which the face is at rest.
  weights = rng.normal(size=(frames, 6)) * 0.3 ** np.arange(6)
  weights[0] = 0
  clip = face + np.einsum("td,dkc->tkc", weights, moves)
  if not head:
    return clip
  return np.stack(
    [
      _turn(rng.normal(0, 0.2), rng.uniform(40, 60), rng.normal(size=2), x)
      for x in clip
    ]
  )


def _clips():
  return [_clip(seed) for seed in range(8)]


def test_aligned_is_scipys_procrustes():
  shape = landmark_basis.mean_shape(_clips())
  clip = _clip(9)
  for got, points in zip(landmark_basis.align(clip, shape), clip, strict=True):
    unit, wanted, _ = procrustes(shape, points)
    np.testing.assert_allclose(unit, shape, atol=1e-9)
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_mean_shape_is_upright_and_none_is_nearer():
  shape = landmark_basis.mean_shape(_clips())
  np.testing.assert_allclose(shape.mean(0), 0, atol=1e-12)
  assert (shape**2).sum() == pytest.approx(1)
  eyes = [shape[x].mean(0) for x in (spec.LEFT_EYE, spec.RIGHT_EYE)]
  assert eyes[1][0] > eyes[0][0] + 0.1
  assert abs(eyes[1][1] - eyes[0][1]) < 0.05
  assert eyes[0][1] < shape[spec.MOUTH, 1].mean()

  def distance(shape):
    return sum(
      ((landmark_basis.align(x, shape) - shape) ** 2).sum() for x in _clips()
    )

  rng = np.random.default_rng(1)
  for _ in range(3):
    other = shape + 0.01 * rng.normal(size=shape.shape)
    other -= other.mean(0)
    other /= np.sqrt((other**2).sum())
    assert distance(other) > distance(shape)


def test_normalised_landmarks_know_no_head_and_no_face():
  shape = landmark_basis.mean_shape(_clips())
  still, moving = _clip(3, head=False), _clip(3)
  normal = landmark_basis.normalise(still, still[0], shape)
  # Each frame has a similarity of its own; the identity picture as well.
  moved = landmark_basis.normalise(moving, moving[0] * 3, shape)
  np.testing.assert_allclose(moved, normal, atol=1e-5)
  np.testing.assert_allclose(normal[0], landmark_basis.SCALE * shape, atol=1e-6)
  assert np.abs(normal[5] - normal[0]).max() > 0.05
  own = landmark_basis.normalise(still, still[0], shape, keep=True)
  np.testing.assert_allclose(
    own[0], landmark_basis.SCALE * landmark_basis.align(still[0], shape), 1e-6
  )
  np.testing.assert_allclose(own - own[0], normal - normal[0], atol=1e-6)


@pytest.mark.parametrize("keep", [False, True])
def test_landmarks_come_back_to_their_place(keep):
  """But for pose and size of each frame, which are the identity picture's."""
  shape = landmark_basis.mean_shape(_clips())
  clip = _turn(0.3, 70, (90, 80), _clip(4, head=False))
  normal = landmark_basis.normalise(clip, clip[0], shape, keep)
  found = landmark_basis.place(normal, clip[0], shape, keep)
  np.testing.assert_allclose(found[0], clip[0], atol=1e-4)
  for one, other in zip(found, clip, strict=True):
    assert procrustes(other, one)[2] < 1e-9
  again = landmark_basis.normalise(found, clip[0], shape, keep)
  np.testing.assert_allclose(again, normal, atol=1e-5)


def test_basis_spans_what_faces_do():
  clips = _clips()
  basis = landmark_basis.fit(clips)
  assert basis.directions.shape == (136, 6)
  gram = basis.directions.T @ basis.directions
  np.testing.assert_allclose(gram, np.eye(6), atol=1e-5)
  other = _clip(20)  # of another person
  normal = landmark_basis.normalise(other, other[0], basis.shape)
  found = landmark_basis.coefficients(normal, basis)
  assert found.shape == (12, 6)
  back = landmark_basis.shapes(found, basis)
  missed = np.sqrt(((back - normal) ** 2).mean())
  assert missed < 0.15 * np.sqrt(((normal - normal.mean(0)) ** 2).mean())
  # The widest first, about 0 on the whole.
  everything = np.concatenate(
    [
      landmark_basis.coefficients(
        landmark_basis.normalise(x, x[0], basis.shape), basis
      )
      for x in clips
    ]
  )
  np.testing.assert_allclose(everything.mean(0), 0, atol=1e-5)
  spread = everything.std(0)
  assert (np.diff(spread) < 0).all()
  assert spread[-1] > 0
  np.testing.assert_allclose(
    np.cov(everything.T, bias=True), np.diag(spread**2), atol=1e-5
  )
  same = landmark_basis.fit([*clips[4:], *clips[:4]])
  np.testing.assert_allclose(same.directions, basis.directions, atol=1e-4)


def test_jax_gives_numpys_numbers():
  basis = landmark_basis.fit(_clips())
  clips = np.stack([_clip(5), _clip(6)]).astype(np.float32)

  def all_of_it(clips):
    normal = landmark_basis.normalise(clips, clips[:, 0], basis.shape)
    found = landmark_basis.coefficients(normal, basis)
    back = landmark_basis.shapes(found, basis)
    return found, landmark_basis.place(back, clips[:, 0], basis.shape)

  for got, wanted in zip(
    jitted.compiled(all_of_it)(jnp.asarray(clips)),
    all_of_it(clips),
    strict=True,
  ):
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def test_what_does_not_move_is_refused():
  still = [np.repeat(_clip(1)[:1], 5, 0)]
  with pytest.raises(ValueError, match="of 5 frames move in 0 directions"):
    landmark_basis.fit(still)
  with pytest.raises(ValueError, match="no landmarks"):
    landmark_basis.fit([])


def test_a_basis_is_saved_and_read(tmp_path):
  basis = landmark_basis.fit(_clips(), 4)
  path = tmp_path / "basis.npz"
  landmark_basis.save(path, basis)
  for one, other in zip(landmark_basis.read(path), basis, strict=True):
    np.testing.assert_array_equal(one, other)
  with pytest.raises(FileError, match=r"other\.npz: No such file"):
    landmark_basis.read(tmp_path / "other.npz")
  content = path.read_bytes()
  for wrong in (b"", b"text", content[:-99]):
    path.write_bytes(wrong)
    with pytest.raises(FileError, match=r"basis\.npz: no landmark basis"):
      landmark_basis.read(path)
  for change in (
    {"mean": basis.mean[1:]},
    {"directions": basis.directions[:, 0]},
    {"shape": basis.shape * np.float32(np.nan)},
  ):
    landmark_basis.save(path, basis._replace(**change))
    with pytest.raises(FileError, match="its arrays do not fit"):
      landmark_basis.read(path)
