"""Methods as data: what makes a talking head, and what it is shown of it.

A method is a row of a table: the evaluation asks for a clip by a `Request`,
hands over no more of it than the method's `needs` name, and prints what it
`sees` of the clip that it is compared with. The references here are rows like
all others; without them a figure says nothing.
"""

import hashlib
import io
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from jaxtyping import Float, Int16, UInt8

from speak_jax.metrics import mouth

KEYS = 5  # that a method is scored over where it draws at random
LATE_SECONDS = 0.4
CRF = 23
OPTIONAL = ("pose", "emotion", "target")


class Track(NamedTuple):
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
  pose: Track | None  # as many frames as are to be made
  emotion: Track | None
  target: Track | None  # the true clip, which only references may see


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
  begins: float = 0.0


class Entry(NamedTuple):
  """A line of the table: a method with its weights, under a name."""

  name: str
  method: Method
  restored: Restored


class Timed(NamedTuple):
  """A clip, and how long the frames took to make."""

  frames: UInt8[np.ndarray, "n h w 3"]
  seconds: float  # of `generate` alone


def run(
  entry: Entry, request: Request, key: int
) -> UInt8[np.ndarray, "n h w 3"]:
  """The clip that an entry makes of what it may see of a request.

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
  inputs = method.prepare(weights, given(method, request))
  begun = time.perf_counter()
  native = method.generate(weights, inputs, key)
  seconds = time.perf_counter() - begun
  made = method.place(native, inputs)
  wanted = (request.frames, *request.identity.shape)
  if made.shape != wanted or made.dtype != np.uint8:
    raise ValueError(
      f"{entry.name}: made {made.dtype} frames {made.shape}, asked for {wanted}"
    )
  return Timed(made, seconds)


def given(method: Method, request: Request) -> Request:
  """The request without what the method does not need.

  Raises:
    ValueError: the request lacks something that it needs.
  """
  for field in sorted(method.needs):
    if getattr(request, field) is None:
      raise ValueError(f"{method.name} needs {field}, and there is none")
  hidden = {field: None for field in OPTIONAL if field not in method.needs}
  return request._replace(**hidden)


def ignored(method: Method) -> tuple[str, ...]:
  """Inputs that are there and that the method cannot use."""
  return tuple(x for x in ("pose", "emotion") if x not in method.needs)


def digest(entry: Entry, request: Request, key: int) -> str:
  """Names a clip's frames: the weights, everything they are shown, the key."""
  shown = given(entry.method, request)
  found = hashlib.sha256(
    f"{entry.method.name} {entry.restored.digest}".encode()
  )
  found.update(f" {request.frames} {request.fps} {key}".encode())
  tracks = {field: getattr(shown, field) for field in OPTIONAL}
  arrays = {"i": shown.identity, "l": shown.landmarks, "a": shown.audio}
  for field, track in tracks.items():
    if track is not None:
      arrays |= {f"{field}/f": track.frames, f"{field}/l": track.landmarks}
  for field, array in arrays.items():
    found.update(f" {field} {array.dtype} {array.shape} ".encode())
    found.update(np.ascontiguousarray(array).tobytes())
  return found.hexdigest()


# --- references --------------------------------------------------------------


def _static(request: Request) -> np.ndarray:
  return np.repeat(request.identity[None], request.frames, 0)


def _target(request: Request) -> Track:
  assert request.target is not None  # `given` has seen to it
  return request.target


def _true(request: Request) -> np.ndarray:
  return _target(request).frames


def _coded(request: Request) -> np.ndarray:
  return through_h264(_target(request).frames, request.fps)


def _late(request: Request) -> np.ndarray:
  # Before the lag is over there is nothing to show: these frames only fill
  # the clip, for a frame that is repeated would be scored as a still one.
  lag = round(LATE_SECONDS * request.fps)
  return _target(request).frames[(np.arange(request.frames) - lag).clip(0)]


def _mouth_only(request: Request) -> np.ndarray:
  frames, landmarks = _target(request)
  box = mouth.mouth_box(landmarks, frames.shape[1])
  return np.where(box[..., None], frames, request.identity)


def through_h264(
  frames: UInt8[np.ndarray, "n h w 3"], fps: float, crf: int = CRF
) -> UInt8[np.ndarray, "n h w 3"]:
  """What is left of frames after an mp4 file (x264, yuv420p, medium).

  Odd sides are made even by repeating the last line, and cut off again.
  """
  _, height, width, _ = frames.shape
  edges = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
  frames = np.pad(frames, edges, mode="edge")
  stored = io.BytesIO()
  with av.open(stored, "w", format="mp4") as out:
    rate = Fraction(fps).limit_denominator(1001)
    stream = out.add_stream("libx264", rate=rate)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = "yuv420p"
    # One thread: the bytes must not depend on the machine.
    stream.options = {"crf": str(crf), "threads": "1"}
    for frame in frames:
      out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
    out.mux(stream.encode(None))
  stored.seek(0)
  with av.open(stored, "r") as video:
    made = [x.to_ndarray(format="rgb24") for x in video.decode(video=0)]
  return np.stack(made)[:, :height, :width]


_WEIGHTLESS = Restored(weights=None, digest="", size=0, fps=0.0)


def _reference(
  name: str,
  title: str,
  sees: str,
  make: Callable[[Request], np.ndarray],
  begins: float = 0.0,
) -> Entry:
  """A row that is made of the true clip, or of its first frame."""
  method = Method(
    name=title,
    needs=frozenset() if make is _static else frozenset({"target"}),
    sees=sees,
    samples=False,
    owns=lambda path: False,
    restore=lambda path, frames: _WEIGHTLESS,
    prepare=lambda weights, request: request,
    generate=lambda weights, request, key: make(request),
    place=lambda frames, request: frames,
    begins=begins,
  )
  return Entry(name, method, _WEIGHTLESS)


STATIC = _reference("static", "static first frame", "first frame", _static)
TRUE = _reference("true", "ground truth", "everything", _true)
REFERENCES = (
  STATIC,
  TRUE,
  _reference(
    "h264", f"ground truth through H.264 crf {CRF}", "everything", _coded
  ),
  _reference(
    "late",
    f"ground truth {LATE_SECONDS:g} s late",
    "everything",
    _late,
    LATE_SECONDS,
  ),
  _reference(
    "mouth_only",
    "static, true mouth box",
    "first frame, mouth box of every frame",
    _mouth_only,
  ),
)
