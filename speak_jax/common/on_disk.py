"""Rows of numbers that lie on the disk: hours of them take no memory."""

import os
import tempfile
import weakref

import numpy as np
from jaxtyping import Shaped
from numpy.typing import DTypeLike

from speak_jax.common.files import FileError


class Rows:
  """An array that grows, in a temporary file that has no name.

  The file goes with the object, and with the process, whatever ends that. It is
  never mapped into memory: pages that are count as the process's own.
  """

  def __init__(self, dtype: DTypeLike, shape: tuple[int, ...] = ()):
    """Begins an empty one.

    Args:
      dtype: Of its numbers.
      shape: Of a row.

    Raises:
      FileError: there is no room for temporary files; one line.
    """
    self._dtype, self._shape = np.dtype(dtype), shape
    self._row = self._dtype.itemsize * int(np.prod(shape, dtype=int))
    self._length = 0
    try:
      file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
    except OSError as error:
      raise _no_room(error) from None
    self._file = file.fileno()
    weakref.finalize(self, file.close)

  def __len__(self) -> int:
    """The number of rows."""
    return self._length

  def __getitem__(self, part: slice, /) -> Shaped[np.ndarray, "n *d"]:
    """Reads the rows of a slice without a step."""
    start, stop, step = part.indices(self._length)
    if step != 1:
      raise ValueError(f"a slice with a step of {step}")
    count = max(stop - start, 0)
    raw = os.pread(self._file, count * self._row, start * self._row)
    return np.frombuffer(raw, self._dtype).reshape(count, *self._shape)

  def row(self, i: int) -> Shaped[np.ndarray, "*d"]:
    """Reads row i, from 0."""
    return self[i : i + 1][0]

  def put(self, start: int, rows: Shaped[np.ndarray, "n *d"]) -> None:
    """Writes rows from row `start` on; what was never written is 0.

    Raises:
      FileError: there is no room for temporary files; one line.
    """
    raw = memoryview(np.ascontiguousarray(rows, self._dtype).tobytes())
    self._length = max(self._length, start + len(rows))
    at = start * self._row
    try:
      if not raw:  # else it grows as it is written
        os.ftruncate(self._file, self._length * self._row)
      while raw:
        done = os.pwrite(self._file, raw, at)
        raw, at = raw[done:], at + done
    except OSError as error:
      raise _no_room(error) from None

  def append(self, rows: Shaped[np.ndarray, "n *d"]) -> None:
    """Writes rows behind the last one; errors as of `put`."""
    self.put(self._length, rows)


def _no_room(error: OSError) -> FileError:
  folder = tempfile.gettempdir() if tempfile.tempdir else "temporary files"
  return FileError(folder, f"cannot be written ({error.strerror or error})")
