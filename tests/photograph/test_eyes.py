"""Eyes are read, turn behind their lids, and shut."""

import cv2
import numpy as np
import pytest

from data_pipelines.faces import canonical, eyes
from data_pipelines.faces.eyes import LOOPS, EyeReader, readable
from data_pipelines.synthetic import render
from speak_jax.inference import windows
from speak_jax.photograph import composition, gaze, head_motion, lids
from speak_jax.photograph.composition import NO_EXPRESSION
from speak_jax.photograph.eyes import DARK, REACH, _way
from speak_jax.photograph.gaze import Driver, Look
from speak_jax.photograph.head_motion import Drive, unpacked
from speak_jax.photograph.textured_mesh import POINTS, STILL, posed

GAZES = [(-12.0, 0.0), (12.0, 0.0), (0.0, 6.0), (0.0, -6.0)]
UPPER, LOWER = LOOPS[:, 1:8], LOOPS[:, :8:-1]


@pytest.fixture(scope="module")
def reader(face_models):
  return EyeReader()


@pytest.fixture(scope="module")
def large(photograph):
  """The drawn photograph, as large as a real one."""
  frame, mesh = photograph
  frame = cv2.resize(frame, (512, 512), interpolation=cv2.INTER_CUBIC)
  return frame, np.column_stack([2 * mesh[:, :2] + 0.5, 2 * mesh[:, 2]])


@pytest.fixture(scope="module")
def one(large, reader):
  return composition.portrait(*large, reader(*large))


def read(reader, frame, mesh):
  return gaze.of_eyes(reader(frame, mesh), mesh).mean(0)


def gap(points):
  return canonical.lid_gap(canonical.placed(points[None]).points)[0]


def test_drawn_eyes_look_where_they_are_drawn_to_look(reader, face_mesh):
  drawn = render.random_frames(3, 48, 256, "tight")  # of 6 people in all poses
  look = Driver(reader)
  found, true = [], []
  for frame, factors in zip(drawn.frames, drawn.factors, strict=True):
    seen = look((frame, face_mesh(frame))).gaze
    if seen is not None:
      found.append(seen)
      true.append(factors[11:13])  # gaze_x, gaze_y
  assert len(found) > 40
  right, up = (
    np.corrcoef(a, b)[0, 1]
    for a, b in zip(np.transpose(found), np.transpose(true), strict=True)
  )
  assert right > 0.7
  assert up > 0.45  # lids go with it, and hide it


@pytest.mark.parametrize("asked", GAZES)
def test_a_gaze_that_is_asked_for_is_seen(one, large, reader, asked):
  frame, mesh = large
  drawn = composition.compose(one, NO_EXPRESSION, STILL, asked)
  change = read(reader, drawn, mesh) - read(reader, frame, mesh)
  which = int(asked[0] == 0)
  share = change[which] / asked[which]
  # Lids hide most of what goes up and down; the network sees less of it.
  assert (0.6 if which == 0 else 0.3) < share < 1.4
  assert abs(change[1 - which]) < 4.5


def test_the_photographs_own_gaze_is_the_photograph(one, large):
  drawn = composition.compose(one, NO_EXPRESSION, STILL, gaze.OWN_GAZE)
  assert np.array_equal(drawn, large[0])
  assert len(one.eyeballs) == 2


@pytest.mark.parametrize("asked", GAZES)
def test_a_gaze_changes_nothing_but_the_openings(one, large, asked):
  drawn = composition.compose(one, NO_EXPRESSION, STILL, asked)
  changed = (drawn != large[0]).any(-1)
  openings = np.zeros(changed.shape, np.uint8)
  for loop in LOOPS:
    edge = one.textured.vertices[loop, :2].round().astype(np.int32)
    cv2.fillPoly(openings, [edge], 1)
  inside = openings > 0
  assert changed[inside].mean() > 0.2
  assert not changed[cv2.dilate(openings, np.ones((7, 7))) == 0].any()


def test_an_iris_stays_within_its_eye(one):
  for ball in one.eyeballs:
    corners = one.textured.vertices[ball.loop[[0, 8]], :2]
    rest = one.textured.vertices[ball.loop, :2]
    for asked in ((80.0, 0.0), (-80.0, 0.0)):
      place = ball.iris + _way(ball, one.textured, rest, asked)
      off = np.linalg.norm(place - corners.mean(0))
      wide = np.linalg.norm(corners[1] - corners[0])
      assert off < (REACH + 0.1) * wide


