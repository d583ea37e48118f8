"""From one raw video of any set to records: what all real sources share."""

import os
from typing import NamedTuple

import numpy as np

from data_pipelines.faces import cut
from data_pipelines.media import decoder
from data_pipelines.sources.task import Labels, Task
from speak_jax import spec
from speak_jax.common.names import label


class Video(NamedTuple):
  """How a raw video becomes records. As small as it can be: there are many."""

  root: str  # of the set; records name their source from there
  path: str
  sound: str | None  # a file beside it; None: the video's own track
  clip: str
  identity: str
  session: str  # as in `spec.Record`
  labels: Labels
  settings: cut.Settings
  span: tuple[float, float] | None = None  # seconds of the video; None: all
  box: tuple[float, float, float, float] | None = (
    None  # x, y, w, h of the face, px
  )
  height: int = 0  # of the picture that `box` was drawn on; 0: the video's
  take: str = ""  # as in `spec.Record`; its first picture is the video's

  def __call__(self) -> list[spec.Record]:
    """Cuts the video; several records get a number behind the clip's name.

    Raises:
      MediaError: the video cannot be used.
    """
    pieces = cut.clips_of(
      self.path,
      self.settings,
      audio_path=self.sound,
      box=self._box(),
      span=self.span,
    )
    several = len(pieces) > 1
    return [
      self._record(piece, f"{self.clip}_{i:03d}" if several else self.clip)
      for i, piece in enumerate(pieces)
    ]

  def _box(self) -> tuple[float, float, float, float] | None:
    """The box in this video's pixels."""
    if self.box is None or not self.height:
      return self.box
    scale = decoder.probe(self.path).height / self.height
    x, y, w, h = self.box
    return x * scale, y * scale, w * scale, h * scale

  def _record(self, piece: cut.FaceClip, clip: str) -> spec.Record:
    nothing = np.zeros((0, 68, 2), np.float32)
    return spec.Record(
      clip=label(clip),
      identity=label(self.identity),
      emotion=self.labels.emotion,
      level=self.labels.level,
      view=self.labels.view,
      source=label(os.path.relpath(self.path, self.root)),
      fps=self.settings.fps,
      frames=piece.frames,
      audio=piece.audio,
      landmarks=piece.landmarks,
      pose=piece.pose,
      pose_method="facemesh",
      crop=piece.crop,
      factors=np.zeros((0, 0), np.float32),
      phonemes="",
      twin_index=np.zeros(0, np.int32),
      twin_pose=[],
      twin_pose_landmarks=nothing,
      twin_mouth=[],
      twin_mouth_landmarks=nothing,
      take=self.take,
      start=piece.start,
      session=label(self.session),
      mesh=spec.stored_mesh(piece.mesh, self.settings.size),
    )


def task(video: Video, split: str) -> Task:
  """The task that makes the video's records."""
  return Task(
    clip=label(video.clip),
    identity=label(video.identity),
    split=split,
    records=video,
    file=video.path,
    sound=video.sound or "",
    labels=video.labels,
  )
