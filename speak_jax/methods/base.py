"""What a method is: what it is shown of a clip, and how it makes frames of it.

The evaluation asks for a clip by a `Request`, hands over no more of it than
the method's `needs` name, and prints what the method `sees` of the clip that
its frames are compared with. docs/adding.md builds a method.
"""

import hashlib
import importlib.util
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int16, UInt8
from ml_collections import ConfigDict

from speak_jax.nn import precision
from speak_jax.training import weights

# What frames of every method depend on beside its own code; see `digest`.
_SHARED_CODE = (
  "speak_jax.spec",
  "speak_jax.nn",
  "speak_jax.methods.base",
  "speak_jax.methods.crops",
)
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
  restore: Callable[[Path, int], Restored]  # where, frames of the longest clip
  prepare: Callable[[Any, Request], Any]  # native inputs, NumPy only
  generate: Callable[[Any, Any, int], np.ndarray]  # inputs, key -> u8 frames
  place: Callable[[np.ndarray, Any], np.ndarray]  # into the canonical crop
  # Whether a file, or a folder that is no run and no bundle, holds weights of
  # this method.
  owns: Callable[[Path], bool] = lambda path: False
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


class Trained(NamedTuple):
  """What a run has learned."""

  config: ConfigDict  # of the run, with the type that this machine computes in
  variables: dict[str, Any]  # {group: variables}, averaged weights


def trained(path: Path, stages: Sequence[str]) -> list[Trained] | None:
  """The groups of a run's stages; None where it lacks a checkpoint of one.

  Args:
    path: The run.
    stages: The stages whose groups make frames.

  Raises:
    ValueError: damaged, or of another version of the code; one line.
  """
  config, learned = weights.load(path, stages)
  if not all(stage in learned for stage in stages):
    return None
  config = precision.for_inference(config)
  return [Trained(config, learned[stage]) for stage in stages]


def restored_run(
  path: Path,
  stages: Sequence[str],
  code: Iterable[str],
  build: Callable[..., Any],
) -> Restored:
  """A run as a method's `restore` gives it.

  Args:
    path: The run.
    stages: The stages whose groups make frames, one at least.
    code: The method's own; see `digest`.
    build: Makes the first argument of `prepare` and `generate` of what each
      stage has learned.

  Raises:
    ValueError: damaged, or of another version of the code; one line.
  """
  learned = trained(path, stages)
  config = learned[0].config if learned else weights.load(path, ())[0]
  variables = [x.variables for x in learned or ()]
  return Restored(
    weights=build(*learned) if learned else None,
    digest=digest(weights_digest(variables), code) if learned else "",
    size=config.model.image,
    fps=float(config.data.fps),
    preset=config.preset,
    commit=config.commit,
  )


def digest(weights_sha256: str, code: Iterable[str]) -> str:
  """Names weights together with the code that runs them.

  The files themselves are hashed and not the version and the commit, because
  an installed package has no commit and a developer's tree is seldom the one
  of its commit; and a commit elsewhere keeps the cache.

  Args:
    weights_sha256: Of the weights.
    code: Modules and packages that the frames depend on, beside what all
      methods share.

  Raises:
    ValueError: one is not there: stale frames would be taken for new.
  """
  sha256 = hashlib.sha256(f"{jax.__version__} {jax.default_backend()}".encode())
  for name in sorted({*_SHARED_CODE, *code}):
    for file in _sources(name):
      sha256.update(file.read_bytes())
  return f"{weights_sha256[:16]}-{sha256.hexdigest()[:16]}"


def _sources(name: str) -> list[Path]:
  """The files of a module, or of all modules of a package.

  Raises:
    ValueError: there is none of that name.
  """
  found = importlib.util.find_spec(name)
  if found is None or found.origin is None:
    raise ValueError(f"{name}: no such module")
  folders = found.submodule_search_locations or ()
  inside = [x for folder in folders for x in sorted(Path(folder).rglob("*.py"))]
  return inside or [Path(found.origin)]


def weights_digest(variables: Any) -> str:
  """SHA-256 of every array and its name."""
  sha256 = hashlib.sha256()
  for name, leaf in jax.tree_util.tree_leaves_with_path(variables):
    array = np.asarray(leaf)
    shape = f"{jax.tree_util.keystr(name)} {array.dtype} {array.shape} "
    sha256.update(shape.encode())
    sha256.update(array.tobytes())
  return sha256.hexdigest()


def cache_key(entry: Entry, request: Request, key: int) -> str:
  """Names a clip's frames by all that they depend on, as a SHA-256.

  That is the weights with the code that runs them, everything that the method
  is shown, and the seed.
  """
  shown = visible_request(entry.method, request)
  sha256 = hashlib.sha256(
    f"{entry.method.name} {entry.restored.digest}".encode()
  )
  sha256.update(f" {request.frames} {request.fps} {key}".encode())
  tracks = {field: getattr(shown, field) for field in OPTIONAL}
  arrays = {"i": shown.identity, "l": shown.landmarks, "a": shown.audio}
  for field, track in tracks.items():
    if track is not None:
      arrays |= {f"{field}/f": track.frames, f"{field}/l": track.landmarks}
  for field, array in arrays.items():
    sha256.update(f" {field} {array.dtype} {array.shape} ".encode())
    sha256.update(np.ascontiguousarray(array).tobytes())
  return sha256.hexdigest()
