"""A raw video as square clips of one face, each with its sound."""

import functools
import itertools
import os
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int16, UInt8

from data_pipelines.media import face
from data_pipelines.media.audio import fit, read_audio
from data_pipelines.media.error import MediaError, warn
from data_pipelines.media.nets import box_of, iou
from data_pipelines.media.video import probe, read_frames
from speak_jax import spec

MAX_FRAMES = 1024
MIN_FRAMES = 25  # a second at 25 fps: a shorter clip has no other moment
MIN_FACE_PX = 64
GAP = 12  # frames without a face that are bridged
# A shot ends where the face's box leaves its first place (as FOMM has it),
# or where it jumps between two frames.
FIRST_IOU, NEXT_IOU = 0.25, 0.4
MAX_OUTSIDE = 0.25  # of the crop's area, before it is said
JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95)


class Cut(NamedTuple):
  """A stretch of a video, cropped to one face."""

  start: int  # first frame on the video's grid
  frames: list[bytes]  # JPEG, square
  audio: Int16[np.ndarray, "s"]  # round(n * 16000 / fps) samples
  landmarks: Float[np.ndarray, "n 68 2"]  # crop pixels
  pose: Float[np.ndarray, "n 3"]  # degrees
  crop: Float[np.ndarray, "2 3"]  # source pixels -> crop pixels


def cut(
  path: str | os.PathLike,
  *,
  fps: float = float(spec.FPS),
  size: int = 256,
  max_frames: int = MAX_FRAMES,
  allow_silent: bool = False,
) -> list[Cut]:
  """Finds, follows and crops the face of a video.

  Gaps of up to 12 frames without a face are interpolated and said; longer
  ones, shots and `max_frames` end a clip. Clips of under a second are left
  out. What lies outside the picture repeats its edge.

  Args:
    path: The video.
    fps: Frame grid.
    size: Side of the crops in pixels.
    max_frames: Longest clip; longer stretches are split evenly.
    allow_silent: Give silence to a video without sound, not an error: such
      a clip teaches a mouth at rest under speech, so it is for tests.

  Raises:
    MediaError: unreadable, no sound, no face, too short, face under 64 px.
  """
  has_audio = probe(path).has_audio
  if not has_audio and not allow_silent:
    raise MediaError(path, "no audio track")
  track = _tracker().track(read_frames(path, fps))
  _judge(path, track, fps)
  track = face.bridge(track, GAP)
  stretches = _stretches(track, max_frames)
  if not stretches:
    raise MediaError(path, f"no stretch of {MIN_FRAMES} frames with a face")
  total = round(len(track.found) * spec.samples_per_frame(fps))
  audio = read_audio(path) if has_audio else np.zeros(total, np.int16)
  crops = [
    face.square(track.landmarks[start:stop], size) for start, stop in stretches
  ]
  pictures = _pictures(path, fps, size, stretches, crops)
  return [
    Cut(
      start=start,
      frames=jpegs,
      audio=_sound(audio, start, stop, fps),
      landmarks=face.transform(track.landmarks[start:stop], crop),
      pose=track.pose[start:stop],
      crop=crop.astype(np.float32),
    )
    for (start, stop), crop, jpegs in zip(
      stretches, crops, pictures, strict=True
    )
  ]


@functools.cache
def _tracker() -> face.Tracker:
  """One tracker a process: its networks take a while to load."""
  return face.Tracker()


def _judge(path: str | os.PathLike, track: face.Track, fps: float) -> None:
  """Refuses a video without a usable face; says what else is wrong."""
  if not track.found.any():
    raise MediaError(path, "no face found")
  seen = track.landmarks[track.found]
  extent = np.median((seen.max(1) - seen.min(1)).max(1))
  if extent < MIN_FACE_PX:
    raise MediaError(
      path, f"face too small ({extent:.0f} px, {MIN_FACE_PX} needed)"
    )
  if track.faces > 1:
    warn(path, f"{track.faces} faces; the largest one is followed")
  for start, stop in face.runs(~track.found):
    way = "interpolated" if stop - start <= GAP else "cut out"
    warn(path, f"no face from {start / fps:.2f} to {stop / fps:.2f} s, {way}")


def _stretches(track: face.Track, max_frames: int) -> list[tuple[int, int]]:
  """Stretches (start, stop) of one face in one place, within the limits."""
  stretches = []
  for start, stop in face.runs(track.found):
    boxes = [box_of(points) for points in track.landmarks[start:stop]]
    begin = 0
    for i in range(1, len(boxes) + 1):
      if i == len(boxes) or (
        iou(boxes[i], boxes[begin]) < FIRST_IOU
        or iou(boxes[i], boxes[i - 1]) < NEXT_IOU
      ):
        pieces = -(-(i - begin) // max_frames)
        edges = np.linspace(begin, i, pieces + 1).astype(int) + start
        stretches += itertools.pairwise(edges)
        begin = i
  shortest = min(MIN_FRAMES, max_frames)
  return [(int(a), int(b)) for a, b in stretches if b - a >= shortest]


def _pictures(path, fps, size, stretches, crops) -> list[list[bytes]]:
  """The crops of each stretch as JPEG, from a second pass over the video.

  Decoding again is cheaper than keeping a long video's pictures in memory.
  """
  pictures: list[list[bytes]] = [[] for _ in stretches]
  which = 0
  for index, frame in enumerate(read_frames(path, fps)):
    if which < len(stretches) and index >= stretches[which][1]:
      which += 1
    if which == len(stretches):
      break
    if index < stretches[which][0]:
      continue
    if not pictures[which]:
      height, width = frame.shape[:2]
      beyond = face.outside(crops[which], size, width, height)
      if beyond > MAX_OUTSIDE:
        warn(path, f"{beyond:.0%} of the crop lies outside the picture")
    pictures[which].append(_jpeg(face.warp(frame, crops[which], size)))
  return pictures


def _jpeg(crop: UInt8[np.ndarray, "h w 3"]) -> bytes:
  """JPEG, quality 95, 4:2:0."""
  return cv2.imencode(".jpg", crop[..., ::-1], JPEG)[1].tobytes()


def _sound(audio: Int16[np.ndarray, "s"], start: int, stop: int, fps: float):
  """The sound of frames start to stop, exactly as long as they."""
  rate = spec.samples_per_frame(fps)
  return fit(audio[round(start * rate) :], round((stop - start) * rate))
