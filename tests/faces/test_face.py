import cv2
import numpy as np
import pytest

from data_pipelines.faces import align
from data_pipelines.faces.tracker import Track, bridge, runs
from data_pipelines.media.warp import similarity, transform, warp
from speak_jax import spec
from tests.plain_face import mesh_of


def head(opening: float = 0.0) -> np.ndarray:
  """68 points of a frontal face, eye centres 40 px apart, eyes level."""
  points = np.zeros((68, 2))
  ring = np.linspace(0, 2 * np.pi, 6, endpoint=False)
  for eye, x in ((spec.LEFT_EYE, 80), (spec.RIGHT_EYE, 120)):
    points[eye] = np.stack([x + 6 * np.cos(ring), 90 + 3 * np.sin(ring)], 1)
  angle = np.pi - np.linspace(0, 2 * np.pi, 12, endpoint=False)
  lips = np.stack([100 + 16 * np.cos(angle), 133 - 6 * np.sin(angle)], 1)
  points[48:60] = lips
  points[60:68] = lips[[0, 2, 3, 4, 6, 8, 9, 10]]
  points[[55, 56, 57, 58, 59, 65, 66, 67], 1] += opening
  points[spec.JAW] = np.stack([np.linspace(65, 135, 17), np.full(17, 150)], 1)
  points[8] = [100, 160]
  points[spec.BROWS] = np.stack([np.linspace(70, 130, 10), np.full(10, 76)], 1)
  points[spec.NOSE] = [100, 110]
  return points


def turned(points, angle, scale, shift):
  c, s = scale * np.cos(angle), scale * np.sin(angle)
  return points @ np.array([[c, s], [-s, c]]) + shift


def test_similarity_recovers_rotation_scale_and_shift():
  source = np.random.default_rng(0).normal(size=(5, 2))
  target = turned(source, 0.7, 2.5, [3.0, -4.0])
  matrix = similarity(source, target)
  np.testing.assert_allclose(transform(source, matrix), target, atol=1e-5)


@pytest.mark.parametrize("angle", [0.0, 0.5, -1.2])
def test_aligned_faces_do_not_show_where_the_head_was(angle):
  points = turned(head(), angle, 1.7, [30.0, 10.0])
  moved = transform(points, align.face_matrix(points, 96))
  left, right, mouth = align.anchors(moved)
  assert left[1] == pytest.approx(right[1], abs=0.1)
  assert left[0] == pytest.approx(96 * 0.3 - 0.5, abs=1)
  assert right[0] == pytest.approx(96 * 0.7 - 0.5, abs=1)
  assert mouth[1] == pytest.approx(96 * 0.66 - 0.5, abs=1)
  assert moved[:, 1].min() > 0 and moved[:, 1].max() < 96  # brows and chin


def test_mouth_patch_is_centred_and_opening_stays_visible():
  gaps = []
  for opening in (0.0, 12.0):
    points = turned(head(opening), 0.3, 2.0, [5.0, 5.0])
    moved = transform(points, align.mouth_matrix(points, 32))
    np.testing.assert_allclose(moved[spec.MOUTH].mean(0), 15.5, atol=1e-3)
    gaps.append(moved[66, 1] - moved[62, 1])
  # 12 px of 40 px between the eyes, in a patch of 1.6 of them.
  assert gaps[1] - gaps[0] == pytest.approx(12 / 40 / 1.6 * 32, rel=0.02)


def test_square_holds_the_whole_track_and_never_turns():
  track = head() + np.array([[[0, 0]], [[20, 0]], [[0, 30]]])
  matrix = align.square(track, 128)
  assert matrix[0, 1] == matrix[1, 0] == 0
  moved = transform(track, matrix)
  assert moved.min() > 0 and moved.max() < 128
  extent = (track.max((0, 1)) - track.min((0, 1))).max()
  assert 128 / matrix[0, 0] == pytest.approx(1.3 * extent)
  # More room above than below: hair.
  assert moved[..., 1].min() > 128 - moved[..., 1].max()


