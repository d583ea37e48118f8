"""How well a photograph is moved: a clip's first frame, made to do the rest.

Self-driven: head and lids are the clip's own, lips come from its sound alone.
Beside ours stand the first frame, standing still, and the truth.

FaceMesh has driven the picture, so what it says of landmarks and lips flatters
ours; sharpness and PSNR know nothing of it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int16, UInt8

from data_pipelines.faces import canonical
from data_pipelines.faces.headpose import head_pose
from data_pipelines.faces.tracker import IBUG, Track, Tracker
from data_pipelines.media import decoder
from data_pipelines.media.error import MediaError
from data_pipelines.media.loudness import levelled
from speak_jax import spec
from speak_jax.evaluation.metric_table import MetricValue
from speak_jax.inference.emotion_label import strengths
from speak_jax.inference.motion_model import MotionModel
from speak_jax.metrics import image, landmarks, sums
from speak_jax.photograph import composition, head_motion
from speak_jax.photograph.head_motion import unpacked

MIN_FRAMES = 12
SILENCE_S = 2.0


class Clip(NamedTuple):
  """A clip of one face: n frames, tracked, and their sound."""

  frames: UInt8[np.ndarray, "n h w 3"]
  track: Track
  speech: Int16[np.ndarray, "s"]  # 16 kHz, at the loudness of all voices


class Made(NamedTuple):
  """n frames of a method, and FaceMesh's points in them."""

  frames: UInt8[np.ndarray, "n h w 3"]
  mesh: Float[np.ndarray, "n 468 3"]  # NaN where no face is found


def read_clip(
  path: Path,
  size: int,
  seconds: float,
  fps: float,
  tracker: Tracker,
  most_yaw: float = 90.0,
) -> Clip:
  """Reads a clip, scaled so that its longer side has `size` px.

  Args:
    path: The clip.
    size: px.
    seconds: Of it at most.
    fps: Frames a second.
    tracker: Finds the face.
    most_yaw: Degrees by which the first frame, the photograph, may look aside.

  Raises:
    MediaError: no sound, no face in the first frame or one that looks further
      aside, or too few frames.
  """
  frames = []
  for frame in decoder.Frames(path, fps, round(seconds * fps)):
    scale = size / max(frame.shape[:2])
    sides = [max(2 * round(scale * x / 2), 2) for x in frame.shape[1::-1]]
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    frames.append(cv2.resize(frame, sides, interpolation=kind))
  if len(frames) < MIN_FRAMES:
    raise MediaError(path, f"{len(frames)} frames, fewer than {MIN_FRAMES}")
  speech = levelled(decoder.read_audio(path))
  samples = round(len(frames) * spec.samples_per_frame(fps))
  speech = np.pad(speech, (0, max(samples - len(speech), 0)))[:samples]
  track = tracker.track(frames)
  if not track.found[0]:
    raise MediaError(path, "no face in the first frame")
  yaw = abs(float(track.pose[0, 0]))
  if yaw > most_yaw:
    raise MediaError(path, f"the first frame looks aside by {yaw:.0f} degrees")
  return Clip(np.stack(frames), track, speech)


def driven(clip: Clip, model: MotionModel, speech: np.ndarray) -> np.ndarray:
  """Makes a clip's frames of its first one, its own head, and some speech.

  Args:
    clip: Who moves, and how.
    model: What speech does to a face.
    speech: 16 kHz; silence follows where it is shorter than the clip.
  """
  one = composition.portrait(clip.frames[0], clip.track.mesh[0])
  seen = [
    mesh if found else None
    for mesh, found in zip(clip.track.mesh, clip.track.found, strict=True)
  ]
  packed = head_motion.driven(
    seen, head_motion.open_lids(seen), shift=1.0, scale=1.0
  )
  drives, last = [], None
  for numbers in packed:  # a face that is lost keeps its last pose
    last = last if numbers is None else unpacked(numbers)
    assert last is not None  # the first frame has a face
    drives.append(last)
  points = model.stream(speech, [x.lids for x in drives], strengths("neutral"))
  return np.stack(
    [
      composition.compose(one, one.closing + moved, drive.motion)
      for moved, drive in zip(points, drives, strict=True)
    ]
  )


def seen_in(frames: UInt8[np.ndarray, "n h w 3"], tracker: Tracker) -> Made:
  """Tracks a method's frames."""
  return Made(frames, tracker.track(frames).mesh)


