"""Makes a talking head: picture, speech, head motion and emotion to an mp4.

  python -m speak_jax.generate --identity face.png --audio speech.wav \
    [--pose nods.mp4] [--emotion happy.mp4] -o out.mp4 [--model BUNDLE]

The model is the reference that comes with the package, unless a bundle is
named. Four inputs, each from another person if you like. Pictures may be videos
and videos pictures; speech may be the sound of a video. The video lasts as long
as the speech; pose clips that are shorter go back and forth. Without --pose the
head keeps still, as in the picture; without --emotion the face is neutral.

The voice may be of any loudness: the network hears it as loud as the voices
that it learned from. The mp4 has the sound as it was, at its rate (96 kHz at
most) and with its channels. Of several audio tracks the default one is taken,
or the loudest if that is silent, unless --audio-track says which.

Limits, of each input: 4 hours, 64 GiB, 8192 px and 16.8 megapixels of a video
(256 of a picture, the larger ones read scaled), 384 kHz, faces of at least
32 px. An emotion is read off the ten seconds from where the face is first seen.
The output is an mp4 with H.264 and AAC, 16 to 2048 px. No input is ever
replaced, and Ctrl-C leaves nothing behind.

Everything but the sound streams: however long the video of head motion is, some
of its pictures are in memory, and the first frames are written while the rest
is still to be read. The square round its face is that of its first half minute.
"""

if __name__ == "__main__":  # what follows takes seconds to load
  from speak_jax.common import stopping

  stopping.install("generate")

import itertools
import os
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from absl import app, flags
from jaxtyping import Float, Int16, UInt8
from PIL import Image

from data_pipelines.faces import align, footage, portrait
from data_pipelines.faces.face_rule import Box, parse_face_rule
from data_pipelines.faces.follow import (
  MIN_SEEN,
  ON_MISSING_FACE,
  FaceTracker,
  NoFaceError,
  check,
  follow,
  gaps,
  longest_shot,
  squares,
)
from data_pipelines.faces.nets import MissingModelError
from data_pipelines.faces.tracker import Step, Track, Tracker, bridge, gather
from data_pipelines.media import decoder
from data_pipelines.media.audio import Sound, clipped, is_silent, shortened
from data_pipelines.media.container import check_file
from data_pipelines.media.error import MediaError, MediaWarning, warn
from data_pipelines.media.loudness import levelled, loudness
from data_pipelines.media.video import write_video
from data_pipelines.media.warp import transform, warp
from speak_jax import bundle, spec
from speak_jax.common import command_line, files, outputs
from speak_jax.common.files import FileError
from speak_jax.common.names import printable
from speak_jax.common.prefetch import prefetch
from speak_jax.common.progress import Progress, say
from speak_jax.inference import synthesis

EMOTION_FACES = 8  # whose codes are averaged
SEARCH_S = 10.0  # how far a face is looked at for a good frame or an emotion
SAY_SEARCH_S = 30.0  # of a video without a face, after which that is said
LOOK_S = 30.0  # of a face in motion, from which its square is found
FOLLOWS = 0.3  # of the way that a face is beyond its square, each frame
KEEP_BYTES = 128 << 20  # of pictures that wait for the square
AHEAD = 16  # crops that wait for the device at most
MIN_SIDE_PX = 32  # of the crop round a face, in the source
FAINT_LUFS = -50.0  # of the voice before that is said
MAX_CLIPPED = 0.01  # share of the samples at full scale before it is said
MAX_OUTSIDE = 0.25  # share of a crop beyond the picture before it is said
MAX_SIDE_PX = 2048  # of the output
SHEET_CELL_PX = 128
SHEET_COLUMNS = 8


class Rules(NamedTuple):
  """Which face of each file is followed, and what if it is not there."""

  which: str | Box = "largest"  # the identity's, as `parse_face_rule`
  on_missing_face: str = "hold"  # "fail", "hold" or "skip"
  pose: str | Box = "largest"
  emotion: str | Box = "largest"


class Result(NamedTuple):
  """What was written."""

  path: Path
  frames: int
  seconds: float
  size: int


