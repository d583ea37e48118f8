"""A clip's first frame, made to do the rest: what each judge says of it.

Head and lids are the clip's own, lips come from its sound alone. Beside ours
stand the first frame, standing still, and the truth.

FaceMesh has driven the picture, so what it says of landmarks and lips flatters
ours; sharpness and PSNR know nothing of it, nor do the networks of `judges`.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int16

from data_pipelines.faces import canonical
from data_pipelines.faces.headpose import head_pose
from data_pipelines.faces.tracker import IBUG
from speak_jax import spec
from speak_jax.evaluation.metric_table import MetricTable
from speak_jax.evaluation.photographs import lip_sync
from speak_jax.evaluation.photographs.clips import MIN_FRAMES, Clip
from speak_jax.evaluation.photographs.judges import EVERY, Seen
from speak_jax.evaluation.readers.own_syncnet import OwnSyncNet
from speak_jax.metrics import image, landmarks, sums

STRANGER = 0.8  # distance between two people; a lost face counts as another's


class Truth(NamedTuple):
  """A clip, what is seen in it, and where a face is inside of its frames."""

  clip: Clip
  seen: Seen
  inside: Bool[np.ndarray, "n h w"]  # of the hull; False where none is found
  sharpness: Float[np.ndarray, "n"]


def truth_of(clip: Clip, seen: Seen) -> Truth:
  """Prepares a clip for `add`."""
  shape = clip.frames.shape[1:3]
  inside = np.stack([_face(mesh, shape) for mesh in clip.track.mesh])
  inside &= clip.track.found[:, None, None]
  return Truth(clip, seen, inside, _sharpness(clip.frames, inside))


def add(table: MetricTable, truth: Truth, made: Seen, other: Seen) -> None:
  """Adds what is measured of a method on a clip.

  Args:
    table: Of the method.
    truth: The clip.
    made: The method's frames.
    other: The same with another clip's speech.
  """
  clip, still = truth.clip, truth.seen.still(len(truth.seen.frames))
  found, name, size = clip.track.found, clip.name, clip.longer_side
  add_beside_truth(table, truth, made)
  for kind, mask in (("psnr_face", truth.inside), ("psnr", None)):
    ours, theirs = (
      image.psnr(x.frames, clip.frames, *(() if mask is None else (mask,)))
      for x in (made, still)
    )
    use = found if kind == "psnr_face" else slice(None)
    table.add(kind, sums.mean_row(ours[use]), sums.mean, name)
    # The first frame is the photograph: there a still one is right.
    gain = (ours - theirs)[use][1:]
    gain = gain[np.isfinite(gain)]
    table.add(f"{kind}_gain", sums.mean_row(gain), sums.mean, name)
  for suffix, place in (("", _mesh_points), ("_2", lambda seen: seen.points)):
    ours, theirs = (
      landmarks.counted(place(x), place(truth.seen), size)
      for x in (made, still)
    )
    for kind in ("f_lmd", "m_lmd"):
      pair = [np.where(found, getattr(x, kind), np.nan) for x in (ours, theirs)]
      table.add(kind + suffix, sums.found_row(pair[0]), sums.mean, name)
      ratio = np.array([np.nansum(x) for x in pair])
      table.add(f"{kind}{suffix}_over", ratio, sums.ratio, name)
  for suffix, read in (("", _gaps), ("_2", _openings)):
    true = read(truth.seen)
    own, others = (_correlation(read(x), true) for x in (made, other))
    for kind, r in (("", own), ("_other", others), ("_gain", own - others)):
      row = sums.mean_row(np.array([r])[np.isfinite([r])])
      table.add(f"gap_r{kind}{suffix}", row, sums.mean, name)
  table.add("pose_r2", _pose(made.mesh, truth.seen.mesh), sums.r2, name)


def add_beside_truth(table: MetricTable, truth: Truth, made: Seen) -> None:
  """Adds what the truth itself has too: sharpness and identity.

  Args:
    table: Of the method.
    truth: The clip.
    made: The method's frames, or the clip's.
  """
  found, name = truth.clip.track.found, truth.clip.name
  sharp = _sharpness(made.frames, truth.inside) / truth.sharpness
  table.add("sharpness", sums.mean_row(sharp[found]), sums.mean, name)
  ours, theirs = (
    identity_distance(seen, truth.seen)[found[::EVERY]][1:]
    for seen in (made, truth.seen)
  )
  table.add("identity", sums.mean_row(ours), sums.mean, name)
  table.add("identity_beyond", sums.mean_row(ours - theirs), sums.mean, name)


def add_sync(
  table: MetricTable,
  truth: Truth,
  made: Seen,
  sync: OwnSyncNet,
  other: Int16[np.ndarray, "s"],
) -> None:
  """Adds whether lips fit their own sound better than another one.

  Args:
    table: Of the method.
    truth: The clip, whose sound is the own one.
    made: The method's frames, or the clip's.
    sync: A SyncNet that other people taught.
    other: Another clip's sound.
  """
  wins = lip_sync.two_way(sync, made, truth.clip.speech, other)
  for name, each in wins._asdict().items():
    table.add(f"sync_{name}", sums.mean_row(each), sums.mean, truth.clip.name)


def identity_distance(seen: Seen, photograph: Seen) -> Float[np.ndarray, "k"]:
  """Measures how far faces are from the photograph's, a face's first frame.

  Two pictures of one person are some 0.3 apart, of two people some 0.8; a
  face that is lost counts as another's.
  """
  apart = np.linalg.norm(seen.identity - photograph.identity[0], axis=-1)
  return np.where(np.isfinite(apart), apart, STRANGER)


def _mesh_points(seen: Seen) -> Float[np.ndarray, "n 68 2"]:
  return seen.mesh[:, IBUG, :2]


def _openings(seen: Seen) -> Float[np.ndarray, "n"]:
  """How far lips are apart by the second network; NaN where no face is."""
  return np.asarray(spec.mouth_opening(seen.points), np.float64)


def _face(
  mesh: Float[np.ndarray, "468 3"], shape: tuple[int, ...]
) -> Bool[np.ndarray, "h w"]:
  """The hull of a face; nothing where there is none."""
  mask = np.zeros(shape, np.uint8)
  if np.isfinite(mesh).all():
    hull = cv2.convexHull(mesh[:, :2].round().astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 1)
  return mask.astype(bool)


def _sharpness(
  frames: np.ndarray, masks: Bool[np.ndarray, "n h w"]
) -> Float[np.ndarray, "n"]:
  """Variance of each frame's Laplacian inside of a mask."""
  found = []
  for frame, mask in zip(frames, masks, strict=True):
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    edges = cv2.Laplacian(grey, cv2.CV_32F)
    found.append(edges[mask].var() if mask.any() else np.nan)
  return np.array(found)


