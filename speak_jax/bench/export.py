"""What leaves JAX: the bundles' functions as ONNX, and their StableHLO."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from speak_jax import bundle, spec
from speak_jax.bench.figure import Figure, skipped
from speak_jax.bench.inputs import NOISE
from speak_jax.bench.networks import called
from speak_jax.bench.plan import Plan
from speak_jax.common import packaged
from speak_jax.inference.functions import Functions
from speak_jax.inference.functions import called as deserialized
from speak_jax.inference.lowering import functions_of, serialize, settings_of
from speak_jax.inference.settings import Settings
from speak_jax.nn import precision
from speak_jax.stages.init import networks
from speak_jax.tools import to_onnx
from speak_jax.training import run_config

FRAMES = (5, 50)  # of a window
BUNDLES = (packaged.PHOTOGRAPH, packaged.REFERENCE)


def figures(plan: Plan) -> Iterator[Figure]:
  """Both, beside what JAX makes of the same weights."""
  yield from onnx()
  yield from windows(plan)


def onnx() -> Iterator[Figure]:
  """Every function of both bundles under ONNX Runtime."""
  missing = to_onnx.missing()
  for path in BUNDLES:
    name = f"ONNX, {path.name}: largest difference"
    if missing:
      why = f"{', '.join(missing)} not installed; speak to-onnx --help says how"
      yield skipped(name, why)
      continue
    with tempfile.TemporaryDirectory() as folder:
      off = [
        to_onnx.written(case, Path(folder))[1]
        for case in to_onnx.cases(bundle.read(path))
      ]
    note = f"of {len(off)} functions; pixels: 1 is 255"
    yield Figure(name, "", (max(off),), note, least=to_onnx.CLOSE)


def windows(plan: Plan) -> Iterator[Figure]:
  """The reference's frames as StableHLO, by short windows and long ones.

  Lowered for any batch and length, read back as a bundle's are, and called
  with one window.
  """
  content = bundle.read(packaged.REFERENCE)
  config = precision.for_inference(
    run_config.from_json(content.config["config"])
  )
  variables = jax.device_put(content.variables)
  settings = settings_of(config)._replace(stretch=0)
  begin = time.perf_counter()
  stored = serialize(
    functions_of(networks(config), settings), variables, settings
  )
  lowering = time.perf_counter() - begin
  yield Figure("StableHLO, lowering", "s", (lowering,), "all five functions")
  theirs = jax.jit(deserialized({"frames": stored["frames"]})["frames"])
  for count in FRAMES:
    longer = settings._replace(frames=count)
    functions = functions_of(networks(config), longer)
    inputs = _inputs(functions, longer, variables)
    ours = jax.jit(functions.frames)(variables, *inputs)
    off = to_onnx.difference(
      np.asarray(ours), np.asarray(theirs(variables, *inputs))
    )
    ms = 1000 * called(theirs, plan.calls, variables, *inputs) / count
    name = f"StableHLO, windows of {count} frames"
    yield Figure(
      f"{name}: largest difference",
      "",
      (off,),
      "from the network itself; pixels: 1 is 255",
      least=to_onnx.CLOSE,
    )
    yield Figure(f"{name}, a frame", "ms", (ms,), "one window")


def _inputs(functions: Functions, settings: Settings, variables: Any) -> Any:
  """A window of codes of noise, as `functions.frames` takes them."""
  rng = np.random.default_rng(0)
  size, face = settings.image, settings.emotion
  pictures = rng.integers(0, 256, (settings.frames, size, size, 3), np.uint8)
  landmarks = rng.uniform(0, size, (1, 68, 2)).astype(np.float32)
  faces = rng.integers(0, 256, (1, face, face, 3), np.uint8)
  sound = rng.integers(-NOISE, NOISE, (1, settings.samples), np.int16)
  level = np.zeros((1, spec.LEVEL), np.float32)

  @jax.jit
  def codes(
    pictures: Any, landmarks: Any, faces: Any, sound: Any, level: Any
  ) -> Any:
    return (
      functions.portrait(variables, pictures[:1], landmarks),
      functions.pose(variables, pictures)[None],
      functions.emotion(variables, faces),
      functions.speech(variables, sound, level),
    )

  return codes(pictures, landmarks, faces, sound, level)
