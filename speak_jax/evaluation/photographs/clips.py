"""Clips of one face with sound, whose first frame is the photograph."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16, UInt8

from data_pipelines.faces.tracker import Track, Tracker
from data_pipelines.media import decoder
from data_pipelines.media.error import MediaError
from data_pipelines.media.loudness import levelled
from speak_jax import spec
from speak_jax.inference import crops

MIN_FRAMES = 12


class Clip(NamedTuple):
  """A clip of one face: n frames, tracked, and their sound."""

  name: str
  frames: UInt8[np.ndarray, "n h w 3"]
  track: Track
  speech: Int16[np.ndarray, "s"]  # 16 kHz, at the loudness of all voices

  @property
  def longer_side(self) -> int:
    """Of its frames, px."""
    return max(self.frames.shape[1:3])


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
  frames = [
    crops.evenly_scaled(frame, size, 2)
    for frame in decoder.Frames(path, fps, round(seconds * fps))
  ]
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
  return Clip(path.stem, np.stack(frames), track, speech)
