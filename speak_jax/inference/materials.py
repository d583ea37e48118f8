"""Arrays and pictures in memory as the files that everything else reads.

What is in memory is stored without loss, and then checked, turned upright,
resampled and levelled by the same code as any file.
"""

import math
import numbers
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from jaxtyping import UInt8
from PIL import Image

from data_pipelines.media.mp4 import frame_rate
from speak_jax.inference import emotion_label, head
from speak_jax.inference.curve import Curve
from speak_jax.inference.head import Sweep

File = str | os.PathLike
# What arrays may be is checked by `stored`, which says it in one line.
Pictures = File | Image.Image | np.ndarray | tuple[np.ndarray, float]
Speech = File | tuple[np.ndarray, float]
# An array of rows of time, yaw, pitch and roll, or of the angles and their
# rate; and rows of time, emotion and level.
Pose = Pictures | Curve | Sweep
Emotion = Pictures | Curve | Sequence[tuple[float, str, float]]

_PNG_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")


def stored(value: Any, name: str, folder: Path) -> File:
  """Gives the path of an input, which is stored first if it is in memory.

  Args:
    value: A path; a PIL image of any mode; a picture, uint8 (h w), (h w 3) or
      (h w 4); pictures and their number a second, (uint8 (n h w 3), fps); or
      sound and its rate, (int16, or float of full scale 1, (s) or (s c); Hz).
    name: Of the input; names the file, and stands in errors.
    folder: Where to.

  Raises:
    ValueError: it is nothing of this; one line.
  """
  if isinstance(value, (str, os.PathLike)):
    return value
  if isinstance(value, Image.Image):
    return _picture(value, folder / f"{name}.png")
  if isinstance(value, np.ndarray):
    if value.dtype == np.uint8 and (
      value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (3, 4))
    ):
      return _picture(Image.fromarray(value), folder / f"{name}.png")
    raise ValueError(f"{name}: {_described(value)} is no uint8 picture")
  if isinstance(value, tuple) and len(value) == 2:
    array = np.asarray(value[0])
    try:
      rate = _rate(value[1])
    except ValueError as error:
      raise ValueError(f"{name}: {error}") from None
    if array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] == 3:
      return _film(array, rate, folder / f"{name}.mkv")
    if array.ndim in (1, 2) and array.dtype in (
      np.int16,
      np.float32,
      np.float64,
    ):
      return _sound(array, rate, folder / f"{name}.wav")
    raise ValueError(
      f"{name}: {_described(array)} is neither sound nor pictures"
    )
  raise ValueError(
    f"{name}: {type(value).__name__} is no path, picture, or array with its"
    " rate"
  )


def stored_pose(value: Any, folder: Path) -> File | Curve | Sweep:
  """Gives what `Request.pose` may be.

  Args:
    value: As `stored` takes it; a curve or sweep; rows of time (s), yaw, pitch
      and roll (degrees), float (n 4); or angles and their number a second,
      (float (n 3), fps).
    folder: Where pictures are stored.

  Raises:
    ValueError: it is nothing of this; one line.
  """
  if isinstance(value, (Curve, Sweep)):
    return value
  try:
    if isinstance(value, np.ndarray) and _is_rows(value, 4):
      return head.curve_of(value.astype(float))
    if isinstance(value, tuple) and len(value) == 2:
      angles = np.asarray(value[0])
      if _is_rows(angles, 3):
        times = np.arange(len(angles)) / _rate(value[1])
        return head.curve_of(np.column_stack([times, angles]))
  except ValueError as error:
    raise ValueError(f"pose: {error}") from None
  return stored(value, "pose", folder)


def stored_emotion(value: Any, folder: Path) -> File | Curve:
  """Gives what `Request.emotion` may be.

  Args:
    value: As `stored` takes it, a curve of `emotion_label.timeline`, or rows
      of it.
    folder: Where pictures are stored.

  Raises:
    ValueError: it is nothing of this; one line.
  """
  if isinstance(value, Curve):
    return value
  if isinstance(value, list):
    try:
      return emotion_label.timeline(value)
    except ValueError as error:
      raise ValueError(f"emotion: {error}") from None
  return stored(value, "emotion", folder)


def _is_rows(array: np.ndarray, columns: int) -> bool:
  """Whether an array is rows of numbers, and no picture."""
  return array.dtype.kind in "fi" and array.shape[1:] == (columns,)


def _rate(value: Any) -> float:
  if not isinstance(value, numbers.Real) or not 0 < float(value) < math.inf:
    raise ValueError(f"{value!r} is no rate")
  return float(value)


def _described(array: np.ndarray) -> str:
  """The type and shape of an array, as in "float64 (3, 4)"."""
  return f"{array.dtype} {array.shape}"


def _picture(image: Image.Image, path: Path) -> Path:
  if image.mode not in _PNG_MODES:
    image = image.convert("RGB")
  image.save(path)  # with its orientation, if it has EXIF
  return path


def _sound(samples: np.ndarray, rate: float, path: Path) -> Path:
  subtype = "PCM_16" if samples.dtype == np.int16 else "FLOAT"
  soundfile.write(path, samples, round(rate), subtype=subtype)
  return path


def _film(frames: UInt8[np.ndarray, "n h w 3"], fps: float, path: Path) -> Path:
  with av.open(str(path), "w") as out:
    stream = out.add_stream("ffv1", rate=frame_rate(fps))
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = "bgr0"
    for frame in frames:
      picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
      out.mux(stream.encode(picture))
    out.mux(stream.encode(None))
  return path