def _gaps(seen: Seen) -> Float[np.ndarray, "n"]:
  """The gap between the lips by FaceMesh; NaN where no face is."""
  mesh = seen.mesh
  found = np.full(len(mesh), np.nan)
  known = np.isfinite(mesh).all((1, 2))
  if known.any():
    found[known] = canonical.lip_gap(canonical.placed(mesh[known]).points)
  return found


def _correlation(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> float:
  """r of one clip; NaN where one of both does not change."""
  known = np.isfinite(x) & np.isfinite(y)
  if known.sum() < MIN_FRAMES or min(x[known].std(), y[known].std()) < 1e-6:
    return float("nan")
  return float(np.corrcoef(x[known], y[known])[0, 1])


def _pose(
  mesh: Float[np.ndarray, "n 468 3"], true: Float[np.ndarray, "n 468 3"]
) -> np.ndarray:
  """R2 of yaw, pitch and roll as a row, each about the clip's own mean."""
  ours, theirs = head_pose(mesh), head_pose(true)
  known = np.isfinite(ours).all(1) & np.isfinite(theirs).all(1)
  ours, theirs = ours[known], theirs[known]
  if not len(ours):
    return np.zeros(10)
  return sums.r2_row(ours - theirs.mean(0), theirs - theirs.mean(0))
