"""Where eyes look and how far they are shut: a driver's, or an idle head's own.

A gaze is degrees from straight ahead in the head's own frame: right in the
picture, and up. An eyeball is a sphere behind the middle of its corners, so
the iris of a head that turns while it looks at one place is not taken for one
that looks elsewhere.
"""

import collections
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.faces import canonical
from data_pipelines.faces.eyes import (
  CORNERS,
  LEAST_PX,
  EyeReader,
  Eyes,
  gaps,
  readable,
)
from data_pipelines.synthetic.motion import ByFrame

# In distances between the outer corners of the eyes, some 92 mm: from the
# middle of an eye's corners back to its centre, and from there to the iris.
BACK, RADIUS = 0.03, 0.115
OWN_GAZE = (0.0, 0.0)  # degrees beside that of the photograph
STEEPEST = 0.9  # sine of the angle at which an iris is taken to be, at most
# A gaze that changes by less is the network's tremble and goes a share of the
# way, one that changes by so many degrees jumps.
TREMBLE, JUMP = 0.3, 6.0
# The gap between a driver's lids that counts as open, as a quantile of those so
# far whose irises are seen; the share of the way to shut up to which it is
# tremble, and from which on shut; frames that count.
OPEN, STILL, SHUT, LATEST = 0.7, 0.1, 0.55, 750
# An idle head: seconds of a fixation; spread of the gaze, degrees right and
# up; share of the fixations that come back to the photograph's own gaze.
FIXATION, SPREAD, HOME = (0.4, 2.0), (3.5, 1.6), 0.4
MOST = (9.0, 4.5)  # degrees that an idle head looks aside


class Look(NamedTuple):
  """What a driver's eyes do in one frame."""

  gaze: Float[np.ndarray, "2"] | None  # degrees; None if not to be seen
  gap: float | None  # between the lids, eye distances; None if too small


class Driver(NamedTuple):
  """Reads the eyes of a video's frames."""

  reader: EyeReader
  # The photograph's gaze, if he sets its own; None: he moves it.
  rest: Float[np.ndarray, "2"] | None = None

  def __call__(
    self, face: tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "468 3"]]
  ) -> Look:
    """Reads one frame.

    Args:
      face: RGB, and FaceMesh's points in it, px.
    """
    frame, mesh = face
    eyes = self.reader(frame, mesh)
    wide = np.linalg.norm(np.diff(mesh[CORNERS, :2], axis=1)[:, 0], axis=1)
    seen = readable(frame, mesh, eyes)
    # The far eye of a turned head is narrow.
    weights, large = wide**2, wide >= LEAST_PX
    left, right = (mesh[corner] for corner in canonical.EYE_CORNERS)
    unit = float(np.linalg.norm(left - right))
    return Look(
      _mean(of_eyes(eyes, mesh), weights * seen) if seen.any() else None,
      float(_mean(gaps(eyes), weights * large)) / unit if large.any() else None,
    )


def of_eyes(
  eyes: Eyes, mesh: Float[np.ndarray, "468 3"]
) -> Float[np.ndarray, "2 2"]:
  """Finds the gaze of each eye, degrees.

  Args:
    eyes: Of a frame.
    mesh: FaceMesh's points in it, px.
  """
  place = canonical.placed(mesh[None])
  rotation, unit = place.rotation[0], float(place.eyes[0])
  away = (eyes.irises - mesh[CORNERS, :2].mean(1)) / unit
  flat = (away - BACK * rotation[:2, 2]) / RADIUS
  flat = flat / np.maximum(np.hypot(*flat.T) / STEEPEST, 1)[:, None]
  depth = -np.sqrt(1 - (flat**2).sum(1))  # towards the viewer
  x, y, z = (np.column_stack([flat, depth]) @ rotation).T
  return np.degrees(
    np.column_stack([np.arctan2(x, -z), np.arctan2(-y, np.hypot(x, z))])
  )


def iris_offset(
  before: Float[np.ndarray, "2"], after: Float[np.ndarray, "2"]
) -> Float[np.ndarray, "3"]:
  """Finds by how much an iris moves from one gaze to another.

  Args:
    before, after: Degrees.

  Returns:
    In the head's own frame, eye distances.
  """
  return RADIUS * (_toward(after) - _toward(before))


def followed(
  gazes: Iterable[Float[np.ndarray, "2"] | None],
  rest: Float[np.ndarray, "2"] | None = None,
) -> Iterator[Float[np.ndarray, "2"]]:
  """Yields how far a driver looks from where he looked first, or from rest.

  Where his gaze is not known, as in a blink, the last one is held. Small
  changes, in which there is as much tremble as truth, are smoothed, jumps
  stay jumps.

  Args:
    gazes: Degrees; None where not known.
    rest: Degrees that count as none; None: the first that is known.
  """
  first: np.ndarray | None = None
  now = np.zeros(2)
  for gaze in gazes:
    if gaze is not None:
      if first is None:
        first, now = (gaze if rest is None else rest), gaze
      far = float(np.linalg.norm(gaze - now))
      now = now + float(np.clip(far / JUMP, TREMBLE, 1)) * (gaze - now)
    yield np.zeros(2) if first is None else now - first


def closed(looks: Iterable[Look | None]) -> Iterator[float | None]:
  """Yields how far a driver's lids are shut: 0 as they mostly are, 1 shut.

  Args:
    looks: Of each frame; None without a face.

  Yields:
    None where it is not known: the eyes are too small, or no iris has been seen
    yet, as behind dark glasses.
  """
  gaps_seen: collections.deque[float] = collections.deque(maxlen=LATEST)
  for look in looks:
    if look is not None and look.gaze is not None and look.gap is not None:
      gaps_seen.append(look.gap)
    if look is None or look.gap is None or not gaps_seen:
      yield None
      continue
    way = 1 - look.gap / max(float(np.quantile(gaps_seen, OPEN)), 1e-6)
    yield float(np.clip((way - STILL) / (SHUT - STILL), 0, 1))


def idle(rng: np.random.Generator, n: int, fps: float) -> ByFrame:
  """Draws the gaze of a head that nobody drives: fixations and jumps.

  Args:
    rng: Draws them.
    n: Frames.
    fps: Frames a second.

  Returns:
    Degrees beside the photograph's gaze, (m, 2), at first 0, of m of the frames
    by their indices.
  """
  starts, gazes = [0], [np.zeros(2)]
  start = rng.uniform(*FIXATION)
  while start * fps < n:
    home = rng.random() < HOME
    target = rng.normal(0, SPREAD).clip(np.negative(MOST), MOST)
    starts.append(round(start * fps))
    gazes.append(np.zeros(2) if home else target)
    start += rng.uniform(*FIXATION)
  each, table = np.array(starts), np.array(gazes)
  return lambda index: table[np.searchsorted(each, index, "right") - 1]


def _mean(
  values: Float[np.ndarray, "2 *d"], weights: Float[np.ndarray, "2"]
) -> Float[np.ndarray, "*d"]:
  """The weighted mean of both eyes."""
  return np.asarray(weights @ values / weights.sum())


def _toward(gaze: Float[np.ndarray, "2"]) -> Float[np.ndarray, "3"]:
  """The direction of a gaze in degrees; y down, z away from the viewer."""
  right, up = np.radians(gaze)
  return np.array(
    [np.sin(right) * np.cos(up), -np.sin(up), -np.cos(right) * np.cos(up)]
  )
