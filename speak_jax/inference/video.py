"""What a model makes of a request, in memory or on its way to a file."""

import os
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipelines.faces.follow import FaceTracker
from data_pipelines.media.error import heard
from speak_jax.common import outputs
from speak_jax.inference import dry_run
from speak_jax.inference import take as takes
from speak_jax.inference.inputs import check_files
from speak_jax.inference.request import Request
from speak_jax.inference.take import Result, Take


class Video:
  """Frames and sound of a talking head.

  Inputs were read, and frames are made when they are asked for: by going
  through the video, which keeps none of them; by `frames`, which keeps all;
  or by `save`, which writes them as they come.

  Attributes:
    fps: Frames a second.
    width, height: Px.
    warnings: A line for each thing that is odd about the inputs, as far as
      they were read.
  """

  def __init__(
    self, reads: Callable[..., Take], tracker: FaceTracker, request: Request
  ):
    """Reads the inputs.

    Args:
      reads: `Model.take`, which reads those of a request each time anew.
      tracker: Of the model.
      request: What is asked for.

    Raises:
      FileError, RequestError: as `reads` does.
    """
    self._reads, self._tracker, self._request = reads, tracker, request
    self._lines: dict[str, None] = {}
    self._frames: UInt8[np.ndarray, "n h w 3"] | None = None
    self._take = self._taken()
    self._is_fresh = True  # nobody has had its frames
    self.fps = self._take.fps
    self.width, self.height = self._take.width, self._take.height

  def __len__(self) -> int:
    """The number of frames."""
    return self._take.count

  def __iter__(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Makes the frames one by one, RGB."""
    if self._frames is not None:
      yield from self._frames
      return
    made = self._fresh().marked()
    try:
      while True:
        with heard(self._lines):
          frame = next(made, None)
        if frame is None:
          return
        yield frame
    finally:
      made.close()

  @property
  def warnings(self) -> tuple[str, ...]:
    """A line for each thing that is odd about the inputs."""
    return tuple(self._lines)

  @property
  def frames(self) -> UInt8[np.ndarray, "n h w 3"]:
    """All frames, RGB; made at the first time, and kept."""
    if self._frames is None:
      self._frames = np.stack(list(self))
    return self._frames

  @property
  def audio(self) -> tuple[Float32[np.ndarray, "s c"], int]:
    """The sound that goes with it, full scale 1, and its rate in Hz."""
    sound = self._take.sound()
    return np.concatenate(list(sound.chunks), axis=1).T, sound.rate

  def save(
    self, path: str | os.PathLike, *, sheet: str | os.PathLike | None = None
  ) -> Result:
    """Writes it with the sound.

    Args:
      path: As for `Model.write`; a webm or a folder keeps transparency.
      sheet: Also write a contact sheet PNG here.

    Raises:
      FileError: it cannot be written; nothing is left half-written.
    """
    check_files(self._request.files, path, sheet)
    with heard(self._lines):
      return takes.write(self._fresh(), path, sheet, say=lambda line: None)

  def plan(self, path: str | os.PathLike) -> None:
    """Draws what the video is made of: faces, crop and plan; no frame.

    Args:
      path: The PNG, replaced if it is there; its folder must exist.

    Raises:
      FileError: it cannot be written.
    """
    outputs.check_file(path, self._request.files, (".png",))
    dry_run.write(
      self._reads, self._tracker, self._request, path, lambda line: None
    )

  def _taken(self) -> Take:
    with heard(self._lines):
      return self._reads(self._request)

  def _fresh(self) -> Take:
    """A take whose frames nobody has had."""
    if not self._is_fresh:
      self._take = self._taken()
    self._is_fresh = False
    return self._take