def test_an_eyeball_and_its_shade_are_the_photograph(one, large):
  for ball in one.eyeballs:
    left, top = ball.corner.astype(int)
    high, wide = ball.surface.shape[:2]
    own = large[0][top : top + high, left : left + wide].astype(np.float32)
    again = (ball.surface + DARK) * ball.shade[..., :3] - DARK
    opening = np.zeros((high, wide), np.uint8)
    edge = one.textured.vertices[ball.loop, :2] - ball.corner
    cv2.fillPoly(opening, [edge.round().astype(np.int32)], 1)
    weight = (opening > 0) * ball.shade[..., 3]
    assert (np.abs(again - own).mean(-1) * weight).sum() / weight.sum() < 4


@pytest.mark.parametrize("size", [0.6, 1.0, 1.8])
def test_lids_meet_whatever_the_model_does(photograph, size):
  points = canonical.placed(photograph[1][None]).points[0]
  points = points.copy()
  middle = (points[UPPER] + points[LOWER]) / 2
  points[UPPER] = middle + size * (points[UPPER] - middle)
  points[LOWER] = middle + size * (points[LOWER] - middle)
  shut = np.random.default_rng(0).normal(0, 0.02, (POINTS, 3))
  there = points + shut + lids.shutting(points, shut)
  np.testing.assert_allclose(there[UPPER], there[LOWER], atol=1e-9)
  others = np.setdiff1d(np.arange(POINTS), [*UPPER.ravel(), *LOWER.ravel()])
  assert not lids.shutting(points, shut)[others].any()


def test_shut_eyes_are_shut(large, reader):
  frame, mesh = large
  shut = np.zeros((POINTS, 3))
  shut[UPPER, 1] = 0.02  # far too little
  one = composition.portrait(frame, mesh, reader(frame, mesh), shut)
  drawn = [
    composition.compose(one, one.expression(closed * shut, closed), STILL)
    for closed in (0.0, 1.0)
  ]
  seen = [reader(x, mesh) for x in drawn]
  gaps = [
    np.linalg.norm(x.lids[:, 1:8] - x.lids[:, :8:-1], axis=-1).max()
    for x in seen
  ]
  assert gaps[1] < 0.7 * gaps[0]
  vertices = posed(one.textured, one.expression(shut, 1.0), STILL)
  np.testing.assert_allclose(
    vertices[UPPER, :2], vertices[LOWER, :2], atol=0.01
  )


def test_between_shut_lids_nothing_is_painted(large, reader):
  frame, mesh = large
  one = composition.portrait(frame, mesh, reader(frame, mesh), NO_EXPRESSION)
  shut = one.expression(NO_EXPRESSION, 1.0)
  plain = one._replace(eyeballs=())
  for look in (gaze.OWN_GAZE, (10.0, 0.0)):
    drawn = composition.compose(one, shut, STILL, look)
    assert np.array_equal(drawn, composition.compose(plain, shut, STILL))


def test_upper_lids_go_with_the_gaze(one):
  offsets = [
    one.expression(NO_EXPRESSION, 0.0, (0.0, up))[:, 1] for up in (8.0, -8.0)
  ]
  assert (offsets[0][UPPER[:, 3]] < -0.003).all()
  assert (offsets[1][UPPER[:, 3]] > 0.003).all()
  still = one.expression(NO_EXPRESSION, 0.0, (8.0, 0.0))
  np.testing.assert_array_equal(still, one.closing)
  shut = one.expression(NO_EXPRESSION, 1.0, (0.0, 8.0))
  np.testing.assert_array_equal(shut, one.closing + one.shutting)


def test_dark_glasses_and_small_faces_say_nothing(large, reader):
  frame, mesh = large
  assert readable(frame, mesh, reader(frame, mesh)).all()
  glasses = frame.copy()
  for loop in LOOPS:
    centre = mesh[loop, :2].mean(0).round().astype(int).tolist()
    cv2.circle(glasses, centre, 40, (25, 25, 28), -1)
  assert Driver(reader)((glasses, mesh)).gaze is None
  small = cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA)
  assert Driver(reader)((small, mesh / 8)) == (None, None)
  one = composition.portrait(glasses, mesh, reader(glasses, mesh))
  assert one.eyeballs == ()
  still = composition.compose(one, NO_EXPRESSION, STILL, (10.0, 0.0))
  assert np.array_equal(still, glasses)


def test_eyes_of_a_large_picture_are_read_where_they_are(large, reader):
  frame, mesh = large
  beyond = np.pad(frame, ((300, 200), (500, 100), (0, 0)))
  there = reader(beyond, mesh + np.array([500, 300, 0]))
  here = reader(frame, mesh)
  np.testing.assert_allclose(there.irises - [500, 300], here.irises, atol=0.5)
  np.testing.assert_allclose(there.lids - [500, 300], here.lids, atol=0.5)


