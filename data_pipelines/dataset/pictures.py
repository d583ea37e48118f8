"""Pictures of a record: JPEG to arrays, other sizes, mouths cut out."""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from data_pipelines.faces import lips
from speak_jax import spec

# Pictures are small and the loader has threads of its own: OpenCV's would only
# take the cores from the training step.
cv2.setNumThreads(1)

_END_OF_JPEG = b"\xff\xd9"
_REDUCED = {  # by how much, the most first: OpenCV's flags say grey or BGR, too
  8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
  4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
  2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
}


def decode_frame(
  jpeg: bytes,
  size: int | None = None,
  stored: int | None = None,
  grey: bool = False,
) -> UInt8[np.ndarray, "h w *c"]:
  """A stored crop, resized to `size` by area where it differs.

  Args:
    jpeg: The crop's bytes.
    size: Side that is wanted in pixels; None leaves it as it is stored.
    stored: Side of the crop, if it is known: what shrinks to half or less is
      then not decoded whole.
    grey: One grey level a pixel (`spec.LUMA`), (h, w), and not RGB, (h, w, 3).

  Raises:
    ValueError: it is no JPEG, or only the beginning of one.
  """
  frame = None
  # The decoder paints what is missing at the end grey.
  if jpeg.endswith(_END_OF_JPEG):
    flags = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR_RGB
    if size and stored:
      flags |= _reduced(stored, size)
    frame = cv2.imdecode(np.frombuffer(jpeg, np.uint8), flags)
  if frame is None:
    raise ValueError("is not a readable JPEG")
  return frame if size is None else resize(frame, size)


def _reduced(stored: int, size: int) -> int:
  """OpenCV's flag for the smallest picture of a JPEG that is not too small.

  A JPEG's blocks give halves, quarters and eighths at less cost than the
  whole. On a real face no pixel moves by more than 3 of 255 by that.
  """
  for by, flag in _REDUCED.items():
    if stored % by == 0 and stored // by >= size:
      return flag
  return 0


def resize(frame: UInt8[np.ndarray, "h w *c"], size: int) -> np.ndarray:
  """A square picture at another side length; enlarging is bilinear."""
  if frame.shape[0] == size:
    return frame
  how = cv2.INTER_AREA if size < frame.shape[0] else cv2.INTER_LINEAR
  return cv2.resize(frame, (size, size), interpolation=how)


def scale_landmarks(
  landmarks: Float32[np.ndarray, "*n 68 2"], stored: int, size: int
) -> Float32[np.ndarray, "*n 68 2"]:
  """Landmarks of a crop resized from `stored` to `size` pixels.

  Whole numbers are pixel centres, as in OpenCV, hence the halves.
  """
  if stored == size:
    return landmarks
  return ((landmarks + 0.5) * (size / stored) - 0.5).astype(np.float32)


def with_mouths(record: spec.Record) -> spec.Record:
  """The record with `mouths` cut out of its frames."""
  frames = map(decode_frame, record.frames)
  return record._replace(
    mouths=np.stack(
      [
        lips.cut_lips(x, points, lips.stored_side(x.shape[0]))
        for x, points in zip(frames, record.landmarks, strict=True)
      ]
    )
  )