@pytest.mark.parametrize(
  ("shift", "share"), [(0.0, 0.0), (-50.0, 0.5), (-100.0, 1.0)]
)
def test_outside_is_the_share_of_area(shift, share):
  # A 100 px square at the left edge of a 200 x 200 picture, moved left.
  matrix = np.array([[0.5, 0, -0.25 - shift / 2], [0, 0.5, -0.25]])
  assert align.outside(matrix, 50, 200, 200) == pytest.approx(share)


@pytest.mark.parametrize("size", [64, 200, 400])
def test_warp_puts_a_spot_where_the_points_go(size):
  frame = np.zeros((300, 340, 3), np.uint8)
  spots = np.array([[90.0, 80.0], [230.0, 190.0]])
  for x, y in spots.astype(int):
    cv2.circle(frame, (int(x), int(y)), 8, (255, 255, 255), -1)
  matrix = np.array([[size / 300, 0, -3.0], [0, size / 300, 2.0]])
  crop = warp(frame, matrix, size).astype(float)[..., 0]
  y, x = np.mgrid[:size, :size]
  for spot in transform(spots, matrix):
    near = np.hypot(x - spot[0], y - spot[1]) < 12 * size / 300
    weight = crop * near
    centre = [(weight * x).sum(), (weight * y).sum()] / weight.sum()
    np.testing.assert_allclose(centre, spot, atol=0.05)


def test_warp_averages_when_it_shrinks():
  rng = np.random.default_rng(0)
  frame = rng.integers(0, 255, (512, 512, 3)).astype(np.uint8)
  crop = warp(frame, np.array([[0.1, 0, 0], [0, 0.1, 0]]), 50)
  assert crop.std() < frame.std() / 5


@pytest.mark.parametrize("shrink", [2, 3, 5])
@pytest.mark.parametrize("centre", [(240, 150), (0, 290), (470, -20), (900, 0)])
def test_warp_of_a_part_is_that_of_the_whole_picture(shrink, centre):
  # Squares of 2, 3 and 5 px fill it: those of a part are those of the whole.
  frame = np.random.default_rng(0).integers(0, 255, (300, 480, 3))
  frame = frame.astype(np.uint8)
  scale, size = 1 / (shrink + 0.4), 30
  linear = turned(np.eye(2), 0.3, scale, 0).T
  shift = size / 2 - linear @ np.array(centre)
  small = cv2.resize(
    frame, (480 // shrink, 300 // shrink), interpolation=cv2.INTER_AREA
  )
  whole = cv2.warpAffine(
    small,
    np.concatenate(
      [linear * shrink, (shift + linear.sum(1) * (shrink - 1) / 2)[:, None]], 1
    ),
    (size, size),
    flags=cv2.INTER_LINEAR,
    borderMode=cv2.BORDER_REPLICATE,
  )
  crop = warp(frame, np.concatenate([linear, shift[:, None]], 1), size)
  difference = np.abs(crop.astype(int) - whole)
  assert difference.max() <= 5  # places are rounded to a 32nd of a pixel
  assert difference.mean() < 0.3


def test_bridge_fills_short_gaps_only():
  n = 12
  landmarks = np.full((n, 68, 2), np.nan, np.float32)
  pose = np.full((n, 3), np.nan, np.float32)
  found = np.ones(n, bool)
  found[[0, 3, 4, 7, 8, 9, 10]] = False
  landmarks[found] = np.flatnonzero(found)[:, None, None]
  mesh = mesh_of(landmarks)
  pose[found] = np.flatnonzero(found)[:, None]
  track = bridge(Track(landmarks, mesh, pose, found, 1), 2)
  assert runs(~track.found) == [(7, 11)]
  np.testing.assert_allclose(track.pose[[0, 3, 4], 0], [1, 3, 4])
  assert np.isnan(track.landmarks[7:11]).all()
  assert np.isnan(track.mesh[7:11, :, :2]).all()
  np.testing.assert_allclose(track.mesh[[0, 3, 4], :, 0].T, [[1, 3, 4]] * 468)
  assert np.isnan(mesh[0, 0, 0])  # what it was made of stays
  whole = bridge(track)
  assert whole.found.all()
  np.testing.assert_allclose(whole.landmarks[9, 0, 0], 9)
  np.testing.assert_allclose(whole.mesh[9, :, 1], 9, rtol=1e-6)
