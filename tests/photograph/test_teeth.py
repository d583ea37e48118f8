"""Teeth are learned from small mouths and shown where a photograph has none."""

import json

import numpy as np
import pytest

from data_pipelines.faces import canonical
from data_pipelines.synthetic import render
from speak_jax import spec
from speak_jax.common.files import FileError
from speak_jax.photograph import composition, inner_mouth, teeth
from speak_jax.photograph.textured_mesh import STILL, posed
from speak_jax.tools.train_teeth import fitting, make, mouths, starts

PIXEL = 1 / 40  # eye distances, of portraits
JAW = [14, 87, 317, 178, 402, 17, 84, 314, 152, 148, 377]


def drawn_mouths(count, truth, rng):
  """Mouths of so many people who have the same teeth."""
  u, v = np.meshgrid(
    np.arange(-0.21, 0.211, PIXEL), np.arange(0.3, 0.46, PIXEL)
  )
  flat = np.stack([u.ravel(), v.ravel()], -1)
  pixels = len(flat)
  # Pixels of different pictures lie at different places.
  place = flat + rng.uniform(-PIXEL / 2, PIXEL / 2, (count, 1, 2))
  ones = np.ones((count, pixels))
  blank = mouths.Mouths(
    np.zeros((count, pixels, 3)),
    place,
    place[..., 1] - 0.28,
    0.5 - place[..., 1],
    0.3 - np.abs(place[..., 0]),
    ones,
    np.full(count, 0.14),
    np.full(count, 0.5),
    np.repeat(np.linspace(0.4, 0.8, count)[:, None], 3, 1),
    np.full(count, PIXEL),
  )
  blank = mouths.Mouths(*(x.astype(np.float32) for x in blank))
  people = fitting.guess(blank)
  warp = rng.normal(0, 0.2, people.warp.shape).astype(np.float32)
  people = people._replace(warp=warp)
  seen = fitting.rendered(truth, people, blank)
  return blank._replace(colour=np.asarray(seen))


def test_small_mouths_together_tell_a_tooth_that_each_shows_in_two_pixels():
  truth = starts.painted()
  dark = truth.upper.copy()
  # Its second tooth is missing: 18 texels, less than three pixels.
  dark[:, 25:43, :3] = 0.1
  truth = truth._replace(upper=dark)
  seen = drawn_mouths(48, truth, np.random.default_rng(0))
  errors = {}
  fitted = fitting.fit(
    seen,
    starts.painted(),
    120,
    16,
    look=lambda step, found: (
      errors.update({step: make.measured(found, seen)})
      if step in (0, 120)
      else None
    ),
  )
  assert errors[120] < 0.3 * errors[0]
  assert fitted.losses[-10:].mean() < 0.5 * fitted.losses[:10].mean()
  found = fitting.finished(fitted.teeth, fitted.people, seen).upper
  rows = slice(32, 46)  # what lips do not hide
  tone = found[rows, :, :3].mean((0, 2))
  missing, beside = tone[29:39].mean(), tone[[*range(8, 20), *range(46, 56)]]
  assert missing < 0.5 * beside.min()
  # Texels that no mouth shows stay what they were.
  unseen = fitted.teeth.upper[:, 85:], starts.painted().upper[:, 85:]
  np.testing.assert_allclose(*unseen, atol=0.05)


def test_the_front_teeth_are_white_and_their_place_that_of_the_mean():
  seen = drawn_mouths(4, starts.painted(), np.random.default_rng(1))
  people = fitting.guess(seen)
  people.warp[:, 1] = 2.0
  painted = starts.painted()
  found = fitting.finished(painted, people, seen)
  np.testing.assert_allclose(
    found.upper[teeth.FRONT][..., :3].mean((0, 1)), 1, rtol=1e-5
  )
  np.testing.assert_array_equal(found.upper[..., 3], painted.upper[..., 3])
  assert found.below_nose - painted.below_nose == pytest.approx(0.06)
  # Light follows from the cheeks as it was guessed.
  front = painted.upper[teeth.FRONT][..., :3].mean((0, 1)) @ spec.LUMA
  slope, itself, most = found.bright
  assert (slope, itself) == pytest.approx(
    (front * 0.63, front * 0.25), rel=0.02
  )
  assert slope + itself < most < slope + itself / 0.4
  gain = found.cavity / painted.cavity
  np.testing.assert_allclose(
    found.lower[5, 5, :3] / gain, painted.lower[5, 5, :3], rtol=1e-5
  )


def test_mouths_are_read_where_the_lips_part(face_mesh, photograph):
  drawn = render.random_frames(3, 48, 256, "tight")
  pick = int(np.argmax(drawn.mouth_open - np.abs(drawn.pose).max(1)))
  frame = drawn.frames[pick]
  mesh = face_mesh(frame)
  read = mouths.mouths([(frame, mesh)])
  assert read is not None and read.colour.shape == (1, mouths.PIXELS, 3)
  points = canonical.placed(mesh[None]).points[0]
  upper, lower = (points[i, 1] for i in spec.MESH_GAP)
  heights = read.place[0][read.inside[0] > 0.5]
  assert (np.abs(heights[:, 0]) < 0.4).all()
  assert upper - 0.06 < heights[:, 1].min() < heights[:, 1].max() < lower + 0.06
  assert mouths.mouths([photograph]) is None  # its lips touch


