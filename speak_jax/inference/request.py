"""What a user asks for: four inputs, and what the output shall be like."""

import dataclasses
import os

from data_pipelines.media.container import check_file
from speak_jax.inference import emotion_label
from speak_jax.inference.inputs import Rules

File = str | os.PathLike

MIN_SIDE_PX, MAX_SIDE_PX = 16, 2048  # of the output
FRAMINGS = ("full", "crop")
POSE_MODES = ("relative", "absolute")


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
    pose: Video of head motion, blinks and gaze; of a picture the head keeps
      still. None: an idle head that sways, blinks and looks about, or,
      where frames are drawn, the identity's own pose.
    emotion: Video or picture of somebody who shows it, or, where a photograph
      is moved and no file of that name is there, a name and its strength, as
      `emotion_label.strengths` reads it. None: neutral, which adds nothing to
      what a photograph shows; a model that draws frames and has no neutral
      emotion takes the identity's own face.
    pose_mode: Of a photograph: "relative", the head turns as far from its own
      pose as the driver's does from that of his first frame, or "absolute",
      it stands as his does, from the first frame on, also if he is a picture;
      so do eyes.
      None: "relative", or the pose as it is where frames are drawn.
    rules: Which face of each file. Where the driver's face is not seen the
      motion is interpolated ("hold"), goes on with what comes after ("skip"),
      or the file is refused ("fail").
    track: Which audio track, from 1; None: as `media.audio.audio_track`.
    size: Longer side of the output in px; None: a photograph's own, at most
      1024, or the side that the model draws. Sides are made even.
    framing: Of a photograph: "full", all of it, or "crop", a square round the
      head. None: "full", or the square that the model draws.
    smooth: Whether to smooth the head's motion over three frames.
    seed: Of an idle head's motion; None: 0.
  """

  identity: File
  audio: File
  pose: File | None = None
  emotion: File | None = None
  pose_mode: str | None = None
  rules: Rules = Rules()  # noqa: RUF009, a tuple
  track: int | None = None
  size: int | None = None
  framing: str | None = None
  smooth: bool = True
  seed: int | None = None

  @property
  def files(self) -> list[File]:
    """The files that are read; an emotion's name is none."""
    emotion = self.emotion
    if emotion is not None and not emotion_label.is_file(emotion):
      emotion = None
    given = (self.identity, self.audio, self.pose, emotion)
    return [file for file in given if file is not None]


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
  for field, reason in (
    ("framing", "draws crops alone"),
    ("pose_mode", "takes a pose as it is"),
    ("seed", "keeps a head still that nobody drives"),
  ):
    if getattr(request, field) is not None:
      raise RequestError(field, f"this model {reason}; leave it out")
  if request.emotion is not None:
    check_file(request.emotion)


def _check_photograph(request: Request) -> None:
  for field, known in (("framing", FRAMINGS), ("pose_mode", POSE_MODES)):
    value = getattr(request, field)
    if value is not None and value not in known:
      raise RequestError(field, f"{value!r} is not {' or '.join(known)}")
  if request.pose is None and request.pose_mode is not None:
    raise RequestError("pose_mode", "there is no pose to follow; leave it out")
  emotion = request.emotion
  if emotion is None:
    return
  if emotion_label.is_file(emotion):
    check_file(emotion)
    return
  try:
    emotion_label.strengths(str(emotion))
  except ValueError as error:
    raise RequestError(
      "emotion",
      f"{emotion}: no such file, nor an emotion's name and strength ({error})",
    ) from None