def generate(
  synthesizer: synthesis.Synthesizer,
  *,
  identity: str | os.PathLike,
  audio: str | os.PathLike,
  pose: str | os.PathLike | None = None,
  emotion: str | os.PathLike | None = None,
  output: str | os.PathLike,
  tracker: FaceTracker,
  rules: Rules = Rules(),  # noqa: B008
  track: int | None = None,
  size: int | None = None,
  sheet: str | os.PathLike | None = None,
  smooth: bool = True,
  say: Callable[[str], None] = print,
) -> Result:
  """Reads the inputs, makes the frames, writes the mp4.

  Args:
    synthesizer: From a bundle.
    identity: Picture, or a video whose first good frame is taken.
    audio: Any file with sound, of any loudness; the mp4 has it as it was.
    pose: Video of the head motion; a picture holds still. None: the
      identity's own pose, held still.
    emotion: Video or picture of the emotion. None: neutral, by the model's
      own idea of it; a model that has none takes the identity's own face.
    output: The mp4, replaced if it is there; its folder must exist.
    tracker: Finds faces, usually `faces.tracker.Tracker()`.
    rules: Which face of each file. Where the pose donor's face is not seen
      the motion is interpolated ("hold"), goes on with what comes after
      ("skip"), or the file is refused ("fail").
    track: Which audio track, counted from 1; None: as
      `media.audio.audio_track` chooses.
    size: Side of the output in px, even; None: the model's own.
    sheet: Also write a contact sheet PNG here.
    smooth: Whether to smooth the pose over three frames.
    say: Takes progress lines. What is odd about an input but can be borne is
      a MediaWarning.

  Raises:
    MediaError: an input cannot be used, or the output cannot be written; one
      line naming the file. Nothing is left half-written.
  """
  settings = synthesizer.settings
  size = settings.image if size is None else size
  if size % 2 or not 16 <= size <= MAX_SIDE_PX:
    raise MediaError(output, f"size {size} is not even, 16 to {MAX_SIDE_PX}")
  inputs = [x for x in (identity, audio, pose, emotion) if x is not None]
  check_files(inputs, output, sheet)
  say(printable(f"speech    {audio}"))
  heard, sound = _speech(audio, track)
  try:
    n = synthesizer.length(heard)
  except ValueError as error:
    raise MediaError(audio, str(error)) from None
  say(printable(f"identity  {identity}"))
  person = _portrait(identity, settings, tracker, rules)
  if pose is None:
    say("pose      the identity's own, held still")
    motion = Still(person.crop)
  else:
    say(printable(f"pose      {pose}"))
    motion = Motion(pose, n, settings, tracker, rules)
  faces = np.zeros((0, settings.emotion, settings.emotion, 3), np.uint8)
  if emotion is not None:
    say(printable(f"emotion   {emotion}"))
    faces = _faces(emotion, settings, tracker, rules)
  elif synthesizer.neutral is None:
    say("emotion   the identity's own: this model knows no neutral face")
    faces = person.face[None]
  else:
    say("emotion   neutral")
  if synthesizer.neutral is None or len(faces):
    mood = synthesizer.emotion(faces).mean(0)
  else:
    mood = synthesizer.neutral

  say(f"{n} frames at {settings.fps:g} a second, {size} px")
  columns = np.linspace(0, n - 1, min(SHEET_COLUMNS, n)).astype(int)
  kept = {}
  output = Path(output)
  with prefetch(motion.crops, AHEAD) as crops:
    codes = synthesizer.poses(crops)
    if rules.on_missing_face == "hold":
      codes = synthesis.bridge(codes)
    else:
      codes = (code for code in codes if code is not None)
    pieces = synthesizer.stream(
      synthesizer.portrait(person.crop, person.landmarks),
      synthesis.drive(codes, n, smooth=smooth),
      mood,
      heard,
    )

    def frames() -> Iterator[np.ndarray]:
      with Progress("generate", "frame", n) as progress:
        for i, frame in enumerate(itertools.chain.from_iterable(pieces)):
          if i in columns:
            kept[i] = frame
          progress.update(i + 1)
          yield _resize(frame, size)
      # What is odd about the last of them counts too.
      for _ in crops:
        pass

    count = write_video(output, frames(), settings.fps, sound)
  if sheet is not None:
    rows = (
      ("identity, emotion", [person.crop, *faces]),
      ("pose", motion.shown(columns, n)),
      ("made", [kept[i] for i in columns]),
    )
    _write_sheet(sheet, rows)
    say(printable(f"sheet     {sheet}"))
  return Result(output, count, count / settings.fps, size)


