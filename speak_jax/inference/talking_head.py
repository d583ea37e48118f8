"""A talking head out of files: picture, speech, motion, emotion to an mp4."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int16, UInt8

from data_pipelines.faces.follow import FaceTracker
from data_pipelines.media.error import MediaError
from data_pipelines.media.mp4 import write_video
from speak_jax.common.names import printable
from speak_jax.common.prefetch import prefetch
from speak_jax.common.progress import Progress
from speak_jax.inference import contact_sheet, windows
from speak_jax.inference.contact_sheet import Row, Shown
from speak_jax.inference.crops import resize
from speak_jax.inference.driver import StillDriver, VideoDriver
from speak_jax.inference.inputs import (
  Person,
  Rules,
  check_files,
  read_emotion,
  read_person,
  read_speech,
)
from speak_jax.inference.synthesizer import Synthesizer

PREFETCH = 16  # crops that wait for the device at most
MAX_SIDE_PX = 2048  # of the output


class Result(NamedTuple):
  """What was written."""

  path: Path
  frames: int
  seconds: float
  size: int  # px


def generate(
  synthesizer: Synthesizer,
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
    FileError: An input cannot be used, or the output cannot be written; one
      line naming the file. Nothing is left half-written.
  """
  settings = synthesizer.settings
  size = _checked_size(output, settings.image if size is None else size)
  inputs = [x for x in (identity, audio, pose, emotion) if x is not None]
  check_files(inputs, output, sheet)
  say(printable(f"speech    {audio}"))
  speech, sound = read_speech(audio, track)
  n = _length(synthesizer, audio, speech)
  say(printable(f"identity  {identity}"))
  person = read_person(identity, settings, tracker, rules)
  still = "the identity's own, held still"
  say(printable(f"pose      {still if pose is None else pose}"))
  driver = StillDriver(person.crop)
  if pose is not None:
    driver = VideoDriver(pose, n, settings, tracker, rules)
  faces, code = _emotion(synthesizer, emotion, person, tracker, rules, say)
  say(f"{n} frames at {settings.fps:g} a second, {size} px")
  shown = Shown(n)
  with prefetch(driver.crops, PREFETCH) as crops:
    pieces = synthesizer.stream(
      synthesizer.portrait(person.crop, person.landmarks),
      windows.drive(_poses(synthesizer, crops, rules), n, smooth=smooth),
      code,
      speech,
    )
    frames = shown.passing(itertools.chain.from_iterable(pieces))
    drawn = _finished(frames, n, size, crops)
    count = write_video(output, drawn, settings.fps, sound)
  if sheet is not None:
    rows = (
      Row("identity, emotion", [person.crop, *faces]),
      Row("pose", driver.shown(shown.columns, n)),
      Row("made", shown.frames),
    )
    contact_sheet.write(sheet, rows)
    say(printable(f"sheet     {sheet}"))
  return Result(Path(output), count, count / settings.fps, size)


def _checked_size(output: str | os.PathLike, size: int) -> int:
  """Returns the side of the output, px, if an mp4 can have it."""
  if size % 2 or not 16 <= size <= MAX_SIDE_PX:
    raise MediaError(output, f"size {size} is not even, 16 to {MAX_SIDE_PX}")
  return size


def _length(
  synthesizer: Synthesizer,
  path: str | os.PathLike,
  speech: Int16[np.ndarray, "s"],
) -> int:
  """Counts the frames that a file's speech asks for."""
  try:
    return synthesizer.length(speech)
  except ValueError as error:
    raise MediaError(path, str(error)) from None


def _emotion(
  synthesizer: Synthesizer,
  path: str | os.PathLike | None,
  person: Person,
  tracker: FaceTracker,
  rules: Rules,
  say: Callable[[str], None],
) -> tuple[UInt8[np.ndarray, "k f f 3"], Float[np.ndarray, "e"]]:
  """Chooses the emotion: faces for the sheet, maybe none, and the code."""
  side = synthesizer.settings.emotion
  if path is not None:
    say(printable(f"emotion   {path}"))
    faces = read_emotion(path, synthesizer.settings, tracker, rules)
  elif synthesizer.neutral is None:
    say("emotion   the identity's own: this model knows no neutral face")
    faces = person.face[None]
  else:
    say("emotion   neutral")
    return np.zeros((0, side, side, 3), np.uint8), synthesizer.neutral
  return faces, synthesizer.emotion(faces).mean(0)


def _poses(
  synthesizer: Synthesizer,
  crops: Iterable[UInt8[np.ndarray, "h w 3"] | None],
  rules: Rules,
) -> Iterator[Float[np.ndarray, "p"]]:
  """Encodes the driver's poses; gaps are interpolated, or left out."""
  codes = synthesizer.poses(crops)
  if rules.on_missing_face == "hold":
    return windows.bridge(codes)
  return (code for code in codes if code is not None)


def _finished(
  frames: Iterable[UInt8[np.ndarray, "h w 3"]],
  n: int,
  size: int,
  crops: Iterable[UInt8[np.ndarray, "h w 3"] | None],
) -> Iterator[UInt8[np.ndarray, "s s 3"]]:
  """Yields n frames in the size of the output, with a progress bar."""
  with Progress("generate", "frame", n) as progress:
    for i, frame in enumerate(frames):
      progress.update(i + 1)
      yield resize(frame, size)
  # The driver warns of its last crops too, which no frame needs.
  for _ in crops:
    pass
