"""Reads what a talking head is made of: files in, crops and sound out."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from data_pipelines.faces import align, footage, portrait
from data_pipelines.faces.face_rule import Box
from data_pipelines.faces.follow import (
  FaceTracker,
  NoFaceError,
  check_share,
  follow,
  gaps,
  longest_shot,
)
from data_pipelines.faces.tracker import Track
from data_pipelines.media import decoder, mp4, png_folder
from data_pipelines.media.audio import Sound, clipped, is_silent
from data_pipelines.media.container import check_file
from data_pipelines.media.error import MediaError, unsaid, warn
from data_pipelines.media.loudness import gain, loudness
from data_pipelines.media.recording import Recording
from data_pipelines.media.warp import transform, warp
from speak_jax.common import outputs
from speak_jax.common.progress import say
from speak_jax.inference import crops
from speak_jax.inference.settings import Settings

EMOTION_FACES = 8  # whose codes are averaged
EXPRESSION_FACES = 32  # whose expressions are averaged
SEARCH_S = 10.0  # how far a face is looked at for a good frame or an emotion
SAY_SEARCH_S = 30.0  # of a video without a face, after which that is said
FAINT_LUFS = -50.0  # of the voice before that is said
MAX_CLIPPED = 0.01  # share of the samples at full scale before it is said


class Rules(NamedTuple):
  """Which face of each file is followed, and what if it is not there."""

  identity: str | Box = "largest"  # as `parse_face_rule`
  on_missing_face: str = "hold"  # "fail", "hold" or "skip"
  pose: str | Box = "largest"
  emotion: str | Box = "largest"


class Photograph(NamedTuple):
  """A whole picture of somebody."""

  frame: UInt8[np.ndarray, "h w 3"]  # over mid-grey, where it is transparent
  mesh: Float[np.ndarray, "468 3"]  # FaceMesh's points in it, px
  alpha: UInt8[np.ndarray, "h w"] | None  # None: it is not transparent
  faces: int  # that it shows


class Person(NamedTuple):
  """The identity."""

  crop: UInt8[np.ndarray, "h w 3"]
  landmarks: Float[np.ndarray, "68 2"]  # px of the crop
  face: UInt8[np.ndarray, "f f 3"]  # as the emotion encoder sees it


def check_files(
  inputs: Sequence[str | os.PathLike],
  output: str | os.PathLike,
  sheet: str | os.PathLike | None,
  model: str | os.PathLike | None = None,
) -> None:
  """Refuses early what could only fail after all the work.

  Args:
    inputs: Files that are read.
    output: The video to write, or a folder of pictures.
    sheet: The PNG to write.
    model: A bundle, which says itself what it lacks.

  Raises:
    FileError: An input is no file, or an output could not be written or would
      replace an input; one line.
  """
  for path in inputs:
    check_file(path)
  sources = [*inputs, *([] if model is None else [model])]
  if png_folder.is_folder(output):
    outputs.check_replaced(output, sources, png_folder.NAMES)
  else:
    outputs.check_file(output, sources, tuple(mp4.KINDS), " or a folder/")
  if sheet is not None:
    outputs.check_file(sheet, sources, (".png",))


def read_speech(
  path: str | os.PathLike, track: int | None
) -> tuple[Recording, Callable[..., Sound]]:
  """Reads what the network hears, and how to read the file's own sound.

  Warns of silence, clipping and faint voices.

  Args:
    path: Any file with sound.
    track: Which audio track, from 1; None: as `media.audio.audio_track`.

  Returns:
    16 kHz mono at the loudness of the voices that the network learned from,
    on the disk; and what reads the sound, as long, with its own channels, and
    with its own rate or with that, Hz, which it is given.

  Raises:
    MediaError: No such track, or it cannot be read.
  """
  index = decoder.audio_track(path, track)
  sound = decoder.read_recording(path, index)
  loud = loudness(sound)
  if is_silent(sound):
    warn(path, "silent; the mouth will rest")
  elif clipped(sound) > MAX_CLIPPED:
    warn(path, f"{clipped(sound):.0%} of the sound is clipped")
  elif loud < FAINT_LUFS:
    warn(path, f"very quiet ({loud:.0f} LUFS); it is heard as if it were not")

  def own(rate: int | None = None) -> Sound:
    return decoder.read_sound(path, index, rate)

  return sound.with_gain(gain(sound)), own


def read_person(
  path: str | os.PathLike,
  settings: Settings,
  tracker: FaceTracker,
  rules: Rules,
) -> Person:
  """Reads the identity's crop, its landmarks and its face.

  Args:
    path: Picture, or a video whose first good frame is taken.
    settings: Sizes that the model expects.
    tracker: Finds the face.
    rules: Which face.

  Raises:
    MediaError: No face, or one that is too small.
  """
  frame, track, _ = _first_face(path, settings.fps, tracker, rules.identity)
  points = track.landmarks[0]
  matrix = crops.still_crop(
    path, points, frame, settings.image, settings.framing
  )
  crop = warp(frame, matrix, settings.image)
  picture = crop
  if settings.emotion_input != "frame":
    picture = align.align_face(frame, points, settings.emotion)
  return Person(crop, transform(points, matrix), picture)


def read_emotion(
  path: str | os.PathLike,
  settings: Settings,
  tracker: FaceTracker,
  rules: Rules,
) -> UInt8[np.ndarray, "k f f 3"]:
  """Reads faces of the emotion donor, evenly spread over its first seconds.

  Args:
    path: Video or picture.
    settings: Size and kind of picture that the emotion encoder sees.
    tracker: Finds the face.
    rules: Which face, and whether one must be there from the first frame on.

  Raises:
    MediaError: No face, or one that is too small or seldom seen.
  """
  frames, track, start = _emotion_track(path, settings.fps, tracker, rules)
  chosen = _spread(track, EMOTION_FACES) + start
  wanted = {0, *chosen.tolist()}
  pictures = {i: frame for i, frame in enumerate(frames) if i in wanted}
  size, points = settings.emotion, track.landmarks
  if settings.emotion_input == "frame":
    matrices = crops.track_crops(
      path, track, settings.fps, pictures[0], size, settings.framing
    )
    return np.stack(
      [warp(pictures[i], matrices[i - start], size) for i in chosen]
    )
  scale = np.hypot(*align.face_matrix(points[chosen[0] - start], size)[:, 0])
  crops.check_side(path, size / scale, size)
  return np.stack(
    [align.align_face(pictures[i], points[i - start], size) for i in chosen]
  )


def read_expression(
  path: str | os.PathLike,
  fps: float,
  tracker: FaceTracker,
  rules: Rules,
) -> UInt8[np.ndarray, "k s s 3"]:
  """Reads the emotion donor's faces as `expression.of_faces` wants them.

  Args:
    path: Video or picture; of a video at most EXPRESSION_FACES frames, evenly
      spread over its first seconds. Sound is not read.
    fps: Frames a second at which a video is looked at.
    tracker: Finds the face.
    rules: Which face, and whether one must be there from the first frame on.

  Raises:
    MediaError: No face, or one that is too small or seldom seen.
  """
  # Here alone: the network that judges takes long to import.
  from speak_jax.inference import expression

  frames, track, start = _emotion_track(path, fps, tracker, rules)
  chosen = _spread(track, EXPRESSION_FACES)
  points = track.landmarks[chosen[0]]
  side = float((points.max(0) - points.min(0)).max())
  crops.check_side(path, side, crops.MIN_SIDE_PX)
  wanted = set((chosen + start).tolist())
  return np.stack(
    [
      expression.cut(frame, track.mesh[i - start])
      for i, frame in enumerate(frames)
      if i in wanted
    ]
  )


def find_face(
  path: str | os.PathLike,
  tracker: FaceTracker,
  rule: str | Box,
  first: UInt8[np.ndarray, "h w 3"] | None = None,
) -> footage.Footage:
  """Finds where a face is, however far into the file; says of a long search.

  Args:
    path: Video or picture.
    tracker: Finds faces.
    rule: The face that is wanted.
    first: The first picture, if it has been read already.

  Raises:
    MediaError: There is none.
  """
  said = 0.0

  def progress(seconds: float) -> None:
    nonlocal said
    if seconds >= said + SAY_SEARCH_S:
      said = seconds
      say(f"{os.fspath(path)}: no face in {seconds:.0f} s, searching on")

  return footage.find(path, tracker, rule, first=first, progress=progress)


def read_photograph(
  path: str | os.PathLike, fps: float, tracker: FaceTracker, rules: Rules
) -> Photograph:
  """Reads a whole photograph, and FaceMesh's points in it.

  Args:
    path: Picture, or a video whose first good frame is taken.
    fps: Frames a second at which a video is looked at.
    tracker: Finds the face.
    rules: Which face.

  Raises:
    MediaError: no face, or one that is too small.
  """
  frame, track, turns = _first_face(path, fps, tracker, rules.identity)
  return _photograph(path, frame, track, _alpha(path, frame, turns))


def read_people(
  path: str | os.PathLike, fps: float, tracker: FaceTracker, count: int
) -> list[Photograph]:
  """Reads a photograph of several people, once.

  Args:
    path, fps, tracker: As for `read_photograph`.
    count: How many are wanted.

  Returns:
    Everybody's, from the left; of the leftmost alone if there are not so many.

  Raises:
    MediaError: no face, or one that is too small.
  """
  with unsaid():  # that there are several is known
    frame, track, turns = _first_face(path, fps, tracker, "first")
  tracks = [track]
  if track.faces == count:
    with unsaid():
      tracks += [
        follow(path, [frame], fps, tracker=tracker, rule=str(number))
        for number in range(2, count + 1)
      ]
    for one in tracks:
      _say_doubts(path, frame, one)
  alpha = _alpha(path, frame, turns)
  return [_photograph(path, frame, one, alpha) for one in tracks]


def _photograph(
  path: str | os.PathLike,
  frame: UInt8[np.ndarray, "h w 3"],
  track: Track,
  alpha: UInt8[np.ndarray, "h w"] | None,
) -> Photograph:
  """The face of a track of one frame, if it is large enough."""
  low, high = (f(track.landmarks[0], 0) for f in (np.min, np.max))
  crops.check_side(path, float((high - low).max()), crops.MIN_SIDE_PX)
  return Photograph(frame, track.mesh[0], alpha, track.faces)


def _alpha(
  path: str | os.PathLike, frame: UInt8[np.ndarray, "h w 3"], turns: int
) -> UInt8[np.ndarray, "h w"] | None:
  """The transparency of a frame that was set upright by so many turns."""
  alpha = decoder.read_alpha(path)
  if alpha is not None:
    alpha = np.ascontiguousarray(np.rot90(alpha, turns))
    if alpha.shape != frame.shape[:2]:  # by a pixel, of a picture read smaller
      alpha = cv2.resize(alpha, frame.shape[1::-1])
  return alpha


def _first_face(
  path: str | os.PathLike, fps: float, tracker: FaceTracker, rule: str | Box
) -> tuple[UInt8[np.ndarray, "h w 3"], Track, int]:
  """Reads the first frame with a face.

  Returns:
    The frame, its track of one frame, and the quarter turns, anticlockwise,
    that have set it upright.
  """
  limit = round(SEARCH_S * fps)
  frames = decoder.Frames(path, fps, limit)
  place = find_face(path, tracker, rule, frames.first())
  frames = frames.again(place.span, place.turns)
  missing = ""  # no exception, which would keep the decoder's process
  for frame in frames:
    try:
      track = follow(path, [frame], fps, tracker=tracker, rule=place.rule)
    except NoFaceError as error:
      missing = error.reason
    else:
      _say_doubts(path, frame, track)
      return frame, track, place.turns
  if missing:
    raise NoFaceError(path, missing)
  raise MediaError(path, "no picture")


def _say_doubts(
  path: str | os.PathLike, frame: UInt8[np.ndarray, "h w 3"], track: Track
) -> None:
  for doubt in portrait.doubts(frame, track.landmarks[0], track.pose[0]):
    warn(path, doubt)


def _emotion_track(
  path: str | os.PathLike, fps: float, tracker: FaceTracker, rules: Rules
) -> tuple[decoder.Frames, Track, int]:
  """Tracks the emotion donor in the longest shot of its first seconds.

  Returns:
    The frames, the track of that shot, and the frame that it starts at.
  """
  frames = decoder.Frames(path, fps, round(SEARCH_S * fps))
  place = find_face(path, tracker, rules.emotion, frames.first()).with_lead(
    rules.on_missing_face == "fail"
  )
  frames = frames.again(place.span, place.turns)
  rules = rules._replace(emotion=place.rule)
  track = _track(path, frames, fps, tracker, rules)
  start, stop = longest_shot(track)
  return frames, track.shot(start, stop), start


def _spread(track: Track, count: int) -> Int[np.ndarray, "k"]:
  """Chooses at most `count` of the frames with a face, evenly spread."""
  where = np.flatnonzero(track.found)
  spread = np.linspace(0, len(where) - 1, min(count, len(where)))
  return where[spread.round().astype(int)]


def _track(
  path: str | os.PathLike,
  frames: Iterable[UInt8[np.ndarray, "h w 3"]],
  fps: float,
  tracker: FaceTracker,
  rules: Rules,
) -> Track:
  """Tracks the emotion donor's face; gaps are said, too large ones refused."""
  track = follow(
    path,
    frames,
    fps,
    tracker=tracker,
    rule=rules.emotion,
    on_missing_face=rules.on_missing_face,
  )
  check_share(path, track.found)
  if not track.found.all():
    warn(
      path, f"no face from {gaps(track.found, fps)}; those frames are left out"
    )
  return track
