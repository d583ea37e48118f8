"""Sound at 16 kHz that lies on the disk: hours of it take no memory."""

import os
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int16

from data_pipelines.media.error import MediaError
from data_pipelines.media.limits import LIMITS
from data_pipelines.media.loudness import Gain
from speak_jax import spec
from speak_jax.common.on_disk import Rows

# What holds sound within the limits, and pictures as far away.
_MOST = round(2 * LIMITS.seconds) * spec.SAMPLE_RATE_HZ


class Recording:
  """A sound as `spec.Samples`, as it is or at another loudness.

  A slice is the same, bit for bit, as that of the array of all samples.
  """

  def __init__(self, rows: Rows, gain: Gain = Gain()):  # noqa: B008
    """Takes int16 samples, and what is done to those that are asked for."""
    self._rows, self._gain = rows, gain

  def __len__(self) -> int:
    """The number of samples."""
    return len(self._rows)

  def __getitem__(self, part: slice, /) -> Int16[np.ndarray, "n"]:
    """Reads the samples of a slice without a step."""
    return self._gain.of(self._rows[part])

  def with_gain(self, gain: Gain) -> "Recording":
    """The same sound at another loudness; it lies on the disk once."""
    return Recording(self._rows, gain)


def recorded(
  path: str | os.PathLike,
  pieces: Iterable[list[int] | Int16[np.ndarray, "n"]],
) -> Recording:
  """Stores a sound.

  Args:
    path: File that it comes from, for errors.
    pieces: From `audio.read_pieces`.

  Raises:
    MediaError: as that does.
    FileError: there is no room on the disk.
  """
  rows, at = Rows(np.int16), 0
  for piece in pieces:
    if isinstance(piece, list):
      (at,) = piece
    else:
      if at + len(piece) > _MOST:  # whoever decodes is not believed
        raise MediaError(path, "the decoder is out of its mind")
      rows.put(max(at, 0), piece[max(-at, 0) :])  # what is before 0 is cut
      at += len(piece)
  return Recording(rows)
