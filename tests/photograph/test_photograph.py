"""A photograph is moved by its mesh, and by nothing else."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.faces import canonical, headpose, topology
from speak_jax.nn import mesh as nn_mesh
from speak_jax.photograph import composition, head_motion, lips
from speak_jax.photograph.rasterize import rasterize, smooth_edges
from speak_jax.photograph.textured_mesh import (
  ASIDE_FREE,
  ASIDE_MOST,
  BARE,
  DEEPER,
  HOLES,
  LASHES,
  POINTS,
  RINGS,
  SCALE_FREE,
  SCALE_MOST,
  SHIFT_FREE,
  SHIFT_MOST,
  STEEPEST,
  STILL,
  UNSEEN,
  UPPER_LIDS,
  Motion,
  bearable,
  posed,
  textured_mesh,
  uncovered,
)

# The lower lip's four rows of points, corners left out, and the chin's.
LOWER_LIP = [
  *(14, 87, 317, 178, 402, 88, 318, 95, 324),
  *(15, 86, 316, 179, 403, 89, 319, 96, 325),
  *(16, 85, 315, 180, 404, 90, 320, 77, 307),
  *(17, 84, 314, 181, 405, 91, 321, 146, 375),
]
CHIN = [152, 148, 377, 175, 171, 396, 199, 208, 428]


def turned(yaw=0.0, pitch=0.0, roll=0.0):
  rotation = head_motion.rotation_of(*np.radians([yaw, pitch, roll]))
  return Motion(rotation, np.zeros(2), 1.0)


def edges(triangles):
  return {(int(t[i]), int(t[(i + 1) % 3])) for t in triangles for i in range(3)}


def test_loops_are_the_borders_of_the_triangles():
  found = edges(topology.TRIANGLES)
  border = {edge for edge in found if edge[::-1] not in found}
  for loop in (
    topology.OUTLINE,
    topology.INNER_LIPS,
    topology.LEFT_EYE,
    topology.RIGHT_EYE,
  ):
    around = set(zip(loop.tolist(), np.roll(loop, -1).tolist(), strict=True))
    assert around <= border or {edge[::-1] for edge in around} <= border
    border -= around | {edge[::-1] for edge in around}
  assert not border
  assert set(topology.TRIANGLES.ravel().tolist()) == set(range(POINTS))


def test_a_still_face_is_the_photograph_bit_for_bit(photograph):
  frame, mesh = photograph
  one = composition.portrait(frame, mesh)
  drawn = composition.compose(one, composition.NO_EXPRESSION, STILL)
  assert np.array_equal(drawn, frame)


def test_what_lies_outside_of_the_rings_stays(photograph):
  frame, mesh = photograph
  small = np.pad(frame, ((300, 300), (300, 300), (0, 0)), mode="reflect")
  one = composition.portrait(small, mesh + np.array([300, 300, 0]))
  drawn = composition.compose(one, composition.NO_EXPRESSION, turned(15, 5, 5))
  changed = np.argwhere((drawn != small).any(-1))
  ring = one.textured.vertices[:, :2][:, ::-1]
  assert (changed.min(0) >= ring.min(0) - 1).all()
  assert (changed.max(0) <= ring.max(0) + 1).all()
  assert len(changed) > 2_000


@pytest.mark.parametrize("angle", ["yaw", "pitch", "roll"])
def test_the_head_turns_as_far_as_it_is_told(photograph, face_mesh, angle):
  frame, mesh = photograph
  one = composition.portrait(frame, mesh)
  before = headpose.head_pose(mesh[None])[0]
  drawn = composition.compose(
    one, composition.NO_EXPRESSION, turned(**{angle: 12.0})
  )
  after = headpose.head_pose(face_mesh(drawn)[None])[0]
  which = ("yaw", "pitch", "roll").index(angle)
  change = after - before
  assert change[which] == pytest.approx(12, abs=5)
  assert np.abs(np.delete(change, which)).max() < 5


def from_the_viewer(rotation):
  return np.degrees(np.arccos(rotation[2, 2]))


@pytest.mark.parametrize("own", [0.0, 20.0, -58.0])
@pytest.mark.parametrize("angle", ["yaw", "pitch"])
def test_no_head_turns_further_aside_than_can_be_drawn(own, angle):
  rest = turned(yaw=own).rotation
  room = ASIDE_MOST - ASIDE_FREE
  free = max(ASIDE_FREE, abs(own))
  reached = []
  for degrees in np.linspace(0, 100, 51):
    wanted = turned(**{angle: np.copysign(degrees, own)})
    got = bearable(wanted, rest)
    asked, away = (from_the_viewer(x.rotation @ rest) for x in (wanted, got))
    if asked <= free:
      assert got is wanted
    assert away <= free + room + 1e-6
    reached.append(away)
  assert reached[-1] > free + room - 3
  steps = np.abs(np.diff(reached))
  assert steps.max() <= 2 + 1e-6  # never a jump: no faster than asked
  assert bearable(STILL, rest) is STILL


def test_a_head_leans_as_it_is_told_however_far_it_looks_aside():
  wanted = turned(yaw=80.0, roll=20.0)
  got = bearable(wanted, np.eye(3))
  yaw, pitch, roll = np.degrees(headpose.angles(got.rotation[None]))[0]
  assert ASIDE_FREE < yaw < ASIDE_MOST
  assert (pitch, roll) == pytest.approx((0, 20), abs=0.1)


@pytest.mark.parametrize("own", [-22.0, -10.0, 10.0, 22.0])
def test_no_head_turns_more_into_view_than_its_photograph_has(own):
  rest = turned(own).rotation
  least = ASIDE_FREE - BARE * abs(own)
  reached = []
  for degrees in np.linspace(1, 91, 46):
    wanted = turned(-np.copysign(degrees, own))
    got = bearable(wanted, rest)
    assert (got is wanted) == (degrees <= least)
    free = abs(own) + ASIDE_FREE
    assert (bearable(wanted, rest, made=True) is wanted) == (degrees <= free)
    reached.append(uncovered(got, rest))
  assert least + 9 < reached[-1] <= least + ASIDE_MOST - ASIDE_FREE
  assert np.diff(reached).min() >= 0 and np.diff(reached).max() < 2.01


def test_a_frame_shows_what_is_bearable(photograph):
  frame, mesh = photograph
  one = composition.portrait(frame, mesh)
  far, further = (
    composition.compose(one, composition.NO_EXPRESSION, turned(yaw=degrees))
    for degrees in (80, 110)
  )
  apart = np.abs(far.astype(int) - further).mean()
  assert 5 * apart < np.abs(far.astype(int) - frame).mean()


def test_no_head_leaves_its_place_nor_swells():
  reached = []
  for way in np.linspace(0, 3, 31):
    wanted = Motion(np.eye(3), way * np.array([0.6, -0.8]), 1.0)
    got = bearable(wanted, np.eye(3))
    assert (got is wanted) == (way <= SHIFT_FREE)
    assert got.shift[0] == pytest.approx(-0.75 * got.shift[1])
    reached.append(float(np.hypot(*got.shift)))
  assert SHIFT_MOST - 0.01 < reached[-1] <= SHIFT_MOST
  assert np.diff(reached).min() >= 0
  for scale in (SCALE_FREE - 0.01, 4.0):
    grows, shrinks = (
      bearable(Motion(np.eye(3), np.zeros(2), x), np.eye(3)).scale
      for x in (scale, 1 / scale)
    )
    assert grows == pytest.approx(1 / shrinks)
    assert grows == scale or SCALE_FREE < grows <= SCALE_MOST


def test_what_surrounds_a_head_hardly_folds_as_far_as_it_goes(photograph):
  textured = textured_mesh(photograph[1], *photograph[0].shape[1::-1])
  first = len(topology.TRIANGLES)
  last = first + 2 * len(topology.OUTLINE) * len(RINGS)

  def folded(motion):
    moved = posed(textured, composition.NO_EXPRESSION, motion)
    before, after = (
      np.linalg.det(np.diff(x[textured.triangles[first:last], :2], axis=1))
      for x in (textured.vertices, moved)
    )
    return (np.sign(before) != np.sign(after)).mean()

  for angle in np.radians(np.arange(0, 360, 45)):
    shift = 3 * np.array([np.cos(angle), np.sin(angle)])
    told = Motion(np.eye(3), shift, 1.0)
    assert folded(told) > 0.15
    assert folded(bearable(told, np.eye(3))) < 0.1


SINKS = Motion(np.eye(3), np.array([0.0, 0.4]), 1.0)


def cut_off(photograph, rows):
  """Takes rows off the top: (picture, points)."""
  frame, mesh = photograph
  return np.ascontiguousarray(frame[rows:]), mesh - [0, rows, 0]


def test_what_the_picture_cuts_is_not_mirrored_when_the_head_sinks(photograph):
  top = photograph[1][topology.OUTLINE, 1].min()
  frame, mesh = cut_off(photograph, int(top) - 20)  # through the hair
  one = composition.portrait(frame, mesh)
  vertices = posed(one.textured, composition.NO_EXPRESSION, SINKS)
  shown = rasterize(
    vertices, one.attributes, one.textured.triangles, *frame.shape[1::-1]
  )
  rows = shown.values[..., 1]
  assert rows.min() > -1  # nothing above the picture
  np.testing.assert_allclose(rows[0], 0, atol=1.5)  # whose border keeps still
  # Nothing is turned over: further down in the frame is further down there.
  assert np.diff(rows[: int(mesh[10, 1])], axis=0).min() > 0
  # The face goes where it should.
  way = (vertices - one.textured.vertices)[:POINTS, 1]
  np.testing.assert_allclose(way, 0.4 * one.textured.eyes)


def test_a_border_holds_nothing_where_the_rings_end_before_it(photograph):
  mesh = photograph[1] + np.array([400, 400, 0])
  assert not textured_mesh(mesh, 1056, 1056).held.any()
  right = textured_mesh(mesh, 1056 - 400, 1056)
  assert right.held[2].any()
  assert not right.held[[0, 1, 3]].any()


def test_a_head_may_leave_the_picture(photograph):
  """Only what a border would have to show is held."""
  frame, mesh = cut_off(photograph, 20)
  one = textured_mesh(mesh, *frame.shape[1::-1])
  rises = SINKS._replace(shift=-SINKS.shift)
  way = (posed(one, composition.NO_EXPRESSION, rises) - one.vertices)[:, 1]
  above = one.vertices[:, 1] < mesh[topology.OUTLINE, 1].min()
  assert above.any()
  np.testing.assert_allclose(way[above], -0.4 * one.eyes * one.follows[above])


def test_lips_open_where_points_say_so(photograph, face_mesh):
  frame, mesh = photograph
  one = composition.portrait(frame, mesh)
  lower = np.zeros((POINTS, 3))
  lower[[*LOWER_LIP, 18, 83, 313, 200, 201, 421, *CHIN], 1] = 0.18
  drawn = composition.compose(one, lower, STILL)
  gaps = [
    canonical.lip_gap(canonical.placed(x[None]).points)[0]
    for x in (mesh, face_mesh(drawn))
  ]
  assert gaps[1] > gaps[0] + 0.08
  # The inside is dark, no stretched skin.
  x, y = ((mesh[13] + mesh[14]) / 2)[:2]
  x, y = round(x), round(y + 0.09 * one.textured.eyes)
  cheek = mesh[50, :2].round().astype(int)
  assert drawn[y, x].sum() < 0.6 * frame[cheek[1], cheek[0]].sum()


def test_open_lips_are_brought_together(photograph):
  _, mesh = photograph
  points = canonical.placed(mesh[None]).points[0]
  apart = points.copy()
  apart[[14, 87, 178, 88, 95, 317, 402, 318, 324], 1] += 0.1
  closed = apart + lips.closing(apart)
  assert canonical.lip_gap(closed[None])[0] < 0.03
  assert np.abs(closed - apart)[[6, 33, 263, 10]].max() < 0.01
  assert np.abs(lips.closing(closed)).max() < 0.03


def test_vertices_at_rest_stay(photograph):
  mesh = photograph[1] + np.array([400, 400, 0])
  textured = textured_mesh(mesh, 1056, 1056)
  still = posed(textured, composition.NO_EXPRESSION, STILL)
  np.testing.assert_allclose(still, textured.vertices, atol=1e-9)
  moved = posed(textured, composition.NO_EXPRESSION, turned(20))
  away = np.abs(moved - textured.vertices).max(1)
  assert away[textured.follows == 0].max() == 0
  assert away[:POINTS].mean() > 0.05 * textured.eyes


def test_the_nearest_triangle_wins():
  far = np.array([[1.0, 1, 5], [18, 2, 5], [4, 17, 5]])
  near = far[:, [0, 1, 2]] + [2, 1, -3]
  texture = np.concatenate([np.zeros((3, 2)), np.full((3, 2), 7.0)])
  triangles = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
  for order in ([0, 1], [1, 0]):
    read = rasterize(
      np.concatenate([far, near]), texture, triangles[order], 24, 24
    )
    inside = read.values[6 - read.top, 9 - read.left, 0]  # of both
    assert inside == pytest.approx(7)
    alone = read.values[2 - read.top, 4 - read.left, 0]  # of the far one
    assert alone == pytest.approx(0)


def test_texture_runs_straight_over_a_triangle():
  vertices = np.array([[0.0, 0, 0], [20, 0, 0], [0, 20, 0]])
  texture = np.array([[5.0, 5], [45, 5], [5, 25]])
  triangles = np.array([[0, 1, 2]], np.int32)
  read = rasterize(
    vertices, np.column_stack([texture, [1, 2, 3]]), triangles, 60, 60
  )
  np.testing.assert_allclose(read.values[4, 10], (5 + 2 * 10, 5 + 4, 1.9))
  assert read.values[20, 20].tolist() == [20, 20, 0]  # beyond it, where it lies


def test_the_device_moves_the_picture_as_the_cpu_does(photograph):
  frame, mesh = photograph
  small = cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA)
  one = composition.portrait(small, mesh / 4)
  vertices = posed(one.textured, composition.NO_EXPRESSION, turned(15, 4, 6))
  places, triangles = one.textured.vertices[:, :2], one.textured.triangles
  read = rasterize(vertices, places, triangles, 64, 64)
  floats = (x[None].astype(np.float32) for x in (small, vertices, places))
  drawn = jax.jit(nn_mesh.moved)(*floats, triangles)[0]
  ours = cv2.remap(
    small,
    *np.moveaxis(read.values, -1, 0).copy(),
    cv2.INTER_LINEAR,
    borderMode=cv2.BORDER_REPLICATE,
  )
  there = np.asarray(drawn)[read.top :, read.left :]
  apart = np.abs(there[: len(ours), : ours.shape[1]] - ours)
  assert apart.mean() < 1
  assert np.quantile(apart, 0.99) < 8  # the nearest of two at a border


def test_where_a_pixel_is_read_has_a_gradient():
  vertices = jnp.array([[[1.0, 1, 0], [13, 2, 0], [3, 14, 0]]])
  picture = jnp.tile(jnp.arange(16.0), (16, 1))[None, ..., None]
  triangles = jnp.array([[0, 1, 2]])

  def at(shift):
    moved = vertices + jnp.array([1.0, 0, 0]) * shift
    drawn = nn_mesh.moved(picture, moved, vertices[..., :2], triangles)
    return drawn[0, 6, 6, 0]

  value, slope = jax.jit(jax.value_and_grad(at))(0.0)
  assert float(value) == pytest.approx(6, abs=1e-4)
  # The picture rises by 1 a pixel to the right, and what is read lies further
  # left by as much as the mesh goes right.
  assert float(slope) == pytest.approx(-1, abs=1e-3)


def test_a_flat_triangle_spoils_no_gradient():
  vertices = jnp.array([[[1.0, 1, 0], [9, 2, 0], [3, 10, 0]]])
  picture = jnp.ones((1, 16, 16, 1))
  flat_first = jnp.array([[0, 0, 0], [0, 1, 2]])

  def total(vertices):
    texture = vertices[..., :2]
    return nn_mesh.moved(picture, vertices, texture, flat_first).sum()

  assert jnp.isfinite(jax.jit(jax.grad(total))(vertices)).all()


def test_points_and_their_counterparts():
  mirror = topology.MIRROR
  np.testing.assert_array_equal(mirror[mirror], np.arange(POINTS))
  assert mirror[33] == 263 and mirror[10] == 10
  shown = {frozenset(t) for t in topology.TRIANGLES.tolist()}
  there = {frozenset(mirror[t].tolist()) for t in topology.TRIANGLES}
  assert len(shown & there) > 0.98 * len(shown)


def test_what_a_turned_head_hides_is_taken_from_its_other_side(
  photograph, face_mesh
):
  frame, mesh = photograph
  ahead = textured_mesh(mesh, 256, 256)
  assert (ahead.seen == 1).all()
  one = composition.portrait(frame, mesh)
  aside = composition.compose(one, composition.NO_EXPRESSION, turned(42))
  far = textured_mesh(face_mesh(aside), 256, 256)
  hidden = np.flatnonzero(far.seen[:POINTS] < 0.5)
  assert 10 < len(hidden) < 300  # half of it, and the edge
  # Hair and ear beside a hidden cheek come from the other side as it does;
  # shoulders, and what lies further out, are what they are.
  rings = far.seen[POINTS : -len(HOLES)].reshape(len(RINGS), -1)
  assert (rings[:2] < 0.5).any(1).all()
  assert (rings[2:] == 1).all()
  chin = list(topology.OUTLINE).index(152)
  assert (rings[:, chin - 2 : chin + 3] == 1).all()
  # All on the side that has turned away.
  canonical_x = canonical.placed(mesh[None]).points[0][:, 0]
  sides = canonical_x[hidden]
  assert abs(np.sign(sides[np.abs(sides) > 0.4]).mean()) == 1
  back = composition.compose(
    composition.portrait(aside, face_mesh(aside)),
    composition.NO_EXPRESSION,
    turned(-42),
  )
  plain = np.abs(back.astype(int) - frame)
  hull = cv2.convexHull(mesh[:, :2].round().astype(np.int32))
  inside = cv2.fillConvexPoly(np.zeros(frame.shape[:2], np.uint8), hull, 1)
  assert plain[inside > 0].mean() < 25


def test_the_edge_of_a_profile_is_not_taken_for_its_middle(
  photograph, face_mesh
):
  """Its own pixels there are mixed with background: it takes inner ones."""
  frame, mesh = photograph
  one = composition.portrait(frame, mesh)
  aside = composition.compose(one, composition.NO_EXPRESSION, turned(50))
  far = textured_mesh(face_mesh(aside), 256, 256)
  middle = np.flatnonzero(np.arange(POINTS) == topology.MIRROR)
  own, other = far.vertices[middle, :2], far.opposite[middle]
  way = (other - own) @ far.rotation[:2, 2]
  assert (way > -1e-9).all()
  assert way.max() > 0.05 * far.eyes
  plain = far.seen[middle] == 1
  np.testing.assert_allclose(other[plain], own[plain])


@pytest.mark.parametrize(
  ("degrees", "uncovers"), [(10, -10), (-15, 15), (-70, 70), (0, 0)]
)
def test_what_comes_into_view_as_a_head_turns_past_the_viewer(
  degrees, uncovers
):
  rest = turned(40).rotation
  assert uncovered(turned(degrees), rest) == pytest.approx(uncovers)


@pytest.mark.parametrize("own", [-55.0, -30.0, 30.0, 55.0])
def test_an_idle_head_that_looks_aside_keeps_its_other_side_to_itself(own):
  rest, seed = turned(own).rotation, 1 if own > 0 else 0
  told, plain = (
    [x.motion for x in head_motion.idle(500, 25.0, seed, rest=each)]
    for each in (rest, None)
  )
  assert max(uncovered(x, rest) for x in plain) > 1.2 * UNSEEN
  assert max(uncovered(x, rest) for x in told) < UNSEEN
  for got, wanted in zip(told, plain, strict=True):
    if uncovered(wanted, rest) <= 0:  # away from the viewer it is free
      assert np.array_equal(got.rotation, wanted.rotation)
    assert np.array_equal(got.shift, wanted.shift)


def test_an_idle_head_that_looks_ahead_sways_as_ever():
  ahead = head_motion.idle(50, 25.0, rest=turned(20).rotation)
  for got, wanted in zip(ahead, head_motion.idle(50, 25.0), strict=True):
    assert np.array_equal(got.packed(), wanted.packed())


def test_a_profile_that_hardly_turns_shows_no_ghost_of_its_other_side(
  photograph, face_mesh
):
  frame, mesh = photograph
  one = composition.portrait(frame, mesh)
  aside = composition.compose(one, composition.NO_EXPRESSION, turned(42))
  profile = composition.portrait(aside, face_mesh(aside))
  plain = profile._replace(attributes=profile.attributes[:, :2])
  for degrees, same in ((-0.9 * UNSEEN, True), (-4 * UNSEEN, False)):
    made, own = (
      composition.compose(x, composition.NO_EXPRESSION, turned(degrees))
      for x in (profile, plain)
    )
    assert np.array_equal(made, own) == same


def test_a_profile_that_turns_away_shows_nothing_of_its_other_side(
  photograph, face_mesh
):
  frame, mesh = photograph
  one = composition.portrait(frame, mesh)
  aside = composition.compose(one, composition.NO_EXPRESSION, turned(42))
  profile = composition.portrait(aside, face_mesh(aside))
  assert profile.attributes.shape[1] > 2
  own_alone = profile._replace(attributes=profile.attributes[:, :2])
  a, b = (
    composition.compose(x, composition.NO_EXPRESSION, turned(6))
    for x in (profile, own_alone)
  )
  assert np.array_equal(a, b)


def test_depth_is_more_than_one_picture_says(photograph):
  mesh = photograph[1] * [1, 1, 0.01]  # nowhere steep
  depth = textured_mesh(mesh, 256, 256).vertices[:POINTS, 2]
  np.testing.assert_allclose(depth, DEEPER * mesh[:, 2], atol=1e-6)


def test_a_face_that_looks_ahead_falls_off_gently(photograph):
  _, mesh = photograph
  deep = mesh.copy()
  deep[topology.OUTLINE, 2] += 400  # as far back as no head is
  depth = textured_mesh(deep, 256, 256).vertices[:POINTS]
  away = np.linalg.norm(depth[:, None, :2] - depth[:, :2], axis=-1)
  rise = np.abs(depth[:, None, 2] - depth[:, 2])
  assert (rise <= STEEPEST * away + 1e-6).all()


def test_the_edge_of_what_hides_another_part_has_no_stairs():
  # Two flat pieces of the photograph, black and white, meet on a slope.
  photograph = np.zeros((64, 64, 3), np.uint8)
  photograph[:, 32:] = 255
  values = np.zeros((64, 64, 2), np.float32)
  columns, rows = np.meshgrid(np.arange(64.0), np.arange(64.0))
  white = columns > 20 + rows / 3
  values[..., 0] = np.where(white, 50, 10)
  values[..., 1] = rows
  sharp = np.where(white, 255, 0)
  drawn = composition._read(photograph, values, 0.0)
  assert np.array_equal(drawn[..., 0], sharp)
  smooth_edges(drawn, values)
  assert set(np.unique(drawn)) > {0, 255}
  near = cv2.dilate(np.abs(cv2.Laplacian(sharp.astype(np.float32), -1)), None)
  assert np.array_equal(drawn[..., 0][near == 0], sharp[near == 0])


def test_lashes_go_with_the_lid_and_do_not_grow(photograph):
  _, mesh = photograph
  one = textured_mesh(mesh, 256, 256)
  shut = composition.NO_EXPRESSION.copy()
  shut[UPPER_LIDS, 1] = 0.1
  rest, moved = (posed(one, x, STILL) for x in (shut * 0, shut))
  lids = (moved - rest)[UPPER_LIDS, 1]
  lashes = (moved - rest)[LASHES, 1]
  assert (lids > 0.05 * one.eyes).all()
  assert (np.abs(lashes - lids) < 0.15 * lids).all()
  others = np.setdiff1d(np.arange(POINTS), [*UPPER_LIDS, *LASHES])
  assert np.array_equal(moved[others], rest[others])