def test_a_folder_with_too_few_mouths_is_refused(tmp_path, face_models):
  from data_pipelines.faces.tracker import Tracker

  (tmp_path / "broken.png").write_bytes(b"no picture")
  (tmp_path / "notes.txt").write_text("no picture either")
  out = tmp_path / "teeth.safetensors"
  with pytest.raises(ValueError, match=r"0 mouths that .* at least 20"):
    make.make(tmp_path, out, 1, "painted", 0, Tracker(face_models))
  assert not out.exists()


def test_the_teeth_that_come_along_are_whole_small_and_white(tmp_path):
  size = teeth.WEIGHTS.stat().st_size
  assert size < 200_000
  found = teeth.read()
  front = found.upper[teeth.FRONT][..., :3].mean((0, 1))
  np.testing.assert_allclose(front, 1, atol=0.01)
  # Opaque above the edge, nothing below it.
  assert (
    found.upper[:40, :80, 3].min() > 2 and found.upper[60:, :, 3].max() < -2
  )
  report = json.loads(teeth.WEIGHTS.with_suffix(".json").read_text())
  errors = list(report["error"].values())
  assert errors[-1] < 0.9 * errors[0]
  damaged = tmp_path / "teeth.safetensors"
  content = bytearray(teeth.WEIGHTS.read_bytes())
  content[-1] ^= 1
  damaged.write_bytes(content)
  report = teeth.WEIGHTS.with_suffix(".json").read_text()
  damaged.with_suffix(".json").write_text(report)
  with pytest.raises(FileError, match="SHA-256"):
    teeth.read(damaged)


def test_teeth_have_the_light_of_the_picture():
  found = teeth.read()
  grey = inner_mouth.light_of(np.full(3, 150.0), found)
  assert np.ptp(grey) < 1e-6
  fair, dark = (
    inner_mouth.light_of(np.array(x), found)
    for x in ((226.0, 174, 149), (110.0, 74, 58))
  )
  assert fair @ spec.LUMA > 1.2 * (dark @ spec.LUMA) > 60
  for teeth_ in (fair, dark):
    assert teeth_[2] > 0.8 * teeth_[0]  # complexions colour no teeth
  gold = np.array([201.0, 167, 98])
  lit = inner_mouth.light_of(gold, found)
  assert gold[2] / gold[0] < lit[2] / lit[0] < 0.75  # a golden light does


@pytest.fixture(scope="module")
def opened(photograph):
  """Draws the inside of a mouth whose jaw goes down by so much."""
  frame, mesh = photograph
  one = composition.portrait(frame, mesh)

  def draw(down):
    expression = composition.NO_EXPRESSION + one.closing
    expression[JAW, 1] += down
    vertices = posed(one.textured, expression, STILL)
    skull = posed(one.textured, composition.NO_EXPRESSION, STILL)
    corner = np.floor(vertices[13, :2] - 40).astype(int)
    painted = inner_mouth._paint((110, 80), corner, vertices, skull, one.mouth)
    return painted @ spec.LUMA, corner, vertices

  return draw


def edge(column, upwards):
  """Row of the steepest fall of light, downwards or upwards."""
  slope = np.diff(column)
  return int(np.argmax(slope) if upwards else np.argmin(slope))


def test_upper_teeth_stand_with_the_skull_and_lower_ones_with_the_jaw(opened):
  uppers, lowers, lips = [], [], []
  for down in (0.12, 0.2):
    light, corner, vertices = opened(down)
    middle = light[:, 36:45].mean(1)
    lip = round(vertices[14, 1] - corner[1])
    uppers.append(edge(middle[:lip], False) + corner[1])
    half = (uppers[-1] - corner[1] + lip) // 2
    lowers.append(half + edge(middle[half:lip], True) + corner[1])
    lips.append(vertices[14, 1])
  assert abs(uppers[1] - uppers[0]) <= 1
  assert lowers[1] - lowers[0] == pytest.approx(lips[1] - lips[0], abs=2)


def test_corners_of_an_open_mouth_are_not_dark():
  side = np.array([0.12, 0.02])
  far = np.full(2, 0.05)
  across = np.array([0.0, 0.27])
  front, corner = (
    teeth.light(across, far, far, side, teeth.read().shade, np) @ spec.LUMA
  )
  assert corner > 0.4 * front


def test_own_teeth_keep_their_place(photograph):
  frame, mesh = photograph
  one = composition.portrait(frame, mesh)
  shown = np.ones(frame.shape[:2], np.float32)
  one = one._replace(mouth=one.mouth._replace(shown=shown))
  expression = composition.NO_EXPRESSION.copy()
  expression[JAW, 1] += 0.2
  drawn = composition.compose(one, expression, STILL)
  x, y = (mesh[14, :2] + [0, 0.1 * one.textured.eyes]).round().astype(int)
  np.testing.assert_array_equal(drawn[y, x], frame[y, x])