def test_lids_are_refined_and_corners_are_not(large, reader):
  frame, mesh = large
  found = reader(frame, mesh)
  finer = eyes.refined(mesh, found, np.array([True, False]))
  np.testing.assert_array_equal(finer[LOOPS[1]], mesh[LOOPS[1]])
  np.testing.assert_array_equal(finer[eyes.CORNERS], mesh[eyes.CORNERS])
  np.testing.assert_allclose(finer[159, :2], found.lids[0, 4])
  away = np.linalg.norm(finer - mesh, axis=1)
  assert 0 < away.max() < 0.3 * np.linalg.norm(mesh[33] - mesh[133])


def test_a_turned_head_does_not_look_elsewhere(photograph):
  """Irises that stay in the head keep their gaze in it."""
  points = canonical.placed(photograph[1][None]).points[0]
  for true in ((0.0, 0.0), (10.0, -5.0)):
    toward = gaze._toward(np.array(true))
    for degrees in ((0, 0, 0), (20, 0, 0), (0, 12, 0), (15, -8, 10)):
      rotation = head_motion.rotation_of(*np.radians(degrees))
      mesh = 300 * points @ rotation.T + 500
      centres = mesh[eyes.CORNERS].mean(1) + 300 * gaze.BACK * rotation[:, 2]
      irises = centres + 300 * gaze.RADIUS * rotation @ toward
      seen = eyes.Eyes(irises[:, :2], np.ones(2), np.zeros((2, 16, 2)))
      np.testing.assert_allclose(gaze.of_eyes(seen, mesh), [true, true], atol=3)


def test_a_blink_holds_the_gaze_and_a_jump_is_one():
  one, other = np.array([3.0, 1.0]), np.array([15.0, 1.0])
  seen = [None, one, one, None, None, other, other]
  ways = list(gaze.followed(seen))
  assert not np.any(ways[:5])
  np.testing.assert_allclose(ways[5:], [[12, 0], [12, 0]])
  set_by_him = list(gaze.followed(seen, np.array([1.0, 0.0])))
  np.testing.assert_allclose(set_by_him[1], [2, 1])
  assert not set_by_him[0].any()
  rng = np.random.default_rng(0)
  tremble = [one + x for x in rng.normal(0, 0.5, (200, 2))]
  calm = np.array(list(gaze.followed(tremble)))
  assert calm[20:].std(0).max() < 0.35


def test_an_idle_gaze_jumps_and_rests():
  one, again, other = (
    gaze.idle(np.random.default_rng(seed), 500, 25.0)(np.arange(500))
    for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(one, again)
  assert not np.array_equal(one, other)
  assert not one[0].any()
  jumps = np.flatnonzero(np.abs(np.diff(one, axis=0)).max(1))
  assert 5 < len(jumps) < 40
  assert np.diff(jumps).min() >= 9  # 0.4 s
  assert (np.abs(one).max(0) <= gaze.MOST).all()


def test_smoothing_leaves_a_gaze_as_it_is():
  drives = [Drive(STILL, lid, (look, 0.0)) for lid, look in
            ((0.0, 0.0), (1.0, 9.0), (1.0, 9.0))]  # fmt: skip
  rows = windows.drive((x.packed() for x in drives), 3, jumps=head_motion.GAZES)
  smooth = [unpacked(row) for row in rows]
  assert [x.gaze[0] for x in smooth] == [0, 9, 9]
  assert [x.lids for x in smooth] == pytest.approx([0.25, 0.75, 1])


def test_a_drivers_gaze_goes_into_his_rows(photograph):
  mesh = photograph[1].astype(float)
  rows = head_motion.driven([mesh, None, mesh], open_lids=0.1)
  looks = [Look(np.zeros(2), 0.1), None, Look(np.array([8.0, 0.0]), 0.05)]
  first, none, last = head_motion.looking(rows, looks)
  assert none is None and first is not None and last is not None
  assert unpacked(first).gaze == (0, 0)
  assert unpacked(first).lids == 0
  assert unpacked(last).gaze == pytest.approx((8, 0))
  assert unpacked(last).lids > 0.4


def test_lids_of_a_driver_are_told_from_his_open_ones():
  straight = np.zeros(2)
  opened, blink = Look(straight, 0.1), Look(None, 0.02)
  # Behind dark glasses or where eyes are small nothing is known.
  assert list(gaze.closed([blink, Look(None, None), None])) == [None] * 3
  lids = list(gaze.closed([opened] * 5 + [blink, Look(None, None), opened]))
  assert lids == [0] * 5 + [1, None, 0]
  half = list(gaze.closed([opened] * 5 + [Look(straight, 0.07)]))
  assert 0.3 < half[-1] < 0.6