class Still:
  """A head that does not move."""

  def __init__(self, crop: UInt8[np.ndarray, "h w 3"]):
    """Takes the identity's crop."""
    self._crop = crop

  def crops(self) -> Generator[UInt8[np.ndarray, "h w 3"] | None, None, None]:
    """The one picture."""
    yield self._crop

  def shown(
    self, columns: np.ndarray, n: int
  ) -> list[UInt8[np.ndarray, "h w 3"]]:
    """It again, for each of the frames made."""
    del n
    return [self._crop] * len(columns)


class Motion:
  """A driving video, as the encoder wants it: square crops, one by one.

  The square is still and holds the face of the first `LOOK_S` seconds that
  show it, or follows a face that wanders further; until it is known pictures
  wait, those beyond `KEEP_BYTES` being decoded once more. What lies behind is
  read as it is asked for; a face that leaves the square there is followed. Of
  several shots one is taken, so that the head does not jump.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    n: int,
    settings: synthesis.Settings,
    tracker: FaceTracker,
    rules: Rules,
  ):
    """Reads up to where the square is known.

    Args:
      path: A video, of which n frames are used at most, or a picture.
      n: Frames to be made.
      settings: Of the model.
      tracker: Finds faces.
      rules: Which, and what if there is none.

    Raises:
      MediaError: it cannot be used.
    """
    self._path, self._settings, self._rules = path, settings, rules
    self._n = n
    self._footage = _find(path, tracker, rules.pose).with_lead(
      rules.on_missing_face == "fail"
    )
    self._found: list[bool] = []
    self._out = 0  # frames whose face leaves the square
    self._first = 0  # frame of the footage
    self._later: list[np.ndarray] = []  # squares behind those looked at
    self._pairs = _paired(self._pictures(), tracker, self._footage.rule)
    self._head, self._steps, self._whole = self._look()
    track = self._one_shot(gather(self._steps))
    check(
      path,
      track,
      settings.fps,
      rule=rules.pose,
      on_missing_face=rules.on_missing_face,
    )
    self._found = track.found.tolist()
    if self._whole:
      self._finish()
    if self._whole and len(self._found) == 1:
      warn(path, "a single picture; the head will keep still")
    first = next(iter(self._head or self._pictures()))
    self._matrices = _squares(
      path, track, settings.fps, first, settings.image, settings.framing
    )
    self._matrix = self._matrices[-1]

  def _one_shot(self, track: Track) -> Track:
    """The longest shot of what was looked at; what lies before is dropped."""
    start, stop = longest_shot(track)
    if len(track.shots):
      fps = self._settings.fps
      begin = self._footage.start
      warn(
        self._path,
        f"{len(track.shots) + 1} shots; the motion is that of the longest,"
        f" {begin + start / fps:.2f} to {begin + stop / fps:.2f} s",
      )
      self._whole = self._whole or stop < len(track.found)
      self._first = start
      self._steps = self._steps[start:stop]
      self._head = self._head[start:stop]
    return track.shot(start, stop)

  def crops(self) -> Generator[UInt8[np.ndarray, "h w 3"] | None, None, None]:
    """A crop for every frame, once; None where no face was found.

    Raises:
      MediaError: it turns out that the video cannot be used.
    """
    head = self._head or self._pictures()
    self._head = []
    for frame, step, matrix in zip(
      head, self._steps, self._matrices, strict=False
    ):
      yield self._cut(frame, matrix) if step.found else None
    head, self._steps = [], []
    for frame, step in () if self._whole else self._pairs:
      if step.shot:
        where = self._footage.start + (self._first + len(self._found)) / (
          self._settings.fps
        )
        warn(self._path, f"another shot from {where:.2f} s on: left out")
        break
      self._found.append(step.found)
      if not step.found and self._rules.on_missing_face == "fail":
        raise NoFaceError(self._path, f"no face from {self._gaps()}")
      if step.found:
        self._go_along(step.landmarks)
      self._later.append(self._matrix)
      yield self._cut(frame, self._matrix) if step.found else None
    if not self._whole:
      self._finish()

  def _go_along(self, landmarks: Float[np.ndarray, "68 2"]) -> None:
    """Moves the square where a face would leave it."""
    points = transform(landmarks, self._matrix)
    last = self._settings.image - 1
    if points.min() >= 0 and points.max() <= last:
      return
    self._out += 1
    # In crop pixels; a part of the way each frame, so that nothing jumps.
    beyond = np.minimum(points.min(0), 0) + np.maximum(points.max(0) - last, 0)
    self._matrix = self._matrix.copy()
    self._matrix[:, 2] -= FOLLOWS * beyond

  def shown(
    self, columns: np.ndarray, n: int
  ) -> list[UInt8[np.ndarray, "h w 3"]]:
    """The crops behind some of the n frames made; reads the video again."""
    found = np.array(self._found)
    if self._rules.on_missing_face == "hold":
      driver = np.maximum(np.cumsum(found) - 1, 0)
    else:
      driver = np.arange(found.sum())
    driver = np.flatnonzero(found)[driver]
    wanted = driver[synthesis.ping_pong(len(driver), n)][columns]
    matrices = [*self._matrices, *self._later]
    kept = {
      i: self._cut(frame, matrices[i])
      for i, frame in enumerate(self._pictures())
      if i in wanted
    }
    return [kept[i] for i in wanted]

  def _pictures(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """One pass of the frames that are used."""
    frames = self._footage.frames(self._settings.fps)
    return itertools.islice(frames, self._first, self._n)

  def _look(self) -> tuple[list[np.ndarray], list[Step], bool]:
    """Frames until the square is known, their steps, and whether that is all.

    There are no frames if they are too many to keep.
    """
    kept, steps, room = [], [], KEEP_BYTES
    enough = round(LOOK_S * self._settings.fps)
    for frame, step in self._pairs:
      steps.append(step)
      room -= frame.nbytes
      kept.append(frame)
      if room < 0:
        kept = []
      enough -= step.found
      if not enough:
        return kept, steps, False
    return kept, steps, True

  def _finish(self) -> None:
    """All has been read: says what is odd, refuses a video without a face."""
    path, found = self._path, np.array(self._found)
    if found.mean() < MIN_SEEN:
      reason = f"a face in only {found.mean():.0%} of the frames"
      raise MediaError(path, reason)
    if not found.all():
      held = self._rules.on_missing_face == "hold"
      what = "the motion is interpolated" if held else "left out"
      warn(path, f"no face from {self._gaps()}; {what}")
    if self._out:
      warn(
        path,
        f"the face leaves the square of its first {LOOK_S:g} s in {self._out}"
        " frames; it is followed",
      )

  def _gaps(self) -> str:
    """Where no face is seen, in the file's own time."""
    fps = self._settings.fps
    before = self._first + round(self._footage.start * fps)
    return gaps(np.array([True] * before + self._found), fps)

  def _cut(
    self, frame: UInt8[np.ndarray, "h w 3"], matrix: np.ndarray
  ) -> np.ndarray:
    return warp(frame, matrix, self._settings.image)


