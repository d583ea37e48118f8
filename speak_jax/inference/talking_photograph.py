"""A photograph that talks, at its own size: files in, an mp4 out."""

import collections
import itertools
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.faces.eyes import EyeReader
from data_pipelines.faces.follow import FaceTracker
from data_pipelines.media.error import MediaError, warn
from data_pipelines.media.mp4 import write_video
from speak_jax.common.names import printable
from speak_jax.common.prefetch import prefetch
from speak_jax.common.progress import Progress
from speak_jax.inference import (
  contact_sheet,
  crops,
  emotion_label,
  expression,
  talking_head,
  windows,
)
from speak_jax.inference.contact_sheet import Row, Shown
from speak_jax.inference.driver import VideoDriver
from speak_jax.inference.functions import Settings
from speak_jax.inference.inputs import (
  Rules,
  check_files,
  read_expression,
  read_photograph,
  read_speech,
)
from speak_jax.inference.motion_model import MotionModel
from speak_jax.inference.talking_head import Result
from speak_jax.photograph import composition, gaze, head_motion
from speak_jax.photograph.composition import Portrait
from speak_jax.photograph.gaze import Look
from speak_jax.photograph.head_motion import Drive, unpacked

MAX_SIDE_PX = 1024  # of a photograph, unless a size is asked for
MIN_SIDE_PX, LARGEST_PX = 16, talking_head.MAX_SIDE_PX  # that may be
DRIVER_PX = 64  # side of the driver's crops, on the contact sheet
# Square of framing "crop", over the larger side of the face; and how much
# higher it lies, of its side: hair needs more room than the neck.
HEAD, HEAD_UP = 2.0, 0.08
MIN_GAZES = 0.2  # share of a driver's frames that must show where he looks
THREADS = 2  # that compose frames; one more encodes
AHEAD = 16  # frames in work at most
_MODES = " or ".join(head_motion.POSE_MODES)


