"""What a method is: what it is shown of a clip, and how it makes frames of it.

The evaluation asks for a clip by a `Request`, hands over no more of it than
the method's `needs` name, and prints what the method `sees` of the clip that
its frames are compared with. A new method is one file with a `Method` in it
and a row in `registry.METHODS`.
"""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int16, UInt8

RANDOM_KEYS = 5  # clips that are scored of a method that samples
OPTIONAL = ("pose", "emotion", "target")


class ShownFrames(NamedTuple):
  """Frames of a clip in the canonical crop, with their landmarks in pixels."""

  frames: UInt8[np.ndarray, "n h w 3"]
  landmarks: Float[np.ndarray, "n 68 2"]


class Request(NamedTuple):
  """A clip to make, in the canonical crop, which is that of the true clip."""

  identity: UInt8[np.ndarray, "h w 3"]
  landmarks: Float[np.ndarray, "68 2"]  # of the identity picture, in pixels
  audio: Int16[np.ndarray, "s"]  # 16 kHz
  frames: int
  fps: float
  pose: ShownFrames | None  # as many frames as are to be made
  emotion: ShownFrames | None
  target: ShownFrames | None  # the true clip, which only references may see


class Restored(NamedTuple):
  """A method's weights, and what the evaluation must know of them."""

  weights: Any  # first argument of `prepare` and `generate`; None: cannot speak
  digest: str  # of the weights and the code that runs them; "": not cached
  size: int  # px, side of the frames that it makes
  fps: float
  preset: str = "unknown"
  commit: str = ""  # of the code that trained it


class Method(NamedTuple):
  """A way to make a clip. Functions get the restored weights first."""

  name: str
  needs: frozenset[str]  # of OPTIONAL; it is given nothing else of these
  sees: str  # what of the target it is shown when self-driven, for the tables
  samples: bool  # whether its frames depend on the key
  owns: Callable[[Path], bool]  # whether a folder or file is of this method
  restore: Callable[[Path, int], Restored]  # where, frames of the longest clip
  prepare: Callable[[Any, Request], Any]  # native inputs, NumPy only
  generate: Callable[[Any, Any, int], np.ndarray]  # inputs, key -> u8 frames
  place: Callable[[np.ndarray, Any], np.ndarray]  # into the canonical crop
  # Seconds at the beginning for which it has no frame, shows another instead
  # and is not compared. For references alone.
  lag_s: float = 0.0


class Entry(NamedTuple):
  """A row of the tables: a method with its weights, under a name."""

  name: str
  method: Method
  restored: Restored


class Timed(NamedTuple):
  """A clip, and how long its frames took to make."""

  frames: UInt8[np.ndarray, "n h w 3"]
  seconds: float  # of `Method.generate` alone


def run(
  entry: Entry, request: Request, key: int
) -> UInt8[np.ndarray, "n h w 3"]:
  """The clip that an entry makes of what it may see of a request.

  Args:
    entry: Makes the clip.
    request: The clip to make, and all that is known of it.
    key: Seed of a method that samples.

  Raises:
    ValueError: an input is missing, or the frames are not those asked for.
  """
  return timed(entry, request, key).frames


def timed(entry: Entry, request: Request, key: int) -> Timed:
  """`run` by the clock.

  Raises:
    ValueError: an input is missing, or the frames are not those asked for.
  """
  method, weights = entry.method, entry.restored.weights
  inputs = method.prepare(weights, visible_request(method, request))
  start = time.perf_counter()
  native = method.generate(weights, inputs, key)
  seconds = time.perf_counter() - start
  frames = method.place(native, inputs)
  expected = (request.frames, *request.identity.shape)
  if frames.shape != expected or frames.dtype != np.uint8:
    raise ValueError(
      f"{entry.name}: made {frames.dtype} frames {frames.shape}, asked for"
      f" {expected}"
    )
  return Timed(frames, seconds)


def visible_request(method: Method, request: Request) -> Request:
  """The request without what the method does not need.

  Raises:
    ValueError: the request lacks something that it needs.
  """
  for field in sorted(method.needs):
    if getattr(request, field) is None:
      raise ValueError(f"{method.name} needs {field}, and there is none")
  hidden = {field: None for field in OPTIONAL if field not in method.needs}
  return request._replace(**hidden)


def unused_inputs(method: Method) -> tuple[str, ...]:
  """Inputs of a self-driven clip that the method cannot use."""
  return tuple(x for x in ("pose", "emotion") if x not in method.needs)


def cache_key(entry: Entry, request: Request, key: int) -> str:
  """Names a clip's frames by all that they depend on, as a SHA-256.

  That is the weights with the code that runs them, everything that the method
  is shown, and the seed.
  """
  shown = visible_request(entry.method, request)
  digest = hashlib.sha256(
    f"{entry.method.name} {entry.restored.digest}".encode()
  )
  digest.update(f" {request.frames} {request.fps} {key}".encode())
  tracks = {field: getattr(shown, field) for field in OPTIONAL}
  arrays = {"i": shown.identity, "l": shown.landmarks, "a": shown.audio}
  for field, track in tracks.items():
    if track is not None:
      arrays |= {f"{field}/f": track.frames, f"{field}/l": track.landmarks}
  for field, array in arrays.items():
    digest.update(f" {field} {array.dtype} {array.shape} ".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
  return digest.hexdigest()