def _paired(
  frames: Iterable[UInt8[np.ndarray, "h w 3"]],
  tracker: FaceTracker,
  which: str | Box,
) -> Iterator[tuple[np.ndarray, Step]]:
  """Every frame with what the tracker says of it."""
  last = []

  def passing() -> Iterator[np.ndarray]:
    for frame in frames:
      last[:] = [frame]
      yield frame

  for step in tracker.stream(passing(), which):
    yield last[0], step


def check_files(
  inputs: Sequence[str | os.PathLike],
  output: str | os.PathLike,
  sheet: str | os.PathLike | None,
  model: str | os.PathLike | None = None,
) -> None:
  """Refuses early what could only fail after all the work.

  Args:
    inputs: Files that are read.
    output: The mp4.
    sheet: The PNG.
    model: A bundle, which says itself what it lacks.

  Raises:
    MediaError: an input is no file, or an output could not be written or
      would replace an input; one line.
  """
  for path in inputs:
    check_file(path)
  read = [*inputs, *([] if model is None else [model])]
  outputs.check_file(output, read, (".mp4",))
  if sheet is not None:
    outputs.check_file(sheet, read, (".png",))


def _speech(
  path: str | os.PathLike, track: int | None
) -> tuple[Int16[np.ndarray, "s"], Sound]:
  """What the network hears, and the file's own sound, as long.

  Silence and clipping are allowed and said.
  """
  index = decoder.audio_track(path, track)
  sound = decoder.read_audio(path, track=index)
  loud = loudness(sound)
  if is_silent(sound):
    warn(path, "silent; the mouth will rest")
  elif clipped(sound) > MAX_CLIPPED:
    warn(path, f"{clipped(sound):.0%} of the sound is clipped")
  elif loud < FAINT_LUFS:
    warn(path, f"very quiet ({loud:.0f} LUFS); it is heard as if it were not")
  seconds = len(sound) / spec.SAMPLE_RATE_HZ
  own = shortened(decoder.read_sound(path, index), seconds)
  return levelled(sound), own