def generate(
  model: MotionModel,
  *,
  identity: str | os.PathLike,
  audio: str | os.PathLike,
  pose: str | os.PathLike | None = None,
  emotion: str | os.PathLike | None = None,
  output: str | os.PathLike,
  tracker: FaceTracker,
  eyes: EyeReader | None = None,
  rules: Rules = Rules(),  # noqa: B008
  track: int | None = None,
  size: int | None = None,
  framing: str = "full",
  pose_mode: str = "relative",
  sheet: str | os.PathLike | None = None,
  smooth: bool = True,
  seed: int = 0,
  say: Callable[[str], None] = print,
) -> Result:
  """Reads the inputs, composes the frames, writes the mp4.

  Args:
    model: From a bundle.
    identity: Photograph, or a video whose first good frame is taken.
    audio: Any file with sound, of any loudness; the mp4 has it as it was.
    pose: Video of head motion, blinks and gaze; of a picture the head keeps
      still. None: the head is idle, it sways a little, blinks and looks about.
    emotion: Video or picture of somebody who shows it, or, where a text names
      no file, as `emotion_label.strengths` reads it; None: none is added to
      what the photograph shows.
    output: The mp4, replaced if it is there; its folder must exist.
    tracker: Finds faces, usually `faces.tracker.Tracker()`.
    eyes: Finds irises; None: `faces.eyes.EyeReader()`.
    rules: Which face of each file, and what if the driver's is not seen.
    track: Which audio track, from 1; None: as `media.audio.audio_track`.
    size: Longer side of the output in px; None: the photograph's own, at most
      MAX_SIDE_PX. Sides are made even.
    framing: "full": the whole picture; "crop": a square round the head.
    pose_mode: "relative": the head turns as far from the photograph's pose as
      the driver's does from that of his first frame; "absolute": it stands as
      his does, from the first frame on, also if he is a picture. So do eyes.
    sheet: Also write a contact sheet PNG here.
    smooth: Whether to smooth the head's motion over three frames.
    seed: Of an idle head's motion.
    say: Takes progress lines. What is odd about an input but can be borne is
      a MediaWarning.

  Raises:
    FileError: an input cannot be used, or the output cannot be written; one
      line naming the file. Nothing is left half-written.
    ValueError: no such emotion or pose mode.
    MissingModelError: the iris network has not been fetched.
  """
  if pose_mode not in head_motion.POSE_MODES:
    raise ValueError(f"pose_mode {pose_mode!r} is not of {_MODES}")
  if size is not None and not MIN_SIDE_PX <= size <= LARGEST_PX:
    raise MediaError(
      output, f"size {size} is not from {MIN_SIDE_PX} to {LARGEST_PX}"
    )
  strengths, mood = emotion_label.strengths("neutral"), None
  if emotion is not None and emotion_label.is_file(emotion):
    mood = emotion
  elif emotion is not None:
    strengths = emotion_label.strengths(str(emotion))
  eyes = EyeReader() if eyes is None else eyes
  inputs = [x for x in (identity, audio, pose, mood) if x is not None]
  check_files(inputs, output, sheet)
  say(printable(f"speech    {audio}"))
  speech, sound = read_speech(audio, track)
  try:
    n = model.length(speech)
  except ValueError as error:
    raise MediaError(audio, str(error)) from None
  fps = model.settings.fps
  say(printable(f"identity  {identity}"))
  frame, mesh = read_photograph(identity, fps, tracker, rules)
  frame, mesh = _sized(frame, mesh, size, framing)
  one = composition.portrait(frame, mesh, eyes(frame, mesh), model.shut)
  idle = "none: the head is idle"
  say(printable(f"pose      {idle if pose is None else pose}"))
  rest = one.textured.rotation if pose_mode == "absolute" else None
  faces = None
  if mood is None:
    say(printable(f"emotion   {emotion or 'none is added'}"))
  else:
    faces = read_expression(mood, fps, tracker, rules)
    strengths = expression.strengths(
      expression.of_faces(expression.load(), faces)
    )
    say(printable(f"emotion   {mood}: {emotion_label.described(strengths)}"))
  height, width = one.photograph.shape[:2]
  say(f"{n} frames at {fps:g} a second, {width} x {height} px")
  shown = Shown(n)
  driver, looks = None, None
  if pose is not None:
    if one.eyeballs:
      looks = gaze.Driver(eyes, None if rest is None else one.gaze)
    else:
      warn(identity, "its eyes are shut, dark or small; its gaze stays")
    driver = VideoDriver(pose, n, _driver_settings(fps), tracker, rules)
  with prefetch(
    lambda: _drives(driver, looks, n, fps, seed, rules, smooth, rest), AHEAD
  ) as drives:
    ours, for_lids = itertools.tee(drives)
    points = model.stream(speech, (drive.lids for drive in for_lids), strengths)
    frames = shown.passing(_composed(one, zip(points, ours, strict=False)))
    count = write_video(output, _counted(frames, n), fps, sound)
  if sheet is not None:
    rows = [Row("identity", [_square(one.photograph)])]
    if driver is not None:
      rows.append(Row("pose", driver.shown(shown.columns, n)))
    if faces is not None:
      rows.append(Row("emotion", list(faces[Shown(len(faces)).columns])))
    contact_sheet.write(
      sheet, [*rows, Row("made", list(map(_square, shown.frames)))]
    )
    say(printable(f"sheet     {sheet}"))
  return Result(Path(output), count, count / fps, max(height, width))


def _driver_settings(fps: float) -> Settings:
  """Of the driver's crops, which nothing but the contact sheet shows."""
  return Settings(
    image=DRIVER_PX,
    emotion=0,
    emotion_input="face",
    frames=1,
    context=0,
    fps=fps,
  )


