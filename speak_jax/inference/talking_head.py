"""A talking head whose frames a network draws."""

import itertools
import os
from collections.abc import Callable, Generator, Iterable, Iterator

import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.faces.follow import FaceTracker
from data_pipelines.media.error import MediaError
from speak_jax.common.names import printable
from speak_jax.common.prefetch import prefetch
from speak_jax.inference import emotion_label, head, windows
from speak_jax.inference.contact_sheet import Row, Shown
from speak_jax.inference.crops import resize
from speak_jax.inference.driver import StillDriver, VideoDriver
from speak_jax.inference.inputs import (
  Person,
  Rules,
  read_emotion,
  read_person,
  read_speech,
)
from speak_jax.inference.request import Request, check
from speak_jax.inference.synthesizer import Synthesizer
from speak_jax.inference.take import Take
from speak_jax.spec import Samples

PREFETCH = 16  # crops that wait for the device at most


def take(
  synthesizer: Synthesizer,
  request: Request,
  tracker: FaceTracker,
  say: Callable[[str], None] = print,
) -> Take:
  """Reads what a request names; frames are drawn as they are asked for.

  Args:
    synthesizer: From a bundle.
    request: See there.
    tracker: Finds faces, usually `faces.tracker.Tracker()`.
    say: Takes a line for each input. What is odd about one but can be borne
      is a MediaWarning.

  Raises:
    FileError: an input cannot be used; one line naming the file.
    RequestError: no such size, or a field that is for photographs alone.
  """
  settings, rules = synthesizer.settings, request.rules
  check(request, moves_photographs=False)
  size = settings.image if request.size is None else request.size
  say(printable(f"speech    {request.audio}"))
  speech, sound = read_speech(request.audio, request.track)
  n = _length(synthesizer, request.audio, speech)
  say(printable(f"identity  {request.identity}"))
  person = read_person(request.identity, settings, tracker, rules)
  pose = head.file_of(request.pose)
  still = "the identity's own, held still"
  say(printable(f"pose      {still if pose is None else pose}"))
  driver = StillDriver(person.crop)
  if pose is not None:
    driver = VideoDriver(pose, n, settings, tracker, rules)
  mood = emotion_label.file_of(request.emotion)
  faces, code = _emotion(synthesizer, mood, person, tracker, rules, say)
  say(f"{n} frames at {settings.fps:g} a second, {size} px")

  def frames() -> Generator[UInt8[np.ndarray, "s s 3"], None, None]:
    with prefetch(driver.crops, PREFETCH) as crops:
      poses = _poses(synthesizer, crops, rules)
      pieces = synthesizer.stream(
        synthesizer.portrait(person.crop, person.landmarks),
        windows.drive(poses, n, smooth=request.smooth),
        code,
        speech,
      )
      for frame in itertools.chain.from_iterable(pieces):
        yield resize(frame, size)
      # The driver warns of its last crops too, which no frame needs.
      for _ in crops:
        pass

  def rows(shown: Shown) -> list[Row]:
    return [
      Row("identity, emotion", [person.crop, *faces]),
      Row("pose", driver.shown(shown.columns, n)),
      Row("made", shown.frames),
    ]

  return Take(frames(), n, settings.fps, size, size, sound, rows, person.crop)


def _length(
  synthesizer: Synthesizer,
  path: str | os.PathLike,
  speech: Samples,
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