class Person(NamedTuple):
  """The identity."""

  crop: UInt8[np.ndarray, "h w 3"]
  landmarks: Float[np.ndarray, "68 2"]  # px of the crop
  face: UInt8[np.ndarray, "f f 3"]  # as the emotion encoder sees it


def _portrait(
  path: str | os.PathLike,
  settings: synthesis.Settings,
  tracker: FaceTracker,
  rules: Rules,
) -> Person:
  """The identity's crop, its landmarks and its face."""
  frame, points = _first_face(path, settings.fps, tracker, rules.which)
  matrix = _crop(path, points[None], frame, settings.image, settings.framing)
  crop = warp(frame, matrix, settings.image)
  seen = crop
  if settings.emotion_input != "frame":
    seen = align.align_face(frame, points, settings.emotion)
  return Person(crop, transform(points, matrix), seen)


def _faces(
  path: str | os.PathLike,
  settings: synthesis.Settings,
  tracker: FaceTracker,
  rules: Rules,
) -> UInt8[np.ndarray, "k f f 3"]:
  """Faces of the emotion donor, evenly spread over its first seconds."""
  limit = round(SEARCH_S * settings.fps)
  frames = decoder.Frames(path, settings.fps, limit)
  found = _find(path, tracker, rules.emotion, frames.first()).with_lead(
    rules.on_missing_face == "fail"
  )
  frames = frames.again(found.span, found.turns)
  rules = rules._replace(emotion=found.rule)
  track = _track(path, frames, settings.fps, tracker, rules)
  start, stop = longest_shot(track)
  track = track.shot(start, stop)
  where = np.flatnonzero(track.found)
  spread = np.linspace(0, len(where) - 1, min(EMOTION_FACES, len(where)))
  chosen = where[spread.round().astype(int)] + start
  wanted = {0, *chosen.tolist()}
  kept = {i: frame for i, frame in enumerate(frames) if i in wanted}
  size, points = settings.emotion, track.landmarks
  if settings.emotion_input == "frame":
    framing = settings.framing
    matrices = _squares(path, track, settings.fps, kept[0], size, framing)
    pictures = [warp(kept[i], matrices[i - start], size) for i in chosen]
  else:
    scale = np.hypot(*align.face_matrix(points[chosen[0] - start], size)[:, 0])
    _check_side(path, size / scale, size)
    pictures = [
      align.align_face(kept[i], points[i - start], size) for i in chosen
    ]
  return np.stack(pictures)


def _find(
  path: str | os.PathLike,
  tracker: FaceTracker,
  which: str | Box,
  first: UInt8[np.ndarray, "h w 3"] | None = None,
) -> footage.Footage:
  """Where the face is, however far into the file; a long search is said.

  `first` is the first picture, if it has been read already.
  """
  said = 0.0

  def progress(seconds: float) -> None:
    nonlocal said
    if seconds >= said + SAY_SEARCH_S:
      said = seconds
      say(f"{os.fspath(path)}: no face in {seconds:.0f} s, searching on")

  return footage.find(path, tracker, which, first=first, progress=progress)


def _first_face(
  path: str | os.PathLike, fps: float, tracker: FaceTracker, which: str | Box
) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "68 2"]]:
  """The first frame with a face, and the face's landmarks."""
  limit = round(SEARCH_S * fps)
  frames = decoder.Frames(path, fps, limit)
  found = _find(path, tracker, which, frames.first())
  frames = frames.again(found.span, found.turns)
  missing = ""  # no exception, which would keep the decoder's process
  for frame in frames:
    try:
      track = follow(path, [frame], fps, tracker=tracker, rule=found.rule)
    except NoFaceError as error:
      missing = error.reason
    else:
      for doubt in portrait.doubts(frame, track.landmarks[0], track.pose[0]):
        warn(path, doubt)
      return frame, track.landmarks[0]
  if missing:
    raise NoFaceError(path, missing)
  raise MediaError(path, "no picture")