def _sized(
  frame: UInt8[np.ndarray, "h w 3"],
  mesh: Float[np.ndarray, "468 3"],
  size: int | None,
  framing: str,
) -> tuple[UInt8[np.ndarray, "k l 3"], Float[np.ndarray, "468 3"]]:
  """Cuts and scales a photograph and its mesh to the output's size."""
  mesh = mesh.astype(np.float64)
  if framing == "crop":
    frame, mesh = _cropped(frame, mesh)
  longer = min(max(frame.shape[:2]), MAX_SIDE_PX) if size is None else size
  before = np.array(frame.shape[1::-1])
  frame = crops.evenly_scaled(frame, longer, MIN_SIDE_PX)
  factors = np.array(frame.shape[1::-1]) / before
  flat = (mesh[:, :2] + 0.5) * factors - 0.5
  return frame, np.column_stack([flat, mesh[:, 2] * factors.mean()])


def _cropped(
  frame: UInt8[np.ndarray, "h w 3"], mesh: Float[np.ndarray, "468 3"]
) -> tuple[UInt8[np.ndarray, "k l 3"], Float[np.ndarray, "468 3"]]:
  """Cuts the square round a head, as far as the photograph reaches."""
  low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
  side = HEAD * float((high - low).max())
  corner = (low + high) / 2 - side / 2 - (0, HEAD_UP * side)
  left, top = np.floor(corner).astype(int).clip(0)
  right, bottom = np.ceil(corner + side).astype(int)
  return frame[top:bottom, left:right], mesh - [left, top, 0]


def _drives(
  driver: VideoDriver | None,
  looks: gaze.Driver | None,
  n: int,
  fps: float,
  seed: int,
  rules: Rules,
  smooth: bool,
  rest: Float[np.ndarray, "3 3"] | None,
) -> Generator[Drive, None, None]:
  """Yields what drives each of n frames; rest as for `driven`."""
  if driver is None:
    yield from head_motion.idle(n, fps, seed)
    return
  lids = head_motion.open_lids(driver.opening_meshes)
  faces, seen = itertools.tee(driver.faces())
  packed = head_motion.driven(
    (None if face is None else face[1] for face in faces), lids, rest=rest
  )
  if looks is not None:
    packed = head_motion.looking(
      packed, _looks(driver, looks, seen), looks.rest
    )
  if rules.on_missing_face == "hold":
    known = windows.bridge(packed)
  else:
    known = (numbers for numbers in packed if numbers is not None)
  numbers = windows.drive(known, n, smooth=smooth, jumps=head_motion.GAZES)
  yield from map(unpacked, numbers)


def _looks(
  driver: VideoDriver,
  looks: gaze.Driver,
  faces: Iterable[tuple[np.ndarray, np.ndarray] | None],
) -> Iterator[Look | None]:
  """Yields what a driver's eyes do, and says so if they are hardly seen."""
  faces_seen = known = 0
  for face in faces:
    seen = None if face is None else looks(face)
    faces_seen += face is not None
    known += seen is not None and seen.gaze is not None
    yield seen
  if known < MIN_GAZES * faces_seen:
    warn(
      driver.path,
      f"the gaze is seen in {known} of {faces_seen} frames; eyes too small,"
      " dark or shut",
    )


def _composed(
  one: Portrait,
  moves: Iterable[tuple[Float[np.ndarray, "468 3"], Drive]],
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
  """Composes frames in a few threads, in order."""
  waiting: collections.deque = collections.deque()
  with ThreadPoolExecutor(THREADS) as threads:
    for points, drive in moves:
      waiting.append(
        threads.submit(
          composition.compose,
          one,
          one.expression(points, drive.lids, drive.gaze),
          drive.motion,
          drive.gaze,
        )
      )
      if len(waiting) >= AHEAD:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()


def _square(
  frame: UInt8[np.ndarray, "h w 3"],
) -> UInt8[np.ndarray, "s s 3"]:
  """Cuts the square in the middle of a frame; of a high one the upper part."""
  height, width = frame.shape[:2]
  side = min(height, width)
  left, top = (width - side) // 2, (height - side) // 4
  return frame[top : top + side, left : left + side]


def _counted(
  frames: Iterable[UInt8[np.ndarray, "h w 3"]], n: int
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
  """Yields frames with a progress bar."""
  with Progress("generate", "frame", n) as progress:
    for i, frame in enumerate(frames):
      progress.update(i + 1)
      yield frame
