"""What moves a photograph: bundles of both kinds, by one interface."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int16, UInt8

from data_pipelines.faces.eyes import EyeReader
from data_pipelines.faces.tracker import bridge
from data_pipelines.media.warp import transform, warp
from speak_jax import bundle as bundles
from speak_jax.evaluation.photographs.clips import Clip
from speak_jax.inference import crops, windows
from speak_jax.inference.emotion_label import strengths
from speak_jax.inference.motion_model import MotionModel
from speak_jax.inference.synthesizer import Synthesizer
from speak_jax.photograph import composition, gaze, head_motion
from speak_jax.photograph.head_motion import Drive, unpacked
from speak_jax.photograph.textured_mesh import STILL

CALM = "neutral"


@runtime_checkable
class Method(Protocol):
  """Something that moves a photograph."""

  name: str
  takes_emotions: bool  # by name

  @property
  def fps(self) -> float:
    """Frames a second."""
    ...

  def frames(
    self,
    one: Clip,
    speech: Int16[np.ndarray, "s"],
    driver: Clip | None,
    emotion: str = CALM,
    which: Sequence[int] | None = None,
  ) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Yields frames of somebody who speaks.

    Args:
      one: Its first frame is the photograph.
      speech: 16 kHz; silence follows where it is shorter than the driver.
      driver: Whose head moves it, so many frames; None: the head is still, and
        there are as many frames as there is speech.
      emotion: A name of `spec.EMOTIONS`, at full strength.
      which: Frames that are wanted, in rising order; None: all.
    """
    ...


class TexturedMesh:
  """A bundle that moves photographs."""

  takes_emotions = True

  def __init__(self, name: str, model: MotionModel, eyes: EyeReader):
    """Takes the bundle's model, and what finds irises."""
    self.name, self.model, self.eyes = name, model, eyes

  @property
  def fps(self) -> float:
    """Frames a second."""
    return self.model.settings.fps

  def frames(
    self,
    one: Clip,
    speech: Int16[np.ndarray, "s"],
    driver: Clip | None,
    emotion: str = CALM,
    which: Sequence[int] | None = None,
  ) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """As `Method` says."""
    frame, mesh = one.frames[0], one.track.mesh[0]
    portrait = composition.portrait(
      frame, mesh, self.eyes(frame, mesh), self.model.shut
    )
    if driver is None:
      drives = [Drive(STILL, 0.0)] * self.model.length(speech)
    else:
      # Another's way in the picture has not the room, as in the product.
      own = driver is one
      drives = _drives(driver, 1.0 if own else None, self.eyes)
    points = self.model.stream(
      speech, [drive.lids for drive in drives], strengths(emotion)
    )
    wanted = set(range(len(drives)) if which is None else which)
    for i, (moved, drive) in enumerate(zip(points, drives, strict=True)):
      if i in wanted:
        yield composition.compose(
          portrait,
          portrait.expression(moved, drive.lids, drive.gaze),
          drive.motion,
          drive.gaze,
        )


class Drawn:
  """A bundle that draws a square of its own, laid back into the photograph."""

  takes_emotions = False

  def __init__(self, name: str, model: Synthesizer):
    """Takes the bundle's model."""
    self.name, self.model = name, model

  @property
  def fps(self) -> float:
    """Frames a second."""
    return self.model.settings.fps

  def frames(
    self,
    one: Clip,
    speech: Int16[np.ndarray, "s"],
    driver: Clip | None,
    emotion: str = CALM,
    which: Sequence[int] | None = None,
  ) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """As `Method` says; the emotion is the model's own idea of neutral."""
    if emotion != CALM:
      raise ValueError(f"{self.name} takes no emotion by name")
    model, settings = self.model, self.model.settings
    place = crops.framed(
      one.track.landmarks[:1], settings.image, settings.framing
    )
    crop = warp(one.frames[0], place, settings.image)
    marks = transform(one.track.landmarks[0], place)
    heads = crop[None] if driver is None else _squares(driver, model)
    count = model.length(speech) if driver is None else len(heads)
    code = model.neutral
    if code is None:
      face = crops.emotion_pictures(crop[None], marks[None], settings)
      code = model.emotion(face).mean(0)
    pieces = model.stream(
      model.portrait(crop, marks),
      windows.drive(iter(model.pose(heads)), count),
      code,
      speech,
    )
    wanted = set(range(count) if which is None else which)
    for i, made in enumerate(itertools.chain.from_iterable(pieces)):
      if i in wanted:
        yield _laid_back(one.frames[0], made, place)


def open_method(path: str, name: str) -> Method:
  """Opens a bundle of either kind.

  Raises:
    BundleError: it is none, or damaged; one line.
  """
  content = bundles.read(path)
  if content.moves_photographs:
    model = MotionModel.from_bundle(path, content=content)
    return TexturedMesh(name, model, EyeReader())
  return Drawn(name, Synthesizer.from_bundle(path, content=content))


def names_of(paths: Sequence[str]) -> list[str]:
  """Names rows of a table: folders' own names, or paths where these agree."""
  short = [Path(path).name for path in paths]
  return short if len(set(short)) == len(short) else list(paths)


def _drives(driver: Clip, whole: float | None, eyes: EyeReader) -> list[Drive]:
  """What drives each frame; a face that is lost keeps its last pose."""
  seen = [
    mesh if found else None
    for mesh, found in zip(driver.track.mesh, driver.track.found, strict=True)
  ]
  packed = head_motion.driven(
    seen,
    head_motion.open_lids(seen),
    head_motion.SHIFT if whole is None else whole,
    head_motion.SCALE if whole is None else whole,
  )
  look = gaze.Driver(eyes)
  looks = (
    None if mesh is None else look((frame, mesh))
    for frame, mesh in zip(driver.frames, seen, strict=True)
  )
  drives: list[Drive] = []
  # The first frame has a face.
  for numbers in head_motion.looking(packed, looks):
    drives.append(drives[-1] if numbers is None else unpacked(numbers))
  return drives


def _squares(driver: Clip, model: Synthesizer) -> UInt8[np.ndarray, "n s s 3"]:
  """Crops of a driver's head, one static square for all frames."""
  marks, settings = bridge(driver.track).landmarks, model.settings
  place = crops.framed(marks, settings.image, settings.framing)
  return np.stack([warp(x, place, settings.image) for x in driver.frames])


def _laid_back(
  photograph: UInt8[np.ndarray, "h w 3"],
  made: UInt8[np.ndarray, "s s 3"],
  place: np.ndarray,
) -> UInt8[np.ndarray, "h w 3"]:
  """Puts a drawn square where its crop was taken."""
  height, width = photograph.shape[:2]
  side = max(round(len(made) / place[0, 0]), 1)
  corner = (0.5 - (place[:, 2] + 0.5) / place[0, 0]).round().astype(int)
  large = crops.resize(made, side)
  frame = photograph.copy()
  low = corner.clip(0)
  high = (corner + side).clip(None, (width, height))
  frame[low[1] : high[1], low[0] : high[0]] = large[
    low[1] - corner[1] : high[1] - corner[1],
    low[0] - corner[0] : high[0] - corner[0],
  ]
  return frame