def _track(
  path: str | os.PathLike,
  frames: Iterable[UInt8[np.ndarray, "h w 3"]],
  fps: float,
  tracker: FaceTracker,
  rules: Rules,
) -> Track:
  """Tracks a face; gaps are said, too large ones refused."""
  track = follow(
    path,
    frames,
    fps,
    tracker=tracker,
    rule=rules.emotion,
    on_missing_face=rules.on_missing_face,
  )
  share = track.found.mean()
  if share < MIN_SEEN:
    raise MediaError(path, f"a face in only {share:.0%} of the frames")
  if not track.found.all():
    warn(
      path, f"no face from {gaps(track.found, fps)}; those frames are left out"
    )
  return track


def _squares(
  path: str | os.PathLike,
  track: Track,
  fps: float,
  frame: UInt8[np.ndarray, "h w 3"],
  size: int,
  framing: synthesis.Framing,
) -> Float[np.ndarray, "n 2 3"]:
  """The square of every frame of one shot; what is odd about most is said."""
  seen = bridge(track)
  made = squares(
    seen.landmarks, fps, lambda points: square(points, size, framing)
  )
  _check_crop(path, made[len(made) // 2], frame, size)
  return made


def _crop(
  path: str | os.PathLike,
  landmarks: Float[np.ndarray, "n 68 2"],
  frame: UInt8[np.ndarray, "h w 3"],
  size: int,
  framing: synthesis.Framing,
) -> Float[np.ndarray, "2 3"]:
  """The static square of a track; small and cut faces are said."""
  matrix = square(landmarks, size, framing)
  _check_crop(path, matrix, frame, size)
  return matrix


def _check_crop(
  path: str | os.PathLike,
  matrix: Float[np.ndarray, "2 3"],
  frame: UInt8[np.ndarray, "h w 3"],
  size: int,
) -> None:
  """Refuses what is too small, says what is odd about a square."""
  _check_side(path, size / matrix[0, 0], size)
  height, width = frame.shape[:2]
  beyond = align.outside(matrix, size, width, height)
  if beyond > MAX_OUTSIDE:
    warn(path, f"{beyond:.0%} of the face's square is outside the picture")


def _check_side(path: str | os.PathLike, side: float, size: int) -> None:
  """Refuses a crop of too few source pixels; says that one is enlarged."""
  if side < MIN_SIDE_PX:
    raise MediaError(path, f"face too small ({side:.0f} px)")
  if side < size:
    warn(path, f"the face is {side:.0f} px and is enlarged to {size}")


def square(
  landmarks: Float[np.ndarray, "n 68 2"],
  size: int,
  framing: synthesis.Framing,
) -> Float[np.ndarray, "2 3"]:
  """The crop of a track (or of one picture) as the training data have it.

  `faces.align.square` with the data's own proportions: source pixels to `size`
  px, one static square that never turns.
  """
  still = len(landmarks) == 1
  low, high = landmarks.min((0, 1)), landmarks.max((0, 1))
  larger = float((high - low).max())
  side = max((framing.still_side if still else framing.side) * larger, 1.0)
  up = framing.still_up if still else framing.up
  # Landmarks count from pixel centres, corners from pixel edges.
  corner = (low + high) / 2 + 0.5 - side / 2 - np.array([0, up * side])
  scale = size / side
  shift = scale * (0.5 - corner) - 0.5
  return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])


def _resize(
  frame: UInt8[np.ndarray, "h w 3"], size: int
) -> UInt8[np.ndarray, "s s 3"]:
  """Lanczos up, area down."""
  if frame.shape[0] == size:
    return frame
  way = cv2.INTER_LANCZOS4 if size > frame.shape[0] else cv2.INTER_AREA
  return cv2.resize(frame, (size, size), interpolation=way)


def _write_sheet(
  path: str | os.PathLike, rows: tuple[tuple[str, list[np.ndarray]], ...]
) -> None:
  """A PNG with a titled row per kind of picture, whole or not at all."""
  title, cell = 18, SHEET_CELL_PX
  width = cell * max(len(pictures) for _, pictures in rows)
  sheet = np.full(((cell + title) * len(rows), width, 3), 255, np.uint8)
  for i, (name, pictures) in enumerate(rows):
    top = i * (cell + title)
    where = (4, top + title - 5)
    cv2.putText(sheet, name, where, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0))
    for j, picture in enumerate(pictures):
      left = j * cell
      sheet[top + title : top + title + cell, left : left + cell] = _resize(
        picture, cell
      )
  try:
    with files.replacing(path) as partial:
      Image.fromarray(sheet).save(partial)
  except OSError as error:
    raise MediaError(path, f"cannot be written ({error})") from None


FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
  """Runs the command; 0 if the mp4 is there, 1 with one line if not."""
  if len(argv) > 1:
    line = f"{argv[1]}: unexpected argument; inputs are given as --name FILE"
    return command_line.fail("error", line)
  warnings.simplefilter("default", MediaWarning)  # each line once
  warnings.showwarning = _show_warning
  start = time.perf_counter()
  missing = FLAGS.get_flag_value("on-missing-face", "hold")
  try:
    rules = Rules(
      parse_face_rule(FLAGS.face),
      missing,
      parse_face_rule(FLAGS.get_flag_value("pose-face", "largest")),
      parse_face_rule(FLAGS.get_flag_value("emotion-face", "largest")),
    )
  except ValueError as error:
    return command_line.fail("error", str(error))
  given = (FLAGS.identity, FLAGS.audio, FLAGS.pose, FLAGS.emotion)
  try:
    inputs = [x for x in given if x is not None]
    check_files(inputs, FLAGS.output, FLAGS.sheet, FLAGS.model)
    synthesizer = synthesis.Synthesizer.from_bundle(
      FLAGS.model, windows=FLAGS.windows
    )
    result = generate(
      synthesizer,
      identity=FLAGS.identity,
      audio=FLAGS.audio,
      pose=FLAGS.pose,
      emotion=FLAGS.emotion,
      output=FLAGS.output,
      tracker=Tracker(),
      rules=rules,
      track=FLAGS.get_flag_value("audio-track", None),
      size=FLAGS.size,
      sheet=FLAGS.sheet,
      smooth=FLAGS.smooth,
    )
  except (FileError, MissingModelError) as error:
    return command_line.fail("error", str(error))
  took = time.perf_counter() - start
  path = printable(str(result.path))
  print(
    f"wrote {path}: {result.frames} frames, {result.seconds:.2f} s,"
    f" {result.size} px, in {took:.1f} s"
  )
  return 0


def _show_warning(message, category, *where, **rest) -> None:
  """A media warning as one line, once, without the place in the code."""
  if issubclass(category, MediaWarning) and str(message) not in _SHOWN:
    _SHOWN.add(str(message))
    print(f"warning: {message}", file=sys.stderr)


_SHOWN: set[str] = set()  # lines; a file is read more than once


def _define_flags() -> None:
  """Not at import: other commands have flags of these names too."""
  text = flags.DEFINE_string
  reference = str(bundle.REFERENCE)
  text("model", reference, "Bundle, made by speak_jax.export.")
  text("identity", None, "Picture (or video).", required=True)
  text("audio", None, "File with speech: any sound or video.", required=True)
  text(
    "pose", None, "Video of the head motion (keeps still as in the picture)."
  )
  text("emotion", None, "Video or picture of the emotion (neutral).")
  text("output", None, "The mp4.", short_name="o", required=True)
  text("sheet", None, "Also a contact sheet PNG.")
  which = (
    "largest, first (from the left), or box:x,y,w,h, that place in its first"
    " frame, px."
  )
  text("face", "largest", f"Which face of the identity's file: {which}")
  text("pose-face", "largest", f"Which face of the pose's file: {which}")
  text("emotion-face", "largest", f"Which face of the emotion's file: {which}")
  flags.DEFINE_integer(
    "audio-track",
    None,
    "Which audio track of a file with several, from 1 (the default one, or the"
    " loudest if that is silent).",
    1,
  )
  flags.DEFINE_enum(
    "on-missing-face",
    "hold",
    ON_MISSING_FACE,
    "Where the pose video shows no face: refuse it, interpolate the motion, "
    "or go on with what comes after.",
  )
  flags.DEFINE_integer(
    "size",
    None,
    f"Output side, px, even, 16 to {MAX_SIDE_PX} (the model's own).",
  )
  flags.DEFINE_integer("windows", 8, "Windows made at a time.", 1)
  flags.DEFINE_bool("smooth", True, "Smooth the pose over three frames.")


if __name__ == "__main__":
  _define_flags()
  app.run(main, flags_parser=command_line.parser("generate"))