def rows_of(clip: Clip, made: Made, other: Made) -> dict[str, np.ndarray]:
  """Measures a method on a clip: a row of sums for each metric.

  Args:
    clip: The truth.
    made: The method's frames.
    other: The same with another clip's speech.
  """
  found = clip.track.found
  true, size = clip.track.mesh, max(clip.frames.shape[1:3])
  masks = np.stack([_face(mesh, clip.frames.shape[1:3]) for mesh in true])
  inside = masks & found[:, None, None]
  place = lambda mesh: mesh[:, IBUG, :2]  # noqa: E731
  apart = landmarks.counted(place(made.mesh), place(true), size)
  gaps = {
    name: _gaps(mesh)
    for name, mesh in (
      ("true", true),
      ("own", made.mesh),
      ("other", other.mesh),
    )
  }
  sharp = _sharpness(made.frames, inside) / _sharpness(clip.frames, inside)
  return {
    "sharpness": sums.mean_row(sharp[found]),
    "psnr_face": sums.mean_row(
      image.psnr(made.frames, clip.frames, inside)[found]
    ),
    "psnr": sums.mean_row(image.psnr(made.frames, clip.frames)),
    "f_lmd": sums.found_row(np.where(found, apart.f_lmd, np.nan)),
    "m_lmd": sums.found_row(np.where(found, apart.m_lmd, np.nan)),
    "gap_r": _correlation(gaps["own"], gaps["true"]),
    "gap_r_other": _correlation(gaps["other"], gaps["true"]),
    "pose_r2": _pose(made.mesh, true),
  }


STATISTICS = {
  "sharpness": sums.mean,
  "psnr_face": sums.mean,
  "psnr": sums.mean,
  "f_lmd": sums.mean,
  "m_lmd": sums.mean,
  "gap_r": sums.mean,
  "gap_r_other": sums.mean,
  "pose_r2": sums.r2,
}


def values_of(
  rows: Mapping[str, np.ndarray], seed: int = 0
) -> dict[str, MetricValue]:
  """Reads every metric and its interval off the rows of all clips."""
  return {
    name: MetricValue(*sums.interval(rows[name], statistic, seed))
    for name, statistic in STATISTICS.items()
  }


def silence(model: MotionModel, speech: Int16[np.ndarray, "s"]) -> float:
  """Measures the opening in silence over that in speech, of the model itself.

  Args:
    model: What speech does to a face.
    speech: Some; as much silence follows it.
  """
  fps = model.settings.fps
  spoken = model.length(speech)
  quiet = round(SILENCE_S * fps)
  sound = np.pad(speech, (0, round(quiet * spec.samples_per_frame(fps))))
  frames = [0.0] * (spoken + quiet)
  points = np.stack(list(model.stream(sound, frames, strengths("neutral"))))
  upper, lower = spec.MESH_GAP
  gap = np.abs(points[:, lower, 1] - points[:, upper, 1])
  return float(gap[-quiet // 2 :].mean() / gap[:spoken].mean())


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
  frames: UInt8[np.ndarray, "n h w 3"], masks: Bool[np.ndarray, "n h w"]
) -> Float[np.ndarray, "n"]:
  """Variance of each frame's Laplacian inside of a mask."""
  found = []
  for frame, mask in zip(frames, masks, strict=True):
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    edges = cv2.Laplacian(grey, cv2.CV_32F)
    found.append(edges[mask].var() if mask.any() else np.nan)
  return np.array(found)


def _gaps(mesh: Float[np.ndarray, "n 468 3"]) -> Float[np.ndarray, "n"]:
  """The gap between the lips, frame by frame; NaN where no face is."""
  found = np.full(len(mesh), np.nan)
  known = np.isfinite(mesh).all((1, 2))
  if known.any():
    found[known] = canonical.lip_gap(canonical.placed(mesh[known]).points)
  return found


def _correlation(
  x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "2"]:
  """r of one clip as a row; none where one of both does not change."""
  known = np.isfinite(x) & np.isfinite(y)
  if known.sum() < MIN_FRAMES or min(x[known].std(), y[known].std()) < 1e-6:
    return sums.mean_row(np.zeros(0))
  return sums.mean_row(np.corrcoef(x[known], y[known])[0, 1])


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
