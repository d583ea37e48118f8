"""What a user asks for: four inputs, and what the output shall be like."""

import dataclasses
import os
from collections.abc import Callable
from typing import TypeVar

from data_pipelines.media.container import check_file
from speak_jax.common.files import FileError
from speak_jax.inference import emotion_label, head
from speak_jax.inference.curve import Curve, is_table, number
from speak_jax.inference.inputs import Rules

File = str | os.PathLike
T = TypeVar("T")

MIN_SIDE_PX, MAX_SIDE_PX = 16, 2048  # of the output
FRAMINGS = ("full", "crop")
POSE_MODES = ("relative", "absolute")
MOST = 2.0  # times that a head's motion or speech's is enlarged at most
LEAST_FPS, MOST_FPS = 10.0, 60.0  # of the output


class RequestError(ValueError):
  """What a model cannot do; its text is one line, `field: reason`."""

  def __init__(self, field: str, reason: str):
    """Keeps both: a command line has flags for fields."""
    self.field, self.reason = field, reason
    super().__init__(f"{field}: {reason}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """One video to be made.

  Attributes:
    identity: Picture, or a video whose first good frame is taken.
    audio: Any file with sound, of any loudness; the output has it as it was.
    more_audio: Of a photograph that shows several people, the sounds of its
      second face from the left, its third and so on; `audio` is then that of
      the leftmost. Each face says its own, and the output has their mix.
    pose: Video of head motion, blinks and gaze; of a picture the head keeps
      still. Or "still", a head that keeps still, blinks and looks about, or
      "sampled", one that sways too, unless a file has that name. Of a
      photograph also a CSV file of time, yaw, pitch and roll, as
      `head.read_pose` reads it, or what it makes of one. None: "sampled", or,
      where frames are drawn, the identity's own pose.
    emotion: Video or picture of somebody who shows it, or, where a photograph
      is moved and no file of that name is there, a name and its strength, as
      `emotion_label.strengths` reads it, or a CSV file of time, emotion and
      level, or what `emotion_label.timeline` makes of such rows. None: neutral,
      which adds nothing to what a photograph shows; a model that draws frames
      and has no neutral emotion takes the identity's own face.
    pose_mode: Of a photograph: "relative", the head turns as far from its own
      pose as the driver's does from that of his first frame, or as angles
      say, or "absolute", it stands as his does, or as they say, from the
      first frame on, also if he is a picture; so do eyes.
      None: "relative" ("absolute" of a `Sweep`), or the pose as it is where
      frames are drawn.
    pose_scale: Of a photograph: how far the head goes, over how far it would,
      0 to MOST.
    gaze: Of a photograph: "follow" the pose's video, "still", or degrees to
      the picture's right and up, "YAW,PITCH" or two numbers, beside its own
      gaze, or, if pose_mode is "absolute", from straight ahead of the head.
      None: "follow", or an idle head's eyes look about.
    blink: Whether lids move; of a photograph.
    mouth: Of a photograph: how far speech opens the lips, over how far the
      model does, 0 to MOST.
    rules: Which face of each file. Where the driver's face is not seen the
      motion is interpolated ("hold"), goes on with what comes after ("skip"),
      or the file is refused ("fail").
    track: Which audio track, from 1; None: as `media.audio.audio_track`.
    size: Longer side of the output in px; None: a photograph's own, at most
      1024, or the side that the model draws. Sides are made even.
    framing: Of a photograph: "full", all of it, or "crop", a square round the
      head. None: "full", or the square that the model draws.
    fps: Of the output, where a photograph is moved, from LEAST_FPS to MOST_FPS;
      23.976 is 24000/1001. None: the model's own 25. A frame shows the motion
      of its own time, between two of the model's if need be.
    smooth: Whether to smooth the head's motion over three frames.
    seed: Of an idle head's motion; None: 0.
  """

  identity: File
  audio: File
  pose: head.Pose = None
  emotion: File | Curve | None = None
  pose_mode: str | None = None
  pose_scale: float = 1.0
  gaze: str | tuple[float, float] | None = None
  blink: bool = True
  mouth: float = 1.0
  rules: Rules = Rules()  # noqa: RUF009, a tuple
  track: int | None = None
  size: int | None = None
  framing: str | None = None
  fps: float | None = None
  smooth: bool = True
  seed: int | None = None
  more_audio: tuple[File, ...] = ()

  @property
  def files(self) -> list[File]:
    """The files that are read; an emotion's name is none, nor is a word."""
    pose, emotion = head.file_of(self.pose), emotion_label.file_of(self.emotion)
    given = (self.identity, *self.sounds, pose, emotion)
    return [file for file in given if file is not None]

  @property
  def sounds(self) -> tuple[File, ...]:
    """Files with speech, one for each face that speaks."""
    return (self.audio, *self.more_audio)


def check(request: Request, moves_photographs: bool) -> None:
  """Refuses what can be refused before any work.

  Args:
    request: To be served.
    moves_photographs: Whether the model moves a photograph, or else draws
      frames of its own.

  Raises:
    FileError: an emotion is no file.
    RequestError: a field is not what this model can do.
  """
  size = request.size
  if size is not None and not MIN_SIDE_PX <= size <= MAX_SIDE_PX:
    raise RequestError(
      "size", f"{size} is not from {MIN_SIDE_PX} to {MAX_SIDE_PX}"
    )
  if moves_photographs:
    _check_photograph(request)
    return
  if size is not None and size % 2:
    raise RequestError("size", f"{size} is not even")
  _check_drawing(request)


def _check_drawing(request: Request) -> None:
  for field, reason in (
    ("framing", "draws crops alone"),
    ("more_audio", "draws one face"),
    ("fps", "draws as many a second as it learned"),
    ("pose_mode", "takes a pose as it is"),
    ("pose_scale", "takes a pose as it is"),
    ("gaze", "takes a gaze as it is"),
    ("blink", "takes lids as they are"),
    ("mouth", "opens lips as it has learned"),
    ("seed", "keeps a head still that nobody drives"),
  ):
    if getattr(request, field) != getattr(Request, field):
      raise RequestError(field, f"this model {reason}; leave it out")
  pose, emotion = head.file_of(request.pose), request.emotion
  if pose is None and request.pose not in (None, head.Idle.STILL.value):
    raise RequestError("pose", "this model follows videos and pictures alone")
  if isinstance(emotion, Curve):
    raise RequestError("emotion", "this model shows one emotion alone")
  if emotion is not None:
    check_file(emotion)
  for field, file in (("pose", pose), ("emotion", emotion)):
    if file is not None and is_table(file):
      raise RequestError(field, f"{file}: this model reads no CSV files")


def _check_photograph(request: Request) -> None:
  for field, known in (("framing", FRAMINGS), ("pose_mode", POSE_MODES)):
    value = getattr(request, field)
    if value is not None and value not in known:
      raise RequestError(field, f"{value!r} is not {' or '.join(known)}")
  fps = request.fps
  if fps is not None and not LEAST_FPS <= fps <= MOST_FPS:
    raise RequestError(
      "fps", f"{fps:g} is not from {LEAST_FPS:g} to {MOST_FPS:g}"
    )
  for field in ("pose_scale", "mouth"):
    _read(field, lambda share: number(share, "", 0, MOST), request)
  pose = _read("pose", head.read_pose, request)
  gaze = _read("gaze", head.read_gaze, request)
  idle = isinstance(pose, head.Idle)
  if idle and isinstance(gaze, str) and request.pose_mode is not None:
    raise RequestError("pose_mode", "there is no pose to follow; leave it out")
  if request.more_audio:
    _check_several(request)
  if pose is head.Idle.STILL and request.pose_scale != 1:
    raise RequestError("pose_scale", "the head keeps still; leave it out")
  if request.gaze == "follow" and isinstance(pose, head.Told):
    raise RequestError("gaze", "there is no video to follow; leave it out")
  emotion = request.emotion
  file = emotion_label.file_of(emotion)
  if file is not None:
    check_file(file)
  try:
    emotion_label.read(emotion)
  except FileError:
    raise
  except ValueError as error:
    raise RequestError(
      "emotion",
      f"{emotion}: no such file, nor an emotion's name and strength ({error})",
    ) from None


def _read(field: str, read: Callable[..., T], request: Request) -> T:
  """Reads a field's value."""
  try:
    return read(getattr(request, field))
  except FileError:
    raise
  except ValueError as error:
    raise RequestError(field, str(error)) from None


def _check_several(request: Request) -> None:
  """What cannot be where each face of a picture says its own."""
  pose = head.file_of(request.pose)
  if pose is not None and not is_table(pose):
    raise RequestError("pose", "one driver for several faces; leave it out")
  if request.framing == "crop":
    raise RequestError("framing", "a crop shows one face of several")
  if request.rules.identity != Rules().identity:
    raise RequestError("face", "faces speak from the left; leave it out")
